package hsm

import (
	"context"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// session is one PKCS#11 session with the calls that an answer needs. It is used
// by one goroutine at a time.
type session struct {
	ctx    *pkcs11.Ctx
	handle pkcs11.SessionHandle
	calls  *atomic.Int64
	// nativeCounter tells that the token has CKM_SP800_108_COUNTER_KDF itself.
	nativeCounter bool
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

// pool bounds how many sessions are open. Each slot holds an open session or
// nil, which is one that may be opened. Sessions are opened when first needed
// and then kept: opening and closing in the hot path is slow on network HSMs
// and races in SoftHSM.
type pool struct {
	slots chan *session
	open  func() (*session, error)
}

func newPool(size int, open func() (*session, error)) *pool {
	p := &pool{slots: make(chan *session, size), open: open}
	for range size {
		p.slots <- nil
	}
	return p
}

// take waits for a session until ctx is done.
func (p *pool) take(ctx context.Context) (*session, error) {
	select {
	case s := <-p.slots:
		return p.ready(s)
	case <-ctx.Done():
		return nil, &busyError{ctx.Err()}
	}
}

func (p *pool) ready(s *session) (*session, error) {
	if s != nil {
		return s, nil
	}
	s, err := p.open()
	if err != nil {
		p.slots <- nil
		return nil, err
	}
	return s, nil
}

// give puts a session back. A spoiled one is closed, which also destroys every
// session object in it, and its slot is free for another.
func (p *pool) give(s *session) {
	if s.spoiled {
		_ = s.ctx.CloseSession(s.handle) // most often it is dead already
		s = nil
	}
	p.slots <- s
}

// drain waits until every session is back and closes them all. Nobody can take
// one afterwards.
func (p *pool) drain(ctx context.Context) error {
	for range cap(p.slots) {
		select {
		case s := <-p.slots:
			if s != nil {
				_ = s.ctx.CloseSession(s.handle)
			}
		case <-ctx.Done():
			return &busyError{ctx.Err()}
		}
	}
	return nil
}
