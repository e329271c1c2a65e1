// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cityid_test

// The walks through documents, typed into a shell as they stand there.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is a shell that stays open, so that variables and what runs in the
// background last.
type shell struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	done int
}

func newShell(t *testing.T, dir string, environment []string) *shell {
	t.Helper()
	s := &shell{cmd: exec.Command("sh")}
	s.cmd.Dir, s.cmd.Env = dir, environment
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // what a walk that failed left running
		_ = s.cmd.Wait()
	})
	return s
}

// typed runs a command and returns what it printed, and its exit code.
func (s *shell) typed(command string) (string, int, error) {
	s.done++
	mark := fmt.Sprintf("=== done %d ", s.done)
	if _, err := fmt.Fprintf(s.in, "{ %s\n} 2>&1 < /dev/null\necho \"\n%s$?\"\n", command, mark); err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for {
		l, err := s.out.ReadString('\n')
		if err != nil {
			return b.String(), 0, fmt.Errorf("the shell ends: %w", err)
		}
		if code, ok := strings.CutPrefix(l, mark); ok {
			n, err := strconv.Atoi(strings.TrimSpace(code))
			return strings.TrimSuffix(b.String(), "\n"), n, err
		}
		b.WriteString(l)
	}
}

// freePorts returns ports of loopback on which nobody listens.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return out
}

// walkPatience is how long a block marked <!-- again --> is typed again.
const walkPatience = 60 * time.Second

// documentWalks are the walks in documents, and the ports that are written in them.
var documentWalks = []struct {
	doc, heading string
	ports        []string
	after        func(t *testing.T, bin, dir string) // looks at what the walk leaves; may be nil
}{
	{"docs/sharing.md", "Two cities, step by step", []string{"8080", "26656", "8090", "8190", "9101", "9102", "9111", "9112"}, flipEvidence},
	{"docs/zones.md", "Three zones, step by step", []string{"8080", "8081", "8082", "8090", "26656", "26657", "26658"}, nil},
	{"docs/operating.md", "Four institutions on one machine, step by step",
		[]string{"8081", "8082", "8083", "8084", "8085", "26661", "26662", "26663", "26664", "26665"}, nil},
}

// TestDocWalk takes the walks in documents: it types every command, and compares
// what is printed. Only the ports are others, and keys are made with less work
// behind their passphrase.
func TestDocWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("runs networks and gateways")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/cityid", "./cmd/cityid").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, w := range documentWalks {
		t.Run(filepath.Base(w.doc), func(t *testing.T) {
			_, section, _ := strings.Cut(readDoc(t, w.doc), "\n## "+w.heading+"\n")
			section, _, _ = strings.Cut(section, "\n## ")
			var replace []string
			for i, port := range freePorts(t, len(w.ports)) {
				replace = append(replace, ":"+w.ports[i], ":"+port)
			}
			replace = append(replace, "cityid key new ", "cityid key new --work-factor 10 ")
			blocks := walkBlocks(strings.NewReplacer(replace...).Replace(section))
			if len(blocks) < 10 {
				t.Fatalf("%s has a walk of %d blocks", w.doc, len(blocks))
			}
			dir := t.TempDir()
			s := newShell(t, dir, append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH")))
			for _, b := range blocks {
				walk(t, s, b)
			}
			if w.after != nil {
				w.after(t, bin+"/cityid", dir)
			}
		})
	}
}

// walk types the steps of a block.
func walk(t *testing.T, s *shell, b block) {
	t.Helper()
	for deadline := time.Now().Add(walkPatience); ; time.Sleep(100 * time.Millisecond) {
		failed := ""
		for _, x := range b.steps {
			start := time.Now()
			out, code, err := s.typed(x.command)
			if err != nil {
				t.Fatalf("$ %s\n%s\n%v", x.command, out, err)
			}
			if took := time.Since(start); took > time.Second {
				t.Logf("%.1fs $ %s", took.Seconds(), x.command)
			}
			if code != 0 || !printed(x.want, linesOf(strings.ReplaceAll(out, "\r", ""))) {
				failed = fmt.Sprintf("$ %s\n%s\nexit code %d; the document has\n%s", x.command, out, code, strings.Join(x.want, "\n"))
				break
			}
		}
		if failed == "" {
			return
		}
		if !b.again || time.Now().After(deadline) {
			t.Fatal(failed)
		}
	}
}

// flipEvidence changes octets of the evidence that the walk leaves, and demands
// that none is found valid.
func flipEvidence(t *testing.T, bin, dir string) {
	t.Helper()
	dir = filepath.Join(dir, "two-cities")
	b, err := os.ReadFile(filepath.Join(dir, "tj.evidence"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += len(b)/20 + 1 {
		b[i] ^= 1
		if err := os.WriteFile(filepath.Join(dir, "changed.evidence"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		b[i] ^= 1
		cmd := exec.Command(bin, "evidence", "verify", "changed.evidence", "--trust", "trust.json")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("octet %d of %d changed, and still:\n%s", i, len(b), out)
		}
	}
}
