package server

import (
	"sync"
	"time"
)

// maxVisitors is the most people without a client of their own whose calls are
// counted at a time: far more than call within the time in which a share fills up.
const maxVisitors = 10_000

// visitors are the shares of people who call with tokens, by their IDs. All have
// verified tokens, so there are no more than the provider knows.
type visitors struct {
	rate Rate
	now  func() time.Time

	mu     sync.Mutex
	shares map[string]*share
}

func newVisitors(r Rate, now func() time.Time) *visitors {
	return &visitors{rate: r, now: now, shares: map[string]*share{}}
}

func (v *visitors) share(id string) *share {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known := v.shares[id]; known != nil {
		return known
	}
	if len(v.shares) >= maxVisitors {
		v.forget()
	}
	made := v.rate.share()
	v.shares[id] = made
	return made
}

// forget forgets whoever has not called for long enough to have a whole share
// again, which is what a new one would be.
func (v *visitors) forget() {
	now := v.now()
	for id, s := range v.shares {
		if s.calls.TokensAt(now) >= float64(v.rate.Burst) && len(s.imports) == 0 {
			delete(v.shares, id)
		}
	}
}
