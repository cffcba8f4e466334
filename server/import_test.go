package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"latchkey/audit"
	"latchkey/server/api"
	"latchkey/store"
)

const importPath = "/v1/cards:import"

// cardLine is a line of an import that has no faults.
func cardLine(t testing.TB, serial string, changes ...func(*api.Card)) string {
	t.Helper()
	c := aCard("gids")
	c.Serial = serial
	for _, change := range changes {
		change(&c)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// importAs sends an import over the wire as it comes, past the transport that
// keeps whole exchanges, and gives the answer while it arrives.
func (w *world) importAs(ctx context.Context, client string, body io.Reader, http2 bool) (*http.Response, error) {
	w.t.Helper()
	plain := &http.Transport{TLSClientConfig: w.tlsConfig(client), ForceAttemptHTTP2: http2}
	w.t.Cleanup(plain.CloseIdleConnections)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+importPath, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", api.NDJSON)
	return (&http.Client{Transport: plain}).Do(r)
}

// importAnswerOf reads an answer to its end.
func (w *world) importAnswerOf(body io.Reader) (lines []api.ImportLine, summary *api.ImportCounts, err error) {
	w.t.Helper()
	scanner := bufio.NewScanner(body)
	for scanner.Scan() {
		if strings.HasPrefix(scanner.Text(), `{"summary"`) {
			var last api.ImportSummary
			if err := json.Unmarshal(scanner.Bytes(), &last); err != nil {
				w.t.Fatal(err)
			}
			summary = &last.Summary
			continue
		}
		if summary != nil {
			w.t.Error("a line comes after the summary")
		}
		var line api.ImportLine
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			w.t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines, summary, scanner.Err()
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	w.stock()
	body := cardLine(t, "I1") +
		"\n" + // blank lines are nothing
		`{"serial":"I2","type":"gids"` + "\n" +
		cardLine(t, "I3", func(c *api.Card) { c.Type = "nonesuch"; c.Holder.ID = "" }) +
		`{"serial":"` + strings.Repeat("A", maxBody) + `"}` + "\n" +
		cardLine(t, "I1") +
		cardLine(t, "I1", func(c *api.Card) { c.State = "active" }) +
		cardLine(t, "I4", func(c *api.Card) { c.MasterKeyVersion = 5 }) +
		cardLine(t, "I4", func(c *api.Card) { c.State = "active" }) +
		cardLine(t, "") +
		cardLine(t, "I5", func(c *api.Card) { c.Type = "gone" }) +
		"  \r\n" +
		strings.TrimSuffix(cardLine(t, "I6"), "\n") // the last line needs no end
	a := w.call("backend", "POST", importPath, body, "Content-Type", api.NDJSON, requestIDHeader, "the-import")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != api.NDJSON {
		t.Fatalf("%d %s", a.status, a.body)
	}
	lines, summary, err := w.importAnswerOf(bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for text := range bytes.Lines(a.body) {
		schema := "ImportLine"
		if bytes.HasPrefix(text, []byte(`{"summary"`)) {
			schema = "ImportSummary"
		}
		w.contract.valid(t, schema, text)
	}
	var got []string
	for _, l := range lines {
		text := fmt.Sprintf("%d %s %s", l.Line, l.Serial, l.Result)
		if l.Problem != nil {
			text += " " + l.Problem.Code
			if l.Problem.Instance != "urn:request:the-import" {
				t.Errorf("line %d is of %s", l.Line, l.Problem.Instance)
			}
		}
		got = append(got, text)
	}
	want := []string{
		"1 I1 created", "3  refused malformed-json", "4 I3 refused invalid-request", "5  refused request-too-large",
		"6 I1 unchanged", "7 I1 updated", "8 I4 created", "9 I4 updated", "10  refused invalid-request",
		"11 I5 refused profile-unknown", "13 I6 created",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(lines[2].Problem.Faults) != 2 {
		t.Errorf("faults %v, want both", lines[2].Problem.Faults)
	}
	if want := (api.ImportCounts{Lines: 11, Created: 3, Updated: 2, Unchanged: 1, Refused: 5}); *summary != want {
		t.Errorf("summary %+v, want %+v", *summary, want)
	}
	for serial, version := range map[string]int{"I1": 1, "I4": 5, "I6": 1} {
		var c api.Card
		w.must(http.StatusOK, &c, "anna", "GET", "/v1/cards/"+serial, nil)
		if c.MasterKeyVersion != version {
			t.Errorf("card %s has master key version %d, want %d", serial, c.MasterKeyVersion, version)
		}
	}
	for _, e := range w.entries() {
		if e.RequestID == "the-import" && (e.Client != "backend" || e.Action != audit.CardPut) {
			t.Errorf("audit entry: %+v", e)
		}
	}
}

// Nothing in an import is nothing, and no mistake.
func TestEmptyImport(t *testing.T) {
	w := newWorld(t)
	response, err := w.importAs(t.Context(), "backend", strings.NewReader(""), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines, summary, err := w.importAnswerOf(response.Body)
	if err != nil || len(lines) != 0 || summary == nil || *summary != (api.ImportCounts{}) {
		t.Errorf("%d lines, summary %v, error %v", len(lines), summary, err)
	}
}

// Many cards, each way of HTTP: results come in order, and the connection is good
// for the next request.
func TestLongImport(t *testing.T) {
	w := newWorld(t)
	w.stock()
	const many = 5000
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			reader, writer := io.Pipe() // of no length known before, so chunked in HTTP/1.1
			go func() {
				out := bufio.NewWriter(writer)
				for i := range many {
					_, _ = out.WriteString(cardLine(t, fmt.Sprintf("%s-%05d", name, i)))
				}
				_ = writer.CloseWithError(out.Flush())
			}()
			response, err := w.importAs(t.Context(), "backend", reader, http2)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if response.Proto != name+".0" && response.Proto != name {
				t.Fatalf("the protocol is %s", response.Proto)
			}
			lines, summary, err := w.importAnswerOf(response.Body)
			if err != nil || summary == nil {
				t.Fatalf("summary %v, error %v", summary, err)
			}
			if want := (api.ImportCounts{Lines: many, Created: many}); *summary != want {
				t.Errorf("summary %+v, want %+v", *summary, want)
			}
			for i, l := range lines {
				if l.Line != i+1 {
					t.Fatalf("result %d is of line %d", i, l.Line)
				}
			}
		})
	}
}

// A client that waits for each result before it sends more gets it. Its pauses
// may add up to more than a request is given otherwise.
func TestInteractiveImport(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			reader, writer := io.Pipe()
			first := make(chan struct{})
			go func() {
				_, _ = io.WriteString(writer, cardLine(t, name+"-0"))
				<-first
				for i := 1; i < 5; i++ {
					_, _ = io.WriteString(writer, cardLine(t, fmt.Sprintf("%s-%d", name, i)))
				}
				_ = writer.Close()
			}()
			response, err := w.importAs(t.Context(), "backend", reader, http2)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			body := bufio.NewReader(response.Body)
			line, err := body.ReadString('\n')
			if err != nil || !strings.Contains(line, "created") {
				t.Fatalf("%q %v", line, err)
			}
			close(first)
			if lines, summary, err := w.importAnswerOf(body); err != nil || len(lines) != 4 || summary.Created != 5 {
				t.Errorf("%d lines, summary %+v, error %v", len(lines), summary, err)
			}
		})
	}
}

// A client that hangs up leaves whole cards behind, no half line, and a server
// that goes on.
func TestImportHangUp(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			reader, writer := io.Pipe()
			go func() { // whole but for its end: it might be the first half of a line
				_, _ = io.WriteString(writer, cardLine(t, name+"-WHOLE")+strings.TrimSuffix(cardLine(t, name+"-HALF"), "\n"))
			}()
			response, err := w.importAs(ctx, "backend", reader, http2)
			if err != nil {
				t.Fatal(err)
			}
			body := bufio.NewReader(response.Body)
			if line, err := body.ReadString('\n'); err != nil || !strings.Contains(line, "created") {
				t.Fatalf("%q %v", line, err)
			}
			hangUp()
			_ = response.Body.Close()
			w.awaitImport() // the server has noticed
			for serial, status := range map[string]int{"-WHOLE": http.StatusOK, "-HALF": http.StatusNotFound} {
				if a := w.call("backend", "GET", "/v1/cards/"+escape(name+serial), nil); a.status != status {
					t.Errorf("card %s: %d, want %d", serial, a.status, status)
				}
			}
			// The turn to register cards was given back.
			w.must(http.StatusOK, nil, "backend", "PUT", "/v1/cards/"+escape(name+"-WHOLE"), aCard("gids"))
		})
	}
}

// awaitImport waits until the log says that an import has ended.
func (w *world) awaitImport() {
	w.t.Helper()
	for range 10_000 {
		for _, line := range w.logs.TakeAll() {
			if line.ContextMap()["route"] == importPath {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatal("the log says of no import that it has ended")
}

// A client that sends nothing for too long is cut off.
func TestImportStalls(t *testing.T) {
	w := newWorld(t)
	w.stock()
	w.hurry(func(t *times) { t.patience = 200 * time.Millisecond })
	reader, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	go func() { _, _ = io.WriteString(writer, cardLine(t, "S1")) }()
	response, err := w.importAs(t.Context(), "backend", reader, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if lines, summary, err := w.importAnswerOf(response.Body); len(lines) != 1 || summary != nil || err == nil {
		t.Errorf("%d lines, summary %v, error %v", len(lines), summary, err)
	}
}

// flaky is a directory whose second batch of more than one card fails.
type flaky struct {
	Directory
	batches int
}

func (f *flaky) PutCards(ctx context.Context, puts []store.CardPut, step *store.SyncStep) ([]store.Result, error) {
	if len(puts) > 1 {
		if f.batches++; f.batches == 2 {
			return nil, errors.New("disk on fire")
		}
	}
	return f.Directory.PutCards(ctx, puts, step)
}

// A store that fails now and then costs the cards of one transaction, and says so
// of each.
func TestImportStoreFails(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Directory = &flaky{Directory: c.Directory} })
	w.stock()
	var body strings.Builder
	for i := range 3 * importBatch {
		body.WriteString(cardLine(t, fmt.Sprint(i)))
	}
	a := w.call("backend", "POST", importPath, body.String(), "Content-Type", api.NDJSON)
	lines, summary, err := w.importAnswerOf(bytes.NewReader(a.body))
	if err != nil || summary == nil || summary.Lines != 3*importBatch || summary.Refused == 0 || summary.Created == 0 || summary.Created+summary.Refused != summary.Lines {
		t.Fatalf("summary %+v, error %v", summary, err)
	}
	for _, l := range lines {
		if a := w.call("backend", "GET", "/v1/cards/"+l.Serial, nil); (a.status == http.StatusOK) != (l.Result == "created") {
			t.Errorf("card %s: %s, but then %d", l.Serial, l.Result, a.status)
		}
		if l.Problem != nil && l.Problem.Code != "store-unavailable" {
			t.Errorf("card %s: %+v", l.Serial, l.Problem)
		}
	}
}

// However the bytes arrive, the lines are the same.
func TestReadLines(t *testing.T) {
	long := strings.Repeat("x", maxBody)
	text := "a\n\n  b  \r\n" + long + "\n" + long + "y\nc"
	want := []importLine{
		{number: 1, text: []byte("a")}, {number: 3, text: []byte("b")}, {number: 4, text: []byte(long)}, {number: 5, tooLong: true}, {number: 6, text: []byte("c")},
	}
	for name, reader := range map[string]io.Reader{
		"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)), "with its end": iotest.DataErrReader(strings.NewReader(text)),
	} {
		lines := make(chan importLine, 10)
		if _, err := readLines(t.Context(), reader, 0, lines); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		close(lines)
		var got []importLine
		for l := range lines {
			got = append(got, l)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %d lines that are not those expected", name, len(got))
		}
	}
	cut := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(io.ErrUnexpectedEOF))
	lines := make(chan importLine, 10)
	if _, err := readLines(t.Context(), cut, 0, lines); !errors.Is(err, io.ErrUnexpectedEOF) || len(lines) != 1 {
		t.Errorf("a body that is cut off gives %d lines and error %v", len(lines), err)
	}
}

// One client cannot fill the memory with imports whose results it does not take.
func TestImportsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.stock()
	head := "POST " + importPath + " HTTP/1.1\r\nHost: a\r\nContent-Type: " + api.NDJSON + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	under := make([]wire, maxImports)
	for i := range under {
		under[i] = w.dial("backend")
		line := cardLine(t, fmt.Sprint("AT-ONCE-", i)) + "\n"
		under[i].send(head + fmt.Sprintf("%x\r\n%s\r\n", len(line), line))
		if text, err := under[i].read.ReadString('\n'); err != nil || !strings.Contains(text, "200") {
			t.Fatalf("import %d: %q, %v", i, text, err)
		}
	}
	a := w.call("backend", "POST", importPath, cardLine(t, "ONE-MORE"), "Content-Type", api.NDJSON)
	if a.status != http.StatusTooManyRequests || a.problem(t).Code != codeRate || a.header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %s", a.status, a.body)
	}
	if a := w.call("admin", "POST", importPath, cardLine(t, "ANOTHER"), "Content-Type", api.NDJSON); a.status != http.StatusOK {
		t.Errorf("another client's: %d %s", a.status, a.body)
	}
	under[0].send("0\r\n\r\n")
	for {
		if text, err := under[0].read.ReadString('\n'); err != nil || strings.Contains(text, `"summary"`) {
			break
		}
	}
	for range 100 { // its place is free a moment after its answer
		if a = w.call("backend", "POST", importPath, cardLine(t, "ONE-MORE"), "Content-Type", api.NDJSON); a.status == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("after one has ended: %d %s", a.status, a.body)
}
