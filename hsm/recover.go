package hsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/pkcs11"
	"go.uber.org/zap"
)

// ErrPIN says that the token refused the PIN. It was tried once, and is not
// tried again until the process restarts or TryPINAgain is called: tokens lock after
// a few wrong ones.
var ErrPIN = errors.New("the token refused the PIN, and it is not tried again")

// heal does what an error calls for and tells whether to try once more.
func (t *Token) heal(ctx context.Context, err error) bool {
	switch {
	case isClass(err, Session), isClass(err, Login):
		if e := t.login(ctx, false); e != nil {
			t.trip(e)
			return false
		}
	case isClass(err, Handle):
		if e := t.reloadAnyway(ctx); e != nil {
			t.trip(e)
			return false
		}
	case isClass(err, Device):
		// It may have been the one session; another is opened for the next try.
	default:
		return false
	}
	t.counts.retries.Add(1)
	t.log.Info("trying an HSM call again", zap.Error(err))
	return true
}

// strikesToTrip is after how many answers in a row that failed by the device's
// fault the circuit opens. One alone proves little: SoftHSM says
// CKR_GENERAL_ERROR for a wrapped key that was tampered with.
const strikesToTrip = 8

// trip takes note of an error that a second try did not help against. A lost
// login opens the circuit at once, a fault of the device has the watch look and
// opens it when it goes on. Errors of bad input leave it closed.
func (t *Token) trip(err error) {
	if err == nil {
		t.strikes.Store(0)
		return
	}
	if !recoverable(err) {
		return
	}
	// What the device says of a wrapped key it may say of that key alone, which a
	// client brought: it takes no answers from others. The watch still looks.
	if !isClass(err, Device) || !ofUnwrapping(err) && t.strikes.Add(1)%strikesToTrip == 0 {
		t.open(err)
	}
	select {
	case t.wake <- struct{}{}:
	default: // it is awake already
	}
}

// ofUnwrapping tells errors of the call that is given a client's wrapped key, where
// the code is one that tokens give for spoiled ones.
func ofUnwrapping(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Call == "C_UnwrapKey" && (e.Code == pkcs11.CKR_GENERAL_ERROR || e.Code == pkcs11.CKR_FUNCTION_FAILED)
}

// open opens the circuit: from now on calls fail at once, until the watch has
// brought the token back.
func (t *Token) open(err error) {
	down, ok := err.(*downError) //nolint:errorlint // one that is open already, and not one that is wrapped
	if !ok {
		down = &downError{err}
	}
	if t.down.Swap(down) == nil {
		t.counts.outages.Add(1)
		t.log.Error("the HSM token is down", zap.String("token", t.info.Label), zap.Error(err))
	}
}

// recoverable tells errors of the token or the module from those of the request.
func recoverable(err error) bool {
	if errors.Is(err, ErrPIN) || errors.Is(err, ErrToken) {
		return true
	}
	var e *Error
	return errors.As(err, &e) && e.Class() != Never
}

// watch keeps the token alive: it touches idle sessions before the module's own
// idle time ends them, and brings the token back when it is down.
func (t *Token) watch() {
	defer close(t.watched)
	const quickest = 50 * time.Millisecond
	wait := t.config.KeepAlive
	pause := quickest
	for {
		timer := time.NewTimer(wait)
		select {
		case <-t.stop:
			timer.Stop()
			return
		case <-t.wake:
		case <-timer.C:
		}
		timer.Stop()
		err := t.keepAlive()
		if down := t.down.Load(); err == nil && down != nil && isClass(down, Device) {
			err = down // small calls work and answers do not
		}
		if err != nil {
			t.open(err)
			err = t.bringBack(err)
		}
		if err != nil {
			t.open(err)
			wait = pause
			pause = min(2*pause, t.config.RecoverEvery)
			continue
		}
		if t.down.Swap(nil) != nil {
			t.counts.recoveries.Add(1)
			t.log.Info("the HSM token is back", zap.String("token", t.info.Label))
		}
		wait, pause = t.config.KeepAlive, quickest
	}
}

// keepAlive makes a small call on the session of every worker that is idle.
func (t *Token) keepAlive() error {
	for _, w := range t.pool.idle() {
		_, err := runOn(t.background, t, w.nudges, false, func(s *session) (struct{}, error) {
			return struct{}{}, s.touch()
		})
		down := t.down.Load()
		var busy *busyError
		switch {
		case errors.As(err, &busy): // it got something else to do, so it is not idle
		case err != nil:
			return err
		case down != nil:
			return nil // one that works is enough to close the circuit
		}
	}
	if down := t.down.Load(); down != nil {
		return down // none that works
	}
	return nil
}

// touch asks the token for a byte of randomness, which reaches the device, and
// whether the user is still logged in.
func (s *session) touch() error {
	if _, err := s.ctx.GenerateRandom(s.handle, 1); code(err) != pkcs11.CKR_RANDOM_NO_RNG {
		if err := s.call("C_GenerateRandom", err); err != nil {
			return err
		}
	}
	return s.loggedIn()
}

// bringBack tries what can bring a token back, the gentlest first: a new login,
// then, where only that helps, C_Finalize and C_Initialize.
func (t *Token) bringBack(cause error) error {
	ctx, cancel := context.WithTimeout(t.background, 2*t.config.CallTimeout)
	defer cancel()
	if errors.Is(cause, ErrPIN) {
		return cause
	}
	err := t.login(ctx, true)
	if err == nil && t.strikes.Load() >= 2*strikesToTrip {
		err = cause // a new login did not help the last time
		t.strikes.Store(0)
	}
	if err != nil && !errors.Is(err, ErrPIN) && recoverable(err) {
		if e := t.module.reinitialise(ctx, t.config.RecoverEvery, t.log); e != nil {
			return errors.Join(err, e)
		}
		err = t.login(ctx, true)
	}
	if err == nil {
		err = t.reloadAnyway(ctx)
	}
	return err
}

// login makes sure that the user is logged in, one caller at a time. It does
// nothing where the login still holds, unless always is set.
func (t *Token) login(ctx context.Context, always bool) error {
	ctx, cancel := context.WithTimeout(ctx, t.config.CallTimeout)
	defer cancel()
	select {
	case t.logins <- struct{}{}:
	case <-ctx.Done():
		return &busyError{ctx.Err()}
	}
	if t.pinRefused.Load() {
		<-t.logins
		return ErrPIN
	}
	if err := t.module.enter(ctx); err != nil {
		<-t.logins
		return err
	}
	done := make(chan error, 1)
	go func() {
		// A login that hangs stays the one login that is under way.
		defer func() { <-t.logins }()
		defer t.module.leave()
		done <- t.loginNow(always)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &TimeoutError{t.config.CallTimeout}
	}
}

func (t *Token) loginNow(always bool) error {
	c := t.module.ctx
	generation := t.module.generation.Load()
	if !always && t.generation.Load() == generation {
		if info, err := c.GetSessionInfo(t.anchor); err == nil && userState(info.State) {
			return nil
		}
	}
	// Sessions and handles from before are not to be used: while the login is under
	// way the same numbers may come to mean others. Nor are those that are opened
	// before it is done.
	t.epoch.Add(1)
	defer t.epoch.Add(1)
	// The slot may be another since: ask for the token by its serial number, so
	// that the PIN never goes to a token that only has the same label.
	info, err := t.module.find(Selector{Label: t.info.Label, Serial: t.info.Serial})
	if err != nil {
		return err
	}
	anchor, err := c.OpenSession(info.Slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return failed("C_OpenSession", err)
	}
	if err := t.logIn(anchor); err != nil {
		t.module.closeSession(anchor)
		return err
	}
	if t.generation.Load() == generation && t.anchor != anchor {
		t.module.closeSession(t.anchor)
	}
	t.anchor = anchor
	t.slot.Store(uint64(info.Slot))
	t.generation.Store(generation)
	return nil
}

// logIn tries the PIN, once.
func (t *Token) logIn(anchor pkcs11.SessionHandle) error {
	began := time.Now()
	err := t.module.ctx.Login(anchor, pkcs11.CKU_USER, t.pin.Load().value)
	observe(t.config.Observer, "C_Login", err, began)
	if err == nil {
		return nil
	}
	if code(err) == pkcs11.CKR_USER_ALREADY_LOGGED_IN {
		return nil
	}
	return t.refusedPIN(failed("C_Login", err))
}

// refusedPIN remembers a login that failed because of the PIN.
func (t *Token) refusedPIN(err error) error {
	switch code(err) {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_LOCKED,
		pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		t.pinRefused.Store(true)
		t.log.Error("ALARM: the HSM token refused the PIN; it is not tried again",
			zap.String("token", t.info.Label), zap.Error(err))
		return fmt.Errorf("%w: %w", ErrPIN, err)
	}
	return err
}

// PINRefused tells whether the token refused the PIN, so that nothing works until
// TryPINAgain.
func (t *Token) PINRefused() bool { return t.pinRefused.Load() }

// TryPINAgain reads the PIN anew after the token refused it and has it tried,
// once. It does nothing where the PIN was not refused.
func (t *Token) TryPINAgain(ctx context.Context) error {
	if !t.pinRefused.Load() {
		return nil
	}
	if t.config.Reread != nil {
		pin, err := t.config.Reread()
		if err != nil {
			return err
		}
		t.pin.Store(&pin)
	}
	t.pinRefused.Store(false)
	if err := t.login(ctx, true); err != nil {
		return err
	}
	if err := t.reloadAnyway(ctx); err != nil {
		return err
	}
	if t.down.Swap(nil) != nil {
		t.counts.recoveries.Add(1)
	}
	return nil
}

func userState(state uint) bool {
	return state == pkcs11.CKS_RO_USER_FUNCTIONS || state == pkcs11.CKS_RW_USER_FUNCTIONS
}
