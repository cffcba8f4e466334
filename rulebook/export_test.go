package rulebook

import "context"

// Follow is one look, as Run takes it.
func (r *Rulebook) Follow(ctx context.Context) { r.follow(ctx, false) }
