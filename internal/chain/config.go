// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/internal/registry"
)

// Defaults of [Config].
const (
	DefaultListen    = "127.0.0.1:26656"
	DefaultHeartbeat = 10 * time.Second
	DefaultMempool   = 100_000
	DefaultSnapshots = 2000
)

// mempoolSlack is by how much CometBFT's own limit exceeds Config.Mempool.
// Submit refuses at the lower limit, so that the higher one, at which CometBFT
// may drop a transaction without a word, is only met by what peers send.
const mempoolSlack = 10_000

// Config is how a node runs. All fields but Home may be left empty.
type Config struct {
	// Home is the folder that InitHome made and that holds the genesis file.
	Home string
	// Listen is the address for other nodes, host:port; DefaultListen if empty.
	Listen string
	// External is the address other nodes are told, host:port, where it is not
	// Listen.
	External string
	// Peers are the nodes to stay connected to, each id@host:port.
	Peers []string
	// Closed turns away nodes that are neither among Peers nor Allowed. Without
	// it, anybody who reaches the address may follow the chain.
	Closed bool
	// Allowed are ids of nodes that may connect to a closed one although it does
	// not dial them.
	Allowed []string
	// Heartbeat is after how long an idle network makes an empty block, at
	// least 100 ms; DefaultHeartbeat if zero. All nodes of a network should
	// have the same.
	Heartbeat time.Duration
	// Mempool is how many transactions may wait before Submit refuses more;
	// DefaultMempool if zero.
	Mempool int
	// Snapshots is after how many blocks the node takes a new snapshot of its state
	// for others to begin with; DefaultSnapshots if zero, none if negative.
	Snapshots int
	// KeepBlocks is how many blocks are kept with their transactions, at least; older
	// ones are let go, but for their headers. All are kept if zero; otherwise it is
	// at least MinKeepBlocks.
	KeepBlocks int
	// Fast lets a node without blocks begin with a snapshot; nil: it takes all
	// blocks. Once the node has blocks it changes nothing.
	Fast *Fast
	// Rules are the versions of the registry's rules that the node knows; those of
	// [registry.KnownRules] if nil. Others are for tests.
	Rules registry.Versions
	// Version is what Status reports as the program's version.
	Version string
	// Logger receives what operators should know; nothing if nil.
	Logger *slog.Logger

	span    uint64                                        // of blocks that go at a time; pruneSpan if zero
	gone    time.Duration                                 // gonePatience if zero
	fs      vfs.FS                                        // that the state lies on; the disk if nil
	clock   func() time.Time                              // the machine's if nil
	between func(abci.Application) abci.Application       // stands between CometBFT and the application, if not nil
	votes   func(types.PrivValidator) types.PrivValidator // stands between CometBFT and the validator key, if not nil
}

// complete returns the configuration with its defaults filled in, or the first
// thing wrong with it.
func (c Config) complete() (Config, error) {
	if c.Home == "" {
		return c, fmt.Errorf("node configuration: no home folder is given")
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = DefaultHeartbeat
	}
	if c.Heartbeat < 100*time.Millisecond {
		return c, fmt.Errorf("node configuration: heartbeat %s: want at least 100ms", c.Heartbeat)
	}
	if c.Mempool == 0 {
		c.Mempool = DefaultMempool
	}
	if c.Mempool < 1 || c.Mempool > 1_000_000 {
		return c, fmt.Errorf("node configuration: mempool of %d transactions: want 1 to 1,000,000", c.Mempool)
	}
	if c.Snapshots == 0 {
		c.Snapshots = DefaultSnapshots
	}
	if least := c.span; c.KeepBlocks != 0 && (c.KeepBlocks < 0 || least == 0 && c.KeepBlocks < MinKeepBlocks) {
		return c, fmt.Errorf("node configuration: to keep %d blocks: want %d or more, or 0 for all", c.KeepBlocks, MinKeepBlocks)
	}
	if c.span == 0 {
		c.span = pruneSpan
	}
	if c.gone == 0 {
		c.gone = gonePatience
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.Fast != nil && c.Fast.Patience == 0 {
		f := *c.Fast
		f.Patience = defaultPatience
		c.Fast = &f
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, a := range []string{c.Listen, c.External} {
		if a == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a); err != nil {
			return c, fmt.Errorf("node configuration: address %q: want host:port: %w", a, err)
		}
	}
	for _, p := range c.Peers {
		if err := CheckPeer(p); err != nil {
			return c, fmt.Errorf("node configuration: %w", err)
		}
	}
	for _, id := range c.Allowed {
		if err := checkNodeID(id); err != nil {
			return c, fmt.Errorf("node configuration: allowed: %w", err)
		}
	}
	return c, nil
}

// comet returns CometBFT's configuration. Where it departs from CometBFT's
// defaults, the reason stands beside.
func (c Config) comet() *cmtcfg.Config {
	cfg := cmtcfg.DefaultConfig().SetRoot(c.Home)
	cfg.Moniker = "cityid"
	cfg.DBPath = blocksDir
	cfg.Genesis, cfg.NodeKey = genesisFile, nodeKeyFile
	cfg.PrivValidatorKey, cfg.PrivValidatorState = validatorKeyFile, validatorStateFile
	cfg.Consensus.WalPath = filepath.Join(blocksDir, "cs.wal", "wal")

	// Nothing is served over CometBFT's own interfaces, and two nodes in one
	// process must not register the same metrics twice.
	cfg.RPC.ListenAddress, cfg.RPC.GRPCListenAddress = "", ""
	cfg.Instrumentation.Prometheus = false
	cfg.TxIndex.Indexer = "null"            // the application keeps receipts
	cfg.Storage.DiscardABCIResponses = true // all but the last, which a crash replays

	// A block as soon as there is a transaction and its proof as soon as there
	// is a block; none while nothing happens, except the heartbeat.
	cs := cfg.Consensus
	cs.CreateEmptyBlocks = false
	cs.CreateEmptyBlocksInterval = c.Heartbeat
	cs.TimeoutCommit, cs.SkipTimeoutCommit = 0, true
	cs.TimeoutPropose = 3 * time.Second // one second fails rounds on busy machines
	cs.PeerGossipSleepDuration = 5 * time.Millisecond
	// A restarted validator would wait for blocks that, alone or at a quorum
	// without spare votes, only itself could make. Against signing twice stand
	// the signing state on disk and the lock on the home folder.
	cs.DoubleSignCheckHeight = 0

	mp := cfg.Mempool
	mp.Recheck = false // executing refuses what has become stale
	mp.Size = c.Mempool + mempoolSlack
	mp.CacheSize = 2 * mp.Size
	mp.MaxTxBytes = cityid.MaxTx

	// Used if the node begins with a snapshot, which openComet decides.
	ss := cfg.StateSync
	ss.DiscoveryTime = 5 * time.Second // CometBFT's least
	ss.ChunkRequestTimeout = 10 * time.Second
	ss.ChunkFetchers = 4

	p := cfg.P2P
	p.ListenAddress = "tcp://" + c.Listen
	p.ExternalAddress = c.External
	p.PersistentPeers = strings.Join(c.Peers, ",")
	for _, peer := range c.Peers {
		id, _, _ := strings.Cut(peer, "@")
		p.UnconditionalPeerIDs += id + "," // never refused for lack of room
	}
	for _, id := range c.Allowed {
		p.UnconditionalPeerIDs += id + ","
	}
	cfg.FilterPeers = c.Closed
	p.PersistentPeersMaxDialPeriod = 5 * time.Second
	p.AddrBook = filepath.Join(blocksDir, "addrbook.json")
	p.PexReactor = false     // the peers are the ones configured
	p.AddrBookStrict = false // private and loopback addresses are fine
	p.AllowDuplicateIP = true
	p.FlushThrottleTimeout = 5 * time.Millisecond // votes wait for it
	// What one peer may send: ten blocks a second. CometBFT writes whatever comes
	// about a block into its log before it looks at it, and the next vote waits until
	// that is on the disk.
	p.SendRate, p.RecvRate = 100_000_000, 20_000_000
	p.MaxPacketMsgPayloadSize = 16 << 10
	return cfg
}
