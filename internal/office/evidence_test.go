// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"cityid"
	"cityid/keys"
)

// samplePDF is a document with one object and a comment.
func samplePDF(comment string) []byte {
	head := "%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n% " + comment + "\n"
	return fmt.Appendf(nil, "%sxref\n0 2\n0000000000 65535 f \n0000000009 00000 n \ntrailer\n<< /Size 2 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", head, len(head))
}

func sampleJPEG(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	do(t, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil))
	return b.Bytes()
}

func TestCheckDocument(t *testing.T) {
	pdf, photo := samplePDF("x"), sampleJPEG(t, 8, 8)
	wide := bytes.Clone(photo)
	at := bytes.Index(wide, []byte{0xff, 0xc0}) // start of frame: length, precision, height, width
	copy(wide[at+5:], []byte{0xff, 0xff, 0xff, 0xff})
	large := bytes.Clone(photo)
	copy(large[at+5:], []byte{0x75, 0x30, 0x75, 0x30}) // 30,000 a side is allowed, but not both
	for what, c := range map[string]struct {
		b     []byte
		media string
		err   error
	}{
		"PDF": {pdf, MediaPDF, nil}, "PDF with blanks at its end": {append(bytes.Clone(pdf), "\r\n\x00\x00"...), MediaPDF, nil}, "JPEG": {photo, MediaJPEG, nil},
		"JPEG with a tail": {append(bytes.Clone(photo), "MotionPhoto"...), MediaJPEG, nil},
		"nothing":          {nil, "", ErrInvalid}, "text": {[]byte("letter"), "", ErrInvalid}, "HTML": {[]byte("<html>%PDF-1.4"), "", ErrInvalid},
		"PDF cut off": {pdf[:len(pdf)-8], MediaPDF, ErrInvalid}, "PDF with a wrong offset": {bytes.Replace(pdf, []byte("startxref\n"), []byte("startxref\n1"), 1), MediaPDF, ErrInvalid},
		"PDF and HTML": {append(bytes.Clone(pdf), "<html>"...), MediaPDF, ErrInvalid}, "PDF of another version": {bytes.Replace(pdf, []byte("1.4"), []byte("9.9"), 1), MediaPDF, ErrInvalid},
		"JPEG cut off": {photo[:len(photo)-2], MediaJPEG, ErrInvalid}, "head of a JPEG": {photo[:20], MediaJPEG, ErrInvalid},
		"too wide": {wide, MediaJPEG, ErrTooLarge}, "too many pixels": {large, MediaJPEG, ErrTooLarge},
		"too long": {append(bytes.Clone(photo), make([]byte, MaxDocument)...), "", ErrTooLarge},
	} {
		media, err := CheckDocument(c.b)
		if media != c.media && c.err == nil || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", what, media, err)
		}
	}
}

func TestEvidence(t *testing.T) {
	r1, p1 := privateKey(t, keys.X25519, 1)
	r2, p2 := privateKey(t, keys.X25519, 2)
	stranger, _ := privateKey(t, keys.X25519, 3)
	signer, ps := privateKey(t, keys.Ed25519, 4)
	doc := EvidenceDocument{Name: "letter.pdf", Document: samplePDF("The letter of authority")}
	envelope, digest, err := SealEvidence([]cityid.PublicKey{p1, p2}, doc)
	do(t, err)
	if bytes.Contains(envelope, []byte("letter")) {
		t.Error("the envelope is open")
	}
	for _, k := range []*keys.Private{r1, r2} {
		got := ok(OpenEvidence(k, envelope, digest))(t)
		if got.Name != doc.Name || !bytes.Equal(got.Document, doc.Document) || got.Media != MediaPDF || got.Digest() != digest ||
			digest != cityid.Digest(hashOf([]byte("cityid/evidence/1"), got.Salt[:], doc.Document)) {
			t.Errorf("opened %+v", got)
		}
	}
	_, err = OpenEvidence(stranger, envelope, digest)
	want(t, "a stranger", err, ErrKey)
	_, err = OpenEvidence(signer, envelope, digest)
	want(t, "a key that signs", err, ErrKey)
	_, err = OpenEvidence(r1, envelope, cityid.Digest{1})
	want(t, "another digest", err, ErrDamaged)
	_, again, err := SealEvidence([]cityid.PublicKey{p1}, doc)
	if err != nil || again == digest {
		t.Errorf("the same salt twice: %v", err)
	}
	for what, reviewers := range map[string][]cityid.PublicKey{"nobody": nil, "a key that signs": {p1, ps}, "no key": {"\x04"}, "too many": slices.Repeat([]cityid.PublicKey{p1}, maxReviewers+1)} {
		_, _, err := SealEvidence(reviewers, doc)
		want(t, what, err, ErrInvalid)
	}
	for what, d := range map[string]EvidenceDocument{"no name": {Document: doc.Document}, "text": {Name: "a", Document: []byte("a")}, "a name of two lines": {Name: "a\nb", Document: doc.Document}} {
		_, _, err := SealEvidence([]cityid.PublicKey{p1}, d)
		want(t, what, err, ErrInvalid)
	}

	// Each byte matters.
	for i := range envelope {
		b := bytes.Clone(envelope)
		b[i] ^= 1
		if _, err := OpenEvidence(r1, b, digest); err == nil {
			t.Errorf("byte %d of %d can be changed", i, len(b))
		}
	}
	for n := range envelope {
		if _, err := OpenEvidence(r1, envelope[:n], digest); err == nil {
			t.Errorf("it can be cut to %d bytes", n)
		}
	}
	_, err = OpenEvidence(r1, append(bytes.Clone(envelope), 0), digest)
	want(t, "a byte more", err, ErrDamaged)
}

// sealRaw encrypts any bytes as an envelope is.
func sealRaw(t testing.TB, key cityid.PublicKey, plain []byte) []byte {
	t.Helper()
	r := ok(ok(keys.ParsePublic([]byte(key)))(t).AgeRecipient())(t)
	var out bytes.Buffer
	w := ok(age.Encrypt(&out, r))(t)
	ok(w.Write(plain))(t)
	do(t, w.Close())
	return out.Bytes()
}

// TestEvidenceFromHostileSealer opens well encrypted envelopes with contents that
// no honest portal writes.
func TestEvidenceFromHostileSealer(t *testing.T) {
	r, p := privateKey(t, keys.X25519, 1)
	good := EvidenceDocument{Format: evidenceFormat, Salt: cityid.Digest{1}, Name: "a.pdf", Media: MediaPDF, Document: samplePDF("")}
	ok(OpenEvidence(r, sealRaw(t, p, cityid.MustMarshal(&good)), good.Digest()))(t)
	for what, change := range map[string]func(*EvidenceDocument){
		"another format": func(d *EvidenceDocument) { d.Format = "cityid/evidence/2" }, "no salt": func(d *EvidenceDocument) { d.Salt = cityid.Digest{} },
		"another media type": func(d *EvidenceDocument) { d.Media = "text/html" }, "JPEG that is none": func(d *EvidenceDocument) { d.Media = MediaJPEG },
		"a script": func(d *EvidenceDocument) { d.Document = []byte("<script>") }, "an upward name": func(d *EvidenceDocument) { d.Name = "a\x00b" },
		"a long name": func(d *EvidenceDocument) { d.Name = strings.Repeat("x", 201) },
	} {
		d := good
		change(&d)
		_, err := OpenEvidence(r, sealRaw(t, p, cityid.MustMarshal(&d)), d.Digest())
		want(t, what, err, ErrDamaged)
	}
	for what, plain := range map[string][]byte{"nothing": nil, "no map": {0x80}, "a tail": append(cityid.MustMarshal(&good), 0), "a field more": cityid.MustMarshal(map[int]int{9: 9})} {
		_, err := OpenEvidence(r, sealRaw(t, p, plain), good.Digest())
		want(t, what, err, ErrDamaged)
	}
}

func FuzzOpenEvidence(f *testing.F) {
	r, p := privateKey(f, keys.X25519, 1)
	doc := EvidenceDocument{Salt: cityid.Digest{1}, Name: "a.pdf", Document: samplePDF("")}
	envelope, digest, err := SealEvidence([]cityid.PublicKey{p}, doc)
	do(f, err)
	f.Add(envelope)
	f.Add([]byte("age-encryption.org/v1\n-> X25519 \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := OpenEvidence(r, b, digest)
		if err == nil && got.Digest() != digest {
			t.Error("opened with another digest")
		}
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrKey) {
			t.Errorf("an error nobody can tell: %v", err)
		}
	})
}

func FuzzDecodeEvidence(f *testing.F) {
	good, _, err := encodeEvidence(EvidenceDocument{Name: "a.pdf", Document: samplePDF("")})
	do(f, err)
	f.Add(good)
	photo, _, err := encodeEvidence(EvidenceDocument{Name: "a.jpg", Document: sampleJPEG(f, 2, 2)})
	do(f, err)
	f.Add(photo)
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, digest, err := decodeEvidence(b)
		if err != nil {
			return
		}
		again, _, err := encodeEvidence(doc)
		if err != nil || !bytes.Equal(again, b) || digest != doc.Digest() {
			t.Errorf("decoded, and encoded otherwise: %v", err)
		}
	})
}

func TestEvidenceStore(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	a, b := cityid.Digest{1}, cityid.Digest{2}
	do(t, o.LinkEvidence(ctx, 7, []cityid.Digest{b, a}))
	do(t, o.StoreEvidence(ctx, a, "", []byte("from the applicant")))
	do(t, o.StoreEvidence(ctx, a, "MA.156.9001", []byte("garbage")))
	do(t, o.StoreEvidence(ctx, a, "MA.156.9001", []byte("mended")))
	o = crash(t, o, c)
	list := ok(o.EvidenceOf(ctx, 7))(t)
	if len(list) != 2 || list[0].Source != "" || list[1].Source != "MA.156.9001" || list[1].Size != 6 {
		t.Fatalf("evidence %+v", list)
	}
	if e := ok(o.ReadFile(ctx, list[0].File, MaxEnvelope))(t); string(e) != "from the applicant" {
		t.Errorf("another source replaced it by %q", e)
	}
	if missing := ok(o.MissingEvidence(ctx, 7))(t); !slices.Equal(missing, []cityid.Digest{b}) {
		t.Errorf("missing %v", missing)
	}
	want(t, "too long", o.StoreEvidence(ctx, a, "", make([]byte, MaxEnvelope+1)), ErrTooLarge)
	want(t, "no digest", o.StoreEvidence(ctx, cityid.Digest{}, "", nil), ErrInvalid)
	want(t, "no proposal", o.LinkEvidence(ctx, 0, nil), ErrInvalid)
	c.pass(2 * fileGrace)
	if s := ok(o.Sweep(ctx))(t); s.Files != 1 { // the garbage that was replaced
		t.Errorf("swept %+v", s)
	}
	if n := ok(o.DropEvidence(ctx, a))(t); n != 2 {
		t.Errorf("dropped %d", n)
	}
	if s := ok(o.Sweep(ctx))(t); s.Files != 2 {
		t.Errorf("swept %+v", s)
	}
	for i := range maxSources {
		do(t, o.StoreEvidence(ctx, b, fmt.Sprintf("source %d", i), nil))
	}
	want(t, "too many sources", o.StoreEvidence(ctx, b, "one more", nil), ErrTooLarge)
	do(t, o.StoreEvidence(ctx, b, "source 3", []byte("again")))
	if list := ok(o.EvidenceByDigest(ctx, b))(t); len(list) != maxSources {
		t.Errorf("%d envelopes", len(list))
	}
}
