package smartcard

import (
	"errors"
	"fmt"
)

// What may be wrong with a card and what it answers. The errors of Transmit come
// through as they are.
var (
	// ErrUnknownCard: neither a GIDS nor a PIV application is on the card.
	ErrUnknownCard = errors.New("the card has no application that is known here: neither GIDS nor PIV")
	// ErrGarbled: the card answers what no standard lets it answer.
	ErrGarbled = errors.New("the card's answer makes no sense")
	// ErrDead: the card takes no response (or no PUK) any more, for good.
	ErrDead = errors.New("the card takes no more attempts, for good")
	// ErrPINRefused: the card does not take this as a new PIN: too short, too long or
	// against a rule of its own. What was proved to it still holds, for a better PIN.
	ErrPINRefused = errors.New("the card does not take this as a PIN")
	// ErrVoid: no challenge is open. Another command came in between, or the card
	// lost its power.
	ErrVoid = errors.New("the challenge is void")
)

// Status is the status word that ends a response APDU, ISO 7816-4, table 5. One
// other than 9000 is an error.
type Status uint16

const (
	done             Status = 0x9000
	wrongLength      Status = 0x6700
	notAuthenticated Status = 0x6982
	blocked          Status = 0x6983
	notNow           Status = 0x6985
	badData          Status = 0x6A80
	noFile           Status = 0x6A82
	noObject         Status = 0x6A88
)

// triesLeft reads 63Cx: wrong, and x more tries are taken.
func (s Status) triesLeft() (tries int, ok bool) { return int(s & 0xF), s&0xFFF0 == 0x63C0 }

// missing tells a card that has no such thing from one that does not work: 6A82, 6A88
// and the words for a command that is not known.
func (s Status) missing() bool {
	switch byte(s >> 8) {
	case 0x6A, 0x6D, 0x6E:
		return true
	}
	return false
}

func (s Status) Error() string { return fmt.Sprintf("the card answers %04X", uint16(s)) }

// Unknown is a number of tries that a card does not tell.
const Unknown = -1

// WrongError says that what was presented, a response, a PUK or a PIN, was wrong,
// and what that cost.
type WrongError struct {
	// TriesLeft is how many more wrong ones the card survives; Unknown where it
	// does not say, which may mean that it does not count.
	TriesLeft int
}

func (e *WrongError) Error() string {
	if e.TriesLeft == Unknown {
		return "wrong; the card does not tell how many tries are left"
	}
	return fmt.Sprintf("wrong; tries left: %d", e.TriesLeft)
}

// judged reads the status of a command that presents something to be right or wrong.
func judged(err error) error {
	var status Status
	if !errors.As(err, &status) {
		return err
	}
	switch tries, counted := status.triesLeft(); {
	case counted && tries == 0, status == blocked:
		return ErrDead
	case counted:
		return &WrongError{tries}
	case status == notAuthenticated:
		return &WrongError{Unknown}
	case status == notNow:
		return ErrVoid
	}
	return err
}
