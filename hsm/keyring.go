package hsm

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Use is the one thing that a master key may do.
type Use string

// The uses.
const (
	ForDeriving   Use = "derive"  // CKA_DERIVE: card admin keys are derived from it
	ForEncrypting Use = "encrypt" // CKA_ENCRYPT: it is a fleet's admin key itself (static)
	ForUnwrapping Use = "unwrap"  // CKA_UNWRAP: it has wrapped card admin keys (wrapped)
	// ForMACs is CKA_DERIVE and CKA_ENCRYPT together, which the schemes made of
	// CMACs need on tokens that have no SP 800-108 mechanism. It is weaker: see
	// Weakness.
	ForMACs    Use = "mac"
	ForNothing Use = "none" // none of these: not one of ours
)

// Uses lists the uses that a master key can be made for.
func Uses() []Use { return []Use{ForDeriving, ForMACs, ForUnwrapping, ForEncrypting} }

// Weakness says what a key made for this use lets the holder of the token's PIN
// do beyond what Latchkey does with it; empty where that is nothing.
func (u Use) Weakness() string {
	if u == ForMACs {
		return "the key may both derive and encrypt: whoever has the token's PIN can compute card admin keys outside the token"
	}
	return ""
}

// Key is a master key in the token.
type Key struct {
	Label   string       `json:"label"`
	Version int          `json:"version"`
	Type    card.KeyType `json:"type"`
	Use     Use          `json:"use"`
	KCV     []KCV        `json:"kcv"`
	// What the token says of how the key is kept and where it came from.
	Extractable      bool `json:"extractable"`
	NeverExtractable bool `json:"never_extractable"`
	Sensitive        bool `json:"sensitive"`
	AlwaysSensitive  bool `json:"always_sensitive"`
	Local            bool `json:"generated_in_token"`
	// Fault says why the key is not used, empty where it is fit.
	Fault string `json:"fault,omitempty"`
	// Mechanisms is CKA_ALLOWED_MECHANISMS, the CKM_ numbers that the token lets the
	// key be used with. An empty list binds it to none.
	Mechanisms []uint `json:"allowed_mechanisms,omitempty"`
	// Weakness is that of its use, and that no mechanisms bind it.
	Weakness string `json:"weakness,omitempty"`

	id     []byte
	handle pkcs11.ObjectHandle
}

// Convention says how a key check value was computed. Four are in use, so a
// value without its convention is worth nothing.
type Convention string

// The conventions that Latchkey shows.
const (
	// DESZero is the first 3 bytes of a zero block under TDES-ECB.
	DESZero Convention = "des-ecb-zero"
	// AESCMACZero is the first 3 bytes of AES-CMAC over a zero block (PCI PIN).
	AESCMACZero Convention = "aes-cmac-zero"
	// AESECBZero is PKCS#11's CKA_CHECK_VALUE of AES keys: the first 3 bytes of a
	// zero block under AES-ECB.
	AESECBZero Convention = "aes-ecb-zero"
	// AESECBOnes is GlobalPlatform's of AES keys: the first 3 bytes of a block of
	// 01 bytes under AES-ECB.
	AESECBOnes Convention = "aes-ecb-01"
)

// Conventions lists those that go with a key of the type. The first is the one
// that holds where none is said.
func Conventions(t card.KeyType) []Convention {
	if t.AES() {
		return []Convention{AESCMACZero, AESECBZero, AESECBOnes}
	}
	return []Convention{DESZero}
}

// KCV is a key check value: 3 bytes in upper-case hex, with its convention.
type KCV struct {
	Convention Convention `json:"convention"`
	Value      string     `json:"value"`
}

func (k KCV) String() string { return k.Value + " (" + string(k.Convention) + ")" }

const kcvLen = 3

type keyName struct {
	label   string
	version int
}

// A master key's CKA_LABEL is its name, its CKA_ID the version as 4 bytes, big
// endian, its key check value, and its length in bytes: standard tools show both,
// and a version can be told without any store of ours. The length is for tokens
// that forget it of a key that was unwrapped, as SoftHSM 2.6 does. A key made by
// other software has another kind of CKA_ID and counts as version 1.
func keyID(version int, kcv []byte, t card.KeyType) []byte {
	id := append(binary.BigEndian.AppendUint32(nil, uint32(version)), kcv...) //nolint:gosec // callers bound the version
	return append(id, byte(t.Len()))                                          //nolint:gosec // 32 at most
}

func parseKeyID(id []byte) (version int, kcv []byte, length int) {
	if len(id) != 4+kcvLen+1 {
		return 1, nil, 0
	}
	v := binary.BigEndian.Uint32(id)
	if v < 1 || v > card.MaxKeyVersion {
		return 1, nil, 0
	}
	return int(v), id[4 : 4+kcvLen], int(id[4+kcvLen])
}

// Keys lists the token's secret keys that are token objects, by label and
// version, read anew from the token.
func (t *Token) Keys(ctx context.Context) ([]Key, error) {
	return run(ctx, t, (*session).keys)
}

// reload reads the keyring anew.
func (t *Token) reload(ctx context.Context) error {
	if err := t.usable(); err != nil {
		return err
	}
	err := t.reloadAnyway(ctx)
	if err != nil && !isClass(err, Handle) && t.heal(ctx, err) {
		err = t.reloadAnyway(ctx)
		t.trip(err)
	}
	return err
}

// reloadAnyway is reload for the watch, which works when nothing else may.
func (t *Token) reloadAnyway(ctx context.Context) error {
	var epoch uint64
	keys, err := runAnyway(ctx, t, false, func(s *session) ([]Key, error) {
		epoch = s.epoch
		return s.keys()
	})
	if err != nil {
		return err
	}
	ring := make(map[keyName][]Key, len(keys))
	for _, k := range keys {
		if k.Fault == faultExtractable && slices.Contains(t.config.AllowExtractable, k.Label) {
			k.Fault = ""
		}
		name := keyName{k.Label, k.Version}
		ring[name] = append(ring[name], k)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, list := range ring {
		t.recognise(name, list)
	}
	t.keys, t.keysEpoch = ring, epoch
	return nil
}

// recognise makes sure that a key found again is the one that had the name
// before: a handle, and a name, can come to mean another key when a token is
// restored or replaced under the running process.
func (t *Token) recognise(name keyName, list []Key) {
	if len(list) != 1 {
		return
	}
	seen := fmt.Sprintf("%x %v", list[0].id, list[0].KCV)
	switch known, ok := t.known[name]; {
	case !ok:
		t.known[name] = seen
	case known != seen && list[0].Fault == "":
		list[0].Fault = "the key is not the one that had this name and version when it was first seen; restart to accept it"
	}
}

// master finds a master key in the keyring. One that is not there may have been
// made since by the key commands, so the token is read once more.
func (t *Token) master(ctx context.Context, label string, version int) (Key, uint64, error) {
	name := keyName{label, version}
	keys, epoch := t.lookUp(name)
	if len(keys) == 0 || epoch != t.epoch.Load() {
		if err := t.reload(ctx); err != nil {
			return Key{}, 0, err
		}
		keys, epoch = t.lookUp(name)
	}
	switch {
	case len(keys) == 0:
		return Key{}, 0, fmt.Errorf("%w: %s version %d is not in token %q", ErrKeyUnknown, label, version, t.info.Label)
	case len(keys) > 1:
		return Key{}, 0, unfit("%d keys in the token are called %s version %d; which is meant cannot be told", len(keys), label, version)
	case keys[0].Fault != "":
		return Key{}, 0, unfit("%s version %d: %s", label, version, keys[0].Fault)
	}
	return keys[0], epoch, nil
}

func (t *Token) lookUp(name keyName) ([]Key, uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.keys[name], t.keysEpoch
}

// HasKey tells whether the keyring holds a fit master key, without reading the
// token again.
func (t *Token) HasKey(label string, version int) bool {
	keys, _ := t.lookUp(keyName{label, version})
	return len(keys) == 1 && keys[0].Fault == ""
}

// keys reads every secret key that is a token object.
func (s *session) keys() ([]Key, error) {
	if err := s.loggedIn(); err != nil {
		return nil, err
	}
	handles, err := s.find([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	})
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(handles))
	for _, h := range handles {
		k, ok, err := s.key(h)
		if isClass(err, Handle) {
			continue // destroyed since it was found
		}
		if err != nil {
			return nil, err
		}
		if ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), cmp.Compare(a.Version, b.Version), slices.Compare(a.id, b.id))
	})
	return keys, nil
}

func (s *session) find(template []*pkcs11.Attribute) (handles []pkcs11.ObjectHandle, err error) {
	if err := s.call("C_FindObjectsInit", s.ctx.FindObjectsInit(s.handle, template)); err != nil {
		return nil, err
	}
	defer func() {
		if e := s.call("C_FindObjectsFinal", s.ctx.FindObjectsFinal(s.handle)); e != nil {
			s.spoiled = true
			if err == nil {
				err = e
			}
		}
	}()
	for {
		found, _, err := s.ctx.FindObjects(s.handle, 64)
		if err := s.call("C_FindObjects", err); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return handles, nil
		}
		handles = append(handles, found...)
	}
}

// key reads one key's attributes, never its value. It is not ok where the key is
// of a type that Latchkey has no use for.
func (s *session) key(h pkcs11.ObjectHandle) (_ Key, ok bool, err error) {
	attributes, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil),
		pkcs11.NewAttribute(pkcs11.CKA_ID, nil),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, nil),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_NEVER_EXTRACTABLE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_SENSITIVE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_LOCAL, nil),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, nil),
	})
	if err := s.call("C_GetAttributeValue", err); err != nil {
		return Key{}, false, err
	}
	value := func(i int) []byte { return attributes[i].Value }
	is := func(i int) bool { return isTrue(attributes[i]) }
	k := Key{
		Label: string(value(0)), id: value(1), handle: h,
		Use: useOf(is(3), is(4), is(10)), Extractable: is(5), NeverExtractable: is(6),
		Sensitive: is(7), AlwaysSensitive: is(8), Local: is(9),
	}
	version, named, length := parseKeyID(k.id)
	k.Version = version
	if k.Type, ok = s.typeOf(h, value(2), length); !ok {
		return Key{}, false, nil
	}
	k.KCV = s.kcvs(h, k.Type, named)
	k.Mechanisms = s.mechanisms(h)
	k.Weakness = k.Use.Weakness()
	if len(k.Mechanisms) == 0 {
		k.Weakness = strings.TrimPrefix(k.Weakness+"; "+unbound, "; ")
	}
	switch {
	case !k.Sensitive:
		k.Fault = "the key is not sensitive: it can be read"
	case k.Use == ForNothing:
		k.Fault = "the key has none of CKA_DERIVE, CKA_ENCRYPT and CKA_UNWRAP, or CKA_UNWRAP with another"
	case k.Extractable:
		k.Fault = faultExtractable
	}
	return k, true, nil
}

const (
	// faultExtractable is the one fault that Config.AllowExtractable does away with,
	// so it comes after all others.
	faultExtractable = "the key is extractable: it could leave the token"
	unbound          = "the token does not bind the key to its mechanisms (CKA_ALLOWED_MECHANISMS)"
)

// mechanisms reads CKA_ALLOWED_MECHANISMS. The attribute is optional: a token
// without it fails the call, which is no fault of the session's.
func (s *session) mechanisms(h pkcs11.ObjectHandle) []uint {
	attributes, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, nil)})
	if err != nil {
		return nil
	}
	return mechanismNumbers(attributes[0].Value)
}

// mechanismNumbers reads an array of CK_MECHANISM_TYPE.
func mechanismNumbers(value []byte) []uint {
	var list []uint
	for number := range slices.Chunk(value, 8) {
		list = append(list, uint(ulong(number)))
	}
	return list
}

// isTrue reads a CK_BBOOL.
func isTrue(a *pkcs11.Attribute) bool { return len(a.Value) == 1 && a.Value[0] != 0 }

func useOf(derive, encrypt, unwrap bool) Use {
	switch {
	case derive && encrypt && !unwrap:
		return ForMACs
	case derive && !unwrap:
		return ForDeriving
	case encrypt && !unwrap:
		return ForEncrypting
	case unwrap && !derive && !encrypt:
		return ForUnwrapping
	}
	return ForNothing
}

// typeOf tells a secret key's type; length is that of an AES key of which the
// token does not say it.
func (s *session) typeOf(h pkcs11.ObjectHandle, keyType []byte, length int) (card.KeyType, bool) {
	switch ulong(keyType) {
	case pkcs11.CKK_DES2:
		return card.TDES2, true
	case pkcs11.CKK_DES3:
		return card.TDES3, true
	case pkcs11.CKK_AES:
		// Only AES keys have the attribute; asking another for it fails the call.
		attributes, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, nil)})
		if s.call("C_GetAttributeValue", err) != nil {
			return "", false
		}
		if n := ulong(attributes[0].Value); n != 0 && n <= uint64(card.AES256.Len()) { //nolint:gosec // 32
			length = int(n) //nolint:gosec // 32 at most
		}
		t := typeOfLength(length, true)
		return t, t != ""
	}
	return "", false
}

// kcvs lists the check values that the token computed itself and, for AES, the
// one that the key's ID was given when the key was made.
func (s *session) kcvs(h pkcs11.ObjectHandle, t card.KeyType, named []byte) []KCV {
	var list []KCV
	if t.AES() && len(named) == kcvLen {
		list = append(list, kcv(AESCMACZero, named))
	}
	attributes, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CHECK_VALUE, nil)})
	// The attribute is optional: a token without it fails the call.
	if err == nil && len(attributes[0].Value) == kcvLen {
		convention := DESZero
		if t.AES() {
			convention = AESECBZero
		}
		list = append(list, kcv(convention, attributes[0].Value))
	} else if !t.AES() && len(named) == kcvLen {
		list = append(list, kcv(DESZero, named))
	}
	return list
}

func kcv(c Convention, value []byte) KCV {
	return KCV{c, strings.ToUpper(hex.EncodeToString(value))}
}

// ulong reads a CK_ULONG in the machine's order.
func ulong(b []byte) uint64 {
	if len(b) != 8 {
		return ^uint64(0)
	}
	return binary.NativeEndian.Uint64(b)
}
