package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/card"
	"latchkey/hsm"
)

// trial is how it went to try a way: the use that the master key needs, or why the
// token does not do it.
type trial struct {
	use hsm.Use
	err error
}

// answer is how a known answer went.
type answer struct {
	verdict hsm.Verdict
	reason  string
}

// try tries a way, once.
func (e *Exam) try(ctx context.Context, t *hsm.Token, w hsm.Way) trial {
	if r, ok := e.tried[w]; ok {
		return r
	}
	var r trial
	r.use, r.err = t.TryWay(ctx, w)
	// A token may unwrap what it does not wrap itself, and may unwrap what it wrapped
	// in a way of its own. Known answers know better.
	if w.Scheme == card.Wrapped {
		for known, a := range e.answers {
			switch {
			case known.Wrapping != w.Wrapping || known.CardKey != w.CardKey:
			case a.verdict == hsm.Pass:
				r = trial{use: hsm.ForUnwrapping}
			case a.verdict == hsm.Fail:
				r.err = errors.New("the known answer does not come out: " + a.reason)
			}
		}
	}
	e.tried[w] = r
	return r
}

// known tests the token with known answers.
func (e *Exam) known(ctx context.Context, t *hsm.Token) {
	if err := t.TakesKeys(ctx); err != nil {
		e.Add(Finding{Check: Answers, Grade: Warning, Text: "none was tried, since the token takes no key in clear: " + err.Error(),
			Do: "In FIPS mode that is as it should be. Answer a test card instead: latchkey respond --bench."})
		return
	}
	vectors, err := hsm.ParseVectors(knownAnswers)
	if err != nil {
		e.find(Answers, "", Fail, err.Error())
		return
	}
	tally := new(Tally)
	e.result().Answers = tally
	for _, v := range vectors {
		a := answer{verdict: hsm.Unsupported}
		w := e.wayOf(v)
		// Without 3DES many a call fails in its own way: what a trial says outweighs it.
		if v.Scheme == card.Wrapped || e.try(ctx, t, w).err == nil {
			a.verdict, a.reason = t.KnownAnswer(ctx, v)
		}
		e.answers[w] = a
		switch a.verdict {
		case hsm.Pass:
			tally.Passed++
		case hsm.Unsupported:
			tally.Unsupported++
		case hsm.Fail:
			tally.Failed++
			profiles := e.using(func(p card.Profile) bool { return p.Scheme == v.Scheme && p.Wrapping == v.Wrapping })
			grade := e.needed(profiles)
			if grade == Note {
				grade = Warning // somebody may come to need it
			}
			name := v.Name()
			if v.Wrapping != "" {
				name += " by " + string(v.Wrapping)
			}
			e.Add(Finding{Check: Answers, Subject: name, Grade: grade, Text: a.reason, Profiles: profiles,
				Do: "The token takes a mechanism for something else than Latchkey does: use another scheme or wrapping on it."})
		}
	}
	grade := Pass
	if tally.Failed > 0 {
		grade = Note // each has a finding of its own
	}
	e.find(Answers, "", grade, fmt.Sprintf("%d passed, %d failed, %d unsupported", tally.Passed, tally.Failed, tally.Unsupported))
}

// wayOf is the way that a known answer goes.
func (e *Exam) wayOf(v hsm.Vector) hsm.Way {
	w := hsm.Way{Scheme: v.Scheme, CardKey: v.CardKeyType, Algorithm: v.Algorithm, Wrapping: v.Wrapping, Master: v.MasterType()}
	if w.Algorithm == "" {
		w.Algorithm = card.AlgorithmFor(v.CardKeyType)
	}
	if v.Scheme == card.SP800108 {
		w.Counter = card.Counter{Bits: v.CounterBits, After: v.Counter == "after"}
	}
	return w
}

// schemes tries every scheme with every type of card key.
func (e *Exam) schemes(ctx context.Context, t *hsm.Token) {
	listed, err := t.Schemes(ctx)
	if err != nil {
		e.find(Scheme, "", Fail, err.Error())
		return
	}
	for _, l := range listed {
		if l.Scheme == card.Wrapped {
			for _, w := range card.Wrappings() {
				e.scheme(ctx, t, l, w)
			}
			continue
		}
		e.scheme(ctx, t, l, "")
	}
}

func (e *Exam) scheme(ctx context.Context, t *hsm.Token, listed hsm.SchemeSupport, w card.Wrapping) {
	var can []card.KeyType
	var cannot []string
	var use hsm.Use
	for _, way := range hsm.Ways(listed.Scheme, w) {
		r := e.try(ctx, t, way)
		if r.err != nil {
			cannot = append(cannot, fmt.Sprintf("%s: %v", way.CardKey, r.err))
			continue
		}
		can = append(can, way.CardKey)
		use = r.use
	}
	subject := string(listed.Scheme)
	if w != "" {
		subject += " by " + string(w)
	}
	profiles := e.using(func(p card.Profile) bool {
		return p.Scheme == listed.Scheme && p.Wrapping == w && !slices.Contains(can, p.CardKeyType)
	})
	switch {
	case len(can) == 0:
		text := "not supported: " + firstReason(cannot)
		if !listed.Supported {
			text += "; " + listed.Reason
		}
		e.Add(Finding{Check: Scheme, Subject: subject, Grade: e.needed(profiles), Text: text, Profiles: profiles})
		return
	case len(cannot) > 0:
		e.Add(Finding{Check: Scheme, Subject: subject, Grade: e.needed(profiles), Profiles: profiles,
			Text: fmt.Sprintf("tried and done for card keys of type %s with a master key for use %s, and not for %s", list(can), use, strings.Join(cannot, "; "))})
		return
	}
	text := fmt.Sprintf("tried and done for card keys of type %s with a master key for use %s", list(can), use)
	if !listed.Supported && w == "" {
		text += ", although " + listed.Reason
	}
	e.find(Scheme, subject, Pass, text)
}

// firstReason is why the first does not work, without the type of card key, where
// none does.
func firstReason(cannot []string) string {
	if len(cannot) == 0 {
		return "it makes no card key"
	}
	_, reason, _ := strings.Cut(cannot[0], ": ")
	return reason
}

// responses tries every response algorithm with every type of key.
func (e *Exam) responses(ctx context.Context, t *hsm.Token) {
	for _, alg := range card.Algorithms() {
		var can []card.KeyType
		var cannot []string
		for _, way := range responseWays(alg) {
			if r := e.try(ctx, t, way); r.err != nil {
				cannot = append(cannot, fmt.Sprintf("%s: %v", way.CardKey, r.err))
			} else {
				can = append(can, way.CardKey)
			}
		}
		profiles := e.using(func(p card.Profile) bool { return p.Algorithm == alg && !slices.Contains(can, p.CardKeyType) })
		f := Finding{Check: Response, Subject: string(alg), Grade: e.needed(profiles), Profiles: profiles}
		switch {
		case len(can) == 0:
			f.Text = "not supported: " + firstReason(cannot)
		case len(cannot) > 0:
			f.Text = fmt.Sprintf("tried and done with keys of type %s, and not with %s", list(can), strings.Join(cannot, "; "))
		default:
			f.Grade, f.Text = Pass, "tried and done with keys of type "+list(can)
		}
		e.Add(f)
	}
}

// responseWays are the ways to answer with an algorithm and no derivation.
func responseWays(alg card.Algorithm) (ways []hsm.Way) {
	for _, w := range hsm.Ways(card.Static, "") {
		if w.CardKey.Block() == alg.Block() {
			w.Algorithm = alg
			ways = append(ways, w)
		}
	}
	return ways
}

// tripleDES tells whether the token still does 3DES, which one in FIPS mode may
// not, and whom that stops.
func (e *Exam) tripleDES(ctx context.Context, t *hsm.Token) {
	const fleets = "New fleets should have AES keys: NIST withdrew 3DES (SP 800-67) on 2024-01-01."
	tdes := e.using(func(p card.Profile) bool {
		return !p.CardKeyType.AES() || slices.Contains([]card.Scheme{card.TDESECBKey, card.VISA2, card.EMV}, p.Scheme)
	})
	var stopped []string
	for _, id := range tdes {
		if e.stopped[id] != nil {
			stopped = append(stopped, id)
		}
	}
	var can []card.KeyType
	var why error
	for _, w := range responseWays(card.TDESECB) {
		if r := e.try(ctx, t, w); r.err == nil {
			can = append(can, w.CardKey)
		} else {
			why = r.err
		}
	}
	f := Finding{Check: TripleDES, Profiles: stopped, Do: fleets}
	switch {
	case why == nil && len(stopped) == 0:
		f.Grade, f.Text = Pass, "allowed"
		if len(tdes) > 0 {
			f.Text += "; profiles with it: " + strings.Join(tdes, ", ")
		}
	case why == nil:
		f.Text = "allowed, but not all that these profiles need of it"
	case len(can) == 0:
		f.Grade, f.Text = Note, "the token refuses it, as in FIPS mode: "+why.Error()
	default:
		f.Grade, f.Text = Note, fmt.Sprintf("the token allows it for keys of type %s only: %v", list(can), why)
	}
	switch {
	case len(stopped) > 0:
		f.Grade = e.stops()
		f.Do = "Have the HSM's administrator say whether 3DES can be allowed, or give these cards AES keys. " + fleets
	case f.Grade == Note && !e.configured:
		f.Grade = Warning // cards with 3DES keys are common
	}
	e.Add(f)
}
