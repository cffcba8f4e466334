package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/card"
	"latchkey/card/family"
	"latchkey/config"
	"latchkey/hsm"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/softhsm-test/throwawayca"
)

// minimal has what a file cannot do without.
const minimal = `
tls: {certificate: server.crt, key: server.key, client_ca: ca.crt}
hsm: {module: module.so, token: {label: latchkey}, pin: {file: pin}}
clients: [{name: idm, subject: "CN=idm,O=Example", roles: [backend], names_operators: true}]
profiles: [{id: gids, card_key_type: tdes3, scheme: latchkey-v1, master_key: cards}]
`

// folder makes a folder with the files that minimal names.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	ca, err := throwawayca.New("test CA")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := throwawayca.New("test CA") // of the same name
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Server("localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Write(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")); err != nil {
		t.Fatal(err)
	}
	if err := ca.Write(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]*throwawayca.Authority{"ca.crl": ca, "foreign.crl": foreign} {
		list, err := of.CRL(1, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, string(list), 0o644)
	}
	write(t, dir, "pin", "123456\n", 0o600)
	write(t, dir, "module.so", "not a library, and not loaded", 0o644)
	return dir
}

func write(t testing.TB, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// load writes the text to a file in the folder and loads it.
func load(t *testing.T, dir, text string) (*config.Config, error) {
	t.Helper()
	write(t, dir, "latchkey.yaml", text, 0o644)
	return config.Load(filepath.Join(dir, "latchkey.yaml"))
}

// faults is what Load finds wrong with the text.
func faults(t *testing.T, dir, text string) []string {
	t.Helper()
	c, err := load(t, dir, text)
	var list *config.Faults
	if err == nil || c != nil {
		t.Fatalf("configuration %v, error %v; want faults alone", c, err)
	}
	if !errors.As(err, &list) {
		t.Fatalf("error %v (%T) is not faults", err, err)
	}
	for _, f := range list.Faults {
		if !strings.Contains(err.Error(), f) {
			t.Errorf("the error does not say %q", f)
		}
	}
	return list.Faults
}

func TestDefaults(t *testing.T) {
	dir := folder(t)
	got, err := load(t, dir, minimal)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	want := &config.Config{
		File:   at("latchkey.yaml"),
		Listen: "127.0.0.1:8443",
		TLS:    config.TLS{Certificate: at("server.crt"), Key: at("server.key"), ClientCA: at("ca.crt")},
		HSM: config.HSM{
			Module: at("module.so"), Token: hsm.Selector{Label: "latchkey"},
			PIN: hsm.PINSource{File: at("pin")}, Sessions: hsm.DefaultSessions,
			CallTimeout: hsm.DefaultCallTimeout, KeepAlive: hsm.DefaultKeepAlive, RecoverEvery: hsm.DefaultRecoverEvery,
		},
		Store: config.Store{Path: at("latchkey.db")}, Zone: time.Local, KeepDecisions: 10_000,
		Cards: config.Cards{
			MaxAge: 7 * 24 * time.Hour,
			States: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		},
		Unblock: config.Unblock{Lifetime: 15 * time.Minute, ApprovalLifetime: 10 * time.Minute},
		Limits: config.Limits{
			PerSecond: 50, Burst: 100, InProgress: 256,
			PerOperator: config.Rate{N: 120, Per: 10 * time.Minute}, PerHolder: config.Rate{N: 10, Per: time.Hour}, PerCard: config.Rate{N: 20, Per: time.Hour},
		},
		Observe: config.Observe{Tracing: config.Tracing{Sample: 0.01}},
		Custody: config.Custody{Approvals: 1, Lifetime: 24 * time.Hour},
		Audit:   config.Audit{CheckpointEvery: time.Minute, CheckpointAfter: 10_000},
		Log:     "info",
		Clients: []identity.Client{{
			Name: "idm", Subject: "CN=idm,O=Example", Roles: []identity.Role{identity.Backend}, NamesOperators: true,
		}},
		Profiles: map[string]card.Profile{"gids": {
			ID: "gids", Name: "gids", Algorithm: card.TDESECB, ChallengeLen: 8, CardKeyType: card.TDES3,
			Scheme: card.LatchkeyV1, MasterKey: "cards", MasterKeyVersion: 1, KeyNumber: 1, Retry: card.RetryUnknown,
		}},
	}
	if diff := cmp.Diff(want, got,
		cmp.Comparer(func(a, b card.Template) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// A file in which much is wrong is told so in one go.
func TestEveryFaultAtOnce(t *testing.T) {
	dir := folder(t)
	write(t, dir, "open.key", "readable by all", 0o644)
	write(t, dir, "open.pin", "123456", 0o640)
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "policies/a.cedar", "permit (principal, action, resource) when { principal.rolles };", 0o644)

	got := faults(t, dir, `
listen: localhost
lisen: 127.0.0.1:1
tls: {key: open.key, client_ca: pin}
hsm:
  module: none.so
  token: {}
  pin: {file: open.pin}
  sessions: lots
  allow_extractable: old
store: {path: none/latchkey.db}
policy: {directory: policies}
cards: {max_age: 5s, states: {active: no-idea, lost: false}, holder_states: {left: false}}
unblock: {lifetime: 25h}
log: {level: loud}
operators: [{id: anna}, {id: anna, roles: ["bad\tone"]}, {name: " nobody"}]
clients:
  - {name: idm, subject: identity-manager, san: "dns:idm", roles: [backend]}
  - {name: idm, san: idm.example.org, roles: [chief], operator: bo, names_operators: true}
  - {name: x, san: idm.example.org}
profiles:
  - {id: a, card_key_type: des, scheme: magic, master_key: m, challenge_length: 7, key_number: 256}
  - {id: a, card_key_type: aes128, scheme: aes-ecb, input: 0x00, wrong_responses_survived: 1}
`)
	want := []string{
		`line 3: unknown key "lisen"`,
		`line 9: must be a whole number`,
		`line 10: must be a list`,
		`line 13: must be true or false`,
		`listen: "localhost" is not host:port`,
		`log.level: "loud" is not debug, info, warn or error`,
		`tls.certificate: is required`,
		`tls.key: DIR/open.key may be read by others (mode 0644); run: chmod 600 DIR/open.key`,
		`tls.client_ca: read CA certificates: DIR/pin holds none in PEM form`,
		`hsm.module: stat DIR/none.so: no such file or directory`,
		`hsm.token: name the token by label, by serial, or by both`,
		`hsm.pin.file: DIR/open.pin may be read by others (mode 0640); run: chmod 600 DIR/open.pin`,
		`store.path: the folder DIR/none is not there; make it first`,
		`policy.directory: a.cedar:1:1: @id is required`,
		`policy.directory: a.cedar:1:1: @reason is required: it tells the operator why`,
		"policy.directory: a.cedar:1:55: attribute `rolles` on entity type `Operator` not found",
		`cards.max_age: must be a minute or more, with its unit as in 168h, or none`,
		`cards.states: no state counts as active, so nothing could ever be unblocked`,
		`cards.holder_states: no state counts as active, so nothing could ever be unblocked`,
		`unblock.lifetime: must be from 1s to 24h`,
		`operators[1].id: "anna" is there twice`,
		`operators[1].roles: "bad\tone" has a control character`,
		`operators[2].id: is required`,
		`operators[2].name: " nobody" begins or ends with white space`,
		`clients[0]: say one of subject, san and token_subject, and no more`,
		`clients[1].name: "idm" is there twice`,
		`clients[1].san: "idm.example.org" does not begin with dns:, uri: or email:`,
		`clients[1].roles: "chief" is not one of backend, operator, supervisor, administrator, security-officer, auditor`,
		`clients[1]: a client is an operator or names operators, not both`,
		`clients[2].san: "idm.example.org" is there twice`,
		`clients[2].san: "idm.example.org" does not begin with dns:, uri: or email:`,
		`clients[2].roles: name at least one of backend, operator, supervisor, administrator, security-officer, auditor`,
		`profiles[0] (a).key_number: must be from 0 to 255`,
		`profiles[0] (a).card_key_type: "des" is not one of tdes2, tdes3, aes128, aes192, aes256`,
		`profiles[0] (a).challenge_length: must be a multiple of 8 bytes, up to 64, for tdes-ecb`,
		`profiles[0] (a).scheme: "magic" is not one of ` + schemes(),
		`profiles[1] (a).id: "a" is there twice`,
		`profiles[1] (a).input: template "0x00" has only constants: every card would have the same key (that is scheme static)`,
		`profiles[1] (a).master_key: is required`,
		`profiles[1] (a).wrong_responses_survived: must be 2 or more, "unlimited" or "unknown"`,
	}
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], dir, "DIR")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func schemes() string {
	var names []string
	for _, s := range card.Schemes() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func families(t *testing.T) string {
	t.Helper()
	all, err := family.All()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range all {
		names = append(names, f.ID)
	}
	return strings.Join(names, ", ")
}

// One change to a file that is in order, and what it is told.
func TestFaults(t *testing.T) {
	const (
		env     = "LATCHKEY_TEST_PIN"
		pin     = "pin: {file: pin}"
		token   = "token: {label: latchkey}"
		profile = "card_key_type: tdes3, scheme: latchkey-v1, master_key: cards"
	)
	t.Setenv(env, "123456")
	for name, test := range map[string]struct {
		old, with string
		want      []string // empty: no fault
	}{
		"listen on all":       {"tls:", "listen: ':8443'\ntls:", nil},
		"listen by IPv6":      {"tls:", "listen: '[::1]:0'\ntls:", nil},
		"listen without port": {"tls:", "listen: '127.0.0.1:'\ntls:", []string{`listen: "" is not a port from 0 to 65535`}},
		"listen on no port":   {"tls:", "listen: '127.0.0.1:70000'\ntls:", []string{`listen: "70000" is not a port from 0 to 65535`}},
		"audit without a key": {"tls:", "audit: {keep: 48h, checkpoint_file: c, checkpoint_every: 1ms, checkpoint_after: 0}\ntls:", []string{
			"audit.checkpoint_every: must be from 1s to 24h", "audit.checkpoint_after: must be 1 or more",
			"audit.checkpoint_file: checkpoints take a key: name it in audit.key", "audit.keep: entries are pruned behind signed checkpoints alone: name a key in audit.key",
		}},
		"audit kept for an hour": {"tls:", "audit: {key: k, keep: 1h}\ntls:", []string{"audit.keep: must be 24h or more, or none"}},
		"audit kept for ever":    {"tls:", "audit: {keep: none}\ntls:", nil},
		"sinks": {"tls:", "audit: {sinks: [{name: a, kind: file, path: x}, {name: a, kind: webhook, url: 'http://h', path: y, key: none}, {kind: fax, format: xml}]}\ntls:", []string{
			"audit.sinks[1]: certificate and key go together; path is for files; url must be https://..., without a password",
			"audit.sinks[1].name: another sink is called a; its cursor goes by its name",
			"audit.sinks[1].key: stat DIR/none: no such file or directory",
			"audit.sinks[2]: name is missing; format must be json or cef; kind must be file, syslog or webhook",
		}},
		"key twice":            {"tls:", "listen: a:1\nlisten: a:2\ntls:", []string{`line 3: mapping key "listen" already defined at line 2`}},
		"unknown key in hsm":   {token, token + ", slot: 0", []string{`line 3: unknown key "slot"`}},
		"unknown key in token": {token, "token: {label: a, slot: 0}", []string{`line 3: unknown key "slot"`}},
		"unknown key in a client": {
			"name: idm", "name: idm, role: auditor", []string{`line 4: unknown key "role"`},
		},
		"unknown key in a profile": {
			"id: gids", "id: gids, key_version: 2", []string{`line 5: unknown key "key_version"`},
		},
		"a list for the file": {
			minimal, "- tls\n- hsm\n", []string{"line 1: must be a mapping with keys of its own"},
		},
		"certificate that is not the key's": {
			"certificate: server.crt", "certificate: ca.crt",
			[]string{"tls.certificate: certificate and key do not go together: tls: private key does not match public key"},
		},
		"TLS 1.2 as well": {"client_ca: ca.crt", "client_ca: ca.crt, min_version: '1.2'", nil},
		"TLS 1.1 as well": {"client_ca: ca.crt", "client_ca: ca.crt, min_version: '1.1'", []string{`tls.min_version: "1.1" is not "1.3" or "1.2"; older ones are not secure`}},
		"key in the HSM":  {"key: server.key", "hsm_key: {label: tls}", nil},
		"key twice over":  {"key: server.key", "key: server.key, hsm_key: {label: tls}", []string{"tls: say either key or hsm_key, and not both"}},
		"CRL":             {"client_ca: ca.crt", "client_ca: ca.crt, client_crl: [ca.crl]", nil},
		"CRLs with faults": {"client_ca: ca.crt", "client_ca: ca.crt, client_crl: [none.crl, foreign.crl, pin]", []string{
			"tls.client_crl[0]: stat DIR/none.crl: no such file or directory",
			"tls.client_crl[1]: read CRL: DIR/foreign.crl: it is signed by no CA of the bundle that may sign CRLs; it says it is of CN=test CA",
			"tls.client_crl[2]: read CRL: DIR/pin: it is no CRL in PEM or DER form: x509: malformed crl",
		}},
		"console for tokens": {"clients:", "oidc: {issuer: 'https://id.example', audience: latchkey, console: {client_id: console, client_secret_file: pin, redirect_url: 'https://a.example/console/callback'}}\nclients:", nil},
		"self-service":       {"clients:", "oidc: {issuer: 'https://id.example', audience: latchkey, claims: {employee_number: number}, mfa: {amr: [mfa]}, console: {client_id: console, redirect_url: 'https://a.example/console/callback'}}\nself_service: {}\nclients:", nil},
		"self-service by nothing": {"clients:", "oidc: {issuer: 'https://id.example', audience: latchkey, console: {client_id: console, redirect_url: 'https://a.example/console/callback'}}\nself_service: {}\nclients:", []string{
			"oidc.claims.employee_number: say which claim holds the employee number, by which self_service knows holders",
			"oidc.mfa: say by which amr or acr a second factor is known, which self_service takes",
		}},
		"console badly": {"clients:", "oidc: {issuer: 'https://id.example', audience: latchkey, console: {client_id: latchkey, client_secret_file: server.crt, redirect_url: 'http://a.example/console/', scopes: [email], idle: 9h, lifetime: 25h}}\nclients:", []string{
			"oidc.console.scopes: must have openid, or there is no ID token",
			"oidc.console.client_id: must be another than audience, or the console's tokens would do for the API",
			"oidc.console.client_secret_file: DIR/server.crt may be read by others (mode 0644); run: chmod 600 DIR/server.crt",
			`oidc.console.redirect_url: "http://a.example/console/" is not https://HOST/console/callback`,
			"oidc.console.lifetime: must be from 1m to 24h0m0s",
		}},
		"folder for a file": {"client_ca: ca.crt", "client_ca: .", []string{"tls.client_ca: DIR is not a file"}},

		"PIN in the environment": {pin, "pin: {env: " + env + "}", nil},
		"PIN from a descriptor":  {pin, "pin: {fd: 3}", nil},
		"PIN nowhere":            {", " + pin, "", []string{"hsm.pin: say where the PIN is: a file, an environment variable or a file descriptor"}},
		"PIN in two places":      {pin, "pin: {file: pin, fd: 3}", []string{"hsm.pin: say one place for the PIN: a file, an environment variable or a file descriptor"}},
		"PIN from stderr":        {pin, "pin: {fd: 2}", []string{"hsm.pin: the PIN's file descriptor must be 3 or above"}},
		"PIN file not there":     {pin, "pin: {file: none}", []string{"hsm.pin.file: stat DIR/none: no such file or directory"}},
		"token by serial":        {token, "token: {serial: 01ab}", nil},
		"no sessions":            {token, token + ", sessions: 0", []string{"hsm.sessions: must be from 1 to 1024"}},
		"no time for a call":     {token, token + ", call_timeout: 1ms", []string{"hsm.call_timeout: must be from 100ms to 1m0s"}},
		"touched all the time":   {token, token + ", keep_alive: 0s", []string{"hsm.keep_alive: must be from 1s to 1h0m0s"}},
		"its own fallback":       {token, token + ", fallbacks: [{module: module.so, token: {label: latchkey}, pin: {file: pin}}]", []string{"hsm.fallbacks[0]: is the token that it is to stand in for"}},
		"fallback without much":  {token, token + ", fallbacks: [{module: module.so}]", []string{"hsm.fallbacks[0].token: name the token by label, by serial, or by both", "hsm.fallbacks[0].pin: say where the PIN is: a file, an environment variable or a file descriptor"}},
		"too many sessions":      {token, token + ", sessions: 1025", []string{"hsm.sessions: must be from 1 to 1024"}},

		"store is a folder":            {"clients:", "store: {path: .}\nclients:", []string{"store.path: DIR is not a file"}},
		"time zone":                    {"clients:", "policy: {time_zone: Europe/Berlin}\nclients:", nil},
		"time zone mistyped":           {"clients:", "policy: {time_zone: Europe/Berln}\nclients:", []string{`policy.time_zone: "Europe/Berln" is not a time zone, as in Europe/Berlin, UTC or Local`}},
		"policies not there":           {"clients:", "policy: {directory: none}\nclients:", []string{"policy.directory: DIR/none is not a folder"}},
		"policies empty":               {"clients:", "policy: {directory: .}\nclients:", []string{"policy.directory: DIR: no file here ends in .cedar, so nothing could ever be unblocked"}},
		"no limit of age":              {"clients:", "cards: {max_age: none}\nclients:", nil},
		"age without unit":             {"clients:", "cards: {max_age: 168}\nclients:", []string{"line 4: must be a duration such as 15m"}},
		"age below zero":               {"clients:", "cards: {max_age: -1h}\nclients:", []string{"cards.max_age: must be a minute or more, with its unit as in 168h, or none"}},
		"age of zero":                  {"clients:", "cards: {max_age: 0s}\nclients:", []string{"cards.max_age: must be a minute or more, with its unit as in 168h, or none"}},
		"state without a name":         {"clients:", "cards: {states: {'': true}}\nclients:", []string{`cards.states: "" is required`}},
		"lifetime without unit":        {"clients:", "unblock: {lifetime: 15}\nclients:", []string{"line 4: must be a duration such as 15m"}},
		"lifetime below 1s":            {"clients:", "unblock: {lifetime: 1ms}\nclients:", []string{"unblock.lifetime: must be from 1s to 24h"}},
		"approval in no time":          {"clients:", "unblock: {approval_lifetime: 0s}\nclients:", []string{"unblock.approval_lifetime: must be from 1s to 24h"}},
		"rate without period":          {"clients:", "limits: {per_card: 10}\nclients:", []string{"line 4: must be a rate such as 60 per 10m, of a period from 1s to 24h, or none"}},
		"rate of nothing":              {"clients:", "limits: {per_operator: 0 per 1h}\nclients:", []string{"line 4: must be a rate such as 60 per 10m, of a period from 1s to 24h, or none"}},
		"no rate":                      {"clients:", "limits: {per_operator: none, per_card: none, per_backend: 1000 per 1m}\nclients:", nil},
		"self-service by certificates": {"clients:", "self_service: {}\nclients:", []string{"self_service: holders sign in to the console with a second factor: fill in oidc.console"}},
		"holders by their names":       {"clients:", "self_service: {holders: name}\nclients:", []string{`self_service.holders: "name" is not one of employee_number, email, id`}},
		"nobody is told":               {"clients:", "notify: {}\nclients:", []string{"notify: name email or webhooks, or leave notify out"}},
		"told by mail":                 {"clients:", "notify: {email: {server: 'mail.example:587', from: a@b.example, username: u, password_file: pin}}\nclients:", nil},
		"told badly": {"clients:", "notify: {give_up: 1s, email: {server: mail, from: a@b.example, password_file: server.crt}, webhooks: [{name: a, url: 'http://a.example', secret_file: none}]}\nclients:", []string{
			"notify.email.password_file: DIR/server.crt may be read by others (mode 0644); run: chmod 600 DIR/server.crt",
			"notify.webhooks[0].secret_file: stat DIR/none: no such file or directory",
			"notify.give_up: must be from 1m to 720h",
			`notify.email.server: "mail" is not host:port; 587 is the port for starttls, 465 for tls`,
			"notify.email.username: username and password_file go together",
			"notify.webhooks[0].url: must be https://..., without a password",
		}},
		"a sink of that name": {"clients:", "notify: {email: {server: 'mail.example:587', from: a@b.example}}\naudit: {sinks: [{name: notifications, kind: file, path: a}]}\nclients:", []string{
			"audit.sinks: no sink can be called notifications while notify is there, whose place in the log goes by that name",
		}},
		"no calls":              {"clients:", "limits: {requests_per_second: 0}\nclients:", []string{"limits: requests_per_second and burst must be 1 or more"}},
		"nothing in progress":   {"clients:", "limits: {in_progress: 1}\nclients:", []string{"limits.in_progress: must be from 2 to 32768"}},
		"metrics for everybody": {"clients:", "observe: {listen: ':9464'}\nclients:", []string{"observe.listen: must be a loopback address with its port, such as 127.0.0.1:9464, or unix: and a path: nobody who calls there is authenticated"}},
		"metrics for the LAN":   {"clients:", "observe: {listen: '10.0.0.1:9464'}\nclients:", []string{"observe.listen: must be a loopback address with its port, such as 127.0.0.1:9464, or unix: and a path: nobody who calls there is authenticated"}},
		"metrics by a name":     {"clients:", "observe: {listen: 'localhost:9464'}\nclients:", []string{"observe.listen: must be a loopback address with its port, such as 127.0.0.1:9464, or unix: and a path: nobody who calls there is authenticated"}},
		"socket somewhere":      {"clients:", "observe: {listen: 'unix:observe.sock'}\nclients:", []string{"observe.listen: a Unix socket is unix: and an absolute path of 100 bytes at most"}},
		"metrics and spans":     {"clients:", "observe: {listen: '[::1]:9464', tracing: {endpoint: 'http://127.0.0.1:4318/v1/traces', sample: 1}}\nclients:", nil},
		"spans in the clear":    {"clients:", "observe: {tracing: {endpoint: 'http://collector:4318/v1/traces'}}\nclients:", []string{"observe.tracing.endpoint: must be https, or http to a loopback address"}},
		"spans with a password": {"clients:", "observe: {tracing: {endpoint: 'https://a:b@collector/v1/traces'}}\nclients:", []string{"observe.tracing.endpoint: must be a URL such as https://collector.example.org:4318/v1/traces, without a user or a query"}},
		"spans to nowhere":      {"clients:", "observe: {tracing: {sample: 0.5}}\nclients:", []string{"observe.tracing.endpoint: is missing; say where the spans go, or leave out tracing"}},
		"more than all spans":   {"clients:", "observe: {tracing: {endpoint: 'https://collector/v1/traces', sample: 2}}\nclients:", []string{"line 4: must be a number from 0 to 1, such as 0.01"}},
		"level that hides":      {"clients:", "log: {level: fatal}\nclients:", []string{`log.level: "fatal" is not debug, info, warn or error`}},
		"no client":             {"clients: [{", "clients: []\nunread: [{", []string{`line 5: unknown key "unread"`, "clients: name at least one, or nobody can call"}},
		"client without name":   {"name: idm, ", "", []string{"clients[0].name: is required"}},
		"subject with spaces":   {"CN=idm,O=Example", "CN=idm, O=Example", []string{`clients[0].subject: "CN=idm, O=Example" is not as RFC 2253 writes it, such as CN=identity-manager,O=Example without spaces between its parts`}},
		"subject with a comma":  {"CN=idm,O=Example", `CN=idm,O=Example\\, Inc.`, nil},
		"san without name":      {`subject: "CN=idm,O=Example"`, `san: "dns:"`, []string{`clients[0].san: "dns:" does not begin with dns:, uri: or email:`}},
		"neither subject nor san": {
			`subject: "CN=idm,O=Example", `, "", []string{"clients[0]: say one of subject, san and token_subject, and no more"},
		},
		"provider without anything": {"clients:", "oidc: {ca: gone.crt}\nclients:", []string{
			"oidc.ca: stat DIR/gone.crt: no such file or directory", `oidc.issuer: "" is not https://host and a path`, "oidc.audience: is required",
		}},
		"provider in plain HTTP": {"clients:", "oidc: {issuer: http://id.example, audience: a}\nclients:", []string{`oidc.issuer: "http://id.example" is not https://host and a path`}},
		"symmetric signatures": {"clients:", "oidc: {issuer: https://id.example, audience: a, algorithms: [HS256]}\nclients:", []string{
			"oidc.algorithms: must be some of RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512, EdDSA",
		}},
		"roles that no claim gives": {"clients:", "oidc: {issuer: https://id.example, audience: a, clock_skew: 6m, roles: {a: backend, b: chief}}\nclients:", []string{
			"oidc.clock_skew: must be from 0s to 5m0s",
			`oidc.roles: "a" is given the role backend, which is a client's and no person's; name the client by its token_subject`,
			`oidc.roles: "b" is given "chief", which is not one of backend, operator, supervisor, administrator, security-officer, auditor`,
			"oidc.claims.roles: say which claim holds the values that roles maps",
		}},
		"token without a provider":    {`subject: "CN=idm,O=Example"`, "token_subject: s-1", []string{"clients[0].token_subject: there is no provider whose tokens are taken: fill in oidc"}},
		"client called as people are": {"name: idm", `name: "person:anna"`, []string{"clients[0].name: must not begin with person:, as the names of people do who call with a token"}},
		"officer who could be two": {"clients: [{", "oidc: {issuer: https://id.example, audience: a}\nclients: [{name: o, subject: CN=o, roles: [security-officer]}, {", []string{
			"clients[0].operator: say whose certificate this is: with oidc, an officer who has a token too would count as two",
		}},
		"certificate without a role of its operator": {"clients: [{", "operators: [{id: anna, roles: [operator]}]\nclients: [{name: o, subject: CN=o, roles: [auditor], operator: anna}, {", []string{
			"clients[0].roles: operator anna has none of these roles, and a certificate gives nobody more than he has",
		}},
		"no profile": {"profiles: [{", "profiles: []\nunread: [{", []string{`line 6: unknown key "unread"`, "profiles: describe at least one card profile"}},
		"profile without id": {
			"id: gids, ", "", []string{"profiles[0].id: is required", "profiles[0].name: is required"},
		},
		"profile with a longer challenge": {
			profile, profile + ", response_algorithm: tdes-cbc, challenge_length: 16, master_key_version: 2", nil,
		},
		"algorithm that does not fit": {
			profile, profile + ", response_algorithm: aes-ecb",
			[]string{"profiles[0] (gids).response_algorithm: aes-ecb does not work with a card key of type tdes3"},
		},
		"key version of zero": {
			profile, profile + ", master_key_version: 0", []string{"profiles[0] (gids).master_key_version: must be from 1 to 9999"},
		},
		"numbers that YAML would bend": {
			profile, profile + ", challenge_length: 010, master_key_version: 1.5, key_number: 0x1, counter_bits: 1e1",
			[]string{
				"line 5: must be a whole number", "line 5: must be a whole number",
				"line 5: must be a whole number", "line 5: must be a whole number",
			},
		},
		"challenge of no length": {
			profile, profile + ", challenge_length: 0",
			[]string{"profiles[0] (gids).challenge_length: must be a multiple of 8 bytes, up to 64, for tdes-ecb"},
		},
		"key number below zero": {
			profile, profile + ", key_number: -1", []string{"profiles[0] (gids).key_number: must be from 0 to 255"},
		},
		"counter and wrapping": {
			profile, profile + ", counter_bits: 8, wrapping: cbc",
			[]string{
				"profiles[0] (gids).counter_bits: only scheme sp800-108-counter counts; leave it out",
				"profiles[0] (gids).wrapping: only scheme wrapped unwraps; leave it out",
			},
		},
		"scheme that is refused": {
			"tdes3, scheme: latchkey-v1", "aes192, scheme: an10922-aes192",
			[]string{"profiles[0] (gids).scheme: " + card.AN10922AES192.Refusal()},
		},
		"template that cannot be read": {
			"scheme: latchkey-v1", "scheme: tdes-ecb, input: seriell, wrong_responses_survived: 0",
			[]string{
				`profiles[0] (gids).input: template "seriell": unknown field "seriell": use serial, serial.hex, cuid, kdd or 0x and hex`,
				`profiles[0] (gids).wrong_responses_survived: must be 2 or more, "unlimited" or "unknown"`,
			},
		},
		"family says the rest": {"card_key_type: tdes3", "family: idprime-3des", nil},
		"family made stricter": {profile, profile + ", family: idprime-3des, wrong_responses_survived: 3", nil},
		"family made looser": {
			profile, profile + ", family: idprime-3des, wrong_responses_survived: unlimited",
			[]string{"profiles[0] (gids).wrong_responses_survived: unlimited is looser than family idprime-3des, which has 5; it may be made stricter only"},
		},
		"family contradicted": {
			"card_key_type: tdes3", "family: crescendo-aes, card_key_type: tdes3, challenge_length: 0",
			[]string{
				"profiles[0] (gids).card_key_type: tdes3 contradicts family crescendo-aes, which has aes128; leave it out",
				"profiles[0] (gids).challenge_length: 0 contradicts family crescendo-aes, which has 16; leave it out",
			},
		},
		"family that leaves it open": {
			"card_key_type: tdes3", "family: minidriver, response_algorithm: tdes-cbc, challenge_length: 24", nil,
		},
		"family without an answer": {
			"card_key_type: tdes3", "family: yubikey-piv, challenge_length: 24",
			[]string{"profiles[0] (gids).family: YubiKey, PIV application is unblocked by PUK only: a YubiKey's PIN is unblocked by its PUK (ykman piv access unblock-pin); the management key 9B, whatever its algorithm, does not do it"},
		},
		"family that nobody knows": {
			"card_key_type: tdes3", "family: gidz",
			[]string{`profiles[0] (gids).family: family "gidz": not found; there are ` + families(t)},
		},
		"survives a word": {
			profile, profile + ", wrong_responses_survived: many", []string{`line 5: must be a whole number, "unlimited" or "unknown"`},
		},

		"nothing":       {minimal, "", []string{"there is nothing in it"}},
		"comments only": {minimal, "# soon\n", []string{"there is nothing in it"}},
		"nothing that is needed": {
			minimal, "log: {level: debug}", []string{
				"tls.certificate: is required", "tls.key: is required", "tls.client_ca: is required",
				"hsm.module: is required", "hsm.token: name the token by label, by serial, or by both",
				"hsm.pin: say where the PIN is: a file, an environment variable or a file descriptor",
				"clients: name at least one, or nobody can call", "profiles: describe at least one card profile",
			},
		},
		"not YAML":          {minimal, "tls: [\n", []string{"line 1: did not find expected node content"}},
		"a second document": {minimal, minimal + "---\nlog: {level: debug}\n", []string{`there is more behind the first YAML document; take out the line "---" or "..."`}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			text := strings.Replace(minimal, test.old, test.with, 1)
			if text == minimal {
				t.Fatalf("%q is not there to be changed", test.old)
			}
			if len(test.want) == 0 {
				if _, err := load(t, dir, text); err != nil {
					t.Error(err)
				}
				return
			}
			got := faults(t, dir, text)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], dir, "DIR")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// Only the owner may be able to read the PIN and the TLS key.
func TestSecretFileModes(t *testing.T) {
	for _, file := range []struct{ name, place string }{{"pin", "hsm.pin.file"}, {"server.key", "tls.key"}} {
		for mode, private := range map[os.FileMode]bool{
			0o600: true, 0o400: true, 0o700: true,
			0o604: false, 0o640: false, 0o620: false, 0o601: false, 0o644: false,
		} {
			t.Run(fmt.Sprintf("%s %04o", file.name, mode), func(t *testing.T) {
				dir := folder(t)
				path := filepath.Join(dir, file.name)
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
				if private {
					if _, err := load(t, dir, minimal); err != nil {
						t.Error(err)
					}
					return
				}
				want := []string{fmt.Sprintf("%s: %s may be read by others (mode %04o); run: chmod 600 %s", file.place, path, mode, path)}
				if diff := cmp.Diff(want, faults(t, dir, minimal)); diff != "" {
					t.Errorf("faults (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// People write the PIN where its place belongs. The answer must not carry it on.
func TestMisplacedPINIsNotRepeated(t *testing.T) {
	for _, wrong := range []string{
		"pin: 86753091", "pin: '86753091'", "pin: [86753091]", "pin: {env: '86753091'}",
		"pin: {env: 86753091}", "pin: {fd: '86753091x'}", "pin: {value: 86753091}", "pin: {fd: 8675.3091}",
	} {
		t.Run(wrong, func(t *testing.T) {
			for _, fault := range faults(t, folder(t), strings.Replace(minimal, "pin: {file: pin}", wrong, 1)) {
				if strings.Contains(fault, "8675") {
					t.Errorf("fault %q repeats the PIN", fault)
				}
			}
		})
	}
}

func TestLoadNeedsTheFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "latchkey.yaml"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want os.ErrNotExist", err)
	}
}

// Keys are made before there are certificates: LoadHSM passes over faults
// elsewhere, but not over text that it cannot read.
func TestLoadHSM(t *testing.T) {
	dir := folder(t)
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"hsm alone":        {"hsm: {module: module.so, token: {serial: 1a}, pin: {file: pin}, sessions: 2}", nil},
		"fault in hsm":     {"hsm: {module: module.so, token: {serial: 1a}}", []string{"hsm.pin: say where the PIN is: a file, an environment variable or a file descriptor"}},
		"unread elsewhere": {"hsm: {module: module.so, token: {serial: 1a}, pin: {file: pin}}\nlog: {level: [x]}", []string{"line 2: must be text"}},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, dir, "latchkey.yaml", test.text, 0o644)
			got, err := config.LoadHSM(filepath.Join(dir, "latchkey.yaml"))
			if test.want == nil {
				want := config.HSM{
					Module: filepath.Join(dir, "module.so"), Token: hsm.Selector{Serial: "1a"},
					PIN: hsm.PINSource{File: filepath.Join(dir, "pin")}, Sessions: 2,
					CallTimeout: hsm.DefaultCallTimeout, KeepAlive: hsm.DefaultKeepAlive, RecoverEvery: hsm.DefaultRecoverEvery,
				}
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("error %v; hsm (-want +got):\n%s", err, diff)
				}
				return
			}
			var list *config.Faults
			if !errors.As(err, &list) {
				t.Fatalf("error %v is not faults", err)
			}
			if diff := cmp.Diff(test.want, list.Faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProfile(t *testing.T) {
	c, err := load(t, folder(t), minimal)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := c.Profile("gids"); err != nil || p.ID != "gids" {
		t.Errorf("profile %q, %v", p.ID, err)
	}
	if _, err := c.Profile("GIDS"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("error %v, want card.ErrNotFound", err)
	}
}

// The operators of the file are those that policies are asked about.
func TestOperators(t *testing.T) {
	c, err := load(t, folder(t), minimal+`
operators:
  - {id: anna, name: Anna Blom, roles: [operator], groups: [help-desk], unit: it}
  - {id: omar}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []policy.Operator{
		{ID: "anna", Name: "Anna Blom", Roles: []identity.Role{identity.Operator}, Groups: []string{"help-desk"}, Unit: "it"},
		{ID: "omar", Name: "omar"},
	}
	if diff := cmp.Diff(want, c.Operators); diff != "" {
		t.Errorf("operators (-want +got):\n%s", diff)
	}
}

// Any text is a configuration that can be served, or faults. Paths that it names
// are looked at and never written.
func FuzzParse(f *testing.F) {
	dir := folder(f)
	for _, seed := range []string{
		minimal, "", "---\n---\n", "a: &a [*a]", "clients: [null]\nprofiles: [null]\noperators: [null]",
		"listen: !!binary aGVsbG8=", "hsm: {pin: 123456}", "<<: {listen: ':1'}", "cards: {states: {? [a] : true}}",
		minimal + "operators: [{id: anna, roles: [operator]}]\ncards: {max_age: none, states: {active: yes}}\nunblock: {lifetime: 1h}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(filepath.Join(dir, "latchkey.yaml"), text)
		if err != nil {
			var list *config.Faults
			if c != nil || !errors.As(err, &list) || len(list.Faults) == 0 {
				t.Fatalf("configuration %v, error %v; want faults alone", c, err)
			}
			return
		}
		if len(c.Clients) == 0 || len(c.Profiles) == 0 || c.Unblock.Lifetime <= 0 || c.HSM.PIN.Faults() != nil {
			t.Errorf("a configuration that cannot be served was taken: %+v", c)
		}
		for _, p := range c.Profiles {
			if faults := p.Faults(); len(faults) != 0 {
				t.Errorf("profile %+v was taken, it has faults %v", p, faults)
			}
		}
	})
}
