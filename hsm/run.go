package hsm

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// A C call cannot be cancelled. So every piece of work on a session is done in a
// goroutine of its own, and whoever asked for it waits no longer than the
// deadline. Work that is late is abandoned: its result is thrown away, its
// session never used again.

// The states of a call.
const (
	running int32 = iota
	finished
	abandoned
)

// TimeoutError says that the module did not come back in time.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("the PKCS#11 module did not come back within %s", e.After)
}

// Unavailable tells that the call may work another time.
func (e *TimeoutError) Unavailable() bool { return true }

// run does work on a session of the pool.
func run[T any](ctx context.Context, t *Token, work func(*session) (T, error)) (T, error) {
	return runWith(ctx, t, false, work)
}

// runWith does work on a session of the pool or, where the work makes token
// objects, on a read-write session that is opened for it and closed after it.
func runWith[T any](ctx context.Context, t *Token, readWrite bool, work func(*session) (T, error)) (T, error) {
	var none T
	if err := t.usable(); err != nil {
		return none, err
	}
	return runAnyway(ctx, t, readWrite, work)
}

// runAnyway is runWith for the watch, which works when nothing else may.
func runAnyway[T any](ctx context.Context, t *Token, readWrite bool, work func(*session) (T, error)) (T, error) {
	var none T
	late := time.NewTimer(t.config.CallTimeout)
	defer late.Stop()
	s, err := t.pool.take(ctx, late.C)
	if err != nil {
		return none, err
	}
	if err := t.module.enter(ctx); err != nil {
		t.pool.give(s)
		return none, err
	}
	c := &call[T]{done: make(chan struct{})}
	go func() {
		// Only after the session is put away: closing it is a call, too.
		defer t.module.leave()
		value, err := onSession(t, &s, readWrite, work)
		if !c.state.CompareAndSwap(running, finished) {
			if response, ok := any(value).(card.Response); ok {
				response.Wipe()
			}
			t.pool.comeBack(s)
			return
		}
		c.value, c.err = value, err
		t.pool.give(s)
		close(c.done)
	}()
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		err = &busyError{ctx.Err()}
	case <-late.C:
		err = &TimeoutError{t.config.CallTimeout}
	}
	if !c.state.CompareAndSwap(running, abandoned) {
		<-c.done // it came back at the same moment
		return c.value, c.err
	}
	t.pool.abandon()
	return none, err
}

// call is one piece of work that somebody may have given up waiting for.
type call[T any] struct {
	state atomic.Int32 // running, then finished or abandoned
	done  chan struct{}
	value T
	err   error
}

// onSession does work on the session in the slot, which it opens where there is
// none or where it is from before the last login.
func onSession[T any](t *Token, slot **session, readWrite bool, work func(*session) (T, error)) (T, error) {
	var none T
	if t.generation.Load() != t.module.generation.Load() {
		return none, failed("C_OpenSession", pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)) // not since the module's last initialisation
	}
	if s := *slot; s != nil && s.epoch != t.epoch.Load() {
		s.close()
		*slot = nil
	}
	if readWrite {
		s, err := t.openSession(pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
		if err != nil {
			return none, err
		}
		defer s.close()
		return work(s)
	}
	if *slot == nil {
		s, err := t.openSession(pkcs11.CKF_SERIAL_SESSION)
		if err != nil {
			return none, err
		}
		*slot = s
	}
	return work(*slot)
}

// usable refuses at once what cannot work: the circuit is open for as long as
// the watch has not brought the token back.
func (t *Token) usable() error {
	if t.closed.Load() {
		return ErrClosed
	}
	if down := t.down.Load(); down != nil {
		return down
	}
	if n := t.pool.hanging(); n > t.pool.spare {
		return &downError{fmt.Errorf("%d calls hang in the PKCS#11 module", n)}
	}
	return nil
}

// downError says that the token is known not to work at present.
type downError struct{ cause error }

func (e *downError) Error() string { return "the HSM token is down: " + e.cause.Error() }
func (e *downError) Unwrap() error { return e.cause }

// Unavailable tells that the call may work another time.
func (e *downError) Unavailable() bool { return true }
