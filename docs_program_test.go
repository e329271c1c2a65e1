// SPDX-License-Identifier: Apache-2.0

package cityid_test

// The documents held against the command itself: its help, the files it writes,
// and the tour of README.md beside a running demo.

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocProgram builds the command and holds the documents against it.
func TestDocProgram(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "cityid")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/cityid").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Run("commands", func(t *testing.T) { testCommands(t, bin) })
	t.Run("files", func(t *testing.T) { testFiles(t, bin) })
	t.Run("tour", func(t *testing.T) { testTour(t, bin) })
}

// commandLine is a command line that a document shows.
type commandLine struct {
	doc  string
	args []string
}

// commandLines returns the command lines in the documents: those in fenced
// blocks of shell, what is typed in walks, and those in backquotes, that begin with
// the program's name.
func commandLines(t *testing.T) []commandLine {
	t.Helper()
	shell := regexp.MustCompile("(?s)```sh\n(.*?)```")
	inline := regexp.MustCompile("`((?:go run ./cmd/|)cityid [a-z][^`]*)`")
	var out []commandLine
	add := func(doc, text string) {
		if i := strings.Index(text, " # "); i >= 0 {
			text = text[:i]
		}
		for part := range strings.SplitSeq(text, "&&") {
			words := strings.Fields(part)
			if len(words) > 2 && words[0] == "go" && words[1] == "run" {
				words = append([]string{strings.TrimPrefix(words[2], "./cmd/")}, words[3:]...)
			}
			if len(words) > 1 && words[0] == "cityid" {
				out = append(out, commandLine{doc, words[1:]})
			}
		}
	}
	for _, doc := range documents(t) {
		text := readDoc(t, doc)
		for _, m := range shell.FindAllStringSubmatch(text, -1) {
			for l := range strings.Lines(strings.ReplaceAll(m[1], "\\\n", " ")) {
				add(doc, l)
			}
		}
		for _, b := range walkBlocks(text) {
			for _, s := range b.steps {
				add(doc, strings.ReplaceAll(s.command, "\\\n", " "))
			}
		}
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			add(doc, m[1])
		}
	}
	return out
}

// testCommands checks that what the documents tell people to type can be typed.
func testCommands(t *testing.T, bin string) {
	helps := map[string]string{}
	help := func(path ...string) string {
		key := strings.Join(path, " ")
		if text, ok := helps[key]; ok {
			return text
		}
		text, err := exec.Command(bin, append(slices.Clone(path), "--help")...).Output()
		if err != nil {
			text = nil
		}
		helps[key] = string(text)
		return helps[key]
	}
	lines := commandLines(t)
	if len(lines) < 10 {
		t.Fatalf("found only %d command lines in the documents", len(lines))
	}
	for _, c := range lines {
		path, rest := c.args[:1], c.args[1:]
		// A command that does something itself may have others below it.
		for len(rest) > 0 && (strings.Contains(help(path...), " COMMAND\n") ||
			strings.Contains(help(path...), "\n  cityid "+strings.Join(path, " ")+" "+rest[0]+" ")) {
			path, rest = c.args[:len(path)+1], rest[1:]
		}
		text := help(path...)
		if !strings.Contains(text, "\nusage: cityid "+strings.Join(path, " ")) {
			t.Errorf("%s: there is no command %q", c.doc, "cityid "+strings.Join(path, " "))
			continue
		}
		for _, w := range rest {
			name, isFlag := strings.CutPrefix(w, "-")
			if name = strings.TrimPrefix(name, "-"); !isFlag || name == "" || name == "o" || name == "help" {
				continue
			}
			if !regexp.MustCompile(`(?m)^  --` + regexp.QuoteMeta(name) + `\b`).MatchString(text) {
				t.Errorf("%s: %q has no flag %s", c.doc, "cityid "+strings.Join(path, " "), w)
			}
		}
	}
	testNews(t, help())
}

// testNews checks that NEWS.md has a heading for every command and every
// package that others can import.
func testNews(t *testing.T, help string) {
	news := readDoc(t, "NEWS.md")
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) +\S`).FindAllStringSubmatch(help, -1) {
		want = append(want, "`cityid "+m[1]+"`")
	}
	if len(want) < 5 {
		t.Fatalf("found only %d commands", len(want))
	}
	for p := range floors {
		if !strings.Contains(p, "/internal/") && !strings.Contains(p, "/cmd/") {
			want = append(want, "`"+strings.TrimPrefix(p, "cityid/")+"`")
		}
	}
	for _, w := range want {
		if !regexp.MustCompile(`(?m)^#+ .*` + regexp.QuoteMeta(w)).MatchString(news) {
			t.Errorf("NEWS.md has no heading for %s", w)
		}
	}
}

// testFiles makes the files that only the command writes, and holds them against
// what docs/formats.md says of them.
func testFiles(t *testing.T, bin string) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(bin, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CITYID_HOME="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("cityid %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
		}
		return out
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pass", "correct horse battery staple\n")
	write("letter.pdf", "the letter")
	run("key", "new", "mayor", "--passphrase-file", "pass")
	app := run("application", "create", "MA.156.1301", "--kind", "city", "--name", "zh=石家庄市", "--officer", "mayor",
		"--passphrase-file", "pass", "--chain", "cityid-example", "--evidence", "letter.pdf")
	checkApplicationFile(t, app)
	write("ops.json", `[{"veto":{"code":"MA.156.1301"}}]`)
	run("tx", "new", "ops.json", "--key", "mayor", "--passphrase-file", "pass", "--chain", "cityid-example", "--save", "veto.tx")
	tx, err := os.ReadFile(filepath.Join(dir, "veto.tx"))
	if err != nil {
		t.Fatal(err)
	}
	checkTxFile(t, tx)
}

// testTour takes the tour of README.md beside a running demo.
func testTour(t *testing.T, bin string) {
	if testing.Short() {
		t.Skip("runs the demo")
	}
	t.Parallel()
	_, section, _ := strings.Cut(readDoc(t, "README.md"), "<!-- tour -->\n```sh\n")
	section, _, ok := strings.Cut(section, "```")
	if !ok || strings.Count(section, "\n") != 5 {
		t.Fatalf("README.md has no tour of five commands: %q", section)
	}
	dir := t.TempDir()
	environment := append(os.Environ(), "CITYID_HOME="+dir, "PATH="+filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
	demo := exec.Command(bin, "demo", "--listen", "127.0.0.1:0")
	demo.Dir, demo.Env = dir, environment
	var talk bytes.Buffer
	demo.Stderr = &talk
	out, err := demo.StdoutPipe()
	if err == nil {
		err = demo.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	address := ""
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		if m := regexp.MustCompile(`^Answering at (\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			address = m[1]
		}
	}
	defer func() {
		if err := errors.Join(demo.Process.Signal(os.Interrupt), demo.Wait()); err != nil {
			t.Errorf("the demo: %v\n%s", err, talk.Bytes())
		}
	}()
	for l := range strings.Lines(section) {
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(l, "http://localhost:8080", address))
		cmd.Dir, cmd.Env = dir, environment
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.TrimSpace(l), err, out)
		}
	}
}
