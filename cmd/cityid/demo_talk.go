// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// narrator tells how the demo goes: one numbered line for each step when it is
// done, and what came of it below. On a terminal the step under way shows with
// a bar; elsewhere nothing is ever overwritten, and long steps say every five
// seconds how far they are.
type narrator struct {
	w        io.Writer
	terminal bool
	colour   bool

	mu   sync.Mutex // guards what follows, and writing
	done int        // steps that succeeded
}

// demoColumns is how wide the demo's lines are.
const demoColumns = 80

func newNarrator(t *terminal) *narrator {
	on := t.isTerminal()
	return &narrator{w: t.err, terminal: on, colour: on && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (n *narrator) dim(s string) string {
	if !n.colour || s == "" {
		return s
	}
	return "\x1b[2m" + s + "\x1b[0m"
}

// title says what this is.
func (n *narrator) title(s string) { n.line(s + "\n") }

// line writes a line of its own.
func (n *narrator) line(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	fmt.Fprintln(n.w, s)
}

// clear empties the line on which the step under way shows.
func (n *narrator) clear() {
	if n.terminal {
		fmt.Fprint(n.w, "\r\x1b[K")
	}
}

// steps returns how many steps have succeeded.
func (n *narrator) steps() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done
}

// stepTalk tells how far a step is.
type stepTalk struct {
	n      *narrator
	number int
	title  string
	began  time.Time
	last   time.Time
}

// step does a step and tells of it. What do returns is told below it, a line
// for each line; its error is for the caller to tell.
func (n *narrator) step(title string, do func(*stepTalk) (string, error)) error {
	t := &stepTalk{n: n, number: n.steps() + 1, title: title, began: time.Now(), last: time.Now()}
	if n.terminal {
		n.mu.Lock()
		fmt.Fprintf(n.w, "%3d  %s …", t.number, title)
		n.mu.Unlock()
	}
	detail, err := do(t)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	outcome := fmt.Sprintf("%.2f s", time.Since(t.began).Seconds())
	if err != nil {
		outcome = "failed"
	}
	gap := demoColumns - len("  1  ") - width(title) - width(outcome)
	fmt.Fprintf(n.w, "%3d  %s%s%s\n", t.number, title, strings.Repeat(" ", max(2, gap)), n.dim(outcome))
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(strings.TrimSpace(detail), "\n") {
		if line != "" {
			fmt.Fprintf(n.w, "     %s\n", n.dim(printable(line)))
		}
	}
	n.done++
	return nil
}

// progress tells that done of total are ready. It may be called by several
// goroutines.
func (t *stepTalk) progress(done, total int) {
	n := t.n
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	pause := 5 * time.Second
	if n.terminal {
		pause = 50 * time.Millisecond
	}
	if now.Sub(t.last) < pause || total <= 0 {
		return
	}
	t.last = now
	if !n.terminal {
		fmt.Fprintf(n.w, "%3d  %s: %s of %s\n", t.number, t.title, grouped(done), grouped(total))
		return
	}
	const length = 20
	full := min(length, length*done/total)
	n.clear()
	fmt.Fprintf(n.w, "%3d  %s  %s%s %s of %s", t.number, t.title, strings.Repeat("█", full), strings.Repeat("░", length-full), grouped(done), grouped(total))
}

// note says why a step takes its time.
func (t *stepTalk) note(text string) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.n.clear()
	end := "\n"
	if t.n.terminal {
		end = ""
	}
	fmt.Fprintf(t.n.w, "%3d  %s: %s%s", t.number, t.title, text, end)
}

// grouped writes a number with commas.
func grouped(v int) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
