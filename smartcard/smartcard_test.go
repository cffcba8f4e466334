package smartcard

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"errors"
	"slices"
	"testing"

	"latchkey/card"
	"latchkey/softhsm-test/virtualcard"
)

var adminKey = []byte("0123456789abcdefghijklmnopqrstuv")

// inReader is a virtual card in a reader.
type inReader struct {
	transmit func([]byte) []byte
	t0       bool
	sent     [][]byte
	// removedAt takes the card out before the command of that number, from 1.
	removedAt int
	more      []byte // T=0: what GET RESPONSE fetches
}

var errRemoved = errors.New("taken out")

func (r *inReader) T0() bool { return r.t0 }

// Transmit is a reader of T=1, or one of T=0 that lets the card answer as such cards
// do: 61xx after a command with data, 6Cxx where another length was asked for.
func (r *inReader) Transmit(apdu []byte) ([]byte, error) {
	r.sent = append(r.sent, bytes.Clone(apdu))
	if len(r.sent) == r.removedAt {
		return nil, errRemoved
	}
	if !r.t0 {
		return r.transmit(apdu), nil
	}
	if apdu[1] == insGetResponse {
		if int(apdu[4]) != len(r.more) {
			return []byte{0x6C, byte(len(r.more))}, nil
		}
		return append(r.more, 0x90, 0x00), nil
	}
	if len(apdu) > 5 && len(apdu) != 5+int(apdu[4]) {
		return []byte{0x67, 0x00}, nil // both data and Le
	}
	answer := r.transmit(apdu)
	if len(answer) == 2 {
		return answer, nil
	}
	r.more = answer[:len(answer)-2]
	return []byte{0x61, byte(len(r.more))}, nil
}

func newCard(t *testing.T, keyType card.KeyType, adminTries int) *virtualcard.Card {
	t.Helper()
	c, err := virtualcard.New(virtualcard.Config{Serial: "1", KeyType: keyType, AdminKey: adminKey[:keyType.Len()], PIN: "1234", AdminTries: adminTries})
	check(t, err)
	for !c.Blocked() {
		_ = c.VerifyPIN("0000")
	}
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, keyType card.KeyType, challenge []byte) []byte {
	t.Helper()
	newCipher := aes.NewCipher
	if keyType == card.TDES3 {
		newCipher = des.NewTripleDESCipher
	}
	b, err := newCipher(adminKey[:keyType.Len()])
	check(t, err)
	out := make([]byte, len(challenge))
	cipher.Block(b).Encrypt(out, challenge)
	return out
}

func openGIDS(t *testing.T, r Transmitter) *GIDS {
	t.Helper()
	a, err := Open(r)
	check(t, err)
	g, ok := a.(*GIDS)
	if !ok {
		t.Fatalf("the application is %T", a)
	}
	return g
}

func TestGIDS(t *testing.T) {
	for _, keyType := range []card.KeyType{card.TDES3, card.AES256} {
		for _, t0 := range []bool{false, true} {
			c := newCard(t, keyType, 0)
			g := openGIDS(t, &inReader{transmit: c.Transmit, t0: t0})
			state, err := g.PIN()
			check(t, err)
			if state != (PINState{TriesLeft: 0, Limit: 3}) || !state.Blocked() {
				t.Errorf("the PIN's state is %+v", state)
			}
			if err := g.Verify([]byte("1234")); !errors.Is(err, ErrDead) {
				t.Errorf("a blocked PIN: %v", err)
			}
			challenge, err := g.Challenge()
			check(t, err)
			check(t, g.Respond(answer(t, keyType, challenge)))
			if err := g.SetPIN([]byte("12")); !errors.Is(err, ErrPINRefused) {
				t.Errorf("a short PIN: %v", err)
			}
			check(t, g.SetPIN([]byte("654321")))
			check(t, g.Verify([]byte("654321")))
			var wrong *WrongError
			if err := g.Verify([]byte("1234")); !errors.As(err, &wrong) || wrong.TriesLeft != 2 {
				t.Errorf("the old PIN: %v", err)
			}
			if state, err = g.PIN(); err != nil || state.TriesLeft != 2 {
				t.Errorf("the PIN's state is %+v (%v)", state, err)
			}
		}
	}
}

// A wrong response tells what it cost, and the challenge is void after anything.
func TestWrongResponse(t *testing.T) {
	for tries, want := range map[int][]error{
		0: {&WrongError{Unknown}, &WrongError{Unknown}, &WrongError{Unknown}, &WrongError{Unknown}},
		3: {&WrongError{2}, &WrongError{1}, ErrDead, ErrDead},
	} {
		c := newCard(t, card.TDES3, tries)
		g := openGIDS(t, &inReader{transmit: c.Transmit})
		for i, want := range want {
			_, err := g.Challenge()
			if err == nil {
				err = g.Respond(make([]byte, 8))
			}
			var wrong, wantWrong *WrongError
			if errors.As(want, &wantWrong) {
				if !errors.As(err, &wrong) || *wrong != *wantWrong {
					t.Errorf("wrong response %d of a card that takes %d: %v", i+1, tries, err)
				}
			} else if !errors.Is(err, want) {
				t.Errorf("wrong response %d of a card that takes %d: %v", i+1, tries, err)
			}
		}
	}
	c := newCard(t, card.TDES3, 0)
	g := openGIDS(t, &inReader{transmit: c.Transmit})
	challenge, err := g.Challenge()
	check(t, err)
	_, err = g.PIN()
	check(t, err)
	if err := g.Respond(answer(t, card.TDES3, challenge)); !errors.Is(err, ErrVoid) {
		t.Errorf("a challenge that another command followed: %v", err)
	}
}

// Whichever command the card is taken out before, the error is the reader's, and the
// card is as it was until the new PIN was set.
func TestRemoved(t *testing.T) {
	unblock := func(r *inReader) error {
		a, err := Open(r)
		if err != nil {
			return err
		}
		g := a.(*GIDS)
		if _, err := g.PIN(); err != nil {
			return err
		}
		challenge, err := g.Challenge()
		if err != nil {
			return err
		}
		if err := g.Respond(answer(t, card.TDES3, challenge)); err != nil {
			return err
		}
		if err := g.SetPIN([]byte("654321")); err != nil {
			return err
		}
		return g.Verify([]byte("654321"))
	}
	const commands = 7
	for at := 1; at <= commands+1; at++ {
		c := newCard(t, card.TDES3, 0)
		err := unblock(&inReader{transmit: c.Transmit, removedAt: at})
		if at <= commands && !errors.Is(err, errRemoved) || at > commands && err != nil {
			t.Errorf("taken out before command %d: %v", at, err)
		}
		c.Reset()
		if blocked := at < commands; c.Blocked() != blocked {
			t.Errorf("taken out before command %d, the PIN's being blocked is %v", at, c.Blocked())
		}
	}
}

// scripted answers with what it is given, the last over and over.
type scripted struct{ answers [][]byte }

func (s *scripted) T0() bool { return false }

func (s *scripted) Transmit([]byte) ([]byte, error) {
	a := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	return a, nil
}

func TestAnswers(t *testing.T) {
	ask := command{ins: insGetData, answers: true}
	for name, v := range map[string]struct {
		answers [][]byte
		data    string
		err     error
	}{
		"whole":                    {answers: [][]byte{{'a', 0x90, 0}}, data: "a"},
		"in three parts":           {answers: [][]byte{{'a', 0x61, 2}, {'b', 0x61, 1}, {'c', 0x90, 0}}, data: "abc"},
		"of another length":        {answers: [][]byte{{0x6C, 1}, {'a', 0x90, 0}}, data: "a"},
		"of another length always": {answers: [][]byte{{0x6C, 1}}, err: ErrGarbled},
		"more and nothing":         {answers: [][]byte{{0x61, 1}}, err: ErrGarbled},
		"more without end":         {answers: [][]byte{append(bytes.Repeat([]byte{1}, 256), 0x61, 0)}, err: ErrGarbled},
		"too short":                {answers: [][]byte{{0x90}}, err: ErrGarbled},
		"a no":                     {answers: [][]byte{{0x6D, 0}}, err: Status(0x6D00)},
	} {
		data, err := send(&scripted{v.answers}, ask)
		if string(data) != v.data || !errors.Is(err, v.err) {
			t.Errorf("an answer that is %s: %q, %v", name, data, err)
		}
	}
}

func TestCommandLayout(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 256)
	for _, v := range []struct {
		c    command
		t0   bool
		want []byte
	}{
		{command{ins: 1}, false, []byte{0, 1, 0, 0}},
		{command{ins: 1, answers: true}, true, []byte{0, 1, 0, 0, 0}},
		{command{ins: 1, data: []byte{9}}, false, []byte{0, 1, 0, 0, 1, 9}},
		{command{ins: 1, data: []byte{9}, answers: true}, false, []byte{0, 1, 0, 0, 1, 9, 0}},
		{command{ins: 1, data: []byte{9}, answers: true}, true, []byte{0, 1, 0, 0, 1, 9}},
		{command{ins: 1, data: long, answers: true}, false, slices.Concat([]byte{0, 1, 0, 0, 0, 1, 0}, long, []byte{0, 0})},
	} {
		if got := v.c.bytes(v.t0); !bytes.Equal(got, v.want) {
			t.Errorf("%+v is laid out as %X", v.c, got)
		}
	}
}

// pivCard answers as SP 800-73-4 has it: one PIN, one PUK, no more.
type pivCard struct {
	pin, puk         string
	pinLeft, pukLeft int
}

func (c *pivCard) transmit(apdu []byte) []byte {
	try := func(left *int, right bool) []byte {
		switch {
		case *left == 0:
			return []byte{0x69, 0x83}
		case right:
			*left = 3
			return []byte{0x90, 0}
		}
		*left--
		return []byte{0x63, 0xC0 | byte(*left)}
	}
	switch {
	case bytes.HasPrefix(apdu, []byte("\x00\xA4\x04\x00\x09\xA0\x00\x00\x03\x08\x00\x00\x10\x00")):
		return []byte{0x61, 0x00, 0x90, 0x00}
	case apdu[1] == 0xA4:
		return []byte{0x6A, 0x82}
	case bytes.Equal(apdu, []byte{0, 0x20, 0, 0x80}):
		if c.pinLeft == 0 {
			return []byte{0x69, 0x83}
		}
		return []byte{0x63, 0xC0 | byte(c.pinLeft)}
	case bytes.HasPrefix(apdu, []byte{0, 0x20, 0, 0x80, 8}):
		return try(&c.pinLeft, string(apdu[5:]) == c.pin)
	case bytes.HasPrefix(apdu, []byte{0, 0x2C, 0, 0x80, 16}):
		right := string(apdu[5:13]) == c.puk
		if answer := try(&c.pukLeft, right); !right || answer[0] != 0x90 {
			return answer
		}
		if bytes.ContainsFunc(bytes.TrimRight(apdu[13:], "\xFF"), func(r rune) bool { return r < '0' || r > '9' }) {
			return []byte{0x6A, 0x80}
		}
		c.pin, c.pinLeft = string(apdu[13:]), 3
		return []byte{0x90, 0}
	}
	return []byte{0x6D, 0}
}

func TestPIV(t *testing.T) {
	c := &pivCard{pin: "123456\xFF\xFF", puk: "87654321", pukLeft: 2}
	a, err := Open(&inReader{transmit: c.transmit})
	check(t, err)
	p := a.(*PIV)
	state, err := p.PIN()
	check(t, err)
	if !state.Blocked() {
		t.Errorf("the PIN's state is %+v", state)
	}
	var wrong *WrongError
	if err := p.Unblock([]byte("00000000"), []byte("246813")); !errors.As(err, &wrong) || wrong.TriesLeft != 1 {
		t.Errorf("a wrong PUK: %v", err)
	}
	if err := p.Unblock([]byte("87654321"), []byte("letters")); !errors.Is(err, ErrPINRefused) {
		t.Errorf("a PIN of letters: %v", err)
	}
	check(t, p.Unblock([]byte("87654321"), []byte("246813")))
	check(t, p.Verify([]byte("246813")))
	for range 3 {
		err = p.Unblock([]byte("00000000"), []byte("246813"))
	}
	if !errors.Is(err, ErrDead) {
		t.Errorf("a PUK that was wrong too often: %v", err)
	}
}

func TestUnknownCard(t *testing.T) {
	if _, err := Open(&scripted{[][]byte{{0x6A, 0x82}}}); !errors.Is(err, ErrUnknownCard) {
		t.Errorf("a card with another application: %v", err)
	}
}

// Whatever a card answers, nothing panics and nothing goes on for ever.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0x7C, 0x0A, 0x81, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x90, 0})
	f.Add([]byte{0x7F, 0x71, 0x06, 0x97, 1, 0, 0x93, 1, 3, 0x90, 0})
	f.Add([]byte{0x7F, 0x71, 0x81, 0x82, 0x61, 0xFF})
	f.Fuzz(func(t *testing.T, answer []byte) {
		g := &GIDS{&scripted{[][]byte{answer, {0x90, 0}}}}
		_, _ = g.PIN()
		g = &GIDS{&scripted{[][]byte{{0x90, 0}, answer, {0x90, 0}}}}
		challenge, err := g.Challenge()
		if err == nil && (len(challenge) == 0 || len(challenge) > maxChallenge) {
			t.Errorf("a challenge of %d bytes", len(challenge))
		}
	})
}
