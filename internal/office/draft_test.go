// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
)

func TestResumeCodes(t *testing.T) {
	o, _ := newOffice(t)
	code := ok(o.NewDraft(t.Context(), nil))(t)
	if len(code) != 28+6 || strings.Trim(code, symbols+"-") != "" {
		t.Errorf("code %s", code)
	}
	for what, typed := range map[string]string{
		"small letters": strings.ToLower(code), "without hyphens": strings.ReplaceAll(code, "-", ""), "with blanks": " " + strings.ReplaceAll(code, "-", "  ") + "\n",
		"dashes": strings.ReplaceAll(code, "-", "–"), "full width": fullWidth(code), "an O": strings.ReplaceAll(code, "0", "O"), "an l": strings.ReplaceAll(code, "1", "l"), "an I": strings.ReplaceAll(code, "1", "I"),
	} {
		if got, err := FormatResume(typed); err != nil || got != code {
			t.Errorf("%s: %q gives %s, %v", what, typed, got, err)
		}
	}
	plain := []byte(strings.ReplaceAll(code, "-", ""))
	for i := range plain { // every slip in one place, and every swap of neighbours, is found
		for _, s := range []byte(symbols) {
			b := bytes.Clone(plain)
			if b[i] = s; s == plain[i] {
				continue
			}
			if _, err := FormatResume(string(b)); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s for %s: %v", b, plain, err)
			}
		}
		if i > 0 && plain[i] != plain[i-1] {
			b := bytes.Clone(plain)
			b[i], b[i-1] = b[i-1], b[i]
			if _, err := FormatResume(string(b)); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s for %s: %v", b, plain, err)
			}
		}
	}
	for _, bad := range []string{"", code[1:], code + "0", strings.Replace(code, code[:1], "U", 1), strings.Repeat("0", 300), "\xff" + code} {
		_, err := FormatResume(bad)
		want(t, bad, err, ErrInvalid)
	}
}

func fullWidth(s string) string {
	return strings.Map(func(c rune) rune { return c + 0xff01 - '!' }, s)
}

func FuzzResume(f *testing.F) {
	f.Add("K7QW-2M9D-0XJ4-TB8N-6R3H-VYC5-GZ1P")
	f.Add("００００ 0000 OOOO lIlI 0000 0000 0000")
	f.Fuzz(func(t *testing.T, typed string) {
		shown, err := FormatResume(typed)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if again, err := FormatResume(shown); err != nil || again != shown {
			t.Errorf("%q is shown as %s, and that as %s, %v", typed, shown, again, err)
		}
	})
}

func TestDrafts(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	const secret = "王丽 applies for a code and gives a telephone number"
	code := ok(o.NewDraft(ctx, []byte(secret)))(t)
	other := ok(o.NewDraft(ctx, []byte("another")))(t)
	c.pass(time.Hour)
	if n := ok(o.SaveDraft(ctx, code, 1, []byte(secret+", twice")))(t); n != 2 {
		t.Errorf("revision %d", n)
	}
	_, err := o.SaveDraft(ctx, code, 1, []byte("from another window"))
	want(t, "an old revision", err, ErrConflict)
	_, err = o.SaveDraft(ctx, code, 2, make([]byte, MaxDraft+1))
	want(t, "too much", err, ErrTooLarge)
	_, err = o.NewDraft(ctx, make([]byte, MaxDraft+1))
	want(t, "too much", err, ErrTooLarge)
	ok(o.NewDraft(ctx, make([]byte, MaxDraft)))(t)

	letter := EvidenceDocument{Name: "介绍信.pdf", Document: samplePDF("the very letter")}
	file := ok(o.Attach(ctx, code, letter))(t)
	photo := ok(o.Attach(ctx, code, EvidenceDocument{Name: "photo.jpg", Document: sampleJPEG(t, 4, 4)}))(t)
	for _, office := range []*Office{o, crash(t, o, c)} {
		d := ok(office.Draft(ctx, strings.ToLower(code)))(t)
		if d.Revision != 2 || string(d.Content) != secret+", twice" || len(d.Attachments) != 2 || !d.Expires.Equal(c.now().Add(30*24*time.Hour)) {
			t.Errorf("draft %+v", d)
		}
		got := ok(office.Attachment(ctx, code, file))(t)
		if got.Name != letter.Name || !bytes.Equal(got.Document, letter.Document) || got.Salt.IsZero() || got.Media != MediaPDF {
			t.Errorf("attachment %+v", got)
		}
		_, err := office.Attachment(ctx, other, file)
		want(t, "another draft's attachment", err, ErrNotFound)
		// Nothing of it can be read, or found, in the folder.
		scan(t, office.dir, code, strings.ReplaceAll(code, "-", ""), strings.ReplaceAll(code, "-", "")[:secretSymbols], "王丽", "telephone", "twice", "another",
			"介绍信", "very letter", "%PDF", "photo.jpg", "JFIF")
	}
	_, err = o.Attach(ctx, other, EvidenceDocument{Name: "x.txt", Document: []byte("text")})
	want(t, "neither PDF nor JPEG", err, ErrInvalid)
	do(t, o.Detach(ctx, code, photo))
	want(t, "detached before", o.Detach(ctx, code, photo), ErrNotFound)

	// A life begins with each saving.
	c.pass(30*24*time.Hour - time.Second)
	ok(o.Draft(ctx, code))(t)
	_, err = o.Draft(ctx, other)
	want(t, "an hour older", err, ErrExpired)
	_, err = o.SaveDraft(ctx, other, 1, nil)
	want(t, "saving it", err, ErrExpired)
	ok(o.SaveDraft(ctx, code, 2, nil))(t)
	s := ok(o.Sweep(ctx))(t)
	if s.Rows != 1 || s.Files != 1 { // the other draft, and the photograph
		t.Errorf("swept %+v", s)
	}
	do(t, o.DeleteDraft(ctx, code))
	want(t, "deleted before", o.DeleteDraft(ctx, code), ErrNotFound)
	if s := ok(o.Sweep(ctx))(t); s.Files != 1 {
		t.Errorf("swept %+v", s)
	}
	_, err = o.Attachment(ctx, code, file)
	want(t, "of a deleted draft", err, ErrNotFound)
}

func TestDraftTampered(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	code := ok(o.NewDraft(ctx, []byte("first")))(t)
	other := ok(o.NewDraft(ctx, []byte("other")))(t)
	k, k2 := ok(openResume(code))(t), ok(openResume(other))(t)
	box := func(id cityid.Digest) (b []byte) {
		do(t, o.reads.QueryRow(`SELECT content FROM draft WHERE id = ?`, id[:]).Scan(&b))
		return b
	}
	put := func(b []byte, revision int) {
		ok(o.writes.Exec(`UPDATE draft SET content = ?, revision = ? WHERE id = ?`, b, revision, k.id[:]))(t)
	}
	first := box(k.id)
	ok(o.SaveDraft(ctx, code, 1, []byte("second")))(t)
	second := box(k.id)
	for what, b := range map[string][]byte{"of another draft": box(k2.id), "of an earlier revision": first, "cut": second[:len(second)-1], "empty": {}} {
		put(b, 2)
		_, err := o.Draft(ctx, code)
		want(t, what, err, ErrDamaged)
	}
	for i := range second {
		b := bytes.Clone(second)
		b[i] ^= 1
		put(b, 2)
		if _, err := o.Draft(ctx, code); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	put(second, 1)
	_, err := o.Draft(ctx, code)
	want(t, "another revision", err, ErrDamaged)
	put(second, 2)
	ok(o.Draft(ctx, code))(t)

	// The same box as a file of another draft, and a file changed on the disk.
	file := ok(o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF("")}))(t)
	ok(o.writes.Exec(`INSERT INTO draft_file (draft, file, added) VALUES (?, ?, 0)`, k2.id[:], file[:]))(t)
	_, err = o.Attachment(ctx, other, file)
	want(t, "another draft's box", err, ErrDamaged)
	b := ok(os.ReadFile(o.path(file)))(t)
	b[len(b)/2] ^= 1
	do(t, os.WriteFile(o.path(file), b, 0o600))
	_, err = o.Attachment(ctx, code, file)
	want(t, "a changed file", err, ErrDamaged)
}

func TestDraftLimits(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	code := ok(o.NewDraft(ctx, nil))(t)
	for range MaxAttachments {
		ok(o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF("")}))(t)
	}
	_, err := o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF("")})
	want(t, "one more", err, ErrTooLarge)
	// A stranger's attachment leaves nothing on the disk.
	count := func() (n int) {
		do(t, filepath.WalkDir(filepath.Join(o.dir, filesDir), func(_ string, d os.DirEntry, err error) error { n++; return err }))
		return n
	}
	before := count()
	secret := randomSymbols(secretSymbols)
	_, err = o.Attach(ctx, secret+checkSymbols(secret), EvidenceDocument{Name: "a.pdf", Document: samplePDF("")})
	want(t, "no such draft", err, ErrNotFound)
	if count() != before {
		t.Error("a file was written for it")
	}
}

// TestDraftWindows saves one draft from several windows at once: each revision
// is written once, and none is lost unseen.
func TestDraftWindows(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	code := ok(o.NewDraft(ctx, nil))(t)
	var saved atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				d, err := o.Draft(ctx, code)
				if err != nil {
					t.Error(err)
					continue
				}
				if _, err := o.SaveDraft(ctx, code, d.Revision, append(d.Content, 'x')); err == nil {
					saved.Add(1)
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d := ok(o.Draft(ctx, code))(t)
	if int64(len(d.Content)) != saved.Load() || int64(d.Revision) != saved.Load()+1 {
		t.Errorf("%d savings, %d bytes, revision %d", saved.Load(), len(d.Content), d.Revision)
	}
}
