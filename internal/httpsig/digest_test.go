// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestDigest has the values of RFC 9530, sections B.1 and B.2 and appendix D.
func TestDigest(t *testing.T) {
	for content, want := range map[string]string{
		"{\"hello\": \"world\"}\n": "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
		"{\"hello\": \"world\"}":   "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
		"":                         "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
	} {
		if got := Digest([]byte(content)); got != want {
			t.Errorf("%q: %s, want %s", content, got, want)
		}
		d, err := ParseDigest(want)
		if err != nil || FormatDigest(d) != want {
			t.Errorf("%s: %v", want, err)
		}
		if err := CheckDigest(d, []byte(content)); err != nil {
			t.Error(err)
		}
		if err := CheckDigest(d, []byte(content+" ")); !errors.Is(err, ErrDigest) {
			t.Errorf("another content: %v", err)
		}
	}
}

func TestParseDigest(t *testing.T) {
	good := Digest([]byte("x"))
	for _, v := range []string{
		"", "sha-256", "sha-256=", "sha-256=?1", "sha-256=::", "sha-256=:AAAA:", good[:len(good)-1], good + " ", " " + good, good + ",",
		good + ";a", good + ", " + good, good + ", sha-512=:AA==:", "sha-512=:AA==:, " + good, "SHA" + good[3:], "sha-512" + good[7:],
		strings.Replace(good, "=:", "= :", 1), strings.Replace(good, "=:", "=(:", 1) + ")", strings.TrimSuffix(good, "=:") + ":",
		strings.TrimSuffix(good, "4=:") + "5=:", `sha-256="` + good[9:] + `"`, strings.Repeat("a", MaxValue+1), good + "\n",
		"sha-256=:" + strings.Repeat("A", 44) + ":", "id-sha-256" + good[7:],
	} {
		if d, err := ParseDigest(v); !errors.Is(err, ErrMalformed) || d != [sha256.Size]byte{} {
			t.Errorf("%.80q: %x, %v", v, d, err)
		}
	}
}

func TestDigestReader(t *testing.T) {
	const content = "0123456789"
	want := sha256.Sum256([]byte(content))
	for name, c := range map[string]struct {
		content string
		max     int64
		read    string
		good    bool
	}{
		"whole":      {content, 10, content, true},
		"room":       {content, 1 << 40, content, true},
		"too long":   {content, 9, content[:9], false},
		"nothing":    {"", 10, "", false},
		"cut":        {content[:9], 10, content[:9], false},
		"longer":     {content + "0", 11, content + "0", false},
		"other":      {"0123456780", 10, "0123456780", false},
		"not at all": {content, 0, "", false},
	} {
		for wrap, r := range map[string]io.Reader{
			"as it is": strings.NewReader(c.content), "octet by octet": iotest.OneByteReader(strings.NewReader(c.content)),
			"with its end": iotest.DataErrReader(strings.NewReader(c.content)),
		} {
			d := NewDigestReader(r, want, c.max)
			got, err := io.ReadAll(d)
			if string(got) != c.read || d.Size() != int64(len(got)) || c.good && err != nil || !c.good && !errors.Is(err, ErrDigest) {
				t.Errorf("%s, %s: %q, %v", name, wrap, got, err)
			}
			if n, again := d.Read(make([]byte, 1)); n != 0 || again == nil || c.good != (again == io.EOF) {
				t.Errorf("%s, %s: then %d, %v", name, wrap, n, again)
			}
		}
	}
	more := NewDigestReader(strings.NewReader(content), sha256.Sum256([]byte(content[:9])), 9)
	for range 2 { // it does not end well at the second try
		if _, err := io.ReadAll(more); !errors.Is(err, ErrDigest) {
			t.Errorf("one octet more than was signed: %v", err)
		}
	}
	d := NewDigestReader(iotest.ErrReader(io.ErrUnexpectedEOF), want, 10)
	if _, err := io.ReadAll(d); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a connection that breaks: %v", err)
	}
	empty := NewDigestReader(strings.NewReader(""), sha256.Sum256(nil), 0)
	if _, err := io.ReadAll(empty); err != nil {
		t.Errorf("an empty content: %v", err)
	}
}

func TestNonce(t *testing.T) {
	a, b := NewNonce(), NewNonce()
	if a == b || len(a) != 22 || CheckNonce(a) != nil || CheckNonce(b) != nil {
		t.Errorf("%q, %q", a, b)
	}
	for _, s := range []string{"", a[:21], a + "A", a + "==", a[:20] + "\nA", "+" + a[1:], "/" + a[1:], a[:21] + "B", strings.Repeat("A", 1000)} {
		if err := CheckNonce(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
