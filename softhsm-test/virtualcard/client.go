package virtualcard

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The methods here are the card's client, as Windows or unblock-card would be:
// they send command APDUs and do nothing else. Their errors are a Status.

// VerifyPIN presents a PIN to the card.
func (c *Card) VerifyPIN(pin string) error {
	_, err := c.send(insVerify, 0x00, 0x80, []byte(pin))
	return err
}

// Challenge selects the application, names the admin key and asks for a challenge.
func (c *Card) Challenge() ([]byte, error) {
	if _, err := c.send(insSelect, 0x04, 0x00, []byte(aid[:aidWithoutVersion])); err != nil {
		return nil, err
	}
	if _, err := c.send(insManageEnvironment, 0x81, 0xA4, []byte(adminKeyNamed)); err != nil {
		return nil, err
	}
	data, err := c.send(insGeneralAuthenticate, 0x00, 0x00, []byte{tagAuthentication, 2, tagChallenge, 0})
	if err != nil {
		return nil, err
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("the card gave a challenge template of %d bytes", len(data))
	}
	return data[4:], nil
}

// Authenticate answers the challenge that the last call of Challenge gave.
func (c *Card) Authenticate(response []byte) error {
	if len(response) > 0x7D {
		return WrongLength
	}
	n := byte(len(response)) //nolint:gosec // bounded above
	_, err := c.send(insGeneralAuthenticate, 0x00, 0x00, slices.Concat([]byte{tagAuthentication, n + 2, tagResponse, n}, response))
	return err
}

// SetPIN sets a new PIN, which works once after each Authenticate.
func (c *Card) SetPIN(pin string) error {
	_, err := c.send(insResetRetryCounter, 0x02, 0x80, []byte(pin))
	return err
}

func (c *Card) send(ins, p1, p2 byte, data []byte) ([]byte, error) {
	if len(data) > 0xFF {
		return nil, WrongLength
	}
	apdu := []byte{0x00, ins, p1, p2}
	if len(data) > 0 {
		apdu = append(append(apdu, byte(len(data))), data...) //nolint:gosec // bounded above
	}
	response := c.Transmit(append(apdu, 0x00))
	split := len(response) - 2
	if status := Status(binary.BigEndian.Uint16(response[split:])); status != OK {
		return nil, status
	}
	return response[:split], nil
}
