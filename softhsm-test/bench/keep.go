package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

// finding is what was measured of one thing.
type finding interface {
	// name is that of its files, and of its place in the documentation.
	name() string
	// print writes it as Markdown.
	print(w io.Writer)
	// draw gives its plot, or none.
	draw() (*drawing, error)
}

// drawing is a plot with its size.
type drawing struct {
	*plot.Plot
	width, height vg.Length
}

// keep shows what was found, and keeps it: figures and plots in the folder for them,
// and where it is asked for in the documentation.
func keep(o options, f finding) error {
	var text bytes.Buffer
	f.print(&text)
	if _, err := fmt.Fprintf(os.Stdout, "%s\n", text.Bytes()); err != nil {
		return err
	}
	figures, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, f.name()+".json"), append(figures, '\n'), 0o600); err != nil {
		return err
	}
	d, err := f.draw()
	if err != nil {
		return err
	}
	if err := save(d, filepath.Join(o.out, f.name())); err != nil || o.docs == "" {
		return err
	}
	if err := insert(filepath.Join(o.docs, "performance.md"), f.name(), text.Bytes()); err != nil {
		return err
	}
	folder := filepath.Join(o.docs, "performance")
	return errors.Join(os.MkdirAll(folder, 0o750), save(d, filepath.Join(folder, f.name())))
}

func save(d *drawing, file string) error {
	if d == nil {
		return nil
	}
	return errors.Join(d.Save(d.width, d.height, file+".svg"), d.Save(d.width, d.height, file+".png"))
}

// insert puts a text between the two lines of a page that mark its place.
func insert(page, place string, text []byte) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(old, []byte("<!-- bench "+place+" -->\n"))
	_, after, ends := bytes.Cut(rest, []byte("<!-- end -->\n"))
	if !begins || !ends {
		return fmt.Errorf("%s has no place for %s", page, place)
	}
	var page2 bytes.Buffer
	fmt.Fprintf(&page2, "%s<!-- bench %s -->\n%s<!-- end -->\n%s", before, place, text, after)
	return os.WriteFile(page, page2.Bytes(), 0o644) //nolint:gosec // a page for everybody
}
