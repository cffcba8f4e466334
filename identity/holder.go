package identity

import "strings"

// Known says by what a person who signs in is known as the holder of a card.
type Known string

// What it may be by.
const (
	ByEmployeeNumber Known = "employee_number"
	ByEmail          Known = "email" // in whichever case of the letters A to Z
	ByID             Known = "id"
)

// Knowns lists what holders may be known by.
func Knowns() []Known { return []Known{ByEmployeeNumber, ByEmail, ByID} }

// Of is what the person is known by, empty where that was not told.
func (k Known) Of(p Person) string {
	var text string
	switch k {
	case ByEmployeeNumber:
		text = p.EmployeeNumber
	case ByEmail:
		text = p.Email
	case ByID:
		text = p.ID
	}
	return strings.TrimSpace(text)
}
