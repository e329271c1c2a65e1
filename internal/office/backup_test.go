// SPDX-License-Identifier: Apache-2.0

package office

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"filippo.io/age"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/keys"
)

// filled returns an office with something of every kind in it, and the resume
// code of its draft.
func filled(t *testing.T) (*Office, *clock, string) {
	ctx := t.Context()
	o, c := newOffice(t)
	code := ok(o.NewDraft(ctx, []byte("content")))(t)
	ok(o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF("")}))(t)
	do(t, o.StoreEvidence(ctx, cityid.Digest{1}, "", []byte("envelope")))
	do(t, o.PutSealed(ctx, cityid.SealedContent{Code: cityid.MustParse("MA.156.1301"), Salt: cityid.Digest{1}}))
	return o, c, code
}

func same(t *testing.T, o *Office, code string) {
	t.Helper()
	ctx := t.Context()
	d := ok(o.Draft(ctx, code))(t)
	if string(d.Content) != "content" {
		t.Errorf("draft %q", d.Content)
	}
	ok(o.Attachment(ctx, code, d.Attachments[0]))(t)
	e := ok(o.EvidenceByDigest(ctx, cityid.Digest{1}))(t)
	if b := ok(o.ReadFile(ctx, e[0].File, 100))(t); string(b) != "envelope" {
		t.Errorf("envelope %q", b)
	}
	s := cityid.SealedContent{Code: cityid.MustParse("MA.156.1301"), Salt: cityid.Digest{1}}
	ok(o.Sealed(ctx, s.Code, s.Digest()))(t)
}

func TestSnapshot(t *testing.T) {
	ctx := t.Context()
	o, c, code := filled(t)
	key, _ := privateKey(t, keys.X25519, 1)
	stranger, _ := privateKey(t, keys.X25519, 2)
	recipient, identity := ok(key.Public().AgeRecipient())(t), ok(key.AgeIdentity())(t)
	var plain, sealed bytes.Buffer
	do(t, o.Snapshot(ctx, &plain))
	do(t, o.Snapshot(ctx, &sealed, recipient))
	if bytes.Contains(sealed.Bytes(), []byte(dbName)) || !bytes.Contains(plain.Bytes(), o.key[:]) {
		t.Error("the wrong one is encrypted")
	}
	if left := ok(os.ReadDir(filepath.Join(o.dir, filesDir, tempDir)))(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for what, archive := range map[string][]byte{"plain": plain.Bytes(), "encrypted": sealed.Bytes()} {
		dir := filepath.Join(t.TempDir(), what, "office")
		do(t, Restore(ctx, dir, bytes.NewReader(archive), identity))
		same(t, open(t, dir, c), code)
		want(t, "over another office", Restore(ctx, dir, bytes.NewReader(archive), identity), ErrConflict)
	}
	empty := t.TempDir()
	do(t, Restore(ctx, empty, bytes.NewReader(plain.Bytes())))

	refuse := func(what string, archive []byte, target error, identities ...age.Identity) {
		t.Helper()
		parent := t.TempDir()
		want(t, what, Restore(ctx, filepath.Join(parent, "office"), bytes.NewReader(archive), identities...), target)
		if left := ok(os.ReadDir(parent))(t); len(left) != 0 {
			t.Errorf("%s: left behind %v", what, left)
		}
	}
	refuse("without a key", sealed.Bytes(), ErrKey)
	refuse("with another key", sealed.Bytes(), ErrKey, ok(stranger.AgeIdentity())(t))
	refuse("nothing", nil, ErrDamaged)
	refuse("something else", []byte("PK\x03\x04"), ErrDamaged)
	for _, n := range []int{1, 600, 1024, plain.Len() / 2, plain.Len() - 1536} { // at last: without the last block of the last file
		refuse("cut off", plain.Bytes()[:n], ErrDamaged)
	}
	for _, n := range []int{30, 300, sealed.Len() / 2, sealed.Len() - 1} {
		refuse("cut off, encrypted", sealed.Bytes()[:n], ErrDamaged, identity)
	}
	for i := 0; i < sealed.Len(); i += 1 + sealed.Len()/50 {
		b := bytes.Clone(sealed.Bytes())
		b[i] ^= 1
		if err := Restore(ctx, filepath.Join(t.TempDir(), "x"), bytes.NewReader(b), identity); err == nil {
			t.Errorf("byte %d of an encrypted archive can be changed", i)
		}
	}
}

// TestRestoreHostile restores archives that no office writes.
func TestRestoreHostile(t *testing.T) {
	ctx := t.Context()
	o, _, _ := filled(t)
	var archive bytes.Buffer
	do(t, o.Snapshot(ctx, &archive))
	type entry struct {
		name string
		body []byte
	}
	var good []entry
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		do(t, err)
		good = append(good, entry{h.Name, ok(io.ReadAll(r))(t)})
	}
	if len(good) != 5 {
		t.Fatalf("%d entries", len(good))
	}
	for what, change := range map[string]func(list []entry) []entry{
		"a file changed": func(l []entry) []entry { l[4].body[0] ^= 1; return l },
		"the database":   func(l []entry) []entry { l[1].body[5000] ^= 1; return l },
		"the key":        func(l []entry) []entry { l[2].body[0] ^= 1; return l },
		"a file missing": func(l []entry) []entry { return l[:4] },
		"a file more":    func(l []entry) []entry { return append(l, entry{"files/x", nil}) },
		"files swapped":  func(l []entry) []entry { l[3], l[4] = l[4], l[3]; return l },
		"a name upwards": func(l []entry) []entry { l[4].name = "../x"; return l },
		"a manifest upwards": func(l []entry) []entry {
			l[0].body = bytes.Replace(l[0].body, []byte("office.db"), []byte("../x.db.."), 1)
			return l
		},
		"no entries": func(l []entry) []entry { l[0].body = []byte(`{"format":"` + archiveFormat + `"}`); return l },
		"a file nobody names": func(l []entry) []entry {
			d := cityid.Digest(hashOf())
			l[0].body = bytes.Replace(l[0].body, []byte("]}"), []byte(`,{"name":"files/`+d.String()+`","size":0,"sha256":"`+d.String()+`"}]}`), 1)
			return append(l, entry{"files/" + d.String(), nil})
		},
		"no manifest": func(l []entry) []entry { return l[1:] },
	} {
		var list []entry
		for _, e := range good {
			list = append(list, entry{e.name, bytes.Clone(e.body)})
		}
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, e := range change(list) {
			do(t, w.WriteHeader(&tar.Header{Name: e.name, Size: int64(len(e.body)), Mode: 0o600}))
			ok(w.Write(e.body))(t)
		}
		do(t, w.Close())
		parent := t.TempDir()
		want(t, what, Restore(ctx, filepath.Join(parent, "a", "office"), &out), ErrDamaged)
		if _, err := os.Stat(filepath.Join(parent, "a", "office")); err == nil {
			t.Errorf("%s: a folder was made", what)
		}
	}
	b := bytes.Clone(good[0].body)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	b = bytes.Replace(b, []byte("backup/1"), []byte("backup/2"), 1)
	do(t, w.WriteHeader(&tar.Header{Name: folder.ManifestName, Size: int64(len(b)), Mode: 0o600}))
	ok(w.Write(b))(t)
	want(t, "a later format", Restore(ctx, filepath.Join(t.TempDir(), "x"), &out), ErrNewer)
}

// TestSnapshotWhileInUse takes snapshots while others write and sweep: each is
// consistent, and nobody waits for a slow receiver.
func TestSnapshotWhileInUse(t *testing.T) {
	ctx := t.Context()
	o, c, code := filled(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				do(t, o.StoreEvidence(ctx, cityid.Digest{2, byte(n)}, "", []byte(strings.Repeat("x", i%1000))))
				c.pass(2 * fileGrace / 100)
				ok(o.Sweep(ctx))(t)
			}
		})
	}
	for range 5 {
		var archive bytes.Buffer
		do(t, o.Snapshot(ctx, &archive))
		dir := filepath.Join(t.TempDir(), "x")
		do(t, Restore(ctx, dir, &archive))
		same(t, open(t, dir, c), code)
	}
	stop.Store(true)
	wg.Wait()
	// A file damaged on the disk does not get into a backup unseen.
	e := ok(o.EvidenceByDigest(ctx, cityid.Digest{1}))(t)
	do(t, os.WriteFile(o.path(e[0].File), []byte("Envelope"), 0o600))
	want(t, "a damaged file", o.Snapshot(ctx, io.Discard), ErrDamaged)
}

// TestCopyFolder copies an office that is in use.
func TestCopyFolder(t *testing.T) {
	ctx := t.Context()
	o, c, code := filled(t)
	to := filepath.Join(t.TempDir(), "copy")
	do(t, CopyFolder(ctx, o.dir, to))
	is := open(t, to, c)
	same(t, is, code)
	if b := ok(os.ReadFile(filepath.Join(to, keyName)))(t); !bytes.Equal(b, ok(os.ReadFile(filepath.Join(o.dir, keyName)))(t)) {
		t.Error("the key is another")
	}
	do(t, is.Close())
	// While documents come and go.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := byte(2); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			code, err := o.NewDraft(ctx, []byte{n})
			if err == nil {
				_, err = o.Attach(ctx, code, EvidenceDocument{Name: "b.pdf", Document: samplePDF(string(rune('a' + n%26)))})
			}
			if err == nil {
				err = o.DeleteDraft(ctx, code)
			}
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = o.sweepFiles(ctx)
		}
	})
	for range 10 {
		to := filepath.Join(t.TempDir(), "copy")
		if err := CopyFolder(ctx, o.dir, to); err != nil {
			t.Error(err)
			continue
		}
		is := open(t, to, c)
		same(t, is, code)
		do(t, is.Close())
	}
	close(stop)
	wg.Wait()
	// A file that is gone for good is told.
	e := ok(o.EvidenceByDigest(ctx, cityid.Digest{1}))(t)
	do(t, os.Remove(o.path(e[0].File)))
	want(t, "a lost file", CopyFolder(ctx, o.dir, filepath.Join(t.TempDir(), "copy")), ErrDamaged)
	want(t, "no office", CopyFolder(ctx, t.TempDir(), filepath.Join(t.TempDir(), "copy")), ErrDamaged)
}
