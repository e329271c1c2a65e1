// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// filler sets every field of a value, unknown ones too, so that a field which is
// added to a type and forgotten in its encoder is found.
type filler struct{ *rand.Rand }

func (f filler) fill(v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[Code]() {
		v.Set(reflect.ValueOf(Code{f.text(130)}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				f.fill(v.Field(i), depth)
			}
		}
	case reflect.Pointer:
		if depth > 0 && f.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), depth-1)
		}
	case reflect.Slice:
		n := f.IntN(4)
		if depth == 0 {
			n = 0
		}
		if f.IntN(8) == 0 && v.Type().Elem().Kind() == reflect.Uint8 {
			n = f.IntN(70_000)
		}
		if n > 0 || f.IntN(2) == 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range n {
			f.fill(v.Index(i), depth-1)
		}
	case reflect.Array:
		for i := 0; f.IntN(2) == 0 && i < v.Len(); i++ {
			f.fill(v.Index(i), depth)
		}
	case reflect.String:
		v.SetString(f.text(300))
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(f.number() & (1<<v.Type().Bits() - 1))
	case reflect.Int32, reflect.Int64, reflect.Int:
		n := int64(f.number())
		v.SetInt(n << (64 - v.Type().Bits()) >> (64 - v.Type().Bits()))
	default:
		panic("the filler does not know " + v.Type().String())
	}
}

func (f filler) number() uint64 {
	if f.IntN(3) == 0 {
		return 0
	}
	return f.Uint64()>>f.IntN(64) + uint64(f.IntN(3)) - 1
}

func (f filler) text(most int) string {
	if f.IntN(3) == 0 {
		return ""
	}
	return fmt.Sprintf("%0*d井", f.IntN(most), 7)
}

// TestAppended encodes random values both ways.
func TestAppended(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(1, 2))}
	for range 300 {
		body := new(Body)
		f.fill(reflect.ValueOf(body).Elem(), 5)
		for i := range body.Operations {
			if f.IntN(8) > 0 {
				var o Operation
				o.Allocate = new(Allocate)
				f.fill(reflect.ValueOf(o.Allocate).Elem(), 5)
				body.Operations[i] = o
			}
		}
		values := []any{body, new(Record), new(Alias), new(Tx), f.number()}
		for _, v := range values {
			if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && v != any(body) {
				f.fill(p.Elem(), 5)
			}
			want, err := encMode.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := appended(v)
			if !ok && (v != any(body) || body.plain()) {
				t.Fatalf("%T is not encoded without reflection", v)
			}
			if ok && !bytes.Equal(got, want) {
				t.Fatalf("%#v\n got %x\nwant %x", v, got, want)
			}
		}
	}
	for _, v := range []any{(*Record)(nil), (*Alias)(nil), (*Body)(nil), (*Tx)(nil)} {
		if got := MustMarshal(v); !bytes.Equal(got, []byte{0xf6}) {
			t.Errorf("nil %T is encoded as %x", v, got)
		}
	}
}

// scanSeeds are transactions that scanTx knows, and some beside them.
func scanSeeds() [][]byte {
	location := &Location{Lat: -380_454_740, Lon: 1_145_024_610}
	full := Allocation{
		Code: MustParse("MA.156.1301.01/20.010501/000001"), Parent: MustParse("MA.156.1301.01/20.010501"), Kind: KindObject, Reserved: true,
		Content: Content{Names: NamesOf(map[string]string{"zh": "路灯", "en": "Lamp post"}), Location: location},
		Aliases: []Alias{{Scheme: "asset", Value: "LD-1", From: 1, Until: 70_000}, {Scheme: "asset", Value: "LD-2"}},
	}
	sealed := Allocation{Code: full.Code, Kind: KindObject, Sealed: Digest{1}}
	policy := Allocation{Code: full.Code, Kind: KindCity, Policy: &Policy{Threshold: 1, Members: []Member{{Code: full.Parent}}}}
	links := Allocation{Code: full.Code, Kind: KindObject, Content: Content{Links: []Link{{Rel: "self", Href: "https://a.example/"}}}}
	var seeds [][]byte
	for _, items := range [][]Allocation{{full}, {full, sealed, full}, {policy}, {links}, {}, {{Code: full.Code}}, {{}}} {
		for _, memo := range []string{"", "memo"} {
			body := Body{Chain: "c-1", Signers: []PublicKey{"\x01abc", "\x01abd"}, Expires: 1_800_000_000, Operations: []Operation{{Allocate: &Allocate{Items: items}}}, Memo: memo}
			seeds = append(seeds, MustMarshal(&Tx{Body: MustMarshal(&body), Signatures: []Bytes{make([]byte, 64), make([]byte, 64)}}))
		}
	}
	return seeds
}

// checkScan requires of an encoding that scanTx accepts that the other decoder
// accepts it, with the same result. It reports whether scanTx does.
func checkScan(t *testing.T, raw []byte) bool {
	tx, body, ok := scanTx(raw)
	if !ok {
		return false
	}
	var want Tx
	if err := Unmarshal(raw, &want); err != nil {
		t.Fatalf("%x is scanned as a transaction: %v", raw, err)
	}
	var wantBody Body
	if err := Unmarshal(want.Body, &wantBody); err != nil {
		t.Fatalf("%x is scanned as a body: %v", want.Body, err)
	}
	if !reflect.DeepEqual(tx, &want) || !reflect.DeepEqual(body, &wantBody) {
		t.Fatalf("%x: scanned as\n%+v\n%+v\nwant\n%+v\n%+v", raw, tx, body, &want, &wantBody)
	}
	if again := MustMarshal(tx); !bytes.Equal(again, raw) {
		t.Fatalf("%x is encoded again as %x", raw, again)
	}
	if again := MustMarshal(body); !bytes.Equal(again, tx.Body) {
		t.Fatalf("%x is encoded again as %x", tx.Body, again)
	}
	return true
}

// TestScanTx changes each octet of some transactions, and cuts them everywhere.
func TestScanTx(t *testing.T) {
	known, changed := 0, 0
	for _, raw := range scanSeeds() {
		if checkScan(t, raw) {
			known++
		}
		for i := range raw {
			checkScan(t, raw[:i])
			for _, c := range []byte{0, 1, raw[i] - 1, raw[i] + 1, raw[i] ^ 0x20, raw[i] ^ 0x80, 0x18, 0xff} {
				other := bytes.Clone(raw)
				other[i] = c
				if checkScan(t, other) {
					changed++
				}
			}
			checkScan(t, append(bytes.Clone(raw[:i]), raw[min(i+1, len(raw)):]...))
			checkScan(t, append(append(bytes.Clone(raw[:i]), 0x00), raw[i:]...))
		}
	}
	if known != 6 || changed < 1000 {
		t.Errorf("%d seeds are scanned, and %d of those with another octet: want 6, and more than 1000", known, changed)
	}
}

func FuzzScanTx(f *testing.F) {
	for _, raw := range scanSeeds() {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkScan(t, raw) })
}
