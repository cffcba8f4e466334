// Package throwawaypg gives tests a PostgreSQL server of their own: made by
// initdb in a folder of the test, reached by a socket in it and by no network, and
// stopped by its own pid. Commits are synced to the disk as in use.
package throwawaypg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL server.
type Server struct {
	// Socket is the folder of its socket.
	Socket string
	// Listen is an address that it takes calls at besides, over TLS from anybody who
	// gets there: it is for a network namespace of the test's own. It and the PEM texts of
	// the certificate and its key are set before it is started.
	Listen           string
	Certificate, Key []byte
	data             string
	bin              string
	as               *syscall.Credential
	log              string
	cmd              *exec.Cmd
	ended            chan error
}

// New starts a server that runs until the test ends.
func New(tb testing.TB) *Server {
	tb.Helper()
	s, err := Launch(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Launch starts a server that runs until it is closed.
func Launch(ctx context.Context) (*Server, error) {
	s, err := Make(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close stops the server and takes its files away.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.Socket)) }

// Make makes the files of a server, which is then to be started. They are not in the test's own folder: the
// path of a socket may have no more than 107 bytes, and PostgreSQL does not run as
// root, so that another user has to come there.
func Make(ctx context.Context) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "latchkey-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{Socket: dir, data: filepath.Join(dir, "data"), bin: bin, log: filepath.Join(dir, "log")}
	if os.Geteuid() == 0 {
		if s.as, err = unprivileged(); err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := s.command(ctx, "initdb", "--pgdata", s.data, "--username", "latchkey", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, nil
}

// programs finds the folder of PostgreSQL's programs, which Debian keeps off PATH.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		path, err := exec.LookPath("initdb")
		if err != nil {
			return "", errors.New("PostgreSQL is missing; `make deps` installs it")
		}
		return filepath.Dir(path), nil
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged is the user as whom the server runs where the tests run as root.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither user postgres nor nobody")
}

func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...) //nolint:gosec // PostgreSQL's own programs
	cmd.Dir = s.Socket
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// Start starts the server again after Stop or Kill, and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	if err := s.secure(); err != nil {
		return err
	}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the server has its own
	// Not of the test's context: it is stopped in order, which that would not do.
	s.cmd = s.command(context.WithoutCancel(ctx), "postgres", "-c", "ssl="+map[bool]string{true: "on", false: "off"}[s.Listen != ""], "-D", s.data, "-k", s.Socket, "-c", "listen_addresses="+s.Listen, "-c", "max_connections=200")
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(s.cmd, s.ended)
	for {
		c, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case end := <-s.ended:
			s.cmd = nil
			log, _ := os.ReadFile(s.log)
			return fmt.Errorf("postgres ended: %w\n%s", end, log)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(20 * time.Millisecond): // between two tries
		}
	}
}

// secure writes down who may come over the network, and by what the server is known.
func (s *Server) secure() error {
	if s.Listen == "" {
		return nil
	}
	for name, text := range map[string]string{
		"pg_hba.conf": "local all all trust\nhostssl all all samenet trust\n",
		"server.crt":  string(s.Certificate),
		"server.key":  string(s.Key),
	} {
		path := filepath.Join(s.data, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		if s.as != nil {
			if err := os.Chown(path, int(s.as.Uid), int(s.as.Gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// PID is the process ID of the server, 0 where it does not run.
func (s *Server) PID() int {
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Stop ends the server in order, if it runs.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	// A fast shutdown: connections are ended, what is committed stays.
	return s.end(syscall.SIGINT)
}

// Crash ends the server at once, as a power cut would end it.
func (s *Server) Crash() error {
	if s.cmd == nil {
		return nil
	}
	_ = s.end(syscall.SIGQUIT) // an immediate shutdown is no success
	return nil
}

func (s *Server) end(signal syscall.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil {
		return err
	}
	err := <-s.ended
	s.cmd = nil
	return err
}

// URL is the connection string of a database.
func (s *Server) URL(database string) string {
	return (&url.URL{Scheme: "postgres", User: url.User("latchkey"), Path: "/" + database, RawQuery: url.Values{"host": {s.Socket}}.Encode()}).String()
}

// Database makes an empty database and gives its connection string.
func (s *Server) Database(ctx context.Context, name string) (string, error) {
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return "", err
	}
	_, err = c.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return s.URL(name), errors.Join(err, c.Close(ctx))
}
