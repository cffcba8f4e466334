package custody_test

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/hsm"
)

// Whoever tries to get an act done without the officers that it takes is refused;
// the proposal and the token stay as they are, and the log has the attempt.
func TestDualControl(t *testing.T) {
	ctx := t.Context()
	for name, test := range map[string]struct {
		attack func(w *world, p custody.Proposal) error
		code   dualcontrol.Code
	}{
		"own proposal": {func(w *world, p custody.Proposal) error {
			_, err := w.office.Approve(ctx, by("olga"), p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalOwn},
		"twice": {func(w *world, p custody.Proposal) error {
			_, err := w.office.Approve(ctx, by("otto"), p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalTwice},
		"hash of another": {func(w *world, p custody.Proposal) error {
			p.Parameters.Version = 3
			_, err := w.office.Approve(ctx, by("petra"), p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalHash},
		"no hash": {func(w *world, p custody.Proposal) error {
			_, err := w.office.Approve(ctx, by("petra"), p.ID, "")
			return err
		}, dualcontrol.ProposalHash},
		"too late": {func(w *world, p custody.Proposal) error {
			w.now = p.ExpiresAt
			_, err := w.office.Approve(ctx, by("petra"), p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalExpired},
		"rejected": {func(w *world, p custody.Proposal) error {
			if _, err := w.office.Reject(ctx, by("petra"), p.ID, "no"); err != nil {
				return err
			}
			_, err := w.office.Approve(ctx, by("quentin"), p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalClosed},
		"withdrawn": {func(w *world, p custody.Proposal) error {
			if _, err := w.office.Withdraw(ctx, by("olga"), p.ID); err != nil {
				return err
			}
			_, err := w.office.Approve(ctx, by("quentin"), p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalClosed},
		"withdrawn by another": {func(w *world, p custody.Proposal) error {
			_, err := w.office.Withdraw(ctx, by("otto"), p.ID)
			return err
		}, dualcontrol.ProposalNotYours},
		"own proposal, with another certificate": {func(w *world, p custody.Proposal) error {
			_, err := w.office.Approve(ctx, dualcontrol.Officer{Client: "olga-spare", Person: "person of olga"}, p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalOwn},
		"twice, with another certificate": {func(w *world, p custody.Proposal) error {
			_, err := w.office.Approve(ctx, dualcontrol.Officer{Client: "otto-spare", Person: "person of otto"}, p.ID, p.Hash())
			return err
		}, dualcontrol.ProposalTwice},
		"unknown": {func(w *world, p custody.Proposal) error {
			_, err := w.office.Approve(ctx, by("petra"), "proposal-99", p.Hash())
			return err
		}, dualcontrol.ProposalUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			p := w.propose(fleet(custody.Generate, 2))
			half, err := w.office.Approve(ctx, by("otto"), p.ID, p.Hash())
			if err != nil || half.State != dualcontrol.Open || len(half.Approved) != 1 {
				t.Fatalf("one approval of two: %s with %d (%v)", half.State, len(half.Approved), err)
			}
			if code := refused(t, test.attack(w, p)); code != test.code {
				t.Errorf("code %s, want %s", code, test.code)
			}
			if w.token.calls != 0 || len(w.keys()) != 0 || w.state(2) != "" {
				t.Errorf("the token was called %d times, holds %v, and the record is %q", w.token.calls, w.keys(), w.state(2))
			}
			log := w.entries()
			if last := log[len(log)-1]; last.Outcome != audit.Deny || last.Code != string(test.code) || last.Client == "" {
				t.Errorf("the log ends with %+v", last)
			}
		})
	}
}

// An act with all its approvals is carried out at once, and each step is in the
// log with the hash that was approved.
func TestApproved(t *testing.T) {
	w := newWorld(t, 2)
	p := w.propose(fleet(custody.Generate, 1))
	for _, officer := range []string{"otto", "petra"} {
		w.now = w.now.Add(time.Minute)
		var err error
		if p, err = w.office.Approve(t.Context(), by(officer), p.ID, strings.ToUpper(p.Hash())); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := w.token.Keys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %v (%v)", keys, err)
	}
	if p.State != dualcontrol.Executed || !slices.Equal(p.Result.KCV, keys[0].KCV) || len(p.Result.KCV) == 0 || p.Result.KCV[0].Convention != hsm.AESCMACZero {
		t.Errorf("proposal is %s with check values %v; the key has %v", p.State, p.Result.KCV, keys[0].KCV)
	}
	if r, err := w.store.Record(t.Context(), "fleet", 1); err != nil || r.State != custody.PreActive || !slices.Equal(r.KCV, keys[0].KCV) || r.Proposal != p.ID {
		t.Errorf("record %+v (%v)", r, err)
	}
	var steps []string
	for _, e := range w.entries() {
		steps = append(steps, string(e.Action)+" "+e.Client+" "+string(e.Outcome))
		if e.ProposalHash != p.Hash() || e.Proposal != p.ID || e.MasterKey != "fleet" || e.KeyVersion != 1 {
			t.Errorf("entry %+v is of something else", e)
		}
	}
	want := []string{"key.propose olga permit", "key.approve otto permit", "key.approve petra permit", "key.execute petra permit"}
	if !slices.Equal(steps, want) {
		t.Errorf("log %q, want %q", steps, want)
	}
	// A statement that was read back from the database is still the one approved.
	stored, err := w.office.Proposal(t.Context(), p.ID)
	if err != nil || stored.Hash() != p.Hash() || len(stored.Approved) != 2 {
		t.Errorf("stored: %+v (%v)", stored, err)
	}
}

// Raising the number of approvals reaches proposals that are open; lowering it does
// not.
func TestApprovalsRaised(t *testing.T) {
	w := newWorld(t, 1)
	p := w.propose(fleet(custody.Generate, 1))
	for _, step := range []struct {
		configured, wanted int
		officer            string
		state              dualcontrol.State
	}{
		{3, 3, "otto", dualcontrol.Open},
		{2, 2, "petra", dualcontrol.Executed},
	} {
		w.configure(custody.Config{Token: w.token, Ledger: w.store, Approvals: step.configured})
		if got, err := w.office.Proposal(t.Context(), p.ID); err != nil || got.Wanted != step.wanted || got.Hash() != p.Hash() {
			t.Errorf("with %d: %d are wanted (%v)", step.configured, got.Wanted, err)
		}
		if got, err := w.office.Approve(t.Context(), by(step.officer), p.ID, p.Hash()); err != nil || got.State != step.state {
			t.Errorf("with %d, approved by %s: %s (%v)", step.configured, step.officer, got.State, err)
		}
	}
	two := w.propose(fleet(custody.Activate, 1))
	w.configure(custody.Config{Token: w.token, Ledger: w.store, Approvals: 1})
	if got, err := w.office.Approve(t.Context(), by("otto"), two.ID, two.Hash()); err != nil || got.State != dualcontrol.Open {
		t.Errorf("lowered: %s (%v)", got.State, err)
	}
}

// Many officers approve at the same moment: the act is carried out once, however
// they come between each other.
func TestApprovalsRace(t *testing.T) {
	w := newWorld(t, 3)
	p := w.propose(fleet(custody.Generate, 1))
	officers := strings.Split("abcdefgh", "")
	var executed, counted atomic.Int32
	var wg sync.WaitGroup
	for _, officer := range officers {
		wg.Go(func() {
			got, err := w.office.Approve(t.Context(), by(officer), p.ID, p.Hash())
			switch {
			case err == nil && got.State == dualcontrol.Executed:
				executed.Add(1)
				counted.Add(1)
			case err == nil:
				counted.Add(1)
			case refused(t, err) != dualcontrol.ProposalClosed:
				t.Errorf("officer %s: %v", officer, err)
			}
		})
	}
	wg.Wait()
	if executed.Load() != 1 || counted.Load() != 3 || w.token.calls != 1 || len(w.keys()) != 1 {
		t.Errorf("%d saw it executed, %d approvals counted, %d calls of the token, keys %v; want 1, 3, 1 and one", executed.Load(), counted.Load(), w.token.calls, w.keys())
	}
}

// Two proposals want the same version: one makes it, the other fails and says so.
func TestSameVersionTwice(t *testing.T) {
	w := newWorld(t, 1)
	first, second := w.propose(fleet(custody.Generate, 1)), w.propose(fleet(custody.Generate, 1))
	for _, p := range []custody.Proposal{first, second} {
		if _, err := w.office.Approve(t.Context(), by("otto"), p.ID, p.Hash()); err != nil {
			t.Fatal(err)
		}
	}
	p, err := w.office.Proposal(t.Context(), second.ID)
	if err != nil || p.State != dualcontrol.Failed || p.Result.Error == "" || len(w.keys()) != 1 {
		t.Errorf("the second is %s: %s (%v); keys %v", p.State, p.Result.Error, err, w.keys())
	}
}

// What the token refuses has failed and leaves the version free; what it did not
// come back from is unknown, keeps the version, and is never tried again.
func TestTokenFails(t *testing.T) {
	for name, test := range map[string]struct {
		before, after func() error
		state         dualcontrol.State
		record        custody.State
	}{
		"refuses":             {func() error { return hsm.ErrKeyUnfit }, nil, dualcontrol.Failed, ""},
		"hangs":               {func() error { return &hsm.TimeoutError{} }, nil, dualcontrol.Unknown, custody.PreActive},
		"hangs for too long":  {func() error { return context.DeadlineExceeded }, nil, dualcontrol.Unknown, custody.PreActive},
		"hangs, having made":  {nil, func() error { return &hsm.TimeoutError{} }, dualcontrol.Unknown, custody.PreActive},
		"complains, but made": {nil, func() error { return errors.New("C_CopyObject: CKR_ATTRIBUTE_VALUE_INVALID") }, dualcontrol.Unknown, custody.PreActive},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.token.before, w.token.after = test.before, test.after
			p := w.propose(fleet(custody.Generate, 1))
			p, err := w.office.Approve(t.Context(), by("otto"), p.ID, p.Hash())
			if err != nil || p.State != test.state || p.Result.Error == "" || w.state(1) != test.record {
				t.Errorf("%s, %q (%v); record %q", p.State, p.Result.Error, err, w.state(1))
			}
			log := w.entries()
			if last := log[len(log)-1]; last.Action != audit.KeyExecute || last.Outcome != audit.Failure {
				t.Errorf("the log ends with %+v", last)
			}
			if _, err := w.office.Approve(t.Context(), by("petra"), p.ID, p.Hash()); refused(t, err) != dualcontrol.ProposalClosed || w.token.calls != 1 {
				t.Errorf("approved again: %v, %d calls of the token", err, w.token.calls)
			}
		})
	}
}

// The process ends while the token is at work. After the restart the proposal is
// unknown, the token is not asked again, and officers can end the matter either way.
func TestCrash(t *testing.T) {
	for name, made := range map[string]bool{"the key was made": true, "the key was not made": false} {
		t.Run(name, func(t *testing.T) { crash(t, made) })
	}
}

// crash has the process end before or after the token makes the key.
func crash(t *testing.T, made bool) {
	w := newWorld(t, 1)
	end := func() error { panic("the process ends here") }
	if made {
		w.token.after = end
	} else {
		w.token.before = end
	}
	p := w.propose(fleet(custody.Generate, 1))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the process did not crash")
			}
		}()
		_, _ = w.office.Approve(t.Context(), by("otto"), p.ID, p.Hash())
	}()
	if stored, err := w.office.Proposal(t.Context(), p.ID); err != nil || stored.State != dualcontrol.Executing {
		t.Fatalf("on disk it is %s (%v)", stored.State, err)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}

	w.token.before, w.token.after, w.token.calls = nil, nil, 0
	w.open(1)
	cut, err := w.office.Recover(t.Context())
	if err != nil || len(cut) != 1 || cut[0].ID != p.ID || cut[0].State != dualcontrol.Unknown || w.token.calls != 0 {
		t.Fatalf("recovered %+v (%v), %d calls of the token", cut, err, w.token.calls)
	}
	if again, err := w.office.Recover(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("recovered again: %+v (%v)", again, err)
	}
	got, err := w.office.Proposal(t.Context(), p.ID)
	if err != nil || got.State != dualcontrol.Unknown || !strings.Contains(got.Result.Error, "look at the token") {
		t.Errorf("it is %s: %s (%v)", got.State, got.Result.Error, err)
	}
	if why, err := w.office.Usable(t.Context(), "fleet", 1); why == "" || err != nil {
		t.Errorf("a key that nobody knows of is usable: %v", err)
	}
	items, err := w.office.Inventory(t.Context())
	if err != nil || len(items) != 1 || !strings.Contains(strings.Join(items[0].Remarks, "; "), "nobody knows") {
		t.Errorf("the inventory says %+v (%v)", items, err)
	}
	if !made { // activating what is not there is refused; ending it is not
		if _, err := w.office.Propose(t.Context(), by("olga"), fleet(custody.Activate, 1)); refused(t, err) != custody.KeyUnfit {
			t.Errorf("activate: %v", err)
		}
		w.done(fleet(custody.Destroy, 1))
		return
	}
	w.done(fleet(custody.Activate, 1))
	if r, err := w.store.Record(t.Context(), "fleet", 1); err != nil || len(r.KCV) == 0 {
		t.Errorf("the record has no check value: %+v (%v)", r, err)
	}
}

// forgetful is a ledger that loses the write in which an act's outcome is told.
type forgetful struct {
	custody.Ledger
	lose bool
}

func (f *forgetful) Keep(ctx context.Context, c custody.Change) error {
	if f.lose && c.Proposal != nil && c.Proposal.State != dualcontrol.Executing {
		return errors.New("disk full")
	}
	return f.Ledger.Keep(ctx, c)
}

// The token did it and the ledger cannot say so: the officer is told, and nobody
// has it done again.
func TestOutcomeNotWritten(t *testing.T) {
	w := newWorld(t, 1)
	ledger := &forgetful{Ledger: w.store}
	w.configure(custody.Config{Token: w.token, Ledger: ledger, Approvals: 1})
	p := w.propose(fleet(custody.Generate, 1))
	ledger.lose = true
	if _, err := w.office.Approve(t.Context(), by("otto"), p.ID, p.Hash()); refused(t, err) != dualcontrol.AuditUnavailable {
		t.Errorf("approve: %v", err)
	}
	if _, err := w.office.Approve(t.Context(), by("petra"), p.ID, p.Hash()); refused(t, err) != dualcontrol.ProposalClosed || w.token.calls != 1 {
		t.Errorf("approve again: %v, %d calls of the token", err, w.token.calls)
	}
	ledger.lose = false
	if cut, err := w.office.Recover(t.Context()); err != nil || len(cut) != 1 {
		t.Errorf("recovered %+v (%v)", cut, err)
	}
}

// overtaken is a ledger in which others always come first.
type overtaken struct{ custody.Ledger }

func (overtaken) Keep(context.Context, custody.Change) error { return dualcontrol.ErrConflict }

// Whoever is overtaken every time is told so, and the audit log says it of
// whatever they wanted.
func TestOvertaken(t *testing.T) {
	w := newWorld(t, 1)
	p := w.propose(fleet(custody.Generate, 1))
	w.configure(custody.Config{Token: w.token, Ledger: overtaken{w.store}, Approvals: 1})
	for action, act := range map[audit.Action]func() (custody.Proposal, error){
		audit.KeyPropose: func() (custody.Proposal, error) {
			return w.office.Propose(t.Context(), by("olga"), fleet(custody.Generate, 2))
		},
		audit.KeyApprove:  func() (custody.Proposal, error) { return w.office.Approve(t.Context(), by("otto"), p.ID, p.Hash()) },
		audit.KeyReject:   func() (custody.Proposal, error) { return w.office.Reject(t.Context(), by("otto"), p.ID, "no") },
		audit.KeyWithdraw: func() (custody.Proposal, error) { return w.office.Withdraw(t.Context(), by("olga"), p.ID) },
	} {
		before := len(w.entries())
		if _, err := act(); refused(t, err) != dualcontrol.ProposalConflict {
			t.Errorf("%s: %v", action, err)
		}
		log := w.entries()[before:]
		if len(log) != 1 || log[0].Action != action || log[0].Outcome != audit.Deny || log[0].Code != string(dualcontrol.ProposalConflict) || log[0].Proposal == "" {
			t.Errorf("%s left the entries %+v", action, log)
		}
	}
}

// One officer suspends at once; taking it back takes two.
func TestSuspendAlone(t *testing.T) {
	w := newWorld(t, 1)
	w.done(fleet(custody.Generate, 1))
	w.done(fleet(custody.Activate, 1))
	p := w.propose(fleet(custody.Suspend, 1))
	if p.State != dualcontrol.Executed || w.state(1) != custody.Suspended || p.Approvals != 0 {
		t.Errorf("suspend: %s, key %s", p.State, w.state(1))
	}
	if p := w.propose(fleet(custody.Resume, 1)); p.State != dualcontrol.Open || w.state(1) != custody.Suspended {
		t.Errorf("resume: %s, key %s", p.State, w.state(1))
	}
	for _, act := range custody.Acts() {
		if act.Alone() != (act == custody.Suspend) {
			t.Errorf("%s: alone is %v", act, act.Alone())
		}
	}
}

// A suspicion does not wait for the token: a key is stopped while it is away.
func TestSuspendWithoutToken(t *testing.T) {
	w := newWorld(t, 1)
	w.done(fleet(custody.Generate, 1))
	w.done(fleet(custody.Activate, 1))
	if err := w.token.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := w.propose(fleet(custody.Suspend, 1)); p.State != dualcontrol.Executed || w.state(1) != custody.Suspended {
		t.Errorf("suspend: %s, key %s", p.State, w.state(1))
	}
	if _, err := w.office.Propose(t.Context(), by("olga"), fleet(custody.Resume, 1)); refused(t, err) != custody.HSMUnavailable {
		t.Errorf("resume: %v", err)
	}
}

// A key that nobody registered counts as active, or with Strict as not yet; its
// first act registers it.
func TestUnregistered(t *testing.T) {
	w := newWorld(t, 1)
	n := hsm.NewKey{Label: "fleet", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}
	if _, err := w.token.Token.Generate(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if why, err := w.office.Usable(t.Context(), "fleet", 1); why != "" || err != nil {
		t.Errorf("not registered: %q (%v)", why, err)
	}
	w.configure(custody.Config{Token: w.token, Ledger: w.store, Approvals: 1, Strict: true})
	if why, err := w.office.Usable(t.Context(), "fleet", 1); why != "is not registered" || err != nil {
		t.Errorf("not registered, strict: %q (%v)", why, err)
	}
	w.done(fleet(custody.Activate, 1))
	if why, err := w.office.Usable(t.Context(), "fleet", 1); why != "" || err != nil {
		t.Errorf("activated: %q (%v)", why, err)
	}
	w.configure(custody.Config{Token: w.token, Ledger: w.store, Approvals: 1})
	w.done(fleet(custody.Deactivate, 1))
	if why, err := w.office.Usable(t.Context(), "fleet", 1); why != "" || err != nil {
		t.Errorf("deactivated: %q (%v)", why, err)
	}
	if _, err := w.office.Propose(t.Context(), by("olga"), fleet(custody.Activate, 7)); refused(t, err) != custody.KeyUnknown {
		t.Errorf("a key that is nowhere: %v", err)
	}
}

// Keys come in wrapped and are made with a backup; one whose check value is not the
// one that was approved does not stay.
func TestWrapped(t *testing.T) {
	w := newWorld(t, 1)
	transport, err := w.office.TransportKey(t.Context(), by("olga"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(transport.Public)
	if err != nil {
		t.Fatal(err)
	}
	backup := fleet(custody.Generate, 1)
	backup.Act, backup.Parameters.BackupKey = custody.GenerateWithBackup, der
	p := w.done(backup)
	if len(p.Result.Backup) != 3072/8 || p.Result.BackupUnder != transport.Fingerprint {
		t.Fatalf("backup of %d bytes under %s", len(p.Result.Backup), p.Result.BackupUnder)
	}

	in := fleet(custody.Generate, 2)
	in.Act, in.Parameters.Wrapped, in.Parameters.KCV = custody.ImportWrapped, p.Result.Backup, p.Result.KCV[0].Value
	if again := w.done(in); again.Result.KCV[0] != p.Result.KCV[0] {
		t.Errorf("the key comes back with check values %v, went out with %v", again.Result.KCV, p.Result.KCV)
	}

	other := w.propose(fleet(custody.Generate, 3))
	wrong := in
	wrong.Parameters.Version, wrong.Parameters.KCV = 4, "000000"
	spoilt := in
	spoilt.Parameters.Version, spoilt.Parameters.Wrapped = 5, slices.Clone(p.Result.Backup)
	spoilt.Parameters.Wrapped[7] ^= 1
	for _, d := range []custody.Draft{wrong, spoilt} {
		p := w.propose(d)
		p, err := w.office.Approve(t.Context(), by("otto"), p.ID, p.Hash())
		if err != nil || p.State != dualcontrol.Failed || p.Result.Error == "" || w.state(d.Parameters.Version) != "" {
			t.Errorf("version %d: %s, %q (%v)", d.Parameters.Version, p.State, p.Result.Error, err)
		}
	}
	if got := w.keys(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the token holds versions %v", got)
	}
	// A version that failed is free for another try.
	if p, err := w.office.Approve(t.Context(), by("otto"), other.ID, other.Hash()); err != nil || p.State != dualcontrol.Executed {
		t.Errorf("version 3: %s (%v)", p.State, err)
	}

	under := custody.Draft{Act: custody.Generate, Parameters: custody.Parameters{Key: "transfer", Version: 1, Type: card.AES256, Use: hsm.ForUnwrapping}}
	w.done(under)
	nonsense := fleet(custody.Generate, 6)
	nonsense.Act, nonsense.Parameters.Wrapped, nonsense.Parameters.Wrapping = custody.ImportUnder, make([]byte, 40), card.KeyWrap
	nonsense.Parameters.Under, nonsense.Parameters.UnderVersion = "transfer", 1
	p = w.propose(nonsense)
	if p, err = w.office.Approve(t.Context(), by("otto"), p.ID, p.Hash()); err != nil || p.State != dualcontrol.Failed {
		t.Errorf("what was not wrapped under the key: %s (%v)", p.State, err)
	}
}

// A key in the token that is not the one that was registered is not taken for it.
func TestReplacedKey(t *testing.T) {
	w := newWorld(t, 1)
	w.done(fleet(custody.Generate, 1))
	if err := w.token.Token.Destroy(t.Context(), "fleet", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.token.Token.Generate(t.Context(), hsm.NewKey{Label: "fleet", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.office.Propose(t.Context(), by("olga"), fleet(custody.Activate, 1)); refused(t, err) != custody.KeyUnfit {
		t.Errorf("activate: %v", err)
	}
	items, err := w.office.Inventory(t.Context())
	if err != nil || len(items) != 1 || items[0].Grade != custody.Unfit || !strings.Contains(strings.Join(items[0].Remarks, "; "), "not that of the key that was registered") {
		t.Errorf("inventory %+v (%v)", items, err)
	}
}
