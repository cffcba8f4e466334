package pcsc

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unsafe"
)

// Values of PC/SC, the same in every system.
const (
	scopeSystem    = 2
	shareExclusive = 1
	shareShared    = 2
	leaveCard      = 0
	resetCard      = 1
	protocolT0     = 1
	protocolT1     = 2
)

// maxAPDU is the longest extended APDU, in bytes.
const maxAPDU = 65536 + 9

// Service is a connection to the system's smart card service. It and its cards are
// for one goroutine, but for Card.Alive.
type Service struct {
	library *library
	context handle
}

// Open connects to the service. ErrNoService where it does not run or is not
// installed.
func Open() (*Service, error) {
	l, err := load()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoService, err)
	}
	s := &Service{library: l}
	if err := result("SCardEstablishContext", l.establishContext(scopeSystem, nil, nil, &s.context)); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the connection.
func (s *Service) Close() error {
	return result("SCardReleaseContext", s.library.releaseContext(s.context))
}

// Readers are the names of the readers that are plugged in; none is no error.
func (s *Service) Readers() ([]string, error) {
	for {
		var length dword
		code := s.library.listReaders(s.context, nil, nil, &length)
		names := make([]char, max(length, 2))
		if uint32(code) == success { //nolint:gosec // a code has 32 bits
			length = dword(len(names))
			code = s.library.listReaders(s.context, nil, &names[0], &length)
		}
		switch uint32(code) { //nolint:gosec // as above
		case success:
			return split(names[:length]), nil
		case noReaders:
			return nil, nil
		case insufficientBuffer: // one was plugged in between the calls
		default:
			return nil, result("SCardListReaders", code)
		}
	}
}

// split parts a list of names, each ended by a zero and all by another.
func split(list []char) []string {
	var names []string
	for len(list) > 0 && list[0] != 0 {
		end := 0
		for end < len(list) && list[end] != 0 {
			end++
		}
		names = append(names, text(list[:end]))
		list = list[min(end+1, len(list)):]
	}
	return names
}

// Card is a card in its reader, held.
type Card struct {
	service  *Service
	card     handle
	protocol dword
	shared   bool
}

// How often, and with what pauses, a reader that somebody else holds is asked for:
// others that look at a new card are done within a second or two.
const (
	busyTries = 15
	busyPause = 200 * time.Millisecond
)

// Connect holds the card in a reader: for this program alone, or, where others are
// connected as well, by a transaction that keeps them out. ErrNoReader, ErrNoCard,
// ErrMute, ErrBusy where somebody holds it for more than three seconds.
func (s *Service) Connect(reader string) (*Card, error) {
	for try := 1; ; try++ {
		c, err := s.connect(reader, shareExclusive)
		if errors.Is(err, ErrBusy) {
			c, err = s.connect(reader, shareShared)
		}
		if err == nil || !errors.Is(err, ErrBusy) && !errors.Is(err, ErrReset) || try == busyTries {
			return c, err
		}
		time.Sleep(busyPause)
	}
}

func (s *Service) connect(reader string, share dword) (*Card, error) {
	c := &Card{service: s, shared: share == shareShared}
	name := append(chars(reader), 0)
	code := s.library.connect(s.context, &name[0], share, protocolT0|protocolT1, &c.card, &c.protocol)
	if err := result("SCardConnect", code); err != nil {
		return nil, err
	}
	if !c.shared {
		return c, nil
	}
	// A transaction that somebody else has is waited for: whoever is connected beside
	// others means to let them have their turn.
	if err := result("SCardBeginTransaction", s.library.beginTransaction(c.card)); err != nil {
		_ = s.library.disconnect(c.card, leaveCard) // the first error is the one to tell
		return nil, err
	}
	return c, nil
}

// Close resets the card and lets go of it.
func (c *Card) Close() error {
	var ended error
	if c.shared {
		ended = result("SCardEndTransaction", c.service.library.endTransaction(c.card, resetCard))
	}
	return errors.Join(ended, result("SCardDisconnect", c.service.library.disconnect(c.card, resetCard)))
}

// T0 tells whether the card speaks T=0, where no command both brings and asks for data.
func (c *Card) T0() bool { return c.protocol == protocolT0 }

// Alive asks the service, not the card, whether the card is there and has kept its
// power: ErrRemoved, ErrReset. It voids nothing and may be called beside Transmit.
func (c *Card) Alive() error {
	var names, state, protocol, length dword
	return result("SCardStatus", c.service.library.status(c.card, nil, &names, &state, &protocol, nil, &length))
}

// Transmit sends a command APDU and gives the response APDU.
func (c *Card) Transmit(command []byte) ([]byte, error) {
	if len(command) == 0 {
		return nil, errors.New("an empty command")
	}
	request := ioRequest{protocol: c.protocol, length: dword(unsafe.Sizeof(ioRequest{}))}
	answer := make([]byte, maxAPDU)
	length := dword(len(answer))
	code := c.service.library.transmit(c.card, &request, &command[0], dword(len(command)), nil, &answer[0], &length)
	if err := result("SCardTransmit", code); err != nil {
		return nil, err
	}
	return bytes.Clone(answer[:length]), nil
}

// result makes an error of a call's code.
func result(call string, code uintptr) error {
	if uint32(code) == success { //nolint:gosec // a code has 32 bits, whatever the type is that it comes in
		return nil
	}
	return &Error{Call: call, Code: uint32(code)} //nolint:gosec // as above
}
