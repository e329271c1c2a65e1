// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"cityid"
	"cityid/merkle"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

func fill(b byte) cityid.Digest { return cityid.Digest(bytes.Repeat([]byte{b}, 32)) }

func goodReceipt() Receipt {
	return Receipt{
		Version: 1, Agreement: fill(1), Dataset: dataset, Provider: provider, Log: "gateway-1", Number: 17, Request: fill(2),
		Status: 200, Size: 1234, Content: fill(3), Time: 1767225600, Height: 4711,
	}
}

func TestReceipt(t *testing.T) {
	for what, c := range map[string]struct {
		good   bool
		change func(*Receipt)
	}{
		"a refusal without anything known": {true, func(r *Receipt) {
			r.Status, r.Agreement, r.Dataset, r.Request, r.Height = 403, cityid.Digest{}, cityid.Code{}, cityid.Digest{}, 0
		}},
		"an open dataset":       {true, func(r *Receipt) { r.Agreement = cityid.Digest{} }},
		"an unsigned request":   {true, func(r *Receipt) { r.Agreement, r.Request = cityid.Digest{}, cityid.Digest{} }},
		"the largest":           {true, func(r *Receipt) { r.Number, r.Size, r.Height, r.Status = MaxPosition, MaxAnswer, MaxPosition, 599 }},
		"another version":       {false, func(r *Receipt) { r.Version = 2 }},
		"no provider":           {false, func(r *Receipt) { r.Provider = cityid.Code{} }},
		"no log":                {false, func(r *Receipt) { r.Log = "" }},
		"a log in capitals":     {false, func(r *Receipt) { r.Log = "Main" }},
		"a long log":            {false, func(r *Receipt) { r.Log = strings.Repeat("a", 33) }},
		"number 0":              {false, func(r *Receipt) { r.Number = 0 }},
		"a number too far":      {false, func(r *Receipt) { r.Number = MaxPosition + 1 }},
		"status 199":            {false, func(r *Receipt) { r.Status = 199 }},
		"status 600":            {false, func(r *Receipt) { r.Status = 600 }},
		"too large":             {false, func(r *Receipt) { r.Size = MaxAnswer + 1 }},
		"no digest":             {false, func(r *Receipt) { r.Content = cityid.Digest{} }},
		"no time":               {false, func(r *Receipt) { r.Time = 0 }},
		"a time before 1970":    {false, func(r *Receipt) { r.Time = -1 }},
		"a time after 9999":     {false, func(r *Receipt) { r.Time = 253402300800 }},
		"a height too far":      {false, func(r *Receipt) { r.Height = MaxPosition + 1 }},
		"unsigned by agreement": {false, func(r *Receipt) { r.Request = cityid.Digest{} }},
		"data of no dataset":    {false, func(r *Receipt) { r.Dataset = cityid.Code{} }},
		"data by no state":      {false, func(r *Receipt) { r.Height = 0 }},
	} {
		r := goodReceipt()
		c.change(&r)
		b, err := r.Encode()
		if c.good {
			do(t, err)
			if back := ok(DecodeReceipt(b))(t); back != r {
				t.Errorf("%s: %+v became %+v", what, r, back)
			}
			continue
		}
		want(t, what, err, ErrInvalid)
		_, err = DecodeReceipt(cityid.MustMarshal(&r))
		want(t, what+", read", err, ErrInvalid)
	}
}

// TestLargest keeps the bounds in octets true to the bounds of the fields.
func TestLargest(t *testing.T) {
	long := cityid.MustParse("MA.156.1301/20.010203.A2345678901234567890/A2345678901234567890123.LA2345678901234567890.MA2345678901234567890")
	r := goodReceipt()
	r.Dataset, r.Provider, r.Log, r.Number, r.Size, r.Height, r.Time = long, long, strings.Repeat("a", cityid.MaxLogName), MaxPosition, MaxAnswer, MaxPosition, 253402300799
	b := ok(r.Encode())(t)
	if len(b) > MaxReceipt {
		t.Errorf("a receipt can have %d octets", len(b))
	}
	if n := len(cityid.MustMarshal(&Entry{bytes.Repeat([]byte{1}, MaxReceipt), fill(1)})); n > MaxEntry {
		t.Errorf("an entry can have %d octets", n)
	}
	a := Acknowledgement{Version: 1, Agreement: fill(1), Entries: make([]cityid.Digest, MaxAcknowledged), Time: 253402300799}
	if n := len(cityid.MustMarshal(&a)); n > MaxAcknowledgement {
		t.Errorf("an acknowledgement can have %d octets", n)
	}
	p := LeafProof{Entry: make([]byte, MaxEntry), Party: long, Log: strings.Repeat("a", cityid.MaxLogName), Sequence: MaxPosition, Index: cityid.MaxBatch, Size: cityid.MaxBatch, Path: make([]cityid.Digest, maxPath)}
	if n := len(cityid.MustMarshal(&p)); n > MaxLeafProof {
		t.Errorf("a proof can have %d octets", n)
	}
}

func TestEntry(t *testing.T) {
	r := goodReceipt()
	receipt := ok(r.Encode())(t)
	answer := message(t, "an answer")
	b := ok(EncodeEntry(receipt, answer))(t)
	e, back, err := DecodeEntry(b)
	do(t, err)
	if !bytes.Equal(e.Receipt, receipt) || back != r || e.Response != answer.Hash() {
		t.Errorf("%+v, %+v", e, back)
	}
	if h := sha256.Sum256(append(append([]byte("an answer"), 0), answer.Signature...)); answer.Hash() != h {
		t.Errorf("hash of a message: %v", answer.Hash())
	}
	for what, m := range map[string]Message{
		"no base":           {nil, answer.Signature},
		"no signature":      {answer.Base, nil},
		"a short signature": {answer.Base, answer.Signature[:63]},
		"a long base":       {bytes.Repeat([]byte("x"), MaxBase+1), answer.Signature},
		"an octet 0":        {[]byte("a\x00b"), answer.Signature},
	} {
		_, err := EncodeEntry(receipt, m)
		want(t, what, err, ErrInvalid)
	}
	_, err = EncodeEntry(receipt[1:], answer)
	want(t, "half a receipt", err, ErrInvalid)
	for what, b := range map[string][]byte{
		"no answer":      cityid.MustMarshal(&Entry{receipt, cityid.Digest{}}),
		"half a receipt": cityid.MustMarshal(&Entry{receipt[1:], fill(1)}),
		"trailing":       append(bytes.Clone(b), 0),
		"too long":       make([]byte, MaxEntry+1),
		"nothing":        nil,
	} {
		_, _, err := DecodeEntry(b)
		want(t, what, err, ErrInvalid)
	}
}

func TestAcknowledgement(t *testing.T) {
	list := []cityid.Digest{fill(9), fill(3), fill(9), fill(5)}
	a := NewAcknowledgement(fill(1), list, 1767225600)
	if len(a.Entries) != 3 || list[0] != fill(9) {
		t.Errorf("%v of %v", a.Entries, list)
	}
	back := ok(DecodeAcknowledgement(ok(a.Encode())(t)))(t)
	if len(back.Entries) != 3 || back.Agreement != a.Agreement || back.Time != a.Time {
		t.Errorf("%+v became %+v", a, back)
	}
	for what, change := range map[string]func(*Acknowledgement){
		"another version": func(a *Acknowledgement) { a.Version = 0 },
		"no agreement":    func(a *Acknowledgement) { a.Agreement = cityid.Digest{} },
		"no entries":      func(a *Acknowledgement) { a.Entries = nil },
		"descending":      func(a *Acknowledgement) { a.Entries = []cityid.Digest{fill(2), fill(1)} },
		"twice":           func(a *Acknowledgement) { a.Entries = []cityid.Digest{fill(1), fill(1)} },
		"no time":         func(a *Acknowledgement) { a.Time = 0 },
		"257": func(a *Acknowledgement) {
			a.Entries = nil
			for i := range 257 {
				a.Entries = append(a.Entries, cityid.Digest{byte(i >> 8), byte(i)})
			}
		},
	} {
		a := NewAcknowledgement(fill(1), list, 1767225600)
		change(&a)
		_, err := a.Encode()
		want(t, what, err, ErrInvalid)
		_, err = DecodeAcknowledgement(cityid.MustMarshal(&a))
		want(t, what+", read", err, ErrInvalid)
	}
}

func TestSizeBucket(t *testing.T) {
	for n, b := range map[uint64]uint8{0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 8: 3, 9: 4, 10000: 14, cityid.MaxBatch: 20, cityid.MaxBatch + 1: 21} {
		if got := SizeBucket(n); got != b {
			t.Errorf("bucket of %d is %d, want %d", n, got, b)
		}
	}
}

// exampleProofs returns proofs for all leaves of a batch.
func exampleProofs(t testing.TB, leaves int) []LeafProof {
	t.Helper()
	var hashes []merkle.Hash
	var list []LeafProof
	for i := range leaves {
		r := goodReceipt()
		r.Number = uint64(i + 1)
		p := LeafProof{
			Salt: fill(byte(i)), Entry: ok(EncodeEntry(ok(r.Encode())(t), message(t, "an answer")))(t), Party: provider, Log: "gateway-1", Sequence: 3,
			Index: uint64(i), Size: uint64(leaves),
		}
		hashes, list = append(hashes, LeafHash(p.Salt, p.Entry)), append(list, p)
	}
	tree := newBatchTree(1, hashes)
	var log merkle.Log
	for _, h := range hashes {
		log.Append(h, nil)
	}
	for i := range list {
		list[i].Root, list[i].Path = BatchRoot(log.Root(), log.Size()), []cityid.Digest{}
		for _, h := range ok(merkle.ProveInclusion(uint64(i), uint64(leaves), tree.read))(t) {
			list[i].Path = append(list[i].Path, cityid.Digest(h))
		}
	}
	return list
}

func TestLeafProof(t *testing.T) {
	for _, p := range exampleProofs(t, 5) {
		back, _, r, err := DecodeLeafProof(ok(p.Encode())(t))
		do(t, err)
		if r.Number != p.Index+1 || back.Root != p.Root {
			t.Errorf("leaf %d: receipt %d", p.Index, r.Number)
		}
		anchor := cityid.Anchor{Party: p.Party, Log: p.Log, Sequence: p.Sequence, Root: p.Root, Bucket: 3}
		do(t, CheckAnchor(&p, &anchor))
		for what, change := range map[string]func(*cityid.Anchor){
			"another party's":   func(a *cityid.Anchor) { a.Party = consumer },
			"another log's":     func(a *cityid.Anchor) { a.Log = "other" },
			"another batch's":   func(a *cityid.Anchor) { a.Sequence++ },
			"with another root": func(a *cityid.Anchor) { a.Root[0] ^= 1 },
			"of another size":   func(a *cityid.Anchor) { a.Bucket++ },
		} {
			anchor := anchor
			change(&anchor)
			want(t, what, CheckAnchor(&p, &anchor), ErrInvalid)
		}
		for what, change := range map[string]func(*LeafProof){
			"another salt":     func(p *LeafProof) { p.Salt[31] ^= 1 },
			"another entry":    func(p *LeafProof) { p.Entry = bytes.Clone(p.Entry); p.Entry[len(p.Entry)-1] ^= 1 },
			"another index":    func(p *LeafProof) { p.Index = (p.Index + 1) % p.Size },
			"another size":     func(p *LeafProof) { p.Size = 9 },
			"beyond the size":  func(p *LeafProof) { p.Index = p.Size },
			"no leaves":        func(p *LeafProof) { p.Size = 0 },
			"too many leaves":  func(p *LeafProof) { p.Size = cityid.MaxBatch + 1 },
			"another root":     func(p *LeafProof) { p.Root[0] ^= 1 },
			"another path":     func(p *LeafProof) { p.Path = append([]cityid.Digest{{1}}, p.Path[1:]...) },
			"a longer path":    func(p *LeafProof) { p.Path = append(p.Path[:len(p.Path):len(p.Path)], fill(1)) },
			"no party":         func(p *LeafProof) { p.Party = cityid.Code{} },
			"no log":           func(p *LeafProof) { p.Log = "" },
			"sequence 0":       func(p *LeafProof) { p.Sequence = 0 },
			"an endless path":  func(p *LeafProof) { p.Path = make([]cityid.Digest, maxPath+1) },
			"no entry":         func(p *LeafProof) { p.Entry = nil },
			"too far sequence": func(p *LeafProof) { p.Sequence = MaxPosition + 1 },
		} {
			p := p
			change(&p)
			_, _, err := CheckLeaf(&p)
			want(t, what, err, ErrInvalid)
		}
	}
}

// vector is an encoding with its verdict, for other implementations.
type vector struct {
	Name  string          `json:"name"`
	Kind  string          `json:"kind"` // receipt, entry, acknowledgement, leaf-proof
	Bytes string          `json:"bytes"`
	Hash  string          `json:"hash,omitempty"`  // of an entry
	Value json.RawMessage `json:"value,omitempty"` // none: it must be refused
}

func vectors(t *testing.T) []vector {
	var list []vector
	add := func(name, kind string, b []byte, v any) {
		x := vector{Name: name, Kind: kind, Bytes: hex.EncodeToString(b)}
		if v != nil {
			x.Value = ok(json.Marshal(v))(t)
		}
		if h := EntryHash(b); kind == "entry" && v != nil {
			x.Hash = h.String()
		}
		list = append(list, x)
	}
	r := goodReceipt()
	receipt := ok(r.Encode())(t)
	add("data under an agreement", "receipt", receipt, &r)
	open := r
	open.Agreement, open.Request = cityid.Digest{}, cityid.Digest{}
	add("data of an open dataset, to an unsigned request", "receipt", ok(open.Encode())(t), &open)
	refusal := Receipt{Version: 1, Provider: provider, Log: "a", Number: 1, Status: 403, Content: sha256.Sum256(nil), Time: 1767225600}
	add("a refusal that led to nothing", "receipt", ok(refusal.Encode())(t), &refusal)
	bad := r
	bad.Number = 0
	add("number 0", "receipt", cityid.MustMarshal(&bad), nil)
	add("one octet more", "receipt", append(bytes.Clone(receipt), 0), nil)
	add("an unknown field", "receipt", append(append([]byte{receipt[0] + 1}, receipt[1:]...), 0x0d, 0x00), nil)
	long := append([]byte{receipt[0], 1, 0x18, 1}, receipt[3:]...)
	add("version 1 in two octets", "receipt", long, nil)
	entry := ok(EncodeEntry(receipt, message(t, "an answer")))(t)
	e, _, err := DecodeEntry(entry)
	do(t, err)
	add("an entry", "entry", entry, &e)
	add("half a receipt in an entry", "entry", cityid.MustMarshal(&Entry{receipt[:40], e.Response}), nil)
	a := NewAcknowledgement(fill(1), []cityid.Digest{fill(5), fill(4)}, 1767225600)
	add("two entries", "acknowledgement", ok(a.Encode())(t), &a)
	a.Entries[0], a.Entries[1] = a.Entries[1], a.Entries[0]
	add("two entries in descending order", "acknowledgement", cityid.MustMarshal(&a), nil)
	for _, p := range exampleProofs(t, 5) {
		add("leaf "+string('0'+byte(p.Index))+" of 5", "leaf-proof", ok(p.Encode())(t), &p)
		p.Salt[0] ^= 1
		add("another salt", "leaf-proof", cityid.MustMarshal(&p), nil)
	}
	single := exampleProofs(t, 1)[0]
	add("leaf 0 of 1", "leaf-proof", ok(single.Encode())(t), &single)
	return list
}

// TestVectors holds the code against testdata/vectors.json, and that against the
// code. go test -run TestVectors -update ./internal/ledger writes it anew.
func TestVectors(t *testing.T) {
	const path = "testdata/vectors.json"
	text := append(ok(json.MarshalIndent(vectors(t), "", "  "))(t), '\n')
	if *update {
		do(t, os.MkdirAll("testdata", 0o755))
		do(t, os.WriteFile(path, text, 0o644))
	}
	stored := ok(os.ReadFile(path))(t)
	if !bytes.Equal(stored, text) {
		t.Errorf("%s is not what the code gives: read the difference after -update", path)
	}
	var list []vector
	do(t, json.Unmarshal(stored, &list))
	for _, v := range list {
		b := ok(hex.DecodeString(v.Bytes))(t)
		value, err := readVector(v.Kind, b)
		if (err == nil) != (v.Value != nil) {
			t.Errorf("%s, %s: %v", v.Kind, v.Name, err)
		}
		if err != nil {
			continue
		}
		var compact bytes.Buffer
		do(t, json.Compact(&compact, v.Value))
		if got := ok(json.Marshal(value))(t); !bytes.Equal(got, compact.Bytes()) {
			t.Errorf("%s, %s: %s", v.Kind, v.Name, got)
		}
		if h := EntryHash(b); v.Kind == "entry" && h.String() != v.Hash {
			t.Errorf("%s: hash %v", v.Name, h)
		}
	}
}

func readVector(kind string, b []byte) (any, error) {
	switch kind {
	case "receipt":
		v, err := DecodeReceipt(b)
		return &v, err
	case "entry":
		v, _, err := DecodeEntry(b)
		return &v, err
	case "acknowledgement":
		v, err := DecodeAcknowledgement(b)
		return &v, err
	default:
		v, _, _, err := DecodeLeafProof(b)
		return &v, err
	}
}

// FuzzDecode feeds the decoders: what they take they would have written.
func FuzzDecode(f *testing.F) {
	r := goodReceipt()
	receipt, err := r.Encode()
	do(f, err)
	f.Add(receipt)
	entry := ok(EncodeEntry(receipt, message(f, "an answer")))(f)
	f.Add(entry)
	a := NewAcknowledgement(fill(1), []cityid.Digest{fill(5), fill(4)}, 1767225600)
	f.Add(ok(a.Encode())(f))
	for _, p := range exampleProofs(f, 3) {
		f.Add(ok(p.Encode())(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []string{"receipt", "entry", "acknowledgement", "leaf-proof"} {
			v, err := readVector(kind, b)
			if err != nil {
				want(t, kind, err, ErrInvalid)
				continue
			}
			if again := cityid.MustMarshal(v); !bytes.Equal(again, b) {
				t.Errorf("%s %x is written %x", kind, b, again)
			}
		}
	})
}

// TestLeafProofSize changes the number of leaves that a proof names: a path that
// fits several trees leads to one root alone.
func TestLeafProofSize(t *testing.T) {
	for n := 2; n <= 9; n++ {
		for _, p := range exampleProofs(t, n) {
			for size := uint64(1); size <= 16; size++ {
				changed := p
				changed.Size = size
				if _, _, err := CheckLeaf(&changed); (err == nil) != (size == p.Size) {
					t.Errorf("leaf %d of %d as one of %d: %v", p.Index, p.Size, size, err)
				}
			}
		}
	}
}
