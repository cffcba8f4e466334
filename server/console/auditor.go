package console

import (
	"context"

	"latchkey/audit/digest"
)

// Log is the audit log.
type Log interface {
	Search(ctx context.Context, q digest.Query) (digest.Found, error)
}
