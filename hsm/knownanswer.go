package hsm

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Vector is one known answer: a test master key, what goes into the derivation,
// and the response that must come out. Bytes are in hex.
type Vector struct {
	Scheme      card.Scheme  `json:"scheme"`
	MasterKey   string       `json:"master_key"`
	Input       string       `json:"input"` // the serial as text with latchkey-v1, else hex
	CardKeyType card.KeyType `json:"card_key_type"`
	Challenge   string       `json:"challenge"`
	Response    string       `json:"response"`
	// CardKey is the derived key. The token never shows it, so it is only used
	// to compute the response where the vector gives none.
	CardKey string `json:"card_key"`

	// InputIs is a remark. Where the fields below are not set it may say them:
	// "key number NN" in hex, "NN-bit counter", "counter before" or "after", "TDES".
	InputIs string `json:"input_is"`
	// KeyNumber is that of VISA2, EMV and KDF3, 1 by default.
	KeyNumber *byte `json:"key_number"`
	// CounterBits (8, 16 or 32; by default 32) and Counter ("before", the
	// default, or "after" the fixed input) go with sp800-108-counter.
	CounterBits int    `json:"counter_bits"`
	Counter     string `json:"counter"`
	// Wrapping goes with wrapped, aes-key-wrap by default.
	Wrapping card.Wrapping `json:"wrapping"`
	// PRF is "AES-CMAC" or "TDES-CMAC", with sp800-108-counter. Where it is not
	// said, either may give the answer.
	PRF string `json:"prf"`
	// Algorithm is the response algorithm, by default the card key type's ECB.
	Algorithm card.Algorithm `json:"response_algorithm"`
	Source    string         `json:"source"`

	// kcv makes this a test of a key check value instead: MasterKey is the key,
	// CardKeyType its type, Response the value.
	kcv Convention
	// malformed is why the vector could not be read.
	malformed error
}

// ParseVectors reads a file of known answers: a JSON array of Vector, or an
// object of published answers with the arrays responses, sp800_108_counter and
// kcv. Fields that it does not know are passed over. A vector that is not of
// the form at all is left to KnownAnswer, which fails it alone.
func ParseVectors(file []byte) ([]Vector, error) {
	vectors, err := parseVectors(file)
	if err != nil {
		return nil, fmt.Errorf("read known answers: %w", err)
	}
	if len(vectors) == 0 {
		return nil, errors.New("read known answers: the file holds none")
	}
	return vectors, nil
}

func parseVectors(file []byte) ([]Vector, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(file), []byte("{")) {
		var list []json.RawMessage
		if err := json.Unmarshal(file, &list); err != nil {
			return nil, err
		}
		vectors := make([]Vector, len(list))
		for i, raw := range list {
			if err := json.Unmarshal(raw, &vectors[i]); err != nil {
				vectors[i] = Vector{Scheme: vectors[i].Scheme, malformed: err}
			}
		}
		return vectors, nil
	}
	var published struct {
		Responses []struct {
			Algorithm card.Algorithm `json:"algorithm"`
			Key       string         `json:"key"`
			Challenge string         `json:"challenge"`
			Response  string         `json:"response"`
		} `json:"responses"`
		Counter []struct {
			Bits    int    `json:"counter_bits"`
			Counter string `json:"counter"`
			Key     string `json:"ki"`
			Fixed   string `json:"fixed"`
			Out     string `json:"out"`
			PRF     string `json:"prf"`
		} `json:"sp800_108_counter"`
		KCV []struct {
			KeyType  card.KeyType `json:"key_type"`
			Key      string       `json:"key"`
			ECBZero  string       `json:"ecb_zero"`
			ECB01    string       `json:"ecb_01"`
			CMACZero string       `json:"cmac_zero"`
		} `json:"kcv"`
	}
	if err := json.Unmarshal(file, &published); err != nil {
		return nil, err
	}
	var vectors []Vector
	for _, r := range published.Responses {
		vectors = append(vectors, Vector{
			Scheme: card.Static, MasterKey: r.Key, CardKeyType: typeOfLength(len(r.Key)/2, r.Algorithm.Block() == card.AES128.Block()),
			Challenge: r.Challenge, Response: r.Response, Algorithm: r.Algorithm,
		})
	}
	for _, c := range published.Counter {
		v := Vector{
			Scheme: card.SP800108, MasterKey: c.Key, Input: c.Fixed, CounterBits: c.Bits, Counter: c.Counter,
			CardKeyType: typeOfLength(len(c.Out)/2, true), CardKey: c.Out, Challenge: strings.Repeat("00", card.AES128.Block()),
			PRF: c.PRF,
		}
		vectors = append(vectors, v)
	}
	for _, k := range published.KCV {
		zero := AESECBZero
		if !k.KeyType.AES() {
			zero = DESZero
		}
		for _, value := range []struct {
			convention Convention
			hex        string
		}{{zero, k.ECBZero}, {AESECBOnes, k.ECB01}, {AESCMACZero, k.CMACZero}} {
			if value.hex != "" {
				vectors = append(vectors, Vector{
					Scheme: card.Static, CardKeyType: k.KeyType, MasterKey: k.Key, Response: value.hex, kcv: value.convention,
				})
			}
		}
	}
	return vectors, nil
}

func typeOfLength(n int, aes bool) card.KeyType {
	for _, t := range card.KeyTypes() {
		if t.AES() == aes && t.Len() == n {
			return t
		}
	}
	return ""
}

// Name is the vector's scheme with its card key type, for a report.
func (v Vector) Name() string {
	switch {
	case v.kcv != "":
		return "kcv " + string(v.kcv) + " " + string(v.CardKeyType)
	case v.Algorithm != "":
		return fmt.Sprintf("%s %s %s", v.Scheme, v.CardKeyType, v.Algorithm)
	}
	return fmt.Sprintf("%s %s", v.Scheme, v.CardKeyType)
}

// MasterType is the type of the vector's master key, "" where it has none that
// goes with its scheme.
func (v Vector) MasterType() card.KeyType {
	t, err := v.masterType()
	if err != nil {
		return ""
	}
	return t
}

// Verdict is how a known-answer test went.
type Verdict string

// The verdicts.
const (
	Pass        Verdict = "pass"
	Fail        Verdict = "fail"
	Unsupported Verdict = "unsupported"
)

// KnownAnswer tests one vector in the token, by the same code as answers a real
// card. The reason says why it did not pass; it shows no key and no response.
func (t *Token) KnownAnswer(ctx context.Context, v Vector) (_ Verdict, reason string) {
	result, reason := t.knownAnswer(ctx, v)
	if result == Fail && v.Scheme == card.SP800108 && v.PRF == "" {
		// A key of 16 or 24 bytes is an AES or a TDES key, and the vector leaves it open.
		v.PRF = "TDES-CMAC"
		if other, _ := t.knownAnswer(ctx, v); other == Pass {
			return Pass, ""
		}
	}
	return result, reason
}

func (t *Token) knownAnswer(ctx context.Context, v Vector) (_ Verdict, reason string) {
	if v.malformed != nil {
		return Fail, "malformed vector: " + v.malformed.Error()
	}
	if v.kcv != "" {
		return t.knownKCV(ctx, v)
	}
	key, alg, masterType, err := v.key()
	if err != nil {
		return verdict(err)
	}
	var raw [3][]byte
	for i, field := range []struct{ name, text string }{
		{"master_key", v.MasterKey}, {"challenge", v.Challenge}, {"response", v.Response},
	} {
		if raw[i], err = unhex(field.text); err != nil {
			return Fail, "malformed vector: " + field.name + " is not hex"
		}
	}
	master, challenge, want := raw[0], raw[1], raw[2]
	if len(want) == 0 {
		if want, err = t.expected(ctx, v, alg, challenge); err != nil {
			return Fail, "malformed vector: it has no response, and its card_key gives none: " + err.Error()
		}
	}
	response, err := t.Try(ctx, masterType, master, key, alg, challenge)
	if err != nil {
		return verdict(err)
	}
	defer response.Wipe()
	if subtle.ConstantTimeCompare(response, want) != 1 {
		return Fail, "the token's response differs from the vector's"
	}
	return Pass, ""
}

// expected computes the response from the vector's own card key, as a session
// object in the token.
func (t *Token) expected(ctx context.Context, v Vector, alg card.Algorithm, challenge []byte) ([]byte, error) {
	cardKey, err := unhex(v.CardKey)
	if err != nil {
		return nil, errors.New("card_key is not hex")
	}
	return t.Try(ctx, v.CardKeyType, cardKey, card.AdminKey{Scheme: card.Static, Type: v.CardKeyType}, alg, challenge)
}

var (
	keyNumberRemark    = regexp.MustCompile(`(?i)key number (?:0x)?([0-9a-f]{2})\b`)
	counterBitsRemark  = regexp.MustCompile(`(?i)\b(8|16|32)[- ]bits?\b`)
	tdesRemark         = regexp.MustCompile(`(?i)\b(tdes|3des|des3|tdea|triple)`)
	counterAfterRemark = regexp.MustCompile(`(?i)counter[^;,.]*\b(after|behind)\b|\b(after|behind)\b[^;,.]*fixed`)
)

// key tells what the vector asks for.
func (v Vector) key() (card.AdminKey, card.Algorithm, card.KeyType, error) {
	key := card.AdminKey{Scheme: v.Scheme, Type: v.CardKeyType, KeyNumber: v.keyNumber(), Wrapping: v.Wrapping}
	if v.Scheme == card.SP800108 {
		key.Counter = v.counter()
	}
	alg := v.Algorithm
	if alg == "" {
		alg = card.AlgorithmFor(v.CardKeyType)
	}
	masterType, err := v.masterType()
	if err != nil {
		return key, "", "", err
	}
	if v.CardKeyType.Len() == 0 {
		return key, "", "", fmt.Errorf("malformed vector: %q is not a card key type", v.CardKeyType)
	}
	key.Data = []byte(v.Input)
	if v.Scheme != card.LatchkeyV1 {
		if key.Data, err = unhex(v.Input); err != nil {
			return key, "", "", errors.New("malformed vector: input is not hex")
		}
	}
	return key, alg, masterType, nil
}

func (v Vector) keyNumber() byte {
	if v.KeyNumber != nil {
		return *v.KeyNumber
	}
	if m := keyNumberRemark.FindStringSubmatch(v.InputIs); m != nil {
		if n, err := strconv.ParseUint(m[1], 16, 8); err == nil {
			return byte(n)
		}
	}
	return 1
}

func (v Vector) counter() card.Counter {
	c := card.Counter{Bits: v.CounterBits, After: strings.EqualFold(v.Counter, "after")}
	if c.Bits == 0 {
		c.Bits = 32
		if m := counterBitsRemark.FindStringSubmatch(v.InputIs); m != nil {
			c.Bits, _ = strconv.Atoi(m[1]) // the expression admits three numbers only
		}
	}
	if v.Counter == "" {
		c.After = counterAfterRemark.MatchString(v.InputIs)
	}
	return c
}

// knownKCV tests a key check value.
func (t *Token) knownKCV(ctx context.Context, v Vector) (Verdict, string) {
	key, err := unhex(v.MasterKey)
	if err != nil {
		return Fail, "malformed vector: key is not hex"
	}
	got, err := t.CheckValue(ctx, v.CardKeyType, key, v.kcv)
	if err != nil {
		return verdict(err)
	}
	if !strings.EqualFold(got.Value, v.Response) {
		return Fail, "the token's check value is " + got.String() + ", the vector's " + v.Response
	}
	return Pass, ""
}

// masterType tells the master key's type, which its length and the scheme's
// cipher settle.
func (v Vector) masterType() (card.KeyType, error) {
	if v.Scheme == "" {
		return "", errors.New("malformed vector: it names no scheme")
	}
	if why := v.Scheme.Refusal(); why != "" {
		return "", &UnsupportedError{why}
	}
	types := masterTypes(v.Scheme, v.CardKeyType)
	if types == nil {
		return "", &UnsupportedError{"scheme " + string(v.Scheme) + " is not in this version"}
	}
	master, err := unhex(v.MasterKey)
	if err != nil {
		return "", errors.New("malformed vector: master_key is not hex")
	}
	for _, t := range types {
		if t.Len() == len(master) && (v.Scheme != card.SP800108 || t.AES() == !tdesRemark.MatchString(v.PRF+" "+v.InputIs)) {
			return t, nil
		}
	}
	return "", fmt.Errorf("malformed vector: a master key of %d bytes does not go with scheme %s", len(master), v.Scheme)
}

// verdict tells an answer that cannot be had here from one that went wrong.
func verdict(err error) (Verdict, string) {
	var unsupported *UnsupportedError
	if errors.As(err, &unsupported) {
		return Unsupported, unsupported.Reason
	}
	if c := code(err); c == pkcs11.CKR_MECHANISM_INVALID || c == pkcs11.CKR_KEY_TYPE_INCONSISTENT {
		return Unsupported, "the token does not do it: " + err.Error()
	}
	return Fail, err.Error()
}

func unhex(s string) ([]byte, error) {
	return hex.DecodeString(strings.NewReplacer(" ", "", "-", "", ":", "").Replace(s))
}
