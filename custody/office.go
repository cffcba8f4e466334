package custody

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/dualcontrol"
	"latchkey/hsm"
)

// Config is what an Office works with. All fields but Strict are required.
type Config struct {
	Token    Token
	Ledger   Ledger
	Cards    Cards
	Profiles Profiles

	// Approvals is how many officers besides the proposer have to approve; see
	// dualcontrol.Config.
	Approvals int
	// Lifetime is how long a proposal waits for them.
	Lifetime time.Duration
	// Strict has keys that are not in the ledger count as pre-active. Without it
	// they count as active, so that a small installation needs no ledger.
	Strict bool

	Now   func() time.Time
	NewID func() string // unique
}

// Times that the work of an approved act is given: the token's part, and writing
// down what came of it. Together they fit into one request's time.
const (
	tokenTimeout  = 18 * time.Second
	recordTimeout = 10 * time.Second
)

// Office is where officers propose and approve acts on master keys. It is safe for
// concurrent use and keeps nothing in memory between calls.
type Office struct {
	Config
	control *dualcontrol.Control[Effect]
}

// New makes an Office, or says what is wrong with the configuration.
func New(c Config) (*Office, error) {
	var missing []string
	for name, is := range map[string]bool{
		"Token": c.Token == nil, "Ledger": c.Ledger == nil, "Cards": c.Cards == nil, "Profiles": c.Profiles == nil,
	} {
		if is {
			missing = append(missing, name)
		}
	}
	if len(missing) != 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("custody: not set: %s", strings.Join(missing, ", "))
	}
	o := &Office{Config: c}
	var err error
	o.control, err = dualcontrol.New(dualcontrol.Config[Effect]{
		Kind: dualcontrol.Keys, Room: room{o}, Book: c.Ledger, Keep: c.Ledger.Keep,
		Actions: dualcontrol.Actions{
			Propose: audit.KeyPropose, Approve: audit.KeyApprove, Reject: audit.KeyReject, Withdraw: audit.KeyWithdraw, Execute: audit.KeyExecute,
		},
		Approvals: c.Approvals, Lifetime: c.Lifetime, Now: c.Now, NewID: c.NewID,
	})
	if err != nil {
		return nil, fmt.Errorf("custody: %w", err)
	}
	return o, nil
}

// Propose writes a proposal down. One that an officer may carry out alone is
// carried out. The draft has no Faults.
func (o *Office) Propose(ctx context.Context, who dualcontrol.Officer, d Draft) (Proposal, error) {
	if faults := d.Faults(); len(faults) != 0 {
		return Proposal{}, fmt.Errorf("propose: %v", faults)
	}
	serial := o.Token.Info().Serial
	return read(o.control.Propose(ctx, who, d.Act.Alone(), func(h dualcontrol.Header) any {
		return Statement{Header: h, Act: d.Act, Parameters: d.Parameters, Token: serial}
	}))
}

// Approve writes an officer's yes down, which names the hash of the statement that
// the officer saw. With the last one that is wanted the act is carried out, and
// the proposal that comes back tells what became of it: executed, failed or
// unknown.
func (o *Office) Approve(ctx context.Context, who dualcontrol.Officer, id, hash string) (Proposal, error) {
	p, err := read(o.control.Approve(ctx, who, id, hash))
	if err != nil || p.State != dualcontrol.Executing {
		return p, err
	}
	return o.execute(context.WithoutCancel(ctx), who, p) // from here on the caller may hang up
}

// Reject ends a proposal by any officer's no.
func (o *Office) Reject(ctx context.Context, who dualcontrol.Officer, id, reason string) (Proposal, error) {
	return read(o.control.Reject(ctx, who, id, reason))
}

// Withdraw ends a proposal by its own proposer.
func (o *Office) Withdraw(ctx context.Context, who dualcontrol.Officer, id string) (Proposal, error) {
	return read(o.control.Withdraw(ctx, who, id))
}

// Proposal tells how a proposal stands.
func (o *Office) Proposal(ctx context.Context, id string) (Proposal, error) {
	return read(o.control.Proposal(ctx, id))
}

// Proposals gives a page of the proposals, the newest first. It gives
// dualcontrol.ErrQuery for a cursor that did not come with a page.
func (o *Office) Proposals(ctx context.Context, q dualcontrol.Query) ([]Proposal, string, error) {
	found, next, err := o.control.Proposals(ctx, q)
	return dualcontrol.ReadPage(read, found, next, err)
}

// room tells package dualcontrol what is proposed here.
type room struct{ o *Office }

// Describe implements dualcontrol.Room.
func (room) Describe(p dualcontrol.Proposal, e *audit.Entry) (words string, err error) {
	s, err := ParseStatement(p.Text)
	if err != nil {
		return "", err
	}
	e.MasterKey, e.KeyVersion, e.Reason = s.Parameters.Key, s.Parameters.Version, s.Parameters.Reason
	return s.Words(), nil
}

// Prepare implements dualcontrol.Room.
func (r room) Prepare(ctx context.Context, p dualcontrol.Proposal, now time.Time) (dualcontrol.Step[Effect], *dualcontrol.Refusal) {
	s, err := ParseStatement(p.Text)
	if err != nil {
		return dualcontrol.Step[Effect]{}, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The proposal cannot be read. Tell an administrator.", err)
	}
	e, no := r.o.prepare(ctx, s, now)
	if no != nil {
		return dualcontrol.Step[Effect]{}, no
	}
	step := dualcontrol.Step[Effect]{Effect: &e, Begun: s.Act.touchesToken()}
	if step.Begun && !s.Act.makes() {
		step.Effect = nil // the record stays until the key is gone
	}
	return step, nil
}

// TransportLabel is the label of the token's transport key pair.
const TransportLabel = "latchkey-transport"

// TransportKey is the public half of the token's transport key pair, under which
// keys come in wrapped. The pair is made when it is first asked for.
func (o *Office) TransportKey(ctx context.Context, who dualcontrol.Officer) (hsm.TransportKey, error) {
	entry := who.Entry(o.control.Moment(), audit.KeyTransport)
	k, err := o.Token.MakeTransportKey(ctx, TransportLabel)
	if err != nil {
		return hsm.TransportKey{}, o.control.Refused(ctx, entry, tokenFailed(err))
	}
	return k, o.control.Kept(ctx, entry, o.Ledger.Append(ctx, dualcontrol.Permit(entry, "fingerprint "+k.Fingerprint)))
}
