// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"slices"
	"testing"
)

func TestApplicationFileProve(t *testing.T) {
	var f ApplicationFile
	for _, p := range []Possession{{Key: "b", Signature: Bytes{1}}, {Key: "c", Signature: Bytes{2}}, {Key: "a", Signature: Bytes{3}}, {Key: "b", Signature: Bytes{4}}} {
		f.Prove(p)
	}
	var got []string
	for _, p := range f.Apply.Possessions {
		got = append(got, string(p.Key)+string('0'+rune(p.Signature[0])))
	}
	if want := []string{"a3", "b4", "c2"}; !slices.Equal(got, want) {
		t.Errorf("proofs are %v, want %v", got, want)
	}
}

func TestSigningKeys(t *testing.T) {
	key := func(algorithm byte, n byte) Key {
		return Key{Public: PublicKey(append([]byte{algorithm, n}, make([]byte, 31)...))}
	}
	one, two, sealing := key(1, 9), key(1, 3), key(4, 1)
	if !one.Public.Signs() || sealing.Public.Signs() {
		t.Fatal("the keys are not what the test wants")
	}
	p := &Policy{Members: []Member{{Keys: []Key{one, sealing}}, {Keys: []Key{two}}}}
	if got, want := p.SigningKeys(), []PublicKey{two.Public, one.Public}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (*Policy)(nil).SigningKeys(); got != nil {
		t.Errorf("a nil policy has %v", got)
	}
}
