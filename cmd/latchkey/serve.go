package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"latchkey/card"
	"latchkey/config"
	"latchkey/custody"
	"latchkey/hsm"
	"latchkey/identity"
	"latchkey/identity/oidc"
	"latchkey/identity/people"
	"latchkey/registry"
	"latchkey/rulebook"
	"latchkey/server"
	"latchkey/server/console"
	"latchkey/store"
	"latchkey/unblock"
)

func newServe(a *app) *cobra.Command {
	var path string
	var check bool
	cmd := &cobra.Command{
		Use:     "serve --config FILE",
		Short:   "Run the server",
		GroupID: groupServer,
		Long: `Run the server until SIGINT or SIGTERM. Requests under way are then finished, and
the exit code is 0; a second signal ends it at once.

After SIGHUP clients, operators and files of policies are read again; where the
file has faults the ones before stay, and the log lists them all. A PIN that a token
refused is read anew and tried once more.

Every fault of the configuration is listed before anything is tried. The token's PIN
is tried once. A master key that a profile names and the token lacks does not stop
the start, since it may be made while the server runs: a warning names it with its
profiles, and their cards are refused until then.

The log is JSON, one object a line, on standard error.`,
		Example: `  latchkey serve --config /etc/latchkey/latchkey.yaml
  latchkey serve --config /etc/latchkey/latchkey.yaml --check`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return misuse("say which configuration: --config FILE")
			}
			c, err := config.Load(path)
			if err != nil {
				return err
			}
			if check {
				return a.print(summaryOf(path, c), func(w io.Writer) { summaryOf(path, c).write(w) })
			}
			log, err := newLogger(c.Log, a.err)
			if err != nil {
				return err
			}
			collectLess()
			return serve(cmd.Context(), c, log, func(string) {})
		}),
	}
	cmd.Flags().StringVar(&path, "config", os.Getenv("LATCHKEY_CONFIG"), "configuration `file` (LATCHKEY_CONFIG)")
	cmd.Flags().BoolVar(&check, "check", false, "check the configuration and exit; the token and the database are not opened")
	return cmd
}

const (
	// garbage is how much of it may be there before it is collected, in percent of the
	// memory that is in use: decision 0029.
	garbage = 400
	// muchMemory is from how many bytes on it is collected more often than that.
	muchMemory = 512 << 20
)

// collectLess has garbage collected less often than is usual in Go, unless the
// environment says how often.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(muchMemory)
	}
}

// summary is what a configuration without faults comes to.
type summary struct {
	Config    string `json:"config"`
	Listen    string `json:"listen"`
	Store     string `json:"store"`
	Module    string `json:"module"`
	Token     string `json:"token"`
	Policy    string `json:"policy"`
	Clients   int    `json:"clients"`
	Operators int    `json:"operators"`
	Profiles  int    `json:"profiles"`
}

func summaryOf(path string, c *config.Config) summary {
	return summary{
		Config: path, Listen: c.Listen, Store: c.Store.String(), Module: c.HSM.Module, Token: c.HSM.Token.String(),
		Policy: cmp.Or(c.Policy, "versions in the store"), Clients: len(c.Clients), Operators: len(c.Operators), Profiles: len(c.Profiles),
	}
}

func (s summary) write(w io.Writer) {
	field(w, s.Config, "has no faults")
	field(w, "listen", "%s", s.Listen)
	field(w, "store", "%s", s.Store)
	field(w, "token", "%s, through %s", s.Token, s.Module)
	field(w, "policy", "%s", s.Policy)
	field(w, "known", "%d clients, %d operators, %d profiles", s.Clients, s.Operators, s.Profiles)
}

// newLogger makes a logger of JSON lines.
func newLogger(level string, out io.Writer) (*zap.Logger, error) {
	lowest, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	format := zap.NewProductionEncoderConfig()
	format.TimeKey = "time"
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	format.EncodeDuration = zapcore.SecondsDurationEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(format), zapcore.Lock(zapcore.AddSync(out)), lowest)), nil
}

// serve runs the server until the context ends, which is no error, at whatever
// point of the start it does so. started is called with the server's URL once it
// takes calls.
//
// What can be found wrong without the token comes first, so that a PIN is not
// used up for a port that is taken.
func serve(ctx context.Context, c *config.Config, log *zap.Logger, started func(url string)) (err error) {
	served := false
	defer func() {
		if served { // the last word: what is under way behind answers has ended, too
			log.Info("stopped")
		}
		_ = log.Sync() // fails on terminals, where there is nothing to sync
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // the server closes it too
	o, err := observerOf(ctx, c.Observe, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close(ctx)) }()
	where, err := c.Store.Where()
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	o.store(s)
	return withGroup(ctx, c.HSM, o.calls(), log, func(g *hsm.Group) (err error) {
		transport, done, err := transportOf(ctx, c.TLS, g, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
		office, err := custodyOf(ctx, c, s, g, log)
		if err != nil {
			return err
		}
		book, err := rulebookOf(ctx, c, s, log)
		if err != nil {
			return err
		}
		defer inBackground(ctx, book.Run)()
		who := newRegister(c)
		kept, err := keepLog(ctx, c, s, g, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, kept.stop()) }()
		web, err := wire(ctx, c, who, s, g, office, book, transport, kept, o, log)
		if err != nil {
			return err
		}
		if err := warnOfKeys(ctx, c, g, log); err != nil {
			return err
		}
		var tokens []string
		for _, t := range g.Tokens() {
			tokens = append(tokens, t.Info().Label+", serial "+t.Info().Serial)
		}
		url := "https://" + l.Addr().String()
		log.Info("serving", zap.String("url", url), zap.String("console", url+console.Path),
			zap.Strings("tokens", tokens),
			zap.Stringer("store", c.Store), zap.String("policy", string(book.Active().Origin)), zap.String("policy_version", book.Active().Fingerprint),
			zap.Int("clients", len(c.Clients)), zap.Int("operators", len(c.Operators)),
			zap.Strings("profiles", slices.Sorted(maps.Keys(c.Profiles))),
			zap.String("version", readVersion().Version))
		defer o.serve(ctx, c, s, g, web, kept)()
		started(url)
		defer onHangup(ctx, func() {
			who.reload(web, log)
			book.Reload(ctx)
			if err := g.TryPINsAgain(ctx); err != nil {
				log.Error("SIGHUP: the PIN was tried again", zap.Error(err))
			}
		})()
		served = true
		return web.Serve(ctx, l)
	})
}

// onHangup does work at each SIGHUP until it is stopped.
func onHangup(ctx context.Context, work func()) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangups:
				work()
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		cancel()
		<-ended
	}
}

// wire puts the rooms together.
func wire(
	ctx context.Context, c *config.Config, who *register, s *store.Store, g *hsm.Group, office *custody.Office, book *rulebook.Rulebook,
	transport *server.Transport, kept *auditLog, o *observer, log *zap.Logger,
) (*server.Server, error) {
	known := people.Registry{Records: s, Seeds: who}
	if err := warnOfStrangers(ctx, c, known, log); err != nil {
		return nil, err
	}
	tokens, err := tokensOf(ctx, c, log)
	if err != nil {
		return nil, err
	}
	cards, err := cardsOf(c, s, office)
	if err != nil {
		return nil, err
	}
	desk, err := o.desk(unblock.Config{
		Cards: cards, Profiles: c, Operators: known, Policy: book, KeepDecisions: c.KeepDecisions != 0, Zone: c.Zone, Keys: office, HSM: g, Ledger: s,
		CardStates: c.Cards.States, HolderStates: c.Cards.HolderStates,
		MaxAge: c.Cards.MaxAge, Lifetime: c.Unblock.Lifetime, ApprovalLifetime: c.Unblock.ApprovalLifetime,
		Limits: unblock.Limits{
			PerOperator: unblock.Rate(c.Limits.PerOperator), PerHolder: unblock.Rate(c.Limits.PerHolder),
			PerCard: unblock.Rate(c.Limits.PerCard), PerBackend: unblock.Rate(c.Limits.PerBackend),
		},
		Holders: c.Holders,
		Now:     time.Now, NewID: uuid.NewString,
	})
	if err != nil {
		return nil, err
	}
	sessions, err := sessionsOf(ctx, c, known, s, log)
	if err != nil {
		return nil, err
	}
	rooms := console.Config{
		Desk: desk, Cards: s, Profiles: c, Zone: c.Zone,
		Types: registry.Types{Store: s, Profiles: c, CardStates: c.Cards.States}, Register: s, Families: familiesOf(c), Log: kept.digest,
		CardStates: c.Cards.States, HolderStates: c.Cards.HolderStates,
		Caller: server.CallerOf, Report: server.Report,
		Problem: func(code string) console.Problem {
			status, title, remedy := server.Problem(code)
			return console.Problem{Status: status, Title: title, Remedy: remedy}
		},
		Version: readVersion().Version, Now: time.Now,
	}
	if sessions != nil {
		rooms.SignIn = sessions
	}
	pages, err := console.New(rooms)
	if err != nil {
		return nil, err
	}
	served := server.Config{
		Desk: desk, Directory: s, Live: cards, Custody: office, Rulebook: book, Profiles: c, Operators: known, Records: s, Tokens: tokens, Clients: c.Clients,
		CardStates: c.Cards.States, HolderStates: c.Cards.HolderStates,
		TLS: transport.Config(), StillGood: transport.Check, Console: pages,
		Rate: server.Rate{PerSecond: float64(c.Limits.PerSecond), Burst: c.Limits.Burst}, InProgress: c.Limits.InProgress,
		Ready:  map[string]func(context.Context) error{"hsm": g.Check, "store": s.Check},
		Uneasy: map[string]func(context.Context) error{"policy": book.Check},
		Audit:  auditServed{s.Log(), s, kept}, Logger: log, Version: readVersion().Version, Now: time.Now,
	}
	if sessions != nil {
		served.Sessions = sessions.Person
	}
	o.server(&served)
	return server.New(served)
}

// familiesOf lists the profiles by their IDs.
func familiesOf(c *config.Config) []card.Profile {
	list := make([]card.Profile, 0, len(c.Profiles))
	for _, id := range slices.Sorted(maps.Keys(c.Profiles)) {
		list = append(list, c.Profiles[id])
	}
	return list
}

// tokensOf takes tokens where a provider is configured, whose keys are followed
// until the context ends.
func tokensOf(ctx context.Context, c *config.Config, log *zap.Logger) (server.Tokens, error) {
	if c.OIDC == nil {
		return nil, nil
	}
	return followed(ctx, *c.OIDC, log)
}

// followed is a provider whose keys are followed until the context ends.
func followed(ctx context.Context, settings oidc.Config, log *zap.Logger) (*oidc.Provider, error) {
	settings.Now = time.Now
	settings.Report = func(err error) {
		if err != nil {
			log.Error("the identity provider cannot be reached: no token is taken whose key is not known", zap.Error(err))
			return
		}
		log.Info("the identity provider can be reached", zap.String("issuer", settings.Issuer))
	}
	provider, err := oidc.New(settings)
	if err != nil {
		return nil, err
	}
	go provider.Follow(ctx)
	return provider, nil
}

// warnOfStrangers names every client whose operator is not registered: it is
// refused until he is.
func warnOfStrangers(ctx context.Context, c *config.Config, known people.Registry, log *zap.Logger) error {
	for _, k := range c.Clients {
		if k.Operator == "" {
			continue
		}
		switch _, err := known.Operator(ctx, k.Operator); {
		case errors.Is(err, card.ErrNotFound) || errors.Is(err, identity.ErrInactive):
			log.Warn("the client is refused: its operator is not registered, or is inactive", zap.String("client", k.Name), zap.String("operator", k.Operator))
		case err != nil:
			return err
		}
	}
	return nil
}

// transportOf makes the server's TLS. done gives up the key in the HSM, where it is
// there: it is to be called before the tokens are closed.
func transportOf(ctx context.Context, c config.TLS, g *hsm.Group, log *zap.Logger) (t *server.Transport, done func() error, err error) {
	files := server.TLSFiles{
		Certificate: c.Certificate, Key: c.Key, ClientCA: c.ClientCA, ClientCRL: c.ClientCRL, TLS12: c.TLS12,
	}
	if c.TLS12 {
		log.Warn("tls.min_version lets clients in that speak TLS 1.2; take it away once none does")
	}
	done = func() error { return nil }
	if c.HSMKey != "" {
		signer, err := g.Tokens()[0].OpenSigner(ctx, c.HSMKey, false)
		if err != nil {
			return nil, nil, fmt.Errorf("tls.hsm_key: %w", err)
		}
		files.Signer = signer
		done = func() error {
			ctx, cancel := closing(ctx)
			defer cancel()
			return signer.Close(ctx)
		}
	}
	if t, err = files.Open(log, time.Now); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return t, done, nil
}

// custodyOf makes the office that keeps the master keys, in the first token: the
// others of a group get theirs by the vendor's means. What an earlier process was
// cut off from is looked up before anything else is done.
func custodyOf(ctx context.Context, c *config.Config, s *store.Store, g *hsm.Group, log *zap.Logger) (*custody.Office, error) {
	office, err := custody.New(custody.Config{
		Token: g.Tokens()[0], Ledger: s, Cards: s, Profiles: c,
		Approvals: c.Custody.Approvals, Lifetime: c.Custody.Lifetime, Strict: c.Custody.Strict,
		Now: time.Now, NewID: uuid.NewString,
	})
	if err != nil {
		return nil, err
	}
	cut, err := office.Recover(ctx)
	for _, p := range cut {
		log.Warn("a proposal was cut off while the token was at work: look at the token's keys",
			zap.String("proposal", p.ID), zap.String("words", p.Words()))
	}
	warnOfOfficers(c, log)
	return office, err
}

// warnOfOfficers says where dual control cannot work, or is not what it looks like:
// officers whose client names no operator are told apart by their certificates alone.
func warnOfOfficers(c *config.Config, log *zap.Logger) {
	officers := make(map[string]bool)
	var nobody []string
	for _, k := range c.Clients {
		if !slices.Contains(k.Roles, identity.SecurityOfficer) {
			continue
		}
		if k.Operator == "" {
			nobody = append(nobody, k.Name)
		}
		officers[cmp.Or(k.Operator, "client "+k.Name)] = true
	}
	if n := len(officers); n != 0 && n <= c.Custody.Approvals {
		log.Warn("there are too few security officers among the clients for any proposal to be approved",
			zap.Int("officers", n), zap.Int("wanted", c.Custody.Approvals+1))
	}
	if len(nobody) != 0 {
		log.Warn("clients of security officers name no operator: a person who holds two of them can approve their own proposals",
			zap.Strings("clients", nobody))
	}
}

// rulebookOf makes the rulebook that keeps the operator policies.
func rulebookOf(ctx context.Context, c *config.Config, s *store.Store, log *zap.Logger) (*rulebook.Rulebook, error) {
	return rulebook.Open(ctx, rulebook.Config{
		Ledger: s, Directory: c.Policy, Approvals: c.Custody.Approvals, Lifetime: c.Custody.Lifetime,
		KeepDecisions: c.KeepDecisions, Logger: log, Now: time.Now, NewID: uuid.NewString,
	})
}

// inBackground runs work until the context ends or stop is called, which waits for
// its end.
func inBackground(ctx context.Context, work func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		work(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// warnOfKeys names every master key that a profile needs and the token lacks, or
// holds in a state in which it is not used.
func warnOfKeys(ctx context.Context, c *config.Config, g *hsm.Group, log *zap.Logger) error {
	type name struct {
		label   string
		version int
	}
	profiles := make(map[name][]string)
	for _, id := range slices.Sorted(maps.Keys(c.Profiles)) {
		p := c.Profiles[id]
		if n := (name{p.MasterKey, p.MasterKeyVersion}); !g.HasKey(n.label, n.version) {
			profiles[n] = append(profiles[n], id)
		}
	}
	if len(profiles) == 0 {
		return nil
	}
	keys, err := g.Tokens()[0].Keys(ctx)
	if err != nil {
		return err
	}
	for n, affected := range profiles {
		var faults []string
		for _, k := range keys {
			if k.Label == n.label && k.Version == n.version {
				faults = append(faults, cmp.Or(k.Fault, "another key has the same name"))
			}
		}
		why := cmp.Or(strings.Join(faults, "; "), "it is not in the token; make it with: latchkey key generate")
		log.Warn("master key cannot be used: cards of these profiles are refused",
			zap.String("key", n.label), zap.Int("version", n.version), zap.Strings("profiles", affected), zap.String("why", why))
	}
	return nil
}
