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

// Config is what a Desk works with. All fields but MaxAge, Zone, Limits and Holders are required.
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
	// ApprovalLifetime is how long a process waits for approval before it starts.
	ApprovalLifetime time.Duration
	// Limits hold decisions to rates; their zero value is none.
	Limits Limits
	// Holders says by what people are known as holders, who unblock their own cards
	// themselves; where it is empty nobody does.
	Holders identity.Known

	// KeepDecisions has what policies were asked and said kept with the audit entries.
	KeepDecisions bool

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
		"Lifetime": c.Lifetime <= 0, "ApprovalLifetime": c.ApprovalLifetime <= 0, "Now": c.Now == nil, "NewID": c.NewID == nil,
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
	action  audit.Action
	caller  Caller
	began   time.Time
	asked   Begin
	typed   Typed
	once    Once
	process Process // as it stands; its zero value where none was started before
	// repeat tells that the call is one that was carried out before.
	repeat bool
	// mayWait tells that the process may be one that waits for approval.
	mayWait bool

	passed   []Check
	who      policy.Operator
	card     card.Card
	kind     card.Type
	profile  card.Profile
	key      card.AdminKey
	decision policy.Decision
	decided  *policy.Decided // to be kept, nil for nothing
	standing Standing
	answered bool // the challenge was, before
	beyond   bool // a supervisor's override lets the answer through
	parsed   card.Challenge
	response card.Response
}

// groundTries is how often an answer is tried of which the grounds changed while
// the HSM worked.
const groundTries = 3

// decide runs the checks and writes a refusal to the audit log. Where what they
// were passed on was changed before the answer was on disk, they run again. So they do
// where the same call was carried out meanwhile, whatever it met with since: as that
// call's repetition.
func (d *Desk) decide(ctx context.Context, a *attempt, last Check) *Refusal {
	for try := 1; ; try++ {
		no := d.check(ctx, a, last)
		if no == nil {
			return nil
		}
		again := errors.Is(no.cause, ErrGrounds)
		if !a.repeat {
			if other := d.recall(ctx, a); other != nil {
				no = other
			}
			again = again || a.repeat
		}
		if try == groundTries || !again {
			var charges []Charge
			if no.Code != RateLimited && !no.failure() {
				charges = d.charges(a, a.card.Serial)
			}
			return d.deny(ctx, a.entry(d.Now()), no, charges, a.decided)
		}
		a.passed, a.decided = nil, nil
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
		{WithinLimits, d.withinLimits},
		{CardFound, d.cardFound},
		{WithinLimits, d.cardWithinLimits},
		{CardActive, d.cardActive},
		{HolderActive, d.holderActive},
		{UseCaseEnabled, d.useCaseEnabled},
		{CardDataFresh, d.cardDataFresh},
		{PolicyPermits, d.policyPermits},
		{CardFree, d.cardFree},
		{AttemptsLeft, d.attemptsLeft},
		{KeyUsable, d.keyUsable},
		{ChallengeParsed, d.challengeParsed},
		{ChallengePlausible, d.challengePlausible},
		{ResponseDerived, d.responseDerived},
		{AuditDurable, d.auditDurable},
	} {
		if no := step.pass(ctx, a); no != nil {
			a.response.Wipe()
			no.Check = step.check
			return no
		}
		if !slices.Contains(a.passed, step.check) { // limits are looked at twice
			a.passed = append(a.passed, step.check)
		}
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
		named := a.asked.Operator
		a.who, a.asked.Operator = *own, own.ID // so that the log says who it was, and not who was named
		if a.self() {
			return d.holderAuthenticated(a)
		}
		if named != "" && named != own.ID {
			return refuse(OperatorMismatch, fmt.Sprintf("This call is authenticated as operator %s's and does not serve operator %s. Leave the operator out.", own.ID, named)).of(Facts{"own": own.ID, "named": named})
		}
		return nil
	case !a.caller.NamesOperators:
		return refuse(DelegationRefused, "This client is not trusted to act on behalf of an operator. The configuration can allow it.")
	case a.asked.Operator == "":
		return refuse(OperatorRequired, "Name the operator on whose behalf you call.")
	}
	who, err := d.Operators.Operator(ctx, a.asked.Operator)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(OperatorUnknown, "This operator is not registered.")
	case errors.Is(err, identity.ErrInactive):
		return refuse(OperatorInactive, "This operator is registered as inactive.")
	case err != nil:
		return fail(StoreUnavailable, "The operator could not be looked up. Try again later.", err)
	}
	a.who, a.asked.Operator = who, who.ID
	return nil
}

// cardFound finds the card, and asks whether the operator may know of it. One who may
// not is told what one is told who asks for a card that is not there, after the same
// work.
func (d *Desk) cardFound(ctx context.Context, a *attempt) *Refusal {
	// The challenge is asked about now, whatever its check will say of it.
	found, err := d.Cards.Dossier(ctx, Question{a.asked.Card, card.AnyChallenge(a.typed.Challenge).Hex(), a.process.ID})
	unknown := errors.Is(err, card.ErrNotFound)
	if err != nil && !unknown {
		return CardUnread(err)
	}
	view, err := d.view(ctx, a, found.Card, found.Type)
	switch {
	case err != nil:
		return policyFailed(err)
	case unknown || !view.Allow:
		if !unknown { // for the log
			a.decision = view
		}
		return refuse(CardUnknown, "No card has this serial number. Check it, character by character.")
	}
	a.card, a.kind, a.standing, a.answered = found.Card, found.Type, found.Standing, found.Answered
	// What is counted, written down and derived from is the card that was found.
	a.asked.Card = a.card.Serial
	return nil
}

// view tells whether the caller may know of a card: an operator as policy says, and
// a holder of his own.
func (d *Desk) view(ctx context.Context, a *attempt, c card.Card, kind card.Type) (policy.Decision, error) {
	if a.self() {
		return policy.Decision{Allow: d.isHolder(a.who, c.Holder)}, nil
	}
	return d.Policy.View(ctx, policy.ViewRequest{Operator: a.who, Client: a.caller.Client, Card: c, Type: kind})
}

func (d *Desk) cardActive(_ context.Context, a *attempt) *Refusal {
	if !d.CardStates.Active(a.card.State) {
		return refuse(CardNotActive, fmt.Sprintf("The card is %s. Only a card in use can be unblocked.", a.card.State)).of(Facts{"state": a.card.State})
	}
	return nil
}

func (d *Desk) holderActive(_ context.Context, a *attempt) *Refusal {
	if !d.HolderStates.Active(a.card.Holder.State) {
		return refuse(HolderNotActive, fmt.Sprintf("The card's holder is %s.", a.card.Holder.State)).of(Facts{"state": a.card.Holder.State})
	}
	return nil
}

func (d *Desk) useCaseEnabled(_ context.Context, a *attempt) *Refusal {
	command, on := "Unblock card remote", a.kind.UnblockRemoteIn
	if a.self() {
		command, on = "Unblock PIN offline", a.kind.UnblockSelfIn
	}
	if !on(a.card.State) {
		return refuse(UseCaseOff, fmt.Sprintf(
			"%s is switched off for cards of type %s in state %s. An administrator can switch it on.", command, a.card.Type, a.card.State,
		)).of(Facts{"type": a.card.Type, "state": a.card.State})
	}
	var err error
	if a.profile, err = d.Profiles.Profile(a.kind.Profile); err != nil {
		return fail(ProfileUnusable, fmt.Sprintf("The card type's profile %s is not configured.", a.kind.Profile), err).of(Facts{"profile": a.kind.Profile})
	}
	return nil
}

func (d *Desk) cardDataFresh(_ context.Context, a *attempt) *Refusal {
	switch age := d.Now().Sub(a.card.SyncedAt); {
	case d.MaxAge == 0:
	case age > d.MaxAge:
		return refuse(CardDataStale, fmt.Sprintf(
			"The card's data was last confirmed %s ago; the limit is %s. Have it synchronised, then try again.", age.Truncate(time.Minute), d.MaxAge,
		)).of(Facts{"age": age, "limit": d.MaxAge})
	case age < -d.MaxAge:
		// A clock was wrong, then or now. Without this the data would stay fresh
		// until that time has come.
		return refuse(CardDataStale, "The card's data was last confirmed at a time that is yet to come. Have the clock checked and the card synchronised, then try again.").saying("future", nil)
	}
	var err error
	if a.key, err = a.profile.AdminKey(a.card); err != nil {
		return fail(CardDataMissing, "The card's registered data lacks what its profile derives the admin key from.", err)
	}
	return nil
}

func (d *Desk) policyPermits(ctx context.Context, a *attempt) *Refusal {
	if a.repeat && a.process.State == Answered { // its own response is counted
		a.standing.Unconfirmed = max(0, a.standing.Unconfirmed-1)
	}
	if no := a.approved(); no != nil {
		return no
	}
	// An address that cannot be read is unknown, and policies have to ask whether
	// it is known.
	address, err := netip.ParseAddr(a.caller.Address)
	if err != nil {
		address = netip.Addr{}
	}
	request := policy.Request{
		Operator: a.who, Means: a.caller.means(), Client: a.caller.Client, Address: address, Now: d.Now().In(d.Zone),
		Card: a.card, Type: a.kind, Reason: a.asked.Reason, Ticket: a.asked.Ticket, Verification: a.asked.Verification,
		Unconfirmed: a.standing.Unconfirmed, Override: a.asked.Override != "", Approver: a.process.Approver,
		Self: a.self(),
	}
	a.decision, err = d.Policy.Decide(ctx, request)
	if d.KeepDecisions && err == nil && !a.repeat {
		a.decided = &policy.Decided{Request: request, Decision: a.decision}
	}
	switch {
	case err != nil:
		return policyFailed(err)
	case a.decision.Allow:
		a.decision.Approval = "" // nobody is to be asked
		return nil
	case a.decision.Approval == "":
		return refuse(PolicyDenied, a.decision.Why).of(a.policies())
	case a.mayWait:
		return nil
	}
	return refuse(ApprovalRequired, fmt.Sprintf(
		"%s Start a process; it waits for the approval of somebody with the role %s, and the challenge can be sent once it is approved.",
		a.decision.Why, a.decision.Approval)).of(a.policies())
}

// policies are the particulars of what policies decided: their words, and which ones
// they were.
func (a *attempt) policies() Facts {
	return Facts{"why": a.decision.Why, "policies": a.decision.Policies, "role": string(a.decision.Approval)}
}

func policyFailed(err error) *Refusal {
	return fail(PolicyFailed, "The operator policy could not be evaluated, so nothing is permitted. Tell a security officer.", err)
}

// approved says no where the process was approved as another thing than it is, or by
// somebody who turns out to be its operator or the card's holder.
func (a *attempt) approved() *Refusal {
	switch approver := a.process.Approver; {
	case approver == nil:
	case a.process.Statement(a.card) != a.process.Approved:
		return refuse(ApprovalHash, "What was approved is not what this process says, or the card has another holder by now. Start another.").saying("changed", nil)
	case same(approver.ID, a.who.ID) || same(approver.EmployeeNumber, a.who.EmployeeNumber) || is(*approver, a.card.Holder):
		return ownApproval()
	}
	return nil
}

func (d *Desk) cardFree(_ context.Context, a *attempt) *Refusal {
	if p := a.standing.Latest; p.ID != a.process.ID && p.Holds(a.who.ID, d.Now()) {
		return d.busy(a, p)
	}
	return nil
}

// busy says whose process is under way. Its ID is for its owner alone.
func (d *Desk) busy(a *attempt, p Process) *Refusal {
	if a.caller.owns(p) && p.Operator == a.who.ID {
		no := refuse(CardBusy, fmt.Sprintf("You have process %s under way for this card. Go on with it, or cancel it.", p.ID))
		no.Process = p.ID
		return no.saying("own", Facts{"process": p.ID})
	}
	return refuse(CardBusy, fmt.Sprintf("Operator %s works on this card since %s. Ask them, or wait until %s.",
		p.Operator, p.StartedAt.UTC().Format(time.RFC3339), p.ExpiresAt.UTC().Format(time.RFC3339),
	)).of(Facts{"operator": p.Operator, "since": p.StartedAt, "until": p.ExpiresAt})
}

func (d *Desk) attemptsLeft(_ context.Context, a *attempt) *Refusal {
	a.beyond = false
	if a.asked.Override != "" && !a.supervised() {
		return refuse(OverrideForbidden, "Only a supervisor who is authenticated as such goes on beyond a card's attempts.")
	}
	if limit := a.profile.Retry.MaxUnconfirmed(); limit != 0 && a.standing.Unconfirmed >= limit {
		if a.asked.Override == "" {
			return attemptsExhausted(limit)
		}
		a.beyond = true
	}
	return nil
}

// supervised tells whether the operator is a supervisor whom nobody else named.
func (a *attempt) supervised() bool {
	return a.caller.Operator != nil && a.caller.means() != identity.ByName && !a.self() && slices.Contains(a.who.Roles, identity.Supervisor)
}

// limit is how many responses may stand unconfirmed once this one is given out; an
// override lets one more through than there are.
func (a *attempt) limit() int {
	if a.beyond {
		return a.standing.Unconfirmed + 1
	}
	return a.profile.Retry.MaxUnconfirmed()
}

// attempts tells how many responses are left once given more were given out.
func (a *attempt) attempts(given int) Attempts {
	return Attempts{Unconfirmed: a.standing.Unconfirmed + given, Limit: a.profile.Retry.MaxUnconfirmed()}
}

func attemptsExhausted(limit int) *Refusal {
	return refuse(AttemptsExhausted, fmt.Sprintf(
		"%d responses were given out for this card and none was reported to work. One more could destroy it. Report what became of those that are open; where that is not enough, a supervisor can go on and give a reason.", limit,
	)).of(Facts{"count": limit})
}

func (d *Desk) keyUsable(ctx context.Context, a *attempt) *Refusal {
	switch why, err := d.Keys.Usable(ctx, a.key.Master, a.key.Version); {
	case err != nil:
		return fail(StoreUnavailable, "The state of the card's master key could not be looked up. Try again later.", err)
	case why != "":
		return refuse(KeyNotUsable, fmt.Sprintf(
			"Master key %s version %d, which this card's admin key comes from, %s. Tell a security officer.", a.key.Master, a.key.Version, why,
		)).of(Facts{"key": a.key.Master, "version": a.key.Version, "why": why})
	}
	return nil
}

func (d *Desk) challengeParsed(_ context.Context, a *attempt) *Refusal {
	var no *Refusal
	a.parsed, no = parseChallenge(a.typed.Challenge, a.profile)
	return no
}

func parseChallenge(text string, p card.Profile) (card.Challenge, *Refusal) {
	parsed, err := card.ParseChallenge(text, p.ChallengeLen)
	if err == nil {
		return parsed, nil
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
	no := refuse(code, sentence(err.Error()))
	if fault == nil {
		return nil, no
	}
	no = no.of(Facts{"position": fault.Position, "character": string(fault.Character), "digits": fault.Digits, "want": fault.Want})
	switch {
	case len(fault.Either) == 2:
		no.Facts["first"], no.Facts["second"] = fault.Either[0], fault.Either[1]
	case fault.Long:
		no.Says = "long"
	}
	return nil, no
}

// challengePlausible stops a challenge that no card would issue, or not twice: it is
// mistyped, or read from another screen, and its response would cost a try.
func (d *Desk) challengePlausible(_ context.Context, a *attempt) *Refusal {
	if a.typed.Confirmed || a.repeat {
		return nil
	}
	if doubt := suspicion(a.parsed, a.answered); doubt != "" {
		return suspicious(doubt)
	}
	return nil
}

// Doubt names what speaks against a challenge, and is empty where nothing does.
type Doubt string

// The doubts.
const (
	Repeats Doubt = "repeats" // it is one digit over and over
	Counts  Doubt = "counts"  // each byte is one more than the one before, or one less
	Again   Doubt = "again"   // it was answered before for the card
)

// words say the same to people.
func (d Doubt) words() string {
	switch d {
	case Repeats:
		return "This challenge " + card.PatternRepeats + ", as no card issues one."
	case Counts:
		return "This challenge " + card.PatternCounts + ", as no card issues one."
	case Again:
		return "This challenge was answered before for this card, and a card does not issue one twice."
	}
	return ""
}

func suspicious(d Doubt) *Refusal {
	return refuse(ChallengeSuspicious, d.words()+" Have it read again from the card's screen, and confirm it if it is right.").saying(string(d), nil)
}

// suspicion finds what speaks against a challenge.
func suspicion(c card.Challenge, answered bool) Doubt {
	switch c.Pattern() {
	case card.PatternRepeats:
		return Repeats
	case card.PatternCounts:
		return Counts
	}
	if answered {
		return Again
	}
	return ""
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
		a.process.Begun = a.once
	} else if !a.repeat {
		a.process.Given = a.once
	}
	if !a.repeat {
		a.process.State, a.process.AnsweredAt, a.process.Challenge = Answered, now, a.parsed.Hex()
		a.process.Revision++
	}
	entry := a.entry(now)
	entry.Outcome = audit.Permit
	switch {
	case a.repeat:
		entry.Detail = audit.Repetition
	case a.beyond:
		entry.Detail = fmt.Sprintf("beyond the limit of %d responses, by a supervisor's override", a.profile.Retry.MaxUnconfirmed())
	}
	charges := d.charges(a, a.card.Serial)
	err := d.Ledger.Apply(ctx, Change{
		Process: a.process, From: before.Revision, Repeat: a.repeat,
		Answer: !a.repeat, MaxUnconfirmed: a.limit(), Again: a.typed.Confirmed,
		Grounds: &Grounds{
			Card: a.card, Type: a.kind, Master: a.key.Master, Version: a.key.Version,
			Counted: a.decision.Counts && !a.repeat, Unconfirmed: a.standing.Unconfirmed,
		},
		Charges: charges, Entry: entry, Decided: a.decided,
	})
	if err == nil {
		return nil
	}
	a.process = before
	return d.notDurable(ctx, a, charges, err)
}

// notDurable says no because a decision could not be written down, in the words of
// the check that would have said so had it come a moment later.
func (d *Desk) notDurable(ctx context.Context, a *attempt, charges []Charge, err error) *Refusal {
	switch {
	case errors.Is(err, ErrAttempts):
		return attemptsExhausted(a.profile.Retry.MaxUnconfirmed())
	case errors.Is(err, ErrChallenge):
		return suspicious(Again)
	case errors.Is(err, ErrRate):
		if no := d.limited(ctx, charges); no != nil {
			return no
		}
		return refuse(RateLimited, "A limit of decisions was reached at the same time. Try again.").saying("race", nil)
	case errors.Is(err, ErrBusy):
		if s, err := d.Ledger.Standing(ctx, a.asked.Card); err == nil && s.Latest.ID != a.process.ID && s.Latest.Holds(a.who.ID, d.Now()) {
			return d.busy(a, s.Latest)
		}
		return refuse(CardBusy, "Another process was under way for this card at the same time. Try again.").saying("race", nil)
	}
	return notWritten(err)
}

// notWritten says no because a change could not be written down.
func notWritten(err error) *Refusal {
	switch {
	case errors.Is(err, ErrConflict), errors.Is(err, ErrOnce):
		return fail(ProcessConflict, "Somebody else changed this process at the same time. Read it again.", err)
	case errors.Is(err, ErrGrounds):
		return fail(ProcessConflict, "The card, its type or its master key was changed at the same time, more than once. Nothing was given out; try again.", err).saying("grounds", nil)
	}
	return fail(AuditUnavailable, "The audit entry could not be written, so nothing was given out. Try again later.", err)
}

// newProcess is the process that the attempt begins, waiting for approval where
// policy asks for one.
func (d *Desk) newProcess(a *attempt, now time.Time) Process {
	p := Process{
		ID: d.NewID(), State: Started,
		Card: a.card.Serial, Client: a.caller.Client, Operator: a.who.ID, Means: a.caller.means(),
		Reason: a.asked.Reason, Ticket: a.asked.Ticket, Verification: a.asked.Verification, Override: a.asked.Override,
		Approval:  a.decision.Approval,
		StartedAt: now, ExpiresAt: now.Add(d.Lifetime),
	}
	if p.Approval != "" {
		p.State, p.ExpiresAt = Waiting, now.Add(d.ApprovalLifetime)
	}
	return p
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
		Operator: a.asked.Operator, Reason: a.asked.Reason, Ticket: a.asked.Ticket,
		Verification: string(a.asked.Verification), Override: a.asked.Override,
		Process: a.process.ID, Card: a.asked.Card, CardType: a.card.Type, Profile: a.profile.ID,
		MasterKey: a.key.Master, KeyVersion: a.key.Version,
		Policies: a.decision.Policies, PolicyVersion: a.decision.Version,
		Challenge:     a.parsed.Hex(),
		LatencyMicros: now.Sub(a.began).Microseconds(),
	}
	if a.process.Approver != nil {
		e.Approver = a.process.Approver.ID
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
	return d.deny(ctx, e, no, nil, nil)
}

// deny is refused, with the accounts that are charged and what policies were asked.
func (d *Desk) deny(ctx context.Context, e audit.Entry, no *Refusal, charges []Charge, decided *policy.Decided) *Refusal {
	e.Outcome, e.Check, e.Code, e.Detail = audit.Deny, string(no.Check), string(no.Code), no.Detail
	if no.failure() {
		e.Outcome = audit.Failure
	}
	// A caller who hangs up does not keep its refusal out of the log.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := d.Ledger.Deny(ctx, e, charges, decided); err != nil {
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
	return d.check(ctx, &attempt{caller: caller, began: d.Now(), asked: b, mayWait: true}, KeyUsable)
}

// Start runs every check that needs no challenge and starts a process, or has it
// wait where policy asks for a second person's approval.
func (d *Desk) Start(ctx context.Context, caller Caller, b Begin) (Opened, error) {
	a := &attempt{action: caller.action(audit.UnblockStart), caller: caller, began: d.Now(), asked: b, mayWait: true}
	a.once = caller.once(a.action, b.IdempotencyKey, b.content()...)
	if no := d.recall(ctx, a); no != nil {
		return Opened{}, d.refused(ctx, a.entry(d.Now()), no)
	}
	for {
		if no := d.decide(ctx, a, KeyUsable); no != nil {
			return Opened{}, no
		}
		no := d.begin(ctx, a)
		if no == nil {
			return Opened{
				Process: a.process, Card: a.card, Type: a.kind, Profile: a.profile,
				Attempts: a.attempts(a.process.given()), Checks: a.passed,
			}, nil
		}
		if !a.repeat {
			if other := d.recall(ctx, a); other != nil {
				no = other
			} else if a.repeat { // the same call was first
				a.passed, a.decided = nil, nil
				continue
			}
		}
		return Opened{}, d.refused(ctx, a.entry(d.Now()), no)
	}
}

// begin writes down that the attempt's process is begun, or that it was before.
func (d *Desk) begin(ctx context.Context, a *attempt) *Refusal {
	now := d.Now()
	c := Change{Process: a.process, From: a.process.Revision, Repeat: a.repeat, Decided: a.decided}
	if !a.repeat {
		c.Process = d.newProcess(a, now)
		c.Process.Begun, c.Process.Revision = a.once, 1
		c.Charges = d.charges(a, a.card.Serial)
	}
	before := a.process
	a.process = c.Process
	c.Entry = a.entry(now)
	c.Entry.Outcome = audit.Permit
	switch {
	case a.repeat:
		c.Entry.Detail = "repetition of a start"
	case a.process.State == Waiting:
		c.Entry.Detail = fmt.Sprintf("waits for the approval of a %s", a.process.Approval)
	}
	if err := d.Ledger.Apply(ctx, c); err != nil {
		a.process = before // there is none, or not this one
		return d.notDurable(ctx, a, c.Charges, err)
	}
	return nil
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
	a := &attempt{action: caller.action(audit.UnblockRespond), caller: caller, began: d.Now(), typed: t}
	p, no := d.find(ctx, caller, id, a.action)
	if no != nil {
		return Answer{}, no
	}
	a.resume(p)
	a.once = caller.once(a.action, t.IdempotencyKey, append(t.content(), id)...)
	no = d.recall(ctx, a)
	if no == nil && !a.repeat {
		no = d.inState(p, Started)
	}
	if no != nil {
		return Answer{}, d.refused(ctx, a.entry(d.Now()), no)
	}
	return d.answer(ctx, a)
}

// Respond starts a process and answers the challenge in one call and one durable
// write.
func (d *Desk) Respond(ctx context.Context, caller Caller, b Begin, t Typed) (Answer, error) {
	a := &attempt{action: caller.action(audit.UnblockRespond), caller: caller, began: d.Now(), asked: b, typed: t}
	a.once = caller.once(a.action, t.IdempotencyKey, append(t.content(), b.content()...)...)
	if no := d.recall(ctx, a); no != nil {
		return Answer{}, d.refused(ctx, a.entry(d.Now()), no)
	}
	return d.answer(ctx, a)
}

func (d *Desk) answer(ctx context.Context, a *attempt) (Answer, error) {
	if no := d.decide(ctx, a, AuditDurable); no != nil {
		return Answer{}, no
	}
	return Answer{Process: a.process, Response: a.response, Attempts: a.attempts(1), Checks: a.passed, Repeated: a.repeat}, nil
}

// resume goes on with a process that was begun before.
func (a *attempt) resume(p Process) {
	a.process = p
	a.asked = Begin{
		Card: p.Card, Operator: p.Operator, Reason: p.Reason, Ticket: p.Ticket,
		Verification: p.Verification, Override: p.Override,
	}
}

// Complete ends an answered process with what became of it. With PINChanged its
// response, and those given out for the card before it, count as unconfirmed no
// longer.
func (d *Desk) Complete(ctx context.Context, caller Caller, id string, outcome Outcome) (Process, error) {
	if !slices.Contains(Outcomes(), outcome) {
		return Process{}, fmt.Errorf("complete: %q is no outcome", outcome)
	}
	return d.finish(ctx, caller, id, caller.action(audit.UnblockComplete), []State{Answered}, func(p *Process) {
		p.State, p.Outcome = Completed, outcome
		if outcome == OutcomeFailed {
			p.State = Failed
		}
	})
}

// Cancel ends a process. A response that was given out stays counted.
func (d *Desk) Cancel(ctx context.Context, caller Caller, id string) (Process, error) {
	return d.finish(ctx, caller, id, caller.action(audit.UnblockCancel), []State{Waiting, Started, Answered}, func(p *Process) { p.State = Cancelled })
}

func (d *Desk) finish(ctx context.Context, caller Caller, id string, action audit.Action, from []State, move func(*Process)) (Process, error) {
	began := d.Now()
	p, no := d.find(ctx, caller, id, action)
	if no != nil {
		return Process{}, no
	}
	now := d.Now()
	entry := audit.Entry{
		Time: now, Action: action, Outcome: audit.Permit,
		Operator: p.Operator, Process: p.ID, Card: p.Card, Reason: p.Reason,
		LatencyMicros: now.Sub(began).Microseconds(),
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
		return Process{}, d.refused(ctx, entry, notWritten(err))
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
		no = unknownProcess()
	default:
		no = fail(StoreUnavailable, "The process could not be looked up. Try again later.", err)
	}
	if action == "" {
		return Process{}, no
	}
	entry := audit.Entry{Time: d.Now(), Action: action, Process: id}
	caller.sign(&entry)
	if caller.Operator != nil {
		entry.Operator = caller.Operator.ID
	}
	return Process{}, d.refused(ctx, entry, no)
}

// owns tells whether the process was started by this client and, where its operator
// was authenticated as such then, whether that one is now. What somebody began as a
// card's holder he does not go on with as an operator, nor the other way round.
func (c Caller) owns(p Process) bool {
	if c.Client == "" || c.Client != p.Client || c.holds() != (p.Means == identity.AsHolder) {
		return false
	}
	if c.Operator == nil {
		return p.Means == identity.ByName
	}
	return c.Operator.ID == p.Operator
}

// inState refuses a process that stands elsewhere than in one of the states.
func (d *Desk) inState(p Process, allowed ...State) *Refusal {
	state := p.at(d.Now())
	if slices.Contains(allowed, state) {
		return nil
	}
	switch state {
	case Waiting:
		return refuse(ProcessWaiting, fmt.Sprintf("This process waits for the approval of a %s. Send the challenge once it is approved.", p.Approval)).of(Facts{"role": string(p.Approval)})
	case Started:
		return refuse(ProcessNotAnswered, "No response was given out in this process yet.")
	case Answered:
		return refuse(ProcessAnswered, "This process was answered already. Start another for a new challenge.")
	case Cancelled:
		return refuse(ProcessCancelled, "This process was cancelled. Start another.")
	case Refused:
		return refuse(ProcessRefused, "The approval of this process was refused. Read why in the process.")
	case Expired:
		return refuse(ProcessExpired, "This process waited too long and expired. Start another.")
	case Completed, Failed:
	}
	return refuse(ProcessFinished, "This process is finished. Start another.")
}
