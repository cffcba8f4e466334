package virtualcard

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // what the cards in the field speak
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"strings"

	"latchkey/card"
)

// The commands, by their INS byte.
const (
	insVerify              = 0x20
	insManageEnvironment   = 0x22
	insResetRetryCounter   = 0x2C
	insGeneralAuthenticate = 0x87
	insSelect              = 0xA4
	insGetData             = 0xCB
)

// The tags of GENERAL AUTHENTICATE.
const (
	tagAuthentication = 0x7C
	tagChallenge      = 0x81
	tagResponse       = 0x82
)

const (
	// aid is the application's whole name; clients leave out the version at its end.
	aid               = "\xA0\x00\x00\x03\x97\x42\x54\x46\x59\x02\x01"
	aidWithoutVersion = 9
	// adminKeyNamed is the one security environment: key reference 80.
	adminKeyNamed = "\x83\x01\x80"
)

type command struct {
	cla, ins, p1, p2 byte
	data             []byte
}

// parse reads a short command APDU: header, then nothing, Le, Lc and data, or all three.
func parse(apdu []byte) (command, Status) {
	if len(apdu) < 4 {
		return command{}, WrongLength
	}
	c := command{cla: apdu[0], ins: apdu[1], p1: apdu[2], p2: apdu[3]}
	body := apdu[4:]
	if len(body) < 2 { // nothing, or Le alone
		return c, OK
	}
	lc := int(body[0])
	if lc == 0 || len(body) != 1+lc && len(body) != 1+lc+1 {
		return c, WrongLength
	}
	c.data = body[1 : 1+lc]
	return c, OK
}

// Transmit gives the response APDU to a command APDU: data, then the two bytes
// of the status word, which are always there.
func (c *Card) Transmit(apdu []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Whatever the command is, it ends the challenge: answered or void.
	challenge := c.challenge
	c.challenge = nil

	cmd, status := parse(apdu)
	var data []byte
	switch {
	case status != OK:
	case cmd.cla != 0:
		status = UnknownClass
	default:
		switch cmd.ins {
		case insSelect:
			data, status = c.selectApplication(cmd)
		case insManageEnvironment:
			status = c.manageEnvironment(cmd)
		case insGeneralAuthenticate:
			data, status = c.generalAuthenticate(cmd, challenge)
		case insResetRetryCounter:
			status = c.resetRetryCounter(cmd)
		case insVerify:
			status = c.verify(cmd)
		case insGetData:
			data, status = c.getData(cmd)
		default:
			status = UnknownCommand
		}
	}
	return binary.BigEndian.AppendUint16(data, uint16(status))
}

// selectApplication ends every authentication even where it finds nothing: the
// application was left.
func (c *Card) selectApplication(cmd command) ([]byte, Status) {
	c.reset()
	switch {
	case cmd.p1 != 0x04 || cmd.p2 != 0x00:
		return nil, WrongParameters
	case len(cmd.data) < aidWithoutVersion || !strings.HasPrefix(aid, string(cmd.data)):
		return nil, FileNotFound
	}
	// The application template: its name, and that it does TDES and AES.
	return slices.Concat([]byte{0x61, 0x12, 0x4F, byte(len(aid))}, []byte(aid), []byte{0x73, 0x03, 0x40, 0x01, 0xC0}), OK
}

func (c *Card) manageEnvironment(cmd command) Status {
	switch {
	case cmd.p1 != 0x81 || cmd.p2 != 0xA4:
		return WrongParameters
	case string(cmd.data) != adminKeyNamed:
		return DataInvalid
	}
	c.keyNamed = true
	return OK
}

func (c *Card) generalAuthenticate(cmd command, challenge []byte) ([]byte, Status) {
	c.authenticated = false
	if cmd.p1 != 0 || cmd.p2 != 0 {
		return nil, WrongParameters
	}
	// One object in the template, each with a length of one byte.
	d := cmd.data
	if len(d) < 4 || d[0] != tagAuthentication || int(d[1]) != len(d)-2 || int(d[3]) != len(d)-4 {
		return nil, DataInvalid
	}
	tag, value := d[2], d[4:]
	switch {
	case !c.keyNamed:
		return nil, NotNow
	case c.dead():
		return nil, Blocked
	case tag == tagChallenge && len(value) == 0:
		c.challenge = make([]byte, c.KeyType.Block())
		_, _ = rand.Read(c.challenge) // never fails
		n := byte(len(c.challenge))   //nolint:gosec // 8 or 16
		return slices.Concat([]byte{tagAuthentication, n + 2, tagChallenge, n}, c.challenge), OK
	case tag == tagResponse && len(value) == c.KeyType.Block():
		return nil, c.check(challenge, value)
	}
	return nil, DataInvalid
}

// check judges a response to the challenge, which may be none.
func (c *Card) check(challenge, response []byte) Status {
	if challenge == nil {
		return NotNow
	}
	want := make([]byte, len(challenge))
	c.cipher().Encrypt(want, challenge)
	if subtle.ConstantTimeCompare(want, response) == 1 {
		c.authenticated, c.AdminLeft = true, c.AdminTries
		return OK
	}
	if c.AdminTries == 0 {
		return NotAuthenticated
	}
	c.AdminLeft--
	if c.AdminLeft == 0 {
		return Blocked
	}
	return triesLeft | Status(c.AdminLeft) //nolint:gosec // at most 15
}

// cipher is the admin key at work. check has seen the key's length, which is
// all that these constructors can object to.
func (c *Card) cipher() cipher.Block {
	key, newCipher := c.AdminKey, aes.NewCipher
	switch c.KeyType {
	case card.TDES2:
		key, newCipher = slices.Concat(key, key[:8]), des.NewTripleDESCipher
	case card.TDES3:
		newCipher = des.NewTripleDESCipher
	case card.AES128, card.AES192, card.AES256:
	}
	block, err := newCipher(key)
	if err != nil {
		panic(err)
	}
	return block
}

func (c *Card) resetRetryCounter(cmd command) Status {
	switch {
	case cmd.p1 != 0x02:
		return WrongParameters
	case cmd.p2 != 0x80:
		return NoReference
	case !c.authenticated:
		return NotAuthenticated
	case len(cmd.data) < MinPIN || len(cmd.data) > MaxPIN:
		return WrongLength // the authentication stays, for a better PIN
	}
	c.PIN, c.PINLeft = slices.Clone(cmd.data), c.PINTries
	c.reset()
	return OK
}

func (c *Card) verify(cmd command) Status {
	switch {
	case cmd.p1 != 0:
		return WrongParameters
	case cmd.p2 != 0x80:
		return NoReference
	case c.PINLeft == 0:
		return Blocked
	case len(cmd.data) < MinPIN || len(cmd.data) > MaxPIN:
		// No PIN can be so long: it costs no try. With no data at all it is a question.
		return triesLeft | Status(c.PINLeft) //nolint:gosec // at most 15
	case !equalPIN(c.PIN, cmd.data):
		c.PINLeft--
		return triesLeft | Status(c.PINLeft) //nolint:gosec // at most 15
	}
	c.PINLeft = c.PINTries
	return OK
}

// equalPIN takes the same time for PINs of whatever length, as a card must.
func equalPIN(a, b []byte) bool {
	var x, y [1 + MaxPIN]byte
	x[0], y[0] = byte(len(a)), byte(len(b)) //nolint:gosec // at most 16
	copy(x[1:], a)
	copy(y[1:], b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
