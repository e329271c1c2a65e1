// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/header"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// signNextTrust returns the next version of the trust root, signed.
func signNextTrust(t testing.TB, e *chain.Engine) *cityid.Trust {
	t.Helper()
	s, err := e.NextTrust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d := s.SigningDigest()
	sig, err := chaintest.Key(0).Sign(d[:])
	if err != nil {
		t.Fatal(err)
	}
	return &cityid.Trust{Statement: *s, Signatures: []cityid.KeySignature{{Key: chaintest.Key(0).Key, Signature: sig}}}
}

// publishTrust publishes the next version of the trust root and returns it.
func publishTrust(t testing.TB, e *chain.Engine) *cityid.Trust {
	t.Helper()
	trust := signNextTrust(t, e)
	submit(t, e, cityid.Operation{SetTrust: &cityid.SetTrust{Trust: *trust}})
	return trust
}

// getBundle asks for a bundle and decodes it.
func getBundle(t testing.TB, e *chain.Engine, q cityid.BundleQuery) *verify.Bundle {
	t.Helper()
	data, err := e.Bundle(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	b, err := verify.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// archive archives a bundle with the node's link, and returns it with the time
// of its header.
func archive(t testing.TB, e *chain.Engine, b *verify.Bundle, from uint32) (*verify.Bundle, time.Time) {
	t.Helper()
	h, err := b.Answering()
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.Link(ctx, uint64(h.Height), from)
	if err != nil {
		t.Fatal(err)
	}
	l, err := verify.DecodeLink(data)
	if err != nil {
		t.Fatal(err)
	}
	a, err := verify.Archive(b, l)
	if err != nil {
		t.Fatal(err)
	}
	return a, h.Time
}

func blocks(t testing.TB, e *chain.Engine, n int) {
	t.Helper()
	for range n {
		e.Advance(10 * time.Second)
		if err := e.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
}

// Years after, when the validators are others, the state of then is dropped and
// the node was restarted, an old bundle is connected to the trust root of the day.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, dir)
	submit(t, e, city(1))
	code := cityid.MustParse("MA.156.1001")
	old := map[string]*verify.Bundle{
		"record":   getBundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord}),
		"absence":  getBundle(t, e, cityid.BundleQuery{Code: cityid.MustParse("MA.156.4444"), Kind: cityid.AnswerRecord}),
		"history":  getBundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerHistory}),
		"children": getBundle(t, e, cityid.BundleQuery{Code: chaintest.Apex, Kind: cityid.AnswerChildren}),
	}
	set := cityid.SetValidators{Revision: 1, Validators: []cityid.Validator{chain.EngineValidator(), {Key: chaintest.Key(5).Key, Power: 3}}}
	if set.Validators[0].Key > set.Validators[1].Key {
		set.Validators[0], set.Validators[1] = set.Validators[1], set.Validators[0]
	}
	submit(t, e, cityid.Operation{SetValidators: &set})
	blocks(t, e, 40)
	for i := range 140 { // more than the states that are kept
		submit(t, e, cityid.Operation{Amend: &cityid.Amend{Code: code, Revision: uint32(i + 1), Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: strings.Repeat("x", i+1)}}}}})
	}
	e.Advance(3 * 365 * 24 * time.Hour)
	blocks(t, e, 40)
	second := publishTrust(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = newEngine(t, dir)
	blocks(t, e, 3)

	founder := header.Validators{{PublicKey: [32]byte([]byte(chain.EngineValidator().Key[1:])), Power: chain.EngineValidator().Power}}
	founders, err := founder.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	archived := map[string]*verify.Bundle{}
	for name, b := range old {
		a, at := archive(t, e, b, 2)
		opts := verify.Options{Now: e.Now(), At: at, Code: b.Code, Kind: b.Kind}
		renewed := *b // as it would look if it had been made for version 2
		renewed.Trust, renewed.Steps = verify.TagOf(second, b.Kind, b.Code), slices.Clone(b.Steps)
		renewed.Steps[0].Head.Validators = founders
		for _, x := range []struct {
			what string
			b    *verify.Bundle
			want verify.Reason
		}{{"old", b, verify.ReasonOtherTrust}, {"old, for version 2", &renewed, verify.ReasonNotConnected}, {"archived", a, ""}} {
			if r := verify.Check(second, x.b, opts); r.Reason != x.want || (r.Verdict == verify.Valid) != (x.want == "") {
				t.Errorf("%s, %s: %s %q: %s", name, x.what, r.Verdict, r.Reason, r.Message)
			}
		}
		archived[name] = a
	}
	if r := verify.Check(second, archived["record"], verify.Options{Now: e.Now()}); r.Reason != verify.ReasonStale {
		t.Errorf("archived, as of now: %s %q", r.Verdict, r.Reason)
	}

	// And again, years later.
	e.Advance(3 * 365 * 24 * time.Hour)
	blocks(t, e, 3)
	third := publishTrust(t, e)
	for name, b := range archived {
		again, at := archive(t, e, b, 0)
		direct, _ := archive(t, e, old[name], 3)
		opts := verify.Options{Now: e.Now().Add(time.Second), At: at}
		if r := verify.Check(third, b, opts); r.Verdict != verify.Undecided {
			t.Errorf("%s, archived once: %s", name, r.Verdict)
		}
		if r := verify.Check(third, again, opts); r.Verdict != verify.Valid {
			t.Errorf("%s, archived twice: %s: %s", name, r.Verdict, r.Message)
		}
		x, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if y, err := direct.Encode(); err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s: archived twice is another bundle than archived once: %v", name, err)
		}
	}
	carried, at := archive(t, e, old["record"], 2)
	if r := verify.Check(second, carried, verify.Options{Now: e.Now().Add(time.Second), At: at}); r.Verdict != verify.Valid || len(r.Learned) != 1 {
		t.Errorf("from version 2: %s: %s, %d learned", r.Verdict, r.Message, len(r.Learned))
	}
}

func TestLinkRefusals(t *testing.T) {
	e := newEngine(t, "")
	_, err := e.Link(ctx, 1, 0)
	wantCode(t, err, cityid.ErrNotFound) // no transaction yet, hence no block log
	r := submit(t, e, city(1))
	for height := uint64(1); height <= r.Height; height++ {
		if _, err := e.Link(ctx, height, 1); err != nil {
			t.Errorf("height %d of %d: %v", height, r.Height, err)
		}
	}
	_, err = e.Link(ctx, r.Height+1, 0)
	wantCode(t, err, cityid.ErrNotFound)
	if !strings.Contains(err.Error(), "transaction") {
		t.Errorf("the newest height: %v", err)
	}
	for _, height := range []uint64{0, r.Height + 2, math.MaxInt64, math.MaxUint64} {
		_, err := e.Link(ctx, height, 0)
		wantCode(t, err, cityid.ErrNotFound)
	}
	_, err = e.Link(ctx, 1, 9)
	wantCode(t, err, cityid.ErrNotFound)
	submit(t, e, city(2))
	if _, err := e.Link(ctx, r.Height+1, 0); err != nil {
		t.Errorf("after the next transaction: %v", err)
	}
}
