package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// loadTask is what the load is put on.
type loadTask struct {
	Addresses         []string
	CA, Cert, Key     string
	ServerPID         int
	MaxWrong          int64 // answers that may be refusals
	PauseAfterRefusal time.Duration
}

func challenge() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// load asks for answers over connections that stay, one request at a time on each.
// It writes HTTP by itself, which costs a tenth of what net/http's client does, so
// that the machine's processors are left to the server.
//
// With a rate it asks at even intervals whether or not answers have come, and
// counts an answer's time from when it was due: waiting for a free connection is
// waiting, too.
func load(ctx context.Context, t task) (figures, error) {
	config, err := tlsOf(t.Load)
	if err != nil {
		return figures{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Slice)
	defer cancel()
	var due chan time.Time
	if t.Rate > 0 {
		due = make(chan time.Time, 1_000_000)
		go pace(ctx, t.Rate, due)
	}
	all := hdrhistogram.New(1, longest, 3)
	var wrong atomic.Int64
	var mu sync.Mutex
	var failed error
	var wait sync.WaitGroup
	ready := make(chan struct{})
	var open sync.WaitGroup
	for i := range t.Callers {
		open.Add(1)
		wait.Go(func() {
			c, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", t.Load.Addresses[i%len(t.Load.Addresses)])
			open.Done()
			if err == nil {
				<-ready
				var own *hdrhistogram.Histogram
				own, err = (&connection{Conn: c, in: bufio.NewReaderSize(c, 8<<10)}).ask(ctx, t, due, &wrong)
				mu.Lock()
				all.Merge(own)
				mu.Unlock()
				_ = c.Close() // everything was answered
			}
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
				cancel()
			}
		})
	}
	open.Wait()
	cpu := cpuOf(t.Load.ServerPID)
	began := time.Now()
	close(ready)
	wait.Wait()
	f := ofHistogram(all, time.Since(began))
	f.CPU = float64((cpuOf(t.Load.ServerPID) - cpu).Microseconds()) / float64(max(all.TotalCount(), 1))
	f.Memory = resident(strconv.Itoa(t.Load.ServerPID))
	if f.Wrong = wrong.Load(); f.Wrong > t.Load.MaxWrong {
		failed = errors.Join(failed, fmt.Errorf("%d answers were refusals", f.Wrong))
	}
	return f, failed
}

func tlsOf(l loadTask) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(l.Cert, l.Key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(l.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "127.0.0.1"}, nil
}

// pace says when answers are due.
func pace(ctx context.Context, rate float64, due chan<- time.Time) {
	began := time.Now()
	for n := 0; ctx.Err() == nil; {
		for at := began.Add(time.Duration(float64(n) / rate * float64(time.Second))); !at.After(time.Now()); n++ {
			select {
			case due <- at:
			default: // the load is hopelessly behind, which its times show
			}
			at = began.Add(time.Duration(float64(n+1) / rate * float64(time.Second)))
		}
		time.Sleep(200 * time.Microsecond)
	}
}

type connection struct {
	net.Conn
	in *bufio.Reader
}

func (c *connection) ask(ctx context.Context, t task, due <-chan time.Time, wrong *atomic.Int64) (*hdrhistogram.Histogram, error) {
	times := hdrhistogram.New(1, longest, 3)
	for ctx.Err() == nil {
		from := time.Now()
		if due != nil {
			select {
			case from = <-due:
			case <-ctx.Done():
				return times, nil
			}
		}
		status, err := c.once(serialOf(mathrand.IntN(t.Cards))) //nolint:gosec // any card will do
		switch {
		case err != nil && ctx.Err() != nil:
			return times, nil
		case err != nil:
			return times, err
		case status != 200:
			wrong.Add(1)
			time.Sleep(t.Load.PauseAfterRefusal)
		default:
			_ = times.RecordValue(min(time.Since(from).Microseconds(), longest)) // within its bounds
		}
	}
	return times, nil
}

// once asks for one response and gives the status.
func (c *connection) once(serial string) (int, error) {
	body := `{"operator":"olga","reason":"benchmark","challenge":"` + challenge() + `"}`
	_, err := io.WriteString(c, "POST /v1/cards/"+serial+"/response HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "+
		strconv.Itoa(len(body))+"\r\n\r\n"+body)
	if err != nil {
		return 0, err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0, fmt.Errorf("status line %q", line)
	}
	status, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0, err
	}
	length := -1
	for {
		if line, err = c.in.ReadString('\n'); err != nil {
			return 0, err
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("an answer without a length")
	}
	_, err = c.in.Discard(length)
	return status, err
}
