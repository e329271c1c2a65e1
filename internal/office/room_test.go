// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

func smallOffice(t *testing.T, opts Options) (*Office, *clock) {
	t.Helper()
	c := newClock()
	opts.Dir, opts.Now = filepath.Join(t.TempDir(), "office"), c.now
	o, err := Open(t.Context(), opts)
	do(t, err)
	t.Cleanup(func() { do(t, o.Close()) })
	return o, c
}

// TestRoomForDocuments fills the room for strangers' documents, which is free
// again when a draft is removed, or a proposal names what was handed in.
func TestRoomForDocuments(t *testing.T) {
	ctx := t.Context()
	o, c := smallOffice(t, Options{DraftSpace: 100_000})
	doc := func() EvidenceDocument {
		return EvidenceDocument{Name: "a.pdf", Document: samplePDF(string(bytes.Repeat([]byte("x"), 40_000)))}
	}
	first, second := ok(o.NewDraft(ctx, nil))(t), ok(o.NewDraft(ctx, nil))(t)
	ok(o.Attach(ctx, first, doc()))(t)
	ok(o.Attach(ctx, second, doc()))(t)
	_, err := o.Attach(ctx, second, doc())
	want(t, "a third document", err, ErrFull)
	do(t, o.DeleteDraft(ctx, first))
	ok(o.Attach(ctx, second, doc()))(t)

	// What was handed in counts until it is on the chain.
	do(t, o.DeleteDraft(ctx, second))
	digests := []cityid.Digest{{1}, {2}}
	for _, d := range digests {
		do(t, o.StoreEvidence(ctx, d, "", bytes.Repeat(d[:1], 45_000)))
	}
	third := ok(o.NewDraft(ctx, nil))(t)
	_, err = o.Attach(ctx, third, doc())
	want(t, "beside evidence that waits", err, ErrFull)
	do(t, o.LinkEvidence(ctx, 7, digests[:1]))
	ok(o.Attach(ctx, third, doc()))(t)

	// What never came there is removed in the end, and what did is kept.
	c.pass(unlinkedKept + time.Hour)
	ok(o.Sweep(ctx))(t)
	if n := len(ok(o.EvidenceByDigest(ctx, digests[1]))(t)); n != 0 {
		t.Error("a document of no proposal is kept for good")
	}
	if n := len(ok(o.EvidenceByDigest(ctx, digests[0]))(t)); n != 1 {
		t.Error("a document that a proposal names was removed")
	}
}

// TestRoomAtOnce has many strangers attach at the same moment: no more is kept
// than there is room for.
func TestRoomAtOnce(t *testing.T) {
	ctx := t.Context()
	o, _ := smallOffice(t, Options{DraftSpace: 5000})
	drafts := make([]string, 8)
	for i := range drafts {
		drafts[i] = ok(o.NewDraft(ctx, nil))(t)
	}
	var kept atomic.Int64
	var wg sync.WaitGroup
	for _, code := range drafts {
		wg.Go(func() {
			_, err := o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF(string(bytes.Repeat([]byte("x"), 1500)))})
			if err == nil {
				kept.Add(1)
			} else {
				want(t, "no room", err, ErrFull)
			}
		})
	}
	wg.Wait()
	if n := kept.Load(); n < 1 || n > 3 {
		t.Errorf("%d documents of over 1500 bytes were kept in 5000", n)
	}
}

// TestRoomForStrangers bounds drafts and applications, and lets the visitors go
// first who have begun nothing.
func TestRoomForStrangers(t *testing.T) {
	ctx := t.Context()
	o, c := smallOffice(t, Options{Visitors: 3, Drafts: 2, Waiting: 1})
	ok(o.NewDraft(ctx, nil))(t)
	ok(o.NewDraft(ctx, nil))(t)
	_, err := o.NewDraft(ctx, nil)
	want(t, "a third draft", err, ErrFull)

	apply := cityid.Apply{Allocation: cityid.Allocation{Code: cityid.MustParse("MA.156.1301"), Kind: cityid.KindCity}}
	reference := ok(o.Receive(ctx, Submission{Apply: apply}))(t)
	_, err = o.Receive(ctx, Submission{Apply: apply})
	want(t, "a second application", err, ErrFull)
	do(t, o.Decline(ctx, reference, "not now"))
	ok(o.Receive(ctx, Submission{Apply: apply}))(t)

	_, key := privateKey(t, keys.Ed25519, 9)
	signedIn := ok(o.NewSession(ctx, key))(t)
	busy := ok(o.NewSession(ctx, ""))(t)
	do(t, o.SetBag(ctx, busy, map[string]string{"draft": "x"}))
	c.pass(time.Minute)
	idle := ok(o.NewSession(ctx, ""))(t)
	c.pass(time.Minute)
	for range 5 {
		ok(o.NewSession(ctx, ""))(t)
	}
	for _, token := range []string{signedIn, busy} {
		if _, err := o.Session(ctx, token); err != nil {
			t.Errorf("somebody who has begun something lost the session: %v", err)
		}
	}
	_, err = o.Session(ctx, idle)
	want(t, "the visitor who was away longest", err, ErrNotFound)
	var n int
	do(t, o.reads.QueryRowContext(ctx, `SELECT count(*) FROM session WHERE key = x''`).Scan(&n))
	if n != 3 {
		t.Errorf("%d visitors, want 3", n)
	}
}

// TestRoomForPasskeys forgets the oldest passkey that was never used, and none
// that was.
func TestRoomForPasskeys(t *testing.T) {
	ctx := t.Context()
	o, c := smallOffice(t, Options{Passkeys: 2})
	var all []Passkey
	for i := range 4 {
		p := Passkey{Credential: []byte{byte(i + 1)}, Key: passkeyOf(t, byte(i+1), "id.example", "https://id.example"), Person: NewPerson()}
		do(t, o.AddPasskey(ctx, p))
		if i == 0 {
			do(t, o.TouchPasskey(ctx, p.Credential))
		}
		all = append(all, p)
		c.pass(time.Second)
	}
	for i, gone := range []bool{false, true, false, false} {
		if _, err := o.PasskeyByKey(ctx, all[i].Key); (err != nil) != gone {
			t.Errorf("passkey %d: %v", i, err)
		}
	}
}

// TestRoomForSignings forgets the oldest request that nobody has signed, and none
// that somebody has.
func TestRoomForSignings(t *testing.T) {
	ctx := t.Context()
	o, c := smallOffice(t, Options{Signings: 3})
	k, key := privateKey(t, keys.Ed25519, 1)
	_, other := privateKey(t, keys.P256, 2)
	ops := vetoes("MA.156.1301")
	begin := func() string {
		c.pass(time.Second)
		return ok(o.NewSigning(ctx, SigningRequest{Chain: testChain, Operations: ops, Title: "x"}))(t)
	}
	kept := begin()
	body := bodyOf(c, ops, key, other)
	do(t, o.SetBody(ctx, kept, body))
	ok(o.AddSignature(ctx, kept, signed(t, k, body)))(t)
	oldest := begin()
	var last string
	for range 3 {
		last = begin()
	}
	_, err := o.Signing(ctx, oldest)
	want(t, "the oldest that nobody has signed", err, ErrNotFound)
	for _, id := range []string{kept, last} {
		if _, err := o.Signing(ctx, id); err != nil {
			t.Errorf("one that was signed, or is new: %v", err)
		}
	}
}
