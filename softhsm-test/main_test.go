package softhsmtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binary builds the latchkey binary when a test first asks for it, and gives its path.
var binary func() (string, error)

func TestMain(m *testing.M) {
	if load := os.Getenv(loadVariable); load != "" {
		os.Exit(runLoad(load))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "latchkey-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = sync.OnceValues(func() (string, error) {
		path := filepath.Join(dir, "latchkey")
		if out, err := exec.Command("go", "build", "-o", path, "latchkey/cmd/latchkey").CombinedOutput(); err != nil {
			return "", fmt.Errorf("build latchkey: %w\n%s", err, out)
		}
		return path, nil
	})
	return m.Run()
}
