package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/hsm"
)

// step is what an act does to the ledger's record of its key.
type step struct {
	key     Record
	from    int64 // the record's revision, 0 where there is none
	current bool
}

// take puts the step into a change made for the proposal.
func (c *Change) take(s step, p Proposal) {
	s.key.Proposal, s.key.ChangedAt = p.ID, c.Entries[0].Time
	if s.from == 0 {
		s.key.CreatedAt = s.key.ChangedAt
	}
	if to := p.Act.To(); to != "" {
		s.key.State = to
	}
	s.key.Revision = s.from + 1
	c.Key, c.KeyFrom, c.Current = &s.key, s.from, s.current
}

// prepare looks whether an act can be carried out as things are, and says what it
// does to the record.
func (o *Office) prepare(ctx context.Context, p Proposal) (step, *Refusal) {
	act, params := p.Act, p.Parameters
	if serial := o.Token.Info().Serial; serial != p.Token {
		return step{}, refuse(ProposalToken, fmt.Sprintf("The proposal is for token %s; this server works with token %s.", p.Token, serial))
	}
	s := step{key: Record{Key: params.Key, Version: params.Version}, current: act == MakeCurrent}
	r, err := o.Ledger.Record(ctx, params.Key, params.Version)
	switch {
	case err == nil:
		s.key, s.from = r, r.Revision
	case !errors.Is(err, card.ErrNotFound):
		return step{}, fail(StoreUnavailable, "The key's record could not be looked up. Try again later.", err)
	}
	keys, err := o.inToken(ctx, params.Key, params.Version)
	// What only stops answers is not kept waiting by a token that is away.
	stops := act == Suspend || act == Deactivate || act == MarkCompromised
	if err != nil && !stops {
		return step{}, tokenFailed(err)
	}
	if act.makes() {
		if s.from != 0 || len(keys) != 0 {
			return step{}, refuse(KeyExists, fmt.Sprintf("%s exists, or did. A version is never used twice: choose the next.", p.name()))
		}
		return s, nil
	}
	if s.from == 0 {
		if len(keys) == 0 && err == nil {
			return step{}, refuse(KeyUnknown, fmt.Sprintf("%s is neither in the token nor in the ledger.", p.name()))
		}
		s.key.State = o.unregistered()
	}
	if !slices.Contains(act.From(), s.key.State) {
		return step{}, refuse(KeyTransition, fmt.Sprintf("%s is %s. Act %s takes a key that is %s.", p.name(), s.key.State, act, either(act.From())))
	}
	// Nothing more is asked of a key that is to do less.
	if act == Activate || act == Resume || act == MakeCurrent {
		if no := fit(p, s.key, keys); no != nil {
			return step{}, no
		}
	}
	if len(keys) == 1 && len(s.key.KCV) == 0 {
		s.key.describe(keys[0])
	}
	return s, nil
}

// fit refuses a key that is to answer and that the token does not hold as it has
// to be.
func fit(p Proposal, r Record, keys []hsm.Key) *Refusal {
	switch {
	case len(keys) == 0:
		return refuse(KeyUnfit, fmt.Sprintf("%s is not in the token.", p.name()))
	case len(keys) > 1:
		return refuse(KeyUnfit, fmt.Sprintf("%s is there %d times in the token; which is meant cannot be told.", p.name(), len(keys)))
	case differ(r.KCV, keys[0].KCV):
		return refuse(KeyUnfit, fmt.Sprintf("%s in the token has the check value %s; the key that was registered has %s.", p.name(), texts(keys[0].KCV), texts(r.KCV)))
	case keys[0].Fault != "":
		return refuse(KeyUnfit, fmt.Sprintf("%s cannot be used: %s.", p.name(), keys[0].Fault))
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
func (o *Office) execute(ctx context.Context, who Officer, p Proposal) (Proposal, error) {
	working, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	made, result, err := o.carryOut(working, p)
	writing, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	p.Result = result
	switch {
	case err == nil:
		p.State = Executed
	case o.leftNothing(writing, p, err):
		p.State, p.Result.Error = Failed, brief(err)
	default:
		p.State, p.Result.Error = Unknown, "It is not known whether the token did it: look at the token's keys. ("+brief(err)+")"
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
func (o *Office) finish(ctx context.Context, who Officer, p Proposal, made hsm.Key) (Proposal, error) {
	now := o.now()
	from := p.Revision
	p.Revision++
	p.EndedAt = now
	entry := permit(who.entry(now, audit.KeyExecute, p), texts(p.Result.KCV))
	if p.State != Executed {
		entry.Outcome, entry.Detail = audit.Failure, p.Result.Error
	}
	for range conflictTries {
		c := Change{Proposal: &p, From: from, Entries: []audit.Entry{entry}}
		// The record may have changed since: a key can be marked as compromised while
		// it is being made.
		r, err := o.Ledger.Record(ctx, p.Parameters.Key, p.Parameters.Version)
		switch {
		case errors.Is(err, card.ErrNotFound):
			r = Record{Key: p.Parameters.Key, Version: p.Parameters.Version, CreatedAt: now}
		case err != nil:
			return p, o.kept(ctx, entry, err)
		}
		c.Key, c.KeyFrom = &r, r.Revision
		r.Revision, r.Proposal, r.ChangedAt = r.Revision+1, p.ID, now
		switch {
		case p.State == Executed && p.Act.makes():
			r.describe(made)
		case p.State == Executed:
			r.State = Destroyed
		case p.State == Failed && p.Act.makes():
			c.Forget = true // the version is free again
		default:
			c.Key = nil
		}
		if err := o.Ledger.Keep(ctx, c); !errors.Is(err, ErrConflict) {
			return p, o.kept(ctx, entry, err)
		}
	}
	return p, o.refused(ctx, entry, conflict())
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

func tokenFailed(err error) *Refusal {
	return fail(HSMUnavailable, "The HSM does not answer. Nothing was changed; try again later.", err)
}

// Recover finds proposals that were being executed when the process ended, and
// has them count as unknown: nobody can tell from here whether the token did what
// was approved. It is to be called before anything else, and tells which they are.
func (o *Office) Recover(ctx context.Context) ([]Proposal, error) {
	var found []Proposal
	for q := (Query{State: Executing, Limit: 100}); ; {
		page, next, err := o.Ledger.Proposals(ctx, q)
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
		p.State = Unknown
		p.Result.Error = "The server ended while the token was at work. It is not known whether it was done: look at the token's keys."
		p, err := o.finish(ctx, Officer{Client: "latchkey"}, p, hsm.Key{})
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
