// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A Certificate is a TLS certificate chain and its private key in two PEM
// files. It is read again when either file changes, so renewing it needs no
// restart; while the new files do not fit together, the old pair stays in use.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	loaded [2]stamp // of the pair in use
	failed [2]stamp // of the pair that was refused last
	pair   *tls.Certificate
	// What was logged last, which is not repeated before a pair is loaded.
	complaint string
}

// clockTick is more than the time between two that file systems tell apart.
const clockTick = 100 * time.Millisecond

// stamp tells one version of a file from the next.
type stamp struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads a certificate and its key from PEM files, the
// certificate first and its intermediates after it. log may be nil.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	now, err := c.stamps()
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	if err := c.load(now); err != nil {
		return nil, err
	}
	return c, nil
}

// Config returns a server's TLS configuration: TLS 1.2 or later, HTTP/2 and
// HTTP/1.1.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

// current returns the pair in use after a look at the files.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.stamps()
	if err == nil && (now == c.loaded || now == c.failed) {
		return c.pair
	}
	if err == nil {
		err = c.load(now)
	}
	if err != nil {
		if err.Error() != c.complaint {
			c.log.Warn("the TLS certificate on disk can not be used, the one in memory goes on serving", "error", err)
		}
		c.failed, c.complaint = settled(now), err.Error()
	}
	return c.pair
}

func (c *Certificate) load(now [2]stamp) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if c.pair == nil || !bytes.Equal(pair.Leaf.Raw, c.pair.Leaf.Raw) {
		c.log.Info("TLS certificate loaded", "subject", pair.Leaf.Subject.String(), "expires", pair.Leaf.NotAfter)
	}
	c.pair, c.loaded, c.complaint = &pair, settled(now), ""
	return nil
}

// settled returns the stamps, or none if a file was written just now: it could be
// written again without its stamp showing it, and has to be read again.
func settled(s [2]stamp) [2]stamp {
	for _, f := range s {
		if age := time.Since(f.modified); age >= 0 && age < clockTick {
			return [2]stamp{}
		}
	}
	return s
}

func (c *Certificate) stamps() (s [2]stamp, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		f, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{f.ModTime(), f.Size()}
	}
	return s, nil
}
