// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

// hexBytes are written in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vector is one case of a file in testdata: a raw public key, a message, a signature and the verdict.
type vector struct {
	Name      string   `json:"name"`
	Public    hexBytes `json:"public"`
	Message   hexBytes `json:"message"`
	Signature hexBytes `json:"signature"`
	Valid     bool     `json:"valid"`
}

// loadVectors returns the committed vectors of a file after checking that they are the ones the test
// makes, which -update writes.
func loadVectors(t *testing.T, name string, made []vector) []vector {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		out, err := json.MarshalIndent(made, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var committed []vector
	if err := json.Unmarshal(data, &committed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(committed, made); diff != "" {
		t.Errorf("%s differs from what this test makes (-committed +made):\n%s", path, diff)
	}
	return committed
}

// checkVectors verifies every vector with the function and with a caching Verifier, twice.
func checkVectors(t *testing.T, vectors []vector) {
	t.Helper()
	verifier := NewVerifier(8)
	seen := map[string]bool{}
	for _, v := range vectors {
		if seen[v.Name] {
			t.Errorf("two vectors are named %q", v.Name)
		}
		seen[v.Name] = true
		for i, verify := range []func(pub, msg, sig []byte) error{Verify, verifier.Verify, verifier.Verify} {
			err := verify(v.Public, v.Message, v.Signature)
			if (err == nil) != v.Valid {
				t.Errorf("%s: way %d gives %v, want valid = %v", v.Name, i, err, v.Valid)
			}
			if err != nil && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrPublicKey) {
				t.Errorf("%s: error of no known kind: %v", v.Name, err)
			}
		}
	}
}

// testKey returns a fixed key of the algorithm.
func testKey(tb testing.TB, a Algorithm, n byte) *Private {
	tb.Helper()
	secret := make([]byte, secretSize)
	for i := range secret {
		secret[i] = n + byte(i)
	}
	key, err := NewPrivate(a, secret)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func mustSign(tb testing.TB, key *Private, msg []byte) []byte {
	tb.Helper()
	sig, err := key.Sign(msg)
	if err != nil {
		tb.Fatal(err)
	}
	return sig
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// flip returns a copy of b with one bit changed.
func flip(b []byte, bit int) []byte {
	c := append([]byte(nil), b...)
	c[bit/8] ^= 1 << (bit % 8)
	return c
}

// join concatenates into a new slice.
func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
