package hsm

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// A C call cannot be cancelled. So sessions belong to workers, goroutines of their
// own, and whoever asks one for work waits no longer than the deadline. Work that
// is late is abandoned: its result is thrown away, its session never used again.

// job is one piece of work that somebody may give up waiting for.
type job struct {
	// task is the work; nil ends the worker.
	task task
	// readWrite asks for a session that may make token objects, which is opened for
	// this job and closed after it.
	readWrite bool

	state atomic.Int32
	done  chan struct{}
}

// task is work on a session.
type task interface {
	// do does the work, or is told why there is no session.
	do(s *session, err error)
	// drop throws away what do made where nobody waits for it any more.
	drop()
}

// order is a job with its work and what came of it.
type order[T any] struct {
	job
	work    func(*session) (T, error)
	value   T
	failure error
}

func (o *order[T]) do(s *session, err error) {
	var none T
	if o.value, o.failure = none, err; err == nil {
		o.value, o.failure = o.work(s)
	}
}

func (o *order[T]) drop() {
	if response, ok := any(o.value).(card.Response); ok {
		response.Wipe()
	}
}

// makeTimeout is the least time that work gets which makes token objects: small
// tokens take many seconds for an RSA key pair, and giving up on it would leave
// open whether it was made.
const makeTimeout = 20 * time.Second

// The states of a job.
const (
	waiting int32 = iota // in the queue
	running
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
	return runOn(ctx, t, t.pool.jobs, readWrite, work)
}

// runOn has the work done by whoever takes it from the queue.
func runOn[T any](ctx context.Context, t *Token, queue chan<- *job, readWrite bool, work func(*session) (T, error)) (T, error) {
	o := &order[T]{work: work}
	o.task, o.readWrite, o.done = o, readWrite, make(chan struct{})
	if err := t.wait(ctx, queue, &o.job); err != nil {
		var none T
		return none, err
	}
	return o.value, o.failure
}

// wait puts a job into the queue and waits until it is done. With an error the job
// was not done, or nobody will learn what came of it.
func (t *Token) wait(ctx context.Context, queue chan<- *job, j *job) error {
	limit := t.config.CallTimeout
	if j.readWrite {
		limit = max(limit, makeTimeout)
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case queue <- j:
	case <-ctx.Done():
		return &busyError{ctx.Err()}
	case <-late.C:
		return &busyError{context.DeadlineExceeded}
	}
	var busy, gone error
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
		busy, gone = &busyError{ctx.Err()}, &busyError{ctx.Err()}
	case <-late.C:
		busy, gone = &busyError{context.DeadlineExceeded}, &TimeoutError{limit}
	}
	for {
		switch {
		case j.state.CompareAndSwap(waiting, abandoned):
			return busy
		case j.state.CompareAndSwap(running, abandoned):
			if t.pool.abandon() {
				go t.work(t.pool.add())
			}
			return gone
		case j.state.Load() == finished:
			<-j.done // it came back at the same moment
			return nil
		}
	}
}

// work is the life of a worker.
func (t *Token) work(w *worker) {
	for {
		var j *job
		select {
		case j = <-t.pool.jobs:
		case j = <-w.nudges:
		}
		if !j.state.CompareAndSwap(waiting, running) {
			continue // nobody waits for it any more
		}
		w.busy.Store(true)
		goOn := t.perform(w, j)
		w.busy.Store(false)
		if !goOn {
			return
		}
	}
}

// perform does one job and tells whether the worker is to go on.
func (t *Token) perform(w *worker, j *job) (goOn bool) {
	if err := t.module.enter(t.always); err != nil && j.task != nil {
		j.task.do(nil, err)
	} else {
		t.onSession(w, j)
		if err == nil {
			defer t.module.leave() // only after sessions were closed: that is a call, too
		}
	}
	if j.state.CompareAndSwap(running, finished) {
		close(j.done)
		return j.task != nil
	}
	j.task.drop()
	w.end()
	return !t.pool.comeBack(w)
}

// onSession does a job on the worker's session, which it opens where there is none
// or where it is from before the last login.
func (t *Token) onSession(w *worker, j *job) {
	if w.session != nil && (j.task == nil || w.session.epoch != t.epoch.Load()) {
		w.end()
	}
	switch {
	case j.task == nil:
	case t.generation.Load() != t.module.generation.Load():
		// Nobody has logged in since the module's last initialisation.
		j.task.do(nil, failed("C_OpenSession", pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)))
	case j.readWrite:
		s, err := t.openSession(pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
		j.task.do(s, err)
		if err == nil {
			s.close()
		}
	default:
		var err error
		if w.session == nil {
			w.session, err = t.openSession(pkcs11.CKF_SERIAL_SESSION)
		}
		if w.session != nil && t.config.Observer != nil {
			w.session.mark = time.Now()
		}
		j.task.do(w.session, err)
		if w.session != nil && w.session.spoiled {
			w.end()
		}
	}
}

// end closes the worker's session, which also destroys every session object in it.
func (w *worker) end() {
	if w.session != nil {
		w.session.close()
		w.session = nil
	}
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
