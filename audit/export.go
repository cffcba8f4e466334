package audit

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Format is what an export says that it is.
const Format = "latchkey-audit-export/1"

// Head is what a log says of itself.
type Head struct {
	Origin string
	Size   int64 // how many entries it has
	Pruned int64 // up to which entry the bodies are pruned
}

// Source is a log to be read. Rows and checkpoints come in order; less than the
// limit, or none, where there are no more.
type Source interface {
	Head(ctx context.Context) (Head, error)
	Rows(ctx context.Context, from int64, limit int) ([]Row, error)
	Hashes(ctx context.Context, level int, place, n int64) ([]Hash, error)
	// Checkpoints gives those over size entries or more.
	Checkpoints(ctx context.Context, size int64, limit int) ([]Checkpoint, error)
	// Newest is the one over the most entries, the zero Checkpoint where there is none.
	Newest(ctx context.Context) (Checkpoint, error)
}

// KeptOf reads the tree of a log.
func KeptOf(ctx context.Context, s Source) Kept {
	return func(level int, place, n int64) ([]Hash, error) { return s.Hashes(ctx, level, place, n) }
}

// line is a line of an export that is no entry: exactly one of these.
type line struct {
	Header     *header `json:"header,omitempty"`
	Leaves     *leaves `json:"leaves,omitempty"`
	Damaged    *string `json:"damaged,omitempty"` // an entry that no entry looks like
	Checkpoint string  `json:"checkpoint,omitempty"`
	End        *end    `json:"end,omitempty"`
}

type header struct {
	Format string `json:"format"`
	Origin string `json:"origin"`
	From   int64  `json:"from"`
	Size   int64  `json:"size"`
	Pruned int64  `json:"pruned"`
	// Before are the roots of the complete subtrees of the entries before From.
	Before []Hash `json:"before"`
}

// leaves are the leaf hashes of the entries that follow.
type leaves struct {
	From   int64  `json:"from"`
	Hashes string `json:"hashes"` // base64 of 32 bytes each
}

type end struct {
	Size int64 `json:"size"`
}

// Export writes the log from an entry on, as JSON lines: a header; then, up to 256
// at a time, the leaf hashes of entries and the entries themselves, each line every
// byte of what its leaf is the hash of; the checkpoints where the entries that they
// are over end; and a line that says that this is the end. It tells how many
// entries it wrote.
//
// It takes the log as it finds it: what is wrong with it is for Verify to find.
func Export(ctx context.Context, to io.Writer, s Source, from int64) (Head, error) {
	head, err := export(ctx, to, s, max(from, 1))
	if err != nil {
		return head, fmt.Errorf("export the audit log: %w", err)
	}
	return head, nil
}

func export(ctx context.Context, to io.Writer, s Source, from int64) (Head, error) {
	head, err := s.Head(ctx)
	if err != nil {
		return head, err
	}
	if from > head.Size+1 {
		return head, fmt.Errorf("it has %d entries and none from %d on", head.Size, from)
	}
	before, err := KeptOf(ctx, s).Before(from - 1)
	if err != nil {
		return head, err
	}
	w := bufio.NewWriterSize(to, 64<<10)
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	err = out.Encode(line{Header: &header{Format, head.Origin, from, head.Size, head.Pruned, before}})
	marks := checkpoints{source: s, from: from}
	for next := from; err == nil && next <= head.Size; {
		var rows []Row
		if rows, err = s.Rows(ctx, next, int(min(Width, head.Size-next+1))); err != nil || len(rows) == 0 {
			break
		}
		// The leaves of a line are of entries that follow each other.
		n := 1
		for n < len(rows) && rows[n].Sequence == rows[0].Sequence+int64(n) {
			n++
		}
		err = exportRows(ctx, w, out, rows[:n], &marks)
		next = rows[n-1].Sequence + 1
	}
	// Those that are left are over more entries than there are, which tells of a cut.
	for c, ok := marks.upTo(ctx, 1<<62, &err); ok; c, ok = marks.upTo(ctx, 1<<62, &err) {
		err = out.Encode(line{Checkpoint: c.Note})
	}
	if err == nil {
		err = out.Encode(line{End: &end{head.Size}})
	}
	return head, errors.Join(err, w.Flush())
}

func exportRows(ctx context.Context, w *bufio.Writer, out *json.Encoder, rows []Row, marks *checkpoints) error {
	hashes := make([]byte, 0, len(rows)*tlog.HashSize)
	for _, r := range rows {
		hashes = append(hashes, r.Leaf[:]...)
	}
	err := out.Encode(line{Leaves: &leaves{rows[0].Sequence, base64.StdEncoding.EncodeToString(hashes)}})
	for _, r := range rows {
		switch _, _, ok := sequenceOf(r.Text); {
		case err != nil:
		case r.Text == "":
		case !ok || strings.ContainsAny(r.Text, "\r\n"):
			err = out.Encode(line{Damaged: &r.Text})
		default:
			_, err = w.WriteString(r.Text + "\n")
		}
		for c, ok := marks.upTo(ctx, r.Sequence, &err); ok; c, ok = marks.upTo(ctx, r.Sequence, &err) {
			err = out.Encode(line{Checkpoint: c.Note})
		}
	}
	return err
}

// checkpoints reads a log's checkpoints one after the other.
type checkpoints struct {
	source Source
	from   int64
	page   []Checkpoint
	ended  bool
}

// upTo gives the next checkpoint, if it is over no more than size entries.
func (m *checkpoints) upTo(ctx context.Context, size int64, err *error) (Checkpoint, bool) {
	if *err != nil {
		return Checkpoint{}, false
	}
	if len(m.page) == 0 && !m.ended {
		if m.page, *err = m.source.Checkpoints(ctx, m.from, Width); *err != nil {
			return Checkpoint{}, false
		}
		m.ended = len(m.page) == 0
	}
	if len(m.page) == 0 || m.page[0].Size > size {
		return Checkpoint{}, false
	}
	c := m.page[0]
	m.page, m.from = m.page[1:], c.Size+1
	return c, true
}

// proofFormat is the first line of a proof of one entry, C2SP tlog-proof.
const proofFormat = "c2sp.org/tlog-proof@v1"

// ErrUnproved says that an entry is not under a checkpoint yet, or not there.
var ErrUnproved = errors.New("the entry is under no checkpoint")

// Prove proves that an entry is in the log, under the newest checkpoint: a text in
// the form C2SP tlog-proof, with the entry's JSON as its extra data.
func Prove(ctx context.Context, s Source, sequence int64) (string, error) {
	rows, err := s.Rows(ctx, sequence, 1)
	if err != nil {
		return "", fmt.Errorf("prove entry %d: %w", sequence, err)
	}
	newest, err := s.Newest(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("prove entry %d: %w", sequence, err)
	case len(rows) == 0 || rows[0].Sequence != sequence || newest.Size < sequence:
		return "", fmt.Errorf("entry %d: %w", sequence, ErrUnproved)
	case rows[0].Text == "":
		return "", fmt.Errorf("entry %d: %w: its body was pruned", sequence, ErrUnproved)
	}
	hashes, err := tlog.ProveRecord(newest.Size, sequence-1, KeptOf(ctx, s))
	if err != nil {
		return "", fmt.Errorf("prove entry %d: %w", sequence, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofFormat, base64.StdEncoding.EncodeToString([]byte(rows[0].Text)), sequence-1)
	for _, h := range hashes {
		fmt.Fprintln(&b, h)
	}
	b.WriteString("\n" + newest.Note)
	return b.String(), nil
}

// ErrProof says that a proof of an entry does not hold.
var ErrProof = errors.New("the proof does not hold")

// VerifyProof verifies a proof and gives the entry that it is of. The error is
// ErrCheckpoint, ErrSignature or ErrProof.
func VerifyProof(text string, keys []*ecdsa.PublicKey) (Row, Checkpoint, error) {
	proof, signed, _ := strings.Cut(text, "\n\n")
	c, err := OpenCheckpoint(signed, keys)
	if err != nil {
		return Row{}, Checkpoint{}, err
	}
	lines := strings.Split(proof, "\n")
	if len(lines) < 3 || lines[0] != proofFormat {
		return Row{}, Checkpoint{}, fmt.Errorf("%w: it is none", ErrProof)
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return Row{}, Checkpoint{}, fmt.Errorf("%w: it holds no entry", ErrProof)
	}
	sequence, _, ok := sequenceOf(string(entry))
	if !ok || lines[2] != fmt.Sprintf("index %d", sequence-1) {
		return Row{}, Checkpoint{}, fmt.Errorf("%w: its entry is another than the one that it is of", ErrProof)
	}
	hashes := make(tlog.RecordProof, len(lines)-3)
	for i, l := range lines[3:] {
		if hashes[i], err = tlog.ParseHash(l); err != nil {
			return Row{}, Checkpoint{}, fmt.Errorf("%w: hash %d: %w", ErrProof, i+1, err)
		}
	}
	leaf := LeafOf(entry)
	if err := tlog.CheckRecord(hashes, c.Size, c.Root, sequence-1, leaf); err != nil {
		return Row{}, Checkpoint{}, fmt.Errorf("%w: entry %d is not in the log as this says it: %w", ErrProof, sequence, err)
	}
	return Row{sequence, string(entry), leaf}, c, nil
}
