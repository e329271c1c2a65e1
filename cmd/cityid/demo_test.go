// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/chain"
)

func TestDemoFacts(t *testing.T) {
	f, err := readDemoFacts()
	if err != nil {
		t.Fatal(err)
	}
	if len(f.provinces) != 31 || len(f.cities) != 333 {
		t.Fatalf("%d provinces and %d cities, want 31 and 333", len(f.provinces), len(f.cities))
	}
	kinds := map[cityid.Kind]int{}
	above, seen := map[string]bool{}, map[cityid.Code]bool{}
	for _, p := range f.provinces {
		kinds[p.kind]++
		above[p.code.Place()] = p.kind == cityid.KindProvince
	}
	if kinds[cityid.KindProvince] != 27 || kinds[cityid.KindCity] != 4 {
		t.Errorf("the provinces are %v, want 27 and four municipalities", kinds)
	}
	for _, p := range append(f.provinces, f.cities...) {
		place := p.code.Place()
		if seen[p.code] || p.code.Parent() != demoApex {
			t.Errorf("%s appears twice or is no place below %s", p.code, demoApex)
		}
		seen[p.code] = true
		if want := place + "000000"[len(place):]; p.gb2260 != want {
			t.Errorf("%s: GB/T 2260 number %s, want %s", p.code, p.gb2260, want)
		}
		if len(place) == 4 && !above[place[:2]] {
			t.Errorf("%s lies in no province of the table", p.code)
		}
		content := cityid.Content{Names: p.names, Location: p.location}
		if err := content.Check(); err != nil || !p.names.Has("zh") || !p.names.Has("en") {
			t.Errorf("%s: names %v: %v", p.code, p.names, err)
		}
		if l := p.location; (l == nil) != (p.kind == cityid.KindProvince) {
			t.Errorf("%s: location %v of a %s", p.code, l, p.kind)
		} else if l != nil && (l.Lat < 3e7 || l.Lat > 54e7 || l.Lon < 73e7 || l.Lon > 136e7) {
			t.Errorf("%s: %v lies outside China", p.code, *l)
		}
	}
}

func TestDemoFactsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"other columns":    "code,name\n11,x\n",
		"missing cell":     "code,gb2260\n11\n",
		"superfluous cell": "code,gb2260\n11,110000,x\n",
	} {
		if rows, err := demoTable([]byte(text), "code", "gb2260"); err == nil {
			t.Errorf("%s: read as %v", name, rows)
		}
	}
}

// runDemo runs the command as it is typed and returns its exit code and what
// it said.
func runDemo(ctx context.Context, args ...string) (code int, out, talk string) {
	var stdout, stderr bytes.Buffer
	code = run(ctx, append([]string{"demo"}, args...), &terminal{out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// demoHash returns a hash of all records that a stopped demo's first node has, and
// how many keys its state has. Receipts are anchored in every run; records stay.
func demoHash(t *testing.T, folder string) (cityid.Digest, uint64) {
	t.Helper()
	n, err := chain.Open(chain.Config{Home: filepath.Join(folder, "node0")})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := sha256.New()
	for q := (cityid.ChildrenQuery{Code: demoApex, Deep: true, Limit: 1000}); ; {
		page, err := n.Children(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Records {
			d := page.Records[i].Hash()
			all.Write(d[:])
		}
		if q.After = page.Next; q.After.IsZero() {
			return cityid.Digest(all.Sum(nil)), s.Records
		}
	}
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network")
	}
	folder := filepath.Join(t.TempDir(), "demo")
	args := []string{"--once", "--data", folder, "--listen", "127.0.0.1:0"}
	if code, _, talk := runDemo(t.Context(), args...); code != exitDone {
		t.Fatalf("first run: exit code %d\n%s", code, talk)
	}
	hash, keys := demoHash(t, folder)
	if keys < 10_364 {
		t.Errorf("the state has %d keys: 10,364 codes at least were allocated", keys)
	}
	code, out, talk := runDemo(t.Context(), args...)
	if code != exitDone || !strings.Contains(talk, "resumed at height") {
		t.Fatalf("second run: exit code %d\n%s", code, talk)
	}
	if again, _ := demoHash(t, folder); again != hash {
		t.Errorf("the second run changed the records from %s to %s", hash, again)
	}
	if !strings.Contains(out, "All 20 steps succeeded") || !strings.Contains(out, "--data "+folder) {
		t.Errorf("the summary reads\n%s", out)
	}
	if strings.ContainsAny(out+talk, "\x1b\r") {
		t.Error("there are control sequences in what went to no terminal")
	}
	if code, _, talk := runDemo(t.Context(), append(args, "--validators", "3")...); code != exitConflict {
		t.Errorf("another number of validators: exit code %d\n%s", code, talk)
	}
	if code, _, talk := runDemo(t.Context(), "--once", "--data", filepath.Dir(folder), "--listen", "127.0.0.1:0"); code != exitConflict {
		t.Errorf("a folder that is no demo's: exit code %d\n%s", code, talk)
	}
	// The kept bundle and label are of use without the network.
	name := func(parts ...string) string { return filepath.Join(append([]string{folder}, parts...)...) }
	var stdout, stderr bytes.Buffer
	quiet := &terminal{out: &stdout, err: &stderr}
	if code := run(t.Context(), []string{"verify", name(demoBundleFile), "--trust", name(demoTrustFile)}, quiet); code != exitDone {
		t.Errorf("the kept bundle: exit code %d\n%s%s", code, &stdout, &stderr)
	}
	if code := run(t.Context(), []string{"label", "scan", name(demoLabels, demoCertificatePNG), "--bundle", name(demoBundleFile), "--trust", name(demoTrustFile)}, quiet); code != exitDone {
		t.Errorf("the kept certificate: exit code %d\n%s", code, &stderr)
	}
	if code := run(t.Context(), []string{"evidence", "verify", name(demoEvidenceFile), "--trust", name(demoTrustFile)}, quiet); code != exitDone {
		t.Errorf("the kept evidence: exit code %d\n%s", code, &stderr)
	}
}

// TestDemoServes stops a demo that serves, as Ctrl-C does.
func TestDemoServes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if code, _, talk := runDemo(t.Context(), "--listen", l.Addr().String()); code != exitConflict || !strings.Contains(talk, "--listen") {
		t.Errorf("on a port in use: exit code %d\n%s", code, talk)
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var talk bytes.Buffer
	code := run(ctx, []string{"demo", "--listen", "127.0.0.1:0"}, &terminal{err: &talk, out: writerFunc(func(b []byte) (int, error) {
		// What it prints last says that it serves.
		if !bytes.Contains(b, []byte("press Ctrl-C")) {
			return 0, fmt.Errorf("the summary reads %q", b)
		}
		cancel()
		return len(b), nil
	})})
	if code != exitDone || !strings.Contains(talk.String(), "stopping") {
		t.Errorf("exit code %d\n%s", code, &talk)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("the temporary folder is still there: %v, %v", left, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestGrouped(t *testing.T) {
	for v, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 10_000: "10,000", 1_234_567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := grouped(v); got != want {
			t.Errorf("grouped(%d) = %s, want %s", v, got, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for s, want := range map[string]string{"/tmp/a-b_1.c": "/tmp/a-b_1.c", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "/城市": "/城市", "$x": "'$x'"} {
		if got := shellWord(s); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", s, got, want)
		}
	}
}
