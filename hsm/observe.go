package hsm

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// Observer is told of PKCS#11 calls. It is called from many goroutines, in the
// path of each answer, so it has to be quick.
type Observer interface {
	// Called tells that a function, as in "C_DeriveKey", came back with a CKR_ code
	// after that time. The time is measured from when the call before it came back,
	// and so holds the few microseconds that Go spent between them: one look at the
	// clock a call.
	Called(function string, code uint, took time.Duration)
}

// observe tells the observer, if there is one, of a call that began at the given
// time, and gives back the time at which it ended.
func observe(o Observer, function string, err error, began time.Time) time.Time {
	if o == nil {
		return time.Time{}
	}
	now := time.Now()
	o.Called(function, code(err), now.Sub(began))
	return now
}

// CodeName is a CKR_ code's name, "other" for one that PKCS#11 does not define:
// there are few names, whatever a module gives back.
func CodeName(code uint) string {
	if code == pkcs11.CKR_OK {
		return "CKR_OK"
	}
	// miekg writes "pkcs11: 0x30: CKR_DEVICE_ERROR".
	text := pkcs11.Error(code).Error()
	if name := text[strings.LastIndexByte(text, ' ')+1:]; strings.HasPrefix(name, "CKR_") {
		return name
	}
	return "other"
}

// counts counts what happened to a token since it was opened.
type counts struct{ retries, outages, recoveries atomic.Uint64 }

// Status is how a token stands at the moment.
type Status struct {
	Label, Serial string
	// Sessions is how many workers there are, each with a session of its own, Busy
	// how many of them are at work. Waiting is how many answers and other jobs wait
	// for one, Hanging how many calls were given up and have not come back.
	Sessions, Busy, Waiting, Hanging int
	// Down tells that the circuit is open: calls are refused at once.
	Down       bool
	PINRefused bool
	// Retries counts the calls that were tried once more, Outages how often the
	// circuit was opened, Recoveries how often it was closed again.
	Retries, Outages, Recoveries uint64
	// Initialisations counts how often the module was initialised anew.
	Initialisations uint64
}

// Status tells how the token stands, without asking it.
func (t *Token) Status() Status {
	s := Status{
		Label: t.info.Label, Serial: t.info.Serial,
		Waiting: len(t.pool.jobs), Down: t.down.Load() != nil, PINRefused: t.pinRefused.Load(),
		Retries: t.counts.retries.Load(), Outages: t.counts.outages.Load(), Recoveries: t.counts.recoveries.Load(),
		Initialisations: t.module.generation.Load(),
	}
	s.Sessions, s.Busy, s.Hanging = t.pool.use()
	return s
}

// use counts the workers, those of them that are at work, and the calls that hang.
func (p *pool) use() (workers, busy, hung int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.busy.Load() {
			busy++
		}
	}
	return len(p.workers), busy, p.hung
}
