package softhsmtest_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/faultmodule"
	"latchkey/softhsm-test/throwawaypg"
	"latchkey/store"
)

// town is nodes that share a database, and people who ask them for answers.
type town struct {
	nodes []*appliance
	where string // of the database, for looking at it
	rows  []row
}

// chaosCards is how many cards there are: few, so that their counts are fought over.
const chaosCards = 5

func chaosSerial(i int) string { return fmt.Sprintf("CHAOS-%d", i) }

// row is one line of the table: what was done, and what became of the answers.
type row struct {
	harm                    string
	given, refused, dropped int
	entries                 int // permits in the log, that are new
	bare, lost              int // given out without an entry; entries that are gone, or of another challenge
	miscounted              int // cards whose attempts are not what the log says
}

// traffic is what callers saw.
type traffic struct {
	mu               sync.Mutex
	given            map[string]string // process to challenge
	refused, dropped int
	stop             chan struct{}
	callers          sync.WaitGroup
}

// begin has callers ask, each one node, until the traffic is ended.
func (w *town) begin(t *testing.T) *traffic {
	t.Helper()
	f := &traffic{given: map[string]string{}, stop: make(chan struct{})}
	for _, n := range w.nodes {
		backend := n.as(t, "identity-manager")
		for range 4 {
			f.callers.Go(func() {
				for {
					select {
					case <-f.stop:
						return
					default:
					}
					if !f.ask(t, backend) {
						time.Sleep(5 * time.Millisecond) // a refusal is no reason to spin
					}
				}
			})
		}
	}
	return f
}

// ask asks for one answer and writes down what came of it.
func (f *traffic) ask(t *testing.T, c *caller) bool {
	challenge := fmt.Sprintf("%016X", rand.Uint64())
	body, err := json.Marshal(api.Respond{Operator: "anna", Challenge: challenge, Reason: reason})
	if err != nil {
		t.Error(err)
		return false
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/cards/"+chaosSerial(rand.IntN(chaosCards))+"/response", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return false
	}
	request.Header.Set("Content-Type", api.JSON)
	var answer api.Response
	status := 0
	response, err := c.client.Do(request)
	if err == nil {
		status = response.StatusCode
		var text []byte
		text, err = io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err == nil && status == http.StatusOK {
			err = json.Unmarshal(text, &answer)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.dropped++
	case status != http.StatusOK:
		f.refused++
	default:
		if _, twice := f.given[answer.Unblock]; twice {
			t.Errorf("process %s was answered twice", answer.Unblock)
		}
		f.given[answer.Unblock] = challenge
		return true
	}
	return false
}

func (f *traffic) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.given)
}

// more waits until some more answers were given out.
func (f *traffic) more(t *testing.T, n int) {
	t.Helper()
	want := f.count() + n
	for deadline := time.Now().Add(patience); f.count() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d answers were given out, and no more come", f.count())
		}
	}
}

func (f *traffic) end() {
	close(f.stop)
	f.callers.Wait()
}

// suffer lets traffic run, does harm to it, waits until answers come again, and
// holds what callers were given against what the log says.
func (w *town) suffer(t *testing.T, harm string, do func(f *traffic)) {
	t.Helper()
	before := w.permits(t)
	f := w.begin(t)
	f.more(t, 20)
	do(f)
	f.more(t, 20)
	f.end()
	after := w.permits(t)
	r := row{harm: harm, given: len(f.given), refused: f.refused, dropped: f.dropped, entries: len(after) - len(before)}
	for process, challenge := range f.given {
		switch logged, there := after[process]; {
		case !there:
			r.bare++
		case logged.Challenge != challenge:
			r.lost++
		}
	}
	for process := range before {
		if _, there := after[process]; !there {
			r.lost++
		}
	}
	logged := map[string]int{}
	for _, e := range after {
		logged[e.Card]++
	}
	counted := w.counted(t)
	for i := range chaosCards {
		if serial := chaosSerial(i); counted[serial] != logged[serial] {
			t.Errorf("%s: %d answers of %s counted, the log has %d", harm, counted[serial], serial, logged[serial])
			r.miscounted++
		}
	}
	if r.bare != 0 || r.lost != 0 {
		t.Errorf("%s: %d answers without an entry, %d entries lost or of another answer", harm, r.bare, r.lost)
	}
	// An answer whose caller was gone has its entry and counts; more than callers did
	// not wait for there cannot be.
	if extra := r.entries - r.given; extra < 0 || extra > r.dropped+r.refused {
		t.Errorf("%s: %d entries for %d answers, %d refusals and %d dropped calls", harm, r.entries, r.given, r.refused, r.dropped)
	}
	w.rows = append(w.rows, r)
}

// permits reads from the log which processes were answered. It checks on the way
// that the log is whole.
func (w *town) permits(t *testing.T) map[string]audit.Entry {
	t.Helper()
	log, done, err := store.OpenLog(t.Context(), w.where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	processes := map[string]audit.Entry{}
	for next := int64(1); ; {
		rows, err := log.Rows(t.Context(), next, store.MaxEntries)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return processes
		}
		for _, r := range rows {
			var e audit.Entry
			if err := json.Unmarshal([]byte(r.Text), &e); err != nil || r.Sequence != next || audit.LeafOf([]byte(r.Text)) != r.Leaf {
				t.Fatalf("entry %d is not whole: %v", next, err)
			}
			next++
			if e.Action != audit.UnblockRespond || e.Outcome != audit.Permit {
				continue
			}
			if _, twice := processes[e.Process]; twice {
				t.Errorf("process %s has two entries of an answer", e.Process)
			}
			processes[e.Process] = e
		}
	}
}

// counted reads how many answers each card was given, while the nodes run.
func (w *town) counted(t *testing.T) map[string]int {
	t.Helper()
	driver, where := "sqlite3", "file:"+w.where+"?mode=ro"
	if strings.HasPrefix(w.where, "postgres:") {
		driver, where = "pgx", w.where
	}
	db, err := sql.Open(driver, where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `SELECT card, count FROM unconfirmed`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	counts := map[string]int{}
	for rows.Next() {
		var serial string
		var n int
		if err := rows.Scan(&serial, &n); err != nil {
			t.Fatal(err)
		}
		counts[serial] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

// finish stops the nodes, and compares the cards' counts of answers with the log.
func (w *town) finish(t *testing.T, name string) {
	t.Helper()
	for _, n := range w.nodes {
		n.stop(t)
	}
	s, err := store.Open(t.Context(), w.where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	counts := map[string]int{}
	for _, e := range w.permits(t) {
		counts[e.Card]++
	}
	for i := range chaosCards {
		standing, err := s.Standing(t.Context(), chaosSerial(i))
		if n := standing.Unconfirmed; err != nil || n != counts[chaosSerial(i)] {
			t.Errorf("%s: %d answers counted, %v; the log has %d", chaosSerial(i), n, err, counts[chaosSerial(i)])
		}
	}
	w.print(t, name)
}

// settle registers the cards.
func (w *town) settle(t *testing.T) {
	t.Helper()
	for i := range chaosCards {
		w.nodes[0].register(t, card.TDES3, chaosSerial(i))
	}
}

// print shows the table, in the test's log and among the artefacts of a run.
func (w *town) print(t *testing.T, name string) {
	t.Helper()
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "given out\trefused\tno answer\tentries\twithout entry\tlost\tmiscounted\t  what was done")
	for _, r := range w.rows {
		_, _ = fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", r.given, r.refused, r.dropped, r.entries, r.bare, r.lost, r.miscounted, r.harm)
	}
	_ = table.Flush() // a builder takes everything
	t.Logf("%s\n%s", name, &text)
	if dir := os.Getenv("LATCHKEY_ARTIFACTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "chaos-"+name+".txt"), []byte(text.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// openToAll is the configuration of a node that turns nobody away.
const openToAll = "limits: {requests_per_second: 100000, burst: 100000, per_operator: none, per_card: none}\n"

// TestChaosOneNode harms a node with an SQLite database in every way that there is,
// under load.
func TestChaosOneNode(t *testing.T) {
	a := prepareAppliance(t)
	disk := smallDisk(t)
	a.dir = disk.path
	fault := faultmodule.Start(t, a.token.Module)
	a.writeConfig(t, fault.Path, openToAll)
	a.start(t)
	w := &town{nodes: []*appliance{a}, where: a.database()}
	w.settle(t)

	for _, call := range []string{"C_DeriveKey", "C_EncryptInit", "C_Encrypt", "C_DestroyObject"} {
		w.suffer(t, "kill -9 within "+call, func(*traffic) {
			release := fault.Hang(call)
			for fault.Hung(call) == 0 {
				time.Sleep(time.Millisecond)
			}
			a.signal(t, syscall.SIGKILL)
			release()
			a.start(t)
		})
	}
	for i := range 5 {
		w.suffer(t, fmt.Sprintf("kill -9 at some moment, %d", i+1), func(f *traffic) {
			f.more(t, 1+rand.IntN(50))
			a.signal(t, syscall.SIGKILL)
			a.start(t)
		})
	}
	w.suffer(t, "SIGTERM", func(*traffic) {
		a.stop(t)
		a.start(t)
	})
	w.suffer(t, "HSM gone", func(f *traffic) {
		fault.LoseToken()
		f.turnedAway(t)
		fault.RestoreToken()
	})
	w.suffer(t, "HSM slow", func(f *traffic) {
		fault.Delay("C_DeriveKey", 100*time.Millisecond)
		f.more(t, 5)
		fault.Clear()
	})
	w.suffer(t, "HSM hangs", func(f *traffic) {
		release := fault.Hang("C_DeriveKey")
		f.turnedAway(t)
		release()
	})
	w.suffer(t, "disk full", func(f *traffic) {
		free := disk.fill(t)
		f.turnedAway(t)
		free()
	})
	w.suffer(t, "disk read-only", func(f *traffic) {
		a.signal(t, syscall.SIGKILL) // a disk that is written to is not made read-only
		disk.readOnly(t, true)
		f.cutOff(t)
		disk.readOnly(t, false)
		a.start(t)
	})
	w.finish(t, "one-node")
}

// turnedAway waits until callers are refused, or not answered.
func (f *traffic) turnedAway(t *testing.T) {
	t.Helper()
	f.until(t, func() bool { return f.refused >= 5 })
}

// cutOff waits until callers get no answer at all.
func (f *traffic) cutOff(t *testing.T) {
	t.Helper()
	f.until(t, func() bool { return f.dropped >= 5 })
}

func (f *traffic) until(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		f.mu.Lock()
		done := holds()
		f.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("callers go on: %d given out, %d refused, %d dropped", f.count(), f.refused, f.dropped)
		}
	}
}

// disk is a file system of the test's own, in memory.
type disk struct{ path string }

func smallDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t.TempDir()}
	if err := unix.Mount("latchkey-chaos", d.path, "tmpfs", 0, "size=64m,mode=0700"); err != nil {
		t.Fatalf("mount a file system to fill, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill leaves no byte free.
func (d *disk) fill(t *testing.T) (free func()) {
	t.Helper()
	name := filepath.Join(d.path, "ballast")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	_ = file.Close() // there was no room for what it holds
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *disk) readOnly(t *testing.T, is bool) {
	t.Helper()
	flags := uintptr(unix.MS_REMOUNT)
	if is {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("latchkey-chaos", d.path, "tmpfs", flags, "size=64m,mode=0700"); err != nil {
		t.Fatal(err)
	}
}

// TestChaosNodes harms two nodes that share a PostgreSQL database. One of them is a
// host of its own, with a cable to the database that can be cut.
func TestChaosNodes(t *testing.T) {
	house, far := newNamespace(t, "db"), newNamespace(t, "node")
	const database, node = "198.18.77.1", "198.18.77.2" // of RFC 2544, for trials
	connect(t, house, database+"/30", far, node+"/30")
	server, err := throwawaypg.Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	a := prepareAppliance(t)
	certificate, err := a.ca.Server(database)
	if err != nil {
		t.Fatal(err)
	}
	server.Listen, server.Certificate = database, certificate.CertificatePEM()
	if server.Key, err = certificate.KeyPEM(); err != nil {
		t.Fatal(err)
	}
	startServer := func() {
		t.Helper()
		if err := house.inside(func() error { return server.Start(t.Context()) }); err != nil {
			t.Fatal(err)
		}
	}
	startServer()
	where, err := server.Database(t.Context(), "chaos")
	if err != nil {
		t.Fatal(err)
	}

	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := a.ca.Write(ca); err != nil {
		t.Fatal(err)
	}
	a.store = fmt.Sprintf("{postgres: {url: %q}}", where)
	a.writeConfig(t, a.token.Module, openToAll)
	a.start(t)
	// The same token and the same CA on another host.
	b := &appliance{token: a.token, ca: a.ca, dir: t.TempDir(), url: "https://" + freeAddress(t), place: far}
	b.store = fmt.Sprintf("{postgres: {url: %q}}", "postgres://latchkey@"+database+"/chaos?sslmode=verify-full&sslrootcert="+ca)
	b.writeConfig(t, a.token.Module, openToAll)
	b.start(t)
	w := &town{nodes: []*appliance{a, b}, where: where}
	w.settle(t)

	for i := range 3 {
		w.suffer(t, fmt.Sprintf("kill -9 of a node, %d", i+1), func(f *traffic) {
			f.more(t, 1+rand.IntN(50))
			b.signal(t, syscall.SIGKILL)
			f.more(t, 20) // of the other
			b.start(t)
		})
	}
	w.suffer(t, "both nodes restarted in turn", func(f *traffic) {
		for _, n := range w.nodes {
			n.stop(t)
			f.more(t, 20)
			n.start(t)
		}
	})
	w.suffer(t, "PostgreSQL crashes", func(f *traffic) {
		if err := server.Crash(); err != nil {
			t.Fatal(err)
		}
		f.turnedAway(t)
		startServer()
	})
	w.suffer(t, "PostgreSQL restarts", func(f *traffic) {
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		f.turnedAway(t)
		startServer()
	})
	w.suffer(t, "network between a node and the database cut", func(f *traffic) {
		far.cable(t, "down")
		f.more(t, 20) // of the other, once the database has let go of what this one held
		far.cable(t, "up")
	})
	w.finish(t, "two-nodes")
}
