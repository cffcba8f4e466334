package card

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// KDDLen is the length in bytes of GlobalPlatform key diversification data.
	KDDLen = 10
	// MaxKeyVersion bounds the version number of a master key.
	MaxKeyVersion = 9999
	// MaxChallenge is the longest challenge in bytes that any profile may ask for.
	MaxChallenge = 64
)

// KeyType is the type of a secret key by algorithm and length.
type KeyType string

// The key types that cards and master keys have.
const (
	TDES2  KeyType = "tdes2"  // two-key triple DES, 16 bytes with parity
	TDES3  KeyType = "tdes3"  // three-key triple DES, 24 bytes with parity
	AES128 KeyType = "aes128" // 16 bytes
	AES192 KeyType = "aes192" // 24 bytes
	AES256 KeyType = "aes256" // 32 bytes
)

// KeyTypes lists all key types.
func KeyTypes() []KeyType { return []KeyType{TDES2, TDES3, AES128, AES192, AES256} }

// Len is the key's length in bytes, 0 for an unknown type.
func (k KeyType) Len() int {
	switch k {
	case TDES2, AES128:
		return 16
	case TDES3, AES192:
		return 24
	case AES256:
		return 32
	}
	return 0
}

// Block is the cipher's block length in bytes, 0 for an unknown type.
func (k KeyType) Block() int {
	switch k {
	case TDES2, TDES3:
		return 8
	case AES128, AES192, AES256:
		return 16
	}
	return 0
}

// AES tells whether the key is an AES key.
func (k KeyType) AES() bool { return k.Block() == 16 }

// Algorithm is how a card expects its challenge to be answered.
type Algorithm string

// The response algorithms: the challenge encrypted as it is, without padding.
const (
	TDESECB Algorithm = "tdes-ecb" // 8-byte blocks: Windows minidriver, GIDS, PIV 3DES
	AESECB  Algorithm = "aes-ecb"  // 16-byte blocks: PIV AES, Crescendo AES
)

// Algorithms lists all response algorithms.
func Algorithms() []Algorithm { return []Algorithm{TDESECB, AESECB} }

// Block is the algorithm's block length in bytes, 0 for an unknown algorithm.
func (a Algorithm) Block() int {
	switch a {
	case TDESECB:
		return 8
	case AESECB:
		return 16
	}
	return 0
}

// AlgorithmFor is the algorithm that cards with such a key use unless their
// profile says otherwise.
func AlgorithmFor(k KeyType) Algorithm {
	if k.AES() {
		return AESECB
	}
	return TDESECB
}

// Scheme is how a card admin key is derived from a master key. The layouts are
// written down in docs/schemes.md; package hsm carries them out.
type Scheme string

// The diversification schemes.
const (
	LatchkeyV1 Scheme = "latchkey-v1" // AES-256-CBC over SHA-256 of key type and serial
	TDESECBKey Scheme = "tdes-ecb"    // derivation data from a template, TDES-ECB
	AESECBKey  Scheme = "aes-ecb"     // derivation data from a template, AES-ECB
	AESCBCKey  Scheme = "aes-cbc"     // derivation data from a template, AES-CBC, zero IV
	VISA2      Scheme = "visa2"       // GlobalPlatform cards diversified the VISA 2 way
	EMV        Scheme = "emv"         // GlobalPlatform cards diversified the EMV CPS 1.1 way
	Static     Scheme = "static"      // the master key is the admin key of a whole fleet
)

// Schemes lists all schemes that this version answers with.
func Schemes() []Scheme {
	return []Scheme{LatchkeyV1, TDESECBKey, AESECBKey, AESCBCKey, VISA2, EMV, Static}
}

// Templated tells whether the scheme takes its derivation data from a Template.
func (s Scheme) Templated() bool {
	return s == TDESECBKey || s == AESECBKey || s == AESCBCKey
}

// FromKDD tells whether the scheme takes GlobalPlatform key diversification data.
func (s Scheme) FromKDD() bool { return s == VISA2 || s == EMV }

// RetryLimit is how many wrong responses a card survives.
type RetryLimit int

const (
	// RetryUnknown is the zero value, so that a profile which says nothing is
	// treated as the strictest card that is documented.
	RetryUnknown RetryLimit = 0
	// RetryUnlimited is a card that is documented to have no counter.
	RetryUnlimited RetryLimit = -1
	// strictestKnown is the lowest limit that a vendor documents: IDPrime and
	// eToken 5110 CC are dead for good after five wrong responses.
	strictestKnown RetryLimit = 5
)

// MaxUnconfirmed is how many responses may be given out for a card without word
// that one worked: one less than the card survives, so that a row of mistyped
// challenges never costs the last try. 0 means that there is no limit.
func (r RetryLimit) MaxUnconfirmed() int {
	switch {
	case r == RetryUnlimited:
		return 0
	case r == RetryUnknown:
		return int(strictestKnown) - 1
	}
	return int(r) - 1
}

// Profile is how a family of cards works.
type Profile struct {
	ID   string
	Name string
	// Algorithm and ChallengeLen say how the card is answered; the length is in
	// bytes and a multiple of the algorithm's block.
	Algorithm    Algorithm
	ChallengeLen int
	CardKeyType  KeyType
	// Scheme, MasterKey and MasterKeyVersion say what the card admin key is
	// derived from; the version is for cards that do not name one themselves.
	Scheme           Scheme
	MasterKey        string
	MasterKeyVersion int
	// Input makes the derivation data of a templated scheme.
	Input Template
	// KeyNumber is the key number that goes into VISA2 and EMV data.
	KeyNumber byte
	Retry     RetryLimit
}

// Faults lists every fault of the profile.
func (p Profile) Faults() []Fault {
	var faults []Fault
	add := func(field, format string, args ...any) {
		faults = append(faults, Fault{field, fmt.Sprintf(format, args...)})
	}
	if fault := TextFault(p.ID, MaxID, true); fault != "" {
		add("id", "%s", fault)
	}
	if fault := TextFault(p.Name, MaxText, true); fault != "" {
		add("name", "%s", fault)
	}
	if fault := TextFault(p.MasterKey, MaxID, true); fault != "" {
		add("master_key", "%s", fault)
	}
	if p.MasterKeyVersion < 1 || p.MasterKeyVersion > MaxKeyVersion {
		add("master_key_version", "must be from 1 to %d", MaxKeyVersion)
	}
	if p.CardKeyType.Len() == 0 {
		add("card_key_type", "%q is not one of %s", p.CardKeyType, join(KeyTypes()))
	}
	switch block := p.Algorithm.Block(); {
	case block == 0:
		add("response_algorithm", "%q is not one of %s", p.Algorithm, join(Algorithms()))
	case p.CardKeyType.Block() != 0 && p.CardKeyType.Block() != block:
		add("response_algorithm", "%s does not work with a card key of type %s", p.Algorithm, p.CardKeyType)
	case p.ChallengeLen < block || p.ChallengeLen > MaxChallenge || p.ChallengeLen%block != 0:
		add("challenge_length", "must be a multiple of %d bytes, up to %d, for %s", block, MaxChallenge, p.Algorithm)
	}
	if p.Retry < RetryUnlimited || p.Retry == 1 {
		add("wrong_responses_survived", "must be 2 or more, \"unlimited\" or \"unknown\"")
	}
	switch {
	case !slices.Contains(Schemes(), p.Scheme):
		add("scheme", "%q is not one of %s", p.Scheme, join(Schemes()))
	case p.Scheme.Templated() && p.Input.Empty():
		add("input", "is required with scheme %s", p.Scheme)
	case !p.Scheme.Templated() && !p.Input.Empty():
		add("input", "scheme %s takes no template; leave it out", p.Scheme)
	case p.Scheme.FromKDD() && p.CardKeyType != TDES2 && p.CardKeyType.Len() != 0:
		add("card_key_type", "scheme %s derives 16 bytes: it must be %s", p.Scheme, TDES2)
	}
	return faults
}

// AdminKey names one card's admin key by what it is derived from.
type AdminKey struct {
	Master    string  // master key label
	Version   int     // master key version
	Scheme    Scheme  // how to derive
	Type      KeyType // what comes out
	Data      []byte  // diversification data, as Scheme wants it
	KeyNumber byte    // VISA2 and EMV only
}

// AdminKey tells which key the card's admin key is. It fails where the card
// lacks the data that the profile's scheme needs.
func (p Profile) AdminKey(c Card) (AdminKey, error) {
	k := AdminKey{
		Master: p.MasterKey, Version: c.MasterKeyVersion,
		Scheme: p.Scheme, Type: p.CardKeyType, KeyNumber: p.KeyNumber,
	}
	if k.Version == 0 {
		k.Version = p.MasterKeyVersion
	}
	switch {
	case p.Scheme == Static:
	case p.Scheme.FromKDD():
		if len(c.KDD) != KDDLen {
			return AdminKey{}, fmt.Errorf("scheme %s needs the card's %d-byte KDD", p.Scheme, KDDLen)
		}
		k.Data = c.KDD
	case p.Scheme.Templated():
		data, err := p.Input.Eval(c)
		if err != nil {
			return AdminKey{}, err
		}
		k.Data = data
	default:
		k.Data = []byte(c.Serial)
	}
	return k, nil
}

func join[T ~string](list []T) string {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = string(v)
	}
	return strings.Join(names, ", ")
}
