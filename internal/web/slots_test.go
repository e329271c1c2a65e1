// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"errors"
	"net/netip"
	"testing"

	"cityid/internal/web"
)

func TestSlots(t *testing.T) {
	s := web.NewSlots(8)
	status := func(client string) (func(), int) {
		release, err := s.Take(netip.MustParseAddr(client))
		var p *web.Problem
		if errors.As(err, &p) {
			return nil, p.Status
		}
		return release, 0
	}
	var releases []func()
	for _, c := range []struct {
		client string
		want   int
	}{
		{"10.0.0.1", 0}, {"10.0.0.1", 0}, {"10.0.0.1", 429},
		{"2001:db8::1", 0}, {"2001:db8::2", 0}, {"2001:db8::3", 429}, // one /64
		{"10.0.0.2", 0}, {"10.0.0.2", 0}, {"10.0.0.3", 0}, {"10.0.0.3", 0},
		{"10.0.0.4", 503}, {"10.0.0.1", 429},
	} {
		release, got := status(c.client)
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.client, got, c.want)
		}
		if release != nil {
			releases = append(releases, release)
		}
	}
	releases[0]()
	if _, got := status("10.0.0.4"); got != 0 {
		t.Errorf("after a release: %d", got)
	}
	if _, got := status("10.0.0.5"); got != 503 {
		t.Errorf("full again: %d", got)
	}
	if _, err := web.NewSlots(1).Take(netip.Addr{}); err != nil {
		t.Errorf("over a Unix socket: %v", err)
	}
}
