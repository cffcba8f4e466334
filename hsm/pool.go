package hsm

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// session is one PKCS#11 session with the calls that an answer needs. It belongs
// to one worker.
type session struct {
	ctx    *pkcs11.Ctx
	module *Module
	handle pkcs11.SessionHandle
	calls  *atomic.Int64
	// observer, where there is one, is told of each call; mark is when the call
	// began, which is when the job did or the call before came back.
	observer Observer
	mark     time.Time
	// cardKeys are the templates of card admin keys.
	cardKeys map[card.KeyType][]*pkcs11.Attribute
	// nativeCounter tells that the token has CKM_SP800_108_COUNTER_KDF itself.
	nativeCounter bool
	// epoch is that of the login under which the session was opened, generation
	// that of the module.
	epoch, generation uint64
	// spoiled marks a session that must not be used again.
	spoiled bool
}

// call counts a PKCS#11 call and names the function in its error.
func (s *session) call(name string, err error) error {
	s.calls.Add(1)
	if s.observer != nil {
		s.mark = observe(s.observer, name, err, s.mark)
	}
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
	if s.generation == s.module.generation.Load() {
		s.module.closeSession(s.handle)
	}
}

// pool bounds how many sessions are open: each belongs to a worker, which opens it
// when it first needs it and keeps it. Opening and closing in the hot path is slow
// on network HSMs and races in SoftHSM.
//
// A worker whose call nobody waits for any more is replaced by another, up to
// spare times: after that the pool shrinks with each hung call, so that a module
// which hangs cannot eat up the process's threads.
type pool struct {
	jobs  chan *job
	size  int
	spare int

	mu      sync.Mutex
	workers []*worker
	hung    int // calls that were abandoned and have not come back
}

// queued is how many jobs may wait before those who bring more wait themselves.
const queued = 1024

func newPool(size, spare int) *pool {
	return &pool{jobs: make(chan *job, queued), size: size, spare: spare}
}

// worker does jobs, one at a time, on a session of its own.
type worker struct {
	nudges  chan *job // for this worker alone
	session *session  // nil until it is needed
	busy    atomic.Bool
}

// add takes in a new worker.
func (p *pool) add() *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &worker{nudges: make(chan *job, 1)}
	p.workers = append(p.workers, w)
	return w
}

// abandon gives up a worker whose call did not come back in time, and tells
// whether another is to take its place.
func (p *pool) abandon() (replace bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung++
	return p.hung <= p.spare
}

// comeBack ends an abandoned call that came back after all, and tells whether its
// worker is wanted no more, since another took its place.
func (p *pool) comeBack(w *worker) (surplus bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	surplus = p.hung <= p.spare
	p.hung--
	if surplus {
		p.workers = slices.DeleteFunc(p.workers, func(other *worker) bool { return other == w })
	}
	return surplus
}

// hanging counts the abandoned calls that have not come back.
func (p *pool) hanging() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hung
}

// idle lists the workers that have nothing to do.
func (p *pool) idle() []*worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	var idle []*worker
	for _, w := range p.workers {
		if !w.busy.Load() {
			idle = append(idle, w)
		}
	}
	return idle
}
