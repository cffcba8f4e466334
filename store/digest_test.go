package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/audit/digest"
)

// A search finds by the digest what reading the whole log finds, of what is digested
// and of what is not yet, page by page.
func TestSearchOfTheAuditLog(t *testing.T) {
	s := newStore(t)
	const entries = 4*audit.Width + 77
	begin := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	var all []audit.Entry
	for i := range entries {
		e := audit.Entry{
			Sequence: int64(i + 1), Time: begin.Add(time.Duration(i) * time.Minute), Action: audit.UnblockRespond, Outcome: audit.Permit, LatencyMicros: 1000,
			Client: "desk", Operator: fmt.Sprint("anna", i%7), Card: fmt.Sprint("card ", i%300), Process: fmt.Sprint("P", i),
		}
		switch {
		case i%50 == 3:
			e.Action, e.Outcome, e.Code = audit.UnblockStart, audit.Deny, "card-not-active"
		case i == 400:
			e = audit.Entry{Sequence: e.Sequence, Time: e.Time, Action: audit.CardTypePut, Outcome: audit.Permit, CardType: "gids", Operator: "Sven"}
		}
		all = append(all, e)
		done(t, s.Append(t.Context(), e))
	}
	d := &digest.Digester{Log: s.Log(), Ledger: s}
	find := func(q digest.Query) (numbers []int64) {
		t.Helper()
		for q.Limit = 20; ; {
			found := must[digest.Found](t)(d.Search(t.Context(), q))
			for _, e := range found.Entries {
				numbers = append(numbers, e.Sequence)
			}
			if found.Next == 0 {
				return numbers
			}
			if q.Below != 0 && found.Next >= q.Below {
				t.Fatalf("from %d the search goes on at %d", q.Below, found.Next)
			}
			q.Below = found.Next
		}
	}
	searches := func(t *testing.T) {
		for name, c := range map[string]struct {
			digest.Query
			is func(audit.Entry) bool
		}{
			"all":     {digest.Query{}, func(audit.Entry) bool { return true }},
			"card":    {digest.Query{Card: "CARD 17"}, func(e audit.Entry) bool { return e.Card == "card 17" }},
			"person":  {digest.Query{Person: "sven"}, func(e audit.Entry) bool { return e.Operator == "Sven" }},
			"both":    {digest.Query{Person: "anna3", Outcome: audit.Deny}, func(e audit.Entry) bool { return e.Operator == "anna3" && e.Outcome == audit.Deny }},
			"type":    {digest.Query{CardType: "gids", Action: audit.CardTypePut}, func(e audit.Entry) bool { return e.CardType == "gids" }},
			"process": {digest.Query{Number: "P600"}, func(e audit.Entry) bool { return e.Process == "P600" }},
			"nobody":  {digest.Query{Person: "nobody"}, func(audit.Entry) bool { return false }},
			"code": {digest.Query{Code: "card-not-active", From: begin.Add(200 * time.Minute), To: begin.Add(700 * time.Minute)}, func(e audit.Entry) bool {
				return e.Code != "" && e.Sequence > 200 && e.Sequence <= 701
			}},
		} {
			var want []int64
			for _, e := range slices.Backward(all) {
				if c.is(e) {
					want = append(want, e.Sequence)
				}
			}
			same(t, name, fmt.Sprint(find(c.Query)), fmt.Sprint(want))
		}
	}
	counted := func(t *testing.T) {
		// The clocks go forward on the second of these days.
		zone := must[*time.Location](t)(time.LoadLocation("Europe/Stockholm"))
		tally := must[digest.Tally](t)(d.Tally(t.Context(), time.Date(2026, 3, 29, 23, 0, 0, 0, zone), 2))
		var answers, denied [2]int64
		for _, e := range all {
			day := map[int]int{28: 0, 29: 1}[e.Time.In(zone).Day()]
			if e.Outcome == audit.Deny {
				denied[day]++
			} else if e.Action == audit.UnblockRespond {
				answers[day]++
			}
		}
		for i, day := range tally.Days {
			same(t, "answers", day.Answers, answers[i])
			same(t, "denials", day.Denials["card-not-active"], denied[i])
			same(t, "denied", day.Denied(), denied[i])
		}
		same(t, "codes", fmt.Sprint(tally.Codes), "[card-not-active]")
		if m := tally.Median; m < time.Millisecond || m > 1200*time.Microsecond || tally.Slowest != m {
			t.Errorf("responses took %s, %s", m, tally.Slowest)
		}
	}
	t.Run("nothing digested", func(t *testing.T) { searches(t); counted(t) })
	for range 2 {
		if more := must[bool](t)(d.Step(t.Context())); more {
			t.Error("there is more to digest")
		}
	}
	same(t, "digested", must[int64](t)(s.Digested(t.Context())), int64(4*audit.Width))
	t.Run("digested", func(t *testing.T) { searches(t); counted(t) })

	// Another node that is behind adds nothing twice.
	done(t, s.AddDigest(t.Context(), digest.Part{Blocks: []digest.Block{{Number: 2}}, Counts: map[digest.Count]int64{{Hour: 1}: 1}}))
	counts, _, err := s.Counts(t.Context(), 0)
	done(t, err)
	same(t, "counts of another node", counts[digest.Count{Hour: 1}], int64(0))
}

// The digest forgets what is pruned.
func TestDigestOfPrunedEntries(t *testing.T) {
	s := newStore(t)
	fill := func() {
		for range audit.Width {
			done(t, s.Append(t.Context(), audit.Entry{Action: audit.UnblockStart, Outcome: audit.Deny, Code: "card-busy", Operator: "anna", Time: time.Unix(1e9, 0)}))
		}
	}
	fill()
	d := &digest.Digester{Log: s.Log(), Ledger: s}
	must[bool](t)(d.Step(t.Context()))
	done(t, s.KeepCheckpoint(t.Context(), audit.Checkpoint{Size: audit.Width, Note: "x"}, time.Unix(1e9, 0)))
	done(t, s.Prune(t.Context(), audit.Width, audit.Entry{Action: audit.AuditPrune, Outcome: audit.Permit}))
	fill()
	must[bool](t)(d.Step(t.Context()))
	blocks := must[[]digest.Block](t)(s.Blocks(t.Context(), 99, time.Time{}, time.Unix(2e9, 0), 10))
	if len(blocks) != 1 || blocks[0].Number != 1 {
		t.Errorf("%d blocks are left", len(blocks))
	}
	found := must[digest.Found](t)(d.Search(t.Context(), digest.Query{Person: "anna", Limit: 1000}))
	same(t, "found", len(found.Entries), audit.Width)
}

func done(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
