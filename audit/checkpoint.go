package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrCheckpoint says that a text is no checkpoint.
	ErrCheckpoint = errors.New("not a checkpoint")
	// ErrSignature says that a checkpoint is not signed by any of the keys.
	ErrSignature = errors.New("the checkpoint is not signed by a key that is trusted")
)

// Checkpoint is a signed statement on the log: at this size its tree had this root.
// Its form is C2SP tlog-checkpoint: a signed note of three lines, the origin, the
// size and the root in base64, with an ECDSA signature (note type 2).
type Checkpoint struct {
	Origin string // what the log is called; the name of its key too
	Size   int64
	Root   Hash
	Note   string // the whole signed note
}

// SignCheckpoint makes a checkpoint with an ECDSA key.
func SignCheckpoint(origin string, size int64, root Hash, key crypto.Signer) (Checkpoint, error) {
	s, err := newNoteKey(origin, key.Public())
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint: %w", err)
	}
	s.private = key
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint: %w", err)
	}
	return Checkpoint{origin, size, root, string(signed)}, nil
}

// ReadCheckpoint reads a checkpoint and looks at no signature.
func ReadCheckpoint(text string) (Checkpoint, error) {
	origin, rest, _ := strings.Cut(text, "\n")
	size, rest, _ := strings.Cut(rest, "\n")
	root, rest, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != size || n < 0 {
		return Checkpoint{}, fmt.Errorf("%w: its second line is no size", ErrCheckpoint)
	}
	hash, err := base64.StdEncoding.Strict().DecodeString(root)
	if err != nil || len(hash) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: its third line is no hash", ErrCheckpoint)
	}
	// Lines that the form would allow here are none of ours.
	if origin == "" || !strings.HasPrefix(rest, "\n— ") {
		return Checkpoint{}, fmt.Errorf("%w: it is not signed", ErrCheckpoint)
	}
	return Checkpoint{origin, n, Hash(hash), text}, nil
}

// OpenCheckpoint reads a checkpoint that one of the keys must have signed. The error
// is ErrCheckpoint or ErrSignature.
func OpenCheckpoint(text string, keys []*ecdsa.PublicKey) (Checkpoint, error) {
	c, err := ReadCheckpoint(text)
	if err != nil {
		return Checkpoint{}, err
	}
	var known []note.Verifier
	for _, key := range keys {
		k, err := newNoteKey(c.Origin, key)
		if err != nil {
			return Checkpoint{}, err
		}
		known = append(known, k)
	}
	if _, err := note.Open([]byte(text), note.VerifierList(known...)); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return c, nil
}

// VerifierKey is the public key as tools for signed notes take it:
// NAME+KEYID+base64(2, SubjectPublicKeyInfo).
func VerifierKey(origin string, key crypto.PublicKey) (string, error) {
	k, err := newNoteKey(origin, key)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s+%08x+%s", origin, k.id, base64.StdEncoding.EncodeToString(append([]byte{ecdsaNote}, k.der...))), nil
}

// ecdsaNote is the type of ECDSA signatures in C2SP signed-note.
const ecdsaNote = 0x02

// noteKey is a note.Verifier and, with its private key, a note.Signer.
type noteKey struct {
	name    string
	id      uint32
	der     []byte
	public  *ecdsa.PublicKey
	private crypto.Signer
}

func newNoteKey(name string, key crypto.PublicKey) (*noteKey, error) {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the key is no ECDSA key")
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	// The key ID of this type is of the public key alone, not of its name.
	sum := sha256.Sum256(der)
	return &noteKey{name: name, id: binary.BigEndian.Uint32(sum[:]), der: der, public: public}, nil
}

func (k *noteKey) Name() string    { return k.name }
func (k *noteKey) KeyHash() uint32 { return k.id }

func (k *noteKey) Verify(text, signature []byte) bool {
	digest := sha256.Sum256(text)
	return ecdsa.VerifyASN1(k.public, digest[:], signature)
}

func (k *noteKey) Sign(text []byte) ([]byte, error) {
	digest := sha256.Sum256(text)
	return k.private.Sign(rand.Reader, digest[:], crypto.SHA256)
}
