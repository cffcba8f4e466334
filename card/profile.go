package card

import (
	"fmt"
	"slices"
	"strconv"
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
	TDESCBC Algorithm = "tdes-cbc" // the same with an IV of zeros, for longer challenges
	AESECB  Algorithm = "aes-ecb"  // 16-byte blocks: PIV AES, Crescendo AES
)

// Algorithms lists all response algorithms.
func Algorithms() []Algorithm { return []Algorithm{TDESECB, TDESCBC, AESECB} }

// Block is the algorithm's block length in bytes, 0 for an unknown algorithm.
func (a Algorithm) Block() int {
	switch a {
	case TDESECB, TDESCBC:
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
	LatchkeyV1    Scheme = "latchkey-v1"       // AES-256-CBC over SHA-256 of key type and serial
	TDESECBKey    Scheme = "tdes-ecb"          // derivation data from a template, TDES-ECB
	AESECBKey     Scheme = "aes-ecb"           // derivation data from a template, AES-ECB
	AESCBCKey     Scheme = "aes-cbc"           // derivation data from a template, AES-CBC, zero IV
	VISA2         Scheme = "visa2"             // GlobalPlatform cards diversified the VISA 2 way
	EMV           Scheme = "emv"               // GlobalPlatform cards diversified the EMV CPS 1.1 way
	KDF3          Scheme = "kdf3"              // GlobalPlatform cards diversified by AES-CMAC
	AN10922AES128 Scheme = "an10922-aes128"    // NXP AN10922, one AES-CMAC
	AN10922AES192 Scheme = "an10922-aes192"    // known, and refused: see Refusal
	AN10922AES256 Scheme = "an10922-aes256"    // NXP AN10922, two AES-CMACs
	AN109222TDEA  Scheme = "an10922-2tdea"     // NXP AN10922, two TDES-CMACs
	AN109223TDEA  Scheme = "an10922-3tdea"     // NXP AN10922, three TDES-CMACs
	SP800108      Scheme = "sp800-108-counter" // NIST SP 800-108, counter mode, CMAC
	Wrapped       Scheme = "wrapped"           // each card its own key, wrapped under the master key
	Static        Scheme = "static"            // the master key is the admin key of a whole fleet
)

// Schemes lists all schemes that this version answers with.
func Schemes() []Scheme {
	return []Scheme{
		LatchkeyV1, TDESECBKey, AESECBKey, AESCBCKey, VISA2, EMV, KDF3,
		AN10922AES128, AN10922AES256, AN109222TDEA, AN109223TDEA, SP800108, Wrapped, Static,
	}
}

// Refusal says why a scheme that is in use elsewhere is not carried out here;
// empty for one that is, or that nobody knows.
func (s Scheme) Refusal() string {
	if s == AN10922AES192 {
		return "scheme an10922-aes192 makes its key of two CMACs xored together, which no PKCS#11 mechanism does inside a token: the key would have to be put together in memory, outside the HSM"
	}
	return ""
}

// Templated tells whether the scheme takes its derivation data from a Template.
func (s Scheme) Templated() bool {
	switch s {
	case TDESECBKey, AESECBKey, AESCBCKey, AN10922AES128, AN10922AES192, AN10922AES256, AN109222TDEA, AN109223TDEA, SP800108:
		return true
	case LatchkeyV1, VISA2, EMV, KDF3, Wrapped, Static:
	}
	return false
}

// FromKDD tells whether the scheme takes GlobalPlatform key diversification data.
func (s Scheme) FromKDD() bool { return s == VISA2 || s == EMV || s == KDF3 }

// CardKeyTypes lists the types of card admin key that the scheme can make.
func (s Scheme) CardKeyTypes() []KeyType {
	switch s {
	case VISA2, EMV, AN109222TDEA:
		return []KeyType{TDES2}
	case AN109223TDEA:
		return []KeyType{TDES3}
	case AN10922AES128:
		return []KeyType{AES128}
	case AN10922AES192:
		return []KeyType{AES192}
	case AN10922AES256:
		return []KeyType{AES256}
	case KDF3:
		return []KeyType{AES128, AES192, AES256}
	case LatchkeyV1, TDESECBKey, AESECBKey, AESCBCKey, SP800108, Wrapped, Static:
	}
	return KeyTypes()
}

// Counter says how scheme sp800-108-counter counts the blocks that it derives.
type Counter struct {
	Bits  int  // 8, 16 or 32
	After bool // behind the fixed input instead of before it
}

// Wrapping is how the card keys of scheme wrapped are wrapped.
type Wrapping string

// The wrappings.
const (
	KeyWrap    Wrapping = "aes-key-wrap"     // RFC 3394: the key's length and 8 bytes
	KeyWrapPad Wrapping = "aes-key-wrap-pad" // RFC 5649: as long, with another check
	CBCPad     Wrapping = "aes-cbc-pad"      // a 16-byte IV, then AES-CBC with PKCS#7 padding; no check of its own
)

// Wrappings lists all wrappings.
func Wrappings() []Wrapping { return []Wrapping{KeyWrap, KeyWrapPad, CBCPad} }

// Len is the length in bytes of a wrapped key of the type: of RFC 3394 and RFC
// 5649 the key and an integrity check of 8 bytes; of AES-CBC an IV of 16 bytes and
// the key padded to whole blocks.
func (w Wrapping) Len(t KeyType) int {
	if w == CBCPad {
		block := AES256.Block()
		return block + (t.Len()/block+1)*block
	}
	return t.Len() + 8
}

// MaxWrapped is the longest wrapped card key in bytes.
const MaxWrapped = 64

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

// Looser tells whether cards of this limit may be given more responses than those
// of the other.
func (r RetryLimit) Looser(than RetryLimit) bool {
	a, b := r.MaxUnconfirmed(), than.MaxUnconfirmed()
	return b != 0 && (a == 0 || a > b)
}

func (r RetryLimit) String() string {
	switch r {
	case RetryUnlimited:
		return "unlimited"
	case RetryUnknown:
		return "unknown"
	default:
		return strconv.Itoa(int(r))
	}
}

// Profile is how a family of cards works.
type Profile struct {
	ID   string
	Name string
	// Family is the ID of the family that the profile takes from what it does not
	// say itself, empty where it says all.
	Family string
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
	// KeyNumber is the key number that goes into VISA2, EMV and KDF3 data.
	KeyNumber byte
	Counter   Counter  // of scheme sp800-108-counter
	Wrapping  Wrapping // of scheme wrapped
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
		add("card_key_type", "%q is not one of %s", p.CardKeyType, Join(KeyTypes()))
	}
	switch block := p.Algorithm.Block(); {
	case block == 0:
		add("response_algorithm", "%q is not one of %s", p.Algorithm, Join(Algorithms()))
	case p.CardKeyType.Block() != 0 && p.CardKeyType.Block() != block:
		add("response_algorithm", "%s does not work with a card key of type %s", p.Algorithm, p.CardKeyType)
	case p.ChallengeLen < block || p.ChallengeLen > MaxChallenge || p.ChallengeLen%block != 0:
		add("challenge_length", "must be a multiple of %d bytes, up to %d, for %s", block, MaxChallenge, p.Algorithm)
	}
	if p.Retry < RetryUnlimited || p.Retry == 1 {
		add("wrong_responses_survived", "must be 2 or more, \"unlimited\" or \"unknown\"")
	}
	switch {
	case p.Scheme.Refusal() != "":
		add("scheme", "%s", p.Scheme.Refusal())
	case !slices.Contains(Schemes(), p.Scheme):
		add("scheme", "%q is not one of %s", p.Scheme, Join(Schemes()))
	case p.Scheme.Templated() && p.Input.Empty():
		add("input", "is required with scheme %s", p.Scheme)
	case !p.Scheme.Templated() && !p.Input.Empty():
		add("input", "scheme %s takes no template; leave it out", p.Scheme)
	case p.CardKeyType.Len() != 0 && !slices.Contains(p.Scheme.CardKeyTypes(), p.CardKeyType):
		add("card_key_type", "scheme %s makes keys of type %s", p.Scheme, Join(p.Scheme.CardKeyTypes()))
	case p.Scheme.Templated() && p.CardKeyType.Len() != 0:
		for _, fault := range p.inputFaults() {
			add("input", "%s", fault)
		}
	}
	if counter := p.Counter; p.Scheme == SP800108 {
		if counter.Bits != 8 && counter.Bits != 16 && counter.Bits != 32 {
			add("counter_bits", "must be 8, 16 or 32 with scheme %s", p.Scheme)
		}
	} else if counter != (Counter{}) {
		add("counter_bits", "only scheme %s counts; leave it out", SP800108)
	}
	if p.Scheme == Wrapped {
		if !slices.Contains(Wrappings(), p.Wrapping) {
			add("wrapping", "%q is not one of %s", p.Wrapping, Join(Wrappings()))
		}
	} else if p.Wrapping != "" {
		add("wrapping", "only scheme %s unwraps; leave it out", Wrapped)
	}
	return faults
}

// WrappedKeyFault says why the profile's cards cannot have the wrapped key, or ""
// where they can. Whether it can be unwrapped only the token knows.
func (p Profile) WrappedKeyFault(wrapped []byte) string {
	want := p.Wrapping.Len(p.CardKeyType)
	switch {
	case p.Scheme != Wrapped:
		return fmt.Sprintf("profile %s has scheme %s, which takes no wrapped key; leave it out", p.ID, p.Scheme)
	case len(wrapped) != want:
		return fmt.Sprintf("%d bytes; %s of a key of type %s, as profile %s wants it, has %d", len(wrapped), p.Wrapping, p.CardKeyType, p.ID, want)
	}
	return ""
}

// AdminKey names one card's admin key by what it is made from.
type AdminKey struct {
	Master    string   // master key label
	Version   int      // master key version
	Scheme    Scheme   // how to make it
	Type      KeyType  // what comes out
	Data      []byte   // diversification data, or the wrapped key, as Scheme wants it
	KeyNumber byte     // VISA2, EMV and KDF3 only
	Counter   Counter  // SP800108 only
	Wrapping  Wrapping // Wrapped only
}

// AdminKey tells which key the card's admin key is. It fails where the card
// lacks the data that the profile's scheme needs.
func (p Profile) AdminKey(c Card) (AdminKey, error) {
	k := AdminKey{
		Master: p.MasterKey, Version: c.MasterKeyVersion, Scheme: p.Scheme, Type: p.CardKeyType,
		KeyNumber: p.KeyNumber, Counter: p.Counter, Wrapping: p.Wrapping,
	}
	if k.Version == 0 {
		k.Version = p.MasterKeyVersion
	}
	switch {
	case p.Scheme == Static:
	case p.Scheme == Wrapped:
		if len(c.WrappedKey) == 0 {
			return AdminKey{}, fmt.Errorf("scheme %s needs the card's wrapped key", p.Scheme)
		}
		k.Data = c.WrappedKey
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

// Join is a list of names for people to read.
func Join[T ~string](list []T) string {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = string(v)
	}
	return strings.Join(names, ", ")
}
