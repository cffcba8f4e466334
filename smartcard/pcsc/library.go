package pcsc

import "github.com/ebitengine/purego"

// ioRequest is SCARD_IO_REQUEST.
type ioRequest struct{ protocol, length dword }

// library is the functions of PC/SC that are used. Codes come back in a register:
// their low 32 bits count.
type library struct {
	establishContext func(scope dword, reserved1, reserved2 *byte, context *handle) uintptr
	releaseContext   func(context handle) uintptr
	listReaders      func(context handle, groups, readers *char, length *dword) uintptr
	connect          func(context handle, reader *char, share, protocols dword, card *handle, protocol *dword) uintptr
	disconnect       func(card handle, disposition dword) uintptr
	beginTransaction func(card handle) uintptr
	endTransaction   func(card handle, disposition dword) uintptr
	status           func(card handle, names *char, namesLength, state, protocol *dword, atr *byte, atrLength *dword) uintptr
	transmit         func(card handle, send *ioRequest, command *byte, commandLength dword, receive *ioRequest, answer *byte, answerLength *dword) uintptr
}

// load finds the system's library.
func load() (*library, error) {
	lib, err := open()
	if err != nil {
		return nil, err
	}
	l := new(library)
	for name, f := range map[string]any{
		"SCardEstablishContext":   &l.establishContext,
		"SCardReleaseContext":     &l.releaseContext,
		"SCardListReaders" + wide: &l.listReaders,
		"SCardConnect" + wide:     &l.connect,
		"SCardDisconnect":         &l.disconnect,
		"SCardBeginTransaction":   &l.beginTransaction,
		"SCardEndTransaction":     &l.endTransaction,
		"SCardStatus" + wide:      &l.status,
		"SCardTransmit":           &l.transmit,
	} {
		purego.RegisterLibFunc(f, lib, name)
	}
	return l, nil
}
