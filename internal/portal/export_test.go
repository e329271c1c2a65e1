// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"net/http"
	"slices"
)

// Patterns lists all pages: method, blank, path below the language.
func (p *Portal) Patterns() []string {
	var out []string
	for pattern := range p.screens() {
		out = append(out, pattern)
	}
	slices.Sort(out)
	return out
}

// DeliveryClient is what evidence is sent with.
func (p *Portal) DeliveryClient() *http.Client { return p.deliveryClient() }

// SettleAgreements does one round of what the portal does about requests made here.
func (p *Portal) SettleAgreements(ctx context.Context) error { return p.settleAgreements(ctx) }
