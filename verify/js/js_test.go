// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cityid/verify/js"
)

const (
	sourceFile = "cityid-verify.mjs"
	document   = "../../docs/verifier.md"
)

var update = flag.Bool("update", false, "write the module's hash into docs/verifier.md")

// node returns the path of Node.js. Without it, tests are skipped on machines of
// developers, but never where CI is set.
func node(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("Node.js is missing: install the package nodejs, as scripts/test does")
		}
		t.Skip("Node.js is not installed, so the JavaScript module is not tested: apt-get install nodejs")
	}
	return path
}

// servedFile writes the module as it is served, and returns its path.
func servedFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), js.Name)
	if err := os.WriteFile(path, js.Module, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// job is what one function of testdata/driver.mjs is asked.
type job map[string]any

// answer is its result, or why it threw.
type answer struct {
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
	Bug    string          `json:"bug"` // stack of an error that no input may cause
}

// runJobs runs jobs in one process of Node.js, by the module in a file.
func runJobs(t testing.TB, module string, jobs []job) []answer {
	t.Helper()
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, j := range jobs {
		if err := enc.Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node(t), filepath.Join("testdata", "driver.mjs"), module)
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	answers := make([]answer, 0, len(jobs))
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if a.Bug != "" {
			t.Errorf("job %d: %s", len(answers), a.Bug)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(jobs) {
		t.Fatalf("%d answers to %d jobs", len(answers), len(jobs))
	}
	return answers
}

// into decodes a result.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if a.Error != "" {
		t.Fatalf("threw: %s", a.Error)
	}
	if err := json.Unmarshal(a.Result, v); err != nil {
		t.Fatal(err)
	}
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// forms are the module as it is written and as it is served.
func forms(t *testing.T, test func(t *testing.T, module string)) {
	t.Run("source", func(t *testing.T) { test(t, sourceFile) })
	t.Run("served", func(t *testing.T) { test(t, servedFile(t)) })
}

// maxGzip is the greatest size in octets of the served module under gzip -9.
const maxGzip = 26 << 10

func TestSize(t *testing.T) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(js.Module); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d octets, %d under gzip", len(js.Module), b.Len())
	if b.Len() > maxGzip {
		t.Errorf("the module has %d octets under gzip, at most %d are allowed", b.Len(), maxGzip)
	}
}

// TestBans keeps out what would need another security policy or a second file.
func TestBans(t *testing.T) {
	source, err := os.ReadFile(sourceFile)
	if err != nil {
		t.Fatal(err)
	}
	allowed := strings.NewReplacer("crypto.subtle.importKey", "", "document: DIGEST", "")
	for name, text := range map[string]string{"source": withoutComments(string(source)), "served": string(js.Module)} {
		for _, ban := range []string{
			`\bimport\b\s*[^K]`, `\brequire\s*\(`, `\beval\b`, `\bFunction\b`, `innerHTML|outerHTML|insertAdjacentHTML`, `\bdocument\b`, `\bwindow\b`,
			`\bfetch\b`, `XMLHttpRequest|WebSocket|EventSource|sendBeacon`, `localStorage|indexedDB`, `\bset(Timeout|Interval)\b`, `Math\.random`,
		} {
			if found := regexp.MustCompile(ban).FindString(allowed.Replace(text)); found != "" {
				t.Errorf("%s contains %q", name, found)
			}
		}
	}
}

func withoutComments(source string) string {
	return regexp.MustCompile(`(?m)^\s*//.*$`).ReplaceAllString(source, "")
}

// TestLines holds the source to what strip relies on: nothing goes on over the
// end of a line, and no line that is not a comment begins like one.
func TestLines(t *testing.T) {
	source, err := os.ReadFile(sourceFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(source), "/*") || strings.Contains(string(source), "`") {
		t.Error("the source has a block comment or a template literal")
	}
	for i, line := range strings.Split(string(source), "\n") {
		if strings.HasSuffix(line, `\`) || strings.TrimRight(line, " \t\r") != line {
			t.Errorf("line %d ends in a blank or a backslash", i+1)
		}
		if text := strings.TrimSpace(line); !strings.HasPrefix(text, "//") && regexp.MustCompile(`[^:]//`).MatchString(strings.ReplaceAll(text, "://", "")) {
			t.Errorf("line %d ends in a comment, which is served", i+1)
		}
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(js.Module), "\n"), "\n") {
		if line == "" || strings.TrimSpace(line) != line || i > 0 && strings.HasPrefix(line, "//") {
			t.Errorf("served line %d is %q", i+1, line)
		}
	}
	if !strings.HasPrefix(string(js.Module), "// cityid-verify:") {
		t.Error("the served module does not begin with its name and licence")
	}
}

// TestHash compares the published hash with the one in docs/verifier.md.
func TestHash(t *testing.T) {
	sum := sha256.Sum256(js.Module)
	if want := hex.EncodeToString(sum[:]); js.Hash != want {
		t.Errorf("Hash is %s, want %s", js.Hash, want)
	}
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	hash := regexp.MustCompile(`(?m)^    \S+$`)
	if *update {
		doc = hash.ReplaceAll(doc, []byte("    "+js.Hash))
		if err := os.WriteFile(document, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.TrimSpace(string(hash.Find(doc))); got != js.Hash {
		t.Errorf("%s names the hash %s, but the module's is %s: run with -update", document, got, js.Hash)
	}
}
