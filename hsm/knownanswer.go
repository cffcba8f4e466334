package hsm

import (
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
// and the response that must come out. Bytes are in hex; of the fields below
// the line, each has a default.
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

	// InputIs is a remark; "key number NN" in it is the VISA2 or EMV key number
	// where KeyNumber is not set. The default is 1.
	InputIs   string `json:"input_is"`
	KeyNumber *byte  `json:"key_number"`
	// Algorithm is the response algorithm; by default the card key type's ECB.
	Algorithm card.Algorithm `json:"response_algorithm"`
	Source    string         `json:"source"`
}

// ParseVectors reads a file of known answers: a JSON array of Vector. Fields
// that it does not know are passed over.
func ParseVectors(file []byte) ([]Vector, error) {
	var vectors []Vector
	if err := json.Unmarshal(file, &vectors); err != nil {
		return nil, fmt.Errorf("read known answers: %w", err)
	}
	if len(vectors) == 0 {
		return nil, errors.New("read known answers: the file holds none")
	}
	return vectors, nil
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

var keyNumberRemark = regexp.MustCompile(`(?i)key number ([0-9a-f]{2})\b`)

// key tells what the vector asks for.
func (v Vector) key() (card.AdminKey, card.Algorithm, card.KeyType, error) {
	key := card.AdminKey{Scheme: v.Scheme, Type: v.CardKeyType, KeyNumber: 1}
	if m := keyNumberRemark.FindStringSubmatch(v.InputIs); m != nil {
		n, err := strconv.ParseUint(m[1], 16, 8)
		if err != nil {
			return key, "", "", err
		}
		key.KeyNumber = byte(n)
	}
	if v.KeyNumber != nil {
		key.KeyNumber = *v.KeyNumber
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

// masterType tells the master key's type, which its length and the scheme's
// cipher settle.
func (v Vector) masterType() (card.KeyType, error) {
	var types []card.KeyType
	switch v.Scheme {
	case card.LatchkeyV1, card.AESECBKey, card.AESCBCKey:
		types = []card.KeyType{card.AES128, card.AES192, card.AES256}
	case card.TDESECBKey, card.VISA2, card.EMV:
		types = []card.KeyType{card.TDES2, card.TDES3}
	case card.Static:
		types = []card.KeyType{v.CardKeyType}
	default:
		return "", unsupportedScheme(v.Scheme)
	}
	master, err := unhex(v.MasterKey)
	if err != nil {
		return "", errors.New("malformed vector: master_key is not hex")
	}
	for _, t := range types {
		if t.Len() == len(master) {
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
