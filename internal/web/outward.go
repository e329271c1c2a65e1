// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"cityid"
)

// ErrAddress says that an address is one a client for strangers' addresses does
// not go to.
var ErrAddress = errors.New("the address is not one on the public network")

// NewOutward returns a client for addresses that others write, such as those of
// gateways in records. It goes to public addresses alone unless private is set,
// and then to loopback and private networks as well, but never to what only this
// machine's own link has, such as the metadata service of a cloud. What counts is
// the address that is connected to, whatever the name said before. It follows no
// redirects, asks for no compression, and waits long for an answer to begin, since
// who signs one has it whole before. authorities are the certificate authorities it
// trusts; nil: the system's.
func NewOutward(private bool, authorities *x509.CertPool) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !cityid.PublicAddress(a.Addr().Unmap()) && !(private && privateAddr(a.Addr().Unmap())) {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		return nil
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.DialContext, DisableCompression: true, ForceAttemptHTTP2: true,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
			MaxIdleConnsPerHost: 64, MaxConnsPerHost: 256, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 16 * time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// privateAddr reports whether an address is of loopback or of a network that its
// owner uses as he likes.
func privateAddr(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() }
