// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"cityid"
	"cityid/keys"
	"cityid/merkle"
)

const (
	testChain   = "cn-root-7k2m"
	genesisTime = cityid.Time(1767225600) // 2026-01-01
)

// mapState is a [State] in memory. Its keys are sorted when a namespace is
// scanned.
type mapState struct {
	values map[string][]byte
	sorted map[byte][]string // by namespace; missing: to be sorted again
	hook   func(key, value []byte)
}

func newMapState() *mapState {
	return &mapState{values: map[string][]byte{}, sorted: map[byte][]string{}}
}

func (s *mapState) Get(key []byte) []byte { return s.values[string(key)] }

func (s *mapState) Set(key, value []byte) {
	if _, ok := s.values[string(key)]; !ok {
		delete(s.sorted, key[0])
	}
	s.values[string(key)] = value
	if s.hook != nil {
		s.hook(key, value)
	}
}

func (s *mapState) Delete(key []byte) {
	if _, ok := s.values[string(key)]; ok {
		delete(s.sorted, key[0])
		delete(s.values, string(key))
	}
	if s.hook != nil {
		s.hook(key, nil)
	}
}

func (s *mapState) Scan(lo, hi []byte, fn func(key, value []byte) bool) {
	ns := lo[0]
	list, ok := s.sorted[ns]
	if !ok {
		for k := range s.values {
			if k[0] == ns {
				list = append(list, k)
			}
		}
		slices.Sort(list)
		s.sorted[ns] = list
	}
	i, _ := slices.BinarySearch(list, string(lo))
	for _, k := range list[i:] {
		if hi != nil && k >= string(hi) || !fn([]byte(k), s.values[k]) {
			return
		}
	}
}

func (s *mapState) clone() *mapState {
	return &mapState{values: maps.Clone(s.values), sorted: map[byte][]string{}}
}

// root returns the hash that a block's header would commit to.
func (s *mapState) root(tb testing.TB) merkle.Hash {
	tb.Helper()
	e := merkle.Tree{}.Edit()
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if _, err := e.Put([]byte(k), merkle.ValueHash(s.values[k])); err != nil {
			tb.Fatal(err)
		}
	}
	return e.Tree().Root()
}

// keyring makes keys from names, always the same: name@site is a passkey of
// site.example.cn, a name that begins with "p256-" a p256 key, one with
// "encrypt-" an x25519 key, and every other an ed25519 key.
type keyring struct {
	signers map[string]cityid.Signer
	names   map[cityid.PublicKey]string
}

func newKeyring() *keyring {
	return &keyring{map[string]cityid.Signer{}, map[cityid.PublicKey]string{}}
}

func (r *keyring) signer(tb testing.TB, name string) cityid.Signer {
	tb.Helper()
	if s, ok := r.signers[name]; ok {
		return s
	}
	seed := sha256.Sum256([]byte("cityid test key " + name))
	var s cityid.Signer
	if _, site, ok := strings.Cut(name, "@"); ok {
		s = passkey(tb, seed[:], site+".example.cn")
	} else {
		algorithm := keys.Ed25519
		switch {
		case strings.HasPrefix(name, "p256-"):
			algorithm = keys.P256
		case strings.HasPrefix(name, "encrypt-"):
			algorithm = keys.X25519
		}
		k, err := keys.NewPrivate(algorithm, seed[:])
		if err != nil {
			tb.Fatal(err)
		}
		s = cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
	}
	r.signers[name], r.names[s.Key] = s, name
	return s
}

func (r *keyring) key(tb testing.TB, name string) cityid.PublicKey {
	tb.Helper()
	return r.signer(tb, name).Key
}

// passkey is an authenticator in software.
func passkey(tb testing.TB, secret []byte, rpID string) cityid.Signer {
	tb.Helper()
	origin := "https://" + rpID
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
	if err != nil {
		tb.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	public, err := keys.WebAuthnFromSPKI(spki, rpID, origin)
	if err != nil {
		tb.Fatal(err)
	}
	sign := func(msg []byte) ([]byte, error) {
		rp := sha256.Sum256([]byte(rpID))
		data := binary.BigEndian.AppendUint32(append(rp[:], 0x05), 0) // user present and verified
		client := `{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(msg) + `","origin":"` + origin + `","crossOrigin":false}`
		ch := sha256.Sum256([]byte(client))
		digest := sha256.Sum256(append(slices.Clone(data), ch[:]...))
		der, err := private.Sign(nil, digest[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		return keys.WebAuthnSignature(data, []byte(client), der)
	}
	return cityid.Signer{Key: cityid.PublicKey(public.Raw()), Sign: sign}
}

// world is a zone under test: a state, the block being made, and keys.
type world struct {
	tb    testing.TB
	ring  *keyring
	state *mapState
	block Block
	exec  *Executor
	busy  bool                          // the block carries transactions
	seen  map[cityid.Digest]cityid.Time // ids recorded in earlier blocks
	check VerifyFunc
}

func newWorld(tb testing.TB) *world {
	return &world{tb: tb, ring: newKeyring(), state: newMapState(), seen: map[cityid.Digest]cityid.Time{}, check: keys.Verify}
}

// begin starts the next block, d seconds after the one before.
func (w *world) begin(d cityid.Time) {
	w.tb.Helper()
	if w.busy {
		w.busy = false
		if err := w.exec.End(); err != nil {
			w.tb.Fatal(err)
		}
		clear(w.seen)
		if err := Recorded(w.state, func(id cityid.Digest, t cityid.Time) { w.seen[id] = t }); err != nil {
			w.tb.Fatal(err)
		}
	}
	w.block.Height++
	w.block.Time += d
	w.exec = NewExecutor(w.state, w.block, func(id cityid.Digest) bool { _, ok := w.seen[id]; return ok }, w.check)
}

// found writes the founding state and starts block 1.
func (w *world) found(g *Genesis) error {
	w.block = Block{Chain: testChain, Time: genesisTime}
	if err := g.Init(w.state, w.block, w.check); err != nil {
		return err
	}
	w.begin(1)
	return nil
}

// apply hands encoded bytes to the registry as a node does.
func (w *world) apply(raw []byte) (Result, error) {
	w.busy = true
	tx, body, err := cityid.DecodeTx(raw)
	if err != nil {
		return Result{}, err
	}
	r, err := w.exec.Apply(tx, body)
	// Nodes keep what they have decoded, and carry it out again after a crash.
	if !bytes.Equal(cityid.MustMarshal(body), tx.Body) {
		panic("carrying a transaction out changed it")
	}
	return r, err
}

func names(zh, en string) cityid.Names { return cityid.NamesOf(map[string]string{"zh": zh, "en": en}) }

// standardRule is a distribution rule as the national zone would have it.
func standardRule() cityid.Rule {
	places := []cityid.Kind{cityid.KindProvince, cityid.KindCity, cityid.KindCounty}
	holders := append(slices.Clone(places), cityid.KindDepartment, cityid.KindOrganisation)
	both := []string{"en", "zh"}
	return cityid.Rule{
		Kinds: []cityid.KindRule{
			{Kind: cityid.KindProvince, Parents: []cityid.Kind{cityid.KindAuthority}, Patterns: []string{"##"}, Languages: both, Apex: true},
			{Kind: cityid.KindCity, Parents: []cityid.Kind{cityid.KindAuthority, cityid.KindProvince}, Patterns: []string{"####", "11", "12", "31", "50"},
				Schemes: []string{"gb2260"}, Languages: both, Evidence: 1, PreApprover: 2, Apex: true},
			{Kind: cityid.KindCounty, Parents: []cityid.Kind{cityid.KindCity}, Patterns: []string{"######"}, Languages: []string{"zh"}, Quota: 3},
			{Kind: cityid.KindDepartment, Parents: holders, Patterns: []string{"##"}, Sequence: true, Languages: []string{"zh"}},
			{Kind: cityid.KindOrganisation, Parents: []cityid.Kind{cityid.KindAuthority}, Patterns: []string{"1###", "9###"}},
			{Kind: cityid.KindClass, Parents: append(slices.Clone(holders), cityid.KindAuthority, cityid.KindClass)},
			{Kind: cityid.KindObject, Parents: []cityid.Kind{cityid.KindClass, cityid.KindObject}},
			{Kind: cityid.KindDataset, Parents: []cityid.Kind{cityid.KindClass}},
			{Kind: cityid.KindSource, Parents: []cityid.Kind{cityid.KindClass}},
		},
		Classes: []cityid.ClassRule{
			{Prefix: "20.02", Disclosure: cityid.DisclosureCoarse},
			{Prefix: "30", Disclosure: cityid.DisclosureSealed},
		},
	}
}

// standardGenesis founds the zone of MA.156: three institutes of two officers
// and an intake desk each, two of which decide; three offline keys recover it.
func standardGenesis(tb testing.TB, ring *keyring) *Genesis {
	apex := cityid.MustParse("MA.156")
	g := &Genesis{Params: cityid.DefaultParams, Rule: standardRule()}
	g.Schemes = []cityid.Scheme{
		{Name: "cjt553", Titles: names("部件代码", "component codes"), Owner: apex, Patterns: []string{strings.Repeat("#", 21)}},
		{Name: "gb2260", Titles: names("行政区划代码", "division codes"), Owner: apex, Patterns: []string{"######"}},
		{Name: "house", Titles: names("自编号", "own numbers")},
		{Name: "unlocode", Titles: names("联合国地名代码", "UN/LOCODE"), Owner: apex, Patterns: []string{"@@???"}},
	}
	for _, n := range []string{"v1", "v2", "v3", "v4"} {
		g.Validators = append(g.Validators, cityid.Validator{Key: ring.key(tb, n), Power: 10})
	}
	slices.SortFunc(g.Validators, func(a, b cityid.Validator) int { return strings.Compare(string(a.Key), string(b.Key)) })
	p := func(spec string) *cityid.Policy {
		out, err := parsePolicy(tb, ring, spec)
		if err != nil {
			tb.Fatal(err)
		}
		return out
	}
	g.Records = []cityid.Allocation{
		{Code: apex, Kind: cityid.KindAuthority, Policy: p("2(MA.156.9001,MA.156.9002,MA.156.9003)"), Recovery: p("2(vault1,vault2,vault3)"),
			Content: cityid.Content{Names: names("全国城市标识管理中心", "National authority"), Hosts: []string{"*.example.cn"}}},
		{Code: cityid.MustParse("MA.156.9001"), Kind: cityid.KindOrganisation, Policy: p("1(an,ao,desk1/intake)"), Content: cityid.Content{Names: names("一所", "First institute")}},
		{Code: cityid.MustParse("MA.156.9002"), Kind: cityid.KindOrganisation, Policy: p("1(bo,bi,desk2/intake)"), Content: cityid.Content{Names: names("二所", "Second institute")}},
		{Code: cityid.MustParse("MA.156.9003"), Kind: cityid.KindOrganisation, Policy: p("1(cy,cu,desk3/intake)"), Content: cityid.Content{Names: names("三所", "Third institute")}},
	}
	return g
}
