package hsm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// DefaultSessions is how many sessions a pool has unless configured.
const DefaultSessions = 8

// Config says which token to open and how.
type Config struct {
	Token Selector
	PIN   PIN
	// Sessions bounds the pool, DefaultSessions if 0.
	Sessions int
	// AllowExtractable names the master keys (by label) that may be used although
	// they could be read out of the token. Without it such keys are refused.
	AllowExtractable []string
}

// Token is one token with its user logged in. It is safe for concurrent use.
type Token struct {
	module *Module
	info   TokenInfo
	config Config
	// anchor stays open for the process's life: the login belongs to the
	// application and ends when its last session closes.
	anchor pkcs11.SessionHandle
	pool   *pool
	calls  atomic.Int64
	// nativeCounter tells that the token has CKM_SP800_108_COUNTER_KDF.
	nativeCounter bool

	mu      sync.RWMutex
	keys    map[keyName][]Key
	scanned int64 // counts the scans, so that concurrent misses share one
	closed  bool
}

// Open finds the token, logs its user in, once for the whole process, and reads
// which master keys there are. A wrong PIN is tried once: another try is the
// caller's decision, since a token locks after a few.
func (m *Module) Open(ctx context.Context, c Config) (*Token, error) {
	if c.Sessions == 0 {
		c.Sessions = DefaultSessions
	}
	info, err := m.find(c.Token)
	if err != nil {
		return nil, err
	}
	t := &Token{module: m, info: info, config: c}
	if t.anchor, err = m.ctx.OpenSession(info.Slot, pkcs11.CKF_SERIAL_SESSION); err != nil {
		return nil, failed("C_OpenSession", err)
	}
	if err := m.ctx.Login(t.anchor, pkcs11.CKU_USER, c.PIN.value); err != nil && code(err) != pkcs11.CKR_USER_ALREADY_LOGGED_IN {
		_ = m.ctx.CloseSession(t.anchor)
		return nil, fmt.Errorf("log in to token %q: %w", info.Label, failed("C_Login", err))
	}
	mechanisms, err := t.Mechanisms()
	if err != nil {
		_ = m.ctx.CloseSession(t.anchor)
		return nil, err
	}
	t.nativeCounter = slices.Contains(mechanisms, ckmSP800108Counter)
	t.pool = newPool(c.Sessions, t.openSession)
	if err := t.reload(ctx); err != nil {
		_ = t.Close(ctx)
		return nil, err
	}
	return t, nil
}

// Close waits until no answer is under way, then logs out and closes every
// session. When ctx ends first, sessions in use are left to the module.
func (t *Token) Close(ctx context.Context) error {
	t.mu.Lock()
	already := t.closed
	t.closed = true
	t.mu.Unlock()
	if already {
		return nil
	}
	err := t.pool.drain(ctx)
	// Closing the last session ends the login; a separate C_Logout would fail on
	// a session that died, and do nothing else.
	if e := t.module.ctx.CloseSession(t.anchor); e != nil && err == nil {
		err = failed("C_CloseSession", e)
	}
	return err
}

// Info describes the token as it was when opened.
func (t *Token) Info() TokenInfo { return t.info }

// Calls counts the PKCS#11 calls that answers and key searches have made so far.
func (t *Token) Calls() int64 { return t.calls.Load() }

// Check tells whether the token is there and its user logged in, by asking the
// token now.
func (t *Token) Check(ctx context.Context) error {
	s, err := t.take(ctx)
	if err != nil {
		return err
	}
	defer t.pool.give(s)
	return s.loggedIn()
}

// loggedIn makes sure that the session sees private objects. Without a login
// C_FindObjects finds nothing and gives no error, which must not be taken for
// "there is no such key".
func (s *session) loggedIn() error {
	info, err := s.ctx.GetSessionInfo(s.handle)
	if err := s.call("C_GetSessionInfo", err); err != nil {
		return err
	}
	if info.State != pkcs11.CKS_RO_USER_FUNCTIONS && info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
		return s.call("C_GetSessionInfo", pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN))
	}
	return nil
}

func (t *Token) take(ctx context.Context) (*session, error) {
	t.mu.RLock()
	closed := t.closed
	t.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	return t.pool.take(ctx)
}

func (t *Token) openSession() (*session, error) {
	return t.session(pkcs11.CKF_SERIAL_SESSION)
}

func (t *Token) session(flags uint) (*session, error) {
	t.calls.Add(1)
	h, err := t.module.ctx.OpenSession(t.info.Slot, flags)
	if err != nil {
		return nil, failed("C_OpenSession", err)
	}
	return &session{ctx: t.module.ctx, handle: h, calls: &t.calls, nativeCounter: t.nativeCounter}, nil
}

// Mechanisms lists the token's mechanisms by their CKM_ numbers, sorted.
func (t *Token) Mechanisms() ([]uint, error) {
	list, err := t.module.ctx.GetMechanismList(t.info.Slot)
	if err != nil {
		return nil, failed("C_GetMechanismList", err)
	}
	numbers := make([]uint, len(list))
	for i, m := range list {
		numbers[i] = m.Mechanism
	}
	slices.Sort(numbers)
	return numbers, nil
}

// SchemeSupport tells whether this token can carry out a scheme.
type SchemeSupport struct {
	Scheme    card.Scheme `json:"scheme"`
	Supported bool        `json:"supported"`
	Reason    string      `json:"reason,omitempty"`
}

// Schemes tells of every scheme whether the token lists its mechanism.
func (t *Token) Schemes() ([]SchemeSupport, error) {
	mechanisms, err := t.Mechanisms()
	if err != nil {
		return nil, err
	}
	var list []SchemeSupport
	for _, scheme := range card.Schemes() {
		support := SchemeSupport{Scheme: scheme, Supported: true}
		native := slices.Contains(mechanisms, ckmSP800108Counter) && (scheme == card.KDF3 || scheme == card.SP800108)
		for _, m := range schemeMechanisms(scheme, typicalMaster(scheme)) {
			if !native && !slices.Contains(mechanisms, m.number) {
				support = SchemeSupport{Scheme: scheme, Reason: "the token does not list " + m.name}
			}
		}
		list = append(list, support)
	}
	return list, nil
}

// typicalMaster is a master key type that goes with the scheme.
func typicalMaster(s card.Scheme) card.KeyType {
	return masterTypes(s, s.CardKeyTypes()[len(s.CardKeyTypes())-1])[0]
}
