package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"latchkey/card"
	"latchkey/identity"
	"latchkey/softhsm-test/throwawayca"
	"latchkey/unblock"
)

// ready is a desk that has the response at once, so that what is left of an answer
// is what the server makes of it.
type ready struct{ Desk }

func (ready) Respond(context.Context, unblock.Caller, unblock.Begin, unblock.Typed) (unblock.Answer, error) {
	return unblock.Answer{
		Process: unblock.Process{ID: "6f1c0a52-7a52-4ad4-8d6a-3f3b0f4f5a11"}, Response: make(card.Response, 16),
		Attempts: unblock.Attempts{Limit: 0}, Checks: make([]unblock.Check, 16),
	}, nil
}

// BenchmarkRequest sends requests for a response over one connection with mutual
// TLS, to the server and to a handler that gives back the body alone, and tells the
// processor time of one, the client's included: what lies between the two is ours.
func BenchmarkRequest(b *testing.B) {
	ca, err := throwawayca.New("Bench CA")
	if err != nil {
		b.Fatal(err)
	}
	own, err := ca.Server("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	client, err := ca.Client(pkix.Name{CommonName: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own.TLS()}, ClientCAs: ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
	}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(io.Discard)), zap.InfoLevel))
	made, err := New(Config{
		Desk: ready{}, Directory: struct{ Directory }{}, Custody: struct{ Custody }{}, Rulebook: struct{ Rulebook }{},
		Audit: struct{ AuditLog }{}, Profiles: profiles{}, Operators: struct{ People }{}, Records: struct{ Records }{},
		Clients:    []identity.Client{{Name: "bench", Subject: "CN=bench", Roles: []identity.Role{identity.Backend}, NamesOperators: true}},
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		TLS: config, Rate: Rate{PerSecond: 1e9, Burst: 1e9}, Logger: log, Now: time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	serve := map[string]func(context.Context, net.Listener) error{
		"latchkey": made.Serve,
		"bare": func(ctx context.Context, l net.Listener) error {
			web := &http.Server{ReadHeaderTimeout: time.Minute, TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				_, _ = w.Write(body)
			})}
			context.AfterFunc(ctx, func() { _ = web.Close() })
			return web.ServeTLS(l, "", "")
		},
	}
	body := `{"operator":"olga","reason":"benchmark","challenge":"00112233445566778899aabbccddeeff"}`
	request := fmt.Appendf(nil, "POST /v1/cards/BENCH-0001/response HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, name := range []string{"bare", "latchkey"} {
		b.Run(name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- serve[name](ctx, l) }()
			conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{client.TLS()}, RootCAs: ca.Pool()})
			if err != nil {
				b.Fatal(err)
			}
			in := bufio.NewReader(conn)
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				answer, err := http.ReadResponse(in, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
					b.Fatal(answer.Status, err)
				}
			}
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			_ = conn.Close()
			stop()
			if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
				b.Error(err)
			}
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
