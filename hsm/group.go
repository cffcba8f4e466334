package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"latchkey/card"
)

// Group is several tokens that hold the same master keys, such as the members of
// an HSM cluster. An answer comes from the first that can give one.
type Group struct {
	mu      sync.RWMutex
	tokens  []*Token
	modules map[string]*Module // that the group loaded, by path

	// opening is held while a member is opened, which may take as long as a module
	// likes; answers do not wait for it.
	opening sync.Mutex

	stop chan struct{}
	late sync.WaitGroup // members that are yet to be opened
}

// NewGroup makes a group of tokens that are open, in the order in which they are
// tried.
func NewGroup(tokens ...*Token) *Group {
	return &Group{tokens: tokens, modules: map[string]*Module{}, stop: make(chan struct{})}
}

// Member says where one token of a group is.
type Member struct {
	Path   string // of the PKCS#11 library
	Config Config
}

// OpenGroup opens every member that it can and goes on without the others: one
// has to be there. A member that was not is looked for again at intervals of its
// RecoverEvery, but not one that refused its PIN or whose module hangs each time.
func OpenGroup(ctx context.Context, members []Member) (*Group, error) {
	g := NewGroup()
	var errs []error
	for _, m := range members {
		t, err := g.open(ctx, m)
		if err == nil {
			g.Add(t)
			continue
		}
		errs = append(errs, err)
		if ctx.Err() == nil && !errors.Is(err, ErrPIN) {
			g.late.Go(func() { g.await(context.WithoutCancel(ctx), m) })
		}
	}
	if len(g.Tokens()) == 0 {
		errs = append(errs, g.Close(ctx))
		return nil, errors.Join(errs...)
	}
	for _, err := range errs {
		members[0].Config.withDefaults().Log.Error("going on without an HSM token", zap.Error(err))
	}
	return g, nil
}

// open opens a member, through the module that is loaded where there is one.
func (g *Group) open(ctx context.Context, member Member) (*Token, error) {
	g.opening.Lock()
	defer g.opening.Unlock()
	g.mu.RLock()
	m, loaded := g.modules[member.Path]
	g.mu.RUnlock()
	if !loaded {
		var err error
		if m, err = Load(member.Path); err != nil {
			return nil, err
		}
	}
	t, err := m.Open(ctx, member.Config)
	if err != nil && !loaded && !hangs(err) {
		// A token that comes later is only seen by a library initialised after it.
		return nil, errors.Join(err, m.Close())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.modules[member.Path] = m // one that hangs, too: it cannot be finalised
	return t, err
}

// hangs tells whether err is of a module that did not come back in time.
func hangs(err error) bool {
	var late *TimeoutError
	return errors.As(err, &late)
}

// hangsToGiveUp is how often a module may hang before its member is looked for no
// more: each time costs a thread.
const hangsToGiveUp = 3

// await opens a member that was not there, once it is.
func (g *Group) await(ctx context.Context, member Member) {
	config := member.Config.withDefaults()
	for hung := 0; hung < hangsToGiveUp; {
		select {
		case <-g.stop:
			return
		case <-time.After(config.RecoverEvery):
		}
		t, err := g.open(ctx, member)
		switch {
		case err == nil && g.ended():
			_ = t.Close(ctx) // the group was closed meanwhile, and nobody is left to tell
			return
		case err == nil:
			g.Add(t)
			config.Log.Info("an HSM token joined its group", zap.String("token", t.info.Label))
			return
		case errors.Is(err, ErrPIN):
			config.Log.Error("an HSM token stays out of its group", zap.Error(err))
			return
		case hangs(err):
			hung++
			config.Log.Error("an HSM module hangs while its token is to join the group", zap.Int("times", hung), zap.Error(err))
		}
	}
	config.Log.Error("an HSM token stays out of its group until a restart: its module hangs", zap.String("module", member.Path))
}

// Add takes in another token, which is tried last.
func (g *Group) Add(t *Token) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = append(slices.Clone(g.tokens), t)
}

// Tokens lists the members in the order in which they are tried.
func (g *Group) Tokens() []*Token {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.tokens
}

// Respond is [Token.Respond] by the first token that can be had. The next is only
// asked where one is unavailable or lacks the key: what a token refuses for a
// reason, it refuses for all.
func (g *Group) Respond(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	var errs []error
	for _, t := range g.Tokens() {
		response, err := t.Respond(ctx, key, alg, challenge)
		if err == nil {
			return response, nil
		}
		errs = append(errs, fmt.Errorf("token %q: %w", t.info.Label, err))
		if ctx.Err() != nil || !another(err) {
			break
		}
	}
	if len(errs) == 1 {
		return nil, errors.Unwrap(errs[0])
	}
	return nil, errors.Join(errs...)
}

// another tells whether another token might do what this one could not.
func another(err error) bool {
	var outage interface{ Unavailable() bool }
	return errors.Is(err, ErrKeyUnknown) || errors.Is(err, ErrPIN) || errors.Is(err, ErrToken) || errors.Is(err, ErrClosed) ||
		errors.As(err, &outage) && outage.Unavailable()
}

// Check tells whether one token at least is there with its user logged in.
func (g *Group) Check(ctx context.Context) error {
	var errs []error
	for _, t := range g.Tokens() {
		err := t.Check(ctx)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("token %q: %w", t.info.Label, err))
	}
	return errors.Join(errs...)
}

// HasKey tells whether one token at least holds a fit master key of that name.
func (g *Group) HasKey(label string, version int) bool {
	for _, t := range g.Tokens() {
		if t.HasKey(label, version) {
			return true
		}
	}
	return false
}

// Calls counts the PKCS#11 calls of all tokens.
func (g *Group) Calls() (n int64) {
	for _, t := range g.Tokens() {
		n += t.Calls()
	}
	return n
}

// Status tells how the tokens stand, without asking them.
func (g *Group) Status() []Status {
	var list []Status
	for _, t := range g.Tokens() {
		list = append(list, t.Status())
	}
	return list
}

// TryPINsAgain has every token that refused its PIN try it again, once.
func (g *Group) TryPINsAgain(ctx context.Context) error {
	var errs []error
	for _, t := range g.Tokens() {
		if err := t.TryPINAgain(ctx); err != nil {
			errs = append(errs, fmt.Errorf("token %q: %w", t.info.Label, err))
		}
	}
	return errors.Join(errs...)
}

// ended tells whether the group was closed.
func (g *Group) ended() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// Close closes every token, and the modules that OpenGroup loaded. It waits for a
// member that is being opened no longer than ctx does: its module hangs, and is
// left to the end of the process.
func (g *Group) Close(ctx context.Context) error {
	close(g.stop)
	opened := make(chan struct{})
	go func() {
		g.late.Wait()
		close(opened)
	}()
	var errs []error
	for _, t := range g.Tokens() {
		errs = append(errs, t.Close(ctx))
	}
	select {
	case <-opened:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("wait for a token that is being opened: %w", ctx.Err()))
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, m := range g.modules {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
