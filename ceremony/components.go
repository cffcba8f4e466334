package ceremony

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"latchkey/card"
	"latchkey/hsm"
)

// importComponents makes a master key of components that officers type, each
// their own: the key is the XOR of all of them, so that whoever lacks one knows
// nothing of it.
//
// The components and the key are in locked memory from the terminal on, and wiped
// when the step ends. What the PKCS#11 binding and module copy for a call is out
// of our hands.
type importComponents struct {
	made       `yaml:",inline"`
	KCV        string `yaml:"kcv"`
	kcv        hsm.KCV
	Components []component `yaml:"components"`
}

type component struct {
	Officer string `yaml:"officer"`
	KCV     string `yaml:"kcv"`
	kcv     hsm.KCV
}

func (*importComponents) Kind() string { return "import-components" }

func (s *importComponents) Words() []string {
	words := []string{fmt.Sprintf("Import the master key %s, which is the XOR of %d components.", s.made, len(s.Components))}
	for i, c := range s.Components {
		line := fmt.Sprintf("Component %d is typed by %s", i+1, c.Officer)
		if c.kcv != (hsm.KCV{}) {
			line += "; its key check value must be " + c.kcv.String()
		}
		words = append(words, line)
	}
	if s.kcv != (hsm.KCV{}) {
		words = append(words, "The key's check value must be "+s.kcv.String())
	}
	return withWeakness(append(words, "The key has been outside a token, which the token remembers."), s.Use)
}

func (s *importComponents) check(c *checker) {
	s.made.check(c)
	s.kcv = c.kcv("kcv", s.KCV, s.Type)
	if len(s.Components) < 2 || len(s.Components) > maxShares {
		c.report(c.place+".components", "there must be 2 to %d", maxShares)
	}
	for i := range s.Components {
		part := &s.Components[i]
		field := fmt.Sprintf("components[%d]", i)
		if c.script.officer(part.Officer) == nil {
			c.report(c.place+"."+field+".officer", "%q is not one of officers", part.Officer)
		}
		for _, other := range s.Components[:i] {
			if sameName(other.Officer, part.Officer) {
				c.report(c.place+"."+field+".officer", "%q has a component already: nobody may know two", part.Officer)
			}
		}
		part.kcv = c.kcv(field+".kcv", part.KCV, s.Type)
	}
}

// maxTyped bounds the text of a component in bytes: the longest in hex, with room
// for separators.
const maxTyped = 256

// shares are components in locked memory.
type shares struct {
	memory *locked
	typed  []byte
	parts  [][]byte
	key    []byte
}

func newShares(n int, t card.KeyType) (*shares, error) {
	memory, err := lock(maxTyped + (n+1)*t.Len())
	if err != nil {
		return nil, err
	}
	s := &shares{memory: memory, typed: memory.take(maxTyped), key: memory.take(t.Len())}
	for range n {
		s.parts = append(s.parts, memory.take(t.Len()))
	}
	return s, nil
}

// combine makes the key of its components.
func (s *shares) combine() {
	clear(s.key)
	for _, part := range s.parts {
		subtle.XORBytes(s.key, s.key, part)
	}
}

func (s *importComponents) do(ctx context.Context, w *walk, r *StepRecord) error {
	shares, err := newShares(len(s.Components), s.Type)
	if err != nil {
		return err
	}
	defer shares.memory.wipe()
	r.Components = make([]ComponentRecord, len(s.Components))
	for i, c := range s.Components {
		r.Components[i].Officer = w.script.officer(c.Officer).Name
	}
	for i := range s.Components {
		if err := s.enter(ctx, w, r, shares, i); err != nil {
			return err
		}
	}
	if err := s.agree(ctx, w, r, shares); err != nil {
		return err
	}
	if err := w.confirm(ctx, "Import the key?"); err != nil {
		return err
	}
	return w.made(ctx, r)(w.hsm.Import(whole(ctx), s.key(), shares.key))
}

// enter has a component typed by its officer, again and again until its check
// value is right, but not for ever.
func (s *importComponents) enter(ctx context.Context, w *walk, r *StepRecord, shares *shares, i int) error {
	c, part := s.Components[i], shares.parts[i]
	w.say("")
	w.say("Component %d of %d is %s's alone. Everybody else looks away.", i+1, len(s.Components), c.Officer)
	if err := w.named(ctx, "Name of who is at the keyboard", c.Officer); err != nil {
		return err
	}
	for r.Components[i].Tries < maxTries {
		r.Components[i].Tries++
		why, err := s.try(ctx, w, r, shares, i)
		if err != nil {
			return err
		}
		if why == "" {
			return nil
		}
		clear(part)
		w.say("  No: component %d: %s.", i+1, why)
		w.event("component %d was not taken: %s", i+1, why)
	}
	return refuse("component %d was not entered right in %d tries", i+1, maxTries)
}

// try reads a component once, and says why it is not taken.
func (s *importComponents) try(ctx context.Context, w *walk, r *StepRecord, shares *shares, i int) (why string, err error) {
	c, part := s.Components[i], shares.parts[i]
	n, err := w.console.AskHidden(ctx, fmt.Sprintf("Component %d, %d hex digits (not shown): ", i+1, 2*s.Type.Len()), shares.typed)
	defer clear(shares.typed)
	if errors.Is(err, ErrTooLong) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	if err := card.ParseHex(part, shares.typed[:n]); err != nil {
		return err.Error(), nil
	}
	if why := s.unfit(shares, i); why != "" {
		return why, nil
	}
	convention := c.kcv.Convention
	if convention == "" {
		convention = defaultConvention(s.Type)
	}
	value, err := w.hsm.CheckValue(ctx, s.Type, part, convention)
	if err != nil {
		return "", fmt.Errorf("take key check value: %w", err)
	}
	w.say("  Component %d has the key check value %s.%s", i+1, value, parity(s.Type, part))
	if c.kcv != (hsm.KCV{}) && c.kcv != value {
		return fmt.Sprintf("its key check value is %s; the script says %s", value, c.kcv), nil
	}
	if c.kcv == (hsm.KCV{}) {
		yes, err := w.choose(ctx, "Is that the value on the paper?")
		if err != nil {
			return "", err
		}
		if !yes {
			return fmt.Sprintf("its key check value, %s, is not that of the paper", value), nil
		}
	}
	r.Components[i].KCV = &value
	return "", nil
}

// unfit says why a component is none.
func (s *importComponents) unfit(shares *shares, i int) string {
	if sameKey(s.Type, shares.parts[i], nil) {
		return "it is zero, which hides nothing"
	}
	for j, other := range shares.parts {
		// One that is not entered yet is zero.
		if j != i && sameKey(s.Type, shares.parts[i], other) {
			return fmt.Sprintf("it is the same as component %d", j+1)
		}
	}
	return ""
}

// sameKey tells whether two values are the same key, nil being zero: the parity
// bits of a TDES key do not count.
func sameKey(t card.KeyType, a, b []byte) bool {
	mask := byte(0xFF)
	if !t.AES() {
		mask = 0xFE
	}
	var differ byte
	for i := range a {
		other := byte(0)
		if b != nil {
			other = b[i]
		}
		differ |= (a[i] ^ other) & mask
	}
	return differ == 0
}

// parity tells of a TDES component whether its bytes have odd parity, which DES
// ignores, but many who print components set.
func parity(t card.KeyType, part []byte) string {
	if t.AES() {
		return ""
	}
	for _, b := range part {
		if bits.OnesCount8(b)%2 == 0 {
			return " Its parity is not odd: DES ignores that, but where the paper's is odd there is a typing error."
		}
	}
	return " Its parity is odd."
}

// agree combines the components and has the key's check value compared. Where it
// is not the one expected, a component is entered again.
func (s *importComponents) agree(ctx context.Context, w *walk, r *StepRecord, shares *shares) error {
	for {
		shares.combine()
		if weak := hsm.Weak(s.Type, shares.key); weak != "" {
			return refuse("the components do not make a master key: %s", weak)
		}
		convention := s.kcv.Convention
		if convention == "" {
			convention = defaultConvention(s.Type)
		}
		value, err := w.hsm.CheckValue(ctx, s.Type, shares.key, convention)
		if err != nil {
			return fmt.Errorf("take key check value: %w", err)
		}
		w.say("")
		w.say("All components together have the key check value %s.", value)
		right := s.kcv == value
		if s.kcv == (hsm.KCV{}) {
			if right, err = w.choose(ctx, "Is that the key's value on the papers?"); err != nil {
				return err
			}
		}
		if right {
			return nil
		}
		w.event("the key check value of all components together, %s, is not the one expected", value)
		if s.kcv != (hsm.KCV{}) {
			w.say("  No: it must be %s.", s.kcv)
		}
		i, err := s.again(ctx, w)
		if err != nil {
			return err
		}
		clear(shares.parts[i])
		if err := s.enter(ctx, w, r, shares, i); err != nil {
			return err
		}
	}
}

// again asks which component is to be entered again.
func (s *importComponents) again(ctx context.Context, w *walk) (i int, err error) {
	err = w.tries(ctx, fmt.Sprintf("Which component is entered again? [1-%d/stop] ", len(s.Components)), func(typed string) bool {
		n, err := strconv.Atoi(typed)
		if err != nil || n < 1 || n > len(s.Components) {
			if !isStop(typed) {
				w.refuseTyped("that is not the number of a component")
			}
			return false
		}
		i = n - 1
		return true
	})
	return i, err
}
