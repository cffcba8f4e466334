package policy

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// Decided is a request with the decision on it, as it is kept so that other policies
// can be tried on it.
type Decided struct {
	Request  Request
	Decision Decision
}

// Encode is the decision as JSON, without what is empty. Left out are the card's key
// material, which policies do not see, and of the decision what its audit entry says:
// the policies, their fingerprint and their words.
func (d Decided) Encode() ([]byte, error) {
	c := &d.Request.Card
	c.CUID, c.KDD, c.WrappedKey = nil, nil, nil
	d.Decision.Policies, d.Decision.Version, d.Decision.Why = nil, "", ""
	text, err := json.Marshal(d, json.OmitZeroStructFields(true))
	if err != nil {
		return nil, fmt.Errorf("encode decision: %w", err)
	}
	return text, nil
}

// Decode reads what Encode wrote, and leaves out what this program does not know of.
func Decode(text []byte) (Decided, error) {
	var d Decided
	if err := json.Unmarshal(text, &d); err != nil {
		return Decided{}, fmt.Errorf("decode decision: %w", err)
	}
	return d, nil
}
