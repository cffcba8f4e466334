package pcsc

// Apple's library and its types: uint32_t and int32_t.
const libraryName = "/System/Library/Frameworks/PCSC.framework/PCSC"

type (
	dword  = uint32
	handle = int32
)
