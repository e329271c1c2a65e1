// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	_ "embed"
	"encoding/json"

	"github.com/gowebpki/jcs"
)

// The contexts are fixed: they belong to the format, and a change makes another
// one. The context of datasets and catalogues is that of policies and more.
var (
	//go:embed context/policy.json
	policyTerms []byte
	//go:embed context/dataset.json
	datasetTerms []byte

	policyContext  = joined(policyTerms)
	datasetContext = joined(policyTerms, datasetTerms)
)

// PolicyContext returns the JSON-LD context that every policy carries, in
// canonical form. The caller owns the slice.
func PolicyContext() []byte { return append([]byte(nil), policyContext...) }

// DatasetContext returns the JSON-LD context that every dataset document and
// catalogue carries, in canonical form. The caller owns the slice.
func DatasetContext() []byte { return append([]byte(nil), datasetContext...) }

// joined puts the members of JSON objects into one, in canonical form.
func joined(objects ...[]byte) json.RawMessage {
	all := map[string]json.RawMessage{}
	for _, o := range objects {
		if err := json.Unmarshal(o, &all); err != nil {
			panic(err) // a file of this package
		}
	}
	b, err := json.Marshal(all)
	if err == nil {
		b, err = jcs.Transform(b)
	}
	if err != nil {
		panic(err)
	}
	return b
}
