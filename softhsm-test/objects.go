package softhsmtest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/miekg/pkcs11"
)

// Objects lists the labels of all objects of the token that this process can
// see, as often as there are such objects: keys that live in a session have
// none and are listed as "". The token must be open, since what is looked for
// are the keys that it may have left in its sessions, and another process sees
// none of those.
func (t *Token) Objects(tb testing.TB) []string {
	tb.Helper()
	var labels []string
	t.inSession(tb, func(ctx *pkcs11.Ctx, session pkcs11.SessionHandle) error {
		info, err := ctx.GetSessionInfo(session)
		if err != nil {
			return err
		}
		if info.State != pkcs11.CKS_RO_USER_FUNCTIONS {
			return errors.New("nobody is logged in: private objects cannot be seen")
		}
		if err := ctx.FindObjectsInit(session, nil); err != nil {
			return err
		}
		defer func() {
			if err := ctx.FindObjectsFinal(session); err != nil {
				tb.Error(err)
			}
		}()
		for {
			found, _, err := ctx.FindObjects(session, 100)
			if err != nil || len(found) == 0 {
				return err
			}
			for _, object := range found {
				attributes, err := ctx.GetAttributeValue(session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
				if err != nil {
					return err
				}
				labels = append(labels, string(attributes[0].Value))
			}
		}
	})
	return labels
}

// inSession opens one more session beside those of the open token.
func (t *Token) inSession(tb testing.TB, do func(*pkcs11.Ctx, pkcs11.SessionHandle) error) {
	tb.Helper()
	ctx := pkcs11.New(t.Module)
	if ctx == nil {
		tb.Fatalf("%s is not a PKCS#11 library", t.Module)
	}
	defer ctx.Destroy()
	// Another load of the library is the same library, initialised already.
	if err := ctx.Initialize(); !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		tb.Fatalf("C_Initialize gives %v: open the token first", err)
	}
	slot, err := t.slot(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	session, err := ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := ctx.CloseSession(session); err != nil {
			tb.Error(err)
		}
	}()
	if err := do(ctx, session); err != nil {
		tb.Fatal(err)
	}
}

func (t *Token) slot(ctx *pkcs11.Ctx) (uint, error) {
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		return 0, err
	}
	for _, slot := range slots {
		info, err := ctx.GetTokenInfo(slot)
		if err != nil {
			return 0, err
		}
		if info.Label == t.Label {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("the module does not see the token %q", t.Label)
}
