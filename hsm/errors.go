package hsm

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Errors that callers tell apart.
var (
	// ErrToken says that no token, or more than one, is the one meant.
	ErrToken = errors.New("token not found")
	// ErrKeyUnknown says that the token holds no master key of that name and version.
	ErrKeyUnknown = errors.New("no such master key")
	// ErrKeyUnfit says that the master key cannot or must not be used for this.
	ErrKeyUnfit = errors.New("master key unfit")
	// ErrInput says that the diversification data or the challenge is unfit.
	ErrInput = errors.New("unfit input")
	// ErrClosed says that the Token was closed.
	ErrClosed error = closedError{}
)

// UnsupportedError says that this version, or this token, cannot carry out what
// was asked for, and why.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return "unsupported: " + e.Reason }

// Error is a PKCS#11 call that failed.
type Error struct {
	Call string // the function, as in "C_DeriveKey"
	Code uint   // the CKR_ code
	err  error
}

func (e *Error) Error() string { return e.Call + ": " + e.err.Error() }

// Unwrap gives miekg's error.
func (e *Error) Unwrap() error { return e.err }

// Class tells what a failed call means for what can be done about it.
type Class int

// The classes. What belongs to none is Never: trying again does not help, and
// for a PIN would do harm.
const (
	Never   Class = iota // bad data, a mechanism or key that does not fit, a wrong PIN
	Session              // the session is dead: another may work
	Handle               // the key's handle is stale: find the key again
	Login                // the user is not logged in
	Device               // the token or the whole module is gone for now
)

// classOf sorts the codes of PKCS#11 v2.40, section 5.1, by what helps.
func classOf(code uint) Class {
	switch code {
	case pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED,
		pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_OPERATION_NOT_INITIALIZED:
		return Session
	case pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID:
		return Handle
	case pkcs11.CKR_USER_NOT_LOGGED_IN:
		return Login
	case pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED,
		pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_HOST_MEMORY, pkcs11.CKR_SESSION_COUNT,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
		pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_SLOT_ID_INVALID:
		return Device
	}
	return Never
}

// Class sorts the error.
func (e *Error) Class() Class { return classOf(e.Code) }

// Unavailable tells whether the call may work another time.
func (e *Error) Unavailable() bool { return e.Class() != Never }

// busyError says that no session came free in time.
type busyError struct{ err error }

func (e *busyError) Error() string     { return "wait for an HSM session: " + e.err.Error() }
func (e *busyError) Unwrap() error     { return e.err }
func (e *busyError) Unavailable() bool { return true }

// closedError counts as unavailable: a request that comes while the server goes
// down is told to come again, not that its card cannot be answered for.
type closedError struct{}

func (closedError) Error() string     { return "token closed" }
func (closedError) Unavailable() bool { return true }

// code is the CKR_ code in an error of miekg's, or CKR_OK.
func code(err error) uint {
	var e pkcs11.Error
	if errors.As(err, &e) {
		return uint(e)
	}
	return pkcs11.CKR_OK
}

// failed names the call in which err came up.
func failed(call string, err error) error {
	return &Error{Call: call, Code: code(err), err: err}
}

// isClass tells whether err is a failed call of the class.
func isClass(err error, class Class) bool {
	var e *Error
	return errors.As(err, &e) && e.Class() == class
}

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrKeyUnfit, fmt.Sprintf(format, args...))
}

func unfitInput(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInput, fmt.Sprintf(format, args...))
}
