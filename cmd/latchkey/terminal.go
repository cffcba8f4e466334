package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"latchkey/ceremony"
)

// terminal is the terminal at which a ceremony's officers sit. It is the
// ceremony's Console.
//
// It does not use term.ReadPassword: that leaves copies of what it reads on the
// heap, and shows its prompt's answer until it has switched the echo off. Here a
// hidden line goes from the kernel straight into the caller's buffer.
type terminal struct {
	in  *os.File
	out io.Writer
}

// newTerminal refuses what is no terminal: secrets come from a person alone.
func newTerminal(in *os.File, out io.Writer) (*terminal, error) {
	if !term.IsTerminal(int(in.Fd())) {
		return nil, misuse("a ceremony is walked at a terminal: standard input is not one")
	}
	return &terminal{in, out}, nil
}

// Show prints a line.
func (t *terminal) Show(line string) { _, _ = fmt.Fprintln(t.out, line) }

// maxLine bounds a line that is typed, in bytes. The kernel's own bound is 4095.
const maxLine = 1024

// Ask gives the line that is typed.
func (t *terminal) Ask(ctx context.Context, prompt string) (string, error) {
	line := make([]byte, maxLine)
	n, err := t.read(ctx, prompt, line, true)
	return string(line[:n]), err
}

// AskHidden reads a line that the terminal does not show.
func (t *terminal) AskHidden(ctx context.Context, prompt string, into []byte) (int, error) {
	n, err := t.read(ctx, prompt, into, false)
	_, _ = fmt.Fprintln(t.out)
	return n, err
}

// pollEvery is how often a wait for a line looks whether it is to end, in
// milliseconds.
const pollEvery = 50

// read reads a line into the buffer. Only when the echo is as it has to be, and
// all that was typed before is thrown away, is the prompt shown.
func (t *terminal) read(ctx context.Context, prompt string, into []byte, echo bool) (n int, err error) {
	fd := int(t.in.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return 0, fmt.Errorf("read from the terminal: %w", err)
	}
	set := *before
	set.Lflag |= unix.ICANON | unix.ISIG | unix.ECHO
	set.Iflag |= unix.ICRNL
	if !echo {
		set.Lflag &^= unix.ECHO | unix.ECHONL
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, &set); err != nil {
		return 0, fmt.Errorf("read from the terminal: %w", err)
	}
	defer func() {
		// What is left of a line that was too long, or not ended, is thrown away.
		err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETSF, before))
	}()
	_, _ = fmt.Fprint(t.out, prompt)
	for {
		if ctx.Err() != nil {
			_, _ = fmt.Fprintln(t.out)
			return 0, ctx.Err()
		}
		// A terminal that gives lines is ready when a whole one is there.
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a file descriptor is small
		if _, err := unix.Poll(ready, pollEvery); err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("wait for the terminal: %w", err)
		}
		if ready[0].Revents == 0 {
			continue
		}
		n, err = unix.Read(fd, into)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, fmt.Errorf("read from the terminal: %w", err)
		case n == 0:
			return 0, errInputEnded
		}
		if line, ok := bytes.CutSuffix(into[:n], []byte{'\n'}); ok {
			return len(line), nil
		}
		clear(into)
		return 0, ceremony.ErrTooLong
	}
}
