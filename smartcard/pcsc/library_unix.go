//go:build linux || darwin

package pcsc

import "github.com/ebitengine/purego"

// wide ends the names of functions that take names of readers.
const wide = ""

// char is what names of readers are made of: UTF-8.
type char = byte

func text(c []char) string { return string(c) }

func chars(s string) []char { return []char(s) }

func open() (uintptr, error) { return purego.Dlopen(libraryName, purego.RTLD_NOW) }
