package demo

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"latchkey/card"
	"latchkey/softhsm-test/virtualcard"
)

// The master keys. fleetKey is made in the token; testKey was outside, so that the
// virtual card can be made.
const (
	fleetKey   = "fleet"
	testKey    = "virtual-cards"
	masterType = card.AES256

	virtualSerial  = "VIRTUAL-0001"
	virtualKeyType = card.TDES3
)

func randomMaster() []byte {
	master := make([]byte, masterType.Len())
	_, _ = rand.Read(master) // never fails
	return master
}

// makeCard personalises the virtual card: its admin key is derived by scheme
// latchkey-v1 (docs/schemes.md), in Go as the card's issuer would, so that the
// token's answers are held against other code than the product's.
func makeCard(master []byte) (*virtualcard.Card, error) {
	block, err := aes.NewCipher(master)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256([]byte(strings.Join([]string{"latchkey-v1", string(virtualKeyType), virtualSerial}, "\x00")))
	cipher.NewCBCEncrypter(block, make([]byte, block.BlockSize())).CryptBlocks(key[:], key[:]) //nolint:gosec // the scheme's IV is zero
	return virtualcard.New(virtualcard.Config{
		Serial: virtualSerial, KeyType: virtualKeyType, AdminKey: key[:virtualKeyType.Len()], PIN: newPIN(),
	})
}

// newPIN is a PIN of eight digits.
func newPIN() string {
	const digits = 8
	b := make([]byte, digits)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = '0' + b[i]%10
	}
	return string(b)
}

func readCard(path string) (*virtualcard.Card, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read virtual card: %w", err)
	}
	c := new(virtualcard.Card)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("read virtual card: %w", err)
	}
	return c, nil
}

// keepCard writes down what the card keeps without power.
func (d *demo) keepCard() error {
	text, err := json.Marshal(d.card)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path(cardFile), text, 0o600); err != nil {
		return fmt.Errorf("keep virtual card: %w", err)
	}
	return nil
}

// blockPIN enters wrong PINs until the card takes none.
func (d *demo) blockPIN() error {
	for tries := 1; !d.card.Blocked(); tries++ {
		// A random PIN may be the right one, one time in a hundred million.
		if err := d.card.VerifyPIN(newPIN()); err != nil {
			d.say("   wrong PIN, try %d: %v", tries, err)
		}
	}
	return d.keepCard()
}
