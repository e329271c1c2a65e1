// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// childEnv holds, in the environment of a process that is to be killed, what it does.
const childEnv = "CITYID_CHAIN_CHILD"

// child is a node in a process of its own, which submits transactions and says what
// was acknowledged, until it is killed or its input ends.
type child struct {
	Config chain.Config
	Base   int    // of the numbers of the cities it makes
	Span   uint64 // of blocks that go at a time; 0: as the configuration says
}

// TestChild is the process that is killed, where there is something for it to do.
func TestChild(t *testing.T) {
	text := os.Getenv(childEnv)
	if text == "" {
		t.Skip("it is started by other tests")
	}
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if c.Span > 0 {
		c.Config.PruneBy(c.Span)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3) // whoever started this is gone
	}()
	n, err := chain.Open(c.Config)
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("open")
	numbers := make(chan int)
	for range 3 {
		go c.submit(n, numbers)
	}
	for i := c.Base; ; i++ {
		select {
		case numbers <- i:
		case <-n.Done():
			fmt.Println("error", n.Err())
			os.Exit(1)
		}
	}
}

// submit makes one city after the other, and says so once that is provable.
func (c *child) submit(n *chain.Node, numbers <-chan int) {
	g, err := chain.ReadGenesis(c.Config.Home)
	if err != nil {
		panic(err)
	}
	for i := range numbers {
		raw := chaintest.Tx(g.Chain, time.Now(), numbered(i))
		r, err := n.Submit(ctx, raw, true)
		if err != nil || r.Err() != nil {
			continue // it may have come after a stop, or before the first block
		}
		fmt.Printf("ack %s %d %d\n", r.ID, r.Height, i)
		if data, err := n.Bundle(ctx, cityid.BundleQuery{Code: numberedCode(i), Kind: cityid.AnswerRecord}); err == nil && i%4 == 0 {
			fmt.Printf("bundle %s\n", base64.StdEncoding.EncodeToString(data))
		}
		if s, err := n.Status(ctx); err == nil {
			fmt.Printf("head %d %s\n", s.Height, s.AppHash)
		}
	}
}

func numberedCode(n int) cityid.Code {
	return cityid.MustParse(fmt.Sprintf("MA.156.%07d", 1_000_000+n))
}

func numbered(n int) cityid.Operation {
	return chaintest.Allocate(chaintest.Allocation(numberedCode(n).String(), cityid.KindCity))
}

// told is what processes said before they ended.
type told struct {
	acks    map[string]string // id -> height and number
	heads   map[string]string // height -> app hash
	bundles []string
}

// errNotReadable: CometBFT says that it can not read a block or its validators.
var errNotReadable = errors.New("not readable")

func newTold() *told { return &told{acks: map[string]string{}, heads: map[string]string{}} }

// hear takes note of a line, and refuses what contradicts another.
func (w *told) hear(line string) error {
	what, rest, _ := strings.Cut(line, " ")
	key, value, _ := strings.Cut(rest, " ")
	var into map[string]string
	switch what {
	case "bundle":
		w.bundles = append(w.bundles, rest)
		return nil
	case "ack":
		into = w.acks
	case "head":
		into = w.heads
	default:
		return nil
	}
	if before, ok := into[key]; ok && before != value {
		return fmt.Errorf("it said %q, and before %q", line, before)
	}
	into[key] = value
	return nil
}

// process is a child that runs.
type process struct {
	cmd   *exec.Cmd
	lines chan string
	stdin io.Closer
}

func startChild(t *testing.T, c child, env ...string) *process {
	t.Helper()
	c.Config.Logger = nil
	text, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.timeout=0")
	cmd.Env = append(append(os.Environ(), childEnv+"="+string(text)), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, make(chan string, 1<<16), stdin}
	go func() {
		defer close(p.lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			p.lines <- s.Text()
		}
	}()
	return p
}

// open waits until the node in the process runs.
func (p *process) open(t *testing.T) {
	t.Helper()
	for l := range p.lines {
		if l == "open" {
			return
		}
		if strings.HasPrefix(l, "error") {
			t.Fatal(l)
		}
	}
	t.Fatal("the process ended while it started")
}

// end waits for the end of the process and hears what it said.
func (p *process) end(t *testing.T, w *told) (lines []string) {
	t.Helper()
	for l := range p.lines {
		lines = append(lines, l)
		if err := w.hear(l); err != nil {
			t.Fatal(err)
		}
	}
	_ = p.cmd.Wait() // it was killed
	p.stdin.Close()
	return lines
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// home makes the folder of a network of one validator.
func home(t *testing.T) chain.Config {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	id, err := chain.InitHome(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := chaintest.Genesis("crash-"+filepath.Base(t.TempDir()), cityid.TimeOf(time.Now()), cityid.Validator{Key: id.Validator, Power: 10})
	if err := chain.WriteGenesis(dir, g); err != nil {
		t.Fatal(err)
	}
	return chain.Config{Home: dir, Listen: "127.0.0.1:0"}
}

// compare compares what a node holds with all that was said before.
func (w *told) compare(n *chain.Node) error {
	seen := map[int]bool{}
	for id, said := range w.acks {
		var height uint64
		var number int
		if _, err := fmt.Sscan(said, &height, &number); err != nil {
			return err
		}
		d, err := cityid.ParseDigest(id)
		if err != nil {
			return err
		}
		r, err := n.Transaction(ctx, d)
		if err != nil || r.Code != cityid.OK || r.Height != height {
			return fmt.Errorf("acknowledged in block %d, and now: %+v, %w", height, r, err)
		}
		h, err := n.History(ctx, numberedCode(number))
		if err != nil || len(h.Revisions) != 1 || h.Revisions[0].Changed.Height != height || seen[number] {
			return fmt.Errorf("acknowledged in block %d, and its record is %+v, %w", height, h, err)
		}
		seen[number] = true
	}
	for said, hash := range w.heads {
		var height int64
		if _, err := fmt.Sscan(said, &height); err != nil {
			return err
		}
		b, err := n.LightBlock(height + 1)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotReadable, err)
		}
		if got := cityid.Digest(b.AppHash); got.String() != hash {
			return fmt.Errorf("the state after block %d was %s, the next header says %s", height, hash, got)
		}
	}
	trust, err := n.Trust(ctx)
	if err != nil {
		return err
	}
	for _, text := range w.bundles {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return err
		}
		if v := verify.CheckEncoded(&trust[0], data, verify.Options{Now: time.Now()}); v.Verdict != verify.Valid || !v.Allocated {
			return fmt.Errorf("a bundle that was handed out is %s: %s", v.Verdict, v.Message)
		}
	}
	return nil
}

// check opens a network of one in this process and compares it with what was said.
func (w *told) check(t *testing.T, cfg chain.Config) {
	t.Helper()
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	raw := chaintest.Tx(status(t, n).Chain, time.Now(), numbered(900_000)) // and it goes on
	if r, err := n.Submit(ctx, raw, true); err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := w.compare(n); err != nil {
		t.Error(err)
	}
}

// commitPoints is more than how often CometBFT asks in a block whether it is to end
// there: after each own vote, before and after the block is saved, after the end of
// the height is in the write-ahead log, after FinalizeBlock, after its response is
// saved, after Commit, after its own state is saved, and at the end.
const commitPoints = 12

// TestProcessCrash ends a node's process at every point of the commit sequence at
// which CometBFT can be told to (FAIL_TEST_INDEX), one after the other on the same
// folder, and then kills it at random moments.
func TestProcessCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	cfg := home(t)
	w := newTold()
	points, kills := commitPoints, 4
	if long() {
		points, kills = 6*commitPoints, 400
	}
	for i := range points {
		// In the third block or so, so that there is something to lose.
		at := 2*commitPoints + i
		p := startChild(t, child{Config: cfg, Base: 1000 * i}, fmt.Sprintf("FAIL_TEST_INDEX=%d", at))
		lines := p.end(t, w)
		if last := lines[len(lines)-1]; !strings.Contains(last, fmt.Sprintf("fail-test %d", at)) {
			t.Fatalf("point %d: it ended with %q", at, last)
		}
	}
	for i := range kills {
		p := startChild(t, child{Config: cfg, Base: 1000 * (points + i)})
		p.open(t)
		time.Sleep(rand.N(200 * time.Millisecond)) // whatever it does then, it must survive
		p.kill(t)
		p.end(t, w)
	}
	if len(w.acks) < points/2 || len(w.bundles) == 0 || len(w.heads) == 0 {
		t.Fatalf("%d acknowledged, %d heads, %d bundles: too few to show anything", len(w.acks), len(w.heads), len(w.bundles))
	}
	t.Logf("%d acknowledged, %d heads, %d bundles", len(w.acks), len(w.heads), len(w.bundles))
	w.check(t, cfg)
}

// TestNetworkCrash kills the processes of four validators, one or two at a time, at
// random moments and at points of the commit sequence, while all submit.
func TestNetworkCrash(t *testing.T) {
	if !long() {
		t.Skip("CITYID_TEST=long runs it")
	}
	w := chaintest.Start(t, 4, time.Second)
	for i := range 4 {
		w.Stop(i)
	}
	told := newTold()
	base := 0
	run := func(i int, env ...string) *process {
		base += 10_000
		p := startChild(t, child{Config: w.Config(i), Base: base}, env...)
		return p
	}
	var ps []*process
	for i := range 4 {
		ps = append(ps, run(i))
	}
	for range 150 {
		first := rand.N(4)
		for k := range 1 + rand.N(2) {
			i := (first + k) % 4
			if err := ps[i].cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			ps[i].end(t, told)
			var env []string
			if rand.N(2) == 0 {
				env = append(env, fmt.Sprintf("FAIL_TEST_INDEX=%d", rand.N(60)))
			}
			ps[i] = run(i, env...)
		}
		time.Sleep(rand.N(2 * time.Second)) // whatever they do then
	}
	for i := range 4 {
		if err := ps[i].cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		ps[i].end(t, told)
	}
	t.Logf("%d acknowledged, %d heads, %d bundles", len(told.acks), len(told.heads), len(told.bundles))
	if len(told.acks) < 20 {
		t.Fatal("too few to show anything")
	}
	for i := range 4 {
		w.Restart(i)
	}
	nodeSubmit(t, w, 0, numbered(8_000_000))
	agree(t, w)
	for i := range 4 {
		if err := told.compare(w.Nodes[i]); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
}
