// Package cmodule compiles PKCS#11 libraries in C that tests put between
// themselves and a real one.
package cmodule

import (
	"context"
	_ "embed" // for the header
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// header is cryptoki.h, which sources include for the types of PKCS#11.
//
//go:embed cryptoki.h
var header []byte

// Compile makes one shared library of the C files in a folder of sources, and
// gives its bytes. It needs gcc, and go to find the headers of PKCS#11, which
// are in the source of miekg/pkcs11. Warnings are errors.
func Compile(sources fs.FS, folder string) (library []byte, err error) {
	headers, err := run("", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cmodule")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, sources); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "cryptoki.h"), header, 0o600); err != nil {
		return nil, err
	}
	files, err := fs.Glob(sources, folder+"/*.c")
	if err != nil {
		return nil, err
	}
	// nodelete: threads of the library's, or of the real one's, live on when it is
	// closed.
	flags := []string{
		"-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden",
		"-pthread", "-Wl,-z,nodelete,-z,defs", "-I.", "-isystem", strings.TrimSpace(headers), "-o", "library.so",
	}
	if _, err := run(dir, "gcc", append(flags, files...)...); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "library.so"))
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), name, args...) //nolint:gosec // called with constants
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("compile a PKCS#11 module: %s: %w\n%s", name, err, stderr.String())
	}
	return string(out), nil
}
