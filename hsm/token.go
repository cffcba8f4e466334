package hsm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
	"go.uber.org/zap"

	"latchkey/card"
)

// Defaults of a Config.
const (
	DefaultSessions     = 8
	DefaultCallTimeout  = 5 * time.Second
	DefaultKeepAlive    = time.Minute
	DefaultRecoverEvery = 30 * time.Second
)

// Config says which token to open and how.
type Config struct {
	Token Selector
	PIN   PIN
	// Reread, where set, reads the PIN anew for TryPINAgain.
	Reread func() (PIN, error)
	// Sessions bounds the pool, DefaultSessions if 0.
	Sessions int
	// Spare is how many sessions may take the place of ones whose call hangs, half
	// of Sessions if 0. When more calls hang than that, the token counts as down.
	Spare int
	// CallTimeout bounds the wait for one answer, DefaultCallTimeout if 0. Making and
	// destroying keys gets 20 seconds at least.
	CallTimeout time.Duration
	// KeepAlive is how often idle sessions are touched, DefaultKeepAlive if 0. It
	// has to be below the module's own idle time.
	KeepAlive time.Duration
	// RecoverEvery is how often at most the module is finalised and initialised
	// anew where only that helps, DefaultRecoverEvery if 0.
	RecoverEvery time.Duration
	// AllowExtractable names the master keys (by label) that may be used although
	// they are extractable. Without it such keys are refused. Any other fault of
	// theirs still counts.
	AllowExtractable []string
	// Log gets what happens to the token; nil is nowhere.
	Log *zap.Logger
	// Observer is told of each PKCS#11 call; nil is nobody.
	Observer Observer
}

func (c Config) withDefaults() Config {
	c.Sessions = cmp.Or(c.Sessions, DefaultSessions)
	c.Spare = cmp.Or(c.Spare, (c.Sessions+1)/2)
	c.CallTimeout = cmp.Or(c.CallTimeout, DefaultCallTimeout)
	c.KeepAlive = cmp.Or(c.KeepAlive, DefaultKeepAlive)
	c.RecoverEvery = cmp.Or(c.RecoverEvery, DefaultRecoverEvery)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

// Token is one token with its user logged in. It is safe for concurrent use, and
// mends itself where it can: see recover.go.
type Token struct {
	module *Module
	info   TokenInfo
	config Config
	log    *zap.Logger
	pool   *pool
	calls  atomic.Int64
	// cardKeys are the templates of card admin keys.
	cardKeys map[card.KeyType][]*pkcs11.Attribute
	// nativeCounter tells that the token has CKM_SP800_108_COUNTER_KDF.
	nativeCounter bool

	// logins holds the one who is logging in; anchor and generation are theirs.
	// The anchor session stays open for the process's life: the login belongs to
	// the application and ends when its last session closes.
	logins     chan struct{}
	anchor     pkcs11.SessionHandle
	generation atomic.Uint64 // of the module, in which anchor was opened
	slot       atomic.Uint64
	pin        atomic.Pointer[PIN]
	pinRefused atomic.Bool
	// epoch counts the logins: sessions and key handles belong to one.
	epoch atomic.Uint64

	closed atomic.Bool
	down   atomic.Pointer[downError] // why the circuit is open, nil where it is not
	// strikes counts the answers in a row that failed by the device's fault.
	strikes atomic.Int32
	counts  counts
	wake    chan struct{}
	stop    chan struct{}
	// background is the context of work that nobody waits for; watched is closed
	// when the watch has ended.
	background context.Context //nolint:containedctx // it ends with the Token, whose Close cancels it
	// always is background without its end: the last calls are made after it.
	always  context.Context //nolint:containedctx // as above
	cancel  context.CancelFunc
	watched chan struct{}

	mu        sync.RWMutex
	keys      map[keyName][]Key
	keysEpoch uint64
	// known holds the check values under which keys were first seen.
	known map[keyName]string
}

// Open finds the token, logs its user in, once for the whole process, and reads
// which master keys there are. A wrong PIN is tried once and is ErrPIN: another
// try is the caller's decision, since a token locks after a few.
func (m *Module) Open(ctx context.Context, c Config) (*Token, error) {
	c = c.withDefaults()
	info, err := within(ctx, m, c.CallTimeout, func() (TokenInfo, error) { return m.find(c.Token) })
	if err != nil {
		return nil, err
	}
	t := &Token{
		module: m, info: info, config: c, log: c.Log, pool: newPool(c.Sessions, c.Spare),
		logins: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: make(chan struct{}), watched: make(chan struct{}),
		known: make(map[keyName]string), cardKeys: cardKeyTemplates(),
	}
	t.always = context.WithoutCancel(ctx)
	t.background, t.cancel = context.WithCancel(t.always)
	t.pin.Store(&c.PIN)
	t.slot.Store(uint64(info.Slot))
	if err := t.login(ctx, true); err != nil {
		t.cancel()
		return nil, fmt.Errorf("log in to token %q: %w", info.Label, err)
	}
	// Before there are sessions, which take it from here.
	mechanisms, err := t.mechanisms(ctx)
	t.nativeCounter = slices.Contains(mechanisms, ckmSP800108Counter)
	for range c.Sessions {
		go t.work(t.pool.add())
	}
	go t.watch()
	if err == nil {
		err = t.reload(ctx)
	}
	if err != nil {
		_ = t.Close(ctx)
		return nil, err
	}
	return t, nil
}

// Close waits until no answer is under way, then closes every session, which
// logs the user out. When ctx ends first, sessions in use are left to the module.
func (t *Token) Close(ctx context.Context) error {
	if t.closed.Swap(true) {
		return nil
	}
	close(t.stop)
	t.cancel()
	<-t.watched
	select {
	case t.logins <- struct{}{}: // for good: nobody logs in any more
	case <-ctx.Done():
		return &busyError{ctx.Err()}
	}
	if err := t.module.enter(ctx); err != nil {
		return err
	}
	defer t.module.leave()
	err := t.dismiss(ctx)
	if t.generation.Load() != t.module.generation.Load() {
		return err
	}
	// Closing the last session ends the login; a separate C_Logout would fail on
	// a session that died, and do nothing else.
	if e := t.module.ctx.CloseSession(t.anchor); e != nil && err == nil && classOf(code(e)) == Never {
		err = failed("C_CloseSession", e)
	}
	return err
}

// dismiss has the workers finish what is in the queue, close their sessions and
// end. One whose call hangs is not waited for.
func (t *Token) dismiss(ctx context.Context) error {
	var last []*job
	for range t.pool.size {
		j := &job{done: make(chan struct{})}
		select {
		case t.pool.jobs <- j:
			last = append(last, j)
		case <-ctx.Done():
			return &busyError{ctx.Err()}
		}
	}
	for _, j := range last {
		select {
		case <-j.done:
		case <-ctx.Done():
			return &busyError{ctx.Err()}
		}
	}
	return nil
}

// Info describes the token as it was when opened.
func (t *Token) Info() TokenInfo { return t.info }

// Calls counts the PKCS#11 calls that answers and key searches have made so far.
func (t *Token) Calls() int64 { return t.calls.Load() }

// Hanging counts the calls that the module has not come back from in time.
func (t *Token) Hanging() int { return t.pool.hanging() }

// Check tells whether the token is there and its user logged in, by asking the
// token now.
func (t *Token) Check(ctx context.Context) error {
	_, err := run(ctx, t, func(s *session) (struct{}, error) { return struct{}{}, s.loggedIn() })
	if err != nil && t.heal(ctx, err) {
		_, err = run(ctx, t, func(s *session) (struct{}, error) { return struct{}{}, s.loggedIn() })
		t.trip(err)
	}
	return err
}

// loggedIn makes sure that the session sees private objects. Without a login
// C_FindObjects finds nothing and gives no error, which must not be taken for
// "there is no such key".
func (s *session) loggedIn() error {
	info, err := s.ctx.GetSessionInfo(s.handle)
	if err := s.call("C_GetSessionInfo", err); err != nil {
		return err
	}
	if !userState(info.State) {
		return s.call("C_GetSessionInfo", pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN))
	}
	return nil
}

func (t *Token) openSession(flags uint) (*session, error) {
	t.calls.Add(1)
	epoch := t.epoch.Load()
	began := time.Now()
	h, err := t.module.ctx.OpenSession(uint(t.slot.Load()), flags)
	ended := observe(t.config.Observer, "C_OpenSession", err, began)
	if err != nil {
		return nil, failed("C_OpenSession", err)
	}
	return &session{ctx: t.module.ctx, module: t.module, generation: t.generation.Load(), handle: h, calls: &t.calls, observer: t.config.Observer, mark: ended, cardKeys: t.cardKeys, nativeCounter: t.nativeCounter, epoch: epoch}, nil
}

// mechanisms lists the token's mechanisms by their CKM_ numbers.
func (t *Token) mechanisms(ctx context.Context) ([]uint, error) {
	if err := t.usable(); err != nil {
		return nil, err
	}
	t.calls.Add(1)
	return within(ctx, t.module, t.config.CallTimeout, func() ([]uint, error) {
		list, err := t.module.ctx.GetMechanismList(uint(t.slot.Load()))
		if err != nil {
			return nil, failed("C_GetMechanismList", err)
		}
		numbers := make([]uint, len(list))
		for i, m := range list {
			numbers[i] = m.Mechanism
		}
		return numbers, nil
	})
}

// SchemeSupport tells whether this token can carry out a scheme.
type SchemeSupport struct {
	Scheme    card.Scheme `json:"scheme"`
	Supported bool        `json:"supported"`
	Reason    string      `json:"reason,omitempty"`
}

// Schemes tells of every scheme whether the token lists its mechanism. Tokens do
// more than they list, as NSS, or less, as in FIPS mode: TryWay finds out.
func (t *Token) Schemes(ctx context.Context) ([]SchemeSupport, error) {
	mechanisms, err := t.mechanisms(ctx)
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
