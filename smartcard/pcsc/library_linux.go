package pcsc

// The library of pcsc-lite and its types: unsigned long and long.
const libraryName = "libpcsclite.so.1"

type (
	dword  = uintptr
	handle = uintptr
)
