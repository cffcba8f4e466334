package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/card"
	"latchkey/server/api"
)

// syncFile is a file of cards, with a line that is refused and a blank one.
func syncFile(t testing.TB, cards int) (lines []string, begin api.BeginCardSync) {
	t.Helper()
	for i := range cards {
		lines = append(lines, cardLine(t, fmt.Sprintf("SYNC-%05d", i)))
	}
	lines[1] = "no card\n"
	lines[2] = "\n"
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return lines, api.BeginCardSync{SHA256: hex.EncodeToString(sum[:]), Lines: len(lines)}
}

func (w *world) sync(id string) (y api.CardSync) {
	w.t.Helper()
	w.must(http.StatusOK, &y, "backend", "GET", "/v1/card-syncs/"+id, nil)
	return y
}

// part sends lines as a part of a synchronisation.
func (w *world) part(client string, y api.CardSync, lines []string) answer {
	return w.call(client, "POST", fmt.Sprintf("%s?sync=%s&after=%d", importPath, y.ID, y.Done), strings.Join(lines, ""), "Content-Type", api.NDJSON)
}

// cutPart sends lines as a part of a synchronisation whose answer may be cut off.
func (w *world) cutPart(y api.CardSync, lines []string) []byte {
	plain := &http.Transport{TLSClientConfig: w.tlsConfig("backend")}
	defer plain.CloseIdleConnections()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, fmt.Sprintf("%s%s?sync=%s&after=%d", w.url, importPath, y.ID, y.Done), strings.NewReader(strings.Join(lines, "")))
	if err != nil {
		w.t.Error(err)
		return nil
	}
	r.Header.Set("Content-Type", api.NDJSON)
	response, err := (&http.Client{Transport: plain}).Do(r)
	if err != nil {
		w.t.Error(err)
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body) // as far as it comes
	return body
}

func TestSync(t *testing.T) {
	w := newWorld(t)
	w.stock() // ten cards of the backend
	w.clock.advance(time.Hour)
	const cards = 3*importBatch + 7
	lines, begin := syncFile(t, cards)
	var begun, again api.CardSync
	w.must(http.StatusCreated, &begun, "backend", "POST", "/v1/card-syncs", begin)

	// The client goes away in the middle of a line.
	ctx, hangUp := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	sent := importBatch + 100
	go func() { _, _ = io.WriteString(writer, strings.Join(lines[:sent], "")+lines[sent][:40]) }()
	plain := &http.Transport{TLSClientConfig: w.tlsConfig("backend")}
	defer plain.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s%s?sync=%s&after=0", w.url, importPath, begun.ID), reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", api.NDJSON)
	response, err := (&http.Client{Transport: plain}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	if _, err := io.ReadFull(response.Body, buffer); err != nil {
		t.Fatal(err)
	}
	hangUp()
	_ = response.Body.Close()
	w.awaitImport()

	// What is done is what was written, and the next goes on there.
	w.must(http.StatusOK, &again, "backend", "POST", "/v1/card-syncs", begin)
	if again.ID != begun.ID || again.Done == 0 || again.Done > sent || again.Created+again.Refused != again.Done-1 || again.Refused != 1 || again.SameAs != "" {
		t.Fatalf("after the break: %+v", again)
	}
	for i, status := range map[int]int{again.Done - 1: http.StatusOK, again.Done: http.StatusNotFound} {
		if a := w.call("backend", "GET", fmt.Sprintf("/v1/cards/SYNC-%05d", i), nil); a.status != status {
			t.Errorf("%d lines are done, and card %d: %d", again.Done, i, a.status)
		}
	}

	// Nobody else goes on with it, not from elsewhere, and not with another file.
	if a := w.part("admin", again, lines[again.Done:]); a.problem(t).Code != codeSyncUnknown {
		t.Errorf("another client: %d %s", a.status, a.body)
	}
	if a := w.part("backend", begun, lines); a.problem(t).Code != codeSyncConflict {
		t.Errorf("from the first line: %d %s", a.status, a.body)
	}
	if body := w.cutPart(again, lines[again.Done:cards-2]); !bytes.Contains(body, []byte(`"created"`)) || bytes.Contains(body, []byte("summary")) {
		t.Errorf("not to the last line: %s", body[max(0, len(body)-200):])
	}
	again = w.sync(begun.ID)
	if again.FinishedAt != nil || again.Done != cards-2 {
		t.Fatalf("without the last two lines: %+v", again)
	}

	w.clock.advance(time.Minute)
	a := w.part("backend", again, lines[again.Done:])
	_, summary, err := w.importAnswerOf(bytes.NewReader(a.body))
	if err != nil || summary == nil || summary.Lines != 2 {
		t.Fatalf("%v, summary %+v", err, summary)
	}
	again = w.sync(begun.ID)
	if again.FinishedAt == nil || again.Done != cards || again.Created != cards-2 || again.Refused != 1 || again.NotInSync != 10 {
		t.Errorf("finished: %+v", again)
	}
	if a := w.part("backend", again, nil); a.problem(t).Code != codeSyncConflict {
		t.Errorf("once more: %d %s", a.status, a.body)
	}

	// The cards that were not among them are found, by pages.
	var missing []string
	for page := (api.Cards{}); ; {
		after := page.Next
		page = api.Cards{}
		w.must(http.StatusOK, &page, "backend", "GET", "/v1/cards?limit=4&not_in_sync="+begun.ID+"&after="+after, nil)
		for _, c := range page.Cards {
			missing = append(missing, c.Serial)
		}
		if page.Next == "" {
			break
		}
	}
	if len(missing) != 10 || strings.Contains(strings.Join(missing, " "), "SYNC") {
		t.Errorf("not in the synchronisation: %v", missing)
	}

	// The same file once more is another, which changes nothing.
	var next api.CardSync
	w.must(http.StatusCreated, &next, "backend", "POST", "/v1/card-syncs", begin)
	if next.ID == begun.ID || next.SameAs != begun.ID {
		t.Errorf("the same file again: %+v", next)
	}
	w.part("backend", next, lines)
	if next = w.sync(next.ID); next.Unchanged != cards-2 || next.Created+next.Updated != 0 || next.NotInSync != 10 {
		t.Errorf("the same file again: %+v", next)
	}
	var first, list api.CardSyncs
	w.must(http.StatusOK, &first, "admin", "GET", "/v1/card-syncs?limit=1", nil)
	w.must(http.StatusOK, &list, "admin", "GET", "/v1/card-syncs?after="+first.Next, nil)
	if len(first.CardSyncs) != 1 || first.CardSyncs[0].ID != next.ID || len(list.CardSyncs) != 1 || list.CardSyncs[0].ID != begun.ID {
		t.Errorf("listed: %+v, then %+v", first, list)
	}
}

// Two that go on with one synchronisation at the same time write each line once.
func TestSyncTwice(t *testing.T) {
	w := newWorld(t)
	w.stock()
	lines, begin := syncFile(t, 4*importBatch)
	var y api.CardSync
	w.must(http.StatusCreated, &y, "backend", "POST", "/v1/card-syncs", begin)
	answers := make(chan []byte)
	for range 2 {
		go func() { answers <- w.cutPart(y, lines) }()
	}
	summaries := 0
	for range 2 {
		if body := <-answers; bytes.Contains(body, []byte("summary")) {
			summaries++
		}
	}
	y = w.sync(y.ID)
	if y.Created+y.Updated+y.Unchanged+y.Refused != y.Done-min(y.Done, 1) || y.Unchanged != 0 || summaries > 1 {
		t.Errorf("%d finished it: %+v", summaries, y)
	}
}

// States that are not configured are told by name, and no card gets in with one.
func TestUnknownStates(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.CardStates = card.States{"active": true, "blocked": true, "In Umlauf": true} })
	w.stockStore()
	for name, change := range map[string]func(*api.Card){
		`state: "Active" is not a card state; known: In Umlauf, active, blocked`:                  func(c *api.Card) { c.State = "Active" },
		`holder.state: "" is not a holder state; known: active, inactive, left, suspended`:        func(c *api.Card) { c.Holder.State = "" },
		`holder.state: "retired" is not a holder state; known: active, inactive, left, suspended`: func(c *api.Card) { c.Holder.State = "retired" },
	} {
		a := w.call("backend", "POST", importPath, cardLine(t, "S", change), "Content-Type", api.NDJSON)
		lines, _, err := w.importAnswerOf(bytes.NewReader(a.body))
		if err != nil || len(lines) != 1 || lines[0].Problem == nil || !strings.HasSuffix(lines[0].Problem.Error(), name) {
			t.Errorf("%s: %v %s", name, err, a.body)
		}
	}
	if a := w.call("backend", "GET", "/v1/cards/S", nil); a.status != http.StatusNotFound {
		t.Errorf("the card is there: %s", a.body)
	}
	a := w.call("backend", "POST", importPath, cardLine(t, "S", func(c *api.Card) { c.State = "In Umlauf" }), "Content-Type", api.NDJSON)
	if !bytes.Contains(a.body, []byte(`"created"`)) {
		t.Errorf("a state of the configuration: %s", a.body)
	}
}
