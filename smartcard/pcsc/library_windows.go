package pcsc

import "golang.org/x/sys/windows"

// Microsoft's types: DWORD and ULONG_PTR.
type (
	dword  = uint32
	handle = uintptr
)

// wide ends the names of functions that take names of readers.
const wide = "W"

// char is what names of readers are made of: UTF-16.
type char = uint16

func text(c []char) string { return windows.UTF16ToString(c) }

func chars(s string) []char {
	c, err := windows.UTF16FromString(s)
	if err != nil { // a zero in the name: no reader has that
		return nil
	}
	return c[:len(c)-1]
}

// open takes the library from the system's own directory alone.
func open() (uintptr, error) {
	dll := windows.NewLazySystemDLL("winscard.dll")
	if err := dll.Load(); err != nil {
		return 0, err
	}
	return dll.Handle(), nil
}
