package store_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"latchkey/audit"
	"latchkey/softhsm-test/throwawaypg"
	"latchkey/store"
	"latchkey/unblock"
)

// postgresURL, where it is set in the environment, has the tests of this package
// use databases of a PostgreSQL server in place of files. It is the connection
// string of a database in which they make others.
const postgresURL = "LATCHKEY_STORE_TEST_POSTGRES"

// at names the database that stands for a path: the path itself, or a database of
// the PostgreSQL server.
func at(t testing.TB, path string) string {
	t.Helper()
	server := os.Getenv(postgresURL)
	if server == "" {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	name := "t" + hex.EncodeToString(sum[:8])
	settings := must[*pgx.ConnConfig](t)(pgx.ParseConfig(server))
	ctx := context.WithoutCancel(t.Context())
	c := must[*pgx.Conn](t)(pgx.ConnectConfig(ctx, settings))
	defer func() { _ = c.Close(ctx) }()
	var there bool
	if err := c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)`, name).Scan(&there); err != nil {
		t.Fatal(err)
	}
	if !there {
		if _, err := c.Exec(ctx, "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Replace(server, "/postgres?", "/"+name+"?", 1)
}

// ofSQLite matches the tests of what SQLite alone has: its file, its triggers, and
// what another program does to them. Those of PostgreSQL are below.
const ofSQLite = "^(TestOpen.*|TestInspect.*|TestInUse|TestNotWritable|TestKilled|TestFiles|TestNoResponseIsStored|TestAuditLogIsAppendOnly|TestStatementStays|TestProposalsUpgrade|TestSearchScansNothing|TestTampering.*|TestOnPostgres|TestPostgres.*)$"

// TestOnPostgres runs the tests of this package once more, with PostgreSQL.
func TestOnPostgres(t *testing.T) {
	server := throwawaypg.New(t)
	// The test binary itself, in another process: this one's tests use files.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v=test2json", "-test.skip", ofSQLite, "-test.timeout=10m")
	cmd.Env = append(os.Environ(), postgresURL+"="+server.URL("postgres"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	failed := cmd.Run()
	ran := 0
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		line := strings.TrimPrefix(lines.Text(), "\x16")
		switch {
		case strings.HasPrefix(line, "--- SKIP"):
			t.Errorf("skipped: %s", line)
		case strings.HasPrefix(line, "--- PASS"):
			ran++
		case strings.HasPrefix(line, "=== "):
		default:
			if failed != nil {
				t.Log(line)
			}
		}
	}
	if failed != nil {
		t.Fatal(failed)
	}
	if ran < 20 {
		t.Errorf("only %d tests were run", ran)
	}
	t.Logf("%d tests passed on PostgreSQL", ran)
}

// onServer makes an empty database on the server, and gives its connection string
// and a connection to it.
func onServer(t *testing.T, server *throwawaypg.Server, name string) (where string, c *pgx.Conn) {
	t.Helper()
	where = must[string](t)(server.Database(t.Context(), name))
	c = must[*pgx.Conn](t)(pgx.Connect(t.Context(), where))
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return where, c
}

func TestPostgresRefusesWhatIsNotItsOwn(t *testing.T) {
	server := throwawaypg.New(t)
	for name, test := range map[string]struct {
		prepare string
		want    error
		says    string
	}{
		"a newer schema":             {`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`, store.ErrNewer, "version 9999"},
		"another program's database": {`CREATE TABLE bookmarks (url text)`, store.ErrForeign, "another database"},
		"a reader's rights":          {`CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM public`, fs.ErrPermission, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			where, c := onServer(t, server, strings.ReplaceAll(name, " ", "-"))
			switch {
			case errors.Is(test.want, store.ErrNewer):
				s := must[*store.Store](t)(store.Open(t.Context(), where))
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			case errors.Is(test.want, fs.ErrPermission):
				where = strings.Replace(where, "latchkey@", "reader:secret@", 1)
			}
			if _, err := c.Exec(t.Context(), test.prepare); err != nil {
				t.Fatal(err)
			}
			_, err := store.Open(t.Context(), where)
			if _, seen := store.Inspect(t.Context(), where); !errors.Is(test.want, fs.ErrPermission) && !errors.Is(seen, test.want) {
				t.Errorf("inspected: %v", seen)
			}
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
	t.Run("no database", func(t *testing.T) {
		if _, err := store.Open(t.Context(), server.URL("nowhere")); err == nil || !strings.Contains(err.Error(), "createdb") {
			t.Errorf("got %v", err)
		}
	})
}

// A server that loses what it acknowledged is no place for an audit log.
func TestPostgresWithoutSync(t *testing.T) {
	server := throwawaypg.New(t)
	where, c := onServer(t, server, "unsafe")
	for _, statement := range []string{`ALTER SYSTEM SET fsync = off`, `SELECT pg_reload_conf()`} {
		if _, err := c.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(server.Stop(), server.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), where); !errors.Is(err, store.ErrNotDurable) {
		t.Errorf("got %v", err)
	}
}

func TestPostgresAuditLogIsAppendOnly(t *testing.T) {
	where, c := onServer(t, throwawaypg.New(t), "log")
	s := must[*store.Store](t)(store.Open(t.Context(), where))
	defer func() { _ = s.Close() }()
	for range 3 {
		if err := s.Append(t.Context(), audit.Entry{Detail: "kept"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{
		`UPDATE audit_entries SET entry = '{}' WHERE sequence = 2`,
		`DELETE FROM audit_entries WHERE sequence = 3`,
		`TRUNCATE audit_entries`,
		`UPDATE audit_entries SET entry = '' WHERE sequence = 2`,
		`UPDATE audit_log SET pruned = 2`,
		`TRUNCATE audit_log`,
		`INSERT INTO audit_entries (sequence, entry, leaf) VALUES (5, '{}', '')`,
		`INSERT INTO audit_entries (sequence, entry) VALUES (4, '{}')`,
		`INSERT INTO audit_entries (sequence, entry, leaf) VALUES (2, '{}', '') ON CONFLICT (sequence) DO UPDATE SET entry = '{}'`,
	} {
		if _, err := c.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	for _, e := range allEntries(t, s) {
		same(t, "detail", e.Detail, "kept")
	}
}

// Several nodes share one database. Some are killed in the middle of their writes:
// the others go on, nothing that was acknowledged is lost, the log has no gap, and
// every attempt is counted once.
func TestPostgresNodes(t *testing.T) {
	server := throwawaypg.New(t)
	where := must[string](t)(server.Database(t.Context(), "nodes"))
	s := must[*store.Store](t)(store.Open(t.Context(), where)) // a node that lives
	defer func() { _ = s.Close() }()

	var mu sync.Mutex
	acknowledged := map[string]bool{}
	node := func() {
		cmd := child(t, "answer", where)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Error(err)
			return
		}
		n := 0
		for lines := bufio.NewScanner(out); lines.Scan(); n++ {
			mu.Lock()
			acknowledged[lines.Text()] = true
			mu.Unlock()
			if n == 200 {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := cmd.Wait(); n < 200 {
			t.Errorf("a node ended after %d answers: %v", n, err)
		}
	}
	var nodes sync.WaitGroup
	for range 3 {
		nodes.Go(func() {
			for range 2 {
				node()
			}
		})
	}
	stop, lived := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { lived <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Apply(t.Context(), answered(fmt.Sprintf("lives-%d", n), "c1", 0)); err != nil {
				t.Errorf("the node that lives: %v", err)
				return
			}
		}
	}()
	nodes.Wait()
	close(stop)
	own := <-lived
	if own == 0 {
		t.Error("the node that lives gave no answer")
	}

	logged := allEntries(t, s)
	same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(t.Context(), "c1")).Unconfirmed, len(logged))
	found := map[string]bool{}
	for _, e := range logged {
		found[e.Process] = true
	}
	if len(found) != len(logged) {
		t.Errorf("%d entries tell of %d processes", len(logged), len(found))
	}
	for id := range acknowledged {
		if !found[id] {
			t.Errorf("process %s was acknowledged and is lost", id)
		}
	}
	t.Logf("%d acknowledged by nodes that were killed, %d by the one that lived, %d found", len(acknowledged), own, len(logged))
}

// The server dies in the middle of writes and comes back: callers got errors
// meanwhile, afterwards the same store goes on, and what was acknowledged is there.
func TestPostgresCrash(t *testing.T) {
	server := throwawaypg.New(t)
	where := must[string](t)(server.Database(t.Context(), "crash"))
	s := must[*store.Store](t)(store.Open(t.Context(), where))
	defer func() { _ = s.Close() }()
	acknowledged := map[string]bool{}
	write := func(id string) error {
		err := s.Apply(t.Context(), answered(id, "c1", 0))
		if err == nil {
			acknowledged[id] = true
		}
		return err
	}
	for i := range 100 {
		if err := write(fmt.Sprintf("before-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Crash(); err != nil {
		t.Fatal(err)
	}
	if err := write("meanwhile"); err == nil {
		t.Error("a write was acknowledged by a server that is dead")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := write(fmt.Sprintf("after-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	logged := allEntries(t, s)
	same(t, "entries", len(logged), len(acknowledged))
	for _, e := range logged {
		if !acknowledged[e.Process] {
			t.Errorf("process %s is in the log", e.Process)
		}
	}
	same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(t.Context(), "c1")).Unconfirmed, len(logged))
}

// What is counted is counted for all nodes together: the decisions of an account, the
// responses of a card, and who has it.
func TestPostgresNodesShareLimits(t *testing.T) {
	server := throwawaypg.New(t)
	where := must[string](t)(server.Database(t.Context(), "shared"))
	var nodes []*store.Store
	for range 2 {
		s := must[*store.Store](t)(store.Open(t.Context(), where))
		t.Cleanup(func() { _ = s.Close() })
		nodes = append(nodes, s)
	}
	for name, test := range map[string]struct {
		change func(id string) unblock.Change
		won    int
		no     error
	}{
		"rate": {func(id string) unblock.Change {
			c := answered(id, "of "+id, 0)
			c.Charges = []unblock.Charge{{Key: "operator:olga", Rate: unblock.Rate{N: 5, Per: time.Minute}}}
			return c
		}, 5, unblock.ErrRate},
		"attempts": {func(id string) unblock.Change { return answered(id, "c1", 4) }, 4, unblock.ErrAttempts},
		"card":     {func(id string) unblock.Change { return start(id, "c2") }, 1, unblock.ErrBusy},
	} {
		won := make([]int, len(nodes))
		var both sync.WaitGroup
		for i, s := range nodes {
			both.Go(func() {
				for n := range 10 {
					switch err := s.Apply(t.Context(), test.change(fmt.Sprintf("%s-%d-%d", name, i, n))); {
					case err == nil:
						won[i]++
					case !errors.Is(err, test.no):
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		both.Wait()
		same(t, name+": won by both nodes", won[0]+won[1], test.won)
	}
}
