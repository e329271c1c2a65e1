// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/netip"
	"testing"
)

// TestReachable lists addresses that evidence may and may not be sent to.
func TestReachable(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "10.1.2.3": true,
		"10.2.0.1": false, "127.0.0.1": false, "::1": false, "192.168.0.1": false, "172.16.0.1": false, "169.254.169.254": false,
		"0.0.0.0": false, "::": false, "100.64.0.1": false, "fe80::1": false, "fc00::1": false, "224.0.0.1": false,
		"255.255.255.255": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false,
	} {
		if got := reachable(netip.MustParseAddr(address).Unmap(), allowed); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	p := &portal{}
	for destination, want := range map[string]bool{
		"https://id.example/office/evidence": true, "http://b.localhost:8080/office/evidence": true, "http://localhost/office/evidence": true,
		"http://id.example/office/evidence": false, "http://localhost.example/x": false, "https://user:pw@id.example/x": false, "ftp://id.example/": false, "://": false,
	} {
		if got := p.mayDeliver(destination) == nil; got != want {
			t.Errorf("%s: %v", destination, got)
		}
	}
}
