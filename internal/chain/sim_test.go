// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	dbm "github.com/cometbft/cometbft-db"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// The simulation drives several replicas of the application as CometBFT does,
// by a schedule that one number decides: which transactions come, where, how often
// and how late; which blocks are proposed, refused, dropped and decided; how far
// each replica gets with a block before it crashes; and what a power cut leaves of
// what was not synced. CometBFT's own code makes the blocks, checks them, and brings
// a replica up to date after a crash. Its databases survive crashes as far as they
// were written; TestProcessCrash has them on a real disk.

// simSchedules is how many schedules are tried; the long mode has more.
const simSchedules, simSchedulesLong = 150, 20_000

// TestSimulation tries schedules one after the other. CITYID_TEST_SEED repeats one.
func TestSimulation(t *testing.T) {
	if s := os.Getenv("CITYID_TEST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		simulate(t, seed)
		return
	}
	n := simSchedules
	if long() {
		n = simSchedulesLong
	}
	var seeds atomic.Uint64
	seeds.Store(uint64(time.Now().UnixNano()))
	last := seeds.Load() + uint64(n)
	var mu sync.Mutex
	total := map[string]int{}
	t.Run("schedules", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				for seed := seeds.Add(1); seed <= last && !t.Failed(); seed = seeds.Add(1) {
					happened := simulate(t, seed)
					mu.Lock()
					for what, times := range happened {
						total[what] += times
					}
					mu.Unlock()
				}
			})
		}
	})
	// A simulation in which something never happens shows nothing about it.
	for _, what := range []string{
		"blocks", "crash/before", "crash/saved", "crash/finalized", "crash/responded", "crash/in commit", "crash/committed", "crash/applied",
		"crash/in a start", "state lost", "all lost", "blocks let go", "state lost for good", "round lost", "byzantine block", "refused", "bundles", "archived",
		"planned", "attested", "upgrade missing", "upgrade missing/in a start", "code/conflict", "code/invalid",
		"code/ok", "code/malformed", "code/wrong-chain", "code/expired", "code/signature", "code/replayed", "code/exists", "code/not-permitted",
	} {
		if total[what] == 0 && !t.Failed() {
			t.Errorf("%q never happened in %d schedules", what, n)
		}
	}
	t.Log(total)
}

// long reports whether the tests run that are for before a release.
func long() bool { return os.Getenv("CITYID_TEST") == "long" }

// powerCut takes a picture of a file system, as a power cut would leave it, before
// one of the writes to it. CometBFT's databases are of the same moment.
type powerCut struct {
	p   *replica
	cfg vfs.CrashCloneCfg

	mu     sync.Mutex
	before int      // how many writes are let through; negative: all
	left   *replica // what is left of the disks
}

func (*powerCut) String() string { return "power cut" }

// MaybeError never fails a write: what follows the picture is lost with the process.
func (c *powerCut) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || c.before < 0 {
		return nil
	}
	if c.before--; c.before < 0 {
		c.left = &replica{fs: c.p.fs.CrashClone(c.cfg), blocks: clone(c.p.blocks), states: clone(c.p.states)}
	}
	return nil
}

// arm has the power cut before one of the writes to come; with a negative number it
// is not.
func (c *powerCut) arm(before int, cfg vfs.CrashCloneCfg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before, c.cfg = before, cfg
}

// cut returns what the power cut left, nil if there was none.
func (c *powerCut) cut() *replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = -1
	return c.left
}

func clone(db *dbm.MemDB) *dbm.MemDB {
	c := dbm.NewMemDB()
	it, err := db.Iterator(nil, nil)
	if err != nil {
		panic(err)
	}
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if err := c.Set(it.Key(), it.Value()); err != nil {
			panic(err)
		}
	}
	return c
}

// replica is one of the machines: what runs on it, and what its disk holds.
type replica struct {
	e              *chain.Engine
	fs             *vfs.MemFS
	cut            *powerCut
	blocks, states *dbm.MemDB
	skew           time.Duration // of its clock
	knows          uint64        // height up to which its state was committed
	old            bool          // its program lacks version 2 of the rules
	keeps          uint64        // blocks; 0: all
}

// sim is the world of one schedule.
type sim struct {
	t        *testing.T
	seed     uint64
	r        *rand.Rand
	genesis  *chain.Genesis
	replicas []*replica
	now      time.Time
	happened map[string]int

	model
	decided   []*chain.Decided // blocks, from height 1
	hashes    []cityid.Digest  // app hash after each
	responses [][]byte         // what carrying each out gave
	handed    []handedOut
}

// simulate runs one schedule and returns how often what happened.
func simulate(t *testing.T, seed uint64) map[string]int {
	t.Helper()
	s := &sim{
		t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 0)), now: chaintest.Epoch.Std(), happened: map[string]int{},
		genesis: chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator()),
	}
	s.model = newModel(s)
	for range 3 {
		p := &replica{fs: vfs.NewCrashableMem(), blocks: dbm.NewMemDB(), states: dbm.NewMemDB()}
		p.old = s.r.IntN(2) == 0
		if s.r.IntN(2) == 0 {
			p.keeps = 1 + s.r.Uint64N(4)
		}
		p.skew = []time.Duration{0, 0, 0, 90 * time.Second, time.Hour}[s.r.IntN(5)]
		s.replicas = append(s.replicas, p)
		s.open(p)
	}
	defer func() {
		for _, p := range s.replicas {
			if p.e != nil {
				p.e.Close()
			}
		}
	}()
	heights := 5 + s.r.IntN(10)
	for range heights {
		s.now = s.now.Add([]time.Duration{0, time.Second, time.Second, 10 * time.Second, time.Minute, 11 * time.Minute}[s.r.IntN(6)])
		s.submit()
		s.decide()
		for _, i := range s.r.Perm(len(s.replicas)) {
			s.follow(s.replicas[i])
		}
		s.ask()
	}
	s.finish()
	return s.happened
}

func (s *sim) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("CITYID_TEST_SEED=%d: at height %d: %s", s.seed, len(s.decided), fmt.Sprintf(format, args...))
}

// open starts a replica, with power cuts in the middle of it now and then.
func (s *sim) open(p *replica) {
	for {
		p.cut = &powerCut{p: p, before: -1}
		if s.r.IntN(8) == 0 {
			p.cut.arm(s.r.IntN(40), s.cloneConfig())
		}
		program := both()
		if p.old {
			program = old()
		}
		e, err := chain.OpenReplica(s.genesis, errorfs.Wrap(p.fs, p.cut), p.blocks, p.states, program, p.knows)
		missing := p.old && errors.Is(err, chain.ErrUpgrade)
		if err != nil && !missing {
			s.fatalf("a replica does not start: %v", err)
		}
		if left := p.cut.cut(); left != nil {
			s.happened["crash/in a start"]++
			if e != nil {
				s.closeReplica(e)
			}
			p.fs, p.blocks, p.states = left.fs, left.blocks, left.states
			continue
		}
		if missing {
			s.happened["upgrade missing/in a start"]++
			p.old = false
			continue
		}
		p.e = e
		if p.keeps > 0 {
			e.Prune(p.keeps, 2)
		}
		height, hash := e.Head()
		p.knows = height
		s.wantHash(height, hash)
		return
	}
}

// prepare gives a replica the program it needs for the next block, once it has seen
// that it does not get there without.
func (s *sim) prepare(p *replica) {
	height, _ := p.e.Head()
	if !p.old || s.version(height+1) == 1 {
		return
	}
	s.happened["upgrade missing"]++
	if height < uint64(len(s.decided)) {
		if _, err := p.e.Finalize(s.decided[height]); !errors.Is(err, chain.ErrUpgrade) {
			s.fatalf("a program without its rules carries block %d out: %v", height+1, err)
		}
	}
	s.closeReplica(p.e)
	if s.r.IntN(2) == 0 {
		p.old = false // else its start fails first
	}
	s.open(p)
}

func (s *sim) closeReplica(e *chain.Engine) {
	if err := e.Close(); err != nil {
		s.fatalf("close: %v", err)
	}
}

// cloneConfig decides how much of what was not synced survives.
func (s *sim) cloneConfig() vfs.CrashCloneCfg {
	return vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[s.r.IntN(3)], RNG: rand.New(rand.NewPCG(s.r.Uint64(), 1))}
}

// crash ends a replica's process and cuts its power, if that has not happened, and
// starts it again. Now and then its disks are replaced as well.
func (s *sim) crash(p *replica, where string) {
	s.happened["crash/"+where]++
	left := p.cut.cut()
	if left == nil {
		left = &replica{fs: p.fs.CrashClone(s.cloneConfig()), blocks: p.blocks, states: p.states}
	}
	s.closeReplica(p.e)
	p.e, p.fs, p.blocks, p.states = nil, left.fs, left.blocks, left.states
	switch s.r.IntN(12) {
	case 0:
		s.happened["state lost"]++
		p.fs, p.knows = vfs.NewCrashableMem(), 0
		if chain.BlocksFrom(left.blocks) > 1 { // the blocks do not lead there any more
			s.happened["state lost for good"]++
			p.blocks, p.states = dbm.NewMemDB(), dbm.NewMemDB()
		}
	case 1:
		s.happened["all lost"]++
		p.fs, p.blocks, p.states, p.knows = vfs.NewCrashableMem(), dbm.NewMemDB(), dbm.NewMemDB(), 0
	}
	s.open(p)
}

// wantHash compares an app hash with that of the same height elsewhere.
func (s *sim) wantHash(height uint64, hash cityid.Digest) {
	s.t.Helper()
	if height == 0 {
		return
	}
	if height > uint64(len(s.decided)) {
		s.fatalf("a replica is at height %d", height)
	}
	if want := s.hashes[height-1]; hash != want {
		s.fatalf("app hash %s after block %d, elsewhere %s", hash, height, want)
	}
}

// tip returns a replica that has carried out all blocks.
func (s *sim) tip() *replica {
	for {
		p := s.replicas[s.r.IntN(len(s.replicas))]
		if height, _ := p.e.Head(); height == uint64(len(s.decided)) {
			return p
		}
		// All lag behind where each crashed on the last block: bring this one up.
		for height, _ := p.e.Head(); height < uint64(len(s.decided)); height, _ = p.e.Head() {
			s.carryOut(p, s.decided[height])
		}
	}
}

// decide has a block proposed, perhaps after rounds that came to nothing.
func (s *sim) decide() {
	for round := 0; ; round++ {
		p := s.tip()
		for _, p := range s.replicas {
			s.prepare(p)
		}
		p.e.SetClock(s.now.Add(p.skew))
		byzantine := len(s.decided) > 1 && s.r.IntN(4) == 0
		d, err := p.e.Candidate(byzantine, s.any(byzantine))
		if err != nil {
			s.fatalf("propose: %v", err)
		}
		if len(s.decided) > 0 {
			s.judge(d, byzantine)
		}
		if round < 3 && s.r.IntN(3) == 0 {
			s.happened["round lost"]++
			continue
		}
		if byzantine {
			s.happened["byzantine block"]++ // decided although it should not be
		}
		r, err := p.e.Finalize(d)
		if err != nil {
			s.fatalf("carry out: %v", err)
		}
		s.happened["blocks"]++
		raw, err := r.Marshal()
		if err != nil {
			s.fatalf("%v", err)
		}
		s.decided, s.hashes = append(s.decided, d), append(s.hashes, cityid.Digest(r.AppHash))
		s.responses = append(s.responses, raw)
		s.apply(d.Block(), r)
		return
	}
}

// judge asks all replicas that can know whether they would vote for a block: they
// must agree, and refuse what no honest proposer makes.
func (s *sim) judge(d *chain.Decided, byzantine bool) {
	want := s.proper(d.Block())
	if !want && !byzantine {
		s.fatalf("an honest proposer made a block that is to be refused")
	}
	for i, p := range s.replicas {
		if height, _ := p.e.Head(); height != uint64(len(s.decided)) {
			continue
		}
		ok, err := p.e.Judge(d)
		if err != nil {
			s.fatalf("judge a block: %v", err)
		}
		if ok != want {
			s.fatalf("replica %d votes for a block: %v, want %v", i, ok, want)
		}
		if !ok {
			s.happened["refused"]++
		}
	}
}

// follow carries out the blocks a replica lacks, unless it lags, and lets it crash
// on the way.
func (s *sim) follow(p *replica) {
	if s.r.IntN(8) == 0 {
		return
	}
	for {
		height, _ := p.e.Head()
		if height == uint64(len(s.decided)) {
			return
		}
		s.step(p, s.decided[height])
	}
}

// step carries out one block, as far as it gets.
func (s *sim) step(p *replica, d *chain.Decided) {
	s.prepare(p)
	points := []string{"before", "saved", "finalized", "responded", "in commit", "committed", "applied"}
	if s.r.IntN(4) > 0 {
		s.carryOut(p, d)
		return
	}
	point := s.r.IntN(len(points))
	height := uint64(d.Block().Height)
	if point > 0 && !p.e.Saved(height) {
		p.e.Save(d)
	}
	if point >= 2 && point <= 5 {
		r, err := p.e.Finalize(d)
		for range s.r.IntN(3) {
			if err == nil {
				r, err = p.e.Finalize(d)
			}
		}
		if err != nil {
			s.fatalf("carry out: %v", err)
		}
		s.wantResponse(height, r)
		if point >= 3 {
			if err := p.e.SaveResponse(d, r); err != nil {
				s.fatalf("save the response: %v", err)
			}
		}
		if point >= 4 {
			if points[point] == "in commit" {
				p.cut.arm(s.r.IntN(4), s.cloneConfig())
			}
			if err := p.e.CommitState(); err != nil {
				s.fatalf("commit: %v", err)
			}
		}
		if point == 5 {
			p.knows = height
		}
	} else if point == 6 {
		s.carryOut(p, d)
	}
	s.crash(p, points[point])
}

// carryOut saves a block and carries it out whole.
func (s *sim) carryOut(p *replica, d *chain.Decided) {
	s.t.Helper()
	s.prepare(p)
	height := uint64(d.Block().Height)
	if !p.e.Saved(height) {
		p.e.Save(d)
	}
	if err := p.e.Apply(d); err != nil {
		s.fatalf("apply block %d: %v", height, err)
	}
	r, err := p.e.Response(height)
	if err != nil {
		s.fatalf("the response to block %d: %v", height, err)
	}
	s.wantResponse(height, r)
	_, hash := p.e.Head()
	s.wantHash(height, hash)
	p.knows = height
}
