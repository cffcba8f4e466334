package hsm

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// session is one PKCS#11 session with the calls that an answer needs. It is used
// by one goroutine at a time.
type session struct {
	ctx    *pkcs11.Ctx
	module *Module
	handle pkcs11.SessionHandle
	calls  *atomic.Int64
	// cardKeys are the templates of card admin keys.
	cardKeys map[card.KeyType][]*pkcs11.Attribute
	// nativeCounter tells that the token has CKM_SP800_108_COUNTER_KDF itself.
	nativeCounter bool
	// epoch is that of the login under which the session was opened, generation
	// that of the module.
	epoch, generation uint64
	// spoiled marks a session that must not go back to the pool.
	spoiled bool
}

// call counts a PKCS#11 call and names the function in its error.
func (s *session) call(name string, err error) error {
	s.calls.Add(1)
	if err == nil {
		return nil
	}
	err = failed(name, err)
	// An error of any class but Never puts the session's state in doubt.
	if !isClass(err, Never) {
		s.spoiled = true
	}
	return err
}

// close closes the session, unless the module was initialised anew since: then
// the same handle may be another session's.
func (s *session) close() {
	for range 3 { // a session that stays open keeps its objects
		if s.generation != s.module.generation.Load() {
			return
		}
		if err := s.ctx.CloseSession(s.handle); !isClass(failed("C_CloseSession", err), Device) {
			return // closed, or dead already
		}
	}
}

// pool bounds how many sessions are open. Each slot holds an open session or
// nil, which is one that may be opened. Sessions are opened when first needed
// and then kept: opening and closing in the hot path is slow on network HSMs
// and races in SoftHSM.
//
// A call that nobody waits for any more keeps its session. Its slot is replaced
// by another, up to spare times: after that the pool shrinks with each hung
// call, so that a module which hangs cannot eat up the process's threads.
type pool struct {
	slots chan *session
	size  int
	spare int

	mu   sync.Mutex
	hung int // calls that were abandoned and have not come back
}

func newPool(size, spare int) *pool {
	p := &pool{slots: make(chan *session, size+spare), size: size, spare: spare}
	for range size {
		p.slots <- nil
	}
	return p
}

// take waits for a slot until ctx is done or late fires.
func (p *pool) take(ctx context.Context, late <-chan time.Time) (*session, error) {
	select {
	case s := <-p.slots: // without a look at ctx where there is one
		return s, nil
	default:
	}
	select {
	case s := <-p.slots:
		return s, nil
	case <-ctx.Done():
		return nil, &busyError{ctx.Err()}
	case <-late:
		return nil, &busyError{context.DeadlineExceeded}
	}
}

// give puts a slot back, with its session where that is still good.
func (p *pool) give(s *session) {
	if s != nil && s.spoiled {
		s.close() // which also destroys every session object in it
		s = nil
	}
	p.slots <- s
}

// abandon gives up a session whose call did not come back in time.
func (p *pool) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung++
	if p.hung <= p.spare {
		p.slots <- nil
	}
}

// comeBack ends an abandoned call that came back after all. Its session is never
// used again.
func (p *pool) comeBack(s *session) {
	if s != nil {
		s.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hung > p.spare {
		p.slots <- nil
	}
	p.hung--
}

// hanging counts the abandoned calls that have not come back.
func (p *pool) hanging() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hung
}

// drain waits until every slot is back, closes the sessions and keeps the slots,
// so that nobody can take one afterwards.
func (p *pool) drain(ctx context.Context) error {
	for range p.size {
		s, err := p.take(ctx, nil)
		if err != nil {
			return err
		}
		if s != nil {
			s.close()
		}
	}
	return nil
}
