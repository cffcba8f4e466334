package smartcard

import (
	"fmt"
	"slices"
)

// gidsAID is the application's name without the version at its end.
const gidsAID = "\xA0\x00\x00\x03\x97\x42\x54\x46\x59"

// GIDS is a card whose PIN is set by whoever answers a challenge.
type GIDS struct{ card Transmitter }

// The objects and templates of GIDS.
const (
	tagPINStatus        = 0x7F71 // in GET DATA: what the PIN is like
	tagTriesLeft        = 0x97
	tagTriesLeftOld     = 0x9F17 // as the open applet has it
	tagTriesLimit       = 0x93
	tagAuthentication   = 0x7C // in GENERAL AUTHENTICATE
	tagChallenge        = 0x81
	tagResponse         = 0x82
	maxChallenge        = 64 // bytes; GIDS has 8, or 16 for AES
	gidsMinPIN          = 4
	gidsMaxPIN          = 15 // what OpenSC and the minidriver both take
	adminKeyEnvironment = "\x83\x01\x80"
)

// Name is "GIDS".
func (*GIDS) Name() string { return "GIDS" }

// Limits are those that the minidriver and OpenSC hold to.
func (*GIDS) Limits() PINLimits { return PINLimits{Min: gidsMinPIN, Max: gidsMaxPIN} }

// PIN reads the object with the PIN's status, or asks by VERIFY where the card has
// none.
func (g *GIDS) PIN() (PINState, error) {
	tag := []byte{tagPINStatus >> 8, tagPINStatus & 0xFF}
	data, err := send(g.card, command{ins: insGetData, p1: 0x3F, p2: 0xFF, data: object(0x5C, tag...), answers: true})
	if status, ok := err.(Status); ok && status.missing() { //nolint:errorlint // send gives it bare
		return askTries(g.card)
	}
	if err != nil {
		return PINState{Unknown, Unknown}, fmt.Errorf("read the PIN's state: %w", err)
	}
	count := func(tags ...uint32) int {
		for _, tag := range tags {
			if b := value(data, tagPINStatus, tag); len(b) == 1 {
				return int(b[0])
			}
		}
		return Unknown
	}
	state := PINState{TriesLeft: count(tagTriesLeft, tagTriesLeftOld), Limit: count(tagTriesLimit)}
	if state.TriesLeft == Unknown {
		return askTries(g.card)
	}
	return state, nil
}

// Challenge names the card admin key and has the card draw a challenge. Any command
// but Respond voids it, and so does the loss of power.
func (g *GIDS) Challenge() ([]byte, error) {
	if _, err := send(g.card, command{ins: insManageEnvironment, p1: 0x81, p2: 0xA4, data: []byte(adminKeyEnvironment)}); err != nil {
		return nil, fmt.Errorf("name the card admin key: %w", judged(err))
	}
	data, err := send(g.card, command{ins: insGeneralAuthenticate, data: object(tagAuthentication, tagChallenge, 0), answers: true})
	if err != nil {
		return nil, fmt.Errorf("ask for a challenge: %w", judged(err))
	}
	challenge := value(data, tagAuthentication, tagChallenge)
	if len(challenge) == 0 || len(challenge) > maxChallenge || len(challenge)%8 != 0 {
		return nil, fmt.Errorf("%w: a challenge of %d bytes", ErrGarbled, len(challenge))
	}
	return slices.Clone(challenge), nil
}

// Respond answers the challenge. A wrong response is a *WrongError or ErrDead; right
// or wrong, the challenge is used up.
func (g *GIDS) Respond(response []byte) error {
	template := object(tagResponse, response...)
	data := object(tagAuthentication, template...)
	defer clear(template)
	defer clear(data)
	_, err := send(g.card, command{ins: insGeneralAuthenticate, data: data})
	return judged(err)
}

// SetPIN sets a new PIN with all its tries, once, after a right response.
// ErrPINRefused leaves room for a better one.
func (g *GIDS) SetPIN(pin []byte) error {
	_, err := send(g.card, command{ins: insResetRetryCounter, p1: 0x02, p2: holderPIN, data: pin})
	return setting(err)
}

// Verify presents the PIN.
func (g *GIDS) Verify(pin []byte) error { return verify(g.card, pin) }
