package virtualcard

import (
	"encoding/json"
	"fmt"
	"sync"

	"latchkey/card"
)

// Limits, as in the open applet. A status word has one digit to count tries with.
const (
	MinPIN          = 4  // bytes
	MaxPIN          = 16 // bytes
	DefaultPINTries = 3
	maxTries        = 15
)

// Config says what a new card is like.
type Config struct {
	// Serial is printed on the card; no command reads it.
	Serial string
	// KeyType and AdminKey are the card admin key. TDES keys have an 8-byte
	// challenge, AES keys one of 16 bytes. DES parity is ignored.
	KeyType  card.KeyType
	AdminKey []byte
	PIN      string
	// PINTries is how many wrong PINs block it, DefaultPINTries if 0.
	PINTries int
	// AdminTries is how many wrong responses the card survives before it takes
	// none any more, for good. 0 means that it does not count.
	AdminTries int
}

// memory is what the card keeps without power.
type memory struct {
	Serial     string       `json:"serial"`
	KeyType    card.KeyType `json:"key_type"`
	AdminKey   []byte       `json:"admin_key"`
	PIN        []byte       `json:"pin"`
	PINTries   int          `json:"pin_tries"`
	PINLeft    int          `json:"pin_tries_left"`
	AdminTries int          `json:"admin_tries"`
	AdminLeft  int          `json:"admin_tries_left"`
}

func (m memory) check() error {
	switch {
	case m.KeyType.Len() == 0:
		return fmt.Errorf("virtual card: %q is not a key type", m.KeyType)
	case len(m.AdminKey) != m.KeyType.Len():
		return fmt.Errorf("virtual card: an admin key of type %s has %d bytes, not %d", m.KeyType, m.KeyType.Len(), len(m.AdminKey))
	case len(m.PIN) < MinPIN || len(m.PIN) > MaxPIN:
		return fmt.Errorf("virtual card: a PIN has %d to %d bytes, not %d", MinPIN, MaxPIN, len(m.PIN))
	case m.PINTries < 1 || m.PINTries > maxTries || m.PINLeft < 0 || m.PINLeft > m.PINTries:
		return fmt.Errorf("virtual card: %d of %d PIN tries left; at most %d can be counted", m.PINLeft, m.PINTries, maxTries)
	case m.AdminTries < 0 || m.AdminTries > maxTries || m.AdminLeft < 0 || m.AdminLeft > m.AdminTries:
		return fmt.Errorf("virtual card: %d of %d admin key tries left; at most %d can be counted", m.AdminLeft, m.AdminTries, maxTries)
	}
	return nil
}

// Card is a card in its reader. It is safe for concurrent use; as with a real
// card, clients that take turns without holding it void each other's challenges.
type Card struct {
	mu sync.Mutex
	memory

	// Gone when the power is.
	keyNamed      bool
	challenge     []byte // nil where none is open
	authenticated bool
}

// New makes a card with its PIN set and all its tries left.
func New(c Config) (*Card, error) {
	if c.PINTries == 0 {
		c.PINTries = DefaultPINTries
	}
	m := memory{
		Serial: c.Serial, KeyType: c.KeyType, AdminKey: append([]byte(nil), c.AdminKey...), PIN: []byte(c.PIN),
		PINTries: c.PINTries, PINLeft: c.PINTries, AdminTries: c.AdminTries, AdminLeft: c.AdminTries,
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return &Card{memory: m}, nil
}

// Serial is the number printed on the card.
func (c *Card) Serial() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.memory.Serial
}

// Blocked tells whether the PIN is blocked.
func (c *Card) Blocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.PINLeft == 0
}

// Dead tells whether the card has had so many wrong responses that it takes
// none any more.
func (c *Card) Dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead()
}

func (c *Card) dead() bool { return c.AdminTries != 0 && c.AdminLeft == 0 }

// Reset takes the card's power away and gives it back.
func (c *Card) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
}

func (c *Card) reset() { c.keyNamed, c.challenge, c.authenticated = false, nil, false }

// MarshalJSON gives what the card keeps without power, its admin key and PIN
// among it: for a file that only its owner may read.
func (c *Card) MarshalJSON() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return json.Marshal(c.memory)
}

// UnmarshalJSON makes the card the one that MarshalJSON gave, freshly powered.
func (c *Card) UnmarshalJSON(b []byte) error {
	var m memory
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("virtual card: %w", err)
	}
	if err := m.check(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory = m
	c.reset()
	return nil
}
