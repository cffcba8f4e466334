package smartcard

import (
	"errors"
	"fmt"
)

// PINState is what the card tells of its holder's PIN.
type PINState struct {
	// TriesLeft is how many wrong PINs it takes before it is blocked, Limit how many
	// it took when it was last right; each Unknown where the card does not tell.
	TriesLeft, Limit int
}

// Blocked tells whether no PIN is taken any more.
func (s PINState) Blocked() bool { return s.TriesLeft == 0 }

// PINLimits are what the application itself demands of a PIN.
type PINLimits struct {
	Min, Max   int // bytes
	DigitsOnly bool
}

// Application is what is on the card: a *GIDS or a *PIV.
type Application interface {
	// Name is the application's, as in "GIDS".
	Name() string
	// PIN asks for the PIN's state, which costs no try. On GIDS it voids an open challenge.
	PIN() (PINState, error)
	// Limits says what a new PIN must be like.
	Limits() PINLimits
	// Verify presents the PIN. A wrong one costs a try: *WrongError, ErrDead where
	// it was the last.
	Verify(pin []byte) error
}

// Open selects the application that is there. Other applications' authentications
// end with it, and so does an open challenge. ErrUnknownCard where it knows none.
func Open(t Transmitter) (Application, error) {
	for _, a := range []struct {
		aid string
		as  func() Application
	}{
		{gidsAID, func() Application { return &GIDS{t} }},
		{pivAID, func() Application { return &PIV{t} }},
	} {
		_, err := send(t, command{ins: insSelect, p1: 0x04, data: []byte(a.aid), answers: true})
		var status Status
		switch {
		case err == nil:
			return a.as(), nil
		case !errors.As(err, &status):
			return nil, err
		}
	}
	return nil, ErrUnknownCard
}

// holderPIN is the reference of the holder's PIN in both applications.
const holderPIN = 0x80

// askTries asks for the tries left by a VERIFY without a PIN, ISO 7816-4, 11.5.6,
// which is no try.
func askTries(t Transmitter) (PINState, error) {
	_, err := send(t, command{ins: insVerify, p2: holderPIN})
	state := PINState{Unknown, Unknown}
	var status Status
	if err == nil || !errors.As(err, &status) {
		return state, err // no error: the PIN was verified before, and how many are left is not told
	}
	if tries, counted := status.triesLeft(); counted {
		state.TriesLeft = tries
		return state, nil
	}
	if status == blocked {
		state.TriesLeft = 0
		return state, nil
	}
	return state, fmt.Errorf("ask for the PIN's state: %w", err)
}

func verify(t Transmitter, pin []byte) error {
	_, err := send(t, command{ins: insVerify, p2: holderPIN, data: pin})
	return judged(err)
}

// setting reads the status of RESET RETRY COUNTER where it is about the new PIN.
func setting(err error) error {
	switch {
	case errors.Is(err, wrongLength), errors.Is(err, badData):
		return ErrPINRefused
	}
	return err
}
