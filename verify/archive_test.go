// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/header"
	"cityid/merkle"
	"cityid/verify"
)

// linkVector is a file link-*.json in testdata/vectors.
type linkVector struct {
	Description string       `json:"description"`
	Trust       cityid.Trust `json:"trust"`
	Bundle      cityid.Bytes `json:"bundle"`
	Link        cityid.Bytes `json:"link"`
	Now         time.Time    `json:"now"`
	At          time.Time    `json:"at"`
	Archived    cityid.Bytes `json:"archived,omitempty"`
	Want        linkWant     `json:"want"`
}

type linkWant struct {
	Before  verify.Verdict `json:"before"`
	Refused bool           `json:"refused,omitempty"`
	Verdict verify.Verdict `json:"verdict"`
	Reason  verify.Reason  `json:"reason,omitempty"`
	Height  uint64         `json:"height,omitempty"`
}

// archive decodes and joins what the vector has, and judges the outcome.
func (v *linkVector) archive() (cityid.Bytes, linkWant, error) {
	opts := verify.Options{Now: v.Now, At: v.At}
	w := linkWant{Before: verify.CheckEncoded(&v.Trust, v.Bundle, opts).Verdict}
	data, err := archiveEncoded(v.Bundle, v.Link)
	if err != nil {
		if w.Refused = true; !errors.Is(err, verify.ErrUnsupported) {
			w.Verdict = verify.Invalid
		}
		return nil, w, err
	}
	r := verify.CheckEncoded(&v.Trust, data, opts)
	w.Verdict, w.Reason = r.Verdict, r.Reason
	if r.Verdict == verify.Valid {
		w.Height = r.AsOf.Height
	}
	return data, w, nil
}

func archiveEncoded(bundle, link []byte) (cityid.Bytes, error) {
	b, err := verify.Decode(bundle)
	if err != nil {
		return nil, err
	}
	l, err := verify.DecodeLink(link)
	if err != nil {
		return nil, err
	}
	a, err := verify.Archive(b, l)
	if err != nil {
		return nil, err
	}
	return a.Encode()
}

// linkTo returns a link from the versions of the trust root to a head, and on to
// an older height.
func (c *chain) linkTo(t testing.TB, from, to, head, height int) *verify.Link {
	t.Helper()
	return must(verify.NewLink(c.link(t, c.way(t, from, to, head), height)))
}

func encodeLink(t testing.TB, l *verify.Link) []byte {
	t.Helper()
	data := must(l.Encode())
	if again := must(must(verify.DecodeLink(data)).Encode()); !bytes.Equal(again, data) {
		t.Fatal("a link does not survive decoding")
	}
	return data
}

// mutateLink returns a changed copy of a link, encoded.
func mutateLink(t testing.TB, l *verify.Link, f func(*verify.Link)) []byte {
	c := must(verify.DecodeLink(encodeLink(t, l)))
	f(c)
	return must(cityid.Marshal(c))
}

// makeLinkVectors returns the vectors of links, by name: a city's record of
// height 11, five years later, when all validators are others.
func makeLinkVectors(t testing.TB) map[string]*linkVector {
	c := story()
	list := map[string]*linkVector{}
	old := record(t, c.way(t, 1, 1, 11), c.before(11), city)
	link := c.linkTo(t, 4, 4, 34, 11)
	add := func(name, description string, trust int, b *verify.Bundle, link []byte, want linkWant) {
		at := must(b.Answering())
		list[name] = &linkVector{
			Description: description, Trust: c.trusts[trust-1], Bundle: encode(t, b), Link: link, Want: want,
			Now: c.at(34).header.Time.Add(30 * time.Second).Truncate(time.Second), At: at.Time,
		}
	}
	good := linkWant{Verdict: verify.Valid, Height: 10}
	bad := func(name, description string, want linkWant, f func(*verify.Link)) {
		add(name, description, 4, old, mutateLink(t, link, f), want)
	}
	refused := linkWant{Refused: true, Verdict: verify.Invalid}
	unsigned := linkWant{Verdict: verify.Invalid, Reason: verify.ReasonSignature}

	add("good-record", "a record under the founding validators, linked to validators of five years later", 4, old, encodeLink(t, link), good)
	add("good-absence", "a code that was not allocated then", 4, record(t, c.way(t, 1, 1, 11), c.before(11), nowhere), encodeLink(t, link), good)
	add("good-listing", "a listing", 4, listing(t, c.way(t, 1, 1, 11), c.before(11), city, cityid.AnswerChildren), encodeLink(t, link), good)
	add("good-history", "a history", 4, history(t, c.way(t, 1, 1, 11), c.before(11), city), encodeLink(t, link), good)
	add("good-again", "a record that was archived before, under a head that is old by now", 4, record(t, c.link(t, c.way(t, 3, 3, 27), 11), c.before(11), city), encodeLink(t, link), good)
	add("good-below", "a link to a head below the trust root", 4, old, encodeLink(t, c.linkTo(t, 4, 4, 31, 11)), good)
	add("good-carried", "the link carries versions 2 to 4 of the trust root for a verifier who holds version 1", 1, old, encodeLink(t, c.linkTo(t, 1, 4, 34, 11)), linkWant{Before: verify.Valid, Verdict: verify.Valid, Height: 10})
	add("good-validators", "the old header has other validators than the trust root before it", 4, record(t, c.way(t, 1, 1, 17), c.before(17), city), encodeLink(t, c.linkTo(t, 4, 4, 34, 17)), linkWant{Verdict: verify.Valid, Height: 16})

	add("undecided-later-trust", "the link leads on from a later version of the trust root than the verifier holds", 3, old, encodeLink(t, link), linkWant{Reason: verify.ReasonOtherTrust})
	add("undecided-trust-expired", "the link's head is later than the trust root by more than the trusting period", 3, old, encodeLink(t, c.linkTo(t, 3, 3, 34, 11)), linkWant{Reason: verify.ReasonTrustExpired})

	add("bad-other-header", "a link to the header before", 4, old, encodeLink(t, c.linkTo(t, 4, 4, 34, 10)), refused)
	bad("bad-state", "a link that gives the header another state", refused, func(l *verify.Link) { l.State[0] ^= 1 })
	bad("bad-state-other-height", "the header before, with the bundle's own in its place", unsigned, func(l *verify.Link) {
		l.Log.Path = c.linkTo(t, 4, 4, 34, 10).Log.Path
	})
	bad("bad-path", "a hash of the path in the block log", unsigned, func(l *verify.Link) { l.Log.Path[len(l.Log.Path)-1] ^= 1 })
	bad("bad-proof", "a hash of the proof of the block log", unsigned, func(l *verify.Link) {
		var p merkle.Proof
		if err := p.UnmarshalBinary(l.Log.Proof); err != nil {
			t.Fatal(err)
		}
		p.Steps[0].Sibling[5] ^= 1
		l.Log.Proof = must(p.MarshalBinary())
	})
	bad("bad-validators", "other validators of the old header", unsigned, func(l *verify.Link) { l.Log.Validators[3] ^= 1 })
	add("bad-validators-named", "other validators of the old header than the bundle names", 4, record(t, c.way(t, 1, 1, 17), c.before(17), city),
		mutateLink(t, c.linkTo(t, 4, 4, 34, 17), func(l *verify.Link) { l.Log.Validators[3] ^= 1 }), refused)
	bad("bad-head", "the head of a height at which the block log was shorter", linkWant{Verdict: verify.Invalid, Reason: verify.ReasonProof}, func(l *verify.Link) { l.Head = c.linkTo(t, 4, 4, 31, 11).Head })
	bad("bad-signature", "a bit of a signature of the head", unsigned, func(l *verify.Link) {
		mutateCommit(&l.Head, func(c *header.Commit) { c.Votes[1].Signature[40] ^= 4 })
	})
	bad("bad-trust-hash", "another trust root version named than the one carried", refused, func(l *verify.Link) { l.Versions = c.trusts[2:3] })
	bad("undecided-version", "a version of the format that does not exist yet", linkWant{Refused: true}, func(l *verify.Link) { l.Version = 2 })

	f := foreign()
	f.quiet(2)
	f.change(func() { f.put(department, cityid.KindDepartment, "假的部门") })
	f.quiet(3)
	alien := f.linkTo(t, 1, 1, 13, 11)
	add("bad-chain", "a link of another chain of the same name", 4, old, encodeLink(t, alien), refused)
	grafted := func(vals cityid.Bytes) []byte {
		return mutateLink(t, alien, func(l *verify.Link) {
			l.Trust, l.State, l.Log.Header, l.Log.Validators = link.Trust, link.State, link.Log.Header, link.Log.Validators
			l.Head.Validators = vals
		})
	}
	add("bad-chain-grafted", "a link of another chain, given the bundle's header and the verifier's trust root", 4, old, grafted(nil), unsigned)
	add("bad-chain-validators", "the same, with the other chain's validators", 4, old, grafted(must(f.at(13).set.validators().MarshalBinary())), unsigned)
	octets := encodeLink(t, link)
	add("bad-trailing", "an octet after the link", 4, old, append(slices.Clone(octets), 0), refused)
	add("bad-cut", "the last octet missing", 4, old, octets[:len(octets)-1], refused)
	add("bad-not-canonical", "a head of two octets where one does", 4, old, append([]byte{0xb8, octets[0] & 0x1f}, octets[1:]...), refused)
	later := append(slices.Clone(octets), 0x08, 0xf5)
	later[0], later[2] = later[0]+1, 2 // the number of fields, and the version
	add("undecided-version-fields", "the same, with a field that version 1 has not", 4, old, later, linkWant{Refused: true})
	return list
}

func linkFile(name string) string { return filepath.Join(vectorDir, "link-"+name+".json") }

func readLinkVectors(t testing.TB, pattern string) map[string]*linkVector {
	t.Helper()
	files, err := filepath.Glob(linkFile(pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors %s (%v): run the tests with -update", pattern, err)
	}
	list := map[string]*linkVector{}
	for _, f := range files {
		v := new(linkVector)
		if err := json.Unmarshal(must(os.ReadFile(f)), v); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		list[filepath.Base(f)] = v
	}
	return list
}

func TestLinkVectors(t *testing.T) {
	made := makeLinkVectors(t)
	if *update {
		for _, f := range must(filepath.Glob(linkFile("*"))) {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, v := range made {
		t.Run(name, func(t *testing.T) {
			archived, got, err := v.archive()
			if got != v.Want {
				t.Fatalf("%s: %+v, want %+v (%v)", v.Description, got, v.Want, err)
			}
			v.Archived = archived
			if *update {
				data := must(json.MarshalIndent(v, "", "  "))
				if err := os.WriteFile(linkFile(name), append(data, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var want linkVector
			if err := json.Unmarshal(must(os.ReadFile(linkFile(name))), &want); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want.Link, v.Link) || !bytes.Equal(want.Bundle, v.Bundle) || !bytes.Equal(want.Archived, v.Archived) {
				t.Error("the bundle, link or outcome made now differs from the file: run with -update if that is meant")
			}
			if _, got, _ := want.archive(); !cmp.Equal(got, want.Want) {
				t.Error(cmp.Diff(want.Want, got))
			}
		})
	}
	if files := must(filepath.Glob(linkFile("*"))); len(files) != len(made) {
		t.Errorf("%d files for %d vectors", len(files), len(made))
	}
}

// TestArchive archives answers of all kinds, from all heights to all heads; the
// outcome must be what a prover makes who still has the old state.
func TestArchive(t *testing.T) {
	c := story()
	for _, x := range []struct{ from, to, head int }{{2, 2, 24}, {1, 3, 27}, {3, 3, 29}, {4, 4, 31}, {4, 4, 34}, {1, 4, 34}} {
		size := int(c.before(x.head).log.Size)
		for height := 1; height <= size; height++ {
			link := must(verify.DecodeLink(encodeLink(t, c.linkTo(t, x.from, x.to, x.head, height))))
			way := c.link(t, c.way(t, x.from, x.to, x.head), height)
			s := c.before(height)
			for i, ask := range []func(w *verify.Way) *verify.Bundle{
				func(w *verify.Way) *verify.Bundle { return record(t, w, s, city) },
				func(w *verify.Way) *verify.Bundle { return record(t, w, s, nowhere) },
				func(w *verify.Way) *verify.Bundle { return history(t, w, s, city) },
				func(w *verify.Way) *verify.Bundle { return listing(t, w, s, city, cityid.AnswerDescendants) },
			} {
				old := ask(c.way(t, 1, 1, height))
				before, want := encode(t, old), encode(t, ask(way))
				once := must(verify.Archive(old, link))
				if !bytes.Equal(encode(t, once), want) {
					t.Fatalf("head %d, height %d, answer %d: another bundle than one made anew", x.head, height, i)
				}
				twice := must(verify.Archive(once, link))
				if !bytes.Equal(encode(t, twice), want) || !bytes.Equal(encode(t, old), before) {
					t.Fatalf("head %d, height %d, answer %d: archiving is not repeatable, or changes its argument", x.head, height, i)
				}
				at := must(old.Answering())
				if at.Height != int64(height) {
					t.Fatalf("the answering header is of height %d, want %d", at.Height, height)
				}
				if again := must(once.Answering()); !cmp.Equal(at, again) {
					t.Fatalf("archived, the answering header is another: %s", cmp.Diff(at, again))
				}
				r := verify.Check(&c.trusts[x.from-1], once, verify.Options{Now: c.at(x.head).header.Time, At: at.Time})
				if r.Verdict != verify.Valid || r.AsOf.Height != uint64(height)-1 {
					t.Fatalf("head %d, height %d, answer %d: %s as of %+v", x.head, height, i, r.Message, r.AsOf)
				}
			}
		}
	}
}

func TestArchiveRefusals(t *testing.T) {
	c := story()
	old := record(t, c.way(t, 1, 1, 11), c.before(11), city)
	link := c.linkTo(t, 4, 4, 34, 11)
	for name, v := range readLinkVectors(t, "*") {
		_, w, err := v.archive()
		other := map[string]bool{
			"link-bad-other-header.json": true, "link-bad-state.json": true, "link-bad-validators-named.json": true, "link-bad-chain.json": true,
		}[name]
		if w.Refused != (err != nil) || errors.Is(err, verify.ErrOtherHeader) != other || errors.Is(err, verify.ErrUnsupported) != strings.HasPrefix(name, "link-undecided-version") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*verify.Bundle){
		"another record":   func(b *verify.Bundle) { b.Values[0] = record(t, c.way(t, 1, 1, 8), c.before(8), city).Values[0] },
		"another code":     func(b *verify.Bundle) { b.Code = cityid.MustParse(department) },
		"no proof":         func(b *verify.Bundle) { b.Steps[0].Proof = nil },
		"no header":        func(b *verify.Bundle) { b.Steps[0].Head.Header = nil },
		"no step":          func(b *verify.Bundle) { b.Steps = nil },
		"bad validators":   func(b *verify.Bundle) { b.Steps[0].Head.Validators = []byte{1} },
		"other validators": func(b *verify.Bundle) { b.Steps[0].Head.Validators = must(c.at(24).set.validators().MarshalBinary()) },
	} {
		if _, err := verify.Archive(mutate(t, old, change), link); err == nil {
			t.Errorf("%s: archived", name)
		}
	}
	if _, err := verify.NewLink(c.way(t, 4, 4, 34)); err == nil {
		t.Error("a link to nothing")
	}
	if _, err := verify.DecodeLink(make([]byte, verify.MaxLink+1)); err == nil {
		t.Error("a link beyond the bound")
	}
	big := *link
	big.Head.Commit = make([]byte, verify.MaxLink)
	if _, err := big.Encode(); err == nil {
		t.Error("encoded a link beyond the bound")
	}
	for name, change := range map[string]func(*verify.Link){
		"no version": func(l *verify.Link) { l.Version = 0 }, "no trust root": func(l *verify.Link) { l.Trust = cityid.Digest{} },
		"no state":         func(l *verify.Link) { l.State = cityid.Digest{} },
		"many transitions": func(l *verify.Link) { l.Transitions = make([]cityid.LightBlock, verify.MaxTransitions+1) },
		"many versions":    func(l *verify.Link) { l.Versions = make([]cityid.Trust, verify.MaxVersions+1) },
	} {
		l := *link
		change(&l)
		if _, err := l.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
		if _, err := verify.Archive(old, &l); err == nil {
			t.Errorf("%s: archived", name)
		}
	}
}

// TestLinkTampering changes, removes and doubles every octet of every good link:
// it is refused then, or what it makes of the bundle is not valid.
func TestLinkTampering(t *testing.T) {
	for name, v := range readLinkVectors(t, "good-*") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(len(v.Link)), 11))
			try := func(what string, i int, data []byte) {
				if bytes.Equal(data, v.Link) {
					return
				}
				v := *v
				v.Link = data
				if _, w, _ := v.archive(); w.Verdict == verify.Valid {
					t.Errorf("octet %d of %d %s: still valid", i, len(v.Link), what)
				}
			}
			for i := range v.Link {
				data := bytes.Clone(v.Link)
				data[i] ^= 1 << r.IntN(8)
				try("changed", i, data)
				try("removed", i, slices.Delete(bytes.Clone(v.Link), i, i+1))
				try("doubled", i, slices.Insert(bytes.Clone(v.Link), i, v.Link[i]))
			}
		})
	}
}

func FuzzLink(f *testing.F) {
	vectors := readLinkVectors(f, "*")
	known := map[string]bool{}
	var list []*linkVector
	for _, v := range vectors {
		list = append(list, v)
		known[string(v.Link)] = true
	}
	slices.SortFunc(list, func(a, b *linkVector) int {
		return bytes.Compare(append(slices.Clone(a.Bundle), a.Link...), append(slices.Clone(b.Bundle), b.Link...))
	})
	for i, v := range list {
		f.Add(uint8(i), []byte(v.Link))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		l, err := verify.DecodeLink(data)
		if err != nil {
			return
		}
		if again, err := l.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("decoded, but encodes otherwise: %v", err)
		}
		v := *list[int(which)%len(list)]
		v.Link = data
		if _, w, _ := v.archive(); w.Verdict == verify.Valid && !known[string(data)] {
			t.Error("valid, though none of ours")
		}
	})
}
