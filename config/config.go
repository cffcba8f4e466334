// Package config reads the one configuration file of `latchkey serve` and lists
// every fault in it at once. docs/configuration.md and the annotated
// docs/latchkey.example.yaml describe the file; a test keeps the example valid.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"latchkey/audit/stream"
	"latchkey/card"
	"latchkey/config/strictyaml"
	"latchkey/hsm"
	"latchkey/identity"
	"latchkey/identity/oidc"
	"latchkey/notify"
)

// Config is a configuration file without faults, its defaults filled in and its
// relative paths resolved against the file's folder.
type Config struct {
	File   string // that this was read from
	Listen string
	TLS    TLS
	HSM    HSM
	Store  Store
	// Policy is the folder of *.cedar files that govern, empty where policies are in
	// versions in the store.
	Policy string
	// KeepDecisions is how many of the last decisions of policies are kept.
	KeepDecisions int
	// Zone is the time zone whose hours policies speak of.
	Zone    *time.Location
	Cards   Cards
	Unblock Unblock
	// Holders says by what people are known as holders, who unblock their own cards
	// themselves; where it is empty nobody does.
	Holders identity.Known
	Limits  Limits
	Custody Custody
	Observe Observe
	Audit   Audit
	Notify  *notify.Settings // nil where nobody is told
	Log     string           // level

	OIDC      *oidc.Config // nil where no tokens are taken; Now and Report are not set
	Console   *Console     // nil where certificates alone let operators in
	Clients   []identity.Client
	Operators []identity.Person
	Profiles  map[string]card.Profile
}

// TLS is the server's own certificate and the CA of its clients, as PEM files.
type TLS struct {
	Certificate string
	// Key is a file, HSMKey the label of a key pair in the HSM's token. One is set.
	Key, HSMKey string
	ClientCA    string
	ClientCRL   []string // revocation lists of these CAs, PEM or DER; none are not checked
	// TLS12 lets clients in that do not speak TLS 1.3.
	TLS12 bool
}

// Store says where the data is kept: in an SQLite file, or in a PostgreSQL database
// that several nodes can share. One of Path and URL is set.
type Store struct {
	Path string
	// URL is PostgreSQL's connection string, without a password.
	URL string
	// PasswordFile holds the password, where one is needed.
	PasswordFile string
}

// Where is the store's path or whole connection string, which may hold a password.
func (s Store) Where() (string, error) {
	if s.URL == "" || s.PasswordFile == "" {
		return cmp.Or(s.URL, s.Path), nil
	}
	password, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("store.postgres.password_file: %w", err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "", errors.New("store.postgres.url cannot be read")
	}
	u.User = url.UserPassword(u.User.Username(), strings.TrimRight(string(password), "\r\n"))
	return u.String(), nil
}

func (s Store) String() string { return cmp.Or(s.URL, s.Path) }

// HSM says which token to use.
type HSM struct {
	Module           string
	Token            hsm.Selector
	PIN              hsm.PINSource
	Sessions         int
	AllowExtractable []string
	// CallTimeout, KeepAlive and RecoverEvery are those of hsm.Config.
	CallTimeout, KeepAlive, RecoverEvery time.Duration
	// Fallbacks are more tokens with the same master keys, in the order in which
	// they are tried when this one cannot answer. They have no fallbacks.
	Fallbacks []HSM
}

// Limits says how often one client may call, how many requests of all clients may be
// in progress, and how often unblocks are decided on.
type Limits struct {
	PerSecond, Burst, InProgress                int
	PerOperator, PerHolder, PerCard, PerBackend Rate
}

// Rate is how many decisions may be made in each period; its zero value is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// Observe says what is shown of the server at work.
type Observe struct {
	// Listen is where metrics and profiles are: a loopback address with its port, or
	// "unix:" and a path; empty for nowhere.
	Listen  string
	Tracing Tracing
}

// Tracing says where spans go; without an Endpoint there are none.
type Tracing struct {
	Endpoint string  // URL of an OTLP receiver
	CA       string  // PEM file that its certificate is checked against, empty for the system's
	Sample   float64 // part of all requests, 0 to 1
}

// Cards says which states count as active and how old card data may be.
type Cards struct {
	MaxAge       time.Duration // 0 is no limit
	States       card.States
	HolderStates card.States
	Source       *CardSource // nil where card data is sent, not asked for
}

// CardSource is where cards are looked up when they are needed.
type CardSource struct {
	Name string // as card data and the audit log have it
	URL  string // of a card, with lookup.Placeholder in its path
	// CA, Certificate and Key are PEM files; the latter two are empty where a bearer
	// token, in TokenFile, is shown instead.
	CA, Certificate, Key string
	TokenFile            string
	Timeout, Fresh       time.Duration
}

// Unblock holds the times of the unblock process.
type Unblock struct {
	Lifetime         time.Duration // of a process that waits for its challenge
	ApprovalLifetime time.Duration // of one that waits for approval
}

// Custody says how master keys are kept.
type Custody struct {
	// Approvals is how many officers besides the proposer have to approve an act.
	Approvals int
	Lifetime  time.Duration // of a proposal
	// Strict has keys that are not in the ledger count as not yet active.
	Strict bool
}

// Audit says how the audit log is signed, kept and sent on.
type Audit struct {
	// Key is the label of the key pair in the token that signs checkpoints, empty
	// where none are signed.
	Key             string
	CheckpointEvery time.Duration
	CheckpointAfter int64         // entries
	CheckpointFile  string        // file or folder, empty for none
	Keep            time.Duration // how long entries keep their bodies, 0 for ever
	Sinks           []stream.Sink
}

// Console says how people sign in to the console with the OpenID provider.
type Console struct {
	ClientID       string
	SecretFile     string // empty for a public client
	RedirectURL    string // https://HOST/console/callback
	Scopes         []string
	Idle, Lifetime time.Duration
}

// Secret reads the client's secret, without the line end behind it.
func (c *Console) Secret() (string, error) {
	if c.SecretFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return "", fmt.Errorf("read client secret: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// Faults is every fault of a configuration file, each with its place.
type Faults = strictyaml.Faults

// Load reads and checks the file. A file with faults gives *Faults, which lists
// all of them: unknown keys and wrong types with their line, values that do not
// fit, and files named in it that cannot be used.
func Load(path string) (*Config, error) {
	return load(path, func(string) bool { return true })
}

// Again reads the file again, for the clients and operators in it; the rest is in
// use. Any fault counts, but in hsm: where the PIN was read from an environment
// variable, that is gone.
func (c *Config) Again() (*Config, error) {
	return load(c.File, func(place string) bool { return !ofHSM(place) })
}

// ofHSM tells the places of the hsm section.
func ofHSM(place string) bool { return place == "hsm" || strings.HasPrefix(place, "hsm.") }

// LoadHSM reads the file for its hsm section alone. Faults elsewhere are passed
// over: keys are made before there are certificates.
func LoadHSM(path string) (HSM, error) {
	c, err := load(path, ofHSM)
	if err != nil {
		return HSM{}, err
	}
	return c.HSM, nil
}

// LoadStore reads the file for its store section alone.
func LoadStore(path string) (Store, error) {
	c, err := load(path, func(place string) bool { return place == "store" || strings.HasPrefix(place, "store.") })
	if err != nil {
		return Store{}, err
	}
	return c.Store, nil
}

// LoadNotify reads the file for whom it has notified, nil for nobody, and the time
// zone of what they read. Faults elsewhere are passed over.
func LoadNotify(path string) (*notify.Settings, *time.Location, error) {
	c, err := load(path, func(place string) bool { return place == "notify" || strings.HasPrefix(place, "notify.") })
	if err != nil {
		return nil, nil, err
	}
	return c.Notify, c.Zone, nil
}

// load reads the file and lists the faults in the places that matter; text that
// cannot be read matters wherever it is.
func load(path string, matters func(place string) bool) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, text, matters)
}

// parse is load for the text of the file at path.
func parse(path string, text []byte, matters func(place string) bool) (*Config, error) {
	f, faults, ok := strictyaml.Decode[file](text)
	if !ok {
		return nil, &Faults{File: path, Faults: faults}
	}
	c := check(f, filepath.Dir(path), func(place, format string, args ...any) {
		if matters(place) {
			faults = append(faults, place+": "+fmt.Sprintf(format, args...))
		}
	})
	if len(faults) != 0 {
		return nil, &Faults{File: path, Faults: faults}
	}
	c.File = path
	return c, nil
}

// Profile finds a configured card profile, or gives card.ErrNotFound.
func (c *Config) Profile(id string) (card.Profile, error) {
	p, ok := c.Profiles[id]
	if !ok {
		return card.Profile{}, fmt.Errorf("profile %s: %w", id, card.ErrNotFound)
	}
	return p, nil
}

// Operator finds a configured operator, or gives card.ErrNotFound.
func (c *Config) Operator(_ context.Context, id string) (identity.Person, error) {
	for _, o := range c.Operators {
		if o.ID == id {
			return o, nil
		}
	}
	return identity.Person{}, fmt.Errorf("operator %s: %w", id, card.ErrNotFound)
}
