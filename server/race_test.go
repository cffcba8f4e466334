package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/server/api"
	"latchkey/unblock"
)

// atOnce has many call at the same time, the i-th as it is told, and counts the answers
// by their status and code, as in "409 card-busy".
func (w *world) atOnce(many int, call func(i int) answer) map[string]int {
	w.t.Helper()
	answers := make([]answer, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() { answers[i] = call(i) })
	}
	all.Wait()
	counts := map[string]int{}
	for _, a := range answers {
		what := fmt.Sprint(a.status)
		if a.status >= http.StatusBadRequest {
			what += " " + a.problem(w.t).Code
		}
		counts[what]++
	}
	return counts
}

// Whatever many do to one card or one process at the same moment, one of them does it.
func TestRaces(t *testing.T) {
	w := newWorld(t)
	w.stock()
	const many = 50
	one := func(what string, counts map[string]int, good string, others ...string) {
		t.Helper()
		n := counts[good]
		for _, other := range others {
			n += counts[other]
		}
		if counts[good] != 1 || n != many {
			t.Errorf("%s: %v; want one %s, and the others %q", what, counts, good, others)
		}
	}
	start := func(int) answer {
		return w.call("anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Reason: "INC"})
	}
	one("start", w.atOnce(many, start), "201", "409 card-busy")
	var id string
	for _, e := range w.entries() {
		if e.Action == audit.UnblockStart && e.Outcome == audit.Permit {
			id = e.Process
		}
	}
	path := "/v1/unblocks/" + id
	one("answer", w.atOnce(many, func(int) answer {
		return w.call("anna", "POST", path+"/response", api.Challenge{Challenge: "1603EBDF1C8A2E72"})
	}), "200", "409 process-answered", "409 process-conflict")
	if n, err := w.unconfirmed(t.Context(), "GOOD"); n != 1 || err != nil {
		t.Errorf("%d responses are counted, want 1; error %v", n, err)
	}

	// Ends that contradict one another: one of them is the process's, and no other is
	// told that it went well.
	ends := w.atOnce(many, func(i int) answer {
		switch i % 3 {
		case 0:
			return w.call("anna", "POST", path+"/complete", api.Complete{Outcome: "pin-changed"})
		case 1:
			return w.call("anna", "POST", path+"/complete", api.Complete{Outcome: "failed"})
		}
		return w.call("anna", "POST", path+"/cancel", nil)
	})
	var ended api.Unblock
	w.must(http.StatusOK, &ended, "anna", "GET", path, nil)
	well := 0
	for _, e := range w.entries() {
		if e.Process == id && e.Outcome == audit.Permit && (e.Action == audit.UnblockComplete || e.Action == audit.UnblockCancel) {
			well++
		}
	}
	if well != 1 || ends["500 internal-error"] != 0 {
		t.Errorf("%d ends are in the audit log, and the process is %s; answers %v", well, ended.State, ends)
	}

	// A second person approves and refuses at once.
	var waiting api.Unblock
	w.must(http.StatusCreated, &waiting, "anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "PRIVILEGED", Reason: "INC"})
	var list api.PendingUnblocks
	w.must(http.StatusOK, &list, "sven", "GET", "/v1/approvals", nil)
	verdicts := w.atOnce(many, func(i int) answer {
		if i%2 == 0 {
			return w.call("sven", "POST", "/v1/unblocks/"+waiting.ID+"/approve", api.ApproveUnblock{Statement: list.Approvals[0].Statement, Reason: "known"})
		}
		return w.call("sven", "POST", "/v1/unblocks/"+waiting.ID+"/refuse", api.RefuseUnblock{Reason: "unknown"})
	})
	// A verdict that is given twice is one; the other verdict is told that it is not.
	given := 0
	for _, e := range w.entries() {
		if e.Process == waiting.ID && e.Outcome == audit.Permit && (e.Action == audit.UnblockApprove || e.Action == audit.UnblockRefuse) {
			given++
		}
	}
	if given != 1 || verdicts["200"] == 0 || verdicts["200"] > many/2 || verdicts["200"]+verdicts["409 process-not-waiting"]+verdicts["409 process-conflict"] != many {
		t.Errorf("%d verdicts are in the audit log; answers %v", given, verdicts)
	}
}

// A limit of rate is exact, however many come at once.
func TestRateUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.stock()
	w.observed(func(c *unblock.Config) { c.Limits.PerOperator = unblock.Rate{N: 7, Per: time.Hour} })
	counts := w.atOnce(50, func(i int) answer {
		body, err := json.Marshal(map[string]any{"challenge": fmt.Sprintf("%016X", 0x1603EBDF1C8A2E72+i), "confirmed": true, "reason": "INC"})
		if err != nil {
			t.Error(err)
		}
		return w.call("anna", "POST", "/v1/cards/GOOD/response", string(body))
	})
	given, err := w.unconfirmed(t.Context(), "GOOD")
	if err != nil {
		t.Fatal(err)
	}
	// What loses a race for the card is a decision as well, on the same account.
	if given != counts["200"] || counts["200"] > 7 || counts["200"] == 0 || counts["429 rate-limited"] < 50-7 {
		t.Errorf("%v, %d counted; want no more than 7 decisions of 50", counts, given)
	}
}
