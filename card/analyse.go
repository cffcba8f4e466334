package card

import (
	"fmt"
	"slices"
)

// What can be said of a template before any card is seen: how much data it makes,
// and which bytes of it are the same in every card, or the same as others.

// Length tells how many bytes of data the template makes of a card without faults:
// at least and at most. They are equal where every card gives as many; most is
// less than least where no card can give any.
func (t Template) Length() (least, most int) {
	for _, term := range t.terms {
		a, b := term.length()
		if b < a {
			return 1, 0
		}
		least, most = least+a, most+b
	}
	return least, min(most, maxData)
}

// length is Length for one term. A cut longer than its field ever is has none.
func (t term) length() (least, most int) {
	if t.field == "" {
		return len(t.constant), len(t.constant)
	}
	least, most = fieldLength(t.field)
	if !t.cut {
		return least, most
	}
	if t.to > most {
		return 1, 0
	}
	return t.to - t.from, t.to - t.from
}

// fieldLength is what Card.Faults lets a field have, in bytes.
func fieldLength(field string) (least, most int) {
	switch field {
	case "serial":
		return 1, MaxSerial
	case "serial.hex":
		return 1, MaxSerial / 2
	case "kdd":
		return KDDLen, KDDLen
	}
	return 1, MaxText // cuid
}

// origin is where one byte of the data comes from. Equal origins are equal bytes
// in every card.
type origin struct {
	field string // empty for a constant
	index int    // in the field
	value byte   // of a constant
}

// origins tells where the first n bytes come from, as far as that is the same for
// every card: up to the end of the first term whose length varies.
func (t Template) origins(n int) []origin {
	var list []origin
	for _, term := range t.terms {
		for _, b := range term.constant {
			list = append(list, origin{value: b})
		}
		least, most := term.length()
		if term.field != "" {
			for i := range least {
				list = append(list, origin{field: term.field, index: term.from + i})
			}
		}
		if least != most || len(list) >= n {
			break
		}
	}
	return list[:min(n, len(list))]
}

// need is what a scheme asks of the length of its derivation data, in bytes.
type need struct{ unit, least, most int }

func (n need) fits(length int) bool {
	return length%n.unit == 0 && length >= n.least && length <= n.most
}

func (n need) String() string {
	switch {
	case n.unit > 1:
		return fmt.Sprintf("a multiple of %d bytes, %d or more", n.unit, n.least)
	case n.most < maxData:
		return fmt.Sprintf("%d to %d bytes", n.least, n.most)
	}
	return fmt.Sprintf("%d bytes or more", n.least)
}

// block is the block in bytes of the cipher that a templated scheme encrypts its
// data with, and 0 where it makes CMACs of it.
func (s Scheme) block() int {
	switch s {
	case TDESECBKey:
		return TDES3.Block()
	case AESECBKey, AESCBCKey:
		return AES256.Block()
	default:
		return 0
	}
}

// needs is what the scheme asks of its derivation data to make a key of the type.
func (s Scheme) needs(key KeyType) need {
	switch s {
	case TDESECBKey, AESECBKey, AESCBCKey:
		return need{s.block(), roundUp(key.Len(), s.block()), maxData}
	case AN10922AES128, AN10922AES192, AN10922AES256, AN109222TDEA, AN109223TDEA:
		// Two blocks, of which a constant takes the first byte.
		return need{1, 1, 2*key.Block() - 1}
	default:
		return need{1, 1, maxData}
	}
}

// inputFaults says what is wrong with the template for the profile's scheme, so
// that no card could be answered, or every card would have the same key.
func (p Profile) inputFaults() []string {
	least, most := p.Input.Length()
	needs := p.Scheme.needs(p.CardKeyType)
	if most < least {
		return []string{fmt.Sprintf("no card has so many bytes: a kdd has %d, a serial up to %d, a serial.hex %d, all data %d",
			KDDLen, MaxSerial, MaxSerial/2, maxData)}
	}
	if !fitsAny(needs, least, most) {
		return []string{fmt.Sprintf("makes %s; scheme %s needs %s for a key of type %s", lengthText(least, most), p.Scheme, needs, p.CardKeyType)}
	}
	var faults []string
	used, whole := p.usedOrigins()
	if whole && !slices.ContainsFunc(used, func(o origin) bool { return o.field != "" }) {
		faults = append(faults, fmt.Sprintf("only its first %d bytes go into the key, and they are constants: every card would have the same key (that is scheme %s)", len(used), Static))
	}
	if i, j := p.equalBlocks(used); j != 0 && p.Scheme != AESCBCKey {
		faults = append(faults, fmt.Sprintf("blocks %d and %d of %d bytes are the same in every card, which would halve the key", i, j, p.Scheme.block()))
	}
	return faults
}

func fitsAny(n need, least, most int) bool {
	for length := least; length <= most; length++ {
		if n.fits(length) {
			return true
		}
	}
	return false
}

func lengthText(least, most int) string {
	if least == most {
		return fmt.Sprintf("%d bytes", least)
	}
	return fmt.Sprintf("%d to %d bytes, by the card", least, most)
}

// usedOrigins is where the bytes come from that go into the key: with ECB and CBC
// the first blocks only, since a token drops what it encrypts beyond the key. It
// is whole where that is known of all of them.
func (p Profile) usedOrigins() (_ []origin, whole bool) {
	n := maxData
	if block := p.Scheme.block(); block != 0 {
		n = roundUp(p.CardKeyType.Len(), block)
	}
	list := p.Input.origins(n)
	return list, len(list) == n
}

// equalBlocks finds two blocks, counted from 1, whose bytes have the same origins,
// or gives 0, 0. A scheme without blocks has none.
func (p Profile) equalBlocks(used []origin) (first, second int) {
	block := p.Scheme.block()
	if block == 0 {
		return 0, 0
	}
	blocks := slices.Collect(slices.Chunk(used[:len(used)/block*block], block))
	for j := range blocks {
		for i := range j {
			if slices.Equal(blocks[i], blocks[j]) {
				return i + 1, j + 1
			}
		}
	}
	return 0, 0
}

// Remarks says what is worth a second look in a profile without faults: cards
// that it may refuse, and what makes its keys weaker than they could be.
func (p Profile) Remarks() []string {
	var remarks []string
	if !p.Scheme.Templated() || p.Input.Empty() {
		return nil
	}
	least, most := p.Input.Length()
	needs := p.Scheme.needs(p.CardKeyType)
	for length := least; length <= most; length++ {
		if !needs.fits(length) {
			remarks = append(remarks, fmt.Sprintf("the template makes %s, and the scheme needs %s: cards whose data does not fit are refused", lengthText(least, most), needs))
			break
		}
	}
	varying := 0
	for _, term := range p.Input.terms {
		if a, b := term.length(); a != b {
			varying++
		}
	}
	if varying > 1 {
		remarks = append(remarks, "the template joins several fields of varying length: two cards could come to the same data, and so to the same key; cut all but one")
	}
	used, _ := p.usedOrigins()
	if p.Scheme == TDESECBKey || p.Scheme == AESECBKey {
		block := p.Scheme.block()
		for i, part := range slices.Collect(slices.Chunk(used[:len(used)/block*block], block)) {
			if !slices.ContainsFunc(part, func(o origin) bool { return o.field != "" }) {
				remarks = append(remarks, fmt.Sprintf("block %d of the template is constant, so that part of the key is the same in every card", i+1))
			}
		}
	}
	return remarks
}

func roundUp(n, block int) int { return (n + block - 1) / block * block }
