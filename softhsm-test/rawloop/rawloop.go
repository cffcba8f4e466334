// Package rawloop is the limit that the product is measured against: the PKCS#11
// calls of one answer (derive, encrypt, destroy), by miekg/pkcs11 alone, from one
// thread with one session and nothing around them.
package rawloop

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// Loop makes answers of scheme latchkey-v1, with AES-256 keys and challenges of 16
// bytes, in a session of its own. It is for one goroutine.
type Loop struct {
	ctx       *pkcs11.Ctx
	session   pkcs11.SessionHandle
	master    pkcs11.ObjectHandle
	mechanism []*pkcs11.Mechanism
	template  []*pkcs11.Attribute
	encrypt   []*pkcs11.Mechanism
	block     []byte
	pinned    runtime.Pinner
	data      []byte
}

// LogIn initialises the library and logs in to the token, for a process in which
// nothing else has.
func LogIn(module, token, pin string) error {
	ctx := pkcs11.New(module)
	if ctx == nil {
		return fmt.Errorf("load %s", module)
	}
	if err := ctx.Initialize(); err != nil {
		return fmt.Errorf("initialise: %w", err)
	}
	// SoftHSM sees no token where another process is at its files in that moment, nor
	// ever after but by being initialised anew; nor can it log in then.
	err := logIn(ctx, token, pin)
	for tries := 0; err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)) && tries < 20; tries++ {
		time.Sleep(50 * time.Millisecond)
		if err := errors.Join(ctx.Finalize(), ctx.Initialize()); err != nil {
			return fmt.Errorf("initialise again: %w", err)
		}
		err = logIn(ctx, token, pin)
	}
	return err
}

func logIn(ctx *pkcs11.Ctx, token, pin string) error {
	session, err := open(ctx, token)
	if err != nil {
		return err
	}
	// The login holds as long as a session is open, and this one stays.
	if err := ctx.Login(session, pkcs11.CKU_USER, pin); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// New makes a loop on a master key of the token, in a process that has initialised
// the library and logged in.
func New(module, token, key string) (*Loop, error) {
	r := &Loop{ctx: pkcs11.New(module), block: make([]byte, 16), data: make([]byte, 32)}
	if r.ctx == nil {
		return nil, fmt.Errorf("load %s", module)
	}
	var err error
	for tries := 0; ; tries++ {
		if r.session, err = open(r.ctx, token); err == nil {
			break
		} else if tries == 20 {
			return nil, err
		}
		time.Sleep(10 * time.Millisecond) // another process is at the token's files
	}
	if err := r.ctx.FindObjectsInit(r.session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, key)}); err != nil {
		return nil, fmt.Errorf("look for key: %w", err)
	}
	found, _, err := r.ctx.FindObjects(r.session, 1)
	if err := errors.Join(err, r.ctx.FindObjectsFinal(r.session)); err != nil {
		return nil, fmt.Errorf("look for key: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no key %s", key)
	}
	r.master = found[0]
	r.pinned.Pin(&r.data[0])
	type parameter struct {
		iv   [16]byte
		data uintptr
		len  uint64
	}
	p := parameter{data: uintptr(unsafe.Pointer(&r.data[0])), len: uint64(len(r.data))} //nolint:gosec // what PKCS#11 wants is the address of pinned memory
	r.mechanism = []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_CBC_ENCRYPT_DATA,
		append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(&p)), unsafe.Sizeof(p))...))} //nolint:gosec // the bytes of a C structure
	r.encrypt = []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}
	for t, v := range map[uint]any{
		pkcs11.CKA_CLASS: pkcs11.CKO_SECRET_KEY, pkcs11.CKA_KEY_TYPE: pkcs11.CKK_AES, pkcs11.CKA_VALUE_LEN: 32,
		pkcs11.CKA_TOKEN: false, pkcs11.CKA_PRIVATE: true, pkcs11.CKA_SENSITIVE: true, pkcs11.CKA_EXTRACTABLE: false,
		pkcs11.CKA_ENCRYPT: true, pkcs11.CKA_DECRYPT: false, pkcs11.CKA_SIGN: false, pkcs11.CKA_VERIFY: false,
		pkcs11.CKA_WRAP: false, pkcs11.CKA_UNWRAP: false, pkcs11.CKA_DERIVE: false,
	} {
		r.template = append(r.template, pkcs11.NewAttribute(t, v))
	}
	return r, nil
}

func open(ctx *pkcs11.Ctx, token string) (pkcs11.SessionHandle, error) {
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list slots: %w", err)
	}
	for _, slot := range slots {
		if info, err := ctx.GetTokenInfo(slot); err == nil && info.Label == token {
			s, err := ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
			if err != nil {
				return 0, fmt.Errorf("open session: %w", err)
			}
			return s, nil
		}
	}
	return 0, fmt.Errorf("no token %s", token)
}

// Answer makes one answer.
func (r *Loop) Answer() error {
	key, err := r.ctx.DeriveKey(r.session, r.mechanism, r.master, r.template)
	if err != nil {
		return err
	}
	if err := r.ctx.EncryptInit(r.session, r.encrypt, key); err != nil {
		return err
	}
	if _, err := r.ctx.Encrypt(r.session, r.block); err != nil {
		return err
	}
	return r.ctx.DestroyObject(r.session, key)
}

// Close ends the session.
func (r *Loop) Close() error {
	r.pinned.Unpin()
	return r.ctx.CloseSession(r.session)
}
