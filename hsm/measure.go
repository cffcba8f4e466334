package hsm

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Measurement is how many answers a second a token gives from that many sessions
// at once, as measured again and again.
type Measurement struct {
	Sessions  int       `json:"sessions"`
	PerSecond []float64 `json:"answers_per_second"` // sorted
}

// Median is the middle one of the measurements.
func (m Measurement) Median() float64 { return m.PerSecond[len(m.PerSecond)/2] }

// Measure counts answers under a throw-away master key for the given time from
// each number of sessions in turn, and does so as often as rounds says: what else
// the machine does then slows all of them. The sessions are its own, beside the
// pool's; a number of sessions that the token does not admit is left out.
func (t *Token) Measure(ctx context.Context, sizes []int, rounds int, each time.Duration) ([]Measurement, error) {
	limit := t.config.CallTimeout + 2*time.Duration(rounds*len(sizes))*each
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &TimeoutError{limit})
	defer cancel() // what is late ends with its next answer
	return within(ctx, t.module, limit, func() ([]Measurement, error) { return t.measure(ctx, sizes, rounds, each) })
}

func (t *Token) measure(ctx context.Context, sizes []int, rounds int, each time.Duration) ([]Measurement, error) {
	var sessions []*session
	defer func() {
		for _, s := range sessions {
			s.close() // which destroys the master key too
		}
	}()
	for range slices.Max(sizes) {
		s, err := t.openSession(pkcs11.CKF_SERIAL_SESSION)
		if code(err) == pkcs11.CKR_SESSION_COUNT {
			break
		}
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, s)
	}
	sizes = slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n > len(sessions) })
	if len(sizes) == 0 {
		return nil, errors.New("the token admits no more sessions")
	}
	answer, err := sessions[0].typicalAnswer()
	if err != nil {
		return nil, err
	}
	list := make([]Measurement, len(sizes))
	for range rounds {
		for i, n := range sizes {
			rate, err := during(ctx, each, sessions[:n], answer)
			if err != nil {
				return nil, err
			}
			list[i].Sessions = n
			list[i].PerSecond = append(list[i].PerSecond, rate)
		}
	}
	for _, m := range list {
		slices.Sort(m.PerSecond)
	}
	return list, nil
}

// typicalAnswer gives work like that of an answer: by latchkey-v1 or, where the
// token does not derive, by static.
func (s *session) typicalAnswer() (func(*session) error, error) {
	var first error
	for _, scheme := range []card.Scheme{card.LatchkeyV1, card.Static} {
		use := ForDeriving
		if scheme == card.Static {
			use = ForEncrypting
		}
		h, err := s.throwAway(card.AES256, masterKeyTemplate(card.AES256, use, false, false))
		if err != nil {
			return nil, err
		}
		master, key := Key{Type: card.AES256, Use: use, handle: h}, sample(scheme, card.AES256, card.Counter{}, "")
		answer := func(s *session) error {
			response, err := s.answer(master, key, card.AESECB, make(card.Challenge, aesBlock))
			response.Wipe()
			return err
		}
		if err = answer(s); err == nil {
			return answer, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// during answers from all sessions at once and gives the answers per second.
func during(ctx context.Context, d time.Duration, sessions []*session, answer func(*session) error) (float64, error) {
	var count atomic.Int64
	errs := make([]error, len(sessions))
	began := time.Now()
	var work sync.WaitGroup
	for i, s := range sessions {
		work.Go(func() {
			for errs[i] == nil && time.Since(began) < d && ctx.Err() == nil {
				if errs[i] = answer(s); errs[i] == nil {
					count.Add(1)
				}
			}
		})
	}
	work.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return 0, err
	}
	return float64(count.Load()) / time.Since(began).Seconds(), nil
}
