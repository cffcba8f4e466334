package softhsmtest

import (
	"slices"
	"testing"

	"github.com/miekg/pkcs11"
)

// Tests that look for forgotten keys believe Objects, so it has to see one.
func TestObjectsSeesSessionKeys(t *testing.T) {
	fixture := New(t)
	fixture.Open(t)
	if got := fixture.Objects(t); len(got) != 0 {
		t.Errorf("an empty token has the objects %q", got)
	}
	fixture.inSession(t, func(ctx *pkcs11.Ctx, session pkcs11.SessionHandle) error {
		_, err := ctx.CreateObject(session, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, 32)),
		})
		if err != nil {
			return err
		}
		if got := fixture.Objects(t); !slices.Equal(got, []string{""}) {
			t.Errorf("with a key in another session the objects are %q, want one without a label", got)
		}
		return nil
	})
	if got := fixture.Objects(t); len(got) != 0 {
		t.Errorf("after the session is closed there are the objects %q", got)
	}
}
