package softhsmtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binary builds the latchkey binary when a test first asks for it, and gives its path;
// holderBinary does for unblock-card.
var binary, holderBinary func() (string, error)

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
	build := func(name string) func() (string, error) {
		return sync.OnceValues(func() (string, error) {
			path := filepath.Join(dir, name)
			if out, err := exec.Command("go", "build", "-o", path, "latchkey/cmd/"+name).CombinedOutput(); err != nil {
				return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
			}
			return path, nil
		})
	}
	binary, holderBinary = build("latchkey"), build("unblock-card")
	return m.Run()
}
