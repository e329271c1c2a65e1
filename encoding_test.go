// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cityid/keys"
)

// sampleKey returns a public key that is well formed as far as this package
// looks.
func sampleKey(n byte) PublicKey {
	return PublicKey("\x01" + strings.Repeat(string(rune('a'+n%26)), 32))
}

func samplePasskey(n byte, rpID string) PublicKey {
	origin := "https://" + rpID
	b := append([]byte{3}, bytes.Repeat([]byte{n}, 33)...)
	b = append(append(b, byte(len(rpID))), rpID...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(origin)))
	return PublicKey(append(b, origin...))
}

func samplePolicy() *Policy {
	return &Policy{Threshold: 2, Members: []Member{
		{Keys: []Key{{Public: sampleKey(1), Roles: RoleControl | RoleAssert, From: 5, Until: 900, Compromised: 800}, {Public: sampleKey(2), Roles: RoleIntake}}},
		{Code: MustParse("MA.156.9001")},
	}}
}

func sampleContent() Content {
	return Content{
		Names: Names{{Lang: "en", Text: "Shijiazhuang"}, {Lang: "zh", Text: "石家庄市"}},
		Links: []Link{{Rel: "about", Href: "https://a.example.cn/", Type: "text/html", Hreflang: []string{"zh"}, Title: "主页"}},
		Hosts: []string{"*.example.cn"}, Location: &Location{Lat: 380454740, Lon: -1145024610},
		Documents: []Document{{Label: "letter", Digest: Digest{1}}},
	}
}

func sampleAllocation() Allocation {
	return Allocation{
		Code: MustParse("MA.156.1301"), Parent: MustParse("MA.156"), Kind: KindCity, Reserved: true, Content: sampleContent(),
		Aliases: []Alias{{Scheme: "gb2260", Value: "130100", From: 1, Until: 2}}, Policy: samplePolicy(), Recovery: samplePolicy(),
	}
}

func sampleOperations() []Operation {
	c, d := MustParse("MA.156.1301"), Digest{7}
	return []Operation{
		{Apply: &Apply{Allocation: sampleAllocation(), Possessions: []Possession{{Key: sampleKey(1), Signature: Bytes("sig")}}, Evidence: []Digest{d}}},
		{Revise: &Revise{Proposal: 1, Revision: 2, Operations: []Operation{{Amend: &Amend{Code: c, Revision: 1}}}}},
		{Return: &Return{Proposal: 1, Digest: d, Note: "more"}},
		{Propose: &Propose{Operations: []Operation{{Veto: &Veto{Code: c, Override: true}}}, Expires: 9, Note: "n"}},
		{Approve: &Approve{Proposal: 1, Digest: d}},
		{Reject: &Reject{Proposal: 1, Digest: d, Note: "no"}},
		{Withdraw: &Withdraw{Source: c, Digest: d}},
		{Allocate: &Allocate{Items: []Allocation{sampleAllocation(), {Code: c, Kind: KindObject, Sealed: d}}}},
		{Amend: &Amend{Code: c, Revision: 1, Content: sampleContent()}},
		{SetStatus: &SetStatus{Code: c, Revision: 1, Status: StatusRetired, Reason: ReasonMerged, Note: "n", Heir: c, Successors: []Code{c}}},
		{Rekey: &Rekey{Code: c, Revision: 1, Policy: samplePolicy()}},
		{Veto: &Veto{Code: c}},
		{Map: &Map{Code: c, Revision: 1, Alias: Alias{Scheme: "house", Value: "1"}, Remove: true}},
		{Attest: &Attest{Source: c, Digest: d, Size: 1 << 40, Label: "report"}},
		{Seal: &Seal{Code: c, Revision: 1, Sealed: d}},
		{Unseal: &Unseal{Code: c, Revision: 1, Salt: d, Content: sampleContent()}},
		{AgreementRequest: &AgreementRequest{Terms: Terms{
			Dataset: c, Consumer: c, Document: d, From: 1, Until: 3, Staleness: 30, Requests: 1, Octets: 2, Purpose: d, Respond: 2, Nonce: Nonce{1},
		}}},
		{AgreementGrant: &AgreementDecision{Dataset: c, Agreement: d}},
		{AgreementRefuse: &AgreementDecision{Dataset: c, Agreement: d, Note: "not yet"}},
		{AgreementRevoke: &AgreementDecision{Dataset: c, Agreement: d}},
		{AnchorReceipts: &AnchorReceipts{Party: c, Log: "gw-1", Sequence: 1, Root: d, Bucket: 3}},
		{SetParams: &SetParams{Revision: 1, Params: &DefaultParams, Rule: sampleRule(), Schemes: []Scheme{*sampleScheme()}}},
		{SetValidators: &SetValidators{Revision: 1, Validators: []Validator{{Key: sampleKey(3), Power: 10, Owner: c}}}},
		{SetTrust: &SetTrust{Trust: *sampleTrust()}},
		{SetUpgrade: &SetUpgrade{Revision: 1, Plan: &Upgrade{Version: 2, Height: 9000, Release: "cityid 2", Href: "https://example.cn/notes", Digest: Digest{3}}}},
		{Delegate: &Delegate{Code: c, Revision: 1, Delegation: *sampleDelegation(), Checkpoint: sampleCheckpoint()}},
		{Checkpoint: &PostCheckpoint{Zone: c, Descent: sampleDescent(), Consistency: Bytes("c"),
			Log: LogDescent{First: 1, Size: 9, Proof: Bytes("p"), Path: Bytes("q"), Root: d}}},
		{ReportFork: &ReportFork{Zone: c, One: sampleDescent(), Other: &Descent{Head: LightBlock{Header: Bytes("h"), Commit: Bytes("k")}}}},
		{Unfreeze: &Unfreeze{Zone: c, Fork: 12, Checkpoint: *sampleCheckpoint()}},
		{Follow: &Follow{Descent: sampleDescent(), Record: Bytes("r"), Proof: Bytes("p")}},
	}
}

func sampleDelegation() *Delegation {
	return &Delegation{Chain: "cn-1301-x7", Genesis: Digest{8}, Places: true, Endpoints: []string{"https://id.example.cn"}}
}

func sampleCheckpoint() *Checkpoint {
	return &Checkpoint{Height: 12, Time: 9, Header: Digest{1}, Next: Digest{2}, Validators: Digest{3}, Log: BlockLog{First: 1, Size: 9, Root: Digest{4}}}
}

func sampleDescent() Descent {
	block := LightBlock{Header: Bytes("h"), Validators: Bytes("v"), Commit: Bytes("k")}
	return Descent{Validators: Bytes("v"), Transitions: []LightBlock{block}, Head: block}
}

func sampleRule() *Rule {
	return &Rule{
		Kinds: []KindRule{{Kind: KindCity, Parents: []Kind{KindAuthority}, Patterns: []string{"####"}, Sequence: true, Schemes: []string{"gb2260"},
			Languages: []string{"zh"}, Evidence: 1, PreApprover: 2, Apex: true, Quota: 3}},
		Classes: []ClassRule{{Prefix: "20", Disclosure: DisclosureCoarse}},
	}
}

func sampleScheme() *Scheme {
	return &Scheme{Name: "gb2260", Titles: Names{{Lang: "en", Text: "division codes"}}, Owner: MustParse("MA.156"), Patterns: []string{"######"}}
}

func sampleTrust() *Trust {
	return &Trust{
		Statement: TrustStatement{
			Version: 2, Zone: MustParse("MA.156"), Chain: "cn-root-7k2m", Height: 9, Header: Digest{1}, Time: 10, Prev: Digest{2},
			Validators: []TrustPower{{Key: sampleKey(1), Power: 10}},
			Quorum: Quorum{Threshold: 1, Members: []QuorumMember{{Keys: []PublicKey{sampleKey(1)}},
				{Code: MustParse("MA.156.9001"), Quorum: &Quorum{Threshold: 1, Members: []QuorumMember{{Keys: []PublicKey{sampleKey(2)}}}}}}},
		},
		Signatures: []KeySignature{{Key: sampleKey(1), Signature: Bytes("signature")}},
	}
}

// samples holds one value of each type that is stored, hashed or signed, with
// every field set.
func samples() []any {
	vote := Vote{Key: sampleKey(1), Time: 3, Note: "yes"}
	change := Change{Chain: "cn-root-7k2m", Height: 3, Time: 4}
	c := MustParse("MA.156.1301")
	return []any{
		&Record{Code: c, Parent: MustParse("MA.156"), Kind: KindCity, Status: StatusRetired, Revision: 2, Prev: Digest{1}, Changed: change,
			Content: sampleContent(), Aliases: []Alias{{Scheme: "gb2260", Value: "130100"}}, Policy: samplePolicy(), PolicySince: 5,
			Recovery: samplePolicy(), Reason: ReasonMerged, Note: "n", Heir: c, Successors: []Code{c}},
		&Record{Code: c, Kind: KindObject, Status: StatusActive, Revision: 1, Changed: change, Sealed: Digest{4}},
		&Body{Chain: "cn-root-7k2m", Signers: []PublicKey{sampleKey(1), sampleKey(2)}, Expires: 100, Operations: sampleOperations(), Memo: "m"},
		&Tx{Body: Bytes("body"), Signatures: []Bytes{Bytes("one"), Bytes("two")}},
		&Proposal{Number: 1, Revision: 2, State: ProposalReturned, Operations: sampleOperations()[7:9], Targets: []Target{{Code: c, Revision: 1}},
			Policies: Digest{3}, Expires: 9, Created: 1, Edited: 2, Proposer: []PublicKey{sampleKey(1)}, Member: c,
			Possessions: []Possession{{Key: sampleKey(1), Signature: Bytes("s")}}, Evidence: []Digest{{1}}, Approvals: []Vote{vote}, Rejections: []Vote{vote}, Note: "n"},
		&Waiting{Code: c, Rekey: &Rekey{Code: c, Revision: 1, Policy: samplePolicy()}, Started: 1, Effective: 2, Vetoed: true, Overruled: true},
		&Waiting{Code: c, Retire: &SetStatus{Code: c, Revision: 1, Status: StatusRetired, Reason: ReasonClosed}, Started: 1, Effective: 2},
		&Attestation{Source: c, Digest: Digest{1}, Size: 3, Label: "l", Key: sampleKey(1), Changed: change, Withdrawn: 5},
		sampleRule(), sampleScheme(), sampleTrust(), &Params{Revision: 1, TxLifetime: 600, ServiceLevel: 5},
		&ValidatorSet{Revision: 1, Validators: []Validator{{Key: sampleKey(1), Power: 1}}, Changed: 7},
		&Counters{Proposals: 1, Trust: 2, Applications: 3}, &BlockLog{First: 1, Size: 2, Root: Digest{3}},
		&Ruleset{Revision: 2, Version: 3, Since: 4, Plan: &Upgrade{Version: 4, Height: 5, Release: "r", Href: "https://example.cn/", Digest: Digest{6}}},
		&Recent{Expires: 1, IDs: []Digest{{1}, {2}}},
	}
}

func TestEncodingRoundTrip(t *testing.T) {
	for _, v := range samples() {
		data := MustMarshal(v)
		out := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := Unmarshal(data, out); err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		if !reflect.DeepEqual(v, out) {
			t.Errorf("%T comes back as\n%+v, not\n%+v", v, out, v)
		}
		trusted := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := UnmarshalTrusted(data, trusted); err != nil || !reflect.DeepEqual(v, trusted) {
			t.Errorf("%T: trusted: %v", v, err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		back := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(text, back); err != nil || !bytes.Equal(MustMarshal(back), data) {
			t.Errorf("%T does not come back from %s: %v", v, text, err)
		}
	}
}

// item is a CBOR data item as the test reads and miswrites it.
type item struct {
	major  byte
	n      uint64
	data   []byte  // of strings
	within []*item // of arrays, and of maps keys and values in turn
}

func readItem(t *testing.T, b []byte) (*item, []byte) {
	t.Helper()
	it := &item{major: b[0] >> 5}
	low := b[0] & 31
	b = b[1:]
	switch {
	case low < 24:
		it.n = uint64(low)
	default:
		size := 1 << (low - 24)
		for _, x := range b[:size] {
			it.n = it.n<<8 | uint64(x)
		}
		b = b[size:]
	}
	count := 0
	switch it.major {
	case 2, 3:
		it.data, b = b[:it.n], b[it.n:]
	case 4:
		count = int(it.n)
	case 5:
		count = 2 * int(it.n)
	}
	for range count {
		var in *item
		in, b = readItem(t, b)
		it.within = append(it.within, in)
	}
	return it, b
}

func head(major byte, n uint64) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 1<<8:
		return []byte{major<<5 | 24, byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
	}
	return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, n)
}

// write encodes the item; wrong, if it knows how to miswrite the item given,
// says so instead.
func (it *item) write(wrong func(*item) []byte) []byte {
	if b := wrong(it); b != nil {
		return b
	}
	b := append(head(it.major, it.n), it.data...)
	for _, in := range it.within {
		b = append(b, in.write(wrong)...)
	}
	return b
}

func right(*item) []byte { return nil }

// miswritings are ways to write one item that are CBOR, say the same to a
// lenient reader or nearly so, and are not the one encoding.
var miswritings = map[string]func(it *item) []byte{
	"head longer than need be": func(it *item) []byte {
		out := it.write(right)
		return append(binary.BigEndian.AppendUint64([]byte{it.major<<5 | 27}, it.n), out[len(head(it.major, it.n)):]...)
	},
	"tag around": func(it *item) []byte { return append([]byte{0xd8, 55}, it.write(right)...) },
	"indefinite length": func(it *item) []byte {
		switch it.major {
		case 2, 3:
			return append(append([]byte{it.major<<5 | 31}, it.write(right)...), 0xff)
		case 4, 5:
			out := it.write(right)
			return append(append([]byte{it.major<<5 | 31}, out[len(head(it.major, it.n)):]...), 0xff)
		}
		return nil
	},
	"integer as float": func(it *item) []byte {
		if it.major != 0 || it.n > 2048 {
			return nil
		}
		return append([]byte{0xfa}, float32bits(float32(it.n))...)
	},
	"null in its place":      func(*item) []byte { return []byte{0xf6} },
	"undefined in its place": func(*item) []byte { return []byte{0xf7} },
	"entries the other way round": func(it *item) []byte {
		if it.major != 5 || len(it.within) < 4 {
			return nil
		}
		out := head(5, it.n)
		for i := len(it.within) - 2; i >= 0; i -= 2 {
			out = append(append(out, it.within[i].write(right)...), it.within[i+1].write(right)...)
		}
		return out
	},
	"entry twice": func(it *item) []byte {
		if it.major != 5 || len(it.within) < 2 {
			return nil
		}
		out := it.write(right)
		last := append(it.within[len(it.within)-2].write(right), it.within[len(it.within)-1].write(right)...)
		return append(append(head(5, it.n+1), out[len(head(5, it.n)):]...), last...)
	},
	"entry unknown": func(it *item) []byte {
		if it.major != 5 {
			return nil
		}
		out := it.write(right)
		return append(append(head(5, it.n+1), out[len(head(5, it.n)):]...), 0x18, 200, 0x01)
	},
	"text as bytes or bytes as text": func(it *item) []byte {
		if it.major != 2 && it.major != 3 {
			return nil
		}
		return append(head(it.major^1, it.n), it.data...)
	},
	"text that is not UTF-8": func(it *item) []byte {
		if it.major != 3 || it.n == 0 {
			return nil
		}
		return append(head(3, it.n), bytes.Repeat([]byte{0xff}, int(it.n))...)
	},
	"digest cut short": func(it *item) []byte {
		if it.major != 2 || it.n != 32 {
			return nil
		}
		return append(head(2, 31), it.data[:31]...)
	},
	"digest too long": func(it *item) []byte {
		if it.major != 2 || it.n != 32 {
			return nil
		}
		return append(append(head(2, 33), it.data...), 0)
	},
	"negative": func(it *item) []byte {
		if it.major != 0 {
			return nil
		}
		return head(1, it.n)
	},
}

// mayPass are the miswritings that can give another valid value: a time or a
// power may be below zero as far as the encoding goes.
var mayPass = map[string]bool{"negative": true}

func float32bits(f float32) []byte {
	var b [4]byte
	if _, err := binary.Encode(b[:], binary.BigEndian, f); err != nil {
		panic(err)
	}
	return b[:]
}

// TestNotCanonical miswrites every item of every sample in every way.
func TestNotCanonical(t *testing.T) {
	tried := 0
	for _, v := range samples() {
		data := MustMarshal(v)
		top, rest := readItem(t, data)
		if len(rest) > 0 || !bytes.Equal(top.write(right), data) {
			t.Fatalf("%T: the test does not read CBOR", v)
		}
		var all []*item
		var walk func(*item)
		walk = func(it *item) {
			all = append(all, it)
			for _, in := range it.within {
				walk(in)
			}
		}
		walk(top)
		for name, wrong := range miswritings {
			for i, it := range all {
				bad := wrong(it)
				if bad == nil {
					continue
				}
				whole := top.write(func(x *item) []byte {
					if x == it {
						return bad
					}
					return nil
				})
				if bytes.Equal(whole, data) {
					continue
				}
				tried++
				out := reflect.New(reflect.TypeOf(v).Elem()).Interface()
				if err := Unmarshal(whole, out); err == nil && !(mayPass[name] && bytes.Equal(MustMarshal(out), whole)) {
					t.Errorf("%T: item %d with %s is accepted: %x", v, i, name, whole)
				}
			}
		}
		for _, whole := range [][]byte{nil, data[:len(data)-1], append(slices.Clone(data), 0), append(slices.Clone(data), data...)} {
			out := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := Unmarshal(whole, out); err == nil {
				t.Errorf("%T: %d octets instead of %d are accepted", v, len(whole), len(data))
			}
		}
	}
	if tried < 5000 {
		t.Errorf("only %d miswritings", tried)
	}
}

// TestZeroFields: an optional field that says nothing is left out.
func TestZeroFields(t *testing.T) {
	got := MustMarshal(&Approve{})
	if want := append([]byte{0xa2, 1, 0, 2, 0x58, 32}, make([]byte, 32)...); !bytes.Equal(got, want) {
		t.Errorf("approve: %x, want %x", got, want)
	}
	withNote := append(slices.Clone(MustMarshal(&Veto{Code: MustParse("MA")})), 0x02, 0xf4)
	withNote[0] = 0xa2
	if err := Unmarshal(withNote, &Veto{}); err == nil {
		t.Error("a field that is false is accepted")
	}
}

func FuzzUnmarshal(f *testing.F) {
	list := samples()
	for i, v := range list {
		f.Add(uint8(i), MustMarshal(v))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		typ := reflect.TypeOf(list[int(which)%len(list)]).Elem()
		v := reflect.New(typ).Interface()
		if err := Unmarshal(data, v); err != nil {
			return
		}
		again := reflect.New(typ).Interface()
		if err := Unmarshal(MustMarshal(v), again); err != nil || !reflect.DeepEqual(v, again) {
			t.Errorf("%T: %v", v, err)
		}
		if r, ok := v.(*Record); ok && r.Content.Check() == nil {
			if text, err := json.Marshal(r.Content); err != nil {
				t.Error(err)
			} else if c := new(Content); json.Unmarshal(text, c) != nil || !bytes.Equal(MustMarshal(c), MustMarshal(r.Content)) {
				t.Errorf("content does not come back from %s", text)
			}
		}
	})
}

func FuzzDecodeTx(f *testing.F) {
	b := Body{Chain: "c", Signers: []PublicKey{sampleKey(1)}, Expires: 9, Operations: sampleOperations()}
	body := MustMarshal(&b)
	f.Add(MustMarshal(&Tx{Body: body, Signatures: []Bytes{make(Bytes, 64)}}))
	f.Add(body)
	f.Fuzz(func(t *testing.T, data []byte) {
		if tx, body, err := DecodeTx(data); err == nil {
			if !bytes.Equal(MustMarshal(tx), data) || !bytes.Equal(MustMarshal(body), tx.Body) || body.Check() != nil {
				t.Error("a transaction has two encodings")
			}
		} else if CodeOf(err) == ErrInternal || len(err.Error()) > 2000 {
			t.Errorf("%.300v", err)
		}
		if body, err := DecodeBody(data); err == nil && !bytes.Equal(MustMarshal(body), data) {
			t.Error("a body has two encodings")
		}
	})
}

func TestDigestText(t *testing.T) {
	d := Digest{0xab, 31: 1}
	for _, bad := range []string{"", "ab", strings.ToUpper(d.String()), d.String() + "00", "g" + d.String()[1:]} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q is a digest", bad)
		}
	}
	if got, err := ParseDigest(d.String()); err != nil || got != d {
		t.Errorf("%v %v", got, err)
	}
}

func TestTimeText(t *testing.T) {
	for text, want := range map[string]Time{"": 0, "1970-01-01T00:00:01Z": 1, "2026-01-01T08:00:00+08:00": 1767225600, "9999-12-31T23:59:59Z": maxTime} {
		var got Time
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"1969-12-31T23:59:59Z", "2026-01-01", "now", "10000-01-01T00:00:00Z"} {
		var got Time
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is %d", bad, got)
		}
	}
}

// TestPublicKeyText: names, text forms and relying parties are those of package
// keys.
func TestPublicKeyText(t *testing.T) {
	for _, a := range []keys.Algorithm{keys.Ed25519, keys.P256, keys.WebAuthnP256, keys.X25519, keys.SM2} {
		if got := PublicKey([]byte{byte(a), 0}).Algorithm(); got != a.String() {
			t.Errorf("algorithm %d is %q here, %q there", a, got, a)
		}
		if got := PublicKey([]byte{byte(a), 0}).Signs(); got != a.CanSign() {
			t.Errorf("algorithm %s signs: %v", a, got)
		}
	}
	for _, unknown := range []PublicKey{"", "\x00", "\x06x", "\xffx"} {
		if unknown.Algorithm() != "" || unknown.Signs() || unknown.RPID() != "" {
			t.Errorf("%q has an algorithm", string(unknown))
		}
	}
	secret := bytes.Repeat([]byte{7}, 32)
	for _, a := range []keys.Algorithm{keys.Ed25519, keys.P256, keys.X25519} {
		k, err := keys.NewPrivate(a, secret)
		if err != nil {
			t.Fatal(err)
		}
		mine := PublicKey(k.Public().Raw())
		if mine.String() != k.Public().String() {
			t.Errorf("%s is %s here", k.Public(), mine)
		}
		var back PublicKey
		if err := back.UnmarshalText([]byte(mine.String())); err != nil || back != mine {
			t.Errorf("%s: %v", mine, err)
		}
	}
	p256, err := keys.NewPrivate(keys.P256, secret)
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte(samplePasskey(0, "city.example.cn"))
	copy(raw[1:], p256.Public().Raw()[1:])
	parsed, err := keys.ParsePublic(raw)
	if err != nil || parsed.RPID() != "city.example.cn" || PublicKey(raw).RPID() != parsed.RPID() {
		t.Errorf("relying party %q, %q: %v", PublicKey(raw).RPID(), parsed.RPID(), err)
	}
	for n := range len(raw) {
		if rp := PublicKey(raw[:n]).RPID(); rp != "" && rp != "city.example.cn" {
			t.Errorf("cut to %d octets the relying party is %q", n, rp)
		}
	}
	for _, bad := range []string{"ed25519", "rsa:AAAA", "ed25519:A===", "ed25519:" + base64.StdEncoding.EncodeToString([]byte{0xff, 0xfe}), ":AAAA"} {
		var k PublicKey
		if err := k.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	for _, n := range []int{0, 1, maxPublicKey + 1} {
		b := MustMarshal(bytes.Repeat([]byte{1}, n))
		var k PublicKey
		if err := Unmarshal(b, &k); err == nil {
			t.Errorf("a key of %d octets", n)
		}
	}
}

func TestEnumerations(t *testing.T) {
	type text interface {
		MarshalText() ([]byte, error)
		fmt.Stringer
	}
	check := func(n int, at func(i int) text, parse func([]byte) (text, error)) {
		seen := map[string]bool{}
		for i := 1; i < n; i++ {
			s := at(i).String()
			back, err := parse([]byte(s))
			if seen[s] || err != nil || back != at(i) {
				t.Errorf("%T %d is %q, and back %v: %v", at(i), i, s, back, err)
			}
			seen[s] = true
		}
		if _, err := parse([]byte(at(n).String())); err == nil {
			t.Errorf("%v is accepted", at(n))
		}
	}
	check(len(kindNames), func(i int) text { return Kind(i) }, func(b []byte) (text, error) { var v Kind; err := v.UnmarshalText(b); return v, err })
	check(len(statusNames), func(i int) text { return Status(i) }, func(b []byte) (text, error) { var v Status; err := v.UnmarshalText(b); return v, err })
	check(len(reasonNames), func(i int) text { return Reason(i) }, func(b []byte) (text, error) { var v Reason; err := v.UnmarshalText(b); return v, err })
	check(len(proposalStates), func(i int) text { return ProposalState(i) }, func(b []byte) (text, error) { var v ProposalState; err := v.UnmarshalText(b); return v, err })
	check(len(disclosureNames), func(i int) text { return Disclosure(i) }, func(b []byte) (text, error) { var v Disclosure; err := v.UnmarshalText(b); return v, err })
}
