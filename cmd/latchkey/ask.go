package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"
)

// interactive tells whether a person sits at both ends.
func (a *app) interactive() bool {
	return term.IsTerminal(int(a.in.Fd())) && !a.json
}

// askHidden asks for a line that the terminal does not show. A signal ends the
// wait and leaves the terminal as it was.
func (a *app) askHidden(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(a.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprint(a.err, prompt)
	defer func() { _, _ = fmt.Fprintln(a.err) }()
	return wait(ctx, func() ([]byte, error) { return term.ReadPassword(fd) }, func() { _ = term.Restore(fd, before) })
}

// asker asks for lines on the terminal.
type asker struct {
	lines *bufio.Reader
	out   io.Writer
}

// errInputEnded says that there was no line left to read.
var errInputEnded = errors.New("the input ended")

// ask gives the line typed, without the white space around it.
func (q *asker) ask(ctx context.Context, prompt string) (string, error) {
	_, _ = fmt.Fprint(q.out, prompt)
	line, err := wait(ctx, func() (string, error) { return q.lines.ReadString('\n') }, func() { _, _ = fmt.Fprintln(q.out) })
	switch {
	case line != "": // the last line may have no end
		err = nil
	case errors.Is(err, io.EOF):
		_, _ = fmt.Fprintln(q.out)
		err = errInputEnded
	}
	return strings.TrimSpace(line), err
}

// agrees tells whether an answer to a [y/N] is a yes.
func agrees(answer string) bool {
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// wait gives what read gives, unless ctx ends first: a read from a terminal
// cannot be called off, so it is left behind, and the process is about to end.
func wait[T any](ctx context.Context, read func() (T, error), interrupted func()) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		interrupted()
		var none T
		return none, ctx.Err()
	}
}
