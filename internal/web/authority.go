// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Lifetimes of what an [Authority] makes.
const (
	AuthorityLife      = 10 * 365 * 24 * time.Hour
	CertificateLife    = 397 * 24 * time.Hour // what browsers take
	MaxCertificateLife = 825 * 24 * time.Hour // what Apple's systems take of private authorities
)

// clockSkew is by how much others' clocks may be behind the one that issues.
const clockSkew = 5 * time.Minute

// An Authority is a private certificate authority, for the TLS of an intranet: a
// self-signed certificate and its P-256 key.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that is good from now on for [AuthorityLife].
// With permit, domains such as intra.example and networks such as 10.0.0.0/8, it
// can issue for hosts within these alone, so that whoever steals its key can not
// pretend to be any site there is.
func NewAuthority(name string, permit []string, now time.Time) (*Authority, error) {
	if name == "" || len(name) > 64 {
		return nil, errors.New("the name of an authority has 1 to 64 octets")
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-clockSkew), NotAfter: now.Add(AuthorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, p := range permit {
		if err := permitted(t, p); err != nil {
			return nil, err
		}
	}
	if len(permit) > 0 {
		t.PermittedDNSDomainsCritical = true
		// A kind of name that no rule speaks of would be free.
		if len(t.PermittedIPRanges) == 0 {
			t.ExcludedIPRanges = []*net.IPNet{{IP: make(net.IP, 4), Mask: make(net.IPMask, 4)}, {IP: make(net.IP, 16), Mask: make(net.IPMask, 16)}}
		}
		if len(t.PermittedDNSDomains) == 0 {
			t.ExcludedDNSDomains = []string{""}
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	cert, err := sign(t, t, key, key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// permitted adds a domain or network to the constraints of t.
func permitted(t *x509.Certificate, rule string) error {
	if p, err := netip.ParsePrefix(rule); err == nil {
		if p != p.Masked() {
			return fmt.Errorf("network %s: want its first address, %s", rule, p.Masked())
		}
		t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
		return nil
	}
	if err := checkHostName(rule); err != nil {
		return fmt.Errorf("%q is neither a domain such as intra.example nor a network such as 10.0.0.0/8: %w", rule, err)
	}
	t.PermittedDNSDomains = append(t.PermittedDNSDomains, rule)
	return nil
}

// ParseAuthority reads an authority from its two PEM files.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	der, err := onePEM(certPEM, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate of the authority: %w", err)
	}
	key, err := ParseTLSKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the certificate is not that of an authority with this key")
	}
	return &Authority{cert, key}, nil
}

// CertPEM returns the authority's certificate, for those who shall trust it.
func (a *Authority) CertPEM() []byte { return certPEM(a.cert) }

// KeyPEM returns its secret key.
func (a *Authority) KeyPEM() ([]byte, error) { return KeyPEM(a.key) }

// Name is the authority's name, and Until the end of its certificate.
func (a *Authority) Name() string { return a.cert.Subject.CommonName }

// Until is when the authority's certificate ends.
func (a *Authority) Until() time.Time { return a.cert.NotAfter }

// Issue returns a certificate in PEM for a server with the key and the hosts: 1 to
// 100 names or IP addresses, names in lower case, perhaps with "*." in front. It is
// good from now on for a time of a day to [MaxCertificateLife], but no longer than
// the authority's.
func (a *Authority) Issue(key *ecdsa.PrivateKey, hosts []string, now time.Time, life time.Duration) ([]byte, error) {
	if len(hosts) < 1 || len(hosts) > 100 {
		return nil, fmt.Errorf("a certificate is for 1 to 100 hosts, not %d", len(hosts))
	}
	if life < 24*time.Hour || life > MaxCertificateLife {
		return nil, fmt.Errorf("a certificate is good for 1 to %d days", MaxCertificateLife/(24*time.Hour))
	}
	if !now.Before(a.cert.NotAfter) {
		return nil, fmt.Errorf("the authority %s ended at %s: make a new one, and let everybody trust that", a.Name(), a.cert.NotAfter.Format(time.RFC3339))
	}
	t := &x509.Certificate{
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if t.NotAfter.After(a.cert.NotAfter) {
		t.NotAfter = a.cert.NotAfter
	}
	if len(hosts[0]) <= 64 {
		t.Subject.CommonName = hosts[0] // for people; programs look at the names below
	}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil && ip.Zone() == "" {
			t.IPAddresses = append(t.IPAddresses, ip.Unmap().AsSlice())
			continue
		}
		if err := checkHostName(strings.TrimPrefix(h, "*.")); err != nil {
			return nil, fmt.Errorf("host %q: want an IP address, or %w", h, err)
		}
		t.DNSNames = append(t.DNSNames, h)
	}
	cert, err := sign(t, a.cert, key, a.key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	for _, h := range hosts {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: strings.Replace(h, "*.", "x.", 1), CurrentTime: now}); err != nil {
			return nil, fmt.Errorf("host %s: the authority may not issue for it: %w", h, err)
		}
	}
	return certPEM(cert), nil
}

// NewTLSKey makes a P-256 key for a server.
func NewTLSKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// KeyPEM returns a key in PEM (PKCS #8).
func KeyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseTLSKey reads a P-256 key in PEM (PKCS #8).
func ParseTLSKey(text []byte) (*ecdsa.PrivateKey, error) {
	der, err := onePEM(text, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("private key: want one on the curve P-256")
	}
	return key, nil
}

// sign makes a certificate for a key from a template.
func sign(t, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	var err error
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("choose a serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by, &key.PublicKey, byKey)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// onePEM returns the content of a text that is one PEM block and nothing else.
func onePEM(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("want one PEM block %q and nothing else", kind)
	}
	return block.Bytes, nil
}

// checkHostName reports why a name is none of a host.
func checkHostName(name string) error {
	if name == "" || len(name) > 253 {
		return errors.New("a name of 1 to 253 octets")
	}
	for l := range strings.SplitSeq(name, ".") {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return errors.New("a name of lower-case letters, digits, hyphens and dots")
		}
	}
	return nil
}
