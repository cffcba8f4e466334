package hsm_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

func readVectors(t *testing.T, file string) []hsm.Vector {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := hsm.ParseVectors(text)
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// Every published answer, through the token and through the code that answers
// real cards. Only the scheme that cannot be done inside a token may be refused.
func TestPublishedAnswers(t *testing.T) {
	for file, want := range map[string]int{"testdata/diversification.json": 28, "testdata/published.json": 6 + 4 + 4} {
		t.Run(file, func(t *testing.T) {
			vectors := readVectors(t, file)
			if len(vectors) != want {
				t.Fatalf("%d vectors were read, want %d", len(vectors), want)
			}
			token := softhsmtest.New(t).Open(t)
			for i, v := range vectors {
				verdict, reason := token.KnownAnswer(t.Context(), v)
				switch {
				case v.Scheme == card.AN10922AES192:
					if verdict != hsm.Unsupported || !strings.Contains(reason, "outside the HSM") {
						t.Errorf("%d %s: %s (%s), want it refused with its reason", i, v.Name(), verdict, reason)
					}
				case verdict != hsm.Pass:
					t.Errorf("%d %s: %s: %s", i, v.Name(), verdict, reason)
				}
			}
			if keys, err := token.Keys(t.Context()); err != nil || len(keys) != 0 {
				t.Errorf("keys left in the token: %v, %v", keys, err)
			}
		})
	}
}

// A test that passes whatever the token answers proves nothing: each vector with
// one digit changed has to fail.
func TestChangedAnswersFail(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	change := func(s string) string {
		last := "0"
		if strings.HasSuffix(s, "0") {
			last = "1"
		}
		return s[:len(s)-1] + last
	}
	for i, v := range readVectors(t, "testdata/diversification.json") {
		if v.Scheme == card.AN10922AES192 {
			continue
		}
		for name, spoil := range map[string]func(*hsm.Vector){
			"response":  func(v *hsm.Vector) { v.Response = change(v.Response) },
			"challenge": func(v *hsm.Vector) { v.Challenge = change(v.Challenge) },
			// A TDES key's last bit is parity, which nothing looks at: change one before.
			"master key": func(v *hsm.Vector) { v.MasterKey = "8" + change(v.MasterKey[1:] + "x")[:len(v.MasterKey)-1] },
		} {
			t.Run(fmt.Sprint(i, " ", v.Name(), " ", name), func(t *testing.T) {
				spoiled := v
				spoil(&spoiled)
				if verdict, reason := token.KnownAnswer(t.Context(), spoiled); verdict != hsm.Fail {
					t.Errorf("%s (%s), want fail", verdict, reason)
				}
			})
		}
	}
}

func TestMalformedVectors(t *testing.T) {
	for text, want := range map[string]string{
		``:     "unexpected end",
		`[]`:   "holds none",
		`{}`:   "holds none",
		`true`: "cannot unmarshal",
	} {
		if _, err := hsm.ParseVectors([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseVectors(%q) = %v, want %q", text, err, want)
		}
	}
	vectors, err := hsm.ParseVectors([]byte(`[
		{"scheme": 7},
		{"scheme": "static", "card_key_type": "aes128", "master_key": "zz", "challenge": "00", "response": "00"},
		{"scheme": "static", "card_key_type": "aes128", "master_key": "00", "challenge": "00", "response": "00"},
		{"scheme": "static", "card_key_type": "rot13", "master_key": "00"},
		{"scheme": "hkdf", "card_key_type": "aes128", "master_key": "00"}]`))
	if err != nil {
		t.Fatal(err)
	}
	token := softhsmtest.New(t).Open(t)
	for i, want := range []hsm.Verdict{hsm.Fail, hsm.Fail, hsm.Fail, hsm.Fail, hsm.Unsupported} {
		if verdict, reason := token.KnownAnswer(t.Context(), vectors[i]); verdict != want || reason == "" {
			t.Errorf("vector %d: %s (%s), want %s with a reason", i, verdict, reason, want)
		}
	}
}

// What a vector of counter mode leaves to its remark is read from there.
func TestRemarks(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	published := readVectors(t, "testdata/published.json")
	for _, v := range published {
		if v.Scheme != card.SP800108 {
			continue
		}
		v.InputIs = fmt.Sprintf("hex fixed input; %d-bit counter %s it; %s", v.CounterBits, v.Counter, v.PRF)
		v.CounterBits, v.Counter, v.PRF = 0, "", ""
		if verdict, reason := token.KnownAnswer(t.Context(), v); verdict != hsm.Pass {
			t.Errorf("%s: %s (%s)", v.InputIs, verdict, reason)
		}
	}
}
