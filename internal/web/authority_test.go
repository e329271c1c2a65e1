// SPDX-License-Identifier: Apache-2.0

package web

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func authority(t testing.TB, now time.Time, permit ...string) *Authority {
	t.Helper()
	a, err := NewAuthority("Test", permit, now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	// As it comes back from its files.
	if a, err = ParseAuthority(a.CertPEM(), key); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestIssue serves TLS with an issued certificate, renews it on the disk, and
// compares which one a client that trusts the authority sees.
func TestIssue(t *testing.T) {
	now := time.Now()
	a := authority(t, now)
	key, err := NewTLSKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(name string, b []byte, err error) {
		t.Helper()
		if err == nil {
			err = os.WriteFile(name, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	issue := func(life time.Duration) {
		b, err := a.Issue(key, []string{"localhost", "127.0.0.1"}, now, life)
		write(certFile, b, err)
	}
	b, err := KeyPEM(key)
	write(keyFile, b, err)
	issue(CertificateLife)
	pair, err := LoadCertificate(certFile, keyFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", pair.Config())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}
	defer server.Close()
	go server.Serve(l)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.CertPEM())
	_, port, _ := net.SplitHostPort(l.Addr().String())
	seen := func(host string) time.Time {
		t.Helper()
		c, err := tls.Dial("tcp", net.JoinHostPort(host, port), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].NotAfter
	}
	if got := seen("127.0.0.1"); got.Unix() != now.Add(CertificateLife).Unix() {
		t.Errorf("the first certificate ends at %s", got)
	}
	issue(48 * time.Hour)
	if got := seen("localhost"); got.Unix() != now.Add(48*time.Hour).Unix() {
		t.Errorf("the renewed certificate ends at %s", got)
	}
	if _, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: x509.NewCertPool()}); err == nil {
		t.Error("a client that does not trust the authority connects")
	}
}

func TestPermit(t *testing.T) {
	now := time.Now()
	key, err := NewTLSKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		permit string
		host   string
		ok     bool
	}{
		{"", "bank.example", true}, {"", "8.8.8.8", true}, {"", "::1", true}, {"", "*.intra.example", true},
		{"intra.example", "node.intra.example", true}, {"intra.example", "intra.example", true}, {"intra.example", "bank.example", false},
		{"intra.example", "xintra.example", false}, {"intra.example", "10.0.0.1", false}, {"intra.example", "::1", false}, {"intra.example", "*.intra.example", true},
		{"10.0.0.0/8", "10.1.2.3", true}, {"10.0.0.0/8", "11.1.2.3", false}, {"10.0.0.0/8", "node.intra.example", false}, {"10.0.0.0/8", "::1", false},
		{"intra.example 10.0.0.0/8 fd00::/8", "10.1.2.3", true}, {"intra.example 10.0.0.0/8 fd00::/8", "fd00::1", true}, {"intra.example 10.0.0.0/8 fd00::/8", "a.intra.example", true},
		{"", "Intra.example", false}, {"", "a b", false}, {"", "", false}, {"", "*.*.a", false}, {"", "a.*.b", false}, {"", "https://a.example", false}, {"", "fe80::1%eth0", false},
	} {
		_, err := authority(t, now, strings.Fields(x.permit)...).Issue(key, []string{x.host}, now, CertificateLife)
		if (err == nil) != x.ok {
			t.Errorf("permitted %q, host %q: %v", x.permit, x.host, err)
		}
	}
}

func TestAuthorityRefuses(t *testing.T) {
	now := time.Now()
	for _, permit := range []string{"10.0.0.1/8", "Intra", "", "*.intra.example"} {
		if _, err := NewAuthority("Test", []string{permit}, now); err == nil {
			t.Errorf("an authority for %q", permit)
		}
	}
	if _, err := NewAuthority("", nil, now); err == nil {
		t.Error("an authority without a name")
	}
	a, b := authority(t, now), authority(t, now)
	keyA, _ := a.KeyPEM()
	keyB, _ := b.KeyPEM()
	key, err := ParseTLSKey(keyA)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Issue(key, []string{"a.example"}, now, CertificateLife)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][2][]byte{
		"another key": {a.CertPEM(), keyB}, "a server's certificate": {leaf, keyA}, "two certificates": {append(a.CertPEM(), b.CertPEM()...), keyA},
		"no certificate": {nil, keyA}, "no key": {a.CertPEM(), nil}, "exchanged": {keyA, a.CertPEM()},
	} {
		if _, err := ParseAuthority(files[0], files[1]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, x := range map[string]struct {
		hosts []string
		at    time.Time
		life  time.Duration
	}{
		"no hosts": {nil, now, CertificateLife}, "too long": {[]string{"a.example"}, now, MaxCertificateLife + 1}, "too short": {[]string{"a.example"}, now, time.Hour},
		"authority ended": {[]string{"a.example"}, now.Add(AuthorityLife), CertificateLife}, "too many": {make([]string, 101), now, CertificateLife},
	} {
		if _, err := a.Issue(key, x.hosts, x.at, x.life); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// It never outlives the authority.
	late, err := a.Issue(key, []string{"a.example"}, now.Add(AuthorityLife-48*time.Hour), CertificateLife)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := onePEM(late, "CERTIFICATE")
	if c, _ := x509.ParseCertificate(der); !c.NotAfter.Equal(a.Until()) {
		t.Errorf("ends at %s, the authority at %s", c.NotAfter, a.Until())
	}
}

func FuzzParseAuthority(f *testing.F) {
	a := authority(f, time.Now())
	key, err := a.KeyPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.CertPEM(), key)
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		if a, err := ParseAuthority(cert, key); err == nil && (a.key == nil || !a.cert.IsCA) {
			t.Fatal("an authority that is none")
		}
	})
}
