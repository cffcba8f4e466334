package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"latchkey/audit"
	"latchkey/store"
	"latchkey/unblock"
)

// childJob names what this test binary does instead of running tests, and
// childPath the database that it does it with.
const (
	childJob  = "LATCHKEY_STORE_TEST_CHILD"
	childPath = "LATCHKEY_STORE_TEST_PATH"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childJob) {
	case "":
		os.Exit(m.Run())
	case "open":
		os.Exit(childOpens(os.Getenv(childPath)))
	case "answer":
		os.Exit(childAnswers(os.Getenv(childPath)))
	}
}

// child is this test binary as another process with the database.
func child(t *testing.T, job, path string) *exec.Cmd {
	t.Helper()
	// Another user may not go where the go command builds the binary.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childJob+"="+job, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// The exit codes of childOpens.
const (
	exitOpened = iota
	exitOther
	exitInUse
	exitPermission
)

func childOpens(path string) int {
	s, err := store.Open(context.Background(), path)
	switch {
	case err == nil:
		err = s.Close()
	case errors.Is(err, store.ErrInUse):
		return exitInUse
	case errors.Is(err, fs.ErrPermission):
		return exitPermission
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitOther
	}
	return exitOpened
}

// childAnswers gives out responses for one card from many goroutines until it is
// killed, and prints each process's ID once that is acknowledged.
func childAnswers(path string) int {
	s, err := store.Open(context.Background(), path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				if err := s.Apply(context.Background(), answered(id, "c1", 0)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Println(id)
			}
		})
	}
	wg.Wait()
	return 1
}

// TestKilled kills a process in the middle of its writes, some times over: what it
// acknowledged is there, and of what it did not, all or nothing.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	acknowledged := map[string]bool{}
	for range 3 {
		cmd := child(t, "answer", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acknowledged[lines.Text()] = true
			if n == 500 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child ended by itself: %v", err)
		}

		s := open(t, path)
		logged := allEntries(t, s)
		same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(t.Context(), "c1")).Unconfirmed, len(logged))
		found := map[string]bool{}
		for _, e := range logged {
			found[e.Process] = true
			if p := must[unblock.Process](t)(s.Process(t.Context(), e.Process)); p.State != unblock.Answered {
				t.Errorf("process %s is %s", p.ID, p.State)
			}
		}
		if len(found) != len(logged) {
			t.Errorf("%d entries tell of %d processes", len(logged), len(found))
		}
		for id := range acknowledged {
			if !found[id] {
				t.Errorf("process %s was acknowledged and is lost", id)
			}
		}
		t.Logf("%d acknowledged in all, %d found", len(acknowledged), len(logged))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// allEntries reads the whole audit log and checks that it has no gap.
func allEntries(t *testing.T, s *store.Store) []audit.Entry {
	t.Helper()
	var all []audit.Entry
	for {
		page := must[[]audit.Entry](t)(s.Entries(t.Context(), int64(len(all))+1, 0))
		if len(page) == 0 {
			return all
		}
		for _, e := range page {
			if all = append(all, e); e.Sequence != int64(len(all)) {
				t.Fatalf("entry %d has sequence number %d", len(all), e.Sequence)
			}
		}
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	s := open(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, link} {
		if _, err := store.Open(t.Context(), path); !errors.Is(err, store.ErrInUse) {
			t.Errorf("opened twice in one process: %v", err)
		}
		if cmd := child(t, "open", path); cmd.Run() == nil || cmd.ProcessState.ExitCode() != exitInUse {
			t.Errorf("opened by another process: %v", cmd.ProcessState)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("check after others tried: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child(t, "open", link).Run(); err != nil {
		t.Errorf("opened after it was closed: %v", err)
	}
}

// TestNotWritable tries as a user who may read but not write, also where the
// tests run as root.
func TestNotWritable(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "latchkey.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + "-lock"); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	for _, mode := range []struct {
		name         string
		folder, file fs.FileMode
	}{
		{"folder that is read-only", 0o555, 0o666}, // the lock cannot be made
		{"file that is read-only", 0o777, 0o444},   // but now, and stays
		{"folder that is read-only but for the lock", 0o555, 0o666},
	} {
		for path, mode := range map[string]fs.FileMode{filepath.Dir(folder): 0o755, folder: mode.folder, path: mode.file} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		cmd := child(t, "open", path)
		if os.Geteuid() == 0 {
			const nobody = 65534
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		if cmd.Run() == nil || cmd.ProcessState.ExitCode() != exitPermission {
			t.Errorf("%s: %v", mode.name, cmd.ProcessState)
		}
		if string(read(t, path)) != string(before) {
			t.Errorf("%s: the file was changed", mode.name)
		}
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	return must[[]byte](t)(os.ReadFile(path))
}
