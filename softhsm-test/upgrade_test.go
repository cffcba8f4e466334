package softhsmtest_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"github.com/pressly/goose/v3"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/throwawaypg"
	"latchkey/store"
)

// TestUpgrade opens databases that older versions left with the binary of today:
// all that was in them is there, entry by entry; answers, attempts and keys go on from
// where they were; and the log verifies from its first entry.
func TestUpgrade(t *testing.T) {
	server := throwawaypg.New(t)
	empty := func(t *testing.T, name string) string {
		t.Helper()
		where, err := server.Database(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return where
	}
	for _, was := range []past{
		{name: "schema 3 in SQLite", load: func(t *testing.T, path string) string { return loadFile(t, path, "schema-3.sql") }},
		{name: "schema 11 in SQLite", load: func(t *testing.T, path string) string { return loadFile(t, path, "schema-11.sql") }, last: true, key: "schema-11.pem"},
		{name: "schema 11 in PostgreSQL", load: func(t *testing.T, _ string) string {
			where := empty(t, "eleven")
			out, err := exec.CommandContext(t.Context(), "psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", old("schema-11.postgres.sql"), where).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return where
		}, last: true, key: "schema-11.postgres.pem"},
		// No version that was released had this schema in PostgreSQL, but it is the first
		// that there is.
		{name: "schema 3 in PostgreSQL", load: func(t *testing.T, path string) string {
			where := empty(t, "three")
			copyRows(t, loadFile(t, path, "schema-3.sql"), where, 3)
			return where
		}},
	} {
		t.Run(was.name, was.upgrade)
	}
}

// past is a database of an older version.
type past struct {
	name string
	// load makes the database, at the path where it is a file, and gives where it is.
	load func(t *testing.T, path string) string
	key  string // file of the public key that its checkpoints are signed with
	last bool   // with approvals, operators and versions of policies
}

func old(file string) string { return filepath.Join("testdata", "upgrade", file) }

func (was past) upgrade(t *testing.T) {
	a := prepareAppliance(t)
	where := was.load(t, a.database())
	if strings.HasPrefix(where, "postgres:") {
		a.store = fmt.Sprintf("{postgres: {url: %q}}", where)
	}
	before := contentsOf(t, where)
	if len(before.entries) < 30 || len(before.processes) < 8 {
		t.Fatalf("the old database has %d entries and %d processes", len(before.entries), len(before.processes))
	}

	a.writeConfig(t, a.token.Module, "audit: {key: audit-new}", "cards: {max_age: none}")
	a.amend(t, "  - {name: auditor,", `  - {name: olga, subject: "CN=olga,O=Example", roles: [security-officer]}
  - {name: otto, subject: "CN=otto,O=Example", roles: [security-officer]}
  - {name: sven, subject: "CN=sven,O=Example", roles: [supervisor], operator: sven}
  - {name: auditor,`)
	a.amend(t, "operators:\n", "operators:\n  - {id: sven, name: Sven Holm, roles: [supervisor]}\n")
	pem := filepath.Join(t.TempDir(), "audit-new.pem")
	a.command(t, "audit", "key", "audit-new", "--create", "--config", a.config, "--out", pem)
	a.start(t)
	was.look(t, a, before)
	was.goOn(t, a)
	a.stop(t)

	// The log is proved from the first entry to the last, with the old key and the new.
	keys := []*ecdsa.PublicKey{publicKey(t, pem)}
	if was.key != "" {
		keys = append(keys, publicKey(t, old(was.key)))
	}
	export := exported(t, where)
	report, err := audit.Verify(bytes.NewReader(export), keys, "")
	if err != nil || !report.Sound() || report.Signed != report.Size || report.Size <= int64(len(before.entries)) {
		t.Errorf("verified: %+v, %v", report, err)
	}
	after := contentsOf(t, where)
	for i, text := range before.entries {
		if after.entries[i] != text {
			t.Errorf("entry %d was\n%s\nand is\n%s", i+1, text, after.entries[i])
		}
	}
	if was.key != "" {
		if r, err := audit.Verify(bytes.NewReader(export), keys[:1], ""); err == nil && r.Sound() {
			t.Error("the log verifies without the key that signed its first checkpoints")
		}
	}
}

// look asks the server for what is in the old database.
func (was past) look(t *testing.T, a *appliance, before contents) {
	t.Helper()
	backend, administrator, anna, olga := a.as(t, "identity-manager"), a.as(t, "administrator"), a.as(t, "anna"), a.as(t, "olga")

	got := call[api.Card](t, backend, http.MethodGet, "/v1/cards/OLD-AES", nil)
	want := api.Card{
		Serial: "OLD-AES", Type: "aes256", State: "blocked", CUID: "00112233", KDD: "00010203040506070809", MasterKeyVersion: 1,
		Holder: api.Holder{
			ID: "u9", Name: "Žofie Åberg", Email: "zofie@example.org", EmployeeNumber: "7",
			Unit: "R&D", Groups: []string{"staff", "night"}, State: "active",
		},
		SyncedAt: got.SyncedAt,
	}
	if was.last {
		want.Source = "identity-manager"
	}
	if got.SyncedAt.IsZero() || !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	// Searches find by words, which the older of them did not have.
	if found := call[api.Cards](t, backend, http.MethodGet, "/v1/cards?q=zofie", nil); len(found.Cards) != 1 || found.Cards[0].Serial != "OLD-AES" {
		t.Errorf("found %+v", found)
	}
	var serials []string
	for _, c := range call[api.Cards](t, backend, http.MethodGet, "/v1/cards", nil).Cards {
		serials = append(serials, c.Serial)
	}
	if slices.Sort(serials); !slices.Equal(serials, before.cards) {
		t.Errorf("cards %v, want %v", serials, before.cards)
	}
	if c := call[api.CardType](t, administrator, http.MethodGet, "/v1/card-types/counted", nil); c.Profile != "counted" || !cmp.Equal(c.UnblockRemote, map[string]bool{"blocked": true}) || c.UpdatedBy != "administrator" {
		t.Errorf("card type %+v", c)
	}

	for _, p := range before.processes {
		from := backend
		if p.client == "anna" {
			from = anna
		}
		got := call[api.Unblock](t, from, http.MethodGet, "/v1/unblocks/"+p.id, nil)
		// Nobody went on with what was under way; whether its time is over depends on today.
		state := got.State
		if state == "expired" && (p.state == "started" || p.state == "waiting") {
			state = p.state
		}
		if state != p.state || got.Outcome != p.outcome || got.Card.Serial != p.card || got.Operator != p.operator || got.Reason != reason {
			t.Errorf("process %+v is %+v", p, got)
		}
	}

	keys := call[api.Keys](t, olga, http.MethodGet, "/v1/keys", nil).Keys
	if len(keys) != 1 || keys[0].Label != "master" || keys[0].Version != 1 || keys[0].State != "active" || keys[0].Grade == "missing" || !keys[0].Registered {
		t.Errorf("keys: %+v", keys)
	}
	states := map[string]string{}
	for _, p := range call[api.KeyProposals](t, olga, http.MethodGet, "/v1/key-proposals", nil).Proposals {
		states[p.Act] = p.State
		if p.Act == "resume" && (len(p.Approvals) != 1 || p.Approvals[0].Officer != "otto") {
			t.Errorf("approvals of resume: %+v", p.Approvals)
		}
	}
	if open := states["mark-compromised"]; open == "expired" {
		states["mark-compromised"] = "open"
	}
	if want := map[string]string{"suspend": "executed", "resume": "executed", "deactivate": "rejected", "mark-compromised": "open"}; !cmp.Equal(states, want) {
		t.Errorf("proposals: %v, want %v", states, want)
	}
	policies := call[api.ActivePolicy](t, olga, http.MethodGet, "/v1/policy", nil)
	if !was.last {
		if policies.Source != "built-in" {
			t.Errorf("policies: %+v", policies)
		}
		return
	}
	if policies.Source != "versions" || policies.Version != 1 || policies.Note != "hours dropped" || policies.Approvals[0].Officer != "otto" {
		t.Errorf("policies: %+v", policies)
	}
	if o := call[api.Operator](t, administrator, http.MethodGet, "/v1/operators/rita", nil); o.Name != "Rita Moe" || !cmp.Equal(o.Groups, []string{"desk-2"}) {
		t.Errorf("operator: %+v", o)
	}
}

// goOn has cards answered that were there before.
func (was past) goOn(t *testing.T, a *appliance) {
	t.Helper()
	backend := a.as(t, "identity-manager")
	for serial, keyType := range map[string]card.KeyType{"OLD-DONE": card.TDES3, "OLD-AES": card.AES256} {
		c := issueCard(t, keyType, serial)
		blockCard(t, c)
		answer := call[api.Response](t, backend, http.MethodPost, "/v1/cards/"+serial+"/response", api.Respond{Operator: "anna", Challenge: typedChallenge(t, c), Reason: reason})
		setPIN(t, c, answer.Grouped, "583920")
		call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+answer.Unblock+"/complete", api.Complete{Outcome: "pin-changed"})
	}
	// Of the four responses that a card may be given, it had three.
	path, ask := "/v1/cards/OLD-COUNTED/response", api.Respond{Operator: "anna", Challenge: "1603 EBDF 1C8A 2E05", Reason: reason}
	call[api.Response](t, backend, http.MethodPost, path, ask)
	ask.Challenge = "1603 EBDF 1C8A 2E06"
	if p := refused(t, backend, http.MethodPost, path, ask); p.Code != "attempts-exhausted" {
		t.Errorf("one response too many is refused with %s", p.Code)
	}
	if was.last { // the older did not keep challenges
		ask.Challenge = "1603 EBDF 1C8A 2E72"
		if p := refused(t, backend, http.MethodPost, "/v1/cards/OLD-DONE/response", ask); p.Code != "challenge-suspicious" {
			t.Errorf("a challenge that was answered before the upgrade is refused with %s", p.Code)
		}
	}
}

// contents is what of a database is compared.
type contents struct {
	entries, cards []string
	processes      []oldProcess
}

type oldProcess struct{ id, state, outcome, card, client, operator string }

func contentsOf(t *testing.T, where string) (all contents) {
	t.Helper()
	driver := "sqlite3"
	if strings.HasPrefix(where, "postgres:") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	each := func(query string, scan func(*sql.Rows) error) {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			if err := scan(rows); err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	text := func(list *[]string) func(*sql.Rows) error {
		return func(rows *sql.Rows) error {
			var s string
			err := rows.Scan(&s)
			*list = append(*list, s)
			return err
		}
	}
	each(`SELECT entry FROM audit_entries ORDER BY sequence`, text(&all.entries))
	each(`SELECT serial FROM cards ORDER BY serial`, text(&all.cards))
	each(`SELECT id, state, outcome, card, client, operator FROM processes ORDER BY id`, func(rows *sql.Rows) error {
		var p oldProcess
		err := rows.Scan(&p.id, &p.state, &p.outcome, &p.card, &p.client, &p.operator)
		all.processes = append(all.processes, p)
		return err
	})
	return all
}

// loadFile makes an SQLite database of a dump.
func loadFile(t *testing.T, path, dump string) string {
	t.Helper()
	text, err := os.ReadFile(old(dump))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
	return path
}

// copyRows makes a PostgreSQL database of a version's schema with the rows of an
// SQLite database of that version.
func copyRows(t *testing.T, path, where string, version int64) {
	t.Helper()
	to, err := sql.Open("pgx", where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = to.Close() }()
	steps, err := goose.NewProvider(goose.DialectPostgres, to, os.DirFS("../store/migrations/postgres"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	from, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	c, err := pgx.Connect(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	for _, table := range []string{
		"card_types", "cards", "processes", "unconfirmed", "audit_entries", "key_records", "current_versions", "key_proposals", "key_approvals",
	} {
		columns, values := rowsOf(t, from, table)
		if _, err := c.CopyFrom(t.Context(), pgx.Identifier{table}, columns, pgx.CopyFromRows(values)); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
}

// rowsOf is all that is in a table.
func rowsOf(t *testing.T, from *sql.DB, table string) (columns []string, values [][]any) {
	t.Helper()
	rows, err := from.QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	if columns, err = rows.Columns(); err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		values = append(values, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return columns, values
}

// exported is a database's audit log, as it is exported.
func exported(t *testing.T, where string) []byte {
	t.Helper()
	log, done, err := store.OpenLog(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	var export bytes.Buffer
	if _, err := audit.Export(t.Context(), &export, log, 1); err != nil {
		t.Fatal(err)
	}
	return export.Bytes()
}

// publicKey reads a key that checkpoints are signed with.
func publicKey(t *testing.T, path string) *ecdsa.PublicKey {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PublicKey)
}
