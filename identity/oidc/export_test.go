package oidc

import "time"

// Hasten has the provider asked and waited for at other paces.
func (p *Provider) Hasten(refresh, retry, wait, stale time.Duration) {
	p.pace.refresh, p.pace.retry, p.pace.wait, p.pace.stale = refresh, retry, wait, stale
}
