package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/hsm"
)

// prepare looks whether an act can be carried out as things are, and says what it
// does to the record.
func (o *Office) prepare(ctx context.Context, s Statement, now time.Time) (Effect, *dualcontrol.Refusal) {
	act, params := s.Act, s.Parameters
	if serial := o.Token.Info().Serial; serial != s.Token {
		return Effect{}, dualcontrol.Refuse(ProposalToken, fmt.Sprintf("The proposal is for token %s; this server works with token %s.", s.Token, serial))
	}
	e := Effect{Key: Record{Key: params.Key, Version: params.Version, CreatedAt: now}, Current: act == MakeCurrent}
	r, err := o.Ledger.Record(ctx, params.Key, params.Version)
	switch {
	case err == nil:
		e.Key, e.From = r, r.Revision
	case !errors.Is(err, card.ErrNotFound):
		return Effect{}, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The key's record could not be looked up. Try again later.", err)
	}
	keys, err := o.inToken(ctx, params.Key, params.Version)
	// What only stops answers is not kept waiting by a token that is away.
	stops := act == Suspend || act == Deactivate || act == MarkCompromised
	if err != nil && !stops {
		return Effect{}, tokenFailed(err)
	}
	switch {
	case act.makes():
		if e.From != 0 || len(keys) != 0 {
			return Effect{}, dualcontrol.Refuse(KeyExists, fmt.Sprintf("%s exists, or did. A version is never used twice: choose the next.", s.name()))
		}
	default:
		if e.From == 0 {
			if len(keys) == 0 && err == nil {
				return Effect{}, dualcontrol.Refuse(KeyUnknown, fmt.Sprintf("%s is neither in the token nor in the ledger.", s.name()))
			}
			e.Key.State = o.unregistered()
		}
		if !slices.Contains(act.From(), e.Key.State) {
			return Effect{}, dualcontrol.Refuse(KeyTransition, fmt.Sprintf("%s is %s. Act %s takes a key that is %s.", s.name(), e.Key.State, act, either(act.From())))
		}
		// Nothing more is asked of a key that is to do less.
		if act == Activate || act == Resume || act == MakeCurrent {
			if no := fit(s, e.Key, keys); no != nil {
				return Effect{}, no
			}
		}
		if len(keys) == 1 && len(e.Key.KCV) == 0 {
			e.Key.describe(keys[0])
		}
	}
	if to := act.To(); to != "" {
		e.Key.State = to
	}
	e.Key.Proposal, e.Key.ChangedAt, e.Key.Revision = s.ID, now, e.From+1
	return e, nil
}

// fit refuses a key that is to answer and that the token does not hold as it has
// to be.
func fit(s Statement, r Record, keys []hsm.Key) *dualcontrol.Refusal {
	switch {
	case len(keys) == 0:
		return dualcontrol.Refuse(KeyUnfit, fmt.Sprintf("%s is not in the token.", s.name()))
	case len(keys) > 1:
		return dualcontrol.Refuse(KeyUnfit, fmt.Sprintf("%s is there %d times in the token; which is meant cannot be told.", s.name(), len(keys)))
	case differ(r.KCV, keys[0].KCV):
		return dualcontrol.Refuse(KeyUnfit, fmt.Sprintf("%s in the token has the check value %s; the key that was registered has %s.", s.name(), texts(keys[0].KCV), texts(r.KCV)))
	case keys[0].Fault != "":
		return dualcontrol.Refuse(KeyUnfit, fmt.Sprintf("%s cannot be used: %s.", s.name(), keys[0].Fault))
	}
	return nil
}

// differ tells whether two lists of check values are of different keys: whether
// one convention gives two values. Tokens do not always list the same conventions.
func differ(a, b []hsm.KCV) bool {
	return slices.ContainsFunc(a, func(v hsm.KCV) bool {
		return slices.ContainsFunc(b, func(w hsm.KCV) bool { return v.Convention == w.Convention && v.Value != w.Value })
	})
}

// describe takes down what the token says of a key.
func (r *Record) describe(k hsm.Key) { r.Type, r.Use, r.KCV = k.Type, k.Use, k.KCV }

// unregistered is the state of a key that is not in the ledger.
func (o *Office) unregistered() State {
	if o.Strict {
		return PreActive
	}
	return Active
}

// inToken finds the keys of that name in the token.
func (o *Office) inToken(ctx context.Context, label string, version int) ([]hsm.Key, error) {
	all, err := o.Token.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the token's keys: %w", err)
	}
	return slices.DeleteFunc(all, func(k hsm.Key) bool { return k.Label != label || k.Version != version }), nil
}

// execute has the token do what was approved, and writes down what came of it.
// The proposal is on disk as executing: should the process end in here, Recover
// finds it so.
func (o *Office) execute(ctx context.Context, who dualcontrol.Officer, p Proposal) (Proposal, error) {
	working, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	made, result, err := o.carryOut(working, p)
	writing, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	p.Result = result
	switch {
	case err == nil:
		p.State = dualcontrol.Executed
	case o.leftNothing(writing, p, err):
		p.State, p.Result.Error = dualcontrol.Failed, brief(err)
	default:
		p.State, p.Result.Error = dualcontrol.Unknown, "It is not known whether the token did it: look at the token's keys. ("+brief(err)+")"
	}
	return o.finish(writing, who, p, made)
}

// brief is an error of the token's as officers are told it. Those errors hold
// names of calls, keys and codes, and nothing secret.
func brief(err error) string {
	text := err.Error()
	if len(text) > card.MaxText {
		text = text[:card.MaxText] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// finish writes down what came of an act in the token.
func (o *Office) finish(ctx context.Context, who dualcontrol.Officer, p Proposal, made hsm.Key) (Proposal, error) {
	now := o.control.Moment()
	from := p.Revision
	p.Revision++
	p.EndedAt = now
	written := p.write()
	entry, _, err := o.control.Entry(who, audit.KeyExecute, written)
	if err != nil {
		return p, err
	}
	entry = dualcontrol.Permit(entry, texts(p.Result.KCV))
	if p.State != dualcontrol.Executed {
		entry.Outcome, entry.Detail = audit.Failure, p.Result.Error
	}
	for range dualcontrol.ConflictTries {
		// The record may have changed since: a key can be marked as compromised while
		// it is being made.
		r, err := o.Ledger.Record(ctx, p.Parameters.Key, p.Parameters.Version)
		switch {
		case errors.Is(err, card.ErrNotFound):
			r = Record{Key: p.Parameters.Key, Version: p.Parameters.Version, CreatedAt: now}
		case err != nil:
			return p, o.control.Kept(ctx, entry, err)
		}
		e := &Effect{Key: r, From: r.Revision}
		e.Key.Revision, e.Key.Proposal, e.Key.ChangedAt = r.Revision+1, p.ID, now
		switch {
		case p.State == dualcontrol.Executed && p.Act.makes():
			e.Key.describe(made)
		case p.State == dualcontrol.Executed:
			e.Key.State = Destroyed
		case p.State == dualcontrol.Failed && p.Act.makes():
			e.Forget = true // the version is free again
		default:
			e = nil
		}
		err = o.Ledger.Keep(ctx, Change{Proposal: &written, From: from, Effect: e, Entries: []audit.Entry{entry}})
		if !errors.Is(err, dualcontrol.ErrConflict) {
			return p, o.control.Kept(ctx, entry, err)
		}
	}
	return p, o.control.Refused(ctx, entry, dualcontrol.Conflict())
}

// carryOut is the token's part.
func (o *Office) carryOut(ctx context.Context, p Proposal) (hsm.Key, Result, error) {
	n := hsm.NewKey{
		Label: p.Parameters.Key, Version: p.Parameters.Version, Type: p.Parameters.Type, Use: p.Parameters.Use,
		KCV: p.Parameters.expected(),
	}
	var k hsm.Key
	var result Result
	var err error
	switch p.Act {
	case Generate:
		k, err = o.Token.Generate(ctx, n)
	case GenerateWithBackup:
		var to hsm.TransportKey
		if to, err = backupKey(p.Parameters.BackupKey); err == nil {
			var b hsm.Backup
			b, err = o.Token.GenerateWithBackup(ctx, n, to)
			k, result.Backup, result.BackupUnder = b.Key, b.Wrapped, b.Under
		}
	case ImportWrapped:
		k, err = o.Token.ImportWrapped(ctx, n, TransportLabel, p.Parameters.Wrapped)
	case ImportUnder:
		k, err = o.Token.ImportUnder(ctx, n, p.Parameters.Under, p.Parameters.UnderVersion, p.Parameters.Wrapping, p.Parameters.Wrapped)
	case Destroy:
		err = o.Token.Destroy(ctx, n.Label, n.Version)
		if errors.Is(err, hsm.ErrKeyUnknown) {
			err = nil // it is gone already
		}
		return hsm.Key{}, result, err
	case Activate, Suspend, Resume, Deactivate, MarkCompromised, MakeCurrent:
		return hsm.Key{}, result, fmt.Errorf("act %s is none of the token's", p.Act)
	}
	if err != nil {
		return hsm.Key{}, Result{}, err
	}
	result.KCV = k.KCV
	return k, result, nil
}

// leftNothing tells whether the token came back with an error and is as it was
// before. A call that it did not come back from may still be carried out.
func (o *Office) leftNothing(ctx context.Context, p Proposal, err error) bool {
	var late *hsm.TimeoutError
	if errors.As(err, &late) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	keys, err := o.inToken(ctx, p.Parameters.Key, p.Parameters.Version)
	return err == nil && (len(keys) == 0) == p.Act.makes()
}

func tokenFailed(err error) *dualcontrol.Refusal {
	return dualcontrol.Fail(HSMUnavailable, "The HSM does not answer. Nothing was changed; try again later.", err)
}

// Recover finds proposals that were being executed when the process ended, and
// has them count as unknown: nobody can tell from here whether the token did what
// was approved. It is to be called before anything else, and tells which they are.
func (o *Office) Recover(ctx context.Context) ([]Proposal, error) {
	var found []Proposal
	for q := (dualcontrol.Query{State: dualcontrol.Executing, Limit: 100}); ; {
		page, next, err := o.Proposals(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("find proposals that were cut off: %w", err)
		}
		found = append(found, page...)
		if next == "" {
			break
		}
		q.After = next
	}
	for i, p := range found {
		p.State = dualcontrol.Unknown
		p.Result.Error = "The server ended while the token was at work. It is not known whether it was done: look at the token's keys."
		p, err := o.finish(ctx, dualcontrol.Officer{Client: "latchkey"}, p, hsm.Key{})
		if err != nil {
			return nil, fmt.Errorf("proposal %s: %w", p.ID, err)
		}
		found[i] = p
	}
	return found, nil
}

// texts lists key check values, each with its convention.
func texts(list []hsm.KCV) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return strings.Join(out, ", ")
}

func either(states []State) string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return strings.Join(out, " or ")
}
