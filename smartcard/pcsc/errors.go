package pcsc

import (
	"errors"
	"fmt"
)

// What may be wrong between a program and a card. Error is one of them where the
// code says so.
var (
	ErrNoService  = errors.New("the smart card service does not run")
	ErrNoReader   = errors.New("no such reader")
	ErrNoCard     = errors.New("no card in the reader")
	ErrMute       = errors.New("the card does not answer")
	ErrBusy       = errors.New("another program holds the reader")
	ErrRemoved    = errors.New("the card was taken out")
	ErrReset      = errors.New("another program reset the card")
	ErrNotAllowed = errors.New("the system does not let this user use the reader")
)

// Error is what a call of PC/SC came to.
type Error struct {
	Call string
	Code uint32 // SCARD_E_..., SCARD_W_...
}

func (e *Error) Error() string {
	if kind := kinds[e.Code]; kind != nil {
		return fmt.Sprintf("%v (%s: %08X)", kind, e.Call, e.Code)
	}
	return fmt.Sprintf("the smart card service fails at %s with %08X", e.Call, e.Code)
}

// Unwrap gives which of the errors above it is, nil where it is another.
func (e *Error) Unwrap() error { return kinds[e.Code] }

// The codes that are looked at, as winscard.h and pcsclite.h have them.
const (
	success            = 0
	insufficientBuffer = 0x80100008
	unknownReader      = 0x80100009
	sharingViolation   = 0x8010000B
	noReaders          = 0x8010002E
	noService          = 0x8010001D
	serviceStopped     = 0x8010001E
)

var kinds = map[uint32]error{
	noService:        ErrNoService,
	serviceStopped:   ErrNoService,
	0x80100005:       ErrNoService, // "invalid target": what is left of a service that went away
	0x80100013:       ErrNoService, // communication error
	unknownReader:    ErrNoReader,
	0x80100017:       ErrNoReader, // unavailable: unplugged
	noReaders:        ErrNoReader,
	0x8010000C:       ErrNoCard,
	0x80100065:       ErrMute, // its first words make no sense
	0x80100066:       ErrMute, // it does not answer: put in the wrong way round
	0x80100067:       ErrMute, // it has no power
	0x80100016:       ErrMute, // not transacted: the card stopped in the middle of an answer
	0x8010002F:       ErrMute, // data lost
	sharingViolation: ErrBusy,
	0x80100069:       ErrRemoved,
	0x80100068:       ErrReset,
	0x8010006A:       ErrNotAllowed,
}
