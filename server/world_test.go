package server

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/custody"
	"latchkey/hsm"
	"latchkey/identity"
	"latchkey/identity/people"
	"latchkey/policy"
	"latchkey/rulebook"
	"latchkey/server/api"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/throwawayca"
	"latchkey/store"
	"latchkey/unblock"
)

// masterKey is an AES-256 test master key. Its bytes are known here so that the
// tests can be the card.
var masterKey = bytes.Repeat([]byte{0x4C, 0x4B}, 16)

// world is a server with everything real around it: a SoftHSM token, a SQLite
// database, the built-in policies, TLS.
type world struct {
	t        *testing.T
	contract *contract
	token    *hsm.Token
	store    *store.Store
	database string // the store's file
	ca       *throwawayca.Authority
	url      string
	clock    *clock
	logs     *observer.ObservedLogs
	server   *Server
	book     *rulebook.Rulebook

	mu      sync.Mutex
	clients map[string]*http.Client
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Profiles and operators of the world.
type (
	profiles  map[string]card.Profile
	operators map[string]policy.Operator
)

func (p profiles) Profile(id string) (card.Profile, error) {
	if found, ok := p[id]; ok {
		return found, nil
	}
	return card.Profile{}, card.ErrNotFound
}

func (o operators) Operator(_ context.Context, id string) (policy.Operator, error) {
	if found, ok := o[id]; ok {
		return found, nil
	}
	return policy.Operator{}, card.ErrNotFound
}

func worldProfiles() profiles {
	base := card.Profile{
		Scheme: card.LatchkeyV1, MasterKey: "cards", MasterKeyVersion: 1, KeyNumber: 1, Retry: card.RetryUnlimited,
		CardKeyType: card.TDES3, Algorithm: card.TDESECB, ChallengeLen: 8,
	}
	list := profiles{}
	for id, change := range map[string]func(*card.Profile){
		"gids":    func(*card.Profile) {},
		"aes":     func(p *card.Profile) { p.CardKeyType, p.Algorithm, p.ChallengeLen = card.AES256, card.AESECB, 16 },
		"mortal":  func(p *card.Profile) { p.Retry = card.RetryUnknown },
		"kdd":     func(p *card.Profile) { p.Scheme, p.CardKeyType = card.VISA2, card.TDES2 },
		"wrapped": func(p *card.Profile) { p.Scheme, p.MasterKey, p.Wrapping = card.Wrapped, "wrapping", card.KeyWrap },
		"kdf3": func(p *card.Profile) {
			p.Scheme, p.MasterKey, p.CardKeyType, p.Algorithm, p.ChallengeLen = card.KDF3, "kdf3", card.AES128, card.AESECB, 16
		},
		"counter": func(p *card.Profile) {
			p.Scheme, p.MasterKey, p.CardKeyType, p.Algorithm, p.ChallengeLen = card.SP800108, "counter", card.AES128, card.AESECB, 16
			p.Counter = card.Counter{Bits: 32, After: true}
			p.Input, _ = card.ParseTemplate("cuid") // a template without a fault
		},
		"keyless":  func(p *card.Profile) { p.MasterKey = "not-in-the-token" },
		"version2": func(p *card.Profile) { p.MasterKeyVersion = 2 },
	} {
		p := base
		p.ID, p.Name = id, id
		change(&p)
		list[id] = p
	}
	return list
}

func worldOperators() operators {
	return operators{
		"anna": {ID: "anna", Name: "Anna", Roles: []identity.Role{identity.Operator}},
		"omar": {ID: "omar", Name: "Omar", Roles: []identity.Role{identity.Operator}},
		"sven": {ID: "sven", Name: "Sven", Roles: []identity.Role{identity.Supervisor}},
		"u417": {ID: "u417", Name: "Astrid Berg", Roles: []identity.Role{identity.Supervisor}}, // holds cards
	}
}

func worldClients() []identity.Client {
	return []identity.Client{
		{Name: "backend", Subject: "CN=backend,O=Example", Roles: []identity.Role{identity.Backend}, NamesOperators: true},
		{Name: "mute", Subject: "CN=mute,O=Example", Roles: []identity.Role{identity.Backend}},
		{Name: "anna", SAN: "email:anna@example.org", Roles: []identity.Role{identity.Operator}, Operator: "anna"},
		{Name: "sven", Subject: "CN=sven,O=Example", Roles: []identity.Role{identity.Supervisor}, Operator: "sven"},
		{Name: "admin", SAN: "uri:spiffe://example/admin", Roles: []identity.Role{identity.Administrator}},
		{Name: "olga", Subject: "CN=olga,O=Example", Roles: []identity.Role{identity.SecurityOfficer}},
		{Name: "otto", Subject: "CN=otto,O=Example", Roles: []identity.Role{identity.SecurityOfficer}},
		{Name: "auditor", SAN: "dns:auditor.example.org", Roles: []identity.Role{identity.Auditor}},
	}
}

// newWorld starts a server; changes are made to its configuration first.
func newWorld(t *testing.T, changes ...func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, contract: loadContract(t), clock: &clock{now: time.Date(2026, 5, 4, 8, 12, 0, 0, time.UTC)},
		clients: map[string]*http.Client{},
	}
	fixture := softhsmtest.New(t)
	w.token = fixture.Open(t)
	key := hsm.NewKey{Label: "cards", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}
	if _, err := w.token.Import(t.Context(), key, masterKey); err != nil {
		t.Fatal(err)
	}
	var err error
	w.database = filepath.Join(t.TempDir(), "latchkey.db")
	if w.store, err = store.Open(t.Context(), w.database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.book, err = rulebook.Open(t.Context(), rulebook.Config{
		Ledger: w.store, Approvals: 1, Lifetime: 24 * time.Hour, KeepDecisions: 100, Logger: zap.NewNop(), Now: w.clock.Now, NewID: uuid.NewString,
	}); err != nil {
		t.Fatal(err)
	}
	office, err := custody.New(custody.Config{
		Token: w.token, Ledger: w.store, Cards: w.store, Profiles: worldProfiles(),
		Approvals: 1, Lifetime: 24 * time.Hour, Now: w.clock.Now, NewID: uuid.NewString,
	})
	if err != nil {
		t.Fatal(err)
	}
	known := people.Registry{Records: w.store, Seeds: worldOperators()}
	desk, err := unblock.New(unblock.Config{
		Cards: w.store, Profiles: worldProfiles(), Policy: w.book, KeepDecisions: true, Keys: office, HSM: w.token, Ledger: w.store,
		Operators:  known,
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		MaxAge: 7 * 24 * time.Hour, Lifetime: 15 * time.Minute, ApprovalLifetime: 10 * time.Minute,
		Now: w.clock.Now, NewID: uuid.NewString,
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.ca, err = throwawayca.New("Test CA"); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	w.logs = logs
	certificate, err := w.ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{
		Desk: desk, Directory: w.store, Custody: office, Rulebook: w.book, Audit: &auditWorld{Log: w.store.Log(), Store: w.store}, Profiles: worldProfiles(), Operators: known, Records: w.store, Clients: worldClients(),
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate.TLS()},
			ClientCAs: w.ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
		},
		Ready:  map[string]func(context.Context) error{"hsm": w.token.Check, "store": w.store.Check},
		Rate:   Rate{PerSecond: 1000, Burst: 100_000}, // the clock stands still, so none comes back
		Logger: zap.New(core), Version: "0.0-test", Now: w.clock.Now,
	}
	for _, change := range changes {
		change(&config)
	}
	if w.server, err = New(config); err != nil {
		t.Fatal(err)
	}
	w.serve()
	return w
}

// serve answers on a free port until the test ends.
func (w *world) serve() {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.url = "https://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	server := w.server // the test may make itself another before this one runs
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	w.t.Cleanup(func() {
		for _, c := range w.clients {
			c.CloseIdleConnections()
		}
		stop()
		if err := <-ended; err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
}

// remake makes the world's server anew, with another configuration.
func (w *world) remake(change func(*Config)) {
	w.t.Helper()
	config := w.server.Config
	change(&config)
	var err error
	if w.server, err = New(config); err != nil {
		w.t.Fatal(err)
	}
}

// restart makes and starts another server in the place of the world's.
func (w *world) restart(change func(*Config)) {
	w.t.Helper()
	w.remake(change)
	w.serve()
}

// hurry starts another server that waits less long for others.
func (w *world) hurry(change func(*times)) {
	w.t.Helper()
	w.remake(func(*Config) {})
	change(&w.server.times)
	w.serve()
}

// certificate issues the certificate of one of worldClients, or of a client that
// the server does not know.
func (w *world) certificate(name string) tls.Certificate {
	w.t.Helper()
	subject := pkix.Name{CommonName: name, Organization: []string{"Example"}}
	var names []string
	for _, c := range worldClients() {
		if c.Name == name && c.SAN != "" {
			names = []string{c.SAN}
		}
	}
	pair, err := w.ca.Client(subject, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	return pair.TLS()
}

// tlsConfig is for a connection as the client, without a certificate for "".
func (w *world) tlsConfig(client string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.ca.Pool()}
	if client != "" {
		config.Certificates = []tls.Certificate{w.certificate(client)}
	}
	return config
}

// as is an HTTP client with the client's certificate, none for "". All that goes
// through it is held against openapi.yaml.
func (w *world) as(client string) *http.Client {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.clients[client]; c != nil {
		return c
	}
	plain := &http.Transport{TLSClientConfig: w.tlsConfig(client), ForceAttemptHTTP2: true}
	w.clients[client] = &http.Client{
		Transport: w.contract.through(w.t, plain), Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w.clients[client]
}

// answer is an answer that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem reads the answer's problem document.
func (a answer) problem(t testing.TB) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("not a problem document: %v\n%s", err, a.body)
	}
	return p
}

// call sends a request, with a JSON body unless it is nil. A body that is text is
// sent as it is.
func (w *world) call(client, method, path string, body any, headers ...string) answer {
	w.t.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			w.t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, bytes.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", api.JSON)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := w.as(client).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	received, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, received}
}

// must is call for what has to go well; the answer is read into into, unless nil.
func (w *world) must(status int, into any, client, method, path string, body any) {
	w.t.Helper()
	a := w.call(client, method, path, body)
	if a.status != status {
		w.t.Fatalf("%s %s: %d, want %d\n%s", method, path, a.status, status, a.body)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		w.t.Fatalf("%s %s: %v\n%s", method, path, err, a.body)
	}
}

// aCard is a card body that has no faults once the type is registered.
func aCard(kind string) api.Card {
	return api.Card{
		Type: kind, State: "blocked",
		Holder: api.Holder{ID: "u417", Name: "Astrid Berg", Email: "astrid@example.org", State: "active"},
	}
}

// stockStore does what little of stock can be done without the server: card types
// and cards that can be answered for.
func (w *world) stockStore() {
	w.t.Helper()
	done := func(_ store.Result, err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	for serial, kind := range map[string]string{"GOOD": "gids", "NOKEY": "keyless"} {
		t := card.Type{ID: kind, Name: kind, Profile: kind, UnblockRemote: map[string]bool{"blocked": true}}
		done(w.store.PutCardType(w.t.Context(), t, audit.Entry{Action: audit.CardTypePut, Outcome: audit.Permit}))
		c, _ := cardOf(aCard(kind))
		c.Serial, c.MasterKeyVersion, c.SyncedAt = serial, 1, w.clock.Now()
		done(w.store.PutCard(w.t.Context(), c, audit.Entry{Action: audit.CardPut, Outcome: audit.Permit}))
	}
}

// stock registers a card type for each profile, on for cards that are active or
// blocked, and cards for each reason to refuse one.
func (w *world) stock() {
	w.t.Helper()
	on := map[string]bool{"active": true, "blocked": true}
	for id := range worldProfiles() {
		w.must(http.StatusCreated, nil, "admin", "PUT", "/v1/card-types/"+id, api.CardType{Name: id, Profile: id, UnblockRemote: on})
	}
	w.must(http.StatusCreated, nil, "admin", "PUT", "/v1/card-types/off", api.CardType{Name: "off", Profile: "gids", UnblockRemote: map[string]bool{}})
	// A profile that was in the configuration once.
	gone := card.Type{ID: "gone", Name: "gone", Profile: "gone", UnblockRemote: on}
	if _, err := w.store.PutCardType(w.t.Context(), gone, audit.Entry{Action: audit.CardTypePut, Outcome: audit.Permit}); err != nil {
		w.t.Fatal(err)
	}
	for serial, change := range map[string]func(*api.Card){
		"GOOD": func(*api.Card) {}, "AES": func(c *api.Card) { c.Type = "aes" }, "MORTAL": func(c *api.Card) { c.Type = "mortal" },
		"REVOKED":    func(c *api.Card) { c.State = "revoked" },
		"LEFT":       func(c *api.Card) { c.Holder.State = "left" },
		"OFF":        func(c *api.Card) { c.Type = "off" },
		"NOKDD":      func(c *api.Card) { c.Type = "kdd" },
		"PRIVILEGED": func(c *api.Card) { c.Holder.Groups = []string{"privileged"} },
		"NOKEY":      func(c *api.Card) { c.Type = "keyless" },
		"GONE":       func(c *api.Card) { c.Type, c.MasterKeyVersion = "gone", 1 },
	} {
		c := aCard("gids")
		change(&c)
		w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/"+serial, c)
	}
	stale := aCard("gids")
	c, faults := cardOf(stale)
	c.Serial, c.SyncedAt = "STALE", w.clock.Now().Add(-8*24*time.Hour)
	if len(faults) != 0 {
		w.t.Fatal(faults)
	}
	if _, err := w.store.PutCard(w.t.Context(), c, audit.Entry{Action: audit.CardPut, Outcome: audit.Permit}); err != nil {
		w.t.Fatal(err)
	}
}

// adminKey computes a card admin key by latchkey-v1, by other means than the HSM:
// AES-256-CBC, zero IV, over SHA-256 of scheme, key type and serial number.
func adminKey(t testing.TB, kind card.KeyType, serial string) []byte {
	t.Helper()
	sum := sha256.Sum256([]byte("latchkey-v1\x00" + string(kind) + "\x00" + serial))
	block, err := aes.NewCipher(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(sum[:], sum[:])
	return sum[:kind.Len()]
}

// state is everything that a refused request must leave as it is, as text: cards,
// types, counted attempts, and how many things the audit log says were done.
func (w *world) state() string {
	w.t.Helper()
	ctx := w.t.Context()
	cards, _, err := w.store.FindCards(ctx, store.Query{Limit: store.MaxCards})
	if err != nil {
		w.t.Fatal(err)
	}
	types, err := w.store.CardTypes(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%+v\n", types)
	for _, c := range cards {
		n, err := w.unconfirmed(ctx, c.Serial)
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&text, "%+v, %d unconfirmed\n", c, n)
	}
	done := 0
	for _, e := range w.entries() {
		if e.Outcome == audit.Permit {
			done++
		}
	}
	fmt.Fprintf(&text, "%d done\n", done)
	return text.String()
}

// entries is the whole audit log.
func (w *world) entries() []audit.Entry {
	w.t.Helper()
	var all []audit.Entry
	for {
		page, err := w.store.Entries(w.t.Context(), int64(len(all))+1, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unconfirmed counts the responses given out for a card that none said worked.
func (w *world) unconfirmed(ctx context.Context, serial string) (int, error) {
	standing, err := w.store.Standing(ctx, serial)
	return standing.Unconfirmed, err
}
