// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"slices"
	"strings"
)

// ApplicationFileVersion is the version of the format of application files.
const ApplicationFileVersion = 1

// ApplicationFile is an application on its way to a member's node, in JSON, with
// what stays off the chain: the salts of its evidence. Whoever reads one has to
// check it.
type ApplicationFile struct {
	Version  int            `json:"version"` // ApplicationFileVersion
	Chain    string         `json:"chain"`
	Apply    Apply          `json:"apply"`
	Evidence []EvidenceName `json:"evidence,omitempty"` // in the order of the digests in Apply
}

// EvidenceName names a document whose [EvidenceDigest] stands in an application.
type EvidenceName struct {
	Name string `json:"name"`
	Salt Digest `json:"salt"`
}

// Prove adds a proof of possession, instead of an earlier one of the same key, and
// puts all in order.
func (f *ApplicationFile) Prove(x Possession) {
	list := slices.DeleteFunc(f.Apply.Possessions, func(o Possession) bool { return o.Key == x.Key })
	list = append(list, x)
	slices.SortFunc(list, func(a, b Possession) int { return strings.Compare(string(a.Key), string(b.Key)) })
	f.Apply.Possessions = list
}
