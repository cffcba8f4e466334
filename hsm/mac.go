package hsm

import (
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// CMAC inside the token, without the key that comes out ever being visible (NIST
// SP 800-38B; the method is in docs/schemes.md): the CBC-MAC is run up to the
// last block with C_Encrypt under the master key, and that block, with the
// subkey and the state xored in, is what the token then derives the key from. So
// the last encryption, whose result is the key, happens inside the token only.

// macInput is the input of one CMAC, padded.
type macInput struct {
	blocks []byte // whole blocks, at least one
	padded bool   // whether padding was added: it settles which subkey goes in
}

// newMACInput pads data with 80 00 00 ... to the next whole number of units; the
// unit is the block for a plain CMAC and two blocks for AN10922. Data of whole
// units stays as it is.
func newMACInput(data []byte, unit int) macInput {
	blocks := slices.Clone(data)
	if len(data) != 0 && len(data)%unit == 0 {
		return macInput{blocks, false}
	}
	blocks = append(blocks, 0x80)
	return macInput{append(blocks, make([]byte, roundUp(len(blocks), unit)-len(blocks))...), true}
}

// lastBlocks runs the CBC-MACs of the inputs, which must be equally long, up to
// the last block of each, all of them in one call a block. It gives, in one
// piece, the blocks whose encryptions are the CMACs.
func (s *session) lastBlocks(master Key, inputs []macInput) (_ []byte, err error) {
	size := master.Type.Block()
	count := len(inputs[0].blocks) / size
	for _, in := range inputs {
		if len(in.blocks) != count*size {
			return nil, unfitInput("CMAC inputs of %d and %d bytes", count*size, len(in.blocks))
		}
	}
	state := make([]byte, len(inputs)*size)
	defer clear(state)
	column := func(i int) []byte { // the i-th block of each input, ready to be encrypted
		b := make([]byte, 0, len(state)+size)
		for n, in := range inputs {
			b = append(b, xor(in.blocks[i*size:(i+1)*size], state[n*size:(n+1)*size])...)
		}
		return b
	}
	// The subkeys come from the encryption of a block of zeros, which goes along
	// with the first blocks.
	blocks := make([]byte, size)
	if count > 1 {
		blocks = append(column(0), blocks...)
	}
	if blocks, err = s.encryptBlocks(master, blocks); err != nil {
		return nil, err
	}
	zero := slices.Clone(blocks[len(blocks)-size:])
	defer clear(zero)
	if count > 1 {
		copy(state, blocks)
	}
	for i := 1; i < count-1; i++ {
		if blocks, err = s.encryptBlocks(master, column(i)); err != nil {
			return nil, err
		}
		copy(state, blocks)
	}
	last := column(count - 1)
	maskLast(last, inputs, zero)
	return last, nil
}

// maskLast xors each input's subkey into its last block: K1 where the input was
// whole, K2 where it was padded.
func maskLast(last []byte, inputs []macInput, zero []byte) {
	size := len(zero)
	k1 := double(zero)
	k2 := double(k1)
	defer clear(k1)
	defer clear(k2)
	for n, in := range inputs {
		subkey := k1
		if in.padded {
			subkey = k2
		}
		copy(last[n*size:], xor(last[n*size:(n+1)*size], subkey))
	}
}

func (s *session) encryptBlocks(master Key, blocks []byte) ([]byte, error) {
	return s.encryptWith(pkcs11.NewMechanism(ecb(master.Type).number, nil), master.handle, blocks)
}

// double multiplies by x in GF(2^64) or GF(2^128), as SP 800-38B makes subkeys.
func double(b []byte) []byte {
	rest := byte(0x87)
	if len(b) == card.TDES2.Block() {
		rest = 0x1B
	}
	out := make([]byte, len(b))
	carry := byte(0)
	for i := len(b) - 1; i >= 0; i-- {
		out[i] = b[i]<<1 | carry
		carry = b[i] >> 7
	}
	out[len(out)-1] ^= rest * carry
	return out
}

func xor(a, b []byte) []byte {
	out := make([]byte, len(a))
	for i := range a {
		out[i] = a[i] ^ b[i]
	}
	return out
}
