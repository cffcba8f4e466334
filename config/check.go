package config

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/audit/stream"
	"latchkey/card"
	"latchkey/card/family"
	"latchkey/hsm"
	"latchkey/identity"
	"latchkey/identity/oidc"
	"latchkey/lookup"
	"latchkey/notify"
	"latchkey/policy"
	"latchkey/trust"
)

// Defaults of what the file may leave out.
const (
	DefaultListen    = "127.0.0.1:8443"
	DefaultStore     = "latchkey.db"
	DefaultLifetime  = 15 * time.Minute
	DefaultTimeZone  = "Local"
	DefaultMaxAge    = 7 * 24 * time.Hour
	DefaultPerSecond = 50
	DefaultBurst     = 100
	maxSessions      = 1024
	// perSession is how many requests may be in progress for each session of the HSM.
	perSession = 32
	// DefaultSample is the part of all requests that spans are made of.
	DefaultSample = 0.01
	maxSocket     = 100 // bytes; the system takes 107

	DefaultSource        = "identity-manager"
	DefaultSourceTimeout = 3 * time.Second
	DefaultSourceFresh   = 30 * time.Second
	DefaultClockSkew     = 30 * time.Second

	DefaultIdle             = 15 * time.Minute // of a session of the console
	DefaultStay             = 8 * time.Hour
	maxStay                 = 24 * time.Hour
	callbackPath            = "/console/callback"
	DefaultApprovalLifetime = 10 * time.Minute

	DefaultApprovals        = 1
	DefaultKeepDecisions    = 10_000
	maxKeepDecisions        = 100_000
	DefaultProposalLifetime = 24 * time.Hour
	maxApprovals            = 16
	maxProposalLifetime     = 30 * 24 * time.Hour

	DefaultCheckpointEvery = time.Minute
	DefaultCheckpointAfter = 10_000 // entries
	minAuditKeep           = 24 * time.Hour

	DefaultLanguage      = "en" // of notifications
	DefaultGiveUp        = 24 * time.Hour
	DefaultNotifyTimeout = 15 * time.Second
)

// DefaultPerOperator is more than a person at a help desk does, and DefaultPerCard more
// than a card with a few mistyped challenges takes. A start and its answer are a
// decision each.
func DefaultPerOperator() Rate { return Rate{120, 10 * time.Minute} }

// DefaultPerHolder is five unblocks: a start and an answer each.
func DefaultPerHolder() Rate { return Rate{10, time.Hour} }

// DefaultPerCard is told of with DefaultPerOperator.
func DefaultPerCard() Rate { return Rate{20, time.Hour} }

// report takes one fault: its place in the file, and what to do.
type report func(place, format string, args ...any)

// check turns the file into a Config and reports every fault on the way.
func check(f file, folder string, fault report) *Config {
	at := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(folder, path)
	}
	c := &Config{
		Listen: or(f.Listen, DefaultListen),
		TLS: TLS{
			Certificate: at(f.TLS.Certificate), Key: at(f.TLS.Key), HSMKey: f.TLS.HSMKey.Label,
			ClientCA: at(f.TLS.ClientCA), TLS12: f.TLS.MinVersion == "1.2",
		},
		HSM:   hsmOf(f, at),
		Store: storeOf(f, at), Policy: at(f.Policy.Directory),
		Cards:         Cards{MaxAge: DefaultMaxAge, States: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(), Source: sourceOf(f, at)},
		Unblock:       Unblock{DefaultLifetime, DefaultApprovalLifetime},
		Limits:        limitsOf(f),
		Observe:       Observe{f.Observe.Listen, Tracing{f.Observe.Tracing.Endpoint, at(f.Observe.Tracing.CA), DefaultSample}},
		KeepDecisions: f.Policy.Keep.Or(DefaultKeepDecisions),

		Custody: Custody{f.Custody.Approvals.Or(DefaultApprovals), DefaultProposalLifetime, f.Custody.Strict},
		Log:     or(f.Log.Level, "info"),
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		fault("listen", "%q is not host:port", c.Listen)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		fault("listen", "%q is not a port from 0 to 65535", port)
	}
	var err error
	// An empty name would be UTC.
	if c.Zone, err = time.LoadLocation(or(f.Policy.TimeZone, DefaultTimeZone)); err != nil {
		fault("policy.time_zone", "%q is not a time zone, as in Europe/Berlin, UTC or Local", f.Policy.TimeZone)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log) {
		fault("log.level", "%q is not debug, info, warn or error", c.Log)
	}
	checkLimits(c.Limits, fault)
	checkObserve(&c.Observe, f, fault)
	for _, path := range f.TLS.ClientCRL {
		c.TLS.ClientCRL = append(c.TLS.ClientCRL, at(path))
	}
	if v := f.TLS.MinVersion; v != "" && v != "1.2" && v != "1.3" {
		fault("tls.min_version", "%q is not \"1.3\" or \"1.2\"; older ones are not secure", v)
	}
	checkTLS(c.TLS, fault)
	checkHSM(c.HSM, fault)
	checkStore(f, c, fault)
	checkCards(c, f, fault)
	checkCustody(c, f, fault)
	checkAudit(c, f, at, fault)
	c.Notify = checkNotify(f.Notify, c, at, fault)
	c.OIDC = checkOIDC(f.OIDC, at, fault)
	c.Console = checkConsole(f.OIDC, at, fault)
	c.Holders = checkSelfService(c, f, fault)
	c.Operators = checkOperators(f.Operators, fault)
	c.Clients = checkClients(f.Clients, c, fault)
	c.Profiles = checkProfiles(f.Profiles, fault)
	return c
}

// limitsOf has as many requests in progress as keep the sessions busy.
func limitsOf(f file) Limits {
	sessions := min(max(f.HSM.Sessions.Or(hsm.DefaultSessions), 1), maxSessions)
	return Limits{
		f.Limits.PerSecond.Or(DefaultPerSecond), f.Limits.Burst.Or(DefaultBurst),
		f.Limits.InProgress.Or(perSession * sessions),
		f.Limits.PerOperator.or(DefaultPerOperator()), f.Limits.PerHolder.or(DefaultPerHolder()), f.Limits.PerCard.or(DefaultPerCard()), f.Limits.PerBackend.or(Rate{}),
	}
}

func checkLimits(l Limits, fault report) {
	if l.PerSecond < 1 || l.Burst < 1 {
		fault("limits", "requests_per_second and burst must be 1 or more")
	}
	if l.InProgress < 2 || l.InProgress > perSession*maxSessions {
		fault("limits.in_progress", "must be from 2 to %d", perSession*maxSessions)
	}
}

// checkObserve keeps what nobody is asked for a certificate for on this machine.
func checkObserve(o *Observe, f file, fault report) {
	if path, ok := strings.CutPrefix(o.Listen, "unix:"); ok {
		if !filepath.IsAbs(path) || len(path) > maxSocket {
			fault("observe.listen", "a Unix socket is unix: and an absolute path of %d bytes at most", maxSocket)
		}
	} else if address, err := netip.ParseAddrPort(o.Listen); o.Listen != "" && (err != nil || !address.Addr().IsLoopback()) {
		fault("observe.listen", "must be a loopback address with its port, such as 127.0.0.1:9464, or unix: and a path: nobody who calls there is authenticated")
	}
	t := f.Observe.Tracing
	if t.Sample.given {
		o.Tracing.Sample = t.Sample.p
	}
	if t.Endpoint == "" {
		if t.CA != "" || t.Sample.given {
			fault("observe.tracing.endpoint", "is missing; say where the spans go, or leave out tracing")
		}
		return
	}
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		fault("observe.tracing.endpoint", "must be a URL such as https://collector.example.org:4318/v1/traces, without a user or a query")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
	default:
		fault("observe.tracing.endpoint", "must be https, or http to a loopback address")
	}
	if t.CA != "" && readable("observe.tracing.ca", o.Tracing.CA, fault) {
		if _, err := trust.Read(o.Tracing.CA); err != nil {
			fault("observe.tracing.ca", "%v", err)
		}
	}
}

func checkTLS(t TLS, fault report) {
	certificate := readable("tls.certificate", t.Certificate, fault)
	switch {
	case t.Key != "" && t.HSMKey != "":
		fault("tls", "say either key or hsm_key, and not both")
	case t.HSMKey != "":
		lines("tls.hsm_key.label", true, fault, t.HSMKey) // whether the certificate is of it, the token tells
	case readable("tls.key", t.Key, fault):
		private("tls.key", t.Key, fault)
		if _, err := tls.LoadX509KeyPair(t.Certificate, t.Key); certificate && err != nil {
			fault("tls.certificate", "certificate and key do not go together: %v", err)
		}
	}
	if !readable("tls.client_ca", t.ClientCA, fault) {
		return
	}
	clients, err := trust.Read(t.ClientCA)
	if err != nil {
		fault("tls.client_ca", "%v", err)
		return
	}
	for i, path := range t.ClientCRL {
		place := fmt.Sprintf("tls.client_crl[%d]", i)
		if !readable(place, path, fault) {
			continue
		}
		if err := clients.AddLists(path); err != nil {
			fault(place, "%v", err)
		}
	}
}

// hsmOf is the token with its fallbacks, which share its settings.
func hsmOf(f file, at func(string) string) HSM {
	one := func(t token) HSM {
		return HSM{
			Module: at(t.Module), Token: hsm.Selector{Label: t.Token.Label, Serial: t.Token.Serial},
			PIN:      hsm.PINSource{File: at(t.PIN.File), Env: t.PIN.Env, FD: t.PIN.FD.Or(0)},
			Sessions: f.HSM.Sessions.Or(hsm.DefaultSessions), AllowExtractable: f.HSM.AllowExtractable,
			CallTimeout:  f.HSM.CallTimeout.or(hsm.DefaultCallTimeout),
			KeepAlive:    f.HSM.KeepAlive.or(hsm.DefaultKeepAlive),
			RecoverEvery: f.HSM.RecoverEvery.or(hsm.DefaultRecoverEvery),
		}
	}
	h := one(f.HSM.token)
	for _, t := range f.HSM.Fallbacks {
		h.Fallbacks = append(h.Fallbacks, one(t))
	}
	return h
}

func checkHSM(h HSM, fault report) {
	checkToken("hsm", h, fault)
	for i, other := range h.Fallbacks {
		place := fmt.Sprintf("hsm.fallbacks[%d]", i)
		checkToken(place, other, fault)
		if other.Module == h.Module && other.Token == h.Token {
			fault(place, "is the token that it is to stand in for")
		}
	}
	for _, t := range []struct {
		place       string
		d, min, max time.Duration
	}{
		{"hsm.call_timeout", h.CallTimeout, 100 * time.Millisecond, time.Minute},
		{"hsm.keep_alive", h.KeepAlive, time.Second, time.Hour},
		{"hsm.recover_every", h.RecoverEvery, time.Second, time.Hour},
	} {
		if t.d < t.min || t.d > t.max {
			fault(t.place, "must be from %s to %s", t.min, t.max)
		}
	}
	if h.Sessions < 1 || h.Sessions > maxSessions {
		fault("hsm.sessions", "must be from 1 to %d", maxSessions)
	}
}

// checkToken checks where a token is and where its PIN comes from.
func checkToken(place string, h HSM, fault report) {
	readable(place+".module", h.Module, fault)
	if h.Token == (hsm.Selector{}) {
		fault(place+".token", "name the token by label, by serial, or by both")
	}
	if err := h.PIN.Faults(); err != nil {
		fault(place+".pin", "%v", err)
	} else if h.PIN.File != "" && readable(place+".pin.file", h.PIN.File, fault) {
		private(place+".pin.file", h.PIN.File, fault)
	} else if _, set := os.LookupEnv(h.PIN.Env); h.PIN.Env != "" && !set {
		// Its name stays out of the words: people write the PIN itself there.
		fault(place+".pin.env", "there is no environment variable of this name")
	}
}

// checkPostgres says nothing of what the URL holds: people write passwords there.
func checkPostgres(s Store, fault report) {
	switch u, err := url.Parse(s.URL); {
	case s.URL == "":
		fault("store.postgres.url", "is required")
	case err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || len(u.Path) < 2:
		fault("store.postgres.url", "has the form postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full")
	default:
		if _, has := u.User.Password(); has || u.Query().Has("password") {
			fault("store.postgres.url", "holds a password; it goes into a file, see password_file")
		}
		// A host that begins with / is the folder of a socket.
		host, mode := or(u.Query().Get("host"), u.Hostname()), u.Query().Get("sslmode")
		if !strings.HasPrefix(host, "/") && mode != "verify-full" && !loopback(host) {
			fault("store.postgres.url", "needs sslmode=verify-full, or anybody on the network can be the database")
		}
	}
	if s.PasswordFile != "" && readable("store.postgres.password_file", s.PasswordFile, fault) {
		private("store.postgres.password_file", s.PasswordFile, fault)
	}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func storeOf(f file, at func(string) string) Store {
	if p := f.Store.Postgres; p != nil {
		return Store{URL: p.URL, PasswordFile: at(p.PasswordFile)}
	}
	return Store{Path: at(or(f.Store.Path, DefaultStore))}
}

func checkStore(f file, c *Config, fault report) {
	if f.Store.Postgres != nil {
		if f.Store.Path != "" {
			fault("store", "path and postgres are both there; keep one")
		}
		checkPostgres(c.Store, fault)
	} else if info, err := os.Stat(filepath.Dir(c.Store.Path)); err != nil || !info.IsDir() {
		fault("store.path", "the folder %s is not there; make it first", filepath.Dir(c.Store.Path))
	} else if info, err := os.Stat(c.Store.Path); err == nil && !info.Mode().IsRegular() {
		fault("store.path", "%s is not a file", c.Store.Path)
	}
	if c.KeepDecisions < 0 || c.KeepDecisions > maxKeepDecisions {
		fault("policy.keep_decisions", "must be from 0 to %d", maxKeepDecisions)
	}
	if c.Policy == "" {
		return
	}
	if info, err := os.Stat(c.Policy); err != nil || !info.IsDir() {
		fault("policy.directory", "%s is not a folder", c.Policy)
		return
	}
	_, err := policy.LoadDir(c.Policy)
	var faults policy.Faults
	switch {
	case errors.As(err, &faults):
		for _, f := range faults {
			fault("policy.directory", "%s", f)
		}
	case err != nil:
		fault("policy.directory", "%v", err)
	}
}

func checkCards(c *Config, f file, fault report) {
	if age := f.Cards.MaxAge; age.given {
		c.Cards.MaxAge = age.d
		if !age.none && age.d < time.Minute {
			fault("cards.max_age", "must be a minute or more, with its unit as in 168h, or none")
		}
	}
	for _, s := range []struct {
		place string
		given map[string]bool
		into  *card.States
	}{{"cards.states", f.Cards.States, &c.Cards.States}, {"cards.holder_states", f.Cards.HolderStates, &c.Cards.HolderStates}} {
		if s.given == nil {
			continue
		}
		*s.into = s.given
		lines(s.place, true, fault, s.into.Names()...)
		if !slices.ContainsFunc(s.into.Names(), s.into.Active) {
			fault(s.place, "no state counts as active, so nothing could ever be unblocked")
		}
	}
	if c.Cards.Source != nil {
		checkSource(*c.Cards.Source, c.Cards.MaxAge, fault)
	}
	if f.Unblock.Lifetime.given {
		c.Unblock.Lifetime = f.Unblock.Lifetime.d
		if c.Unblock.Lifetime < time.Second || c.Unblock.Lifetime > 24*time.Hour {
			fault("unblock.lifetime", "must be from 1s to 24h")
		}
	}
	if f.Unblock.ApprovalLifetime.given {
		c.Unblock.ApprovalLifetime = f.Unblock.ApprovalLifetime.d
		if c.Unblock.ApprovalLifetime < time.Second || c.Unblock.ApprovalLifetime > 24*time.Hour {
			fault("unblock.approval_lifetime", "must be from 1s to 24h")
		}
	}
}

// sourceOf is where cards are looked up, nil where nowhere.
func sourceOf(f file, at func(string) string) *CardSource {
	s := f.Cards.Source
	if s == nil {
		return nil
	}
	return &CardSource{
		Name: or(s.Name, DefaultSource), URL: s.URL,
		CA: at(s.CA), Certificate: at(s.Certificate), Key: at(s.Key), TokenFile: at(s.TokenFile),
		Timeout: s.Timeout.or(DefaultSourceTimeout), Fresh: s.Fresh.or(DefaultSourceFresh),
	}
}

func checkSource(s CardSource, maxAge time.Duration, fault report) {
	const place = "cards.source"
	lines(place+".name", true, fault, s.Name)
	if err := lookup.CheckURL(s.URL); err != nil {
		fault(place+".url", "%v", err)
	}
	if readable(place+".ca", s.CA, fault) {
		if _, err := trust.Read(s.CA); err != nil {
			fault(place+".ca", "%v", err)
		}
	}
	switch {
	case (s.Certificate == "") != (s.Key == ""):
		fault(place, "say both certificate and key, or neither")
	case s.Certificate == "" && s.TokenFile == "":
		fault(place, "say how Latchkey shows who it is: certificate and key, or token_file")
	case s.Certificate != "" && readable(place+".certificate", s.Certificate, fault) && readable(place+".key", s.Key, fault):
		private(place+".key", s.Key, fault)
		if _, err := tls.LoadX509KeyPair(s.Certificate, s.Key); err != nil {
			fault(place+".certificate", "certificate and key do not go together: %v", err)
		}
	}
	if s.TokenFile != "" && readable(place+".token_file", s.TokenFile, fault) {
		private(place+".token_file", s.TokenFile, fault)
	}
	if s.Timeout < 100*time.Millisecond || s.Timeout > 15*time.Second {
		fault(place+".timeout", "must be from 100ms to 15s")
	}
	if s.Fresh < 0 || s.Fresh > time.Hour || maxAge != 0 && s.Fresh > maxAge {
		fault(place+".fresh", "must be from 0s to 1h, and no longer than cards.max_age")
	}
}

func checkCustody(c *Config, f file, fault report) {
	if c.Custody.Approvals < 1 || c.Custody.Approvals > maxApprovals {
		fault("custody.approvals", "must be from 1 to %d; they count besides the proposer's own", maxApprovals)
	}
	if f.Custody.Lifetime.given {
		c.Custody.Lifetime = f.Custody.Lifetime.d
		if c.Custody.Lifetime < time.Minute || c.Custody.Lifetime > maxProposalLifetime {
			fault("custody.lifetime", "must be from 1m to 720h")
		}
	}
}

func checkAudit(c *Config, f file, at func(string) string, fault report) {
	a := f.Audit
	c.Audit = Audit{
		Key: a.Key, CheckpointEvery: a.CheckpointEvery.or(DefaultCheckpointEvery),
		CheckpointAfter: int64(a.CheckpointAfter.Or(DefaultCheckpointAfter)), CheckpointFile: at(a.CheckpointFile), Keep: a.Keep.d,
	}
	if c.Audit.CheckpointEvery < time.Second || c.Audit.CheckpointEvery > 24*time.Hour {
		fault("audit.checkpoint_every", "must be from 1s to 24h")
	}
	if c.Audit.CheckpointAfter < 1 {
		fault("audit.checkpoint_after", "must be 1 or more")
	}
	if a.Key == "" && a.CheckpointFile != "" {
		fault("audit.checkpoint_file", "checkpoints take a key: name it in audit.key")
	}
	if a.Keep.given && !a.Keep.none {
		if c.Audit.Keep < minAuditKeep {
			fault("audit.keep", "must be 24h or more, or none")
		}
		if a.Key == "" {
			fault("audit.keep", "entries are pruned behind signed checkpoints alone: name a key in audit.key")
		}
	}
	names := make(map[string]bool)
	for i, s := range a.Sinks {
		place := fmt.Sprintf("audit.sinks[%d]", i)
		sink := stream.Sink{
			Name: s.Name, Kind: s.Kind, Format: or(s.Format, stream.JSON), Path: at(s.Path), Address: s.Address, URL: s.URL,
			CA: at(s.CA), Certificate: at(s.Certificate), Key: at(s.Key), TokenFile: at(s.TokenFile),
		}
		if err := sink.Faults(); err != nil {
			fault(place, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		if names[s.Name] {
			fault(place+".name", "another sink is called %s; its cursor goes by its name", s.Name)
		}
		names[s.Name] = true
		for _, file := range []struct {
			key, path string
			secret    bool
		}{{"ca", sink.CA, false}, {"certificate", sink.Certificate, false}, {"key", sink.Key, true}, {"token_file", sink.TokenFile, true}} {
			if file.path != "" && readable(place+"."+file.key, file.path, fault) && file.secret {
				private(place+"."+file.key, file.path, fault)
			}
		}
		c.Audit.Sinks = append(c.Audit.Sinks, sink)
	}
}

// maxClockSkew is the most that another's clock may be wrong by.
const maxClockSkew = 5 * time.Minute

// checkOIDC is nil for a file that does not speak of a provider.
func checkOIDC(f openID, at func(string) string, fault report) *oidc.Config {
	if reflect.ValueOf(f).IsZero() {
		return nil
	}
	c := &oidc.Config{
		Issuer: f.Issuer, Audience: f.Audience, ClockSkew: f.ClockSkew.or(DefaultClockSkew), Algorithms: f.Algorithms,
		Claims: oidc.Claims{
			Operator: or(f.Claims.Operator, "sub"), Name: or(f.Claims.Name, "name"), Roles: f.Claims.Roles, Groups: f.Claims.Groups,
			Unit: f.Claims.Unit, Email: or(f.Claims.Email, "email"), EmployeeNumber: f.Claims.EmployeeNumber,
			RoleOf: f.Roles, AMR: f.MFA.AMR, ACR: f.MFA.ACR,
		},
	}
	if f.Algorithms == nil {
		c.Algorithms = oidc.DefaultAlgorithms()
	}
	if c.ClockSkew < 0 || c.ClockSkew > maxClockSkew || f.ClockSkew.none {
		fault("oidc.clock_skew", "must be from 0s to %s", maxClockSkew)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Roles)) {
		switch role := f.Roles[name]; {
		case role == identity.Backend:
			fault("oidc.roles", "%q is given the role backend, which is a client's and no person's; name the client by its token_subject", name)
		case !slices.Contains(identity.Roles(), role):
			fault("oidc.roles", "%q is given %q, which is not one of %s", name, role, card.Join(identity.Roles()))
		}
	}
	if len(f.Roles) != 0 && f.Claims.Roles == "" {
		fault("oidc.claims.roles", "say which claim holds the values that roles maps")
	}
	if f.CA != "" && readable("oidc.ca", at(f.CA), fault) {
		var err error
		if c.CA, err = os.ReadFile(at(f.CA)); err != nil {
			fault("oidc.ca", "%v", err)
		}
	}
	for _, wrong := range c.Faults() {
		fault("oidc."+wrong.Field, "%s", wrong.Detail)
	}
	return c
}

// checkNotify is nil for a file that has nobody told.
func checkNotify(f *notifications, c *Config, at func(string) string, fault report) *notify.Settings {
	if f == nil {
		return nil
	}
	events := func(own []notify.Event) []notify.Event {
		switch {
		case own != nil:
			return own
		case f.Events != nil:
			return f.Events
		}
		return []notify.Event{notify.Answered}
	}
	s := &notify.Settings{
		Language: or(f.Language, DefaultLanguage), Templates: at(f.Templates), Contact: f.Contact, GiveUp: f.GiveUp.or(DefaultGiveUp),
	}
	files := map[string]string{} // by place
	secret := func(place string) bool {
		return strings.HasSuffix(place, ".key") || strings.HasSuffix(place, "_file")
	}
	if e := f.Email; e != nil {
		s.Mail = &notify.Mail{
			Server: e.Server, Security: or(e.Security, notify.StartTLS), CA: at(e.CA), Username: e.Username, PasswordFile: at(e.PasswordFile),
			From: e.From, Holder: e.Holder == nil || *e.Holder, Desk: e.Desk, Events: events(e.Events), Timeout: e.Timeout.or(DefaultNotifyTimeout),
		}
		files["notify.email.ca"], files["notify.email.password_file"] = s.Mail.CA, s.Mail.PasswordFile
	}
	for i, w := range f.Webhooks {
		hook := notify.Webhook{
			Name: w.Name, URL: w.URL, CA: at(w.CA), Certificate: at(w.Certificate), Key: at(w.Key), SecretFile: at(w.SecretFile),
			Events: events(w.Events), Timeout: w.Timeout.or(DefaultNotifyTimeout),
		}
		s.Webhooks = append(s.Webhooks, hook)
		place := fmt.Sprintf("notify.webhooks[%d].", i)
		files[place+"ca"], files[place+"certificate"] = hook.CA, hook.Certificate
		files[place+"key"], files[place+"secret_file"] = hook.Key, hook.SecretFile
	}
	for _, place := range slices.Sorted(maps.Keys(files)) {
		if path := files[place]; path != "" && readable(place, path, fault) && secret(place) {
			private(place, path, fault)
		}
	}
	for _, wrong := range s.Faults() {
		fault(strings.TrimSuffix("notify."+wrong.Field, "."), "%s", wrong.Detail)
	}
	if slices.ContainsFunc(c.Audit.Sinks, func(s stream.Sink) bool { return s.Name == notify.Name }) {
		fault("audit.sinks", "no sink can be called %s while notify is there, whose place in the log goes by that name", notify.Name)
	}
	return s
}

// checkSelfService is empty for a file that lets no holders unblock their own cards.
func checkSelfService(c *Config, f file, fault report) identity.Known {
	if f.SelfService == nil {
		return ""
	}
	known := cmp.Or(f.SelfService.Holders, identity.ByEmployeeNumber)
	switch {
	case !slices.Contains(identity.Knowns(), known):
		fault("self_service.holders", "%q is not one of %s", known, card.Join(identity.Knowns()))
	case c.Console == nil:
		fault("self_service", "holders sign in to the console with a second factor: fill in oidc.console")
	default:
		if known == identity.ByEmployeeNumber && f.OIDC.Claims.EmployeeNumber == "" {
			fault("oidc.claims.employee_number", "say which claim holds the employee number, by which self_service knows holders")
		}
		if len(f.OIDC.MFA.AMR)+len(f.OIDC.MFA.ACR) == 0 {
			fault("oidc.mfa", "say by which amr or acr a second factor is known, which self_service takes")
		}
	}
	return known
}

// checkConsole is nil for a file that lets nobody sign in to the console.
func checkConsole(f openID, at func(string) string, fault report) *Console {
	if reflect.ValueOf(f.Console).IsZero() {
		return nil
	}
	c := &Console{
		ClientID: f.Console.ClientID, SecretFile: at(f.Console.ClientSecret), RedirectURL: f.Console.RedirectURL, Scopes: f.Console.Scopes,
		Idle: f.Console.Idle.or(DefaultIdle), Lifetime: f.Console.Lifetime.or(DefaultStay),
	}
	if c.Scopes == nil {
		c.Scopes = []string{"openid", "profile", "email"}
	}
	lines("oidc.console.client_id", true, fault, c.ClientID)
	lines("oidc.console.scopes", true, fault, c.Scopes...)
	if !slices.Contains(c.Scopes, "openid") {
		fault("oidc.console.scopes", "must have openid, or there is no ID token")
	}
	if c.ClientID != "" && c.ClientID == f.Audience {
		fault("oidc.console.client_id", "must be another than audience, or the console's tokens would do for the API")
	}
	if c.SecretFile != "" && readable("oidc.console.client_secret_file", c.SecretFile, fault) {
		private("oidc.console.client_secret_file", c.SecretFile, fault)
		if secret, err := c.Secret(); err != nil || secret == "" {
			fault("oidc.console.client_secret_file", "%s is empty", c.SecretFile)
		}
	}
	if u, err := url.Parse(c.RedirectURL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != callbackPath || u.RawQuery != "" || u.Fragment != "" {
		fault("oidc.console.redirect_url", "%q is not https://HOST%s", c.RedirectURL, callbackPath)
	}
	if c.Idle < time.Minute || c.Idle > c.Lifetime || f.Console.Idle.none {
		fault("oidc.console.idle", "must be from 1m to oidc.console.lifetime")
	}
	if c.Lifetime < time.Minute || c.Lifetime > maxStay || f.Console.Lifetime.none {
		fault("oidc.console.lifetime", "must be from 1m to %s", maxStay)
	}
	return c
}

func checkOperators(list []operator, fault report) []identity.Person {
	var operators []identity.Person
	seen := make(map[string]bool)
	for i, o := range list {
		place := fmt.Sprintf("operators[%d]", i)
		once(seen, place+".id", o.ID, fault)
		lines(place+".name", false, fault, o.Name)
		lines(place+".unit", false, fault, o.Unit)
		lines(place+".roles", true, fault, o.Roles...)
		lines(place+".groups", true, fault, o.Groups...)
		operators = append(operators, identity.Person{ID: o.ID, Name: or(o.Name, o.ID), Roles: roles(o.Roles), Groups: o.Groups, Unit: o.Unit})
	}
	return operators
}

func roles(names []string) []identity.Role {
	var roles []identity.Role
	for _, n := range names {
		roles = append(roles, identity.Role(n))
	}
	return roles
}

func checkClients(list []client, c *Config, fault report) []identity.Client {
	if len(list) == 0 {
		fault("clients", "name at least one, or nobody can call")
	}
	var clients []identity.Client
	names, certificates := make(map[string]bool), make(map[string]bool)
	for i, l := range list {
		place := fmt.Sprintf("clients[%d]", i)
		once(names, place+".name", l.Name, fault)
		if strings.HasPrefix(l.Name, identity.PersonPrefix) {
			fault(place+".name", "must not begin with %s, as the names of people do who call with a token", identity.PersonPrefix)
		}
		given := slices.DeleteFunc([]string{l.Subject, l.SAN, l.TokenSubject}, func(s string) bool { return s == "" })
		switch {
		case len(given) != 1:
			fault(place, "say one of subject, san and token_subject, and no more")
		case l.TokenSubject != "":
			once(certificates, place+".token_subject", l.TokenSubject, fault)
			if c.OIDC == nil {
				fault(place+".token_subject", "there is no provider whose tokens are taken: fill in oidc")
			}
			if l.Operator != "" {
				fault(place+".operator", "is for certificates; a person's own token needs no client")
			}
		case l.Subject != "":
			once(certificates, place+".subject", l.Subject, fault)
			if !strings.Contains(l.Subject, "=") || strings.Contains(strings.ReplaceAll(l.Subject, `\,`, ""), ", ") {
				fault(place+".subject", "%q is not as RFC 2253 writes it, such as CN=identity-manager,O=Example without spaces between its parts", l.Subject)
			}
		default:
			once(certificates, place+".san", l.SAN, fault)
			if kind, value, ok := strings.Cut(l.SAN, ":"); !ok || value == "" || !slices.Contains([]string{"dns", "uri", "email"}, kind) {
				fault(place+".san", "%q does not begin with dns:, uri: or email:", l.SAN)
			}
		}
		if len(l.Roles) == 0 {
			fault(place+".roles", "name at least one of %s", card.Join(identity.Roles()))
		}
		for _, role := range l.Roles {
			if !slices.Contains(identity.Roles(), role) {
				fault(place+".roles", "%q is not one of %s", role, card.Join(identity.Roles()))
			}
		}
		if l.Operator != "" && l.NamesOperators {
			fault(place, "a client is an operator or names operators, not both")
		}
		if i := slices.IndexFunc(c.Operators, func(o identity.Person) bool { return l.Operator != "" && o.ID == l.Operator }); i >= 0 &&
			!slices.ContainsFunc(l.Roles, func(r identity.Role) bool { return slices.Contains(c.Operators[i].Roles, r) }) {
			fault(place+".roles", "operator %s has none of these roles, and a certificate gives nobody more than he has", l.Operator)
		}
		if c.OIDC != nil && l.Operator == "" && slices.Contains(l.Roles, identity.SecurityOfficer) {
			fault(place+".operator", "say whose certificate this is: with oidc, an officer who has a token too would count as two")
		}
		clients = append(clients, identity.Client{
			Name: l.Name, Subject: l.Subject, SAN: l.SAN, TokenSubject: l.TokenSubject, Roles: l.Roles, Operator: l.Operator, NamesOperators: l.NamesOperators,
		})
	}
	return clients
}

func checkProfiles(list []profile, fault report) map[string]card.Profile {
	if len(list) == 0 {
		fault("profiles", "describe at least one card profile")
	}
	profiles := make(map[string]card.Profile, len(list))
	seen := make(map[string]bool)
	for i, l := range list {
		place := fmt.Sprintf("profiles[%d]", i)
		if l.ID != "" {
			place = fmt.Sprintf("profiles[%d] (%s)", i, l.ID)
			once(seen, place+".id", l.ID, fault)
		}
		p := card.Profile{
			ID: l.ID, Name: or(l.Name, l.ID),
			Scheme: l.Scheme, MasterKey: l.MasterKey, MasterKeyVersion: l.MasterKeyVersion.Or(1),
			Counter: card.Counter{Bits: l.CounterBits.Or(0), After: l.CounterAfter}, Wrapping: l.Wrapping,
		}
		faults, ok := answering(&p, l)
		for _, f := range faults {
			fault(place+"."+f.Field, "%s", f.Detail)
		}
		if !ok { // the family's cards cannot be answered: the rest says nothing
			continue
		}
		number := l.KeyNumber.Or(1)
		if number < 0 || number > 255 {
			fault(place+".key_number", "must be from 0 to 255")
		}
		p.KeyNumber = byte(number) //nolint:gosec // reported above where it does not fit
		var unread error
		if l.Input != "" {
			if p.Input, unread = card.ParseTemplate(l.Input); unread != nil {
				fault(place+".input", "%v", unread)
			}
		}
		for _, f := range p.Faults() {
			said := slices.ContainsFunc(faults, func(said card.Fault) bool { return said.Field == f.Field })
			if said || f.Field == "input" && unread != nil {
				continue // it would be said twice, or be said to be missing
			}
			fault(place+"."+f.Field, "%s", f.Detail)
		}
		profiles[p.ID] = p
	}
	return profiles
}

// answering fills in how the profile's cards are answered, which its family may
// say in its place. It is not ok where the family leaves nothing to go on with.
func answering(p *card.Profile, l profile) (faults []card.Fault, ok bool) {
	p.Algorithm, p.CardKeyType, p.Retry = l.ResponseAlgorithm, l.CardKeyType, l.WrongResponses.limit
	p.ChallengeLen = l.ChallengeLength.Or(0)
	if l.Family != "" {
		f, err := family.Find(l.Family)
		if err != nil {
			return []card.Fault{{Field: "family", Detail: err.Error()}}, false
		}
		faults = f.Complete(p, family.Own{ChallengeLength: l.ChallengeLength.Given(), Retry: l.WrongResponses.given})
		if f.Unblock == family.PUKOnly {
			return faults, false
		}
	}
	if p.Algorithm == "" {
		p.Algorithm = card.AlgorithmFor(p.CardKeyType)
	}
	if p.ChallengeLen == 0 && !l.ChallengeLength.Given() {
		p.ChallengeLen = p.Algorithm.Block()
	}
	return faults, true
}

// once reports an ID that is no line of text or was there before.
func once(seen map[string]bool, place, id string, fault report) {
	if wrong := card.TextFault(id, card.MaxText, true); wrong != "" {
		fault(place, "%s", wrong)
	} else if seen[id] {
		fault(place, "%q is there twice", id)
	}
	seen[id] = true
}

// lines reports values that are no lines of text.
func lines(place string, required bool, fault report, values ...string) {
	for _, v := range values {
		if wrong := card.TextFault(v, card.MaxText, required); wrong != "" {
			fault(place, "%q %s", v, wrong)
		}
	}
}

// readable reports a file that is not named or cannot be read.
func readable(place, path string, fault report) bool {
	if path == "" {
		fault(place, "is required")
		return false
	}
	// Only files are opened: whoever writes into a pipe does so once, and waits.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		fault(place, "%v", err)
	}
	return err == nil
}

// private reports a secret file that others than its owner may read.
func private(place, path string, fault report) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		fault(place, "%s may be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
