package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
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
	Bao               string // the token that OpenBao is asked with, empty to ask Latchkey
	ServerPIDs        []int
	DatabasePIDs      []int
	MaxWrong          int64 // answers that may be refusals
	PauseAfterRefusal time.Duration
}

func challenge() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return b
}

// load asks for answers over connections that stay, one request at a time on each.
// It writes HTTP by itself, which costs a tenth of what net/http's client does, so
// that the machine's processors are left to the server.
//
// With a rate it asks at even intervals whether or not answers have come: waiting for
// a free connection is waiting, too.
func load(ctx context.Context, t task) (figures, error) {
	config, err := tlsOf(t.Load)
	if err != nil {
		return figures{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Slice)
	defer cancel()
	all := hdrhistogram.New(1, longest, 3)
	var wrong atomic.Int64
	var mu sync.Mutex
	var failed error
	var wait sync.WaitGroup
	ready := make(chan struct{})
	var open sync.WaitGroup
	var due <-chan time.Time // set when all connections are there: nothing is due while they are made
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
	cpu, database, own := cpuOfAll(t.Load.ServerPIDs), cpuOfAll(t.Load.DatabasePIDs), ownCPU()
	began := time.Now()
	due = paced(ctx, t.Rate)
	close(ready)
	wait.Wait()
	f := ofHistogram(all, time.Since(began))
	n := float64(max(all.TotalCount(), 1))
	f.CPU = float64((cpuOfAll(t.Load.ServerPIDs) - cpu).Microseconds()) / n
	f.DatabaseCPU = float64((cpuOfAll(t.Load.DatabasePIDs) - database).Microseconds()) / n
	f.LoadCPU = float64((ownCPU() - own).Microseconds()) / n
	for _, pid := range t.Load.ServerPIDs {
		f.Memory += resident(strconv.Itoa(pid))
	}
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

type connection struct {
	net.Conn
	in *bufio.Reader
}

func (c *connection) ask(ctx context.Context, t task, due <-chan time.Time, wrong *atomic.Int64) (*hdrhistogram.Histogram, error) {
	times := hdrhistogram.New(1, longest, 3)
	for ctx.Err() == nil {
		from, ok := next(ctx, due)
		if !ok {
			return times, nil
		}
		status, err := c.once(request(serialOf(mathrand.IntN(t.Cards)), t.Load.Bao)) //nolint:gosec // any card will do
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

// request asks for one response for a card: of Latchkey, or of OpenBao with a token,
// which encrypts as many bytes under a key that it derives for the card.
func request(serial, bao string) string {
	path, more := "/v1/cards/"+serial+"/response", ""
	body := `{"operator":"olga","reason":"benchmark","challenge":"` + hex.EncodeToString(challenge()) + `"}`
	if bao != "" {
		path, more = "/v1/transit/encrypt/"+masterKey, "X-Vault-Token: "+bao+"\r\n"
		body = `{"plaintext":"` + base64.StdEncoding.EncodeToString(challenge()) + `","context":"` + base64.StdEncoding.EncodeToString([]byte(serial)) + `"}`
	}
	return "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + more + "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// once sends a request and gives the status of its answer.
func (c *connection) once(request string) (int, error) {
	_, err := io.WriteString(c, request)
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
