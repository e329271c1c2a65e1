// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"cityid"
)

// TestOutwardAddresses goes through the kinds of addresses there are.
func TestOutwardAddresses(t *testing.T) {
	const (
		never = iota
		private
		public
	)
	for text, kind := range map[string]int{
		"8.8.8.8": public, "1.1.1.1": public, "2606:4700::1111": public, "240e:1::1": public,
		"127.0.0.1": private, "127.8.9.10": private, "::1": private, "10.1.2.3": private, "172.16.0.1": private, "192.168.1.1": private, "fd00::1": private,
		"0.0.0.0": never, "0.1.2.3": never, "169.254.169.254": never, "169.254.0.1": never, "100.64.0.1": never, "192.0.0.8": never, "192.0.2.1": never,
		"198.18.0.1": never, "198.51.100.1": never, "203.0.113.1": never, "224.0.0.1": never, "239.1.1.1": never, "240.0.0.1": never, "255.255.255.255": never,
		"192.88.99.1": never, "::": never, "fe80::1": never, "ff02::1": never, "fec0::1": never, "2001:db8::1": never, "2002:7f00:1::1": never,
		"2001:0:1::1": never, "64:ff9b::7f00:1": never, "64:ff9b:1::a00:1": never, "100::1": never, "::7f00:1": never,
		"::ffff:127.0.0.1": private, "::ffff:10.0.0.1": private, "::ffff:169.254.169.254": never, "::ffff:8.8.8.8": public,
	} {
		a := netip.MustParseAddr(text).Unmap()
		if cityid.PublicAddress(a) != (kind == public) {
			t.Errorf("%s: public is %v", text, cityid.PublicAddress(a))
		}
		if privateAddr(a) != (kind == private) {
			t.Errorf("%s: private is %v", text, privateAddr(a))
		}
	}
}

// TestOutwardConnects tries to reach a server on loopback by all its names.
func TestOutwardConnects(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "reached") }))
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::]"} {
		for _, private := range []bool{false, true} {
			resp, err := NewOutward(private, nil).Get("http://" + host + ":" + port)
			if err == nil {
				resp.Body.Close()
			}
			var dns *net.DNSError
			switch {
			case !private && err == nil:
				t.Errorf("%s is reached", host)
			case !private && !errors.Is(err, ErrAddress) && !errors.As(err, &dns):
				t.Errorf("%s: %v", host, err)
			case private && (host == "127.0.0.1" || host == "localhost") && err != nil:
				t.Errorf("%s, where private addresses may be reached: %v", host, err)
			}
		}
	}
}
