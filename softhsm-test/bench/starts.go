package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"
)

// starts is how long it takes from the start of the process until it is ready.
type starts struct {
	circumstances
	Fleets []startsOf `json:"fleets"`
}

type startsOf struct {
	Cards int `json:"cards"`
	// Serving is until it says that it takes calls, Ready until /readyz says over mutual
	// TLS that every part works; both sorted.
	Serving []time.Duration `json:"serving_ns"`
	Ready   []time.Duration `json:"ready_ns"`
}

func measureStarts(ctx context.Context, h *house, o options) ([]finding, error) {
	found := starts{circumstances: circumstancesOf(o)}
	config, err := tlsOf(h.load())
	if err != nil {
		return nil, err
	}
	for _, cards := range []int{10_000, 1_000_000} {
		file := h.path(fmt.Sprintf("starts-%d.db", cards))
		if err := bulk(ctx, file, cards, time.Now()); err != nil {
			return nil, err
		}
		f := startsOf{Cards: cards}
		for i := range o.starts {
			_, _ = fmt.Fprintf(os.Stderr, "bench: %d cards, start %d of %d\n", cards, i+1, o.starts)
			n, err := h.serve(ctx, "started", file, "")
			if err != nil {
				return nil, err
			}
			serving := time.Since(n.began)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
			err = untilReady(ctx, client, n.address)
			ready := time.Since(n.began)
			client.CloseIdleConnections()
			if err := errors.Join(err, n.stop()); err != nil {
				return nil, err
			}
			if i == 0 && o.starts > 1 {
				continue // the first opens the database after it was filled, once
			}
			f.Serving, f.Ready = append(f.Serving, serving), append(f.Ready, ready)
		}
		slices.Sort(f.Serving)
		slices.Sort(f.Ready)
		found.Fleets = append(found.Fleets, f)
	}
	return []finding{found}, nil
}

func untilReady(ctx context.Context, client *http.Client, address string) error {
	for tries := 0; ; tries++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			if err := resp.Body.Close(); err != nil {
				return err
			}
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		if tries == 1000 {
			return fmt.Errorf("it does not become ready: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (starts) name() string { return "starts" }

func (s starts) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s, %d processors, %d starts each; `latchkey serve` on SoftHSM and SQLite, in milliseconds from the start of the process.\n\n",
		s.At.Format(time.DateOnly), s.Processors, len(s.Fleets[0].Ready))
	_, _ = fmt.Fprint(w, "|     cards | takes calls, median | worst | ready, median | worst |\n|----------:|--------------------:|------:|--------------:|------:|\n")
	for _, f := range s.Fleets {
		_, _ = fmt.Fprintf(w, "| %9d | %19.0f | %5.0f | %13.0f | %5.0f |\n", f.Cards,
			millis(f.Serving[len(f.Serving)/2]), millis(f.Serving[len(f.Serving)-1]), millis(f.Ready[len(f.Ready)/2]), millis(f.Ready[len(f.Ready)-1]))
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (starts) draw() (*drawing, error) { return nil, nil } //nolint:nilnil // two lines need no plot
