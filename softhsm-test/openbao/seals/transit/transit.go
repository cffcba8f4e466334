// Package transit stands where OpenBao expects a kind of seal that is not used here, and
// of whose module the checksum database knows nothing; see the README above.
package transit

import (
	"context"
	"errors"

	wrapping "github.com/openbao/go-kms-wrapping/v2"
)

// Wrapper is none.
type Wrapper struct{ wrapping.Wrapper }

// NewWrapper makes one that cannot be configured.
func NewWrapper() *Wrapper { return new(Wrapper) }

// SetConfig says that this kind of seal is not there.
func (*Wrapper) SetConfig(context.Context, ...wrapping.Option) (*wrapping.WrapperConfig, error) {
	return nil, errors.New("this kind of seal is left out")
}
