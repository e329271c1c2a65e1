// SPDX-License-Identifier: Apache-2.0

package cityid_test

// The vectors of docs/formats.md. Each function computes what the block of its
// name must say, from the packages that the nodes run and, where the document
// gives a formula, from the formula as well.

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/header"
	"cityid/internal/bulk"
	"cityid/internal/founding"
	"cityid/internal/ledger"
	"cityid/keys"
	"cityid/label"
	"cityid/merkle"
	"cityid/verify"
)

var docVectors = map[string]func(*testing.T) []line{
	"limits": limitsVector, "code": codeVector, "record": recordVector, "seal": sealVector, "keys": keysVector,
	"tx": txVector, "possession": possessionVector, "proposal": proposalVector, "map": mapVector, "range": rangeVector,
	"log": logVector, "state-keys": stateKeysVector, "header": headerVector, "trust": trustVector, "part": partVector,
	"terms": termsVector, "batch": batchVector, "purpose": purposeVector, "label": labelVector, "mark": sourceMarkVector, "import": importVector, "report": reportVector, "receipt": receiptVector,
	"upgrade": upgradeVector,
}

// exampleKey is the ed25519 key whose secret is 32 octets of one value.
func exampleKey(t *testing.T, octet byte) (*keys.Private, cityid.PublicKey) {
	t.Helper()
	k, err := keys.NewPrivate(keys.Ed25519, bytes.Repeat([]byte{octet}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k, cityid.PublicKey(k.Public().Raw())
}

func sha(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// same demands that a document's formula gives what the code gives.
func same(t *testing.T, what string, formula, code []byte) {
	t.Helper()
	if !bytes.Equal(formula, code) {
		t.Errorf("%s: the formula gives %x, the code %x", what, formula, code)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func limitsVector(*testing.T) []line {
	limit := func(name string, v int) line { return line{name, fmt.Sprint(v)} }
	return []line{
		limit("octets of a record", cityid.MaxRecord), limit("links", cityid.MaxLinks), limit("names", cityid.MaxNames),
		limit("link hosts", cityid.MaxHosts), limit("crosswalk entries", cityid.MaxAliases), limit("documents", cityid.MaxDocuments),
		limit("successors", cityid.MaxSuccessors), limit("members of a policy", cityid.MaxMembers), limit("keys of a member", cityid.MaxKeys),
		limit("depth of codes as members", cityid.MaxPolicyDepth), limit("octets of a transaction", cityid.MaxTx),
		limit("operations of a transaction", cityid.MaxOperations), limit("signers of a transaction", cityid.MaxSigners),
		limit("evidence digests", cityid.MaxEvidence), limit("validators", cityid.MaxValidators), limit("endpoints of a zone", cityid.MaxEndpoints),
		limit("transitions in a descent", cityid.MaxDescentTransitions), limit("seconds a zone may be ahead of the one above", cityid.ClockTolerance), limit("power of a validator", cityid.MaxPower),
		limit("requests of a consumer that wait", cityid.MaxOpenRequests), limit("days a request may wait", cityid.MaxRespond),
		limit("leaves of a batch", cityid.MaxBatch), limit("octets of a tree key", merkle.MaxKeySize), limit("octets of a range proof", merkle.MaxRangeProofSize),
		limit("octets of a bundle", verify.MaxBundle), limit("octets of a link", verify.MaxLink), limit("trust root versions in a bundle", verify.MaxVersions),
		limit("transitions in a step", verify.MaxTransitions), limit("keys of entries in a bundle", verify.MaxEntries), limit("octets of a trust file", verify.MaxTrustFile),
		limit("characters of a field label", label.MaxField),
	}
}

func codeVector(t *testing.T) []line {
	c := cityid.MustParse("MA.156.1301.01/20.010203/000123")
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
	var derived strings.Builder
	for part := range strings.SplitSeq(c.String(), "/") {
		for node := range strings.SplitSeq(part, ".") {
			derived.WriteByte(digits[len(node)])
			derived.WriteString(node)
		}
		derived.WriteByte('0')
	}
	n := 0
	for _, x := range derived.String() + "00" {
		n = (n*36 + strings.IndexRune(digits, x)) % 1271
	}
	check := (1272 - n) % 1271
	same(t, "check characters", []byte{digits[check/36], digits[check%36]}, []byte(c.CheckCharacters()))
	lo, hi := c.Root().DescendantRange()
	return []line{
		{"code", c.String()}, {"derived", derived.String()}, {"remainder", fmt.Sprint(n)}, {"check", c.CheckCharacters()},
		{"display", c.Display()}, {"parent", c.Parent().String()}, {"root", c.Root().String()},
		{"descendants of the root from", lo}, {"to, not included", hi},
	}
}

// exampleRecord is the first revision of a city.
func exampleRecord() cityid.Record {
	return cityid.Record{
		Code: cityid.MustParse("MA.156.1301"), Parent: cityid.MustParse("MA.156.13"), Kind: cityid.KindCity, Status: cityid.StatusActive,
		Revision: 1, Changed: cityid.Change{Chain: "cityid-example", Height: 12, Time: 1767225600},
		Content: cityid.Content{
			Names:    cityid.NamesOf(map[string]string{"zh": "石家庄市", "en": "Shijiazhuang"}),
			Location: &cityid.Location{Lat: 380454740, Lon: 1145024610},
		},
		Aliases: []cityid.Alias{{Scheme: "gb2260", Value: "130100"}},
	}
}

func recordVector(t *testing.T) []line {
	r := exampleRecord()
	text := must(json.Marshal(&r))(t)
	h := r.Hash()
	same(t, "hash of a record", sha(cityid.MustMarshal(&r)), h[:])
	return []line{{"json", string(text)}, hexLine("cbor", cityid.MustMarshal(&r)), {"hash", h.String()}}
}

func sealVector(t *testing.T) []line {
	salt := [32]byte(bytes.Repeat([]byte{7}, 32))
	content := cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": "某楼"})}
	d := cityid.SealDigest(salt, content)
	same(t, "seal", sha([]byte("cityid/seal/1"), salt[:], cityid.MustMarshal(content)), d[:])
	return []line{hexLine("salt", salt[:]), hexLine("content", cityid.MustMarshal(content)), {"sealed", d.String()}}
}

func keysVector(t *testing.T) []line {
	k, raw := exampleKey(t, 1)
	h := sha([]byte("cityid/key-fingerprint/1"), []byte(raw))
	var groups []string
	for i := range 6 {
		n := 0
		for _, b := range h[5*i : 5*i+5] {
			n = (n<<8 | int(b)) % 100000
		}
		groups = append(groups, fmt.Sprintf("%05d", n))
	}
	same(t, "fingerprint", []byte(strings.Join(groups, " ")), []byte(k.Public().Fingerprint()))
	p := must(keys.NewPrivate(keys.P256, bytes.Repeat([]byte{1}, 32)))(t)
	passkey := "\x03" + p.Public().Raw()[1:] + "\x0aid.example" + "\x00\x12https://id.example"
	w := must(keys.ParsePublic([]byte(passkey)))(t)
	return []line{
		hexLine("ed25519 secret", bytes.Repeat([]byte{1}, 32)), hexLine("ed25519 raw", []byte(raw)), {"ed25519 text", raw.String()},
		{"ed25519 fingerprint", k.Public().Fingerprint()},
		hexLine("p256 raw", []byte(p.Public().Raw())), {"p256 text", p.Public().String()},
		hexLine("webauthn-p256 raw", []byte(w.Raw())), {"webauthn-p256 RP id", w.RPID()}, {"webauthn-p256 origin", w.Origin()},
	}
}

func txVector(t *testing.T) []line {
	k, raw := exampleKey(t, 1)
	body := cityid.Body{
		Chain: "cityid-example", Expires: 1767226200,
		Operations: []cityid.Operation{{Veto: &cityid.Veto{Code: cityid.MustParse("MA.156.1301")}}},
	}
	tx := must(cityid.SignTx(body, cityid.Signer{Key: raw, Sign: k.Sign}))(t)
	encoded := cityid.MustMarshal(tx)
	if _, _, err := cityid.DecodeTx(encoded); err != nil {
		t.Error(err)
	}
	d, id := cityid.SigningDigest(tx.Body), tx.ID()
	same(t, "signing digest", sha([]byte("cityid/tx/1"), tx.Body), d[:])
	same(t, "transaction id", sha(tx.Body), id[:])
	return []line{
		hexLine("signer", []byte(raw)), hexLine("body", tx.Body), {"id", id.String()}, {"to sign", d.String()},
		hexLine("signature", tx.Signatures[0]), hexLine("transaction", encoded),
	}
}

func possessionVector(t *testing.T) []line {
	k, raw := exampleKey(t, 1)
	code := cityid.MustParse("MA.156.1301")
	policy := &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: raw, Roles: cityid.RoleControl}}}}}
	list := cityid.MustMarshal([]any{"cityid-example", code, policy.Hash(), raw})
	d := cityid.PossessionDigest("cityid-example", code, policy, raw)
	same(t, "possession", sha([]byte("cityid/possession/1"), list), d[:])
	return []line{hexLine("policy", cityid.MustMarshal(policy)), hexLine("list", list), {"to sign", d.String()}, hexLine("signature", must(k.Sign(d[:]))(t))}
}

func proposalVector(t *testing.T) []line {
	p := cityid.Proposal{
		Number:     17,
		Revision:   2,
		Operations: []cityid.Operation{{Veto: &cityid.Veto{Code: cityid.MustParse("MA.156.1301")}}},
		Targets:    []cityid.Target{{Code: cityid.MustParse("MA.156.1301"), Revision: 3}},
		Policies:   cityid.Digest(bytes.Repeat([]byte{9}, 32)), Expires: 1769817600,
	}
	list := cityid.MustMarshal([]any{p.Number, p.Revision, p.Operations, p.Targets, p.Policies, p.Expires, p.Evidence})
	d := p.Digest()
	same(t, "proposal", sha([]byte("cityid/proposal/1"), list), d[:])
	return []line{hexLine("list", list), {"digest", d.String()}}
}

// tree returns a map from keys to values.
func tree(t *testing.T, pairs ...string) merkle.Tree {
	t.Helper()
	var b merkle.Builder
	for i := 0; i < len(pairs); i += 2 {
		if err := b.Add([]byte(pairs[i]), merkle.ValueHash([]byte(pairs[i+1]))); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

func mapVector(t *testing.T) []line {
	m := tree(t, "a\x00", "1", "b\x00", "2")
	leaf := func(key, value string) []byte {
		return sha([]byte{0, byte(len(key))}, []byte(key), []byte{32}, sha([]byte(value)))
	}
	left, right := leaf("a\x00", "1"), leaf("b\x00", "2")
	root := m.Root()
	same(t, "root", sha([]byte{1, 0, 6}, left, right), root[:])
	proof := func(key string) []byte {
		p := must(m.Prove([]byte(key)))(t)
		return must(p.MarshalBinary())(t)
	}
	return []line{
		hexLine("leaf 6100 of value 31", left), hexLine("leaf 6200 of value 32", right), hexLine("root, branch bit 6", root[:]),
		hexLine("proof that 6100 exists", proof("a\x00")), hexLine("proof that 6300 is absent", proof("c\x00")),
	}
}

func rangeVector(t *testing.T) []line {
	m := tree(t, "ra\x00", "1", "ra.b\x00", "2", "ra.b.c\x00", "3", "rd\x00", "4")
	r := merkle.Range{Lo: []byte("ra."), Hi: []byte("ra0"), Shallow: true}
	p, list, err := m.ProveRange(r)
	if err != nil {
		t.Fatal(err)
	}
	root := m.Root()
	if _, err := merkle.CheckRange(root, r, [][]byte{[]byte("2")}, p); err != nil {
		t.Error(err)
	}
	return []line{
		hexLine("root", root[:]), hexLine("lo", r.Lo), hexLine("hi", r.Hi), {"shallow", fmt.Sprint(r.Shallow)},
		hexLine("listed key", list[0].Key), hexLine("its value", []byte("2")), {"keys listed", fmt.Sprint(len(list))}, hexLine("proof", must(p.MarshalBinary())(t)),
	}
}

func logVector(t *testing.T) []line {
	stored := map[[2]uint64]merkle.Hash{}
	read := func(level uint8, index uint64) (merkle.Hash, error) {
		return stored[[2]uint64{uint64(level), index}], nil
	}
	var log merkle.Log
	var roots []merkle.Hash
	for i := range 3 {
		entry := merkle.LogLeafHash(bytes.Repeat([]byte{byte(i + 1)}, 32))
		log.Append(entry, func(level uint8, index uint64, h merkle.Hash) { stored[[2]uint64{uint64(level), index}] = h })
		roots = append(roots, log.Root())
	}
	inclusion := must(merkle.ProveInclusion(1, 3, read))(t)
	consistency := must(merkle.ProveConsistency(2, 3, read))(t)
	return []line{
		{"entries", "32 octets of 01, of 02, of 03"}, hexLine("root of 1", roots[0][:]), hexLine("root of 2", roots[1][:]), hexLine("root of 3", roots[2][:]),
		hexLine("inclusion of leaf 1 in 3", must(inclusion.MarshalBinary())(t)), hexLine("consistency from 2 to 3", must(consistency.MarshalBinary())(t)),
	}
}

func stateKeysVector(*testing.T) []line {
	c, nines := cityid.MustParse("MA.156"), cityid.Digest(bytes.Repeat([]byte{9}, 32))
	return []line{
		hexLine("record of MA.156", cityid.RecordKey(c)), hexLine("revision 3 of MA.156", cityid.HistoryKey(c, 3)),
		hexLine("proposal 17", cityid.ProposalKey(17)), hexLine("contest for MA.156, proposal 17", cityid.ContestKey(c, 17)),
		hexLine("change waiting for MA.156", cityid.WaitingKey(c)), hexLine("crosswalk gb2260 130100 MA.156", cityid.CrosswalkKey("gb2260", "130100", c)),
		hexLine("scheme gb2260", cityid.SchemeKey("gb2260")), hexLine("attestation by MA.156 of 0909…", cityid.AttestationKey(c, nines)),
		hexLine("cities below MA.156", cityid.ChildrenKey(c, cityid.KindCity)), hexLine("intake of member 0909…", cityid.IntakeKey(nines)),
		hexLine("agreement 0909… about MA.156", cityid.AgreementKey(c, nines)), hexLine("agreement 0909… of MA.156", cityid.ConsumerKey(c, nines)),
		hexLine("agreement 0909…", cityid.AgreedKey(nines)), hexLine("requests of MA.156", cityid.RequestsKey(c)),
		hexLine("batch 3 of log main of MA.156", cityid.AnchorKey(c, "main", 3)), hexLine("log main of MA.156", cityid.AnchorHeadKey(c, "main")),
		hexLine("trust root 2", cityid.TrustKey(2)), hexLine("transactions of block 12", cityid.RecentKey(12)), hexLine("block log", cityid.BlockLogKey),
		hexLine("zone of MA.156", cityid.ZoneKey(c)), hexLine("zone above", cityid.UpstreamKey),
	}
}

func upgradeVector(t *testing.T) []line {
	plan := cityid.Upgrade{Version: 2, Height: 500000, Release: "cityid 2.0", Href: "https://example.cn/cityid-2", Digest: cityid.Digest(bytes.Repeat([]byte{9}, 32))}
	before := cityid.Ruleset{Revision: 1, Version: 1, Plan: &plan}
	if err := plan.Check(cityid.Ruleset{Version: 1}, 499000, 1000); err != nil {
		t.Error(err)
	}
	after := before.At(plan.Height)
	if same := before.At(plan.Height - 1); same.Plan == nil || after.Plan != nil || after.Version != plan.Version {
		t.Errorf("before %+v, after %+v", same, after)
	}
	op := func(x cityid.SetUpgrade) []byte { return cityid.MustMarshal(&cityid.Operation{SetUpgrade: &x}) }
	return []line{
		hexLine("plan version 2 for block 500000", op(cityid.SetUpgrade{Plan: &plan})), hexLine("cancel it", op(cityid.SetUpgrade{Revision: 1})),
		hexLine("key of the rules", cityid.RulesetKey), hexLine("its value once planned", cityid.MustMarshal(&before)),
		hexLine("read at block 500000, as it is written next", cityid.MustMarshal(&after)),
	}
}

func headerVector(t *testing.T) []line {
	k, _ := exampleKey(t, 1)
	vals := header.Validators{{PublicKey: [32]byte([]byte(k.Public().Raw()[1:])), Power: 10}}
	fill := func(b byte) header.Hash { return header.Hash(bytes.Repeat([]byte{b}, 32)) }
	empty := header.Hash(sha256.Sum256(nil))
	at := time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)
	h := header.Header{
		Version: header.Version{Block: header.BlockProtocol, App: 1}, ChainID: "cityid-example", Height: 13, Time: at,
		LastBlockID: header.BlockID{Hash: fill(1), PartsTotal: 1, PartsHash: fill(2)}, LastCommitHash: fill(3), DataHash: empty,
		ValidatorsHash: vals.Hash(), NextValidatorsHash: vals.Hash(), ConsensusHash: fill(4), AppHash: fill(5), LastResultsHash: empty,
		EvidenceHash: empty, ProposerAddress: vals[0].Address(),
	}
	c := header.Commit{PartsTotal: 1, PartsHash: fill(6), Votes: []header.Vote{{Time: at.Add(time.Second)}}}
	hash, valHash := h.Hash(), vals.Hash()
	vote := c.SignBytes(h.ChainID, h.Height, hash, c.Votes[0].Time)
	c.Votes[0].Signature = [64]byte(must(k.Sign(vote))(t))
	if err := header.VerifyCommit(h.ChainID, vals, &h, &c, keys.VerifyEd25519); err != nil {
		t.Error(err)
	}
	return []line{
		hexLine("validators", must(vals.MarshalBinary())(t)), hexLine("validators hash", valHash[:]),
		hexLine("header", must(h.MarshalBinary())(t)), hexLine("stripped", must(header.EncodeStripped(&h, false))(t)), hexLine("header hash", hash[:]),
		hexLine("vote signs", vote), hexLine("commit", must(c.MarshalBinary())(t)),
	}
}

func trustVector(t *testing.T) []line {
	_, raw := exampleKey(t, 1)
	trust := cityid.Trust{Statement: cityid.TrustStatement{
		Version: 1, Zone: cityid.MustParse("MA.156"), Chain: "cityid-example", Time: 1767225600,
		Validators: []cityid.TrustPower{{Key: raw, Power: 10}},
		Quorum:     cityid.Quorum{Threshold: 1, Members: []cityid.QuorumMember{{Keys: []cityid.PublicKey{raw}}}},
	}}
	s := &trust.Statement
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	hash, d, code := s.Hash(), s.SigningDigest(), cityid.MustParse("MA.156.1301")
	tag := verify.TagOf(&trust, cityid.AnswerRecord, code)
	same(t, "tag of a bundle", sha([]byte("cityid/bundle/1"), hash[:], []byte{byte(cityid.AnswerRecord)}, []byte(code.String()))[:8], tag[:])
	same(t, "trust statement", sha([]byte("cityid/trust/1"), cityid.MustMarshal(s)), d[:])
	return []line{hexLine("statement", cityid.MustMarshal(s)), {"hash", hash.String()}, {"tag of a bundle with the record of MA.156.1301", tag.String()}, {"what the quorum of the version before signs", d.String()}}
}

func partVector(t *testing.T) []line {
	_, officer := exampleKey(t, 1)
	_, validator := exampleKey(t, 2)
	_, node := exampleKey(t, 3)
	p := founding.NewPart(founding.PartContent{
		Chain: "cityid-example", Owner: cityid.MustParse("MA.156.9001"), Names: cityid.NamesOf(map[string]string{"en": "Survey"}),
		Policy:    cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: officer, Roles: cityid.RoleControl}}}}},
		Validator: validator, NodeKey: node, Address: "node.example:26656",
	})
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	d := p.Digest()
	same(t, "part", sha([]byte("cityid/part/1"), cityid.MustMarshal(&p.PartContent)), d[:])
	same(t, "node id", []byte(hex.EncodeToString(sha([]byte(node[1:]))[:20])), []byte(p.Node))
	return []line{hexLine("encoded", cityid.MustMarshal(&p.PartContent)), {"node", p.Node}, {"what its keys sign", d.String()}}
}

func labelVector(t *testing.T) []line {
	k, raw := exampleKey(t, 1)
	u := must(label.ParsePublicURL("https://id.example"))(t)
	code := cityid.MustParse("MA.156.1301.02/20.010501/000045")
	issued, expires := must(label.ParseDay("2026-01-01"))(t), must(label.ParseDay("2026-12-31"))(t)
	c := must(label.Sign(code, issued, expires, raw, k.Sign))(t)
	id := sha([]byte("cityid/label/key/1"), []byte(raw))[:4]
	same(t, "key id", id, c.KeyID[:])
	dates := []byte{byte(issued >> 8), byte(issued), byte(expires >> 8), byte(expires)}
	message := sha([]byte("cityid/label/1"), []byte{byte(len(code.String()))}, []byte(code.String()), id, dates)
	same(t, "certificate message", message, c.Message())
	return []line{
		{"field label", must(label.FieldURL(u, code))(t)}, hexLine("key id", id), hexLine("issued and expires", dates),
		hexLine("to sign", message), hexLine("signature", c.Signature[:]), {"certificate", must(label.CertificateURL(u, c))(t)},
	}
}

func sourceMarkVector(t *testing.T) []line {
	k, raw := exampleKey(t, 1)
	u := must(label.ParsePublicURL("https://id.example"))(t)
	report := []byte("PM2.5 35")
	m := label.SourceMark{Code: cityid.MustParse("MA.156.1301.02"), Digest: cityid.Digest(sha(report)), Time: 1767225600, Nonce: label.Nonce(bytes.Repeat([]byte{7}, 16)), Expires: 1798761600}
	m = must(label.SignSource(m, raw, k.Sign))(t)
	plate := must(label.SignSource(label.SourceMark{Code: m.Code, Time: m.Time, Nonce: m.Nonce}, raw, k.Sign))(t)
	message := sha([]byte("cityid/source/1"), m.Statement())
	same(t, "source mark message", message, m.Message())
	return []line{
		{"bytes", string(report)}, hexLine("statement", m.Statement()), hexLine("to sign", message), hexLine("signature", m.Signature[:]),
		{"source mark", must(label.SourceURL(u, m))(t)}, hexLine("statement of a plate", plate.Statement()), {"plate", must(label.SourceURL(u, plate))(t)},
	}
}

func reportVector(t *testing.T) []line {
	k, raw := exampleKey(t, 1)
	o := cityid.ReportOpening{Salt: cityid.Digest(bytes.Repeat([]byte{7}, 32)), Report: cityid.Report{Category: cityid.ReportBroken, Text: "不亮"}}
	report := cityid.MustMarshal(&o.Report)
	d := o.Digest()
	same(t, "digest", sha([]byte("cityid/report/1"), o.Salt[:], report), d[:])
	f := must(cityid.SignReport(cityid.ReportReceipt{
		Institution: cityid.MustParse("MA.156.9001"), Number: 17, Code: cityid.MustParse("MA.156.1301.02/20.010501/000045"),
		Department: cityid.MustParse("MA.156.1301.02"), Digest: d, Time: 1_775_000_000,
	}, cityid.Signer{Key: raw, Sign: k.Sign}))(t)
	receipt := cityid.MustMarshal(&f.Receipt)
	message := f.Receipt.SigningDigest()
	same(t, "to sign", sha([]byte("cityid/report-receipt/1"), receipt), message[:])
	return []line{
		hexLine("salt", o.Salt[:]), hexLine("report", report), hexLine("digest", d[:]), hexLine("receipt", receipt),
		hexLine("to sign", message[:]), hexLine("signature", f.Signature), {"symbol", f.Symbol()},
	}
}

func importVector(t *testing.T) []line {
	parent := cityid.MustParse("MA.156.1301.01")
	table := must(bulk.ReadTable(strings.NewReader("code,name\n20.020101/000001,某楼\n"), "dwellings.csv", bulk.ReadOptions{}))(t)
	key := [32]byte(bytes.Repeat([]byte{7}, 32))
	settings := &cityid.Settings{Rule: cityid.Rule{
		Kinds:   []cityid.KindRule{{Kind: cityid.KindClass, Parents: []cityid.Kind{cityid.KindDepartment}}, {Kind: cityid.KindObject, Parents: []cityid.Kind{cityid.KindClass}}},
		Classes: []cityid.ClassRule{{Prefix: "20.0201", Disclosure: cityid.DisclosureSealed}},
	}}
	plan := must(bulk.NewPlan(table, bulk.Options{Parent: parent, Settings: settings, SaltKey: key}))(t)
	if len(plan.Sealed) != 1 {
		t.Fatalf("%d rows are sealed", len(plan.Sealed))
	}
	s := plan.Sealed[0]
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("cityid/import-salt/1\x00" + s.Code.String()))
	same(t, "salt", mac.Sum(nil), s.Salt[:])
	h := sha256.New()
	h.Write([]byte("cityid/import/1"))
	h.Write(cityid.MustMarshal(parent))
	for _, b := range plan.Batches {
		h.Write([]byte{0xff})
		for i := range b.Items {
			h.Write(cityid.MustMarshal(&b.Items[i].Allocation))
		}
	}
	same(t, "plan", h.Sum(nil), plan.Digest[:])
	path := filepath.Join(t.TempDir(), "checkpoint")
	cp := must(bulk.OpenCheckpoint(path, plan, "cityid-example"))(t)
	for _, err := range []error{
		cp.Prepare(0, bulk.Prepared{ID: cityid.Digest{31: 1}, Items: 1, Raw: cityid.Bytes{0xa0}}),
		cp.Settle(0, bulk.Settled{Height: 12}),
		cp.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	text := must(os.ReadFile(path))(t)
	lines := []line{hexLine("salt key", key[:]), {"sealed row", s.Code.String()}, hexLine("salt", s.Salt[:]), {"plan", plan.Digest.String()}}
	for l := range strings.Lines(string(text)) {
		lines = append(lines, line{"checkpoint", strings.TrimSpace(l)})
	}
	return lines
}

// checkApplicationFile holds an application file, for a city with one document
// of evidence, against docs/formats.md.
func checkApplicationFile(t *testing.T, data []byte) {
	t.Helper()
	var f struct {
		Version  int          `json:"version"`
		Chain    string       `json:"chain"`
		Apply    cityid.Apply `json:"apply"`
		Evidence []struct {
			Name string        `json:"name"`
			Salt cityid.Digest `json:"salt"`
		} `json:"evidence"`
	}
	strict(t, data, &f)
	if f.Version != 1 || f.Chain != "cityid-example" || len(f.Evidence) != 1 || len(f.Apply.Possessions) != 1 {
		t.Fatalf("application file: %s", data)
	}
	salt := f.Evidence[0].Salt
	same(t, "evidence", sha([]byte("cityid/evidence/1"), salt[:], []byte("the letter")), f.Apply.Evidence[0][:])
	p := f.Apply.Possessions[0]
	d := cityid.PossessionDigest(f.Chain, f.Apply.Allocation.Code, f.Apply.Allocation.Policy, p.Key)
	if err := keys.Verify([]byte(p.Key), d[:], p.Signature); err != nil {
		t.Error(err)
	}
}

// checkTxFile holds a transaction file with one signature against
// docs/formats.md.
func checkTxFile(t *testing.T, data []byte) {
	t.Helper()
	var f struct {
		Version    int                   `json:"version"`
		Body       cityid.Bytes          `json:"body"`
		Signatures []cityid.KeySignature `json:"signatures"`
	}
	strict(t, data, &f)
	body, err := cityid.DecodeBody(f.Body)
	if err != nil || f.Version != 1 || len(f.Signatures) != 1 || f.Signatures[0].Key != body.Signers[0] {
		t.Fatalf("transaction file: %v\n%s", err, data)
	}
	d := cityid.SigningDigest(f.Body)
	if err := keys.Verify([]byte(body.Signers[0]), d[:], f.Signatures[0].Signature); err != nil {
		t.Error(err)
	}
}

func strict(t *testing.T, data []byte, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%v\n%s", err, hex.EncodeToString(data[:min(len(data), 64)]))
	}
}

func receiptVector(t *testing.T) []line {
	k, raw := exampleKey(t, 1)
	signed := func(base string) ledger.Message {
		return ledger.Message{Base: []byte(base), Signature: must(k.Sign([]byte(base)))(t)}
	}
	request, response := signed("\"@method\": GET"), signed("\"@status\": 200")
	h := request.Hash()
	same(t, "hash of a message", sha(request.Base, []byte{0}, request.Signature), h[:])
	receipt := ledger.Receipt{
		Version: 1, Agreement: cityid.Digest(bytes.Repeat([]byte{9}, 32)), Dataset: cityid.MustParse("MA.156.1301.01/20.010203/000123"),
		Provider: cityid.MustParse("MA.156.1301.01"), Log: "main", Number: 1, Request: h, Status: 200, Size: 2,
		Content: cityid.Digest(sha([]byte("{}"))), Time: 1767225600, Height: 12,
	}
	encoded := must(receipt.Encode())(t)
	entry := must(ledger.EncodeEntry(encoded, response))(t)
	salt := bytes.Repeat([]byte{7}, 32)
	leaf := ledger.LeafHash(cityid.Digest(salt), entry)
	same(t, "leaf", sha([]byte{0}, salt, entry), leaf[:])
	acknowledgement := ledger.NewAcknowledgement(receipt.Agreement, []cityid.Digest{ledger.EntryHash(entry)}, 1767225601)
	proof := ledger.LeafProof{Salt: cityid.Digest(salt), Entry: entry, Party: receipt.Provider, Log: "main", Sequence: 1, Size: 1, Root: ledger.BatchRoot(leaf, 1)}
	return []line{
		hexLine("signer", []byte(raw)), {"request base", string(request.Base)}, hexLine("its signature", request.Signature), {"request", h.String()},
		{"response base", string(response.Base)}, hexLine("its signature", response.Signature), {"response", response.Hash().String()},
		hexLine("receipt", encoded), hexLine("entry", entry), {"hash of the entry", ledger.EntryHash(entry).String()},
		hexLine("salt", salt), hexLine("leaf", leaf[:]), hexLine("acknowledgement", must(acknowledgement.Encode())(t)),
		hexLine("proof in a batch of one", must(proof.Encode())(t)),
	}
}
