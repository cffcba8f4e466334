package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// maxLine bounds a line that is read, in bytes.
const maxLine = 512

// errTooLong: a line that no response and no PIN is as long as.
var errTooLong = &misuseError{errors.New("a line that is too long")}

// input reads lines, byte by byte, so that nothing is read ahead of the line that is
// asked for and no buffer but the caller's holds what was typed.
type input struct{ from io.Reader }

// next reads one byte. A read cannot be interrupted: where the context ends first,
// the read is left behind, and the program ends soon after.
func (in input) next(ctx context.Context) (byte, error) {
	type read struct {
		b   byte
		err error
	}
	c := make(chan read, 1)
	go func() {
		var b [1]byte
		_, err := io.ReadFull(in.from, b[:])
		c <- read{b[0], err}
		b[0] = 0
	}()
	select {
	case r := <-c:
		if errors.Is(r.err, io.EOF) {
			return 0, errInputEnded
		}
		return r.b, r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// line reads a line into the buffer and gives its length. The last line may have no end.
func (in input) line(ctx context.Context, into []byte) (int, error) {
	n := 0
	for {
		b, err := in.next(ctx)
		switch {
		case errors.Is(err, errInputEnded) && n > 0, err == nil && b == '\n':
			return len(bytes.TrimSuffix(into[:n], []byte("\r"))), nil
		case err != nil:
			clear(into)
			return 0, err
		case n == len(into):
			clear(into)
			return 0, errTooLong
		}
		into[n] = b
		n++
	}
}

// The keys that mean something where a line is typed unseen.
const (
	keyInterrupt = 0x03
	keyEnd       = 0x04
	keyBackspace = 0x08
	keyClear     = 0x15
	keyDelete    = 0x7F
)

// hidden reads a line that the terminal does not show. The terminal's own Ctrl-C
// comes as a character then.
func (in input) hidden(ctx context.Context, terminal *os.File, prompt func(), into []byte) (n int, err error) {
	fd := int(terminal.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return 0, fmt.Errorf("hide what is typed: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(fd, before)) }()
	prompt() // only now, so that nothing is typed that shows
	for {
		b, err := in.next(ctx)
		switch {
		case err != nil:
			clear(into)
			return 0, err
		case b == keyInterrupt:
			clear(into)
			return 0, errInterrupted
		case b == keyEnd && n == 0:
			return 0, errInputEnded
		case b == '\r', b == '\n':
			return n, nil
		case b == keyBackspace, b == keyDelete:
			_, size := utf8.DecodeLastRune(into[:n])
			n -= size
		case b == keyClear:
			n = 0
		case b < ' ':
		case n == len(into):
			clear(into)
			return 0, errTooLong
		default:
			into[n] = b
			n++
		}
	}
}

// source is where a secret comes from that is not typed. The zero source is standard input.
type source struct {
	file *os.File
	path string
}

// parseSource reads what follows --response and its like.
func parseSource(text string) (source, error) {
	if number, ok := strings.CutPrefix(text, "fd:"); ok {
		fd, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return source{}, fmt.Errorf("%q is no descriptor: fd: is followed by its number", text)
		}
		return source{file: os.NewFile(uintptr(fd), text)}, nil
	}
	if text == "" || text == "-" {
		return source{}, nil
	}
	return source{path: text}, nil
}

// line reads the source's line, or the next one of standard input.
func (s source) line(ctx context.Context, stdin *os.File, into []byte) (int, error) {
	switch {
	case s.path == "" && s.file == nil:
		return input{stdin}.line(ctx, into)
	case s.file != nil:
		return input{s.file}.line(ctx, into)
	}
	// Opening a named pipe waits for its writer.
	type opened struct {
		f   *os.File
		err error
	}
	c := make(chan opened, 1)
	go func() {
		f, err := os.Open(s.path)
		c <- opened{f, err}
	}()
	select {
	case o := <-c:
		if o.err != nil {
			return 0, &misuseError{o.err}
		}
		defer func() { _ = o.f.Close() }() // it was only read
		return input{o.f}.line(ctx, into)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
