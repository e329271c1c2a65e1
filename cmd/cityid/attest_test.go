// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
)

// aStream is a stream that writes into a folder of the test and has no node.
func aStream(t *testing.T, dir string) (*streaming, *bytes.Buffer) {
	t.Helper()
	var talk bytes.Buffer
	f := &flags{FlagSet: flag.NewFlagSet("test", flag.ContinueOnError), term: &terminal{out: io.Discard, err: &talk}}
	s := &streaming{attesting: &attesting{writing: &writing{flags: f}, source: cityid.MustParse("MA.156.1301.01"), proofs: dir}}
	if err := s.resume(); err != nil {
		t.Fatal(err)
	}
	return s, &talk
}

func (s *streaming) mustTake(t *testing.T, texts ...string) {
	t.Helper()
	for _, x := range texts {
		if err := s.take(line{text: []byte(x)}); err != nil {
			t.Fatal(err)
		}
	}
}

// proves checks that the n-th batch proves exactly the pieces.
func proves(t *testing.T, dir string, n int, pieces ...string) {
	t.Helper()
	l, err := readLeaves(context.Background(), filepath.Join(dir, fmt.Sprintf("batch-%06d.leaves", n)))
	if err != nil {
		t.Fatal(err)
	}
	if len(l.leaves) != len(pieces) || l.Until < l.From {
		t.Fatalf("batch %d has %d leaves of %d, from %s until %s", n, len(l.leaves), len(pieces), l.From, l.Until)
	}
	tree, err := l.tree()
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range pieces {
		if at, err := l.find([]byte(x)); err != nil || at != uint64(i) {
			t.Errorf("piece %q is at %d: %v", x, at, err)
		}
		p, err := tree.Proof(l.Source, uint64(i), l.Lines)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(strings.NewReader(x + "\n")); err != nil {
			t.Errorf("piece %q: %v", x, err)
		}
	}
	if _, err := l.find([]byte("never read")); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Errorf("a piece that was never read: %v", err)
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// TestStreamCrashes stops a stream after each step, and goes on in a new one: no
// reading that was written is lost, and none is vouched for twice.
func TestStreamCrashes(t *testing.T) {
	t.Run("with an open batch", func(t *testing.T) {
		dir := t.TempDir()
		s, _ := aStream(t, dir)
		s.mustTake(t, "a", "b")
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		s.mustTake(t, "c", "d", "e") // and it crashes here

		next, talk := aStream(t, dir)
		proves(t, dir, 1, "a", "b")
		proves(t, dir, 2, "c", "d", "e")
		if next.number != 3 || next.open != nil || !strings.Contains(talk.String(), "3 readings that an earlier run left open") {
			t.Errorf("goes on with batch %d: %s", next.number, talk)
		}
		if got := namesIn(t, dir); !slices.Equal(got, []string{"batch-000001.leaves", "batch-000002.leaves"}) {
			t.Errorf("files %q", got)
		}
	})
	t.Run("within a leaf", func(t *testing.T) {
		dir := t.TempDir()
		s, _ := aStream(t, dir)
		s.mustTake(t, "a", "b")
		part := s.path(1, "part")
		info, err := os.Stat(part)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(part, info.Size()-5); err != nil {
			t.Fatal(err)
		}
		aStream(t, dir)
		proves(t, dir, 1, "a")
	})
	t.Run("within the first line", func(t *testing.T) {
		for _, keep := range []int64{0, 1, 40} {
			dir := t.TempDir()
			s, _ := aStream(t, dir)
			s.mustTake(t, "a")
			if err := os.Truncate(s.path(1, "part"), keep); err != nil {
				t.Fatal(err)
			}
			if next, _ := aStream(t, dir); next.number != 1 || len(namesIn(t, dir)) != 0 {
				t.Errorf("%d octets kept: goes on with batch %d, %q", keep, next.number, namesIn(t, dir))
			}
		}
	})
	t.Run("between writing the leaves and removing the part", func(t *testing.T) {
		dir := t.TempDir()
		s, _ := aStream(t, dir)
		s.mustTake(t, "a", "b")
		part, err := os.ReadFile(s.path(1, "part"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(1, "part"), part, 0o600); err != nil {
			t.Fatal(err)
		}
		if next, _ := aStream(t, dir); next.number != 2 {
			t.Errorf("goes on with batch %d", next.number)
		}
		proves(t, dir, 1, "a", "b")
		if got := namesIn(t, dir); len(got) != 1 {
			t.Errorf("files %q", got)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		dir := t.TempDir()
		s, talk := aStream(t, dir)
		s.mustTake(t, "a", "b")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.interrupted(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(talk.String(), "2 readings in") {
			t.Errorf("%v: %s", err, talk)
		}
		aStream(t, dir)
		proves(t, dir, 1, "a", "b")
	})
	t.Run("of another source", func(t *testing.T) {
		dir := t.TempDir()
		s, _ := aStream(t, dir)
		s.mustTake(t, "a")
		other := &streaming{attesting: &attesting{writing: s.writing, source: cityid.MustParse("MA.156"), proofs: dir}}
		if err := other.resume(); exitCode(err) != exitConflict {
			t.Errorf("it goes on: %v", err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		dir := t.TempDir()
		s, _ := aStream(t, dir)
		s.mustTake(t, "a")
		b, err := os.ReadFile(s.path(1, "part"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(1, "part"), bytes.Replace(b, []byte(`"version":1`), []byte(`"version":7`), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		other := &streaming{attesting: s.attesting}
		if err := other.resume(); err == nil || len(namesIn(t, dir)) != 1 {
			t.Errorf("it goes on, or drops the file: %v", err)
		}
	})
}

// TestStreamWithoutNode: while no node answers, batches are kept and the stream
// goes on.
func TestStreamWithoutNode(t *testing.T) {
	dir := t.TempDir()
	s, talk := aStream(t, dir)
	s.node, s.lifetime = "http://127.0.0.1:1", maxLifetime
	for _, x := range []string{"a", "b", "c"} {
		s.mustTake(t, x)
		if err := s.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n, x := range []string{"a", "b", "c"} {
		proves(t, dir, n+1, x)
	}
	if !strings.Contains(talk.String(), "batch 1: node unreachable") || strings.Contains(talk.String(), "batch 2:") {
		t.Errorf("talk %s", talk)
	}
	if err := s.finish(t.Context(), io.EOF); exitCode(err) != exitUnreachable {
		t.Errorf("the end: %v", err)
	}
	if err := s.finish(t.Context(), io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an input that breaks off: %v", err)
	}
}

// TestStreamInterval: a batch is closed while the stream goes on.
func TestStreamInterval(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	dir := t.TempDir()
	s, _ := aStream(t, dir)
	s.flags.term.in, s.interval, s.node, s.lifetime = in, minInterval, "http://127.0.0.1:1", maxLifetime
	done := make(chan error)
	go func() { done <- s.read(t.Context()) }()
	if _, err := io.WriteString(out, "a\nb\n"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "batch-000001.leaves")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no batch is closed")
		}
	}
	if _, err := io.WriteString(out, "c"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; exitCode(err) != exitUnreachable {
		t.Errorf("the end: %v", err)
	}
	last := len(namesIn(t, dir))
	proves(t, dir, last, "c")
	if last == 2 {
		proves(t, dir, 1, "a", "b")
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		in   string
		want []string // of those too long "long"
	}{
		{"", []string{""}}, {"a\nb\n", []string{"a", "b", ""}}, {"a\n\nb", []string{"a", "", "b"}}, {"a\r\n", []string{"a\r", ""}},
		{long + "\nb", []string{long, "b"}}, {long + "y\nb", []string{"long", "b"}}, {long + long + "\n" + long + "y", []string{"long", "long"}},
	} {
		in := make(chan line)
		go lines(t.Context(), strings.NewReader(tt.in), in)
		var got []string
		for {
			l := <-in
			text := string(l.text)
			if l.long {
				text = "long"
			}
			got = append(got, text)
			if l.err != nil {
				if l.err != io.EOF {
					t.Error(l.err)
				}
				break
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%.20q gives %d lines, want %d", tt.in, len(got), len(tt.want))
		}
	}
	// One who no longer takes lines does not keep the reader waiting.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lines(ctx, strings.NewReader("a\nb\n"), make(chan line))
}

func TestLongLinesAreSkipped(t *testing.T) {
	dir := t.TempDir()
	s, talk := aStream(t, dir)
	s.mustTake(t, "a", "")
	if err := s.take(line{long: true}); err != nil {
		t.Fatal(err)
	}
	s.mustTake(t, "b")
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	proves(t, dir, 1, "a", "b")
	if s.skipped != 1 || !strings.Contains(talk.String(), "not vouched for") {
		t.Errorf("%d skipped: %s", s.skipped, talk)
	}
}

// someLeaves is a leaves file in order.
func someLeaves() *leavesFile {
	return &leavesFile{
		leavesHead{Version: 1, Source: cityid.MustParse("MA.156.1301"), Seed: cityid.Digest{1}, Leaves: 2, Size: 9, Lines: true, From: 100, Until: 160},
		[]cityid.Digest{{2}, {'\n', 3}},
	}
}

func TestParseLeaves(t *testing.T) {
	good := string(someLeaves().encode())
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %q", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, text := range map[string]string{
		"as it is": good, "open, with a cut leaf": change(`"leaves":2`, `"leaves":0`)[:len(good)-7],
		"!empty": "", "!no line": "{}", "!cut": good[:len(good)-1], "!longer": good + "x", "!other version": change(`"version":1`, `"version":2`),
		"!unknown": change(`{`, `{"x":1,`), "!twice": change(`"size":9`, `"size":9,"size":9`), "!blanks": change(`"size":9`, `"size": 9`),
		"!no seed": change(someLeaves().Seed.String(), ""), "!fewer": change(`"leaves":2`, `"leaves":1`), "!times": change("00:02:40", "00:01:30"),
		"!long head": strings.Repeat(" ", maxLeavesHead) + good,
	} {
		l, err := parseLeaves([]byte(text))
		if (err != nil) != strings.HasPrefix(name, "!") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "as it is" && err == nil && !bytes.Equal(l.encode(), []byte(good)) {
			t.Errorf("it comes back as %q", l.encode())
		}
	}
}

func FuzzLeaves(f *testing.F) {
	f.Add(someLeaves().encode())
	open := someLeaves()
	open.Leaves, open.Until = 0, 0
	f.Add(open.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLeaves(data)
		if err != nil {
			return
		}
		if again := l.encode(); !bytes.HasPrefix(data, again) || l.Leaves != 0 && len(again) != len(data) {
			t.Errorf("%q comes back as %q", data, again)
		}
	})
}

// TestKeyStanding: what the records of a bundle tell of the key that attested.
func TestKeyStanding(t *testing.T) {
	policy := func(roles cityid.Roles, compromised cityid.Time) *cityid.Policy {
		return &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: "\x01meter", Roles: roles, Compromised: compromised}}}}}
	}
	record := func(code, parent string, status cityid.Status, heir string, p *cityid.Policy) cityid.Record {
		r := cityid.Record{Code: cityid.MustParse(code), Status: status, Policy: p}
		if parent != "" {
			r.Parent = cityid.MustParse(parent)
		}
		if heir != "" {
			r.Heir = cityid.MustParse(heir)
		}
		return r
	}
	const active, retired = cityid.StatusActive, cityid.StatusRetired
	source := record("MA.156.1301.01/60.010101/1", "MA.156.1301.01", active, "", nil)
	for name, tt := range map[string]struct {
		records []cityid.Record
		want    string
	}{
		"inherited": {[]cityid.Record{source, record("MA.156.1301.01", "MA.156.1301", active, "", nil), record("MA.156.1301", "", active, "", policy(cityid.RoleAssert, 0))},
			"stands in the policy of MA.156.1301, for: assert"},
		"compromised": {[]cityid.Record{source, record("MA.156.1301.01", "", active, "", policy(cityid.RoleAssert, 100))},
			"stands in the policy of MA.156.1301.01, for: assert; counts as compromised since 1970-01-01T00:01:40Z"},
		"gone": {[]cityid.Record{source, record("MA.156.1301.01", "", active, "", &cityid.Policy{})}, "does not stand now in the policy of MA.156.1301.01 itself"},
		"merged": {[]cityid.Record{source, record("MA.156.1301.01", "MA.156.1301", retired, "MA.156.1301.02", &cityid.Policy{}), record("MA.156.1301.02", "", active, "", policy(cityid.RoleField, 0))},
			"stands in the policy of MA.156.1301.02, for: field"},
		"suspended above": {[]cityid.Record{source, record("MA.156.1301.01", "MA.156.1301", active, "", policy(cityid.RoleAssert, 0)), record("MA.156.1301", "", cityid.StatusSuspended, "", nil)},
			"stands in the policy of MA.156.1301.01, for: assert; this policy does not act now: MA.156.1301 is suspended"},
		"no records":  {nil, ""},
		"in a circle": {[]cityid.Record{source, record("MA.156.1301.01", "MA.156", retired, "MA.156.1301.01", nil)}, ""},
	} {
		k := standingOf(tt.records, &cityid.Attestation{Source: source.Code, Key: "\x01meter"})
		if got := strings.Join(k.words("en"), "; "); got != tt.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
