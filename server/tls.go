package server

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"latchkey/trust"
)

// TLSFiles names the server's certificate and key, the CA certificates of its
// clients and their CRLs: PEM files all, a CRL DER too.
type TLSFiles struct {
	Certificate, Key string
	ClientCA         string
	ClientCRL        []string
	// Signer, where set, has the certificate's key, as in an HSM, in place of Key.
	Signer crypto.Signer
	// TLS12 lets clients in that do not speak TLS 1.3.
	TLS12 bool
}

// Transport is TLS that follows its files: those that changed are read again, with
// the next connection or the next second's first request. Where they cannot be
// used the ones before stay, and the log says so.
type Transport struct {
	files TLSFiles
	log   *zap.Logger
	now   func() time.Time
	// every is how often at most requests have the files looked at.
	every time.Duration

	inUse atomic.Pointer[loaded]
	// looked is when they were looked at last, in nanoseconds since began: a clock that
	// is set back must not keep a revocation list from being read.
	looked atomic.Int64
	began  time.Time

	mu     sync.Mutex // held while looking; guards the rest
	stamps []stamp
	gaps   []string // that the log was told of
}

// loaded is what the files hold.
type loaded struct {
	config *tls.Config
	bundle *trust.Bundle
}

// stamp tells whether a file was changed.
type stamp struct {
	changed time.Time
	size    int64
}

// Open reads the files.
func (f TLSFiles) Open(log *zap.Logger, now func() time.Time) (*Transport, error) {
	t := &Transport{files: f, log: log, now: now, every: time.Second, began: time.Now()}
	if err := t.refresh(); err != nil {
		return nil, err
	}
	t.warn()
	return t, nil
}

// Config asks clients for a certificate and verifies one that comes, but lets a
// connection without one be made: what needs no certificate can be read, and the
// rest is refused in words instead of with a TLS alert.
func (t *Transport) Config() *tls.Config {
	config := t.inUse.Load().config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.look().config, nil }
	return config
}

// Check tells whether the certificate that a connection was made with is still
// good: it may have been revoked since, or its CA withdrawn. It gives *trust.Error
// where it is not, and nil for a connection without one.
func (t *Transport) Check(connection *tls.ConnectionState) error {
	if connection == nil || len(connection.VerifiedChains) == 0 {
		return nil
	}
	files := t.inUse.Load()
	if int64(time.Since(t.began))-t.looked.Load() >= int64(t.every) {
		files = t.look()
	}
	return files.bundle.Check(connection.VerifiedChains, t.now())
}

// look gives what the files hold now, as far as it can be used.
func (t *Transport) look() *loaded {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looked.Store(int64(time.Since(t.began)))
	if err := t.refresh(); err != nil {
		t.log.Error("the TLS files changed but cannot be used; the ones before stay", zap.Error(err))
	}
	t.warn()
	return t.inUse.Load()
}

// warn tells the log, once, of CRLs that are missing or out of date.
func (t *Transport) warn() {
	gaps := t.inUse.Load().bundle.Gaps(t.now())
	for _, gap := range gaps {
		if !slices.Contains(t.gaps, gap) {
			t.log.Error("ALARM: "+gap+": the client certificates that this CA issued are refused", zap.Strings("client_crl", t.files.ClientCRL))
		}
	}
	t.gaps = gaps
}

// refresh reads the files if one of them was changed since they were last read.
// Files that cannot be used are not tried again until one changes.
func (t *Transport) refresh() error {
	var stamps []stamp
	for _, path := range append([]string{t.files.Certificate, t.files.Key, t.files.ClientCA}, t.files.ClientCRL...) {
		if path == "" {
			continue // the key is elsewhere
		}
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("TLS files: %w", err)
		}
		stamps = append(stamps, stamp{info.ModTime(), info.Size()})
	}
	if len(stamps) != 0 && slices.Equal(stamps, t.stamps) {
		return nil
	}
	t.stamps = stamps
	files, err := t.files.read()
	if err != nil {
		return fmt.Errorf("TLS files: %w", err)
	}
	t.inUse.Store(files)
	return nil
}

func (f TLSFiles) read() (*loaded, error) {
	certificate, err := f.pair()
	if err != nil {
		return nil, err
	}
	bundle, err := trust.Read(f.ClientCA)
	if err != nil {
		return nil, err
	}
	for _, path := range f.ClientCRL {
		if err := bundle.AddLists(path); err != nil {
			return nil, err
		}
	}
	oldest := uint16(tls.VersionTLS13)
	if f.TLS12 {
		oldest = tls.VersionTLS12
	}
	return &loaded{bundle: bundle, config: &tls.Config{
		MinVersion: oldest,
		// Of TLS 1.2 only what is as good as TLS 1.3: forward secret and authenticated
		// encryption. TLS 1.3 has no other.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    bundle.Pool(),
		ClientAuth:   tls.VerifyClientCertIfGiven,
		NextProtos:   []string{"h2", "http/1.1"},
	}}, nil
}

// pair is the server's certificate with its key.
func (f TLSFiles) pair() (tls.Certificate, error) {
	if f.Signer == nil {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			err = fmt.Errorf("certificate and key: %w", err)
		}
		return pair, err
	}
	text, err := os.ReadFile(f.Certificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair := tls.Certificate{PrivateKey: f.Signer}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			pair.Certificate = append(pair.Certificate, block.Bytes)
		}
	}
	if len(pair.Certificate) == 0 {
		return tls.Certificate{}, errors.New(f.Certificate + " holds no certificate in PEM form")
	}
	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", f.Certificate, err)
	}
	public, ok := f.Signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(pair.Leaf.PublicKey) {
		return tls.Certificate{}, errors.New(f.Certificate + " is not of the key in the HSM")
	}
	return pair, nil
}
