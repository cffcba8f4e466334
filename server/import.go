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
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/registry"
	"latchkey/server/api"
	"latchkey/store"
	"latchkey/unblock"
)

const (
	// importBatch is the most cards that are written in one transaction.
	importBatch = 500
	// maxImports is the most imports of one client at a time. Each may hold two
	// batches of lines for as long as its client does not take its results.
	maxImports = 4
	// refused is the result of a line that was not registered.
	refused = "refused"
)

// importCards registers one card per line, as a part of a synchronisation where the
// query names one.
func (s *Server) importCards(c echo.Context) error {
	sync, err := s.syncOf(c)
	if err != nil {
		return err
	}
	return s.importLines(c, sync, func(ctx context.Context, b *registry.Batch, line importLine) (string, store.CardPut, error) {
		var body api.Card
		if err := decodeLine(line, &body); err != nil {
			return "", store.CardPut{}, err
		}
		sent, faults := cardOf(body)
		put, err := b.Card(ctx, sent, faults...)
		return body.Serial, put, err
	})
}

// importKeys gives one card per line, which is registered already, its wrapped key.
func (s *Server) importKeys(c echo.Context) error {
	return s.importLines(c, nil, func(ctx context.Context, b *registry.Batch, line importLine) (string, store.CardPut, error) {
		var body api.WrappedKey
		if err := decodeLine(line, &body); err != nil {
			return "", store.CardPut{}, err
		}
		wrapped, faults := keyOf(body)
		put, err := b.Key(ctx, body.Serial, wrapped, body.MasterKeyVersion, faults...)
		return body.Serial, put, err
	})
}

// preparation makes of a line the card that is to be written, and tells its serial
// number as far as the line says it.
type preparation func(ctx context.Context, b *registry.Batch, line importLine) (serial string, put store.CardPut, err error)

// importLines writes one card per line as the lines arrive. What has arrived
// when the batch before is written makes the next batch, so a slow client gets
// each result at once and a fast one few transactions. A client that hangs up
// leaves whole batches behind, and gets no summary.
func (s *Server) importLines(c echo.Context, sync *syncing, prepare preparation) error {
	r := c.Request()
	if err := mediaType(r.Header, api.NDJSON); err != nil {
		return err
	}
	imports := traceOf(r.Context()).party.imports
	select {
	case imports <- struct{}{}:
		defer func() { <-imports }()
	default:
		c.Response().Header().Set("Retry-After", "30")
		return refuse(codeRate, fmt.Sprintf("Client %s has %d imports under way. Wait until one has ended, then try again.", who(c).Client, maxImports))
	}
	control := http.NewResponseController(c.Response())
	// Results leave while lines arrive, which HTTP/1 has to be told of.
	if err := control.EnableFullDuplex(); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	ctx, stop := context.WithCancel(r.Context())
	lines := make(chan importLine, importBatch)
	var broken error // why reading ended, where not at the end; set before lines is closed
	var read int     // lines to the end; likewise
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(lines)
		read, broken = readLines(ctx, patient{r.Body, control, s.times.patience}, sync.from(), lines)
	}()
	defer func() { // the reader must be gone before net/http takes the body back
		stop()
		select {
		case <-ended:
		default:
			_ = control.SetReadDeadline(time.Unix(1, 0)) // ends a read that waits; where it cannot, patience does
			<-ended
		}
	}()

	answer := importAnswer{c: c, control: control, patience: s.times.patience, requestID: traceOf(r.Context()).requestID}
	for batch := range batches(lines) {
		results, err := s.importBatch(ctx, who(c), batch, sync, prepare)
		if err == nil {
			err = answer.write(results)
		}
		if err != nil {
			return answer.fail(err)
		}
	}
	if broken != nil {
		return answer.fail(unread(broken))
	}
	if sync != nil {
		done, err := s.endSync(ctx, sync, read)
		if err != nil {
			return answer.fail(err)
		}
		answer.sync = &done
	}
	return answer.finish()
}

// importLine is one line of an import, without its end.
type importLine struct {
	number  int // from 1
	text    []byte
	tooLong bool
}

// readLines sends the lines that are not blank, until the end of the body or of
// the context, and tells how many there were in all, with those done before. A line
// that is cut off by anything but the end of the body is none.
func readLines(ctx context.Context, body io.Reader, done int, lines chan<- importLine) (int, error) {
	reader := bufio.NewReaderSize(body, maxBody+1)
	for number := done + 1; ; number++ {
		text, err := reader.ReadSlice('\n')
		line := importLine{number: number}
		for errors.Is(err, bufio.ErrBufferFull) {
			line.tooLong = true
			text, err = reader.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if err != nil && len(text) == 0 && !line.tooLong {
			return number - 1, nil // behind the end of the last line there is no other
		}
		if text = bytes.TrimSpace(text); line.tooLong {
			text = nil
		}
		line.text = bytes.Clone(text)
		if len(text) != 0 || line.tooLong {
			select {
			case lines <- line:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		if err != nil {
			return number, nil
		}
	}
}

// patient is a body with a time for each read, in place of the time that the
// server gives a whole request. While lines arrive the answer may wait as well.
type patient struct {
	body     io.Reader
	control  *http.ResponseController
	patience time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	until := time.Now().Add(p.patience)
	if err := errors.Join(p.control.SetReadDeadline(until), p.control.SetWriteDeadline(until.Add(p.patience))); err != nil {
		return 0, fmt.Errorf("set deadlines: %w", err)
	}
	return p.body.Read(b)
}

// batches gives what is there, and waits only where nothing is.
func batches(lines <-chan importLine) func(yield func([]importLine) bool) {
	return func(yield func([]importLine) bool) {
		for line := range lines {
			batch := []importLine{line}
			for len(batch) < importBatch {
				select {
				case next, more := <-lines:
					if more {
						batch = append(batch, next)
						continue
					}
				default:
				}
				break
			}
			if !yield(batch) {
				return
			}
		}
	}
}

// importResult is what became of one line.
type importResult struct {
	line   int
	serial string
	result string
	no     error // where it was refused
}

// importBatch writes the cards of a batch in one transaction. Lines with faults
// are refused alone. A store that does not work refuses the batch, and the import
// goes on: the next may fare better, and every line gets its result. Not so in a
// synchronisation, which is gone on with from the batch that failed.
func (s *Server) importBatch(ctx context.Context, caller unblock.Caller, batch []importLine, sync *syncing, prepare preparation) ([]importResult, error) {
	cards := s.batch(caller)
	results := make([]importResult, len(batch))
	var puts []store.CardPut
	var of []*importResult // the result that each put is for
	for i, line := range batch {
		r := &results[i]
		r.line, r.result = line.number, refused
		var put store.CardPut
		if r.serial, put, r.no = prepare(ctx, cards, line); r.no == nil {
			puts, of = append(puts, put), append(of, r)
		}
	}
	if len(puts) == 0 && sync == nil {
		return results, ctx.Err()
	}
	done, err := s.Directory.PutCards(ctx, puts, sync.step(batch[len(batch)-1].number, len(batch)-len(puts), s.Now()))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if sync != nil {
		if err != nil {
			return nil, syncFailed(err)
		}
		sync.lines = batch[len(batch)-1].number
	}
	for i, r := range of {
		if err != nil {
			r.no = storeFailed(err)
		} else {
			r.result = string(done[i])
		}
	}
	return results, nil
}

func decodeLine(line importLine, into any) error {
	if line.tooLong {
		return refuse(codeTooLarge, fmt.Sprintf("The line is longer than %d bytes.", maxBody))
	}
	return decode(line.text, into)
}

// importAnswer writes the results of an import as they come.
type importAnswer struct {
	c         echo.Context
	control   *http.ResponseController
	patience  time.Duration
	requestID string
	counts    api.ImportCounts
	sync      *api.CardSync // once it is finished
}

func (a *importAnswer) write(results []importResult) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, r := range results {
		line := api.ImportLine{Line: r.line, Serial: brief(r.serial), Result: r.result}
		if r.no != nil {
			line.Problem = document(r.no, a.requestID)
			if errors.Unwrap(r.no) != nil { // of the lines' own faults the answer tells
				traceOf(a.c.Request().Context()).note(r.no)
			}
		}
		a.count(r.result)
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("encode result: %w", err)
		}
	}
	return a.send(text.Bytes())
}

// fail ends the connection with an import that failed: what is left of its body
// would be taken for the next request.
func (a *importAnswer) fail(err error) error {
	if !a.c.Response().Committed {
		a.c.Response().Header().Set("Connection", "close")
	}
	return err
}

func (a *importAnswer) count(result string) {
	a.counts.Lines++
	switch result {
	case string(store.Created):
		a.counts.Created++
	case string(store.Updated):
		a.counts.Updated++
	case string(store.Unchanged):
		a.counts.Unchanged++
	default:
		a.counts.Refused++
	}
}

func (a *importAnswer) finish() error {
	text, err := json.Marshal(api.ImportSummary{Summary: a.counts, Sync: a.sync})
	if err != nil {
		return fmt.Errorf("encode summary: %w", err)
	}
	return a.send(append(text, '\n'))
}

// send writes lines and sees that they leave.
func (a *importAnswer) send(text []byte) error {
	if err := a.control.SetWriteDeadline(time.Now().Add(a.patience)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if !a.c.Response().Committed {
		a.c.Response().Header().Set(echo.HeaderContentType, api.NDJSON)
		a.c.Response().WriteHeader(http.StatusOK)
	}
	if _, err := a.c.Response().Write(text); err != nil {
		return fmt.Errorf("send results: %w", err)
	}
	if err := a.control.Flush(); err != nil {
		return fmt.Errorf("send results: %w", err)
	}
	return nil
}
