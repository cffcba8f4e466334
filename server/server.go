package server

import (
	"cmp"
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/audit/stream"
	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/registry"
	"latchkey/rulebook"
	"latchkey/store"
	"latchkey/unblock"
)

// maxHeaderBytes is about the most that is read of a request's header.
const maxHeaderBytes = 16 << 10

// times is how long the server waits for others.
type times struct {
	header time.Duration // for a handshake, and for a request's header
	read   time.Duration // for a request, header and body
	answer time.Duration // for the use case, once the body is read
	write  time.Duration // for all of the above and the answer to be taken
	idle   time.Duration // for the next request of a connection
	drain  time.Duration // for requests under way when serving ends
	// patience is for each piece of an import, in place of read and write.
	patience time.Duration
	// probe is for a part to say that it works.
	probe time.Duration
}

func defaultTimes() times {
	return times{
		header: 10 * time.Second, read: 20 * time.Second, answer: 30 * time.Second, write: time.Minute,
		idle: 2 * time.Minute, drain: 15 * time.Second, patience: 30 * time.Second, probe: 3 * time.Second,
	}
}

// Desk runs unblock processes, as *unblock.Desk does. Errors are *unblock.Refusal.
type Desk interface {
	Start(ctx context.Context, caller unblock.Caller, b unblock.Begin) (unblock.Opened, error)
	Answer(ctx context.Context, caller unblock.Caller, id string, t unblock.Typed) (unblock.Answer, error)
	Respond(ctx context.Context, caller unblock.Caller, b unblock.Begin, t unblock.Typed) (unblock.Answer, error)
	Complete(ctx context.Context, caller unblock.Caller, id string, outcome unblock.Outcome) (unblock.Process, error)
	Cancel(ctx context.Context, caller unblock.Caller, id string) (unblock.Process, error)
	Process(ctx context.Context, caller unblock.Caller, id string) (unblock.Process, error)
	ReadBack(ctx context.Context, caller unblock.Caller, id, challenge string) (unblock.ReadBack, error)
	Pending(ctx context.Context, caller unblock.Caller) ([]unblock.Pending, error)
	Approve(ctx context.Context, caller unblock.Caller, id, statement, reason string) (unblock.Pending, error)
	Refuse(ctx context.Context, caller unblock.Caller, id, reason string) (unblock.Pending, error)
	Look(ctx context.Context, caller unblock.Caller, serial string) (unblock.Outlook, error)
	Sees(ctx context.Context, caller unblock.Caller) func(card.Card) (bool, error)
}

// Directory keeps cards and card types, as *store.Store does. It gives
// card.ErrNotFound for what is not there.
type Directory interface {
	unblock.Cards
	PutCards(ctx context.Context, puts []store.CardPut, step *store.SyncStep) ([]store.Result, error)
	BeginSync(ctx context.Context, begun store.Sync) (sync store.Sync, before string, err error)
	EndSync(ctx context.Context, id string, lines int, at time.Time) (store.Sync, error)
	Sync(ctx context.Context, id string) (store.Sync, error)
	Syncs(ctx context.Context, limit int, after string) (page []store.Sync, next string, err error)
	FindCards(ctx context.Context, q store.Query) (cards []card.Card, next string, err error)
	PutCardType(ctx context.Context, t card.Type, e audit.Entry) (store.Result, error)
	CardTypes(ctx context.Context) ([]card.Type, error)
}

// Custody keeps master keys, as *custody.Office does. Errors are *dualcontrol.Refusal,
// and dualcontrol.ErrQuery for a cursor that did not come with a page.
type Custody interface {
	Inventory(ctx context.Context) ([]custody.Item, error)
	Plan(ctx context.Context, key string) (custody.Plan, error)
	Affected(ctx context.Context, key string, version int, after string, limit int) (cards []card.Card, next string, err error)
	NewCardVersion(ctx context.Context, p card.Profile) (int, error)
	Propose(ctx context.Context, who dualcontrol.Officer, d custody.Draft) (custody.Proposal, error)
	Proposals[custody.Proposal]
	TransportKey(ctx context.Context, who dualcontrol.Officer) (custody.TransportKey, error)
}

// Rulebook keeps the operator policies, as *rulebook.Rulebook does. Errors are
// *dualcontrol.Refusal, policy.Faults for policies with faults, and
// dualcontrol.ErrQuery for a cursor that did not come with a page.
type Rulebook interface {
	Active() rulebook.Active
	Version(ctx context.Context, number int) (rulebook.Version, error)
	Versions(ctx context.Context, below, limit int) ([]rulebook.Version, error)
	Propose(ctx context.Context, who dualcontrol.Officer, d rulebook.Draft) (rulebook.Proposal, error)
	Proposals[rulebook.Proposal]
	DryRun(ctx context.Context, policies []policy.Source, last int) (rulebook.DryRun, error)
}

// AuditLog is the audit log as auditors see it.
type AuditLog interface {
	audit.Source
	Append(ctx context.Context, e audit.Entry) error
	// Sign has a checkpoint signed over all entries, if there is a key for it.
	Sign(ctx context.Context) error
	// Sinks tells how far each sink has come.
	Sinks(ctx context.Context) ([]stream.Status, error)
}

// DefaultInProgress is how many requests may be in progress where nothing else is
// configured: what keeps an HSM with eight sessions busy, and each of them for no
// more than 32 answers.
const DefaultInProgress = 256

// Config is what a Server works with. All fields are required but Tokens, StillGood,
// Console, Rate, Ready and Version.
type Config struct {
	Desk      Desk
	Directory Directory
	Custody   Custody
	Rulebook  Rulebook
	Audit     AuditLog
	Profiles  unblock.Profiles
	Operators People
	Records   Records
	Clients   []identity.Client

	// Live, where set, finds a card as its source has it now. It is Directory else.
	Live unblock.Cards

	CardStates   card.States
	HolderStates card.States

	// Tokens verifies the tokens of callers; nil takes none.
	Tokens Tokens

	// TLS has to ask for client certificates and verify them; see Transport.
	TLS *tls.Config
	// StillGood, where set, is asked at each request whether the certificate that its
	// connection was made with has not been revoked since, as Transport.Check does.
	StillGood func(*tls.ConnectionState) error
	// Ready asks the parts that a response needs whether they work, by name. Each
	// is given a few seconds.
	Ready map[string]func(context.Context) error
	// Uneasy asks parts that go on working, but not as they should, by name. It is asked
	// at once and has to answer at once.
	Uneasy map[string]func(context.Context) error
	// Console, where set, answers everything under /console/. It learns who calls
	// from CallerOf.
	Console http.Handler
	// Sessions, where set, tells whose session a request to the console is of. It
	// gives session.ErrNone or session.ErrOver where it is of none.
	Sessions func(*http.Request) (identity.Person, error)
	// Rate is DefaultRate where it is not set.
	Rate Rate
	// InProgress is how many requests may be in progress, waiting and working,
	// DefaultInProgress where it is not set. An eighth as many may be in the console
	// besides. One client alone can take up half.
	InProgress int
	// Meter is told of each request that was answered; nil is nobody.
	Meter Meter
	// Tracer makes a span of each request of a known caller; nil makes none.
	Tracer Tracer

	Logger  *zap.Logger
	Version string
	Now     func() time.Time
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	Config
	clients  atomic.Pointer[clients]
	visitors *visitors
	times    times
	probes   []*probe
	// work and pages bound what is in progress in the API and in the console.
	work, pages *gate
	registry    *registry.Registry
	door        *door
	http        http.Handler
}

//go:embed openapi.yaml
var openAPI []byte

// New makes a Server, or says what is wrong with its configuration.
func New(c Config) (*Server, error) {
	for name, missing := range map[string]bool{
		"Desk": c.Desk == nil, "Directory": c.Directory == nil, "Custody": c.Custody == nil, "Rulebook": c.Rulebook == nil, "Audit": c.Audit == nil, "Profiles": c.Profiles == nil, "Operators": c.Operators == nil, "Records": c.Records == nil,
		"CardStates": len(c.CardStates) == 0, "HolderStates": len(c.HolderStates) == 0,
		"TLS": c.TLS == nil, "Logger": c.Logger == nil, "Now": c.Now == nil,
	} {
		if missing {
			return nil, fmt.Errorf("server: %s is not set", name)
		}
	}
	if c.TLS.ClientAuth < tls.VerifyClientCertIfGiven {
		return nil, errors.New("server: TLS does not verify client certificates")
	}
	if c.Live == nil {
		c.Live = c.Directory
	}
	if c.Rate == (Rate{}) {
		c.Rate = DefaultRate()
	}
	s := &Server{Config: c, door: newDoor(), times: defaultTimes(), probes: newProbes(c.Ready), registry: &registry.Registry{
		Cards: c.Directory, Profiles: c.Profiles, Keys: c.Custody, CardStates: c.CardStates, HolderStates: c.HolderStates, Now: c.Now,
	}}
	if err := s.SetClients(c.Clients); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.visitors = newVisitors(c.Rate, c.Now)
	most := cmp.Or(c.InProgress, DefaultInProgress)
	s.work = newGate("api", most, c.Now, c.Logger)
	s.pages = newGate("console", most/consoleShare, c.Now, c.Logger)
	s.http = s.handler()
	return s, nil
}

// Serve answers over TLS until the context ends. It then takes no more requests,
// gives those under way 15 seconds to finish, and returns nil. It closes the
// listener in any case.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	web := &http.Server{
		Handler:           s.http,
		TLSConfig:         s.TLS.Clone(), // net/http adds to it
		ReadHeaderTimeout: s.times.header,
		ReadTimeout:       s.times.read,
		WriteTimeout:      s.times.write,
		IdleTimeout:       s.times.idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       readOnce,
		// Failed handshakes end up here, port scanners' too.
		ErrorLog: zap.NewStdLog(s.Logger.Named("http")),
	}
	ended := make(chan error, 1)
	go func() { ended <- web.ServeTLS(l, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	defer s.closeDoor()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.times.drain)
	defer cancel()
	if err := web.Shutdown(drain); err != nil {
		s.Logger.Warn("requests were cut off", zap.Error(err))
		_ = web.Close() // closes connections, whose errors say nothing new
	}
	return nil
}
