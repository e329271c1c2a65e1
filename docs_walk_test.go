// SPDX-License-Identifier: Apache-2.0

package cityid_test

// What a document shows to be typed step by step, and what is then printed.

import (
	"regexp"
	"strings"
	"testing"
)

// step is a command of a walk, and what it is to print.
type step struct {
	command string
	want    []string // lines; "…" in one stands for any text, and alone for any lines
}

// block is a fenced block of steps. One marked <!-- again --> is typed again, for
// a while, until it prints what it should.
type block struct {
	again bool
	steps []step
}

var consoleBlock = regexp.MustCompile("(?m)^(<!-- again -->\n)?```console\n((?s:.*?))^```$")

// walkBlocks reads the steps of a section: lines that begin with "$ " and what
// follows behind a backslash are typed, all others are printed.
func walkBlocks(section string) []block {
	var out []block
	for _, m := range consoleBlock.FindAllStringSubmatch(section, -1) {
		b := block{again: m[1] != ""}
		more := false
		for l := range strings.Lines(m[2]) {
			l = strings.TrimSuffix(l, "\n")
			command, typed := strings.CutPrefix(l, "$ ")
			switch {
			case typed:
				b.steps = append(b.steps, step{command: command})
			case len(b.steps) == 0:
				continue
			case more:
				b.steps[len(b.steps)-1].command += "\n" + l
			default:
				s := &b.steps[len(b.steps)-1]
				s.want = append(s.want, l)
			}
			more = (typed || more) && strings.HasSuffix(l, `\`)
		}
		out = append(out, b)
	}
	return out
}

// printed reports whether lines are what a step is to print.
func printed(want, lines []string) bool {
	if len(want) == 0 {
		return len(lines) == 0
	}
	if want[0] == "…" {
		for i := range len(lines) + 1 {
			if printed(want[1:], lines[i:]) {
				return true
			}
		}
		return false
	}
	if len(lines) == 0 {
		return false
	}
	var pattern strings.Builder
	for i, part := range strings.Split(squeezed(want[0]), "…") {
		if i > 0 {
			pattern.WriteString(".*")
		}
		pattern.WriteString(regexp.QuoteMeta(part))
	}
	return regexp.MustCompile("^"+pattern.String()+"$").MatchString(squeezed(lines[0])) && printed(want[1:], lines[1:])
}

// squeezed is a line with one blank for many: what differs each time moves columns.
func squeezed(line string) string { return strings.Join(strings.Fields(line), " ") }

func TestPrinted(t *testing.T) {
	for _, x := range []struct {
		want, got string
		ok        bool
	}{
		{"a\n…\nc", "a\nb\nb\nc", true}, {"a\n…", "a", true}, {"a\n…", "b", false}, {"a", "a\nb", false}, {"", "", true},
		{"a …, c", "a b, c", true}, {"a.c", "abc", false}, {"a\nb", "a", false}, {"…\nb\n…\nb", "b\na\nb", true}, {"…\nb\n…\nb", "a\nb", false},
	} {
		if got := printed(linesOf(x.want), linesOf(x.got)); got != x.ok {
			t.Errorf("%q printed for %q: %v, want %v", x.got, x.want, got, x.ok)
		}
	}
}

func linesOf(text string) []string {
	if text = strings.TrimSuffix(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
