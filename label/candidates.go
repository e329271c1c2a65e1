// SPDX-License-Identifier: Apache-2.0

package label

import (
	"cityid"
	"cityid/keys"
)

// CandidatesOf lists the keys of a record that may have signed a certificate:
// Ed25519 keys of role assert. A retired record has none, and neither has nil.
// The caller vouches for the record, usually because a bundle proved it.
func CandidatesOf(r *cityid.Record) []Candidate {
	if r == nil || r.Policy == nil || r.Status == cityid.StatusRetired {
		return nil
	}
	var out []Candidate
	for _, m := range r.Policy.Members {
		for _, k := range m.Keys {
			if k.Roles&cityid.RoleAssert != 0 && k.Public.Algorithm() == keys.Ed25519.String() {
				out = append(out, Candidate{Holder: r.Code, Key: k.Public, NotBefore: k.From, NotAfter: k.Until, CompromisedSince: k.Compromised})
			}
		}
	}
	return out
}
