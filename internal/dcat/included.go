// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"maps"
	"slices"
)

// A node says what kind of thing an IRI stands for, where the document itself
// has only the IRI. Members of "@included" follow from the rest of a document.
type node struct {
	ID       string    `json:"@id"`
	Type     []string  `json:"@type"`
	Checksum *Checksum `json:"checksum,omitempty"`
}

// nodes collects types by IRI.
type nodes map[string]*node

func (n nodes) add(iri, kind string) {
	if iri == "" {
		return
	}
	x := n[iri]
	if x == nil {
		x = &node{ID: iri}
		n[iri] = x
	}
	if !slices.Contains(x.Type, kind) {
		x.Type = append(x.Type, kind)
		slices.Sort(x.Type)
	}
}

// sorted returns the nodes in byte order of their IRIs.
func (n nodes) sorted() []node {
	out := make([]node, 0, len(n))
	for _, iri := range slices.Sorted(maps.Keys(n)) {
		out = append(out, *n[iri])
	}
	return out
}

// included says of everything that a dataset names by its IRI alone what it is,
// and commits to the bytes of the policy, which is published by itself as well.
func (d *Dataset) included() ([]node, error) {
	n := nodes{}
	n.add(d.ID.String(), "Resource")
	access, _ := d.Access.MarshalText() // never fails
	n.add(string(access), "RightsStatement")
	n.add(d.Frequency, "Frequency")
	for _, l := range d.Languages {
		n.add(l, "LinguisticSystem")
	}
	n.add(d.LandingPage, "Document")
	if d.Schema() != nil {
		n.add(algorithmSHA256, "ChecksumAlgorithm")
	}
	for i := range d.Distributions {
		x := &d.Distributions[i]
		n.add(x.Format, "MediaTypeOrExtent")
		n.add(x.MediaType, "MediaType")
		n.add(x.Licence, "LicenseDocument")
		n.add(x.Rights, "RightsStatement")
		if x.Service != nil {
			n.add(x.Service.Endpoint, "WebResource")
			n.add(x.Service.EndpointDescription, "WebResource")
		}
		if x.Checksum != nil {
			n.add(algorithmSHA256, "ChecksumAlgorithm")
		}
	}
	if p := d.Policy(); p != nil {
		b, err := p.Encode()
		if err != nil {
			return nil, err
		}
		n.add(p.ID, "Policy")
		n[p.ID].Checksum = &Checksum{Value: Digest(b)}
		n.add(algorithmSHA256, "ChecksumAlgorithm")
	}
	return n.sorted(), nil
}
