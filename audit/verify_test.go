package audit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// memory is a log in memory.
type memory struct {
	rows        []Row
	checkpoints []Checkpoint
}

func (m *memory) Head(context.Context) (Head, error) {
	return Head{Origin: "latchkey/test", Size: int64(len(m.rows))}, nil
}

func (m *memory) Rows(_ context.Context, from int64, limit int) ([]Row, error) {
	rest := m.rows[min(int(from)-1, len(m.rows)):]
	return rest[:min(limit, len(rest))], nil
}

func (m *memory) Hashes(_ context.Context, level int, place, n int64) (list []Hash, err error) {
	for i := place; i < place+n; i++ {
		var below []Hash
		for _, r := range m.rows[i<<level : (i+1)<<level] {
			below = append(below, r.Leaf)
		}
		list = append(list, Fold(below))
	}
	return list, nil
}

func (m *memory) Checkpoints(_ context.Context, size int64, _ int) (list []Checkpoint, err error) {
	for _, c := range m.checkpoints {
		if c.Size >= size {
			list = append(list, c)
		}
	}
	return list, nil
}

func (m *memory) Newest(context.Context) (Checkpoint, error) {
	return m.checkpoints[len(m.checkpoints)-1], nil
}

// testKey is the same in every process of a fuzz run.
func testKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func exportOf(t testing.TB, entries int, sizes ...int64) (string, *ecdsa.PrivateKey) {
	t.Helper()
	key, m := testKey(t), &memory{}
	for i := 1; i <= entries; i++ {
		text := fmt.Sprintf(`{"sequence":%d,"action":"unblock.respond","client":"idm"}`, i)
		m.rows = append(m.rows, Row{int64(i), text, LeafOf([]byte(text))})
	}
	for _, size := range sizes {
		root, err := KeptOf(t.Context(), m).Root(size)
		if err != nil {
			t.Fatal(err)
		}
		c, err := SignCheckpoint("latchkey/test", size, root, key)
		if err != nil {
			t.Fatal(err)
		}
		m.checkpoints = append(m.checkpoints, c)
	}
	var b bytes.Buffer
	if _, err := Export(t.Context(), &b, m, 1); err != nil {
		t.Fatal(err)
	}
	return b.String(), key
}

// A clock that was set back makes nothing unsound, and is told of.
func TestClockSetBack(t *testing.T) {
	key, m := testKey(t), &memory{}
	for i, at := range []string{"10:00:00", "10:00:01", "09:59:59.5", "15:00:00", "10:00:02", "10:00:03", "09:58:00"} {
		text := fmt.Sprintf(`{"sequence":%d,"time":"2026-11-25T%sZ","action":"unblock.respond","client":"idm"}`, i+1, at)
		m.rows = append(m.rows, Row{int64(i + 1), text, LeafOf([]byte(text))})
	}
	root, err := KeptOf(t.Context(), m).Root(7)
	if err != nil {
		t.Fatal(err)
	}
	c, err := SignCheckpoint("latchkey/test", 7, root, key)
	if err != nil {
		t.Fatal(err)
	}
	m.checkpoints = []Checkpoint{c}
	var b bytes.Buffer
	if _, err := Export(t.Context(), &b, m, 1); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(&b, []*ecdsa.PublicKey{&key.PublicKey}, "")
	if err != nil || !r.Sound() || r.Backwards == nil || *r.Backwards != (Backwards{Times: 2, First: 5, Seconds: 5*3600 - 2}) {
		t.Errorf("%+v %+v, %v", r, r.Backwards, err)
	}
}

// The tree that grows leaf by leaf has the roots that the library computes.
func TestGrowing(t *testing.T) {
	var g Growing
	var stored []Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (list []Hash, err error) {
		for _, i := range indexes {
			list = append(list, stored[i])
		}
		return list, nil
	})
	for n := int64(0); n < 600; n++ {
		want, err := tlog.TreeHash(n, reader)
		if err != nil || g.Root() != want {
			t.Fatalf("root over %d: %v", n, err)
		}
		text := fmt.Append(nil, n)
		hashes, err := tlog.StoredHashes(n, text, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		g.Add(LeafOf(text))
	}
}

// Other tools read the checkpoint, and find the key by its ID as C2SP defines it.
func TestCheckpointIsASignedNote(t *testing.T) {
	key := testKey(t)
	c, err := SignCheckpoint("latchkey/test", 3, LeafOf(nil), key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := VerifierKey("latchkey/test", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	name, rest, _ := strings.Cut(text, "+")
	id, _, _ := strings.Cut(rest, "+")
	verifier, err := newNoteKey(name, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(c.Note), note.VerifierList(verifier))
	if err != nil || len(n.Sigs) != 1 || fmt.Sprintf("%08x", n.Sigs[0].Hash) != id {
		t.Fatalf("%+v, %v; key %s", n, err, text)
	}
	if tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + strings.SplitN(n.Text, "\n", 2)[1])); err != nil || tree.N != 3 || tree.Hash != c.Root {
		t.Errorf("%+v, %v", tree, err)
	}
	for name, bad := range map[string]string{
		"another size":   strings.Replace(c.Note, "\n3\n", "\n4\n", 1),
		"another origin": strings.Replace(c.Note, "latchkey/test\n", "latchkey/rest\n", 1),
		"no signature":   n.Text,
		"size 03":        strings.Replace(c.Note, "\n3\n", "\n03\n", 1),
		"empty":          "",
	} {
		if _, err := OpenCheckpoint(bad, []*ecdsa.PublicKey{&key.PublicKey}); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := OpenCheckpoint(c.Note, nil); err == nil {
		t.Error("it is taken without a key")
	}
}

// FuzzVerify reads anything for an export. What is found sound must hold, of the
// entries under a signature, those that were signed and no others.
func FuzzVerify(f *testing.F) {
	genuine, key := exportOf(f, 300, 100, 290)
	small, _ := exportOf(f, 3, 2, 3)
	known := make(map[string]bool)
	for _, l := range strings.Split(genuine+small, "\n") {
		known[l] = true
	}
	keys := []*ecdsa.PublicKey{&key.PublicKey}
	if r, err := Verify(strings.NewReader(genuine), keys, ""); err != nil || !r.Sound() || r.Signed != 290 || r.Checkpoints != 2 {
		f.Fatal(r, err)
	}
	f.Add(small)
	f.Add(strings.Replace(small, `"sequence":2`, `"sequence":3`, 1))
	f.Add(strings.Replace(small, `{"end"`, `{"damaged":"x"}`+"\n"+`{"end"`, 1))
	f.Add(genuine[:len(genuine)/2])
	f.Add(`{"header":{"format":"latchkey-audit-export/1","origin":"x","from":9223372036854775807,"size":9223372036854775807,"before":[]}}`)
	f.Add(`{"header":{"format":"latchkey-audit-export/1","origin":"x","from":1,"size":0,"pruned":9,"before":[]}}` + "\n" + `{"leaves":{"from":9223372036854775807,"hashes":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Verify(strings.NewReader(text), keys, "")
		if err != nil || !r.Sound() || r.From != 1 {
			return
		}
		for _, l := range strings.Split(text, "\n") {
			l = strings.TrimSuffix(l, "\r")
			if n, _, ok := sequenceOf(l); ok && n <= r.Signed && !known[l] {
				t.Errorf("found sound with an entry that was never signed: %q", l)
			}
		}
	})
}
