// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"

	"cityid"
)

// TestKey is a key with which a demonstration signs for everybody who opens its
// pages. A real portal has none, and holds no key that signs for anyone.
type TestKey struct {
	Name   string            // such as "institute-a-1"
	Title  map[string]string // whose it is, by language
	Signer cityid.Signer
}

// testKeys returns the keys on offer.
func (p *portal) testKeys() []TestKey { return p.TestKeys }

func (p *portal) testKeyName(k cityid.PublicKey) string {
	for _, t := range p.TestKeys {
		if t.Signer.Key == k {
			return t.Name
		}
	}
	return ""
}

// testKey signs a digest with a test key.
func (p *portal) testKey(w http.ResponseWriter, r *http.Request, pg *page) error {
	pg.Private = true
	for _, t := range p.TestKeys {
		if t.Name != r.PathValue("name") {
			continue
		}
		var x struct {
			Digest cityid.Digest `json:"digest"`
		}
		if err := readJSON(w, r, maxReply, &x); err != nil {
			return err
		}
		signature, err := t.Signer.Sign(x.Digest[:])
		if err != nil {
			return err
		}
		return pg.json(w, r, map[string]any{"key": t.Signer.Key, "signature": cityid.Bytes(signature)})
	}
	return errNoPage
}
