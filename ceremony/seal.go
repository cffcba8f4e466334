package ceremony

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	stdjson "encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"latchkey/hsm"
)

// Algorithm is that of the signature: ECDSA on P-256 over the SHA-256 of the
// record's canonical bytes, in ASN.1 DER.
const Algorithm = "ecdsa-p256-sha256"

// envelope is a record's file: canonical JSON by RFC 8785, and a line end. So the
// bytes that are signed are those of "record" as they stand in it.
type envelope struct {
	Algorithm string         `json:"algorithm"`
	PublicKey string         `json:"public_key"` // PEM
	Record    jsontext.Value `json:"record"`
	Signature []byte         `json:"signature"` // base64 of ASN.1 DER
}

// seal signs the record. Where only the signature fails it gives the file without
// one, and the error.
func seal(r *Record, signer crypto.Signer) ([]byte, error) {
	record, err := canonical(r)
	if err != nil {
		return nil, err
	}
	public, err := publicPEM(signer.Public())
	if err != nil {
		return nil, err
	}
	e := envelope{Algorithm: Algorithm, PublicKey: string(public), Record: record, Signature: []byte{}}
	digest := sha256.Sum256(record)
	signature, unsigned := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if unsigned == nil {
		e.Signature = signature
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil, errors.Join(unsigned, fmt.Errorf("encode record: %w", err))
	}
	file := jsontext.Value(text)
	if err := file.Canonicalize(); err != nil {
		return nil, errors.Join(unsigned, fmt.Errorf("encode record: %w", err))
	}
	return append(file, '\n'), unsigned
}

// canonical is the record's bytes that are signed. Text that is not UTF-8, which
// a token may give, is made so by encoding/json.
func canonical(r *Record) (jsontext.Value, error) {
	text, err := stdjson.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	v := jsontext.Value(text)
	if err := v.Canonicalize(); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return v, nil
}

// ErrRecord says that a record is not what was signed.
var ErrRecord = errors.New("the record does not hold")

// Verify checks a record's file without a token. With a public key it proves that
// the holder of that key signed it; with nil, only that nobody changed it who
// could not sign it anew with a key of their own, which is no proof of where it
// comes from.
func Verify(file []byte, key *ecdsa.PublicKey) (*Record, error) {
	broken := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrRecord, fmt.Sprintf(format, args...))
	}
	body := bytes.TrimSuffix(file, []byte("\n"))
	again := jsontext.Value(bytes.Clone(body))
	if err := again.Canonicalize(); err != nil {
		return nil, broken("it is not JSON: %v", err)
	}
	if !bytes.Equal(again, body) {
		return nil, broken("it is not in canonical form: it was changed or formatted anew")
	}
	var e envelope
	if err := json.Unmarshal(body, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, broken("it is not a ceremony record: %v", err)
	}
	if e.Algorithm != Algorithm {
		return nil, broken("algorithm %q is not %s", e.Algorithm, Algorithm)
	}
	named, err := ParsePublicKey([]byte(e.PublicKey))
	if err != nil {
		return nil, broken("its public key cannot be read: %v", err)
	}
	if key == nil {
		key = named
	} else if !key.Equal(named) {
		return nil, broken("it names another public key than the one given")
	}
	if len(e.Signature) == 0 {
		return nil, broken("it is not signed")
	}
	if digest := sha256.Sum256(e.Record); !ecdsa.VerifyASN1(key, digest[:], e.Signature) {
		return nil, broken("the signature is wrong: the record was changed after it was signed, or another key signed it")
	}
	var r Record
	if err := json.Unmarshal(e.Record, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, broken("it cannot be read: %v", err)
	}
	if r.Format != Format {
		return nil, broken("it has the format %q; this version knows %s", r.Format, Format)
	}
	if of, err := hsm.Fingerprint(key); err != nil || of != r.SigningKey.Fingerprint {
		return nil, broken("the record names the signing key %s, which is not the one that signed it", r.SigningKey.Fingerprint)
	}
	return &r, nil
}

// ParsePublicKey reads an ECDSA P-256 public key in PEM form.
func ParsePublicKey(text []byte) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("not one public key in PEM form")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA P-256 key")
	}
	return public, nil
}
