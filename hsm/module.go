package hsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
)

// Module is a PKCS#11 library, loaded and initialised. C_Initialize works on
// the whole process, so load each library once. It is safe for concurrent use.
type Module struct {
	path string
	ctx  *pkcs11.Ctx
	// ours tells that this Module initialised the library and so finalises it.
	ours bool
	// gate is held in part by every call and as a whole to finalise the library,
	// which must not happen under a call.
	gate *semaphore.Weighted
	// generation counts the initialisations.
	generation atomic.Uint64

	mu          sync.Mutex // guards what follows
	initialised bool
	last        time.Time // of the last initialisation
	// signers counts the Signers: crypto11 finalises the library with its last
	// user.
	signers int
}

const wholeGate = 1 << 20

// Load loads the PKCS#11 library at path and initialises it.
func Load(path string) (*Module, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("load PKCS#11 module: %w", err)
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, &fs.PathError{Op: "load PKCS#11 module", Path: path, Err: errors.New("it is not a PKCS#11 library for this machine")}
	}
	m := &Module{path: path, ctx: ctx, ours: true, gate: semaphore.NewWeighted(wholeGate), initialised: true}
	if err := ctx.Initialize(); err != nil {
		if code(err) != pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED {
			ctx.Destroy()
			return nil, failed("C_Initialize", err)
		}
		m.ours = false
	}
	return m, nil
}

// Close finalises the library, after its Tokens were closed. It waits a moment
// for calls that hang. Where they go on hanging it leaves the library to the end
// of the process: C_Finalize under a call is undefined.
func (m *Module) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), DefaultCallTimeout)
	defer cancel()
	if err := m.gate.Acquire(ctx, wholeGate); err != nil {
		return errors.New("calls hang in the PKCS#11 module, so it was not finalised")
	}
	var err error
	if m.ours && m.initialised {
		if err = m.ctx.Finalize(); err != nil {
			err = failed("C_Finalize", err)
		}
	}
	m.ctx.Destroy()
	return err
}

// closeSession closes a session. It does not give up at once where the device is
// at fault: a session that stays open keeps its objects.
func (m *Module) closeSession(handle pkcs11.SessionHandle) {
	for range 3 {
		if err := m.ctx.CloseSession(handle); !isClass(failed("C_CloseSession", err), Device) {
			return // closed, or dead already
		}
	}
}

// enter lets a call into the library; leave ends it.
func (m *Module) enter(ctx context.Context) error {
	if m.gate.TryAcquire(1) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultCallTimeout)
	defer cancel()
	if err := m.gate.Acquire(ctx, 1); err != nil {
		return &busyError{err}
	}
	return nil
}

func (m *Module) leave() { m.gate.Release(1) }

// within makes calls into the library that are none of a session's. Nobody waits
// for them longer than the limit; where one hangs it keeps its part of the gate.
func within[T any](ctx context.Context, m *Module, limit time.Duration, calls func() (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &TimeoutError{limit})
	defer cancel()
	if err := m.enter(ctx); err != nil {
		return none, err
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		defer m.leave()
		value, err := calls()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// reinitialise finalises the library and initialises it anew, for all its
// tokens, at most once in every. It is refused while a call is under way, hung
// ones included: C_Finalize under a call is undefined.
func (m *Module) reinitialise(ctx context.Context, every time.Duration, log *zap.Logger) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if wait := every - time.Since(m.last); !m.last.IsZero() && wait > 0 {
		return fmt.Errorf("the PKCS#11 module was initialised anew a moment ago; not again for %s", wait.Round(time.Millisecond))
	}
	if !m.ours {
		return errors.New("another part of this process initialised the PKCS#11 module; only a restart helps")
	}
	// Others have to wait for as long as this waits for the gate: not long.
	m.last = time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := m.gate.Acquire(ctx, wholeGate); err != nil {
		return errors.New("calls hang in the PKCS#11 module, so it cannot be finalised; only a restart helps while they do")
	}
	defer m.gate.Release(wholeGate)
	log.Warn("initialising the PKCS#11 module anew", zap.String("module", m.path))
	if m.initialised {
		// An error here is the module's own trouble, which C_Initialize may end.
		if err := m.ctx.Finalize(); err != nil {
			log.Warn("finalise the PKCS#11 module", zap.Error(failed("C_Finalize", err)))
		}
	}
	return m.initialise()
}

// share lets crypto11 use the library as well. It insists on initialising the
// library itself, unless it has a user of it already: so for the first user the
// library is finalised, and all tokens have to be logged in to anew.
func (m *Module) share(ctx context.Context, use func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ours {
		return errors.New("another part of this process initialised the PKCS#11 module")
	}
	if m.signers > 0 {
		m.signers++
		err := use()
		if err != nil {
			m.signers--
		}
		return err
	}
	if err := m.gate.Acquire(ctx, wholeGate); err != nil {
		return errors.New("calls hang in the PKCS#11 module, so crypto11 cannot be let in")
	}
	defer m.gate.Release(wholeGate)
	if m.initialised {
		if err := m.ctx.Finalize(); err != nil {
			return failed("C_Finalize", err)
		}
	}
	err := use()
	if err == nil {
		m.signers = 1
		m.generation.Add(1)
		return nil
	}
	return errors.Join(err, m.initialise())
}

// unshare ends one use of the library by crypto11. The last finalises it, so it
// is initialised anew for the tokens.
func (m *Module) unshare(ctx context.Context, end func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.signers > 1 {
		m.signers--
		end()
		return nil
	}
	if err := m.gate.Acquire(ctx, wholeGate); err != nil {
		return errors.New("calls hang in the PKCS#11 module, so crypto11 cannot be let go")
	}
	defer m.gate.Release(wholeGate)
	m.signers = 0
	end()
	return m.initialise()
}

// initialise initialises a library that was finalised. It needs the whole gate.
func (m *Module) initialise() error {
	m.generation.Add(1)
	m.initialised = false
	if err := m.ctx.Initialize(); err != nil && code(err) != pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED {
		return failed("C_Initialize", err)
	}
	m.initialised = true
	return nil
}

// ModuleInfo describes a PKCS#11 library.
type ModuleInfo struct {
	Path         string `json:"path"`
	Manufacturer string `json:"manufacturer"`
	Description  string `json:"description"`
	Version      string `json:"version"`
	Cryptoki     string `json:"cryptoki"`
}

// Info describes the library.
func (m *Module) Info(ctx context.Context) (ModuleInfo, error) {
	return within(ctx, m, DefaultCallTimeout, m.info)
}

func (m *Module) info() (ModuleInfo, error) {
	info, err := m.ctx.GetInfo()
	if err != nil {
		return ModuleInfo{}, failed("C_GetInfo", err)
	}
	return ModuleInfo{
		Path:         m.path,
		Manufacturer: clean(info.ManufacturerID),
		Description:  clean(info.LibraryDescription),
		Version:      version(info.LibraryVersion),
		Cryptoki:     version(info.CryptokiVersion),
	}, nil
}

// TokenInfo describes a token.
type TokenInfo struct {
	Slot         uint   `json:"slot"`
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Hardware     string `json:"hardware_version"`
	Firmware     string `json:"firmware_version"`
	// PIN is what the token says of its user PIN's state, empty when all is well.
	PIN string `json:"pin_state,omitempty"`
}

// Tokens lists the initialised tokens that the library sees.
func (m *Module) Tokens(ctx context.Context) ([]TokenInfo, error) {
	return within(ctx, m, DefaultCallTimeout, m.tokens)
}

func (m *Module) tokens() ([]TokenInfo, error) {
	slots, err := m.ctx.GetSlotList(true)
	if err != nil {
		return nil, failed("C_GetSlotList", err)
	}
	var tokens []TokenInfo
	for _, slot := range slots {
		info, err := m.ctx.GetTokenInfo(slot)
		if err != nil {
			return nil, failed("C_GetTokenInfo", err)
		}
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		tokens = append(tokens, TokenInfo{
			Slot:         slot,
			Label:        clean(info.Label),
			Serial:       clean(info.SerialNumber),
			Manufacturer: clean(info.ManufacturerID),
			Model:        clean(info.Model),
			Hardware:     version(info.HardwareVersion),
			Firmware:     version(info.FirmwareVersion),
			PIN:          pinState(info.Flags),
		})
	}
	return tokens, nil
}

// Find gives the one initialised token that the selector means, or ErrToken. More
// than one match is refused: trying a PIN on the wrong token costs that token a
// try.
func (m *Module) Find(ctx context.Context, s Selector) (TokenInfo, error) {
	return within(ctx, m, DefaultCallTimeout, func() (TokenInfo, error) { return m.find(s) })
}

func (m *Module) find(s Selector) (TokenInfo, error) {
	tokens, err := m.tokens()
	if err != nil {
		return TokenInfo{}, err
	}
	var matches []TokenInfo
	var seen []string
	for _, t := range tokens {
		seen = append(seen, fmt.Sprintf("%q (serial %s)", t.Label, t.Serial))
		if (s.Label == "" || s.Label == t.Label) && (s.Serial == "" || s.Serial == t.Serial) {
			matches = append(matches, t)
		}
	}
	switch {
	case len(matches) == 1:
		return matches[0], nil
	case len(matches) > 1:
		return TokenInfo{}, fmt.Errorf("%w: %d tokens match %s; name the serial number too", ErrToken, len(matches), s)
	case len(seen) == 0:
		return TokenInfo{}, fmt.Errorf("%w: the module %s sees no initialised token", ErrToken, m.path)
	}
	return TokenInfo{}, fmt.Errorf("%w: none matches %s; there are %s", ErrToken, s, strings.Join(seen, ", "))
}

// Selector names a token by label, by serial number, or by both.
type Selector struct{ Label, Serial string }

func (s Selector) String() string {
	var parts []string
	if s.Label != "" {
		parts = append(parts, fmt.Sprintf("label %q", s.Label))
	}
	if s.Serial != "" {
		parts = append(parts, fmt.Sprintf("serial %q", s.Serial))
	}
	return strings.Join(parts, " and ")
}

// The states of a user PIN in which another try could lock it, or is bound to fail.
const (
	PINLocked         = "locked"
	PINLastTry        = "one try left"
	PINNotInitialised = "not initialised"
)

// pinState puts the token's warnings on its user PIN into words.
func pinState(flags uint) string {
	switch {
	case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return PINLocked
	case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return PINLastTry
	case flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0:
		return "a wrong PIN was entered since the last login"
	case flags&pkcs11.CKF_USER_PIN_TO_BE_CHANGED != 0:
		return "to be changed"
	case flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0:
		return PINNotInitialised
	}
	return ""
}

// clean drops the blanks and zero bytes that pad PKCS#11 text fields.
func clean(s string) string { return strings.TrimRight(s, " \x00") }

func version(v pkcs11.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }
