// SPDX-License-Identifier: Apache-2.0

package office

import (
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

func applyFor(code string, evidence ...cityid.Digest) cityid.Apply {
	return cityid.Apply{Allocation: cityid.Allocation{Code: cityid.MustParse(code), Kind: cityid.KindCity}, Evidence: evidence}
}

func intakeTx(t testing.TB, c *clock, apply cityid.Apply) []byte {
	t.Helper()
	k, p := privateKey(t, keys.Ed25519, 1)
	b := cityid.Body{Chain: testChain, Expires: cityid.TimeOf(c.now().Add(time.Minute)), Operations: []cityid.Operation{{Apply: &apply}}}
	return cityid.MustMarshal(ok(cityid.SignTx(b, cityid.Signer{Key: p, Sign: k.Sign}))(t))
}

func TestApplications(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	code := ok(o.NewDraft(ctx, []byte("draft")))(t)
	ok(o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF("")}))(t)
	doc := cityid.Digest{1}
	file := ok(o.PutBytes(ctx, []byte("an envelope")))(t)
	s := Submission{
		Apply: applyFor("MA.156.1301", doc, cityid.Digest{2}), Contact: []byte("Wang, 0311-5550100"), Evidence: []EvidenceFile{{doc, file}},
		Deliveries: []NewDelivery{{Destination: "https://b.example/in", File: file}}, Draft: strings.ToLower(code), Revision: 1,
	}

	// Whatever is wrong, nothing happens.
	for what, c := range map[string]struct {
		change func(*Submission)
		err    error
	}{
		"an old revision":       {func(s *Submission) { s.Revision = 0 }, ErrConflict},
		"another draft":         {func(s *Submission) { x := randomSymbols(secretSymbols); s.Draft = x + checkSymbols(x) }, ErrNotFound},
		"a bad destination":     {func(s *Submission) { s.Deliveries = []NewDelivery{{Destination: "x", File: file}} }, ErrInvalid},
		"no such envelope":      {func(s *Submission) { s.Evidence = []EvidenceFile{{doc, doc}} }, ErrNotFound},
		"evidence it names not": {func(s *Submission) { s.Evidence = []EvidenceFile{{file, file}} }, ErrInvalid},
		"no code":               {func(s *Submission) { s.Apply = cityid.Apply{} }, ErrInvalid},
		"too much evidence":     {func(s *Submission) { s.Apply.Evidence = make([]cityid.Digest, cityid.MaxEvidence+1) }, ErrTooLarge},
		"a long contact":        {func(s *Submission) { s.Contact = make([]byte, maxContact+1) }, ErrTooLarge},
	} {
		bad := s
		c.change(&bad)
		_, err := o.Receive(ctx, bad)
		want(t, what, err, c.err)
	}
	for _, table := range []string{"waiting", "evidence", "delivery"} {
		var n int
		if err := o.reads.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s has %d rows, %v", table, n, err)
		}
	}

	reference := ok(o.Receive(ctx, s))(t)
	_, err := o.Receive(ctx, s)
	want(t, "handed in twice", err, ErrConflict)
	o = crash(t, o, c)
	d := ok(o.Draft(ctx, code))(t)
	if d.Reference != reference || len(d.Content) != 0 || len(d.Attachments) != 0 {
		t.Errorf("the draft after handing in: %+v", d)
	}
	_, err = o.SaveDraft(ctx, code, 1, nil)
	want(t, "saving it", err, ErrConflict)
	_, err = o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF("")})
	want(t, "attaching to it", err, ErrConflict)
	scan(t, o.dir, "0311-5550100")

	typed := strings.ReplaceAll(strings.ToLower(reference), "-", " ")
	a := ok(o.Application(ctx, typed))(t)
	if a.Reference != reference || a.State != ApplicationWaiting || string(a.Contact) != "Wang, 0311-5550100" || a.Apply.Allocation.Code.String() != "MA.156.1301" || len(a.Apply.Evidence) != 2 {
		t.Errorf("application %+v", a)
	}
	for bad, e := range map[string]error{"R-00000-00000": ErrNotFound, "R-0000": ErrInvalid, "X" + reference[1:]: ErrInvalid, "": ErrInvalid, reference + "'": ErrInvalid} {
		_, err := o.Application(ctx, bad)
		want(t, "reference "+bad, err, e)
	}

	// On its way to the chain: prepared first, the same again after a crash.
	raw := intakeTx(t, c, s.Apply)
	want(t, "preparing garbage", o.Prepare(ctx, reference, []byte{1}), ErrInvalid)
	do(t, o.Prepare(ctx, reference, raw))
	o = crash(t, o, c)
	if a := ok(o.Application(ctx, reference))(t); string(a.Prepared) != string(raw) {
		t.Error("the prepared transaction is lost")
	}
	want(t, "declining what may be on the chain", o.Decline(ctx, reference, "no"), ErrConflict)
	want(t, "no proposal", o.Bring(ctx, reference, 0), ErrInvalid)
	do(t, o.Bring(ctx, reference, 17))
	do(t, o.Bring(ctx, reference, 17))
	want(t, "another proposal", o.Bring(ctx, reference, 18), ErrConflict)
	want(t, "declining it", o.Decline(ctx, reference, "no"), ErrConflict)
	want(t, "preparing it again", o.Prepare(ctx, reference, raw), ErrConflict)
	if list := ok(o.EvidenceOf(ctx, 17))(t); len(list) != 1 || list[0].Digest != doc || list[0].File != file {
		t.Errorf("evidence %+v", list)
	}
	if missing := ok(o.MissingEvidence(ctx, 17))(t); len(missing) != 1 {
		t.Errorf("missing %v", missing)
	}

	other := ok(o.Receive(ctx, Submission{Apply: applyFor("MA.156.1302")}))(t)
	do(t, o.Prepare(ctx, other, raw))
	do(t, o.Unprepare(ctx, other))
	want(t, "no reason", o.Decline(ctx, other, " "), ErrInvalid)
	do(t, o.Decline(ctx, other, "the letter is not signed"))
	want(t, "bringing it", o.Bring(ctx, other, 19), ErrConflict)
	if list := ok(o.Applications(ctx, 0, 0, 10))(t); len(list) != 2 || list[0].Reference != reference || list[1].Reason == "" || len(list[1].Contact) != 0 {
		t.Errorf("applications %+v", list)
	}
	if list := ok(o.Applications(ctx, ApplicationDeclined, a.Number, 10))(t); len(list) != 1 {
		t.Errorf("declined %+v", list)
	}
}
