package digest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"latchkey/audit"
)

const (
	// maxRead is how many entries one search reads at most, maxBlocks how many filters
	// it looks into: some tenths of a second.
	maxRead   = 100 * audit.Width
	maxBlocks = 40_000
	// blocksAtOnce is how many filters are read at a time, a megabyte.
	blocksAtOnce = 512
)

// Query asks for entries. What is empty is not asked about.
type Query struct {
	From, To time.Time // both included
	Card     string    // serial number
	CardType string    // ID
	// Person is the operator's ID, or that of whoever approved or whose record was
	// changed, or the name of the client.
	Person string
	// Number is the ID of a process, a request or a proposal.
	Number  string
	Action  audit.Action
	Outcome audit.Outcome
	Code    string

	Below int64 // only entries with smaller numbers; 0 for all
	Limit int   // the most to give
}

// Found is what a search found.
type Found struct {
	Entries []audit.Entry // the newest first
	// Next is Below of the search that goes on from here, 0 where the log's first
	// entry was reached. There may be none found on the way to it: a search ends after
	// so much work.
	Next int64
}

// term is one thing that is asked for.
type term struct {
	field
	value string
	bits  [bitsEach]int
}

func (q *Query) terms() []term {
	var list []term
	for _, t := range []term{
		{field: ofCard, value: q.Card}, {field: ofType, value: q.CardType}, {field: ofPerson, value: q.Person}, {field: ofNumber, value: q.Number},
		{field: ofAction, value: string(q.Action)}, {field: ofOutcome, value: string(q.Outcome)}, {field: ofCode, value: q.Code},
	} {
		if t.value != "" {
			t.bits = bitsOf(t.word(t.value))
			list = append(list, t)
		}
	}
	return list
}

// search is one under way.
type search struct {
	*Digester
	Query
	terms []term
	found Found
	read  int
}

// Search finds entries, the newest first. It reads the digest, and at most 25,600
// entries.
func (d *Digester) Search(ctx context.Context, q Query) (Found, error) {
	s := &search{Digester: d, Query: q, terms: q.terms()}
	if err := s.run(ctx); err != nil {
		return Found{}, fmt.Errorf("search the audit log: %w", err)
	}
	return s.found, nil
}

func (s *search) run(ctx context.Context) error {
	head, err := s.Log.Head(ctx)
	if err != nil {
		return err
	}
	digested, err := s.Ledger.Digested(ctx)
	if err != nil {
		return err
	}
	below := head.Size + 1
	if s.Below > 0 {
		below = min(below, s.Below)
	}
	// What is not digested is all read.
	for below > digested+1 {
		first := max(digested+1, (below-2)/audit.Width*audit.Width+1)
		if done, err := s.look(ctx, first, below); done || err != nil {
			return err
		}
		below = first
	}
	return s.digested(ctx, below, head.Pruned)
}

// digested goes on where there are filters.
func (s *search) digested(ctx context.Context, below, pruned int64) error {
	from, to := s.From, s.To
	if to.IsZero() {
		to = time.UnixMicro(math.MaxInt64)
	}
	number := (below + audit.Width - 2) / audit.Width // of the first block that is out
	for looked := 0; ; {
		blocks, err := s.Ledger.Blocks(ctx, number, from, to, blocksAtOnce)
		if err != nil {
			return err
		}
		for _, b := range blocks {
			number = b.Number
			if !s.may(b) {
				continue
			}
			first := b.Number*audit.Width + 1
			if done, err := s.look(ctx, first, min(below, first+audit.Width)); done || err != nil {
				return err
			}
		}
		looked += len(blocks)
		switch {
		case len(blocks) < blocksAtOnce || number*audit.Width <= pruned:
			return nil
		case looked >= maxBlocks:
			s.goOn(number*audit.Width + 1)
			return nil
		}
	}
}

func (s *search) may(b Block) bool {
	return !slices.ContainsFunc(s.terms, func(t term) bool { return !b.Words.has(t.bits) })
}

// look reads entries from the first to those below, and tells whether the search is
// at its end.
func (s *search) look(ctx context.Context, first, below int64) (done bool, err error) {
	rows, err := s.Log.Rows(ctx, first, int(below-first))
	if err != nil {
		return false, err
	}
	for _, r := range slices.Backward(rows) {
		var e audit.Entry
		if r.Sequence >= below || r.Text == "" || json.Unmarshal([]byte(r.Text), &e) != nil {
			continue
		}
		if e.Sequence = r.Sequence; !s.asksFor(&e) {
			continue
		}
		s.found.Entries = append(s.found.Entries, e)
		if len(s.found.Entries) == s.Limit {
			s.goOn(r.Sequence)
			return true, nil
		}
	}
	if s.read += len(rows); s.read >= maxRead {
		s.goOn(first)
		return true, nil
	}
	return false, nil
}

// goOn says where the search goes on, unless that is before the first entry.
func (s *search) goOn(below int64) {
	if below > 1 {
		s.found.Next = below
	}
}

func (s *search) asksFor(e *audit.Entry) bool {
	if !s.From.IsZero() && e.Time.Before(s.From) || !s.To.IsZero() && e.Time.After(s.To) {
		return false
	}
	return !slices.ContainsFunc(s.terms, func(t term) bool {
		return !slices.ContainsFunc(t.values(e), func(v string) bool { return strings.EqualFold(v, t.value) })
	})
}

// Day is what was counted in one day.
type Day struct {
	Begin    time.Time
	Answers  int64            // responses that were given out
	Denials  map[string]int64 // of unblocks, by the code of the refusal
	Failures int64            // of unblocks: a part that was needed did not work
}

// Denied is how many refusals there were.
func (d Day) Denied() (n int64) {
	for _, m := range d.Denials {
		n += m
	}
	return n
}

// Tally is what the last days came to.
type Tally struct {
	Days []Day // the oldest first
	// Codes are those of refusals, the most frequent first.
	Codes []string
	// Median and Slowest are how long half and 99 % of the responses took at most, from
	// the request to the entry; 0 where there was none.
	Median, Slowest time.Duration
	// Uncounted is how many of the log's newest entries are not in it yet.
	Uncounted int64
}

// Tally counts the last days, that of the moment among them, as they begin in a time
// zone. Where that is not of whole hours a day begins up to an hour before it does.
func (d *Digester) Tally(ctx context.Context, now time.Time, days int) (Tally, error) {
	t, err := d.tally(ctx, now, days)
	if err != nil {
		return Tally{}, fmt.Errorf("count the audit log: %w", err)
	}
	return t, nil
}

func (d *Digester) tally(ctx context.Context, now time.Time, days int) (t Tally, err error) {
	year, month, day := now.Date()
	for i := range days {
		t.Days = append(t.Days, Day{Begin: time.Date(year, month, day-days+1+i, 0, 0, 0, 0, now.Location()), Denials: map[string]int64{}})
	}
	begin := hourOf(t.Days[0].Begin)
	p := Part{}
	if p.Counts, p.Took, err = d.Ledger.Counts(ctx, begin); err != nil {
		return t, err
	}
	if t.Uncounted, err = d.rest(ctx, &p); err != nil {
		return t, err
	}
	codes := map[string]int64{}
	for c, n := range p.Counts {
		at := dayOf(t.Days, c.Hour)
		if at < 0 || !strings.HasPrefix(string(c.Action), "unblock.") {
			continue
		}
		switch day := &t.Days[at]; {
		case gaveResponse(c.Action, c.Outcome):
			day.Answers += n
		case c.Outcome == audit.Deny:
			day.Denials[c.Code] += n
			codes[c.Code] += n
		case c.Outcome == audit.Failure:
			day.Failures += n
		}
	}
	for code := range codes {
		t.Codes = append(t.Codes, code)
	}
	slices.SortFunc(t.Codes, func(a, b string) int {
		return cmp.Or(cmp.Compare(codes[b], codes[a]), strings.Compare(a, b))
	})
	t.Median, t.Slowest = percentiles(p.Took, begin)
	return t, nil
}

// dayOf finds the day of an hour, -1 where it is none of them.
func dayOf(days []Day, hour int64) int {
	at, _ := slices.BinarySearchFunc(days, hour, func(d Day, hour int64) int {
		if hourOf(d.Begin) <= hour {
			return -1
		}
		return 1
	})
	return at - 1
}

// rest counts what is not digested yet, and tells how much of it was too much to be.
func (d *Digester) rest(ctx context.Context, p *Part) (int64, error) {
	head, err := d.Log.Head(ctx)
	if err != nil {
		return 0, err
	}
	digested, err := d.Ledger.Digested(ctx)
	if err != nil {
		return 0, err
	}
	if head.Size-digested > maxRead {
		return head.Size - digested, nil
	}
	rows, err := d.Log.Rows(ctx, digested+1, maxRead)
	for _, r := range rows {
		var e audit.Entry
		if r.Text != "" && json.Unmarshal([]byte(r.Text), &e) == nil {
			p.count(&e)
		}
	}
	return 0, err
}

func percentiles(took map[Took]int64, from int64) (median, slowest time.Duration) {
	buckets := map[int]int64{}
	var all int64
	for t, n := range took {
		if t.Hour >= from {
			buckets[t.Bucket] += n
			all += n
		}
	}
	var order []int
	for b := range buckets {
		order = append(order, b)
	}
	slices.Sort(order)
	var passed int64
	for _, b := range order {
		passed += buckets[b]
		if median == 0 && 2*passed >= all {
			median = upTo(b)
		}
		if slowest == 0 && 100*passed >= 99*all {
			slowest = upTo(b)
		}
	}
	return median, slowest
}
