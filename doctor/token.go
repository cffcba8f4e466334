package doctor

import (
	"context"
	"fmt"
	"time"

	"latchkey/hsm"
)

// Module examines the PKCS#11 module of the token turned to and looks, without
// logging in, for the token. It tells whether to log in: a token whose PIN has one
// try left is not given a chance to lock itself.
func (e *Exam) Module(ctx context.Context, m *hsm.Module, which hsm.Selector) (logIn bool) {
	info, err := m.Info(ctx)
	if err != nil {
		e.find(Module, "", Fail, err.Error())
		return false
	}
	e.find(Module, info.Path, Pass, fmt.Sprintf("%s, %s %s, Cryptoki %s", info.Manufacturer, info.Description, info.Version, info.Cryptoki))
	t, err := m.Find(ctx, which)
	if err != nil {
		e.Unopened(Token, err, "See what the module finds: latchkey hsm info --module "+info.Path+". For SoftHSM2, SOFTHSM2_CONF must name its configuration.")
		return false
	}
	e.find(Token, t.Label, Pass, fmt.Sprintf("serial %s, slot %d, %s %s, hardware %s, firmware %s", t.Serial, t.Slot, t.Manufacturer, t.Model, t.Hardware, t.Firmware))
	f := Finding{Check: PIN, Subject: t.Label, Grade: e.stops(), Text: "the user PIN's state: " + t.PIN}
	switch t.PIN {
	case "":
		return true
	case hsm.PINLocked, hsm.PINLastTry:
		f.Text += "; it was not tried"
		f.Do = "Find out who tried a wrong PIN. Then have the token's security officer unlock it or set a new one (C_InitPIN)."
	case hsm.PINNotInitialised:
		f.Do = "Set a user PIN with the token's own tools."
	default:
		f.Grade = Warning
		f.Do = "Find out who tried a wrong PIN, or change it, with the token's own tools."
		e.Add(f)
		return true
	}
	e.Add(f)
	return false
}

// Token examines the token turned to, which is open. Its error is that of ctx; what
// goes wrong beside that is a finding.
func (e *Exam) Token(ctx context.Context, t *hsm.Token) error {
	e.Results = append(e.Results, &Result{Token: t.Info().Label})
	e.find(PIN, t.Info().Label, Pass, "the token took the PIN, which was tried once")
	for _, part := range []func(context.Context, *hsm.Token){
		e.condition, e.known, e.schemes, e.responses, e.keys, e.tripleDES, e.refusals, e.pool,
	} {
		part(ctx, t)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// offBy is how far a token's clock may be from the machine's.
const offBy = 5 * time.Minute

func (e *Exam) condition(ctx context.Context, t *hsm.Token) {
	c, err := t.Condition(ctx)
	if err != nil {
		e.find(Token, t.Info().Label, Fail, err.Error())
		return
	}
	e.judge(t.Info().Label, c)
}

// judge grades what a token says of itself.
func (e *Exam) judge(label string, c hsm.Condition) {
	if c.WriteProtected {
		e.find(Token, label, Note, "the token is write-protected: keys cannot be made or destroyed")
	}
	// One stays open for the login, one is opened to make keys.
	const beside = 2
	f := Finding{Check: Sessions, Subject: label, Grade: Pass}
	switch need := int64(e.sessions + beside); {
	case c.MaxSessions == 0:
		f.Text = fmt.Sprintf("the token has no limit; the pool is of %d", e.sessions)
	case c.MaxSessions < 0:
		f.Grade, f.Text = Note, fmt.Sprintf("the token does not tell its limit; the pool is of %d", e.sessions)
	case need > c.MaxSessions:
		f.Grade = Fail
		f.Text = fmt.Sprintf("the token admits %d sessions; a pool of %d and %d beside it need %d", c.MaxSessions, e.sessions, beside, need)
		f.Do = fmt.Sprintf("Set hsm.sessions to %d at most, less where others use the token too.", max(c.MaxSessions-beside, 1))
	default:
		f.Text = fmt.Sprintf("the token admits %d; a pool of %d and %d beside it need %d", c.MaxSessions, e.sessions, beside, need)
	}
	e.Add(f)

	f = Finding{Check: Memory, Subject: label, Grade: Pass, Text: fmt.Sprintf("%d of %d bytes for private objects are free", c.FreeMemory, c.TotalMemory)}
	switch {
	case c.FreeMemory < 0:
		f.Grade, f.Text = Note, "the token does not tell how much is free"
	case c.FreeMemory < c.TotalMemory/10:
		f.Grade, f.Do = Warning, "Free some: each answer needs room for a session key."
	}
	e.Add(f)

	if c.Clock.IsZero() {
		return
	}
	f = Finding{Check: Clock, Subject: label, Grade: Pass, Text: "the token's own is right by this machine's"}
	if off := c.Clock.Sub(e.options.Now).Round(time.Second); off.Abs() > offBy {
		f.Grade, f.Text = Warning, fmt.Sprintf("the token's own is %s off this machine's", off)
		f.Do = "Set the one that is wrong; the token's own log goes by the token's."
	}
	e.Add(f)
}

// refusals probes what the token has to refuse.
func (e *Exam) refusals(ctx context.Context, t *hsm.Token) {
	for _, p := range hsm.Probes() {
		result, err := t.Probe(ctx, p)
		f := Finding{Check: Refusal, Subject: string(p), Grade: Fail, Text: result.Detail}
		switch {
		case err != nil:
			f.Grade, f.Text = Warning, "it could not be tried: "+err.Error()
		case result.Refused:
			f.Grade, f.Text = Pass, "refused: "+result.Detail
		case p == hsm.OtherMechanism:
			f.Grade = Warning
			f.Do = "Nothing binds keys to their mechanisms in this token, so whoever has its PIN has more ways to use them. Guard the PIN accordingly."
		default:
			f.Do = "This token must not hold keys that matter: whoever has its PIN can take them out. Ask its vendor, or take another."
		}
		e.Add(f)
	}
}
