package unblock

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
)

// Config is what a Desk works with. All fields but MaxAge and Zone are required.
type Config struct {
	Cards     Cards
	Profiles  Profiles
	Operators Operators
	Policy    Policy
	Keys      Keys
	HSM       HSM
	Ledger    Ledger

	CardStates   card.States
	HolderStates card.States
	// MaxAge is how old card data may be to be acted on; 0 is no limit.
	MaxAge time.Duration
	// Zone is whose hours policies speak of; nil is UTC.
	Zone *time.Location
	// Lifetime is how long a started process waits for its challenge.
	Lifetime time.Duration

	Now   func() time.Time
	NewID func() string // unguessable, unique
}

// Desk is the help desk's counter: it runs unblock processes. It is safe for
// concurrent use and keeps nothing in memory between calls.
type Desk struct{ Config }

// New makes a Desk, or says what is missing from the configuration.
func New(c Config) (*Desk, error) {
	var missing []string
	for name, is := range map[string]bool{
		"Cards": c.Cards == nil, "Profiles": c.Profiles == nil, "Operators": c.Operators == nil,
		"Policy": c.Policy == nil, "Keys": c.Keys == nil, "HSM": c.HSM == nil, "Ledger": c.Ledger == nil,
		"CardStates": len(c.CardStates) == 0, "HolderStates": len(c.HolderStates) == 0,
		"Lifetime": c.Lifetime <= 0, "Now": c.Now == nil, "NewID": c.NewID == nil,
	} {
		if is {
			missing = append(missing, name)
		}
	}
	if len(missing) != 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("unblock desk: not set: %s", strings.Join(missing, ", "))
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	return &Desk{c}, nil
}

// Caller is who calls, as the server authenticated it.
type Caller struct {
	// Client is what calls: a configured client's name, or a name that the server
	// gives to a person who calls without one.
	Client string
	// Operator is the person who calls, or whose own token the client passed,
	// active and with the attributes that policies see. It is nil for a client that
	// is nobody and passed nobody's token.
	Operator *policy.Operator
	// Means is how Operator was established.
	Means identity.Means
	// NamesOperators tells that the client is trusted to name the operator on
	// whose behalf it calls.
	NamesOperators bool
	Address        string
	RequestID      string
}

// attempt is one run through the order of checks: what was asked, and what the
// checks found on their way.
type attempt struct {
	action    audit.Action
	caller    Caller
	began     time.Time
	operator  string // as the caller named it
	serial    string
	reason    string
	challenge string  // as it was typed
	process   Process // as it stands; its zero value where none was started before

	passed   []Check
	who      policy.Operator
	card     card.Card
	kind     card.Type
	profile  card.Profile
	key      card.AdminKey
	decision policy.Decision
	parsed   card.Challenge
	response card.Response
}

// groundTries is how often an answer is tried of which the grounds changed while
// the HSM worked.
const groundTries = 3

// decide runs the checks and writes a refusal to the audit log. Where what they
// were passed on was changed before the answer was on disk, they run again.
func (d *Desk) decide(ctx context.Context, a *attempt, last Check) *Refusal {
	for try := 1; ; try++ {
		no := d.check(ctx, a, last)
		if no == nil {
			return nil
		}
		if try == groundTries || !errors.Is(no.cause, ErrGrounds) {
			return d.refused(ctx, a.entry(d.Now()), no)
		}
		a.passed = nil
	}
}

// check runs the checks in their order, up to and with the one named, and stops
// at the first that says no. This is the order of checks: nothing answers a
// challenge by another way. Policies can only narrow what the checks before them
// allow.
func (d *Desk) check(ctx context.Context, a *attempt, last Check) *Refusal {
	for _, step := range []struct {
		check Check
		pass  func(context.Context, *attempt) *Refusal
	}{
		{CallerAuthenticated, d.callerAuthenticated},
		{OperatorAuthenticated, d.operatorAuthenticated},
		{CardFound, d.cardFound},
		{CardActive, d.cardActive},
		{HolderActive, d.holderActive},
		{UseCaseEnabled, d.useCaseEnabled},
		{CardDataFresh, d.cardDataFresh},
		{PolicyPermits, d.policyPermits},
		{AttemptsLeft, d.attemptsLeft},
		{KeyUsable, d.keyUsable},
		{ChallengeParsed, d.challengeParsed},
		{ResponseDerived, d.responseDerived},
		{AuditDurable, d.auditDurable},
	} {
		if no := step.pass(ctx, a); no != nil {
			a.response.Wipe()
			no.Check = step.check
			return no
		}
		a.passed = append(a.passed, step.check)
		if step.check == last {
			return nil
		}
	}
	return nil
}

func (d *Desk) callerAuthenticated(_ context.Context, a *attempt) *Refusal {
	if a.caller.Client == "" {
		return refuse(CallerUnknown, "The caller is not authenticated.")
	}
	return nil
}

func (d *Desk) operatorAuthenticated(ctx context.Context, a *attempt) *Refusal {
	switch own := a.caller.Operator; {
	case own != nil:
		if a.operator != "" && a.operator != own.ID {
			return refuse(OperatorMismatch, fmt.Sprintf("This call is authenticated as operator %s's and serves nobody else. Leave the operator out.", own.ID))
		}
		a.who, a.operator = *own, own.ID
		return nil
	case !a.caller.NamesOperators:
		return refuse(DelegationRefused, "This client is not trusted to act on behalf of an operator. The configuration can allow it.")
	case a.operator == "":
		return refuse(OperatorRequired, "Name the operator on whose behalf you call.")
	}
	who, err := d.Operators.Operator(ctx, a.operator)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(OperatorUnknown, "This operator is not registered.")
	case errors.Is(err, identity.ErrInactive):
		return refuse(OperatorInactive, "This operator is registered as inactive.")
	case err != nil:
		return fail(StoreUnavailable, "The operator could not be looked up. Try again later.", err)
	}
	a.who, a.operator = who, who.ID
	return nil
}

func (d *Desk) cardFound(ctx context.Context, a *attempt) *Refusal {
	var err error
	switch a.card, err = d.Cards.Card(ctx, a.serial); {
	case errors.Is(err, card.ErrNotFound):
		return refuse(CardUnknown, "No card has this serial number. Check it, character by character.")
	case err != nil:
		return CardUnread(err)
	}
	// What is counted, written down and derived from is the card that was found.
	a.serial = a.card.Serial
	return nil
}

func (d *Desk) cardActive(_ context.Context, a *attempt) *Refusal {
	if !d.CardStates.Active(a.card.State) {
		return refuse(CardNotActive, fmt.Sprintf("The card is %s. Only a card in use can be unblocked.", a.card.State))
	}
	return nil
}

func (d *Desk) holderActive(_ context.Context, a *attempt) *Refusal {
	if !d.HolderStates.Active(a.card.Holder.State) {
		return refuse(HolderNotActive, fmt.Sprintf("The card's holder is %s.", a.card.Holder.State))
	}
	return nil
}

func (d *Desk) useCaseEnabled(ctx context.Context, a *attempt) *Refusal {
	var err error
	a.kind, err = d.Cards.CardType(ctx, a.card.Type)
	unknown := errors.Is(err, card.ErrNotFound)
	if err != nil && !unknown {
		return fail(StoreUnavailable, "The card type could not be looked up. Try again later.", err)
	}
	if unknown || !a.kind.UnblockRemoteIn(a.card.State) {
		return refuse(UseCaseOff, fmt.Sprintf(
			"Unblock card remote is switched off for cards of type %s in state %s. An administrator can switch it on.", a.card.Type, a.card.State))
	}
	if a.profile, err = d.Profiles.Profile(a.kind.Profile); err != nil {
		return fail(ProfileUnusable, fmt.Sprintf("The card type's profile %s is not configured.", a.kind.Profile), err)
	}
	return nil
}

func (d *Desk) cardDataFresh(_ context.Context, a *attempt) *Refusal {
	switch age := d.Now().Sub(a.card.SyncedAt); {
	case d.MaxAge == 0:
	case age > d.MaxAge:
		return refuse(CardDataStale, fmt.Sprintf(
			"The card's data was last confirmed %s ago; the limit is %s. Have it synchronised, then try again.", age.Truncate(time.Minute), d.MaxAge))
	case age < -d.MaxAge:
		// A clock was wrong, then or now. Without this the data would stay fresh
		// until that time has come.
		return refuse(CardDataStale, "The card's data was last confirmed at a time that is yet to come. Have the clock checked and the card synchronised, then try again.")
	}
	var err error
	if a.key, err = a.profile.AdminKey(a.card); err != nil {
		return fail(CardDataMissing, "The card's registered data lacks what its profile derives the admin key from.", err)
	}
	return nil
}

func (d *Desk) policyPermits(ctx context.Context, a *attempt) *Refusal {
	// An address that cannot be read is unknown, and policies have to ask whether
	// it is known.
	address, err := netip.ParseAddr(a.caller.Address)
	if err != nil {
		address = netip.Addr{}
	}
	a.decision, err = d.Policy.Decide(ctx, policy.Request{
		Operator: a.who, Means: a.caller.means(), Client: a.caller.Client, Address: address, Now: d.Now().In(d.Zone),
		Card: a.card, Type: a.kind, Reason: a.reason,
	})
	switch {
	case err != nil:
		return fail(PolicyFailed, "The operator policy could not be evaluated, so nothing is permitted. Tell a security officer.", err)
	case !a.decision.Allow:
		return refuse(PolicyDenied, a.decision.Why)
	}
	return nil
}

func (d *Desk) attemptsLeft(ctx context.Context, a *attempt) *Refusal {
	limit := a.profile.Retry.MaxUnconfirmed()
	if limit == 0 {
		return nil
	}
	switch n, err := d.Ledger.Unconfirmed(ctx, a.serial); {
	case err != nil:
		return fail(StoreUnavailable, "The card's attempts could not be counted. Try again later.", err)
	case n >= limit:
		return attemptsExhausted(limit)
	}
	return nil
}

func attemptsExhausted(limit int) *Refusal {
	return refuse(AttemptsExhausted, fmt.Sprintf(
		"%d responses were given out for this card and none was reported to work. One more could destroy it. If one did work, report that process as pin-changed.", limit))
}

func (d *Desk) keyUsable(ctx context.Context, a *attempt) *Refusal {
	switch why, err := d.Keys.Usable(ctx, a.key.Master, a.key.Version); {
	case err != nil:
		return fail(StoreUnavailable, "The state of the card's master key could not be looked up. Try again later.", err)
	case why != "":
		return refuse(KeyNotUsable, fmt.Sprintf(
			"Master key %s version %d, which this card's admin key comes from, %s. Tell a security officer.", a.key.Master, a.key.Version, why))
	}
	return nil
}

func (d *Desk) challengeParsed(_ context.Context, a *attempt) *Refusal {
	var err error
	if a.parsed, err = card.ParseChallenge(a.challenge, a.profile.ChallengeLen); err == nil {
		return nil
	}
	code := ChallengeNotHex
	var fault *card.ChallengeError
	if errors.As(err, &fault) {
		switch fault.Fault {
		case card.HexAmbiguous:
			code = ChallengeAmbiguous
		case card.HexLength:
			code = ChallengeLength
		case card.HexNotDigit:
		}
	}
	return refuse(code, sentence(err.Error()))
}

func (d *Desk) responseDerived(ctx context.Context, a *attempt) *Refusal {
	var err error
	a.response, err = d.HSM.Respond(ctx, a.key, a.profile.Algorithm, a.parsed)
	if err == nil && len(a.response) != len(a.parsed) {
		err = fmt.Errorf("a response of %d bytes to a challenge of %d", len(a.response), len(a.parsed))
	}
	if err == nil {
		return nil
	}
	var outage interface{ Unavailable() bool }
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &outage) && outage.Unavailable() {
		return fail(HSMUnavailable, "The HSM does not answer. Nothing was given out; try again later.", err)
	}
	return fail(HSMRefused, "The HSM cannot answer for this card as its profile is set up. Tell a security officer.", err)
}

func (d *Desk) auditDurable(ctx context.Context, a *attempt) *Refusal {
	now := d.Now()
	before := a.process
	if before.Revision == 0 { // answered in one call
		a.process = d.newProcess(a, now)
	}
	a.process.State, a.process.AnsweredAt = Answered, now
	a.process.Revision++
	entry := a.entry(now)
	entry.Outcome = audit.Permit
	err := d.Ledger.Apply(ctx, Change{
		Process: a.process, From: before.Revision,
		Answer: true, MaxUnconfirmed: a.profile.Retry.MaxUnconfirmed(),
		Grounds: &Grounds{Card: a.card, Type: a.kind, Master: a.key.Master, Version: a.key.Version},
		Entry:   entry,
	})
	if err == nil {
		return nil
	}
	a.process = before
	if errors.Is(err, ErrAttempts) {
		return attemptsExhausted(a.profile.Retry.MaxUnconfirmed())
	}
	return notDurable(err)
}

// notDurable says no because a change could not be written down.
func notDurable(err error) *Refusal {
	switch {
	case errors.Is(err, ErrConflict):
		return refuse(ProcessConflict, "Somebody else changed this process at the same time. Read it again.")
	case errors.Is(err, ErrGrounds):
		return fail(ProcessConflict, "The card, its type or its master key was changed at the same time, more than once. Nothing was given out; try again.", err)
	}
	return fail(AuditUnavailable, "The audit entry could not be written, so nothing was given out. Try again later.", err)
}

func (d *Desk) newProcess(a *attempt, now time.Time) Process {
	return Process{
		ID: d.NewID(), State: Started,
		Card: a.card.Serial, Client: a.caller.Client, Operator: a.who.ID, Reason: a.reason,
		StartedAt: now, ExpiresAt: now.Add(d.Lifetime),
	}
}

// means tells how the operator is established on whose behalf the caller calls.
func (c Caller) means() identity.Means {
	switch {
	case c.Operator != nil:
		return c.Means
	case c.NamesOperators:
		return identity.ByName
	}
	return ""
}

// entry is what the audit log is to hold of the attempt as far as it got.
func (a *attempt) entry(now time.Time) audit.Entry {
	e := audit.Entry{
		Time: now, Action: a.action,
		Operator: a.operator, Reason: a.reason,
		Process: a.process.ID, Card: a.serial, CardType: a.card.Type, Profile: a.profile.ID,
		MasterKey: a.key.Master, KeyVersion: a.key.Version,
		Policies: a.decision.Policies, PolicyVersion: a.decision.Version,
		Challenge:     a.parsed.Hex(),
		LatencyMicros: now.Sub(a.began).Microseconds(),
	}
	a.caller.sign(&e)
	return e
}

// sign writes down who called.
func (c Caller) sign(e *audit.Entry) {
	e.Client, e.Address, e.RequestID = c.Client, c.Address, c.RequestID
	e.Delegation = string(c.means())
}

// refused writes a no to the audit log. The answer is no whether or not that
// works: a log that cannot be written joins the refusal's cause.
func (d *Desk) refused(ctx context.Context, e audit.Entry, no *Refusal) *Refusal {
	e.Outcome, e.Check, e.Code, e.Detail = audit.Deny, string(no.Check), string(no.Code), no.Detail
	if no.failure() {
		e.Outcome = audit.Failure
	}
	// A caller who hangs up does not keep its refusal out of the log.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := d.Ledger.Append(ctx, e); err != nil {
		no.cause = errors.Join(no.cause, fmt.Errorf("append refusal to the audit log: %w", err))
	}
	return no
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// Begin is what starting a process needs.
type Begin struct {
	Card     string // serial
	Operator string // on whose behalf; may be empty where the caller is an operator
	Reason   string
	Ticket   string // the help desk's own reference
	// Verification is how the operator made sure of who the holder is.
	Verification policy.Verification
	// Override is a supervisor's reason for going on beyond the card's limit of
	// attempts, empty where that is not asked for.
	Override string
	// IdempotencyKey, where given, makes a repetition of the call find the process
	// of the first instead of starting another.
	IdempotencyKey string
}

// Typed is a challenge as the operator typed it.
type Typed struct {
	Challenge string
	// Confirmed tells that the operator read a challenge again that was found to be
	// suspicious.
	Confirmed bool
	// IdempotencyKey, where given, makes a repetition of the call give the same
	// response instead of another or none.
	IdempotencyKey string
}

// Attempts tells how many responses may still be given out for a card.
type Attempts struct {
	Unconfirmed int // given out since one last worked
	Limit       int // 0: none
}

// Left is how many responses are left, and false where there is no limit.
func (a Attempts) Left() (int, bool) { return max(0, a.Limit-a.Unconfirmed), a.Limit != 0 }

// Warning says in words that few are left, or is empty.
func (a Attempts) Warning() string {
	switch left, limited := a.Left(); {
	case !limited || left > fewLeft:
		return ""
	case left == 0:
		return "No further response is given out for this card before one is reported to have worked."
	case left == 1:
		return "One response is left for this card. Have the challenge read back, digit by digit, before it is answered."
	default:
		return fmt.Sprintf("%d responses are left for this card. Have the challenge read back before it is answered.", left)
	}
}

// fewLeft is how many responses left are few.
const fewLeft = 2

// Opened is a started process with the data that the operator checks the caller
// on the telephone against.
type Opened struct {
	Process  Process
	Card     card.Card
	Type     card.Type
	Profile  card.Profile
	Attempts Attempts
	Checks   []Check
}

// Foresee runs the checks that Start would run and gives the first refusal, nil
// where there is none. It decides nothing, so it starts nothing and the audit
// log does not hear of it; Start checks again.
func (d *Desk) Foresee(ctx context.Context, caller Caller, b Begin) *Refusal {
	return d.check(ctx, &attempt{
		caller: caller, began: d.Now(),
		operator: b.Operator, serial: b.Card, reason: b.Reason,
	}, KeyUsable)
}

// Start runs every check that needs no challenge and starts a process.
func (d *Desk) Start(ctx context.Context, caller Caller, b Begin) (Opened, error) {
	a := &attempt{
		action: audit.UnblockStart, caller: caller, began: d.Now(),
		operator: b.Operator, serial: b.Card, reason: b.Reason,
	}
	if no := d.decide(ctx, a, KeyUsable); no != nil {
		return Opened{}, no
	}
	now := d.Now()
	a.process = d.newProcess(a, now)
	a.process.Revision = 1
	entry := a.entry(now)
	entry.Outcome = audit.Permit
	if err := d.Ledger.Apply(ctx, Change{Process: a.process, Entry: entry}); err != nil {
		entry.Process = "" // there is none
		return Opened{}, d.refused(ctx, entry, notDurable(err))
	}
	return Opened{Process: a.process, Card: a.card, Type: a.kind, Profile: a.profile, Checks: a.passed}, nil
}

// Answer is a response with the process that it was given out in.
type Answer struct {
	Process  Process
	Response card.Response
	Attempts Attempts
	Checks   []Check
	// Repeated tells that this response was given out before, for the same call.
	Repeated bool
}

// Answer answers the challenge of a started process. All checks run again: what
// was true at the start may not be now.
func (d *Desk) Answer(ctx context.Context, caller Caller, id string, t Typed) (Answer, error) {
	a := &attempt{action: audit.UnblockRespond, caller: caller, began: d.Now(), challenge: t.Challenge}
	p, no := d.find(ctx, caller, id, a.action)
	if no != nil {
		return Answer{}, no
	}
	a.process, a.operator, a.serial, a.reason = p, p.Operator, p.Card, p.Reason
	if no := d.inState(p, Started); no != nil {
		return Answer{}, d.refused(ctx, a.entry(d.Now()), no)
	}
	return d.answer(ctx, a)
}

// Respond starts a process and answers the challenge in one call and one durable
// write.
func (d *Desk) Respond(ctx context.Context, caller Caller, b Begin, t Typed) (Answer, error) {
	return d.answer(ctx, &attempt{
		action: audit.UnblockRespond, caller: caller, began: d.Now(),
		operator: b.Operator, serial: b.Card, reason: b.Reason, challenge: t.Challenge,
	})
}

func (d *Desk) answer(ctx context.Context, a *attempt) (Answer, error) {
	if no := d.decide(ctx, a, AuditDurable); no != nil {
		return Answer{}, no
	}
	return Answer{Process: a.process, Response: a.response, Checks: a.passed}, nil
}

// Complete ends an answered process with what became of it. With PINChanged its
// response, and those given out for the card before it, count as unconfirmed no
// longer.
func (d *Desk) Complete(ctx context.Context, caller Caller, id string, outcome Outcome) (Process, error) {
	if !slices.Contains(Outcomes(), outcome) {
		return Process{}, fmt.Errorf("complete: %q is no outcome", outcome)
	}
	return d.finish(ctx, caller, id, audit.UnblockComplete, []State{Answered}, func(p *Process) {
		p.State, p.Outcome = Completed, outcome
		if outcome == OutcomeFailed {
			p.State = Failed
		}
	})
}

// Cancel ends a process. A response that was given out stays counted.
func (d *Desk) Cancel(ctx context.Context, caller Caller, id string) (Process, error) {
	return d.finish(ctx, caller, id, audit.UnblockCancel, []State{Started, Answered}, func(p *Process) { p.State = Cancelled })
}

func (d *Desk) finish(ctx context.Context, caller Caller, id string, action audit.Action, from []State, move func(*Process)) (Process, error) {
	p, no := d.find(ctx, caller, id, action)
	if no != nil {
		return Process{}, no
	}
	now := d.Now()
	entry := audit.Entry{
		Time: now, Action: action, Outcome: audit.Permit,
		Operator: p.Operator, Process: p.ID, Card: p.Card, Reason: p.Reason,
	}
	caller.sign(&entry)
	if no := d.inState(p, from...); no != nil {
		return Process{}, d.refused(ctx, entry, no)
	}
	revision := p.Revision
	move(&p)
	p.FinishedAt = now
	p.Revision++
	entry.Detail = string(p.Outcome)
	err := d.Ledger.Apply(ctx, Change{Process: p, From: revision, Confirm: p.Outcome == PINChanged, Entry: entry})
	if err != nil {
		return Process{}, d.refused(ctx, entry, notDurable(err))
	}
	return p, nil
}

// Process tells how a process stands. Only the client that started it is told.
func (d *Desk) Process(ctx context.Context, caller Caller, id string) (Process, error) {
	p, no := d.find(ctx, caller, id, "")
	if no != nil {
		return Process{}, no
	}
	p.State = p.at(d.Now())
	return p, nil
}

// find looks a process up for the client that started it. To anybody else it is
// as if it were not there, so that IDs cannot be tried out. A refused action is
// written to the audit log; a refused look is not.
func (d *Desk) find(ctx context.Context, caller Caller, id string, action audit.Action) (Process, *Refusal) {
	p, err := d.Ledger.Process(ctx, id)
	var no *Refusal
	switch {
	case err == nil && caller.owns(p):
		return p, nil
	case err == nil || errors.Is(err, card.ErrNotFound):
		no = refuse(ProcessUnknown, "There is no such unblock process of yours.")
	default:
		no = fail(StoreUnavailable, "The process could not be looked up. Try again later.", err)
	}
	if action == "" {
		return Process{}, no
	}
	entry := audit.Entry{Time: d.Now(), Action: action, Process: id}
	caller.sign(&entry)
	return Process{}, d.refused(ctx, entry, no)
}

// owns tells whether the process was started by this client, and for the same
// operator where that one is authenticated.
func (c Caller) owns(p Process) bool {
	return c.Client != "" && c.Client == p.Client && (c.Operator == nil || c.Operator.ID == p.Operator)
}

// inState refuses a process that stands elsewhere than in one of the states.
func (d *Desk) inState(p Process, allowed ...State) *Refusal {
	state := p.at(d.Now())
	if slices.Contains(allowed, state) {
		return nil
	}
	switch state {
	case Started:
		return refuse(ProcessNotAnswered, "No response was given out in this process yet.")
	case Answered:
		return refuse(ProcessAnswered, "This process was answered already. Start another for a new challenge.")
	case Cancelled:
		return refuse(ProcessCancelled, "This process was cancelled. Start another.")
	case Expired:
		return refuse(ProcessExpired, "This process waited too long for its challenge and expired. Start another.")
	case Completed, Failed:
	}
	return refuse(ProcessFinished, "This process is finished. Start another.")
}
