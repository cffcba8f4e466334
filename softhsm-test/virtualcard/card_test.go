package virtualcard

import (
	"crypto/des"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/card"
)

const (
	firstPIN = "1234"
	adminKey = "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123" // SP 800-67's example
)

func bytesOf(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func newCard(tb testing.TB, change func(*Config)) *Card {
	tb.Helper()
	config := Config{Serial: "GIDS-1", KeyType: card.TDES3, AdminKey: bytesOf(tb, adminKey), PIN: firstPIN}
	if change != nil {
		change(&config)
	}
	c, err := New(config)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// answer is the right response to a challenge under adminKey.
func answer(tb testing.TB, challenge []byte) []byte {
	tb.Helper()
	cipher, err := des.NewTripleDESCipher(bytesOf(tb, adminKey))
	if err != nil {
		tb.Fatal(err)
	}
	response := make([]byte, len(challenge))
	cipher.Encrypt(response, challenge)
	return response
}

func challenge(tb testing.TB, c *Card) []byte {
	tb.Helper()
	b, err := c.Challenge()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func block(tb testing.TB, c *Card) {
	tb.Helper()
	for !c.Blocked() {
		if err := c.VerifyPIN("0000"); err == nil {
			tb.Fatal("the card takes a wrong PIN")
		}
	}
}

// The card is the judge of every response in the tests above this package, so
// it is itself held to published examples: FIPS 197, appendix C, and SP 800-67,
// appendix B. The two-key one is openssl's des-ede of the same.
func TestPublishedResponses(t *testing.T) {
	const quick, fips = "5468652071756663", "00112233445566778899AABBCCDDEEFF"
	for _, v := range []struct {
		keyType                  card.KeyType
		key, challenge, response string
	}{
		{card.TDES2, adminKey[:32], quick, "C44862F70CF2FBDC"},
		{card.TDES3, adminKey, quick, "A826FD8CE53B855F"},
		{card.AES128, "000102030405060708090A0B0C0D0E0F", fips, "69C4E0D86A7B0430D8CDB78070B4C55A"},
		{card.AES192, "000102030405060708090A0B0C0D0E0F1011121314151617", fips, "DDA97CA4864CDFE06EAF70A0EC0D7191"},
		{card.AES256, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", fips, "8EA2B7CA516745BFEAFC49904B496089"},
	} {
		t.Run(string(v.keyType), func(t *testing.T) {
			c := newCard(t, func(c *Config) { c.KeyType, c.AdminKey = v.keyType, bytesOf(t, v.key) })
			block(t, c)
			if got := challenge(t, c); len(got) != len(v.challenge)/2 {
				t.Fatalf("a challenge of %d bytes, want %d", len(got), len(v.challenge)/2)
			}
			c.challenge = bytesOf(t, v.challenge)
			if err := c.Authenticate(bytesOf(t, v.response)); err != nil {
				t.Fatal(err)
			}
			if err := c.SetPIN("98765432"); err != nil {
				t.Fatal(err)
			}
			if err := c.VerifyPIN("98765432"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Each step of a script is a command APDU and what the card must answer; the
// words stand for commands that depend on the challenge.
func TestCommands(t *testing.T) {
	const (
		sel     = "00A4040009A0000003974254465900"
		mse     = "002281A403830180"
		ask     = "00870000047C02810000"
		verify  = "0020008004" + "31323334"
		wrong   = "0020008004" + "30303030"
		newPIN  = "002C028004" + "34333231"
		verify2 = "0020008004" + "34333231"
		given   = "7C0A8108*9000" // the challenge that the right answer is to
	)
	for name, script := range map[string][][2]string{
		"select":                 {{sel, "61124F0BA000000397425446590201730340 01C0 9000"}},
		"select whole name":      {{"00A404000BA000000397425446590201", "61124F0BA000000397425446590201730340 01C0 9000"}},
		"select another":         {{"00A4040009A00000030800001000 00", "6A82"}},
		"select too little":      {{"00A4040005A000000397", "6A82"}},
		"select by file":         {{"00A4000C023F00", "6A86"}},
		"unblock":                {{wrong, "63C2"}, {wrong, "63C1"}, {wrong, "63C0"}, {verify, "6983"}, {sel, "*9000"}, {mse, "9000"}, {ask, given}, {"right", "9000"}, {newPIN, "9000"}, {verify, "63C2"}, {verify2, "9000"}},
		"right PIN resets":       {{wrong, "63C2"}, {verify, "9000"}, {wrong, "63C2"}},
		"tries left":             {{"00200080", "63C3"}, {"0020008000", "63C3"}, {"0020008003313233", "63C3"}, {"0020008011" + strings.Repeat("31", 17), "63C3"}},
		"new PIN once":           {{mse, "9000"}, {ask, given}, {"right", "9000"}, {newPIN, "9000"}, {newPIN, "6982"}},
		"new PIN too short":      {{mse, "9000"}, {ask, given}, {"right", "9000"}, {"002C028003343332", "6700"}, {"002C0280", "6700"}, {newPIN, "9000"}},
		"new PIN too long":       {{mse, "9000"}, {ask, given}, {"right", "9000"}, {"002C028011" + strings.Repeat("31", 17), "6700"}, {verify, "9000"}},
		"new PIN first":          {{newPIN, "6982"}, {verify, "9000"}},
		"wrong response":         {{mse, "9000"}, {ask, given}, {"wrong", "6982"}, {newPIN, "6982"}},
		"answer twice":           {{mse, "9000"}, {ask, given}, {"right", "9000"}, {"right", "6985"}, {newPIN, "6982"}},
		"answer after wrong":     {{mse, "9000"}, {ask, given}, {"wrong", "6982"}, {"right", "6985"}, {newPIN, "6982"}},
		"answer too late":        {{mse, "9000"}, {ask, given}, {ask, "*9000"}, {"right", "6982"}},
		"answer unasked":         {{mse, "9000"}, {"00870000" + "0C7C0A8208" + "0000000000000000", "6985"}},
		"void by verify":         {{mse, "9000"}, {ask, given}, {verify, "9000"}, {"right", "6985"}},
		"void by MSE":            {{mse, "9000"}, {ask, given}, {mse, "9000"}, {"right", "6985"}},
		"void by unknown":        {{mse, "9000"}, {ask, given}, {"00840000 08", "6D00"}, {"right", "6985"}},
		"void by rubbish":        {{mse, "9000"}, {ask, given}, {"00", "6700"}, {"right", "6985"}},
		"void by select":         {{mse, "9000"}, {ask, given}, {sel, "*9000"}, {mse, "9000"}, {"right", "6985"}},
		"void by reset":          {{mse, "9000"}, {ask, given}, {"reset", ""}, {mse, "9000"}, {"right", "6985"}},
		"select deauthenticates": {{mse, "9000"}, {ask, given}, {"right", "9000"}, {sel, "*9000"}, {newPIN, "6982"}},
		"failed select too":      {{mse, "9000"}, {ask, given}, {"right", "9000"}, {"00A4040005A000000397", "6A82"}, {newPIN, "6982"}},
		"reset deauthenticates":  {{mse, "9000"}, {ask, given}, {"right", "9000"}, {"reset", ""}, {newPIN, "6982"}},
		"asking deauthenticates": {{mse, "9000"}, {ask, given}, {"right", "9000"}, {ask, "*9000"}, {newPIN, "6982"}},
		"no key named":           {{ask, "6985"}, {sel, "*9000"}, {ask, "6985"}},
		"another key":            {{"002281A403830181", "6984"}, {"002241A403830180", "6A86"}, {ask, "6985"}},
		"template":               {{mse, "9000"}, {"00870000047C028100", "*9000"}, {"00870000047C038100", "6984"}, {"0087000004" + "7D028100", "6984"}, {"00870000047C028101", "6984"}, {"00870000", "6984"}, {"00870000" + "067C0483020000", "6984"}, {"00870100047C028100", "6A86"}},
		"short response":         {{mse, "9000"}, {ask, given}, {"00870000" + "0B7C098207" + "00000000000000", "6984"}, {"right", "6985"}},
		"other PIN references":   {{"002C0281" + "0434333231", "6A88"}, {"0020008104" + "31323334", "6A88"}, {"002C008004" + "34333231", "6A86"}, {"0020018004" + "31323334", "6A86"}},
		"unknown commands":       {{"00840000 08", "6D00"}, {"00820000", "6D00"}, {"80CA0000", "6E00"}},
		"lengths":                {{"", "6700"}, {"002000", "6700"}, {"00200080 05 31323334", "6700"}, {"00200080 03 31323334 00", "6700"}, {"00200080 00 0004 31323334", "6700"}, {verify, "9000"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCard(t, nil)
			var right []byte
			for i, step := range script {
				var apdu []byte
				switch step[0] {
				case "reset":
					c.Reset()
					continue
				case "right", "wrong":
					response := slices.Clone(right)
					if step[0] == "wrong" {
						response[7] ^= 1
					}
					apdu = slices.Concat(bytesOf(t, "008700000C7C0A8208"), response)
				default:
					apdu = bytesOf(t, step[0])
				}
				got := strings.ToUpper(hex.EncodeToString(c.Transmit(apdu)))
				start, end, any := strings.Cut(strings.ReplaceAll(step[1], " ", ""), "*")
				if any && !(strings.HasPrefix(got, start) && strings.HasSuffix(got, end)) || !any && got != start {
					t.Fatalf("step %d: %s gives %s, want %s", i+1, step[0], got, step[1])
				}
				if step[1] == given {
					right = answer(t, bytesOf(t, got[8:24]))
				}
			}
		})
	}
}

func TestAdminTries(t *testing.T) {
	c := newCard(t, func(c *Config) { c.AdminTries = 3 })
	block(t, c)
	wrong := make([]byte, 8)
	for _, tries := range []int{2, 1} {
		challenge(t, c)
		var status Status
		if err := c.Authenticate(wrong); !errors.As(err, &status) {
			t.Fatalf("a wrong response gives %v", err)
		}
		if left, ok := status.TriesLeft(); !ok || left != tries {
			t.Errorf("%v, want %d tries left", status, tries)
		}
	}
	if err := c.Authenticate(wrong); !errors.Is(err, NotNow) {
		t.Errorf("a response without a challenge: %v; it must cost no try", err)
	}
	if err := c.Authenticate(answer(t, challenge(t, c))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		challenge(t, c)
		if err := c.Authenticate(wrong); err == nil {
			t.Fatal("the card takes a wrong response")
		}
	}
	right := answer(t, challenge(t, c))
	if err := c.Authenticate(wrong); !errors.Is(err, Blocked) || !c.Dead() {
		t.Errorf("the last wrong response gives %v, dead %t", err, c.Dead())
	}
	if err := c.Authenticate(right); !errors.Is(err, Blocked) {
		t.Errorf("a dead card answers a right response with %v", err)
	}
	if _, err := c.Challenge(); !errors.Is(err, Blocked) {
		t.Errorf("a dead card answers %v when asked for a challenge", err)
	}
	if err := c.SetPIN("4321"); !errors.Is(err, NotAuthenticated) || !c.Blocked() {
		t.Errorf("a dead card takes a new PIN: %v", err)
	}
}

func TestChallengesDiffer(t *testing.T) {
	c := newCard(t, nil)
	seen := make(map[string]bool)
	for range 1000 {
		seen[string(challenge(t, c))] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d challenges in 1000 are new", len(seen))
	}
}

// However many clients guess at once, no more guesses count than there are tries.
func TestGuessingAtOnce(t *testing.T) {
	c := newCard(t, func(c *Config) { c.PINTries = 15 })
	var counted, refused atomic.Int32
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			var status Status
			if err := c.VerifyPIN("0000"); errors.Is(err, Blocked) {
				refused.Add(1)
			} else if errors.As(err, &status) {
				counted.Add(1)
			}
		})
	}
	group.Wait()
	if counted.Load() != 15 || refused.Load() != 85 {
		t.Errorf("%d guesses counted and %d refused, want 15 and 85", counted.Load(), refused.Load())
	}
}

func TestKeptWithoutPower(t *testing.T) {
	c := newCard(t, func(c *Config) { c.AdminTries = 5 })
	if err := c.VerifyPIN("0000"); err == nil {
		t.Fatal("the card takes a wrong PIN")
	}
	challenge(t, c)
	if err := c.Authenticate(make([]byte, 8)); err == nil {
		t.Fatal("the card takes a wrong response")
	}
	right := answer(t, challenge(t, c))
	kept, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again Card
	if err := json.Unmarshal(kept, &again); err != nil {
		t.Fatal(err)
	}
	if again.Serial() != "GIDS-1" || again.PINLeft != 2 || again.AdminLeft != 4 {
		t.Errorf("the card comes back as %s with %d PIN tries and %d admin tries left", again.Serial(), again.PINLeft, again.AdminLeft)
	}
	if err := again.Authenticate(right); !errors.Is(err, NotNow) {
		t.Errorf("a challenge from before the power went is answered with %v", err)
	}
	if err := again.Authenticate(answer(t, challenge(t, &again))); err != nil {
		t.Errorf("the admin key did not come back: %v", err)
	}
	if err := again.VerifyPIN(firstPIN); err != nil {
		t.Errorf("the PIN did not come back: %v", err)
	}
	for _, state := range []string{`{`, `{}`, strings.Replace(string(kept), `"pin_tries_left":2`, `"pin_tries_left":4`, 1)} {
		if err := json.Unmarshal([]byte(state), new(Card)); err == nil {
			t.Errorf("the state %s is taken", state)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"key type":   func(c *Config) { c.KeyType = "des" },
		"key length": func(c *Config) { c.AdminKey = c.AdminKey[:16] },
		"short PIN":  func(c *Config) { c.PIN = "123" },
		"long PIN":   func(c *Config) { c.PIN = strings.Repeat("1", MaxPIN+1) },
		"PIN tries":  func(c *Config) { c.PINTries = 16 },
		"no tries":   func(c *Config) { c.PINTries = -1 },
		"key tries":  func(c *Config) { c.AdminTries = 16 },
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{KeyType: card.TDES3, AdminKey: bytesOf(t, adminKey), PIN: firstPIN}
			change(&config)
			if _, err := New(config); err == nil {
				t.Error("the card is made")
			}
		})
	}
}

// FuzzTransmit plays command APDUs to a blocked card: each is a length byte and
// that many bytes; length FF stands for the right response to a challenge that
// the card gave once and that is void. Nothing may unblock the card, since
// nobody can know a right response to an open challenge.
func FuzzTransmit(f *testing.F) {
	for _, script := range [][]string{
		{"00A4040009A0000003974254465900", "002281A403830180", "00870000047C02810000", "008700000C7C0A82080000000000000000", "002C028004" + "34333231"},
		{"002281A403830180", "00870000047C02810000", "stale", "002C028004" + "34333231", "0020008004" + "31323334"},
		{"stale", "002281A403830180", "stale", "002C0280" + "00", "00840000"},
	} {
		var seed []byte
		for _, step := range script {
			if step == "stale" {
				seed = append(seed, 0xFF)
				continue
			}
			apdu := bytesOf(f, step)
			seed = append(append(seed, byte(len(apdu))), apdu...)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		c := newCard(t, func(c *Config) { c.AdminTries = 15 })
		block(t, c)
		stale := slices.Concat(bytesOf(t, "008700000C7C0A8208"), answer(t, challenge(t, c)))
		c.Reset()
		for len(script) > 0 {
			n := int(script[0])
			script = script[1:]
			apdu := stale
			if n != 0xFF {
				n = min(n, len(script))
				apdu, script = script[:n], script[n:]
			}
			tries := c.AdminLeft
			response := c.Transmit(apdu)
			if len(response) < 2 {
				t.Fatalf("%X gives a response of %d bytes", apdu, len(response))
			}
			status := Status(binary.BigEndian.Uint16(response[len(response)-2:]))
			if status != OK && len(response) != 2 {
				t.Fatalf("%X gives data with %v", apdu, status)
			}
			if c.AdminLeft > tries || c.authenticated || !c.Blocked() || string(c.PIN) != firstPIN {
				t.Fatalf("%X gets past the admin key: %v", apdu, status)
			}
		}
	})
}
