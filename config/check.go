package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"latchkey/card"
	"latchkey/hsm"
	"latchkey/policy"
)

// Defaults of what the file may leave out.
const (
	DefaultListen   = "127.0.0.1:8443"
	DefaultStore    = "latchkey.db"
	DefaultLifetime = 15 * time.Minute
	DefaultMaxAge   = 7 * 24 * time.Hour
	maxSessions     = 1024
)

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
		TLS:    TLS{at(f.TLS.Certificate), at(f.TLS.Key), at(f.TLS.ClientCA)},
		HSM: HSM{
			Module: at(f.HSM.Module), Token: hsm.Selector{Label: f.HSM.Token.Label, Serial: f.HSM.Token.Serial},
			PIN:      hsm.PINSource{File: at(f.HSM.PIN.File), Env: f.HSM.PIN.Env, FD: f.HSM.PIN.FD},
			Sessions: hsm.DefaultSessions, AllowExtractable: f.HSM.AllowExtractable,
		},
		Store: at(or(f.Store.Path, DefaultStore)), Policy: at(f.Policy.Directory),
		Cards:   Cards{DefaultMaxAge, card.DefaultCardStates(), card.DefaultHolderStates()},
		Unblock: Unblock{DefaultLifetime},
		Log:     or(f.Log.Level, "info"),
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		fault("listen", "%q is not host:port", c.Listen)
	}
	if _, err := zapcore.ParseLevel(c.Log); err != nil {
		fault("log.level", "%q is not debug, info, warn or error", c.Log)
	}
	checkTLS(c.TLS, fault)
	checkHSM(c, f, fault)
	checkStore(c, fault)
	checkCards(c, f, fault)
	c.Operators = checkOperators(f.Operators, fault)
	c.Clients = checkClients(f.Clients, c.Operators, fault)
	c.Profiles = checkProfiles(f.Profiles, fault)
	return c
}

func checkTLS(t TLS, fault report) {
	complete := true
	for _, file := range []struct{ place, path string }{
		{"tls.certificate", t.Certificate}, {"tls.key", t.Key}, {"tls.client_ca", t.ClientCA},
	} {
		complete = readable(file.place, file.path, fault) && complete
	}
	if !complete {
		return
	}
	if _, err := tls.LoadX509KeyPair(t.Certificate, t.Key); err != nil {
		fault("tls.certificate", "certificate and key do not go together: %v", err)
	}
	if _, err := ReadCertificates(t.ClientCA); err != nil {
		fault("tls.client_ca", "%v", err)
	}
	private("tls.key", t.Key, fault)
}

// ReadCertificates reads a PEM file of CA certificates.
func ReadCertificates(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA certificates: %s holds none in PEM form", path)
	}
	return pool, nil
}

func checkHSM(c *Config, f file, fault report) {
	readable("hsm.module", c.HSM.Module, fault)
	if c.HSM.Token == (hsm.Selector{}) {
		fault("hsm.token", "name the token by label, by serial, or by both")
	}
	if err := c.HSM.PIN.Faults(); err != nil {
		fault("hsm.pin", "%v", err)
	} else if c.HSM.PIN.File != "" && readable("hsm.pin.file", c.HSM.PIN.File, fault) {
		private("hsm.pin.file", c.HSM.PIN.File, fault)
	} else if _, set := os.LookupEnv(c.HSM.PIN.Env); c.HSM.PIN.Env != "" && !set {
		fault("hsm.pin.env", "the environment variable %s is not set", c.HSM.PIN.Env)
	}
	if f.HSM.Sessions != nil {
		c.HSM.Sessions = *f.HSM.Sessions
		if c.HSM.Sessions < 1 || c.HSM.Sessions > maxSessions {
			fault("hsm.sessions", "must be from 1 to %d", maxSessions)
		}
	}
}

func checkStore(c *Config, fault report) {
	if info, err := os.Stat(filepath.Dir(c.Store)); err != nil || !info.IsDir() {
		fault("store.path", "the folder %s is not there; make it first", filepath.Dir(c.Store))
	}
	if c.Policy == "" {
		return
	}
	if info, err := os.Stat(c.Policy); err != nil || !info.IsDir() {
		fault("policy.directory", "%s is not a folder", c.Policy)
		return
	}
	if _, err := policy.LoadDir(c.Policy); err != nil {
		fault("policy.directory", "%v", err)
	}
}

func checkCards(c *Config, f file, fault report) {
	if f.Cards.MaxAge != nil {
		c.Cards.MaxAge = time.Duration(*f.Cards.MaxAge)
		if c.Cards.MaxAge < 0 {
			fault("cards.max_age", "must be above zero, or none")
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
		if !slices.ContainsFunc(s.into.Names(), s.into.Active) {
			fault(s.place, "no state counts as active, so nothing could ever be unblocked")
		}
	}
	if f.Unblock.Lifetime != nil {
		c.Unblock.Lifetime = *f.Unblock.Lifetime
		if c.Unblock.Lifetime < time.Second || c.Unblock.Lifetime > 24*time.Hour {
			fault("unblock.lifetime", "must be from 1s to 24h")
		}
	}
}

func checkOperators(list []operator, fault report) []policy.Operator {
	var operators []policy.Operator
	seen := make(map[string]bool)
	for i, o := range list {
		place := fmt.Sprintf("operators[%d]", i)
		once(seen, place+".id", o.ID, fault)
		operators = append(operators, policy.Operator{ID: o.ID, Name: or(o.Name, o.ID), Roles: o.Roles, Groups: o.Groups, Unit: o.Unit})
	}
	return operators
}

func checkClients(list []client, operators []policy.Operator, fault report) []Client {
	if len(list) == 0 {
		fault("clients", "name at least one, or nobody can call")
	}
	var clients []Client
	names, certificates := make(map[string]bool), make(map[string]bool)
	for i, l := range list {
		place := fmt.Sprintf("clients[%d]", i)
		once(names, place+".name", l.Name, fault)
		switch {
		case (l.Subject == "") == (l.SAN == ""):
			fault(place, "say either subject or san, and not both")
		case l.Subject != "":
			once(certificates, place+".subject", l.Subject, fault)
		default:
			once(certificates, place+".san", l.SAN, fault)
			if kind, value, ok := strings.Cut(l.SAN, ":"); !ok || value == "" || !slices.Contains([]string{"dns", "uri", "email"}, kind) {
				fault(place+".san", "%q does not begin with dns:, uri: or email:", l.SAN)
			}
		}
		if len(l.Roles) == 0 {
			fault(place+".roles", "name at least one of %v", Roles())
		}
		for _, role := range l.Roles {
			if !slices.Contains(Roles(), role) {
				fault(place+".roles", "%q is not one of %v", role, Roles())
			}
		}
		if l.Operator != "" && l.NamesOperators {
			fault(place, "a client is an operator or names operators, not both")
		}
		if l.Operator != "" && !slices.ContainsFunc(operators, func(o policy.Operator) bool { return o.ID == l.Operator }) {
			fault(place+".operator", "%q is not one of operators", l.Operator)
		}
		clients = append(clients, Client(l))
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
			ID: l.ID, Name: or(l.Name, l.ID), Algorithm: l.ResponseAlgorithm, ChallengeLen: l.ChallengeLength,
			CardKeyType: l.CardKeyType, Scheme: l.Scheme, MasterKey: l.MasterKey, MasterKeyVersion: 1,
			KeyNumber: 1, Retry: card.RetryLimit(l.WrongResponses),
		}
		if p.Algorithm == "" {
			p.Algorithm = card.AlgorithmFor(p.CardKeyType)
		}
		if p.ChallengeLen == 0 {
			p.ChallengeLen = p.Algorithm.Block()
		}
		if l.MasterKeyVersion != nil {
			p.MasterKeyVersion = *l.MasterKeyVersion
		}
		if l.KeyNumber != nil {
			if *l.KeyNumber < 0 || *l.KeyNumber > 255 {
				fault(place+".key_number", "must be from 0 to 255")
			}
			p.KeyNumber = byte(*l.KeyNumber) //nolint:gosec // reported above where it does not fit
		}
		if l.Input != "" {
			var err error
			if p.Input, err = card.ParseTemplate(l.Input); err != nil {
				fault(place+".input", "%v", err)
				continue // the profile's own checks would only say that it is missing
			}
		}
		for _, f := range p.Faults() {
			fault(place+"."+f.Field, "%s", f.Detail)
		}
		profiles[p.ID] = p
	}
	return profiles
}

// once reports an ID that is missing or was there before.
func once(seen map[string]bool, place, id string, fault report) {
	switch {
	case strings.TrimSpace(id) == "":
		fault(place, "is required")
	case seen[id]:
		fault(place, "%q is there twice", id)
	}
	seen[id] = true
}

// readable reports a file that is not named or cannot be read.
func readable(place, path string, fault report) bool {
	if path == "" {
		fault(place, "is required")
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		fault(place, "%v", err)
		return false
	}
	_ = f.Close() // only opened to see that it can be
	return true
}

// private reports a secret file that others than its owner may read.
func private(place, path string, fault report) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		fault(place, "%s may be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
