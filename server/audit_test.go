package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/audit/notary"
	"latchkey/audit/stream"
	"latchkey/server/api"
	"latchkey/store"
)

// auditWorld is the audit log of a world, with a notary where there is one.
type auditWorld struct {
	*store.Log
	*store.Store
	notary  *notary.Notary
	streams *stream.Streams
}

func (a *auditWorld) Sign(ctx context.Context) error {
	if a.notary == nil {
		return nil
	}
	_, err := a.notary.Sign(ctx)
	return err
}

func (a *auditWorld) Sinks(ctx context.Context) ([]stream.Status, error) {
	if a.streams == nil {
		return nil, nil
	}
	return a.streams.Status(ctx)
}

func (a *auditWorld) Close() error { return a.Store.Close() }

func TestAuditorsExportAndProve(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []*ecdsa.PublicKey{&key.PublicKey}
	log := &auditWorld{Log: w.store.Log(), Store: w.store}
	log.notary, err = notary.New(t.Context(), notary.Config{
		Log: log.Log, Ledger: w.store, Key: key, Every: time.Minute, After: 100, Logger: zap.NewNop(), Now: w.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	sink := stream.Sink{Name: "gone", Kind: stream.File, Format: stream.JSON, Path: t.TempDir() + "/not/there"}
	log.streams, err = stream.New(t.Context(), stream.Config{Log: log.Log, Ledger: w.store, Sinks: []stream.Sink{sink}, Logger: zap.NewNop(), Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.restart(func(c *Config) { c.Audit = log })

	answer := w.call("auditor", "GET", "/v1/audit", nil)
	if answer.status != http.StatusOK || answer.header.Get("Content-Type") != api.NDJSON {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	report, err := audit.Verify(strings.NewReader(string(answer.body)), keys, "")
	// The key's entry, and this export's own.
	if err != nil || !report.Sound() || report.Size != 2 || report.Signed != 2 || !strings.Contains(string(answer.body), `"action":"audit.export","outcome":"permit","client":"auditor"`) {
		t.Fatalf("%+v, %v\n%s", report, err, answer.body)
	}
	var state api.AuditState
	w.must(http.StatusOK, &state, "olga", "GET", "/v1/audit/state", nil)
	if _, err := audit.OpenCheckpoint(state.Checkpoint, keys); err != nil || state.Size != 2 || state.Signed != 2 || len(state.Sinks) != 1 || state.Sinks[0].Lag != 2 {
		t.Errorf("%+v, %v", state, err)
	}
	var proof api.AuditProof
	w.must(http.StatusOK, &proof, "auditor", "GET", "/v1/audit/2/proof", nil)
	if row, c, err := audit.VerifyProof(proof.Proof, keys); err != nil || row.Sequence != 2 || c.Size != 3 {
		t.Errorf("%+v %+v %v", row, c, err)
	}
	// What came since is proved to go on from what was there.
	answer = w.call("auditor", "GET", "/v1/audit?from=3", nil)
	report, err = audit.Verify(strings.NewReader(string(answer.body)), keys, state.Checkpoint)
	if err != nil || !report.Sound() || report.From != 3 || report.Size != 4 {
		t.Errorf("%+v, %v\n%s", report, err, answer.body)
	}

	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/v1/audit?from=0":       {http.StatusUnprocessableEntity, "invalid-request"},
		"/v1/audit?from=x":       {http.StatusUnprocessableEntity, "invalid-request"},
		"/v1/audit?from=1000000": {http.StatusUnprocessableEntity, "invalid-request"},
		"/v1/audit/1000/proof":   {http.StatusNotFound, "entry-unproved"},
		"/v1/audit/x/proof":      {http.StatusNotFound, "entry-unproved"},
	} {
		if a := w.call("auditor", "GET", path, nil); a.status != want.status || a.problem(t).Code != want.code {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, client := range []string{"backend", "anna", "admin", "olga"} {
		if a := w.call(client, "GET", "/v1/audit", nil); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", client, a.status)
		}
	}

	// An export that cannot be logged is not given out.
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]string{"/v1/audit": "store-unavailable", "/v1/audit/state": "store-unavailable", "/v1/audit/1/proof": "audit-unavailable"} {
		if a := w.call("auditor", "GET", path, nil); a.status != http.StatusServiceUnavailable || a.problem(t).Code != code {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// Who is turned away is in the log, with no more entries than it can bear.
func TestTurnedAway(t *testing.T) {
	w := newWorld(t)
	w.call("", "GET", "/v1/keys", nil)
	w.call("nobody", "GET", "/v1/keys", nil)
	w.call("anna", "PUT", "/v1/card-types/secret-in-the-path", api.CardType{})
	w.call("anna", "GET", "/v1/cards/unknown", nil) // no question of who she is
	list := w.entries()
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	for i, want := range []audit.Entry{
		{Code: "client-certificate-required", Detail: "/v1/keys"},
		{Code: "client-unknown", Detail: "/v1/keys"},
		{Code: "role-forbidden", Detail: "/v1/card-types/{id}", Client: "anna", Operator: "anna"},
	} {
		got := list[i]
		if got.Action != audit.AccessRefused || got.Outcome != audit.Deny || got.Code != want.Code || got.Detail != want.Detail ||
			got.Client != want.Client || got.Operator != want.Operator || got.Address != "127.0.0.1" || got.RequestID == "" {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	const flood = 200
	for range flood {
		w.call("nobody", "GET", "/v1/keys", nil)
	}
	w.clock.advance(time.Minute)
	w.call("nobody", "GET", "/v1/keys", nil)
	list = w.entries()
	if len(list) != refusalsBurst+1 {
		t.Fatalf("a flood of %d made %d entries", flood, len(list))
	}
	if last := list[len(list)-1]; last.Detail != "/v1/keys; 173 more were turned away before and not entered" {
		t.Errorf("%+v", last)
	}
}
