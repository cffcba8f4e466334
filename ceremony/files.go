package ceremony

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"latchkey/card"
	"latchkey/config/strictyaml"
	"latchkey/hsm"
)

// maxFile bounds a file that a step reads, in bytes.
const maxFile = 64 << 10

// read reports a file that a step reads and that has no name, or a bad one.
func (c *checker) read(field, path string) {
	c.line(c.place+"."+field, path, 16*card.MaxText)
}

// write reports a file that a step writes and another one, too.
func (c *checker) write(field, path string) {
	c.read(field, path)
	if path := c.script.at(path); c.writes[path] {
		c.report(c.place+"."+field, "%s is written by an earlier step already", path)
	} else {
		c.writes[path] = true
	}
}

// Missing lists what has to be there before the ceremony can begin, and is not:
// files that steps read, and room for those that they write.
func (s *Script) Missing() []string {
	var missing []string
	written := make(map[string]bool)
	for i, step := range s.Steps {
		need := func(path string, read func(string) error) {
			if written[s.at(path)] {
				return // a step before this one writes it
			}
			if err := read(s.at(path)); err != nil {
				missing = append(missing, fmt.Sprintf("step %d, %s: %v", i+1, step.Kind(), err))
			}
		}
		file := func(path string) error {
			_, _, err := readFile(path)
			return err
		}
		write := func(path string) {
			need(path, canWrite)
			written[s.at(path)] = true
		}
		switch step := step.(type) {
		case *generateWithBackup:
			need(step.PublicKey, func(path string) error {
				_, err := readTransportKey(path, step.Fingerprint)
				return err
			})
			write(step.Backup)
		case *importWrapped:
			need(step.File, file)
		case *importUnder:
			need(step.File, file)
		case *transportKey:
			write(step.Write)
		}
	}
	return missing
}

// missing is Missing as an error.
func (s *Script) missing() error {
	if list := s.Missing(); len(list) != 0 {
		return &strictyaml.Faults{File: "what the ceremony needs", Faults: list}
	}
	return nil
}

// canWrite tells whether a new file of that name can be made.
func canWrite(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already, and nothing is written over", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".latchkey-ceremony-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// readFile gives a file's bytes, and their SHA-256 in hex.
func readFile(path string) (content []byte, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }() // only read from
	if content, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, "", err
	}
	if len(content) > maxFile {
		return nil, "", fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	hash := sha256.Sum256(content)
	return content, hex.EncodeToString(hash[:]), nil
}

// writeNew writes a file that must not be there yet, and makes sure that it is on
// the disk. Where that fails nothing is left of it. It gives the content's SHA-256
// in hex.
func writeNew(path string, content []byte, mode fs.FileMode) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return "", err
	}
	if err := settle(f, content); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	hash := sha256.Sum256(content)
	return hex.EncodeToString(hash[:]), nil
}

// settle writes a new file's content, and brings it and its name to the disk.
func settle(f *os.File, content []byte) error {
	_, err := f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// readTransportKey reads another token's transport key from a PEM file.
func readTransportKey(path, fingerprint string) (hsm.TransportKey, error) {
	content, _, err := readFile(path)
	if err != nil {
		return hsm.TransportKey{}, err
	}
	block, rest := pem.Decode(content)
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
		return hsm.TransportKey{}, refuse("%s is not one public key in PEM form", path)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return hsm.TransportKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return hsm.TransportKey{}, refuse("%s is not an RSA key", path)
	}
	k, err := hsm.NewTransportKey(public)
	if err != nil {
		return k, err
	}
	if k.Fingerprint != fingerprint {
		return k, refuse("the fingerprint of the key in %s is %s: it is not the key that the script means", path, k.Fingerprint)
	}
	return k, nil
}

// publicPEM is a public key as a PEM block.
func publicPEM(public any) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
