package ceremony

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"latchkey/card"
	"latchkey/hsm"
)

// HSM is the token that a ceremony works on; *hsm.Token is one.
type HSM interface {
	Info() hsm.TokenInfo
	Keys(context.Context) ([]hsm.Key, error)
	Generate(context.Context, hsm.NewKey) (hsm.Key, error)
	GenerateWithBackup(context.Context, hsm.NewKey, hsm.TransportKey) (hsm.Backup, error)
	// Import does not keep the value; the caller wipes it.
	Import(ctx context.Context, n hsm.NewKey, value []byte) (hsm.Key, error)
	ImportWrapped(ctx context.Context, n hsm.NewKey, transport string, wrapped []byte) (hsm.Key, error)
	ImportUnder(ctx context.Context, n hsm.NewKey, label string, version int, w card.Wrapping, wrapped []byte) (hsm.Key, error)
	MakeTransportKey(ctx context.Context, label string) (hsm.TransportKey, error)
	Destroy(ctx context.Context, label string, version int) error
	// CheckValue does not keep the value; the caller wipes it.
	CheckValue(ctx context.Context, t card.KeyType, value []byte, c hsm.Convention) (hsm.KCV, error)
}

// Console is the terminal at which the officers sit.
type Console interface {
	// Show prints a line.
	Show(line string)
	// Ask gives the line that is typed, without its end. What was typed before the
	// prompt was shown does not count.
	Ask(ctx context.Context, prompt string) (string, error)
	// AskHidden reads a line that is not shown, without its end, into the buffer, and
	// keeps no copy. A line that does not fit is ErrTooLong.
	AskHidden(ctx context.Context, prompt string, into []byte) (n int, err error)
}

// Errors that callers tell apart.
var (
	// ErrTooLong says that a line was too long to be what was asked for.
	ErrTooLong = errors.New("the line is too long")
	// ErrStopped says that an officer broke the ceremony off.
	ErrStopped = errors.New("the ceremony was broken off by an officer")
	// ErrRefused says that something is not as the script wants it.
	ErrRefused = errors.New("refused")
)

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// maxTries bounds how often one question is asked, and one component entered.
const maxTries = 5

// Options is what a ceremony needs beside its script.
type Options struct {
	HSM     HSM
	Signer  crypto.Signer // of the script's signing key, ECDSA P-256
	Console Console
	Record  string           // path of the record, which must not be there yet
	Tool    string           // version of the program that runs the ceremony
	Now     func() time.Time // the clock
}

// Run walks the script and writes the record, whatever happened. It begins with
// nothing where the script is for another token, something is missing, or the
// record cannot be written; the record is nil then. Otherwise the error says why
// the ceremony did not come to its end: ErrStopped, the context's error, or what
// the step failed with. A step that has been confirmed for the last time runs to
// its end even when the context does not.
func Run(ctx context.Context, s *Script, o Options) (*Record, error) {
	if err := s.isFor(o.HSM.Info()); err != nil {
		return nil, err
	}
	if err := s.missing(); err != nil {
		return nil, err
	}
	public, ok := o.Signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, refuse("signing key %s is not an ECDSA key", s.SigningKey.Label)
	}
	r, err := newRecord(s, o, public)
	if err != nil {
		return nil, err
	}
	// The file is taken now: after the last step would be too late to learn that it
	// cannot be.
	f, err := os.OpenFile(o.Record, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make record: %w", err)
	}
	w := &walk{script: s, hsm: o.HSM, console: o.Console, now: o.Now, record: r}
	walked := w.walk(ctx)
	r.end(w.time(), walked)
	return r, errors.Join(walked, w.keep(f, o))
}

// isFor refuses another token than the script's.
func (s *Script) isFor(t hsm.TokenInfo) error {
	if s.Token.Label != "" && s.Token.Label != t.Label || s.Token.Serial != "" && s.Token.Serial != t.Serial {
		return refuse("the script is for token %q, serial %q; this is %q, serial %q", s.Token.Label, s.Token.Serial, t.Label, t.Serial)
	}
	return nil
}

// walk is a ceremony under way.
type walk struct {
	script  *Script
	hsm     HSM
	console Console
	now     func() time.Time
	record  *Record
	step    *StepRecord // under way, nil before the first
}

// whole is ctx for calls that change the token: they are not cut off half-way,
// but bounded by the token's own deadline.
func whole(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func (w *walk) time() time.Time { return w.now().UTC().Truncate(time.Second) }

func (w *walk) say(format string, args ...any) {
	w.console.Show(card.Visible(fmt.Sprintf(format, args...)))
}

// event notes a refusal or a retry. It never says what was typed.
func (w *walk) event(format string, args ...any) {
	e := Event{w.time(), fmt.Sprintf(format, args...)}
	if w.step != nil {
		w.step.Events = append(w.step.Events, e)
	} else {
		w.record.Events = append(w.record.Events, e)
	}
}

func (w *walk) walk(ctx context.Context) error {
	for _, line := range w.script.opening() {
		w.say("%s", line)
	}
	w.say("")
	w.say("The record will be signed by %s, fingerprint", w.script.SigningKey.Label)
	w.say("  %s", grouped(w.record.SigningKey.Fingerprint))
	if err := w.present(ctx); err != nil {
		return err
	}
	if err := w.approve(ctx); err != nil {
		return err
	}
	for i, s := range w.script.Steps {
		if err := w.do(ctx, &w.record.Steps[i], s); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.Kind(), err)
		}
	}
	return nil
}

// present has every officer say that they are there.
func (w *walk) present(ctx context.Context) error {
	w.say("")
	w.say("Each officer types their full name to say that they are here; %q breaks off.", stop)
	for i, o := range w.script.Officers {
		if err := w.named(ctx, fmt.Sprintf("%s, %s", o.Name, o.Role), o.Name); err != nil {
			return err
		}
		w.record.Officers[i].Present = new(w.time())
	}
	return nil
}

// approve gathers the approvals.
func (w *walk) approve(ctx context.Context) error {
	a := w.script.Approval
	w.say("")
	w.say("The script is approved by %d of: %s. Its SHA-256 is", a.Required, strings.Join(a.Officers, ", "))
	w.say("  %s", grouped(w.script.SHA256))
	w.say("Compare it with your own copy: sha256sum FILE.")
	for i := range a.Required {
		err := w.tries(ctx, fmt.Sprintf("Approval %d of %d, name: ", i+1, a.Required), func(typed string) bool {
			given := func(by ApprovalRecord) bool { return sameName(by.Name, typed) }
			at := slices.IndexFunc(a.Officers, func(name string) bool { return sameName(name, typed) })
			switch {
			case at < 0:
				w.refuseTyped("that is not the name of an officer who may approve")
				return false
			case slices.ContainsFunc(w.record.Approvals, given):
				w.refuseTyped("an officer who approved already cannot approve again")
				return false
			}
			w.record.Approvals = append(w.record.Approvals, ApprovalRecord{w.script.officer(typed).Name, w.time()})
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// do walks one step.
func (w *walk) do(ctx context.Context, r *StepRecord, s Step) error {
	w.step = r
	w.say("")
	w.say("Step %d of %d: %s", r.Number, len(w.record.Steps), s.Kind())
	for _, line := range s.Words() {
		w.say("  %s", line)
	}
	r.Started = new(w.time())
	err := ctx.Err()
	if err == nil {
		err = s.do(ctx, w, r)
	}
	r.Ended, r.Outcome = new(w.time()), outcomeOf(err)
	if err != nil {
		r.Error = said(err)
	}
	return err
}

// tries asks until the answer is taken, a few times at most.
func (w *walk) tries(ctx context.Context, prompt string, take func(typed string) bool) error {
	for range maxTries {
		typed, err := w.console.Ask(ctx, prompt)
		switch {
		case errors.Is(err, ErrTooLong):
			w.refuseTyped("the line is too long")
			continue
		case err != nil:
			return err
		case take(strings.TrimSpace(typed)):
			return nil
		case isStop(typed):
			return ErrStopped
		}
	}
	return fmt.Errorf("no fitting answer in %d tries", maxTries)
}

// refuseTyped says and notes why an answer was not taken, but not what it was: it
// may be a secret in a wrong place.
func (w *walk) refuseTyped(why string) {
	w.say("  No: %s.", why)
	w.event("an answer was not taken: %s", why)
}

// insist asks for one certain text.
func (w *walk) insist(ctx context.Context, question, want string) error {
	return w.tries(ctx, question+": ", func(typed string) bool {
		if typed == want {
			return true
		}
		if !isStop(typed) {
			w.refuseTyped(fmt.Sprintf("it takes %q to go on, and %q to break off", want, stop))
		}
		return false
	})
}

// confirm asks for a yes.
func (w *walk) confirm(ctx context.Context, question string) error {
	return w.tries(ctx, question+" [yes/stop] ", func(typed string) bool {
		if sameName(typed, "yes") {
			return true
		}
		if !isStop(typed) {
			w.refuseTyped(fmt.Sprintf(`it takes "yes" to go on, and %q to break off`, stop))
		}
		return false
	})
}

// choose asks for a yes or a no.
func (w *walk) choose(ctx context.Context, question string) (yes bool, err error) {
	err = w.tries(ctx, question+" [yes/no/stop] ", func(typed string) bool {
		yes = sameName(typed, "yes")
		if yes || sameName(typed, "no") {
			return true
		}
		if !isStop(typed) {
			w.refuseTyped(fmt.Sprintf(`it takes "yes", "no", or %q to break off`, stop))
		}
		return false
	})
	return yes, err
}

// named asks an officer for their name.
func (w *walk) named(ctx context.Context, prompt, name string) error {
	return w.tries(ctx, prompt+": ", func(typed string) bool {
		if sameName(typed, name) {
			return true
		}
		if !isStop(typed) {
			w.refuseTyped("that is not the name of " + name)
		}
		return false
	})
}

// find finds a key in the token, fit or not.
func (w *walk) find(ctx context.Context, name keyName) (*hsm.Key, error) {
	keys, err := w.hsm.Keys(ctx)
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(k hsm.Key) bool { return keyName{k.Label, k.Version} != name })
	if len(keys) != 1 {
		return nil, refuse("the token holds %d keys called %s", len(keys), name)
	}
	return &keys[0], nil
}

// made takes what a call that makes a key came back with.
func (w *walk) made(ctx context.Context, r *StepRecord) func(hsm.Key, error) error {
	return func(k hsm.Key, err error) error {
		if err != nil {
			return err
		}
		r.Key = &k
		w.say("%s version %d is in the token.", k.Label, k.Version)
		w.showKey(k)
		if k.Fault != "" {
			return w.undo(ctx, refuse("the token made a key that is not fit: %s", k.Fault), keyName{k.Label, k.Version})
		}
		return nil
	}
}

// undo destroys a key that a step made and must not leave behind, since err came
// up.
func (w *walk) undo(ctx context.Context, err error, name keyName) error {
	if undone := w.hsm.Destroy(whole(ctx), name.label, name.version); undone != nil {
		return fmt.Errorf("%w; AND THE KEY %s IS STILL IN THE TOKEN: %w", err, name, undone)
	}
	return fmt.Errorf("%w; the key was destroyed again", err)
}

func (w *walk) showKey(k hsm.Key) {
	for _, line := range keyLines(k) {
		w.say("  %s", line)
	}
}

// keep writes the signed record.
func (w *walk) keep(f *os.File, o Options) error {
	sealed, err := seal(w.record, o.Signer)
	if sealed != nil {
		err = errors.Join(err, settle(f, sealed))
	} else {
		err = errors.Join(err, f.Close())
	}
	w.say("")
	for _, line := range w.record.Lines() {
		w.say("%s", line)
	}
	if err != nil {
		w.say("")
		w.say("THE RECORD WAS NOT SIGNED OR NOT WRITTEN. Keep what this terminal shows, signed by hand by all officers.")
		return fmt.Errorf("THE RECORD IS NOT SAFE in %s: %w", o.Record, err)
	}
	w.say("")
	w.say("The signed record is %s. See it with: latchkey ceremony verify %s", o.Record, o.Record)
	return nil
}
