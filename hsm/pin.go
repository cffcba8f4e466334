package hsm

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// PIN is a token's user PIN. It never prints.
type PIN struct{ value string }

// NewPIN makes a PIN of text.
func NewPIN(s string) PIN { return PIN{s} }

const hiddenPIN = "[PIN]"

// String keeps the PIN out of logs and errors.
func (PIN) String() string { return hiddenPIN }

// GoString does the same for %#v.
func (PIN) GoString() string { return hiddenPIN }

// MarshalText does the same for JSON and YAML.
func (PIN) MarshalText() ([]byte, error) { return []byte(hiddenPIN), nil }

// PINSource says where to read a PIN from: exactly one of a file, an environment
// variable or an open file descriptor. There is none for the PIN itself: a flag
// would show it in the process list, a config file would keep it for ever.
type PINSource struct {
	File string
	Env  string
	// FD is the number of an open file descriptor, 3 or above; 0 is none.
	FD int
}

// maxPIN bounds what is read from a file or descriptor, in bytes.
const maxPIN = 1024

// Faults says what is wrong with the source itself, before it is read.
func (s PINSource) Faults() error {
	set := 0
	for _, is := range []bool{s.File != "", s.Env != "", s.FD != 0} {
		if is {
			set++
		}
	}
	switch {
	case set == 0:
		return errors.New("say where the PIN is: a file, an environment variable or a file descriptor")
	case set > 1:
		return errors.New("say one place for the PIN: a file, an environment variable or a file descriptor")
	case s.FD < 0 || s.FD == 1 || s.FD == 2:
		return errors.New("the PIN's file descriptor must be 3 or above")
	}
	return nil
}

// Read reads the PIN, without the line end behind it. A file that others than
// its owner may read is refused. The environment variable is removed from the
// process, so that children do not inherit it.
func (s PINSource) Read() (PIN, error) {
	if err := s.Faults(); err != nil {
		return PIN{}, err
	}
	var value string
	switch {
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return PIN{}, fmt.Errorf("read PIN: the environment variable %s is not set", s.Env)
		}
		if err := os.Unsetenv(s.Env); err != nil {
			return PIN{}, fmt.Errorf("read PIN: %w", err)
		}
		value = v
	default:
		f, err := s.open()
		if err != nil {
			return PIN{}, fmt.Errorf("read PIN: %w", err)
		}
		defer func() { _ = f.Close() }() // only read from
		b, err := io.ReadAll(io.LimitReader(f, maxPIN))
		if err != nil {
			return PIN{}, fmt.Errorf("read PIN: %w", err)
		}
		value = string(b)
		clear(b)
	}
	value = strings.TrimRight(value, "\r\n")
	if value == "" {
		return PIN{}, fmt.Errorf("read PIN: %s is empty", cmp.Or(s.File, s.Env, "the file descriptor"))
	}
	return PIN{value}, nil
}

func (s PINSource) open() (*os.File, error) {
	if s.FD != 0 {
		return os.NewFile(uintptr(s.FD), "PIN descriptor"), nil
	}
	f, err := os.Open(s.File)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s may be read by others (mode %04o); run: chmod 600 %s", s.File, info.Mode().Perm(), s.File)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
