// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"testing"

	"cityid"
)

func FuzzDecodeTx(f *testing.F) {
	f.Add([]byte(`{"body":"AA","signatures":["AQ","Ag"]}`))
	f.Add([]byte(`{"signatures":[],"body":""} `))
	f.Add([]byte(`{"body":"AA","body":"AA","signatures":[]}`))
	f.Add([]byte(`{"body":null,"signatures":null}{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := decodeTx(raw)
		if err != nil {
			return
		}
		if tx.Signatures == nil {
			tx.Signatures = []cityid.Bytes{}
		}
		again, err := json.Marshal(tx)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeTx(again)
		if err != nil || back.ID() != tx.ID() || len(back.Signatures) != len(tx.Signatures) {
			t.Fatalf("%s became %s: %v", raw, again, err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil || len(members) != 2 {
			t.Fatalf("%s: %d members, %v", raw, len(members), err)
		}
	})
}
