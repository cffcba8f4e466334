// Package script runs the project's own scripts for the fixtures that need what they
// fetch or build.
package script

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Make runs scripts/NAME, which leaves something in bin unless it is there, and gives
// the path of that.
func Make(name, made string) (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the tests' own folder is not known")
	}
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	if out, err := exec.Command(filepath.Join(root, "scripts", name)).CombinedOutput(); err != nil { //nolint:gosec,noctx // a script of ours, which tests name and wait for
		return "", fmt.Errorf("scripts/%s: %w\n%s", name, err, out)
	}
	return filepath.Join(root, "bin", made), nil
}
