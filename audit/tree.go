package audit

import (
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a node of the Merkle tree, 32 bytes of SHA-256; RFC 6962, section 2.1.
type Hash = tlog.Hash

// Stride is how many levels of the tree lie between those whose hashes are kept:
// the leaves', and each that folds Width hashes of the one kept below.
const (
	Stride = 8
	Width  = 1 << Stride
)

// Row is an entry as the log keeps it.
type Row struct {
	Sequence int64
	// Text is the entry's JSON, of which Leaf is the hash. It is "" once pruned.
	Text string
	Leaf Hash
}

// LeafOf is the hash of an entry's leaf: SHA-256 of a zero byte and the entry's
// JSON, every byte of it as it is stored, its sequence number included.
func LeafOf(text []byte) Hash { return tlog.RecordHash(text) }

// Fold is the root of a complete subtree: of 1, 2, 4, ... hashes of one level. It
// works in place.
func Fold(hashes []Hash) Hash {
	for n := len(hashes); n > 1; n /= 2 {
		for i := range n / 2 {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
	}
	return hashes[0]
}

// Kept reads n hashes that are kept of a level, which is a multiple of Stride, from
// a place on, which counts from 0.
type Kept func(level int, place, n int64) ([]Hash, error)

// ReadHashes implements tlog.HashReader. Every hash that it is asked for is of a
// complete subtree, and so follows from the kept ones below it.
func (k Kept) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		level, place := tlog.SplitStoredHashIndex(index)
		up := level % Stride
		below, err := k(level-up, place<<up, 1<<up)
		if err != nil {
			return nil, err
		}
		if len(below) != 1<<up {
			return nil, fmt.Errorf("the tree has a hole below place %d of level %d", place, level)
		}
		hashes[i] = Fold(below)
	}
	return hashes, nil
}

// Root is the root of the tree over the first size entries.
func (k Kept) Root(size int64) (Hash, error) { return tlog.TreeHash(size, k) }

// Before lists the roots of the complete subtrees that the first size leaves are
// made of, from the left: what it takes to go on from there.
func (k Kept) Before(size int64) ([]Hash, error) {
	var indexes []int64
	eachSubtree(size, func(level int, place int64) { indexes = append(indexes, tlog.StoredHashIndex(level, place)) })
	return k.ReadHashes(indexes)
}

// eachSubtree names the complete subtrees that a tree of that size is made of,
// the largest first.
func eachSubtree(size int64, do func(level int, place int64)) {
	for level, done := 62, int64(0); level >= 0; level-- {
		if size&(1<<level) != 0 {
			do(level, done>>level)
			done += 1 << level
		}
	}
}

// Growing is a tree that leaves are added to, of which no more is kept than its
// root takes: the roots of its complete subtrees, the largest first.
type Growing struct {
	size int64
	tops []Hash
}

// Add adds a leaf.
func (g *Growing) Add(leaf Hash) {
	for n := g.size; n&1 == 1; n >>= 1 {
		last := len(g.tops) - 1
		leaf, g.tops = tlog.NodeHash(g.tops[last], leaf), g.tops[:last]
	}
	g.tops = append(g.tops, leaf)
	g.size++
}

// Root is the root of the tree as it is.
func (g *Growing) Root() Hash {
	if g.size == 0 {
		empty, _ := tlog.TreeHash(0, nil) // reads nothing, so nothing fails
		return empty
	}
	last := len(g.tops) - 1
	root := g.tops[last]
	for i := last - 1; i >= 0; i-- {
		root = tlog.NodeHash(g.tops[i], root)
	}
	return root
}

// sequencePrefix is what each entry's JSON begins with, then its number.
const sequencePrefix = `{"sequence":`

// sequenceOf reads the sequence number that an entry's JSON begins with, and gives
// what comes after it.
func sequenceOf(text string) (sequence int64, rest string, ok bool) {
	if len(text) < len(sequencePrefix) || text[:len(sequencePrefix)] != sequencePrefix {
		return 0, "", false
	}
	digits := len(sequencePrefix)
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	sequence, err := strconv.ParseInt(text[len(sequencePrefix):digits], 10, 64)
	return sequence, text[digits:], err == nil && sequence > 0
}

// numbered is an entry's JSON with another sequence number.
func numbered(sequence int64, rest string) string {
	return sequencePrefix + strconv.FormatInt(sequence, 10) + rest
}
