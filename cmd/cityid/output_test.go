// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hostile is text that would clear a screen, rename a window, and turn the
// direction of what follows.
const hostile = "\x1b[2J\u009b31m\x1b]0;x\a\u202e\r\nsecond"

// TestForeignText asks a node that answers with terminal commands, in every
// format, and demands that none of them reaches the terminal.
func TestForeignText(t *testing.T) {
	name, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/records/MA.156.13") {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"record": {"code": "MA.156.13", "kind": "city", "status": "active", "revision": 1,
				"changed": {"chain": "c", "height": 1, "time": "2026-01-01T00:00:00Z"}, "content": {"names": {"zh": %s}}, "note": %s},
				"display": "MA.156.13", "as_of": {"chain": "c", "height": 1, "time": "2026-01-01T00:00:00Z"}}`, name, name)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"code": "not-found", "status": 404, "title": "x", "detail": %s}`, name)
	}))
	defer node.Close()
	shown := 0
	for _, format := range []string{"table", "json", "jsonl", "csv"} {
		for _, code := range []string{"MA.156.13", "MA.156.14"} {
			var out, talk bytes.Buffer
			run(context.Background(), []string{"code", "show", code, "--node", node.URL, "--format", format}, &terminal{out: &out, err: &talk})
			all := out.String() + talk.String()
			if strings.ContainsAny(all, "\x1b\u009b\u202e\a") || strings.HasPrefix(talk.String(), "second") || strings.Contains(talk.String(), "\nsecond") {
				t.Errorf("%s as %s: %q", code, format, all)
			}
			if strings.Contains(all, "second") {
				shown++
			}
		}
	}
	if shown == 0 {
		t.Error("the text was never shown at all, so this tests nothing")
	}
}

// TestEscaped checks that escaping for a terminal changes nothing for a program.
func TestEscaped(t *testing.T) {
	for _, s := range []string{hostile, "石家庄市", "a\U000e0001b", "\x7f"} {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := json.Unmarshal(escaped(b), &got); err != nil || got != s {
			t.Errorf("%q became %q, %v", s, got, err)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := writeFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(link, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "two" {
		t.Errorf("through the link: %q, %v", b, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	err := writeFile(filepath.Join(dir, "none", "file"), nil, 0o600)
	if err == nil || strings.Contains(err.Error(), ".file.") {
		t.Errorf("no folder: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
