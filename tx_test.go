// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func sampleSigner(n byte) Signer {
	return Signer{Key: sampleKey(n), Sign: func(msg []byte) ([]byte, error) { return bytes.Repeat([]byte{n}, 64), nil }}
}

func sampleBody() Body {
	return Body{Chain: "cn-root-7k2m", Expires: 100, Operations: []Operation{{Withdraw: &Withdraw{Proposal: 1}}}}
}

func TestSignTx(t *testing.T) {
	a, err := SignTx(sampleBody(), sampleSigner(2), sampleSigner(1), sampleSigner(2))
	if err != nil {
		t.Fatal(err)
	}
	b, err := SignTx(sampleBody(), sampleSigner(1), sampleSigner(2))
	if err != nil || a.ID() != b.ID() || !reflect.DeepEqual(a, b) {
		t.Errorf("the order of signers shows: %v", err)
	}
	tx, body, err := DecodeTx(MustMarshal(a))
	if err != nil || len(body.Signers) != 2 || tx.Signatures[0][0] != 1 || tx.ID() != hashOf(tx.Body) {
		t.Errorf("%+v %v", body, err)
	}
	if d := SigningDigest(a.Body); d == a.ID() {
		t.Error("what is signed is the id")
	}
	wrong := errors.New("no card in the reader")
	if _, err := SignTx(sampleBody(), Signer{Key: sampleKey(1), Sign: func([]byte) ([]byte, error) { return nil, wrong }}); !errors.Is(err, wrong) {
		t.Error(err)
	}
	if _, err := SignTx(sampleBody()); err == nil {
		t.Error("a transaction without signers")
	}
}

func TestDecodeTx(t *testing.T) {
	signers := []PublicKey{sampleKey(1), sampleKey(2)}
	sigs := []Bytes{make(Bytes, 64), make(Bytes, 64)}
	for name, c := range map[string]struct {
		body func(b *Body)
		tx   func(tx *Tx)
		want ErrorCode
	}{
		"sound":                    {want: OK},
		"signers out of order":     {body: func(b *Body) { slices.Reverse(b.Signers) }, want: ErrMalformed},
		"signer twice":             {body: func(b *Body) { b.Signers[1] = b.Signers[0] }, want: ErrMalformed},
		"no signers":               {body: func(b *Body) { b.Signers = nil }, want: ErrMalformed},
		"too many signers":         {body: func(b *Body) { b.Signers = make([]PublicKey, MaxSigners+1) }, want: ErrMalformed},
		"no chain":                 {body: func(b *Body) { b.Chain = "" }, want: ErrMalformed},
		"chain with a space":       {body: func(b *Body) { b.Chain = "a b" }, want: ErrMalformed},
		"long chain":               {body: func(b *Body) { b.Chain = strings.Repeat("a", 51) }, want: ErrMalformed},
		"no end":                   {body: func(b *Body) { b.Expires = 0 }, want: ErrMalformed},
		"ends before 1970":         {body: func(b *Body) { b.Expires = -1 }, want: ErrMalformed},
		"ends after 9999":          {body: func(b *Body) { b.Expires = maxTime + 1 }, want: ErrMalformed},
		"memo":                     {body: func(b *Body) { b.Memo = "a\x00" }, want: ErrInvalid},
		"no operations":            {body: func(b *Body) { b.Operations = nil }, want: ErrMalformed},
		"empty operation":          {body: func(b *Body) { b.Operations[0] = Operation{} }, want: ErrMalformed},
		"two operations in one":    {body: func(b *Body) { b.Operations[0].Veto = &Veto{} }, want: ErrMalformed},
		"too many operations":      {body: func(b *Body) { b.Operations = slices.Repeat(b.Operations, MaxOperations+1) }, want: ErrTooLarge},
		"too many items":           {body: func(b *Body) { b.Operations = []Operation{{Allocate: &Allocate{Items: make([]Allocation, 1001)}}} }, want: ErrTooLarge},
		"a signature missing":      {tx: func(tx *Tx) { tx.Signatures = tx.Signatures[:1] }, want: ErrSignature},
		"a signature too many":     {tx: func(tx *Tx) { tx.Signatures = append(tx.Signatures, sigs[0]) }, want: ErrSignature},
		"a signature of nothing":   {tx: func(tx *Tx) { tx.Signatures[0] = nil }, want: ErrSignature},
		"a signature of too much":  {tx: func(tx *Tx) { tx.Signatures[0] = make(Bytes, 4097) }, want: ErrSignature},
		"a body with a tail":       {tx: func(tx *Tx) { tx.Body = append(tx.Body, 0) }, want: ErrMalformed},
		"a transaction too large":  {tx: func(tx *Tx) { tx.Body = make(Bytes, MaxTx) }, want: ErrTooLarge},
		"a body that is no body":   {tx: func(tx *Tx) { tx.Body = Bytes{0x80} }, want: ErrMalformed},
		"a body that is not there": {tx: func(tx *Tx) { tx.Body = nil }, want: ErrMalformed},
	} {
		b := sampleBody()
		b.Signers = slices.Clone(signers)
		if c.body != nil {
			c.body(&b)
		}
		for i := range b.Signers {
			if b.Signers[i] == "" {
				b.Signers[i] = "\x01" + PublicKey([]byte{byte(i)})
			}
		}
		tx := Tx{Body: MustMarshal(&b), Signatures: slices.Clone(sigs)}
		if c.tx != nil {
			c.tx(&tx)
		}
		if _, _, err := DecodeTx(MustMarshal(&tx)); CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestOperationNames: every operation has its name, which its JSON bears, and
// the numbers kept for later operations are refused.
func TestOperationNames(t *testing.T) {
	list := sampleOperations()
	if n := reflect.TypeFor[Operation]().NumField(); n != len(list) {
		t.Errorf("%d operations, %d samples", n, len(list))
	}
	seen := map[string]bool{}
	for i := range list {
		name := list[i].Name()
		if name == "" || seen[name] {
			t.Errorf("operation %d is named %q", i, name)
		}
		seen[name] = true
		if got := list[i].Weight(); got != 1 && list[i].Allocate == nil {
			t.Errorf("%s weighs %d", name, got)
		}
	}
	if (&Operation{}).Name() != "" || list[7].Weight() != 2 || (&Operation{Allocate: &Allocate{}}).Weight() != 1 {
		t.Error("name or weight")
	}
	for n := byte(27); n <= 40; n++ {
		if n == 29 || n >= 31 && n <= 33 {
			continue // those there are
		}
		data := []byte{0xa1, 0x18, n, 0xa0}
		var op Operation
		if err := Unmarshal(data, &op); err == nil {
			t.Errorf("operation %d is accepted: %+v", n, op)
		}
	}
}
