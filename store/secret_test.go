package store_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/policy"
	"latchkey/store"
	"latchkey/unblock"
)

// desk is what the order of checks needs besides the store. Its HSM gives the
// same response to whatever is asked.
type desk struct{ response card.Response }

func (desk) Profile(string) (card.Profile, error) {
	return card.Profile{ID: "gids", Algorithm: card.TDESECB, ChallengeLen: 8, CardKeyType: card.TDES3, Scheme: card.Static, MasterKey: "m", MasterKeyVersion: 1}, nil
}

func (desk) Operator(_ context.Context, id string) (policy.Operator, error) {
	return policy.Operator{ID: id}, nil
}

func (desk) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: true}, nil
}

func (desk) View(context.Context, policy.ViewRequest) (policy.Decision, error) {
	return policy.Decision{Allow: true}, nil
}

func (desk) Usable(context.Context, string, int) (string, error) { return "", nil }

func (d desk) Respond(context.Context, card.AdminKey, card.Algorithm, card.Challenge) (card.Response, error) {
	return bytes.Clone(d.response), nil
}

// TestNoResponseIsStored answers a challenge at the desk and looks for the
// response in every byte that the store wrote.
func TestNoResponseIsStored(t *testing.T) {
	folder := t.TempDir()
	s := open(t, filepath.Join(folder, "latchkey.db"))
	must[store.Result](t)(s.PutCard(t.Context(), sampleCard("c1"), audit.Entry{}))
	must[store.Result](t)(s.PutCardType(t.Context(), card.Type{
		ID: "employee", Name: "Employee card", Profile: "gids", UnblockRemote: map[string]bool{"blocked": true},
	}, audit.Entry{}))
	response := card.Response{0xd1, 0x5c, 0x0a, 0xfe, 0x92, 0x33, 0xb7, 0x4e}
	fakes := desk{response}
	d := must[*unblock.Desk](t)(unblock.New(unblock.Config{
		Cards: s, Ledger: s, Profiles: fakes, Operators: fakes, Policy: fakes, Keys: fakes, HSM: fakes,
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(), Lifetime: time.Minute, ApprovalLifetime: time.Minute,
		Now: time.Now, NewID: func() string { return "process-1" },
	}))
	const challenge = "1603EBDF1C8A2E72"
	caller := unblock.Caller{Client: "idm", NamesOperators: true}
	got := must[unblock.Answer](t)(d.Respond(t.Context(), caller, unblock.Begin{Card: "c1", Operator: "olga", Reason: "call 17"}, unblock.Typed{Challenge: challenge}))
	same(t, "response given out", got.Response.Hex(), response.Hex())
	must[unblock.Process](t)(d.Complete(t.Context(), caller, "process-1", unblock.PINChanged))

	look := func(when string) {
		var all []byte
		for _, path := range must[[]string](t)(filepath.Glob(filepath.Join(folder, "*"))) {
			all = append(all, must[[]byte](t)(os.ReadFile(path))...)
		}
		if !bytes.Contains(all, []byte(challenge)) {
			t.Fatalf("%s: the challenge was not found, so this search finds nothing", when)
		}
		digits := hex.EncodeToString(response)
		for _, form := range []string{
			string(response), digits, strings.ToUpper(digits), digits[:8], strings.ToUpper(digits[:8]), response.Grouped(),
			response.Spoken(), base64.StdEncoding.EncodeToString(response), fmt.Sprint([]byte(response)),
		} {
			if bytes.Contains(all, []byte(form)) {
				t.Errorf("%s: the response is stored as %q", when, form)
			}
		}
	}
	look("open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look("closed")
}
