// Package openidtest gives tests OpenID providers: Dex, as others run it, and a
// Forge, which signs whatever a test wants, for tokens that no honest provider
// issues.
package openidtest
