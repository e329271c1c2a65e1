// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

// askFor returns terms for a purpose, asked for at a time.
func askFor(p Purpose, at time.Time, nonce ...byte) cityid.Terms {
	t := cityid.Terms{
		Dataset: cityid.MustParse("MA.156.1301.02/20.020301/PARKING1"), Consumer: cityid.MustParse("MA.156.1302"), Document: cityid.Digest{1},
		From: cityid.TimeOf(at), Until: cityid.TimeOf(at.Add(90 * 24 * time.Hour)), Respond: cityid.TimeOf(at.Add(7 * 24 * time.Hour)),
		Staleness: 30, Purpose: p.Digest(),
	}
	copy(t.Nonce[:], append(nonce, random(16)...))
	return t
}

// prepareUntilKilled keeps a request, and says what is kept.
func prepareUntilKilled(ctx context.Context, o *Office) error {
	p, err := NewPurpose("to plan car parks, "+hex.EncodeToString(random(4)), "")
	if err != nil {
		return err
	}
	terms := askFor(p, o.now())
	if err := o.PrepareAgreement(ctx, terms, p); err != nil {
		return err
	}
	if err := o.NoteAgreement(ctx, terms.ID(), AgreementFound{Progress: AgreementRecorded, Ends: terms.Until.Std(), Look: o.now()}); err != nil {
		return err
	}
	fmt.Println("request", terms.ID(), p.Digest())
	return nil
}

// checkPrepared finds a request that was said to be kept, whole.
func checkPrepared(t *testing.T, o *Office, id, purpose string) {
	t.Helper()
	d := ok(cityid.ParseDigest(id))(t)
	a, err := o.OwnAgreement(t.Context(), d)
	if err != nil || a.ID != d || a.Progress != AgreementRecorded || a.Purpose == nil || a.Purpose.Digest().String() != purpose {
		t.Errorf("request %s, acknowledged with purpose %s: %+v, %v", id, purpose, a, err)
	}
}

// TestAgreement follows requests from before they are signed to after their end.
func TestAgreement(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	p := ok(NewPurpose("停车规划：\n哪些路段在高峰时不够停？", "道路交通安全法 第33条"))(t)
	terms := askFor(p, c.now(), 1)
	id := terms.ID()
	do(t, o.PrepareAgreement(ctx, terms, p))
	want(t, "again", o.PrepareAgreement(ctx, terms, p), ErrConflict)
	other := ok(NewPurpose(p.Text, p.Basis))(t)
	want(t, "another salt", o.PrepareAgreement(ctx, terms, other), ErrInvalid)
	bare := p
	bare.Basis = ""
	want(t, "without its basis", o.PrepareAgreement(ctx, terms, bare), ErrInvalid)
	broken := terms
	broken.Staleness = 1
	want(t, "bad terms", o.PrepareAgreement(ctx, broken, p), ErrInvalid)
	_, err := o.OwnAgreement(ctx, cityid.Digest{1})
	want(t, "unknown", err, ErrNotFound)

	o = crash(t, o, c)
	scan(t, o.dir, "停车规划", "道路交通")
	a := ok(o.OwnAgreement(ctx, id))(t)
	if *a.Purpose != p || a.Terms != terms || a.Progress != AgreementPrepared || !a.Created.Equal(c.now()) || !a.Ends.Equal(terms.Respond.Std()) {
		t.Errorf("kept %+v", a)
	}
	if list := ok(o.PreparedAgreements(ctx, terms.Consumer, 10))(t); len(list) != 1 || list[0].ID != id {
		t.Errorf("prepared: %+v", list)
	}
	if list := ok(o.AgreementsDue(ctx, 10))(t); len(list) != 1 || list[0].ID != id {
		t.Errorf("due: %+v", list)
	}
	do(t, o.NoteAgreement(ctx, id, AgreementFound{Progress: AgreementPrepared, Ends: terms.Respond.Std(), Look: c.now().Add(time.Hour)}))
	if list := ok(o.AgreementsDue(ctx, 10))(t); len(list) != 0 {
		t.Errorf("due too early: %+v", list)
	}
	do(t, o.WakeAgreement(ctx, id))
	if list := ok(o.AgreementsDue(ctx, 10))(t); len(list) != 1 {
		t.Errorf("not woken: %+v", list)
	}
	do(t, o.NoteAgreement(ctx, id, AgreementFound{Progress: AgreementRecorded, Ends: terms.Until.Std(), Look: c.now(), Tried: true, Problem: strings.Repeat("网", 400)}))
	if a = ok(o.OwnAgreement(ctx, id))(t); a.Tries != 1 || len(a.Problem) > maxProblem || !strings.HasPrefix(a.Problem, "网") {
		t.Errorf("after a try: %d, %q", a.Tries, a.Problem)
	}
	do(t, o.NoteAgreement(ctx, id, AgreementFound{Progress: AgreementSent, Ends: terms.Until.Std(), Look: c.now()}))
	want(t, "back", o.NoteAgreement(ctx, id, AgreementFound{Progress: AgreementPrepared}), ErrConflict)
	want(t, "no progress", o.NoteAgreement(ctx, id, AgreementFound{}), ErrInvalid)

	// It is refused early; the purpose is erased a year after that.
	do(t, o.NoteAgreement(ctx, id, AgreementFound{Progress: AgreementSent, Ends: c.now()}))
	do(t, o.WakeAgreement(ctx, id))
	if list := ok(o.AgreementsDue(ctx, 10))(t); len(list) != 0 {
		t.Errorf("one that is over is due: %+v", list)
	}
	c.pass(364 * 24 * time.Hour)
	ok(o.Sweep(ctx))(t)
	if a = ok(o.OwnAgreement(ctx, id))(t); a.Purpose == nil {
		t.Error("erased too early")
	}
	c.pass(24 * time.Hour)
	ok(o.Sweep(ctx))(t)
	if a = ok(o.OwnAgreement(ctx, id))(t); a.Purpose != nil || a.Terms != terms {
		t.Errorf("after its time: %+v", a)
	}
}

// TestAgreementNeverRecorded removes a request only once it is known that the chain
// does not hold it.
func TestAgreementNeverRecorded(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	p := ok(NewPurpose("x", ""))(t)
	terms := askFor(p, c.now())
	do(t, o.PrepareAgreement(ctx, terms, p))
	c.pass(60 * 24 * time.Hour) // the portal was off
	ok(o.Sweep(ctx))(t)
	ok(o.OwnAgreement(ctx, terms.ID()))(t)
	do(t, o.NoteAgreement(ctx, terms.ID(), AgreementFound{Progress: AgreementPrepared, Ends: terms.Respond.Std()}))
	ok(o.Sweep(ctx))(t)
	_, err := o.OwnAgreement(ctx, terms.ID())
	want(t, "removed", err, ErrNotFound)

	for i := range maxPrepared {
		terms := askFor(p, c.now(), byte(i), byte(i>>8))
		if i == 0 || i == maxPrepared-1 {
			do(t, o.PrepareAgreement(ctx, terms, p))
			continue
		}
		id := terms.ID()
		ok(o.writes.Exec(`INSERT INTO agreement SELECT ?, consumer, dataset, terms, box, state, created, look, tries, problem, ends FROM agreement LIMIT 1`, id[:]))(t)
	}
	want(t, "one too many", o.PrepareAgreement(ctx, askFor(p, c.now()), p), ErrFull)
}

func TestPurposeText(t *testing.T) {
	for typed, folded := range map[string]string{
		" a\r\nb\t \r\rc\n\n": "a\nb\n\nc", "e\u0301": "\u00e9", "": "", "\u3000空\u3000": "空", "a\tb": "a b",
	} {
		if got := FoldPurpose(typed); got != folded {
			t.Errorf("%q is folded to %q, want %q", typed, got, folded)
		}
	}
	for _, c := range []struct {
		text, basis string
		err         error
	}{
		{"a\nb", "", nil},
		{strings.Repeat("城", MaxPurposeText), strings.Repeat("法", MaxPurposeBasis), nil},
		{"", "law", ErrInvalid},
		{strings.Repeat("城", MaxPurposeText+1), "", ErrTooLarge},
		{"a", strings.Repeat("法", MaxPurposeBasis+1), ErrTooLarge},
		{"a", "b\nc", ErrInvalid},
		{"a ", "", ErrInvalid},
		{"a \nb", "", ErrInvalid},
		{"a\r\nb", "", ErrInvalid},
		{"a\x00b", "", ErrInvalid},
		{"a", "b\x00", ErrInvalid},
		{"a\u202eb", "", ErrInvalid},
		{"a\u2028b", "", ErrInvalid},
		{"a\xffb", "", ErrInvalid},
		{"e\u0301", "", ErrInvalid},
	} {
		_, err := NewPurpose(c.text, c.basis)
		want(t, fmt.Sprintf("%.40q, %.40q", c.text, c.basis), err, c.err)
	}
	// A legal basis can not be moved into the text.
	salt := cityid.Digest{1}
	a, b := Purpose{Salt: salt, Text: "a", Basis: "b"}, Purpose{Salt: salt, Text: "a\nb"}
	if a.Digest() == b.Digest() || a.Digest() == (&Purpose{Salt: salt, Text: "a"}).Digest() {
		t.Error("two purposes have one digest")
	}
	if bare := (&Purpose{Salt: salt, Text: "a"}).Digest(); bare != cityid.PurposeDigest(salt, "a") {
		t.Errorf("without a basis: %v", bare)
	}
}

func purposeKey(t testing.TB, n byte) *keys.Private {
	return ok(keys.NewPrivate(keys.X25519, bytes.Repeat([]byte{n}, 32)))(t)
}

func TestPurposeEnvelope(t *testing.T) {
	one, two, other := purposeKey(t, 1), purposeKey(t, 2), purposeKey(t, 3)
	readers := []cityid.PublicKey{cityid.PublicKey(one.Public().Raw()), cityid.PublicKey(two.Public().Raw())}
	p := ok(NewPurpose(strings.Repeat("\U0001f17f", MaxPurposeText), strings.Repeat("\U0001f17f", MaxPurposeBasis)))(t)
	all := readers
	for n := byte(10); len(all) < maxReviewers; n++ {
		all = append(all, cityid.PublicKey(purposeKey(t, n).Public().Raw()))
	}
	if b := ok(SealPurpose(all, p))(t); len(b) > MaxPurposeEnvelope {
		t.Errorf("the largest envelope has %d octets", len(b))
	}
	envelope := ok(SealPurpose(readers, p))(t)
	for _, k := range []*keys.Private{one, two} {
		if got := ok(OpenPurpose(k, envelope, p.Digest()))(t); got != p {
			t.Errorf("got %+v", got)
		}
	}
	_, err := OpenPurpose(other, envelope, p.Digest())
	want(t, "a stranger's key", err, ErrKey)
	_, err = OpenPurpose(ok(keys.Generate(keys.Ed25519, nil))(t), envelope, p.Digest())
	want(t, "a key that signs", err, ErrKey)
	_, err = OpenPurpose(one, envelope, cityid.Digest{1})
	want(t, "another purpose", err, ErrDamaged)
	_, err = OpenPurpose(one, envelope[:len(envelope)-1], p.Digest())
	want(t, "cut", err, ErrDamaged)
	_, err = OpenPurpose(one, make([]byte, MaxPurposeEnvelope+1), p.Digest())
	want(t, "too large", err, ErrDamaged)
	_, err = SealPurpose(nil, p)
	want(t, "for nobody", err, ErrInvalid)
	_, err = SealPurpose(append(all, readers[0]), p)
	want(t, "for too many", err, ErrInvalid)
	_, err = SealPurpose([]cityid.PublicKey{cityid.PublicKey(ok(keys.Generate(keys.Ed25519, nil))(t).Public().Raw())}, p)
	want(t, "for a key that signs", err, ErrInvalid)
	_, err = SealPurpose(readers, Purpose{Text: "x"})
	want(t, "without salt", err, ErrInvalid)
	evidence := ok(sealAge(readers, []byte("\xa0")))(t)
	_, err = OpenPurpose(one, evidence, p.Digest())
	want(t, "another content", err, ErrDamaged)
}

func FuzzDecodePurpose(f *testing.F) {
	for _, basis := range []string{"", "law"} {
		p := ok(NewPurpose("what for\nand why", basis))(f)
		f.Add(cityid.MustMarshal(&p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePurpose(b)
		if err != nil {
			return
		}
		if !bytes.Equal(cityid.MustMarshal(&p), b) || p.Check() != nil || strings.Contains(p.Text, "\x00") {
			t.Errorf("%x is read as %+v", b, p)
		}
	})
}

func FuzzFoldPurpose(f *testing.F) {
	f.Add(" a\r\nb\t\r e\u0301 \n\n")
	f.Fuzz(func(t *testing.T, s string) {
		if once := FoldPurpose(s); FoldPurpose(once) != once {
			t.Errorf("%q is folded to %q, and that again", s, once)
		}
	})
}
