// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	tmp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"
	"github.com/cometbft/cometbft/version"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// Channels of CometBFT's peers, and of the exchange of addresses, which is off.
const (
	chAddresses = byte(0x00)
	chState     = byte(0x20)
	chData      = byte(0x21)
	chVotes     = byte(0x22)
	chVoteBits  = byte(0x23)
	chMempool   = byte(0x30)
	chEvidence  = byte(0x38)
	chBlocks    = byte(0x40)
	chSnapshots = byte(0x60)
	chChunks    = byte(0x61)
)

// channels are those that a node has, and how large a message may be there.
var channels = map[byte]int{
	chState: 1 << 20, chData: 1 << 20, chVotes: 1 << 20, chVoteBits: 1 << 20, chMempool: cityid.MaxTx, chEvidence: 1 << 20,
	chBlocks: 100 << 20, chSnapshots: 4e6, chChunks: 16e6,
}

// hostile is a peer of a node that speaks CometBFT's protocol and keeps to nothing else.
type hostile struct {
	*conn.MConnection
	gone  chan struct{} // closed when the connection has ended
	sent  int           // messages
	heard chan message  // what the node sends, as far as there is room
}

type message struct {
	channel byte
	octets  []byte
}

// dialHostile connects with a node under a key of its own.
func dialHostile(chainID, address string) (*hostile, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	h := &hostile{gone: make(chan struct{}), heard: make(chan message, 256)}
	if err := h.greet(raw, chainID); err != nil {
		raw.Close()
		return nil, err
	}
	return h, nil
}

func (h *hostile) greet(raw net.Conn, chainID string) error {
	key := ed25519.GenPrivKey()
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	secret, err := conn.MakeSecretConnection(raw, key)
	if err != nil {
		return err
	}
	info := p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol, version.BlockProtocol, 1),
		DefaultNodeID:   p2p.PubKeyToID(key.PubKey()), ListenAddr: "tcp://127.0.0.1:26656",
		Network: chainID, Version: version.TMCoreSemVer, Moniker: "hostile", Other: p2p.DefaultNodeInfoOther{TxIndex: "off"},
	}
	list := []*conn.ChannelDescriptor{{ID: chAddresses, Priority: 1, SendQueueCapacity: 10}}
	for c := range channels {
		list = append(list, &conn.ChannelDescriptor{ID: c, Priority: 1, SendQueueCapacity: 10})
	}
	for _, d := range list {
		info.Channels = append(info.Channels, d.ID)
	}
	if _, err := protoio.NewDelimitedWriter(secret).WriteMsg(info.ToProto()); err != nil {
		return err
	}
	var theirs tmp2p.DefaultNodeInfo
	if _, err := protoio.NewDelimitedReader(secret, p2p.MaxNodeInfoSize()).ReadMsg(&theirs); err != nil {
		return err
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return err
	}
	var once sync.Once
	cfg := conn.DefaultMConnConfig()
	cfg.SendRate, cfg.RecvRate, cfg.MaxPacketMsgPayloadSize = 1e9, 1e9, 16<<10
	h.MConnection = conn.NewMConnectionWithConfig(secret, list, func(c byte, octets []byte) {
		select {
		case h.heard <- message{c, append([]byte(nil), octets...)}:
		default:
		}
	}, func(any) { once.Do(func() { close(h.gone) }) }, cfg)
	h.SetLogger(log.NewNopLogger())
	return h.Start()
}

// ended reports whether the connection has ended.
func (h *hostile) ended() bool {
	select {
	case <-h.gone:
		return true
	default:
		return false
	}
}

// say sends something, as soon as there is room, unless the connection ends.
func (h *hostile) say(channel byte, octets []byte) {
	for !h.ended() && !h.TrySend(channel, octets) {
		select {
		case <-h.gone:
		case <-time.After(time.Millisecond):
		}
	}
	h.sent++
}

// siege is hostile peers around a network, while somebody works.
type siege struct {
	w      *chaintest.Network
	t      *testing.T
	told   *told
	height atomic.Uint64 // of the network, about
	stop   chan struct{}
	wg     sync.WaitGroup

	mu   sync.Mutex
	sent map[string]int // messages of each attack
	cuts map[string]int // how often a connection was ended for it
}

func random(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.Read(out)
	return out
}

// attack has one hostile peer at a node send what a function has it send, again and
// again, until the siege ends. It connects anew, under another key, when it is cut off.
func (s *siege) attack(node int, a attack) {
	address := s.w.Config(node).Listen
	s.wg.Go(func() {
		for {
			h, err := dialHostile(s.w.Genesis.Chain, address)
			for err == nil && !h.ended() && !s.over() {
				before := h.sent
				a.do(s, h)
				s.count(s.sent, a.name, h.sent-before)
				if a.cut { // it may take a moment until the node says so
					select {
					case <-h.gone:
					case <-s.stop:
					case <-time.After(10 * time.Second):
					}
				}
			}
			if err == nil && h.ended() && !s.over() {
				s.count(s.cuts, a.name, 1)
			} else if err == nil {
				_ = h.Stop()
			}
			select {
			case <-s.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

func (s *siege) count(in map[string]int, name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in[name] += n
}

func (s *siege) over() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// done reports whether each attack was tried as often as wanted, and which was not.
func (s *siege) done(list []attack, messages int) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range list {
		if a.cut && s.cuts[a.name] < 2 || !a.cut && s.sent[a.name] < max(messages, a.least) {
			return fmt.Sprintf("%s: %d sent, %d times cut off", a.name, s.sent[a.name], s.cuts[a.name]), false
		}
	}
	return "", true
}

// work submits cities one after the other, at one node after the other, and takes
// note of what they say. It returns what was acknowledged.
func (s *siege) work(i int) {
	n := s.w.Nodes[i%len(s.w.Nodes)]
	raw := chaintest.Tx(s.w.Genesis.Chain, time.Now(), numbered(i))
	r, err := n.Submit(ctx, raw, true)
	if err != nil || r.Err() != nil {
		s.t.Fatalf("submit %d: %+v, %v", i, r, err)
	}
	lines := []string{fmt.Sprintf("ack %s %d %d", r.ID, r.Height, i)}
	data, err := n.Bundle(ctx, cityid.BundleQuery{Code: numberedCode(i), Kind: cityid.AnswerRecord})
	if err != nil {
		s.t.Fatal(err)
	}
	lines = append(lines, "bundle "+base64.StdEncoding.EncodeToString(data))
	now := status(s.t, n)
	lines = append(lines, fmt.Sprintf("head %d %s", now.Height, now.AppHash))
	s.height.Store(now.Height)
	for _, l := range lines {
		if err := s.told.hear(l); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestHostilePeers surrounds each of four validators with peers that send everything a
// peer can: what is too large, what nobody can read, what can not be, and floods of what
// could be, repeated, out of order and late. What CometBFT can prove to be wrong ends the
// connection; the rest may cost time, and neither blocks nor memory.
func TestHostilePeers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four validators")
	}
	w := chaintest.StartWith(t, 4, time.Second, func(_ *chain.Genesis, c []chain.Config) {
		for i := range c {
			c[i].Snapshots = 5
		}
	})
	s := &siege{w: w, t: t, told: newTold(), stop: make(chan struct{}), sent: map[string]int{}, cuts: map[string]int{}}
	for i := range 8 { // there is something to ask for
		nodeSubmit(t, w, i%4, city(i))
	}
	for i := range 4 {
		w.WaitHeight(i, 4)
	}
	s.height.Store(status(t, w.Nodes[0]).Height)
	least, messages, most := 4, 50, time.Duration(0)
	if long() {
		least, messages, most = 100, 5000, 2*time.Minute
	}
	before := settledHeap()
	list := attacks()
	for i, a := range list {
		s.attack(i%4, a)
		if long() {
			s.attack((i+1)%4, a)
		}
	}
	var peak uint64
	start := time.Now()
	for i := 0; ; i++ {
		s.work(i)
		peak = max(peak, heap())
		what, done := s.done(list, messages)
		if done && i >= least && time.Since(start) >= most {
			t.Logf("%d acknowledged in %s", i+1, time.Since(start).Round(time.Millisecond))
			break
		}
		if time.Since(start) > most+time.Minute {
			t.Errorf("too little came of %s", what)
			break
		}
	}
	close(s.stop)
	s.wg.Wait()
	t.Logf("heap %d MiB, %d at most; sent %v; cut off %v", before>>20, peak>>20, s.sent, s.cuts)
	for _, a := range list {
		if !a.cut && !a.may && s.cuts[a.name] > 0 {
			t.Errorf("%s: cut off %d times", a.name, s.cuts[a.name])
		}
	}
	if after := settledHeap(); peak > before+maxSiege || after > before+maxAfter {
		t.Errorf("the heap grew from %d to %d octets, and is at %d after it", before, peak, after)
	}
	nodeSubmit(t, w, 3, city(99))
	agree(t, w)
	// Strangers have their allowance at each node, and what is recorded, forged, expired
	// or of another chain comes into no block.
	in, mine := 0, 9+len(s.told.acks)
	for h := range status(t, w.Nodes[0]).Height {
		in += len(w.Nodes[0].LoadBlock(h + 1).Txs)
	}
	if t.Logf("%d transactions in blocks, %d of them acknowledged", in, mine); in-mine > 2*(260+int(time.Since(start).Seconds())) {
		t.Errorf("%d transactions of others came into blocks", in-mine)
	}
	for i := range 4 {
		if err := s.told.compare(w.Nodes[i]); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
}

// shuffled sends what the node said back to it, twice, in another order.
func shuffled(h *hostile) {
	var list []message
	for len(list) < 32 {
		select {
		case m := <-h.heard:
			list = append(list, m, m)
			continue
		case <-time.After(20 * time.Millisecond):
		}
		break
	}
	mrand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, m := range list {
		h.say(m.channel, m.octets)
	}
}
