// Package digest makes the audit log searchable and countable without a write more
// in the path of an answer: it reads what was logged, a few seconds behind, and keeps
// one row for each 256 entries and a few for each hour.
//
// Of each Block of entries it keeps between which times they are, and a Bloom filter
// of the words that can be searched for: cards, people, processes, requests, actions.
// A search reads the filters, the newest first, and of the entries themselves only
// the blocks that may hold one; the entries that are not digested yet it reads all.
// What a filter says wrongly costs time and nothing else.
//
// The counts are by hour, action, outcome and code: what the dashboard shows, in any
// time zone of whole hours. They hold nobody's name, and stay when bodies are pruned.
package digest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"latchkey/audit"
)

// Block is what is kept of audit.Width entries: those with the numbers from
// Number*audit.Width+1 on.
type Block struct {
	Number      int64 // from 0
	First, Last time.Time
	Words       Filter
}

// Count is of entries of one kind in one hour.
type Count struct {
	Hour    int64 // since 1970-01-01 UTC
	Action  audit.Action
	Outcome audit.Outcome
	Code    string
}

// Took is of responses that were given out in one hour, by how long they took: from
// the request to the entry.
type Took struct {
	Hour   int64
	Bucket int // see bucketOf
}

// Part is what is added to a digest: blocks that follow each other.
type Part struct {
	Blocks []Block
	Counts map[Count]int64
	Took   map[Took]int64
}

// Ledger keeps the digest.
type Ledger interface {
	// Digested is how many entries from the log's first on are in the digest, a
	// multiple of audit.Width.
	Digested(ctx context.Context) (int64, error)
	// AddDigest adds a part, as a whole or not at all, and nothing where another node
	// came before. It forgets blocks whose bodies are pruned.
	AddDigest(ctx context.Context, p Part) error
	// Blocks gives blocks with numbers below the one given that may have entries from
	// one time to another, the newest first.
	Blocks(ctx context.Context, below int64, from, to time.Time, limit int) ([]Block, error)
	// Counts gives what was counted from one hour on.
	Counts(ctx context.Context, from int64) (map[Count]int64, map[Took]int64, error)
}

// Digester keeps the digest up with the log, and answers from it. It is safe for
// concurrent use.
type Digester struct {
	Log    audit.Source
	Ledger Ledger
}

const (
	// every is how far the digest is behind, where it can keep up.
	every = 5 * time.Second
	// atOnce is how many blocks one write adds at most.
	atOnce = 16
)

// Run digests what is logged until the context ends. What goes wrong is told, and
// tried again. Behind an old log it takes half of a processor at most.
func (d *Digester) Run(ctx context.Context, failed func(error)) {
	for {
		began := time.Now()
		more, err := d.Step(ctx)
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		rest := every
		if more && err == nil {
			rest = time.Since(began)
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return
		}
	}
}

// Step digests some of what was logged, and tells whether there is more to do at once.
func (d *Digester) Step(ctx context.Context) (more bool, err error) {
	done, err := d.Ledger.Digested(ctx)
	if err != nil {
		return false, fmt.Errorf("digest the audit log: %w", err)
	}
	head, err := d.Log.Head(ctx)
	if err != nil {
		return false, fmt.Errorf("digest the audit log: %w", err)
	}
	blocks := min((head.Size-done)/audit.Width, atOnce)
	if blocks <= 0 {
		return false, nil
	}
	rows, err := d.Log.Rows(ctx, done+1, int(blocks*audit.Width))
	if err != nil {
		return false, fmt.Errorf("digest the audit log: %w", err)
	}
	p := Part{Counts: map[Count]int64{}, Took: map[Took]int64{}}
	for number := done / audit.Width; len(rows) >= audit.Width; number++ {
		p.Blocks = append(p.Blocks, p.block(number, rows[:audit.Width]))
		rows = rows[audit.Width:]
	}
	if len(p.Blocks) == 0 {
		return false, nil
	}
	if err := d.Ledger.AddDigest(ctx, p); err != nil {
		return false, fmt.Errorf("digest the audit log: %w", err)
	}
	return len(p.Blocks) == atOnce, nil
}

// block digests the entries of a block. What is no entry is for the verifier to find.
func (p *Part) block(number int64, rows []audit.Row) Block {
	b := Block{Number: number, Words: make(Filter, filterLen)}
	known := make(map[string]bool, 4*len(rows))
	for _, r := range rows {
		var e audit.Entry
		if r.Text == "" || json.Unmarshal([]byte(r.Text), &e) != nil {
			continue
		}
		if b.First.IsZero() || e.Time.Before(b.First) {
			b.First = e.Time
		}
		if e.Time.After(b.Last) {
			b.Last = e.Time
		}
		p.count(&e)
		for _, w := range wordsOf(&e) {
			if !known[w] {
				known[w] = true
				b.Words.add(w)
			}
		}
	}
	return b
}

func (p *Part) count(e *audit.Entry) {
	hour := hourOf(e.Time)
	p.Counts[Count{hour, e.Action, e.Outcome, e.Code}]++
	if gaveResponse(e.Action, e.Outcome) && e.LatencyMicros > 0 {
		p.Took[Took{hour, bucketOf(e.LatencyMicros)}]++
	}
}

func hourOf(t time.Time) int64 { return int64(math.Floor(float64(t.Unix()) / 3600)) }

// bucketOf sorts times into four buckets to each doubling, so that a percentile is
// wrong by a fifth at most.
func bucketOf(micros int64) int { return int(4 * math.Log2(float64(micros))) }

// upTo is the longest time of a bucket.
func upTo(bucket int) time.Duration {
	return time.Duration(math.Exp2(float64(bucket+1)/4) * float64(time.Microsecond))
}

// Filter is a Bloom filter: it says of a word that it is not in a block, or that it
// may be. It is kept for years, so its form is written down here: 16,384 bits, of which
// each word sets eight, at the eight 16-bit numbers (big endian, modulo 16,384) that
// the SHA-256 of the word begins with. A block has at most about 800 words in use, and
// one block in ten thousand is then read in vain.
type Filter []byte

const (
	filterLen = 2048
	bitsEach  = 8
)

func bitsOf(word string) (bits [bitsEach]int) {
	sum := sha256.Sum256([]byte(word))
	for i := range bits {
		bits[i] = int(binary.BigEndian.Uint16(sum[2*i:])) % (8 * filterLen)
	}
	return bits
}

func (f Filter) add(word string) {
	for _, bit := range bitsOf(word) {
		f[bit/8] |= 1 << (bit % 8)
	}
}

// has tells whether all the bits are set. A filter of another length is none, and
// rules nothing out.
func (f Filter) has(bits [bitsEach]int) bool {
	if len(f) != filterLen {
		return true
	}
	for _, bit := range bits {
		if f[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// field is what of an entry can be searched for. Its name goes into the filters, and
// so never changes.
type field string

const (
	ofCard    field = "card"
	ofType    field = "card-type"
	ofPerson  field = "person"
	ofNumber  field = "number"
	ofAction  field = "action"
	ofOutcome field = "outcome"
	ofCode    field = "code"
)

// values are an entry's, of a field.
func (f field) values(e *audit.Entry) []string {
	switch f {
	case ofCard:
		return []string{e.Card}
	case ofType:
		return []string{e.CardType}
	case ofPerson:
		return []string{e.Operator, e.Client, e.Subject, e.Approver}
	case ofNumber:
		return []string{e.Process, e.RequestID, e.Proposal}
	case ofAction:
		return []string{string(e.Action)}
	case ofOutcome:
		return []string{string(e.Outcome)}
	case ofCode:
		return []string{e.Code}
	}
	return nil
}

// word is a value as the filters know it: without regard to case.
func (f field) word(value string) string { return string(f) + "\x00" + strings.ToLower(value) }

func wordsOf(e *audit.Entry) []string {
	words := make([]string, 0, 12)
	for _, f := range []field{ofCard, ofType, ofPerson, ofNumber, ofAction, ofOutcome, ofCode} {
		for _, v := range f.values(e) {
			if v != "" {
				words = append(words, f.word(v))
			}
		}
	}
	return words
}

func gaveResponse(a audit.Action, o audit.Outcome) bool {
	return a == audit.UnblockRespond && o == audit.Permit
}
