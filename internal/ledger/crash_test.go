// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

const crashFolder = "CITYID_LEDGER_CRASH" // in the environment of the process that is killed

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashFolder); dir != "" {
		fmt.Println("error:", writeUntilKilled(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(crashFeed); dir != "" {
		fmt.Println("error:", followUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func crashOptions(dir string) Options {
	return Options{Dir: dir, Party: provider, Log: "main", BatchSize: 25}
}

// writeUntilKilled serves, acknowledges and anchors in several goroutines, and says
// what is done.
func writeUntilKilled(dir string) error {
	ctx := context.Background()
	l, err := Open(ctx, crashOptions(dir))
	if err != nil {
		return err
	}
	k, err := keys.NewPrivate(keys.Ed25519, []byte(strings.Repeat("k", 32)))
	if err != nil {
		return err
	}
	fmt.Println("open")
	sign := func(base string) Message {
		sig, err := k.Sign([]byte(base))
		if err != nil {
			panic(err)
		}
		return Message{Base: []byte(base), Signature: sig}
	}
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := crashFetch(ctx, l, sign, agreement(w), fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i), i%5 == 4); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			b, err := l.NextToAnchor(ctx)
			if err != nil {
				time.Sleep(time.Millisecond)
				continue
			}
			if err := l.MarkAnchored(ctx, b.Sequence, b.Root, cityid.Digest{}, b.Sequence, 1772352000); err != nil {
				failed <- err
				return
			}
			fmt.Printf("anchored %d %v\n", b.Sequence, b.Root)
		}
	})
	return <-failed
}

// crashFetch serves one fetch and acknowledges it, some of them with a nonce.
func crashFetch(ctx context.Context, l *Ledger, sign func(string) Message, a cityid.Digest, name string, acknowledge bool) error {
	r, err := l.Reserve(ctx, a, Limits{}, 1000)
	if err != nil {
		return err
	}
	defer r.Release()
	now := cityid.TimeOf(time.Now())
	value := EntryHash([]byte(name))
	nonce := Nonce{Key: "\x01key", Created: now, Expires: now + 60, Value: [16]byte(value[:16])}
	s := Served{Agreement: a, Peer: consumer, Path: name, Request: sign(name), Reservation: r, Nonce: &nonce}
	e, err := l.AppendServed(ctx, s, func(number uint64) (Answer, error) {
		receipt := Receipt{
			Version: 1, Agreement: a, Dataset: dataset, Provider: provider, Log: "main", Number: number, Request: s.Request.Hash(),
			Status: 200, Size: 100, Content: fill(1), Time: now, Height: 7,
		}
		return Answer{receipt, sign("answer " + name)}, nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("entry %d %v %x %d\n", e.ID, e.Hash, nonce.Value, nonce.Expires)
	if !acknowledge {
		return nil
	}
	ack := NewAcknowledgement(a, []cityid.Digest{e.Hash}, now)
	body, err := ack.Encode()
	if err != nil {
		return err
	}
	if _, err := l.Acknowledge(ctx, DirectionServed, body, sign("acknowledge "+name), nil); err != nil {
		return err
	}
	fmt.Printf("acknowledged %d\n", e.ID)
	return nil
}

// runUntilKilled kills a process some time after it has said that the ledger is open,
// and returns what it said after that.
func runUntilKilled(t *testing.T, cmd *exec.Cmd, after time.Duration) (said []string) {
	t.Helper()
	out := ok(cmd.StdoutPipe())(t)
	do(t, cmd.Start())
	lines := make(chan string, 100000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	if first := <-lines; first != "open" {
		t.Fatalf("it said %q", first)
	}
	time.Sleep(after)
	do(t, cmd.Process.Kill())
	for l := range lines {
		said = append(said, l)
	}
	_ = cmd.Wait() // it was killed
	return said
}

// TestKill kills a writing process at random moments, again and again on one
// folder: it opens each time, what was said to be done is there, and entries have no
// gap.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	total := 0
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashFolder+"="+dir)
		said := runUntilKilled(t, cmd, time.Duration(20+37*round)*time.Millisecond)

		l, err := Open(t.Context(), crashOptions(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, s := range said {
			checkSaid(t, l, s)
		}
		total += len(said)
		checkWhole(t, l)
		do(t, l.Close())
	}
	if total == 0 {
		t.Error("nothing was ever done")
	}
}

// checkSaid looks for what the killed process said it had done.
func checkSaid(t *testing.T, l *Ledger, said string) {
	t.Helper()
	var id uint64
	var text, nonce string
	var expires int64
	if n, _ := fmt.Sscanf(said, "entry %d %s %s %d", &id, &text, &nonce, &expires); n == 4 {
		var n int
		do(t, l.reads.QueryRow(`SELECT count(*) FROM entry JOIN content ON entry = id WHERE id = ? AND lower(hex(hash)) = ?`, id, text).Scan(&n))
		if n != 1 {
			t.Errorf("lost: %s", said)
		}
		do(t, l.reads.QueryRow(`SELECT count(*) FROM nonce WHERE expires = ? AND lower(hex(value)) = ?`, expires, nonce).Scan(&n))
		if n != 1 {
			t.Errorf("its nonce is lost: %s", said)
		}
	} else if n, _ := fmt.Sscanf(said, "acknowledged %d", &id); n == 1 {
		var n int
		do(t, l.reads.QueryRow(`SELECT count(*) FROM entry JOIN acknowledgement AS a ON a.id = ack WHERE entry.id = ? AND awaits = 0 AND last = entry.id`, id).Scan(&n))
		if n != 1 {
			t.Errorf("lost: %s", said)
		}
	} else if n, _ := fmt.Sscanf(said, "anchored %d %s", &id, &text); n == 2 {
		var n int
		do(t, l.reads.QueryRow(`SELECT count(*) FROM batch WHERE sequence = ? AND anchored > 0 AND lower(hex(root)) = ?`, id, text).Scan(&n))
		if n != 1 {
			t.Errorf("lost: %s", said)
		}
	} else {
		t.Errorf("%q", said)
	}
}

// checkWhole checks what must hold at any time.
func checkWhole(t *testing.T, l *Ledger) {
	t.Helper()
	count := func(query string) (n int) {
		t.Helper()
		do(t, l.reads.QueryRow(query).Scan(&n))
		return n
	}
	entries := count(`SELECT count(*) FROM entry`)
	for what, query := range map[string]string{
		"the latest entry":        `SELECT coalesce(max(id), 0) FROM entry`,
		"contents":                `SELECT count(*) FROM content JOIN entry ON id = entry`,
		"requests counted":        `SELECT coalesce(sum(requests), 0) FROM usage`,
		"octets counted / 100":    `SELECT coalesce(sum(octets), 0) / 100 FROM usage`,
		"nonces":                  `SELECT count(*) FROM nonce`,
		"entries of batches":      `SELECT coalesce(sum(last - first + 1), 0) + (SELECT count(*) FROM entry WHERE id > (SELECT coalesce(max(last), 0) FROM batch)) FROM batch`,
		"waiting or acknowledged": `SELECT coalesce(sum(awaits), 0) + (SELECT count(*) FROM acknowledgement) FROM entry`,
	} {
		if n := count(query); n != entries {
			t.Errorf("%d entries, %s %d", entries, what, n)
		}
	}
	previous := cityid.Digest{}
	list := ok(l.Batches(t.Context(), 0, 1<<20))(t)
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Previous != previous || list[i].Sequence != uint64(len(list)-i) {
			t.Errorf("batch %d does not follow the one before it", list[i].Sequence)
		}
		previous = list[i].Root
	}
	if len(list) > 0 && list[len(list)-1].Anchored != 0 {
		if _, err := l.Proof(t.Context(), 1); err != nil {
			t.Error(err)
		}
	}
}
