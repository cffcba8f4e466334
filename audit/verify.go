package audit

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// maxLine bounds a line of an export, in bytes.
	maxLine = 1 << 20
	// maxFindings bounds how many findings a report lists.
	maxFindings = 100
)

// Report is what verifying an export came to.
type Report struct {
	Origin string `json:"origin"`
	// From and Size say which entries the export is of: From to Size.
	From int64 `json:"from"`
	Size int64 `json:"size"`
	// Pruned is the number up to which bodies were pruned, as the log itself tells.
	Pruned int64 `json:"pruned,omitempty"`
	// Signed is how many entries from the log's first on the newest checkpoint is over
	// that was proved; Checkpoints how many were.
	Signed      int64 `json:"signed"`
	Checkpoints int   `json:"checkpoints"`
	// Backwards tells where the clock was set back, if it was. The order of entries is
	// proved and is that of their numbers; their times are what the clock said.
	Backwards *Backwards `json:"backwards,omitempty"`
	// Findings is what is wrong, in words. Omitted is how many more there are.
	Findings []string `json:"findings"`
	Omitted  int      `json:"omitted,omitempty"`
}

// Backwards is how often an entry is dated a minute or more before the one that comes
// before it, from which entry on it first was, and by how much at most, in seconds.
type Backwards struct {
	Times   int   `json:"times"`
	First   int64 `json:"first"`
	Seconds int64 `json:"seconds"`
}

// Sound tells that nothing was found wrong.
func (r Report) Sound() bool { return len(r.Findings) == 0 }

// ErrExport says that what was read is no export of an audit log.
var ErrExport = errors.New("not an export of an audit log")

// Verify reads an export and proves it against the public keys, of which one must
// have signed each checkpoint. With an older checkpoint, which must be signed too, it
// proves that the log only grew since. It trusts nothing else, and reads any length in
// little memory. The report says what is wrong with the log; the error is ErrExport,
// ErrSignature of the older checkpoint, or one of reading.
func Verify(from io.Reader, keys []*ecdsa.PublicKey, older string) (Report, error) {
	v := &verifier{keys: keys}
	if older != "" {
		c, err := OpenCheckpoint(older, keys)
		if err != nil {
			return Report{}, fmt.Errorf("the older checkpoint: %w", err)
		}
		v.older = &c
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		if err := v.line(lines.Bytes()); err != nil {
			return Report{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return Report{}, fmt.Errorf("read the export: %w", err)
	}
	return v.report()
}

// verifier goes through an export.
type verifier struct {
	keys   []*ecdsa.PublicKey
	older  *Checkpoint
	header *header
	ended  *end

	tree   Growing
	broken bool // leaves are missing, so no later root can be computed

	// group is the leaves of the entries that come now, the first of which is number
	// first; added of them are in the tree; seen are the entries that came.
	group []Hash
	first int64
	added int
	seen  []bool
	next  int64 // the entry expected

	signed      int64
	checkpoints int
	unfit       bool  // a checkpoint did not fit, so later ones do not either
	told        int64 // of pruning, by entries
	tells       []told
	dated       time.Time // the entry before, where its time could be read
	backwards   *Backwards
	list        []finding
	omitted     int
}

// told is what an entry tells of pruning.
type told struct{ by, pruned int64 }

func (v *verifier) line(text []byte) error {
	if v.header == nil {
		return v.begin(text)
	}
	if v.ended != nil {
		v.find(finding{what: "lines come after the end of the export"})
		return nil
	}
	if bytes.HasPrefix(text, []byte(sequencePrefix)) {
		v.entry(string(text))
		return nil
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		v.find(finding{what: fmt.Sprintf("after entry %d comes a line that is none of an export", v.next-1)})
		return nil
	}
	switch {
	case l.Leaves != nil:
		v.leaves(*l.Leaves)
	case l.Damaged != nil:
		v.find(finding{kind: changed, from: v.next})
		v.see(v.next)
	case l.Checkpoint != "":
		v.checkpoint(l.Checkpoint)
	case l.End != nil:
		v.ended = l.End
	default:
		v.find(finding{what: fmt.Sprintf("after entry %d comes a line that is none of an export", v.next-1)})
	}
	return nil
}

func (v *verifier) begin(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Header == nil || l.Header.Format != Format {
		return fmt.Errorf("%w: it does not begin with the header of one", ErrExport)
	}
	h := l.Header
	if h.From < 1 || h.Size < h.From-1 || bits.OnesCount64(uint64(h.From-1)) != len(h.Before) {
		return fmt.Errorf("%w: its header contradicts itself", ErrExport)
	}
	v.header, v.next, v.first = h, h.From, h.From
	v.tree = Growing{size: h.From - 1, tops: h.Before}
	v.compare()
	return nil
}

// compare compares the tree with the older checkpoint, where it is as large as that.
func (v *verifier) compare() {
	if v.older != nil && !v.broken && v.tree.size == v.older.Size && v.tree.size > 0 && v.tree.Root() != v.older.Root {
		v.find(finding{what: fmt.Sprintf("the older checkpoint over %d entries does not fit: something in entries 1 to %d was changed since, or this is another log", v.older.Size, v.older.Size)})
	}
}

// leaves takes the hashes of the entries that come next.
func (v *verifier) leaves(l leaves) {
	v.finish()
	raw, err := base64.StdEncoding.DecodeString(l.Hashes)
	if err != nil || len(raw) == 0 || len(raw)%tlog.HashSize != 0 || l.From < 1 {
		v.find(finding{what: fmt.Sprintf("the hashes after entry %d cannot be read", v.next-1)})
		v.broken = true
		return
	}
	if end := v.first; l.From != end {
		if l.From > end {
			v.find(finding{kind: missing, from: end, to: l.From - 1})
		} else {
			v.find(finding{what: fmt.Sprintf("the hashes of entry %d come again after those of entry %d", l.From, end-1)})
		}
		v.broken = true
	}
	v.group, v.first, v.added, v.next = nil, l.From, 0, l.From
	for len(raw) != 0 {
		v.group = append(v.group, Hash(raw[:tlog.HashSize]))
		raw = raw[tlog.HashSize:]
	}
	v.seen = make([]bool, len(v.group))
}

// advance adds leaves of the group to the tree, up to that size.
func (v *verifier) advance(size int64) {
	for v.added < len(v.group) && v.first+int64(v.added) <= size {
		v.tree.Add(v.group[v.added])
		v.added++
		v.compare()
	}
}

// finish ends a group: what did not come and was not pruned is missing.
func (v *verifier) finish() {
	v.advance(1 << 62)
	for i, seen := range v.seen {
		if n := v.first + int64(i); !seen && n > v.header.Pruned {
			v.find(finding{kind: missing, from: n})
		}
	}
	v.first += int64(len(v.group))
	v.group, v.seen, v.added, v.next = nil, nil, 0, v.first
}

// leaf is the hash that an entry of the group must have.
func (v *verifier) leaf(n int64) (Hash, bool) {
	if n < v.first || n >= v.first+int64(len(v.group)) {
		return Hash{}, false
	}
	return v.group[n-v.first], true
}

// see notes that an entry came.
func (v *verifier) see(n int64) {
	if _, ok := v.leaf(n); ok {
		v.seen[n-v.first] = true
		v.next = max(v.next, n+1)
	}
}

func (v *verifier) entry(text string) {
	n, rest, ok := sequenceOf(text)
	if !ok {
		v.find(finding{kind: changed, from: v.next})
		v.see(v.next)
		return
	}
	leaf, here := v.leaf(n)
	switch {
	case !here:
		v.find(finding{what: fmt.Sprintf("where entry %d should be stands one that says it is entry %d", v.next, n)})
		return
	case v.seen[n-v.first]:
		v.find(finding{kind: twice, from: n})
		return
	case n < v.next:
		v.find(finding{what: fmt.Sprintf("entry %d stands after entry %d: they were swapped, or one was moved", n, v.next-1)})
	}
	v.see(n)
	if LeafOf([]byte(text)) == leaf {
		v.prunes(text, n)
		v.dates(rest, n)
		return
	}
	// Perhaps it is another entry that got this number.
	for i, other := range v.group {
		was := v.first + int64(i)
		if h := LeafOf([]byte(numbered(was, rest))); was != n && (h == other || h == leaf) {
			v.find(finding{kind: renumbered, from: n, was: was})
			return
		}
	}
	v.find(finding{kind: changed, from: n})
}

// prunes notes what an entry tells of pruning.
func (v *verifier) prunes(text string, n int64) {
	if !strings.Contains(text, string(AuditPrune)) {
		return
	}
	var e Entry
	if err := json.Unmarshal([]byte(text), &e); err == nil && e.Action == AuditPrune && e.Outcome == Permit {
		v.tells = append(v.tells, told{n, e.Pruned})
	}
}

// dates compares an entry's time with that of the one before.
func (v *verifier) dates(rest string, n int64) {
	text, isDated := strings.CutPrefix(rest, `,"time":"`)
	text, _, ended := strings.Cut(text, `"`)
	at, err := time.Parse(time.RFC3339Nano, text)
	if !isDated || !ended || err != nil {
		return
	}
	if back := v.dated.Sub(at); !v.dated.IsZero() && back >= time.Minute {
		if v.backwards == nil {
			v.backwards = &Backwards{First: n}
		}
		v.backwards.Times++
		v.backwards.Seconds = max(v.backwards.Seconds, int64(back/time.Second))
	}
	v.dated = at
}

func (v *verifier) checkpoint(text string) {
	c, err := OpenCheckpoint(text, v.keys)
	switch {
	case errors.Is(err, ErrSignature):
		read, _ := ReadCheckpoint(text) // as it did before
		v.find(finding{kind: unsigned, from: read.Size})
		return
	case err != nil:
		v.find(finding{what: fmt.Sprintf("the checkpoint after entry %d cannot be read", v.next-1)})
		return
	case c.Origin != v.header.Origin:
		v.find(finding{what: fmt.Sprintf("the checkpoint over %d entries is of another log, %s", c.Size, c.Origin)})
		return
	}
	v.advance(c.Size)
	switch {
	case v.broken || v.unfit:
	case c.Size > v.tree.size:
		v.find(finding{what: fmt.Sprintf("the log was cut after entry %d: a checkpoint is over %d entries", v.tree.size, c.Size)})
		v.unfit = true
	case c.Size < v.tree.size:
		v.find(finding{what: fmt.Sprintf("the checkpoint over %d entries stands after entry %d", c.Size, v.tree.size)})
	case c.Root != v.tree.Root():
		v.find(finding{what: fmt.Sprintf("the checkpoint over %d entries does not fit: something in entries %d to %d was changed, cut or inserted", c.Size, max(v.signed, 0)+1, c.Size)})
		v.unfit = true
	default:
		v.signed = c.Size
		v.checkpoints++
	}
}

func (v *verifier) report() (Report, error) {
	if v.header == nil {
		return Report{}, fmt.Errorf("%w: it is empty", ErrExport)
	}
	v.finish()
	last := v.first - 1
	switch {
	case v.ended == nil:
		v.find(finding{what: fmt.Sprintf("the export breaks off after entry %d", last)})
	case v.ended.Size != last || v.header.Size != last:
		v.find(finding{what: fmt.Sprintf("the log was cut after entry %d: it should have %d", last, max(v.ended.Size, v.header.Size))})
	}
	if o := v.older; o != nil {
		switch {
		case o.Origin != v.header.Origin:
			v.find(finding{what: "the older checkpoint is of another log, " + o.Origin})
		case o.Size > last:
			v.find(finding{what: fmt.Sprintf("the log ends at entry %d and the older checkpoint is over %d: it was cut, or an older copy of it was put back", last, o.Size)})
		case o.Size < v.header.From-1:
			v.find(finding{what: fmt.Sprintf("the export begins at entry %d: to compare it with the older checkpoint it must begin at %d or before", v.header.From, o.Size+1)})
		}
	}
	if v.signed < v.header.From && last >= v.header.From && len(v.list) == 0 {
		v.find(finding{what: "no checkpoint is over any of these entries, so nothing is proved"})
	}
	for _, t := range v.tells {
		if t.by <= v.signed {
			v.told = max(v.told, t.pruned)
		}
	}
	if v.header.Pruned >= v.header.From && v.told < v.header.Pruned {
		v.find(finding{what: fmt.Sprintf("bodies up to entry %d are gone, and no entry under a checkpoint tells of their pruning", v.header.Pruned)})
	}
	r := Report{
		Origin: v.header.Origin, From: v.header.From, Size: last, Pruned: v.told, Signed: v.signed, Checkpoints: v.checkpoints,
		Backwards: v.backwards,
		Findings:  []string{}, Omitted: v.omitted,
	}
	for _, f := range v.list {
		r.Findings = append(r.Findings, f.String())
	}
	return r, nil
}

// finding is one thing that is wrong. Those of the same kind that follow each other
// are one.
type finding struct {
	kind     findingKind
	from, to int64
	was      int64 // the number before, of the first that is renumbered
	what     string
}

type findingKind int

const (
	other findingKind = iota
	changed
	missing
	twice
	renumbered
	unsigned
)

func (v *verifier) find(f finding) {
	f.to = max(f.to, f.from)
	if n := len(v.list); n != 0 && v.omitted == 0 {
		last := &v.list[n-1]
		follows := f.kind != other && f.kind == last.kind && f.from == last.to+1 &&
			(f.kind != renumbered || f.from-f.was == last.from-last.was)
		if f.kind == unsigned && last.kind == unsigned || follows {
			last.to = f.to
			return
		}
	}
	if len(v.list) == maxFindings {
		v.omitted++
		return
	}
	v.list = append(v.list, f)
}

func (f finding) String() string {
	one := f.from == f.to
	span := fmt.Sprintf("entries %d to %d", f.from, f.to)
	if one {
		span = fmt.Sprintf("entry %d", f.from)
	}
	were := "were"
	if one {
		were = "was"
	}
	switch f.kind {
	case changed:
		return fmt.Sprintf("%s %s changed", span, were)
	case missing:
		return fmt.Sprintf("%s %s cut out", span, were)
	case twice:
		return span + " came twice"
	case renumbered:
		if one {
			return fmt.Sprintf("entry %d holds what was entry %d", f.from, f.was)
		}
		return fmt.Sprintf("%s hold what were entries %d to %d: something was inserted or cut out before them", span, f.was, f.was+f.to-f.from)
	case unsigned:
		if one {
			return fmt.Sprintf("the checkpoint over %d entries is not signed by a key that is trusted", f.from)
		}
		return fmt.Sprintf("the checkpoints over %d to %d entries are not signed by a key that is trusted", f.from, f.to)
	case other:
	}
	return f.what
}
