// Package policy decides whether an operator may unblock a card. The decision is
// made by Cedar policies (https://www.cedarpolicy.com): those built in, see
// default.cedar, or a folder of your own. latchkey.cedarschema says which
// attributes they can ask for.
//
// Policies only narrow what the checks in package unblock allow. Everything fails
// closed: what no policy permits is denied, one policy that forbids outweighs all
// that permit, and a policy that cannot be evaluated is an error and never a yes.
package policy
