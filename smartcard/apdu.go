package smartcard

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Transmitter is a card that is held for one caller: between two calls, nobody
// else's command comes in, which would void a challenge.
type Transmitter interface {
	// Transmit sends a command APDU and gives the response APDU, status word
	// included. It keeps neither.
	Transmit(command []byte) ([]byte, error)
	// T0 tells whether the card speaks T=0, where a command that has data may not
	// ask for some as well.
	T0() bool
}

// command is a command APDU before it is laid out: ISO 7816-4, 5.1.
type command struct {
	ins, p1, p2 byte
	data        []byte
	answers     bool // data is expected, as much as there is
}

// maxShortData is how many bytes of data the short form can say.
const maxShortData = 255

// bytes lays the command out, in the extended form where the short one cannot hold
// it. The caller wipes it.
func (c command) bytes(t0 bool) []byte {
	apdu := make([]byte, 0, 4+3+len(c.data)+2)
	apdu = append(apdu, 0x00, c.ins, c.p1, c.p2)
	switch n := len(c.data); {
	case n > maxShortData:
		apdu = append(apdu, 0, byte(n>>8), byte(n)) //nolint:gosec // no command here has as many as 65536
		apdu = append(apdu, c.data...)
		if c.hasLe(t0) {
			apdu = append(apdu, 0, 0)
		}
		return apdu
	case n > 0:
		apdu = append(append(apdu, byte(n)), c.data...)
	}
	if c.hasLe(t0) {
		apdu = append(apdu, 0)
	}
	return apdu
}

// hasLe tells whether the command says how much data it expects.
func (c command) hasLe(t0 bool) bool { return c.answers && (!t0 || len(c.data) == 0) }

// Instructions, by their INS byte.
const (
	insVerify              = 0x20
	insManageEnvironment   = 0x22
	insResetRetryCounter   = 0x2C
	insGeneralAuthenticate = 0x87
	insSelect              = 0xA4
	insGetResponse         = 0xC0
	insGetData             = 0xCB
)

// maxAnswer bounds what a card may give in answer to one command, in bytes: no
// answer read here is a tenth as long.
const maxAnswer = 4096

// send sends a command and gives the data of the answer. A status word other than
// 9000 is a Status as an error. 61xx (more to fetch) and 6Cxx (ask for xx) are
// followed as ISO 7816-3 has it for T=0.
func send(t Transmitter, c command) ([]byte, error) {
	apdu := c.bytes(t.T0())
	defer func() { clear(apdu) }()
	var data []byte
	for {
		answer, err := t.Transmit(apdu)
		if err != nil {
			return nil, err
		}
		if len(answer) < 2 {
			return nil, fmt.Errorf("%w: an answer of %d bytes", ErrGarbled, len(answer))
		}
		split := len(answer) - 2
		data = append(data, answer[:split]...)
		if len(data) > maxAnswer {
			return nil, fmt.Errorf("%w: an answer of over %d bytes", ErrGarbled, maxAnswer)
		}
		status := Status(binary.BigEndian.Uint16(answer[split:]))
		switch byte(status >> 8) {
		case 0x61:
			if split == 0 && apdu[1] == insGetResponse {
				return nil, fmt.Errorf("%w: it says that there is more and gives nothing", ErrGarbled)
			}
			clear(apdu)
			apdu = []byte{0x00, insGetResponse, 0x00, 0x00, byte(status)} //nolint:gosec // the low byte is the length
			continue
		case 0x6C:
			// Only a command that ends in Le can be told another, and only once.
			if !c.hasLe(t.T0()) || apdu[len(apdu)-1] != 0 {
				return nil, fmt.Errorf("%w: it asks for another length than it asked for", ErrGarbled)
			}
			apdu[len(apdu)-1] = byte(status) //nolint:gosec // the low byte is the length
			continue
		}
		if status != done {
			return nil, status
		}
		return data, nil
	}
}

// value finds an object by its tags, each inside the one before, in BER-TLV data
// with tags and lengths of one to three bytes (ISO 7816-4, 5.2.2). It gives nil
// where the object is not there or the data is broken off.
func value(data []byte, tags ...uint32) []byte {
	for _, tag := range tags {
		data = find(data, tag)
		if data == nil {
			return nil
		}
	}
	return data
}

func find(data []byte, want uint32) []byte {
	for len(data) > 1 {
		tag := uint32(data[0])
		rest := data[1:]
		if tag&0x1F == 0x1F { // the tag goes on
			for more := true; more && len(rest) > 0 && tag < 1<<16; rest = rest[1:] {
				tag, more = tag<<8|uint32(rest[0]), rest[0]&0x80 != 0
			}
		}
		if len(rest) == 0 {
			return nil
		}
		length, bytes := int(rest[0]), 0
		if length > 0x80 && length <= 0x82 {
			bytes, length = length-0x80, 0
		}
		if length >= 0x80 || len(rest) < 1+bytes {
			return nil
		}
		for _, b := range rest[1 : 1+bytes] {
			length = length<<8 | int(b)
		}
		rest = rest[1+bytes:]
		if len(rest) < length {
			return nil
		}
		if tag == want {
			return rest[:length:length]
		}
		data = rest[length:]
	}
	return nil
}

// object is data as one BER-TLV object, its tag and length of one byte each.
func object(tag byte, data ...byte) []byte {
	return slices.Concat([]byte{tag, byte(len(data))}, data) //nolint:gosec // what is sent here is short
}
