// Package oidc verifies the tokens of an OpenID provider and reads from their
// claims who somebody is. It finds the provider's keys by discovery and follows
// their rotation.
//
// A token is never waited for longer than a moment: keys are fetched aside, at
// most every few seconds whatever the tokens say, and a provider that is away
// stops neither the start of a server nor the tokens whose keys are known.
package oidc
