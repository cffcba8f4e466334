package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// TLSFiles names the server's certificate and key and the CA certificates of its
// clients, all PEM files.
type TLSFiles struct{ Certificate, Key, ClientCA string }

// Config is for TLS 1.2 and 1.3. It asks clients for a certificate and verifies
// one that comes, but lets a connection without one be made: what needs no
// certificate can be read, and the rest is refused in words instead of with a TLS
// alert.
//
// Files that changed are read again with the next connection. Where they cannot
// be used the ones before stay, and the log says so.
func (f TLSFiles) Config(log *zap.Logger) (*tls.Config, error) {
	loaded := &reloaded{files: f, log: log}
	if err := loaded.refresh(); err != nil {
		return nil, err
	}
	config := loaded.config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return loaded.current(), nil }
	return config, nil
}

// reloaded is a TLS configuration that follows its files.
type reloaded struct {
	files TLSFiles
	log   *zap.Logger

	mu     sync.Mutex
	stamps [3]stamp
	config *tls.Config
}

// stamp tells whether a file was changed.
type stamp struct {
	changed time.Time
	size    int64
}

func (r *reloaded) current() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(); err != nil {
		r.log.Error("the TLS files changed but cannot be used; the ones before stay", zap.Error(err))
	}
	return r.config
}

// refresh reads the files if one of them was changed since they were last read.
// Files that cannot be used are not tried again until one changes.
func (r *reloaded) refresh() error {
	var stamps [3]stamp
	for i, path := range []string{r.files.Certificate, r.files.Key, r.files.ClientCA} {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("TLS files: %w", err)
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	if stamps == r.stamps {
		return nil
	}
	r.stamps = stamps
	certificate, err := tls.LoadX509KeyPair(r.files.Certificate, r.files.Key)
	if err != nil {
		return fmt.Errorf("TLS files: certificate and key: %w", err)
	}
	pem, err := os.ReadFile(r.files.ClientCA)
	if err != nil {
		return fmt.Errorf("TLS files: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("TLS files: " + r.files.ClientCA + " holds no certificate in PEM form")
	}
	r.config = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Of TLS 1.2 only what is as good as TLS 1.3: forward secret and authenticated
		// encryption. TLS 1.3 has no other.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    pool,
		ClientAuth:   tls.VerifyClientCertIfGiven,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	return nil
}
