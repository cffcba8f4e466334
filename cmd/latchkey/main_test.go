package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/softtoken"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"latchkey": main, "exits": exits, "plant": plant})
}

// plant puts a master key into a token for a script, as other software might: the
// arguments are the token's folder and label, the key's label and its traits.
func plant() {
	token, err := softtoken.Existing(os.Args[1], os.Args[2])
	if err == nil {
		err = softhsmtest.Plant(token, os.Args[3], os.Args[4:]...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// raceOptions keep the race detector from a second's sleep at the end of each of
// the many processes.
const raceOptions = "atexit_sleep_ms=0"

// scripts runs the scripts of a folder.
func scripts(t *testing.T, folder string, setup func(*testscript.Env) error) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", folder),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", raceOptions)
			return setup(e)
		},
	})
}

// exits runs a command for a script and succeeds where it ends with the exit code
// that the first argument names; `! exec` would take any but 0.
func exits() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != os.Args[1] {
		fmt.Fprintf(os.Stderr, "exit code %s, want %s\n", code, os.Args[1])
		os.Exit(1)
	}
}

// tokenConfig is a configuration file of which only the hsm section is there,
// which is all that the commands on the token ask for.
const tokenConfig = `hsm:
  module: %s
  token: {label: %s}
  pin: {file: %s}
`

// The scripts call the binary's own code in processes of their own, each script
// with a token of its own.
func TestOnTheToken(t *testing.T) {
	vectors, err := filepath.Abs("../../hsm/testdata/diversification.json")
	if err != nil {
		t.Fatal(err)
	}
	scripts(t, "token", func(e *testscript.Env) error {
		folder := filepath.Join(e.WorkDir, "token")
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		token, err := softtoken.Make(t.Context(), folder, "bench")
		if err != nil {
			return err
		}
		e.Vars = append(e.Vars, token.Env()...)
		e.Setenv("MODULE", token.Module)
		e.Setenv("PIN", token.PIN)
		e.Setenv("PINFILE", token.PINFile)
		e.Setenv("VECTORS", vectors)
		config := filepath.Join(e.WorkDir, "token.yaml")
		e.Setenv("LATCHKEY_CONFIG", config)
		return os.WriteFile(config, fmt.Appendf(nil, tokenConfig, token.Module, token.Label, token.PINFile), 0o600)
	})
}

// What needs neither a token nor a server.
func TestOffline(t *testing.T) {
	scripts(t, "offline", func(*testscript.Env) error { return nil })
}
