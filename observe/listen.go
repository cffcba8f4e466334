package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"
)

// unixPrefix begins the address of a Unix socket.
const unixPrefix = "unix:"

// Listen listens on host and port, or on the Unix socket that "unix:" and a path
// name. Nobody who calls there is authenticated: it has to be an address that only
// this machine reaches. A socket is for its owner and group; one that a process
// left behind is removed.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	path, ok := strings.CutPrefix(address, unixPrefix)
	if !ok {
		return config.Listen(ctx, "tcp", address)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if other, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("listen on %s for metrics: another process does", path), other.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen on %s for metrics: %w", path, err)
		}
	}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // its group is the scraper's
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve gives out metrics at /metrics and profiles at /debug/pprof/ until the
// context ends. It closes the listener in any case.
func (m *Metrics) Serve(ctx context.Context, l net.Listener, log *zap.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler(log))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	web := &http.Server{
		Handler: mux, ErrorLog: zap.NewStdLog(log.Named("observe")),
		ReadTimeout: 10 * time.Second, WriteTimeout: 5 * time.Minute, // a profile is as long as was asked for
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
	case <-ctx.Done():
		return web.Close() // whoever is cut off asks again
	}
}
