package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	pprof "github.com/google/pprof/profile"
)

// rooms is where the processor time of an answer goes.
type rooms struct {
	circumstances
	CPU   float64 `json:"cpu_us"` // of an answer
	Rooms []room  `json:"rooms"`
}

type room struct {
	Name string  `json:"name"`
	CPU  float64 `json:"cpu_us"`
	// C is the part of it in C: SQLite in store, the PKCS#11 module in hsm.
	C float64 `json:"in_c_us"`
}

// profileTime is how long the server is looked at: a hundred samples a second for each
// processor.
const profileTime = 8 * time.Second

// measureRooms takes a profile of a server under full load over HTTPS.
func measureRooms(ctx context.Context, h *house, o options) (found rooms, err error) {
	_, _ = fmt.Fprintln(os.Stderr, "bench: profile")
	found = rooms{circumstances: circumstancesOf(o)}
	socket := h.path("observe")
	n, err := h.serve(ctx, "profiled", h.path("served.db"), "observe: {listen: \"unix:"+socket+"\"}")
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	l := h.load()
	l.Addresses, l.ServerPIDs = []string{n.address}, []int{n.cmd.Process.Pid}
	cmd, out, err := start(ctx, h, task{Kind: "load", Callers: o.clients, Slice: profileTime + 2*time.Second, Cards: o.cards, Load: l}, nil)
	if err != nil {
		return found, err
	}
	time.Sleep(time.Second) // until all are connected
	p, failed := profileOf(ctx, socket)
	f, err := finish(cmd, out)
	if err := errors.Join(failed, err); err != nil {
		return found, err
	}
	found.CPU = f.CPU
	found.Rooms = share(p, f.CPU)
	return found, nil
}

func profileOf(ctx context.Context, socket string) (_ *pprof.Profile, err error) {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://latchkey/debug/pprof/profile?seconds=%.0f", profileTime.Seconds()), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("profile: %s", resp.Status)
	}
	return pprof.Parse(resp.Body)
}

// share shares an answer's processor time out to rooms.
func share(p *pprof.Profile, cpu float64) []room {
	by := make(map[string]room)
	var all float64
	for _, s := range p.Sample {
		weight := float64(s.Value[len(s.Value)-1]) // the last is the time
		name, c := roomOf(s)
		r := by[name]
		r.Name, r.CPU, all = name, r.CPU+weight, all+weight
		if c {
			r.C += weight
		}
		by[name] = r
	}
	list := slices.Collect(maps.Values(by))
	for i := range list {
		list[i].CPU *= cpu / all
		list[i].C *= cpu / all
	}
	return slices.SortedFunc(slices.Values(list), func(a, b room) int { return cmp.Compare(b.CPU, a.CPU) })
}

// roomOf tells on whose behalf a sample was taken: of the room of ours that is
// nearest to the place, else of what has no room about it.
func roomOf(s *pprof.Sample) (name string, c bool) {
	name = "scheduler of Go"
	for i, location := range s.Location {
		for _, l := range location.Line {
			f := l.Function.Name
			c = c || i < 3 && (f == "runtime.cgocall" || f == "runtime.asmcgocall.abi0")
			switch {
			case strings.HasPrefix(f, "latchkey/"):
				room, _, _ := strings.Cut(strings.TrimPrefix(f, "latchkey/"), ".")
				room, _, _ = strings.Cut(room, "/")
				return "`" + room + "`", c
			case strings.HasPrefix(f, "runtime.gcBgMarkWorker"), strings.HasPrefix(f, "runtime.bgsweep"), strings.HasPrefix(f, "runtime.bgscavenge"):
				name = "garbage collector"
			case strings.HasPrefix(f, "net/http."), strings.HasPrefix(f, "crypto/tls."):
				name = "net/http and TLS"
			}
		}
	}
	return name, c
}

func (rooms) name() string { return "rooms" }

func (r rooms) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s; https, SQLite, under full load: %.0f microseconds of processor time an answer.\n\n", r.circumstances, r.CPU)
	_, _ = fmt.Fprint(w, "| on behalf of      | microseconds | share | of these in C |\n|-------------------|-------------:|------:|--------------:|\n")
	for _, room := range r.Rooms {
		_, _ = fmt.Fprintf(w, "| %-17s | %12.1f | %4.0f%% | %13s |\n", room.Name, room.CPU, 100*room.CPU/r.CPU, some(room.C))
	}
}

func (rooms) draw() (*drawing, error) { return nil, nil } //nolint:nilnil // the table says it
