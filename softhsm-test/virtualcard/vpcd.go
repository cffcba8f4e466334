package virtualcard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Commands of vpcd's protocol: messages of one byte, where others are APDUs.
const (
	vpcdOff   = 0x00
	vpcdOn    = 0x01
	vpcdReset = 0x02
	vpcdATR   = 0x04
)

// ServeVPCD puts the card into the reader that vpcd, pcscd's driver for virtual
// readers, has at the other end of the connection, until vpcd closes the connection.
// Closing it here takes the card out, with net.ErrClosed. The protocol is messages with their length in two
// bytes, big-endian, before them.
func (c *Card) ServeVPCD(conn net.Conn) error {
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("vpcd: %w", err)
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, message); err != nil {
			return fmt.Errorf("vpcd: %w", err)
		}
		var answer []byte
		switch {
		case len(message) == 1 && message[0] == vpcdATR:
			answer = answerToReset()
		case len(message) == 1: // off, on or reset, which have no answer
			if message[0] == vpcdOff || message[0] == vpcdOn || message[0] == vpcdReset {
				c.Reset()
			}
			continue
		default:
			answer = c.Transmit(message)
		}
		out := binary.BigEndian.AppendUint16(nil, uint16(len(answer))) //nolint:gosec // no answer is as long
		if _, err := conn.Write(append(out, answer...)); err != nil {
			return fmt.Errorf("vpcd: %w", err)
		}
	}
}

// answerToReset is the card's first words, ISO 7816-3: T=1 and a name.
func answerToReset() []byte {
	const name = "GIDS"
	atr := append([]byte{0x3B, 0x80 | byte(len(name)), 0x01}, name...)
	var check byte
	for _, b := range atr[1:] {
		check ^= b
	}
	return append(atr, check)
}
