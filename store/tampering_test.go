package store_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/audit"
	"latchkey/store"
)

// asAttacker changes a database file as somebody does who can write to it and knows
// how it is made: without the triggers.
func asAttacker(t *testing.T, path string, work func(exec func(query string, args ...any))) {
	t.Helper()
	db := must[*sql.DB](t)(sql.Open("sqlite3", path))
	defer func() { _ = db.Close() }()
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	rows, err := db.QueryContext(t.Context(), `SELECT name FROM sqlite_schema WHERE type = 'trigger'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		exec("DROP TRIGGER " + name)
	}
	work(exec)
}

// replant makes the whole tree of a database anew from what its entries say now, as
// an attacker would who has this program. It needs the columns to be empty.
func replant(t *testing.T, path string) {
	t.Helper()
	if err := must[*store.Store](t)(store.Open(t.Context(), path)).Close(); err != nil {
		t.Fatal(err)
	}
}

func signAt(t *testing.T, l *store.Log, size int64, key *ecdsa.PrivateKey) audit.Checkpoint {
	t.Helper()
	head := must[audit.Head](t)(l.Head(t.Context()))
	root := must[audit.Hash](t)(audit.KeptOf(t.Context(), l).Root(size))
	return must[audit.Checkpoint](t)(audit.SignCheckpoint(head.Origin, size, root, key))
}

// verifyFile exports the log of a database file and verifies that.
func verifyFile(t *testing.T, path string, from int64, key *ecdsa.PrivateKey, older string) (audit.Report, string) {
	t.Helper()
	l, done, err := store.OpenLog(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	var export bytes.Buffer
	must[audit.Head](t)(audit.Export(t.Context(), &export, l, from))
	text := export.String()
	return must[audit.Report](t)(audit.Verify(&export, []*ecdsa.PublicKey{&key.PublicKey}, older)), text
}

// TestTamperingIsFound does to a real database file whatever somebody might who can
// write to it, and looks whether the export of it convicts.
func TestTamperingIsFound(t *testing.T) {
	folder := t.TempDir()
	genuine := filepath.Join(folder, "genuine.db")
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	another := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))

	s := must[*store.Store](t)(store.Open(t.Context(), genuine))
	var copied []byte // of the database as it once was
	var older audit.Checkpoint
	for i := 1; i <= 600; i++ {
		if err := s.Append(t.Context(), audit.Entry{Action: audit.UnblockRespond, Outcome: audit.Permit, Client: "idm", Card: fmt.Sprint("card-", i)}); err != nil {
			t.Fatal(err)
		}
		if i == 100 || i == 250 || i == 590 {
			older2 := signAt(t, s.Log(), int64(i), key)
			if err := s.KeepCheckpoint(t.Context(), older2, moment); err != nil {
				t.Fatal(err)
			}
			if i == 250 {
				older = older2
			}
		}
		if i == 200 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			copied = must[[]byte](t)(os.ReadFile(genuine))
			s = must[*store.Store](t)(store.Open(t.Context(), genuine))
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{1, 2, 101, 251, 591, 600} {
		checkpoint := older.Note
		if from > 251 {
			checkpoint = ""
		}
		report, export := verifyFile(t, genuine, from, key, checkpoint)
		if from < 591 && (!report.Sound() || report.Signed != 590 || report.Size != 600 || strings.Count(export, `"card"`) != int(601-from)) {
			t.Errorf("the genuine log from %d on: %+v", from, report)
		}
		if from >= 591 && report.Sound() {
			t.Errorf("entries from %d on are under no checkpoint, and yet: %+v", from, report)
		}
	}

	type exec = func(query string, args ...any)
	const rehash = `UPDATE audit_entries SET leaf = NULL; DELETE FROM audit_nodes`
	renumber := func(exec exec, from, by int) {
		exec(`UPDATE audit_entries SET sequence = -sequence WHERE sequence >= ?`, from)
		exec(`UPDATE audit_entries SET sequence = -sequence + ?1, entry = '{"sequence":' || (-sequence + ?1) || substr(entry, instr(entry, ',')) WHERE sequence < 0`, by)
	}
	tests := map[string]struct {
		attack func(exec)
		again  bool   // the attacker computes the tree anew
		older  bool   // the auditor has an older checkpoint
		want   string // of the findings
	}{
		"an entry is changed": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = replace(entry, 'permit', 'deny') WHERE sequence = 42`)
		}, want: "entry 42 was changed"},
		"entries are changed": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = replace(entry, 'idm', 'eve') WHERE sequence BETWEEN 255 AND 258`)
		}, want: "entries 255 to 258 were changed"},
		"an entry is changed and its tree too": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = replace(entry, 'permit', 'deny') WHERE sequence = 142`)
			exec(rehash)
		}, again: true, want: "something in entries 101 to 250 was changed"},
		"an entry is no longer JSON": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = 'gone' || char(10) || '{"end":{"size":600}}' WHERE sequence = 300`)
		}, want: "entry 300 was changed"},
		"the tail is cut": {attack: func(exec exec) {
			exec(`DELETE FROM audit_entries WHERE sequence > 580`)
		}, want: "cut after entry 580: a checkpoint is over 590"},
		"the tail is cut with its checkpoint": {attack: func(exec exec) {
			exec(`DELETE FROM audit_entries WHERE sequence > 240`)
			exec(`DELETE FROM audit_checkpoints WHERE size > 240`)
			exec(`DELETE FROM audit_nodes`)
		}, older: true, want: "the log ends at entry 240 and the older checkpoint is over 250"},
		"the middle is cut": {attack: func(exec exec) {
			exec(`DELETE FROM audit_entries WHERE sequence BETWEEN 300 AND 310`)
		}, want: "entries 300 to 310 were cut out"},
		"the middle is cut and closed up": {attack: func(exec exec) {
			exec(`DELETE FROM audit_entries WHERE sequence = 300`)
			renumber(exec, 301, -1)
		}, want: "hold what were entries 301 to"},
		"the middle is cut, closed up, and its tree too": {attack: func(exec exec) {
			exec(`DELETE FROM audit_entries WHERE sequence = 300`)
			renumber(exec, 301, -1)
			exec(`UPDATE audit_checkpoints SET size = 589 WHERE size = 590`)
			exec(rehash)
		}, again: true, want: "a checkpoint is over 590|something in entries 251 to 590"},
		"bodies are taken away": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = '' WHERE sequence = 300`)
		}, want: "entry 300 was cut out"},
		"bodies are taken away as if they were pruned": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = '' WHERE sequence <= 300`)
			exec(`UPDATE audit_log SET pruned = 300`)
		}, want: "bodies up to entry 300 are gone, and no entry under a checkpoint tells"},
		"two entries are swapped": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET sequence = CASE sequence WHEN 70 THEN -71 ELSE -70 END WHERE sequence IN (70, 71)`)
			exec(`UPDATE audit_entries SET sequence = -sequence WHERE sequence < 0`)
		}, want: "swapped"},
		"two entries are swapped and renumbered": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = (SELECT '{"sequence":' || audit_entries.sequence || substr(o.entry, instr(o.entry, ','))
				FROM audit_entries o WHERE o.sequence = 141 - audit_entries.sequence) WHERE sequence IN (70, 71)`)
		}, want: "entry 70 holds what was entry 71"},
		"an entry is inserted": {attack: func(exec exec) {
			renumber(exec, 300, 1)
			exec(`INSERT INTO audit_entries (sequence, entry, leaf) SELECT 300, replace(entry, '{"sequence":299,', '{"sequence":300,'), leaf FROM audit_entries WHERE sequence = 299`)
		}, want: "entries 300 to 512 hold what were entries 299 to 511: something was inserted"},
		"an entry is inserted and not renumbered": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET sequence = -sequence - 1 WHERE sequence >= 300`)
			exec(`UPDATE audit_entries SET sequence = -sequence WHERE sequence < 0`)
			exec(`INSERT INTO audit_entries (sequence, entry, leaf) SELECT 300, entry, leaf FROM audit_entries WHERE sequence = 299`)
		}, want: "entry 299 came twice"},
		"an entry is there twice": {attack: func(exec exec) {
			exec(`INSERT INTO audit_entries (sequence, entry, leaf) SELECT 601, entry, leaf FROM audit_entries WHERE sequence = 600`)
		}, want: "entry 600 came twice"},
		"all is rewritten with another key": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET entry = replace(entry, 'idm', 'eve')`)
			exec(`DELETE FROM audit_checkpoints`)
			exec(rehash)
		}, again: true, want: "not signed by a key that is trusted"},
		"the checkpoints are taken away": {attack: func(exec exec) {
			exec(`DELETE FROM audit_checkpoints`)
		}, want: "nothing is proved"},
		"a checkpoint is of another log": {attack: func(exec exec) {
			exec(`UPDATE audit_log SET origin = 'latchkey/another'`)
		}, want: "of another log"},
		"a leaf is changed": {attack: func(exec exec) {
			exec(`UPDATE audit_entries SET leaf = zeroblob(32) WHERE sequence = 600`)
		}, want: "entry 600 was changed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "latchkey.db")
			if err := os.WriteFile(path, must[[]byte](t)(os.ReadFile(genuine)), 0o600); err != nil {
				t.Fatal(err)
			}
			asAttacker(t, path, test.attack)
			if test.again {
				replant(t, path)
			}
			if strings.HasPrefix(name, "all is") {
				l, done, err := store.OpenLog(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				forged := signAt(t, l, 600, another)
				_ = done()
				asAttacker(t, path, func(exec exec) {
					exec(`INSERT INTO audit_checkpoints (size, note, created_at) VALUES (600, ?, 0)`, forged.Note)
				})
			}
			checkpoint := ""
			if test.older {
				checkpoint = older.Note
			}
			report, _ := verifyFile(t, path, 1, key, checkpoint)
			found := strings.Join(report.Findings, "\n")
			hit := false
			for _, want := range strings.Split(test.want, "|") {
				hit = hit || strings.Contains(found, want)
			}
			if !hit {
				t.Errorf("found:\n%s\nwant: %s", found, test.want)
			}
		})
	}
	t.Run("an older copy is put back", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "latchkey.db")
		if err := os.WriteFile(path, copied, 0o600); err != nil {
			t.Fatal(err)
		}
		if report, _ := verifyFile(t, path, 1, key, ""); !report.Sound() {
			t.Errorf("the copy by itself: %+v", report)
		}
		report, _ := verifyFile(t, path, 1, key, older.Note)
		if found := strings.Join(report.Findings, "\n"); !strings.Contains(found, "the log ends at entry 200 and the older checkpoint is over 250: it was cut, or an older copy of it was put back") {
			t.Errorf("found:\n%s", found)
		}
	})
	t.Run("the export is cut off", func(t *testing.T) {
		_, export := verifyFile(t, genuine, 1, key, "")
		export = export[:len(export)*2/3]
		report := must[audit.Report](t)(audit.Verify(strings.NewReader(export[:strings.LastIndex(export, "\n")]), []*ecdsa.PublicKey{&key.PublicKey}, ""))
		if !strings.Contains(strings.Join(report.Findings, "\n"), "breaks off after") {
			t.Errorf("%+v", report)
		}
	})
}

func TestTamperingWithAProofIsFound(t *testing.T) {
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	keys := []*ecdsa.PublicKey{&key.PublicKey}
	s := newStore(t)
	for i := range 300 {
		if err := s.Append(t.Context(), audit.Entry{Card: fmt.Sprint("card-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.KeepCheckpoint(t.Context(), signAt(t, s.Log(), 299, key), moment); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Prove(context.Background(), s.Log(), 300); !errors.Is(err, audit.ErrUnproved) {
		t.Errorf("an entry that no checkpoint is over: %v", err)
	}
	for _, n := range []int64{1, 256, 257, 299} {
		proof := must[string](t)(audit.Prove(t.Context(), s.Log(), n))
		row, c, err := audit.VerifyProof(proof, keys)
		if err != nil || row.Sequence != n || c.Size != 299 || !strings.Contains(row.Text, fmt.Sprint("card-", n-1)) {
			t.Errorf("entry %d: %v %v %v", n, row, c, err)
		}
		lines := strings.Split(proof, "\n")
		forged := strings.Replace(proof, lines[1], "extra "+base64.StdEncoding.EncodeToString([]byte(strings.Replace(row.Text, "card-", "CARD-", 1))), 1)
		for _, bad := range []string{
			forged,
			strings.Replace(proof, lines[2], fmt.Sprintf("index %d", n), 1),
			strings.Replace(proof, lines[3]+"\n", "", 1),
			strings.Replace(proof, "\n299\n", "\n300\n", 1),
			"", "c2sp.org/tlog-proof@v1",
		} {
			if _, _, err := audit.VerifyProof(bad, keys); err == nil {
				t.Errorf("entry %d: this proof holds:\n%s", n, bad)
			}
		}
	}
}
