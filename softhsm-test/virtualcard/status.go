package virtualcard

import "fmt"

// Status is the status word that ends a response APDU, ISO 7816-4. One other
// than OK is an error.
type Status uint16

// The status words that the card answers with.
const (
	OK               Status = 0x9000
	WrongLength      Status = 0x6700
	NotAuthenticated Status = 0x6982 // also a wrong response, where the card does not count them
	Blocked          Status = 0x6983
	DataInvalid      Status = 0x6984
	NotNow           Status = 0x6985 // no challenge is open, or no key was named
	FileNotFound     Status = 0x6A82
	WrongParameters  Status = 0x6A86
	NoReference      Status = 0x6A88
	UnknownCommand   Status = 0x6D00
	UnknownClass     Status = 0x6E00

	triesLeft Status = 0x63C0 // the last digit counts them
)

// TriesLeft reads a status word that counts tries: the PIN or the response was
// wrong, and so many more are taken.
func (s Status) TriesLeft() (tries int, ok bool) { return int(s & 0xF), s&0xFFF0 == triesLeft }

func (s Status) Error() string {
	words := map[Status]string{
		OK: "done", WrongLength: "wrong length", NotAuthenticated: "not authenticated", Blocked: "blocked",
		DataInvalid: "invalid data", NotNow: "conditions of use not satisfied", FileNotFound: "not found",
		WrongParameters: "wrong parameters", NoReference: "no such reference data",
		UnknownCommand: "unknown command", UnknownClass: "unknown class",
	}
	word := words[s]
	if tries, ok := s.TriesLeft(); ok {
		word = fmt.Sprintf("wrong, tries left: %d", tries)
	}
	return fmt.Sprintf("the card answers %04X: %s", uint16(s), word)
}
