package identity

import "time"

// Session is somebody's stay in the console, from signing in to signing out. What
// is kept of the browser's secret is its SHA-256 alone.
type Session struct {
	Hash [32]byte
	// Person is the ID of whose it is, Token what the provider said at the sign-in.
	Person  string
	Token   Token
	BeganAt time.Time
	// SeenAt is about when it was last used, EndsAt when it ends however much it is
	// used.
	SeenAt, EndsAt time.Time
}
