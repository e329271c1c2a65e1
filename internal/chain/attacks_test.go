// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/cosmos/gogoproto/proto"

	"github.com/cometbft/cometbft/crypto/ed25519"
	bcproto "github.com/cometbft/cometbft/proto/tendermint/blocksync"
	cmtcons "github.com/cometbft/cometbft/proto/tendermint/consensus"
	"github.com/cometbft/cometbft/proto/tendermint/crypto"
	"github.com/cometbft/cometbft/proto/tendermint/libs/bits"
	protomem "github.com/cometbft/cometbft/proto/tendermint/mempool"
	ssproto "github.com/cometbft/cometbft/proto/tendermint/statesync"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"cityid"
	"cityid/internal/chain/chaintest"
)

// attack is something that a hostile peer sends.
type attack struct {
	name string
	cut  bool // the node ends the connection
	may  bool // it may, or not
	do   func(*siege, *hostile)

	least int // messages that it takes to show anything
}

// maxSiege is by how much four nodes and the hostile peers, which are in this process too,
// may fill the heap while it lasts, and after it: CometBFT's queues hold a thousand messages.
const maxSiege, maxAfter = 1 << 30, 256 << 20

// heap returns the octets of all objects, dead ones included.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func settledHeap() uint64 {
	runtime.GC()
	return heap()
}

func encoded(m proto.Message) []byte {
	out, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return out
}

func mempoolMessage(txs ...[]byte) []byte {
	return encoded(&protomem.Message{Sum: &protomem.Message_Txs{Txs: &protomem.Txs{Txs: txs}}})
}

func blockID() cmtproto.BlockID {
	return cmtproto.BlockID{Hash: random(32), PartSetHeader: cmtproto.PartSetHeader{Total: 1, Hash: random(32)}}
}

// forgedVote is a vote of nobody, with the address of nobody or of a validator.
func (s *siege) forgedVote(at int64, kind cmtproto.SignedMsgType, by int) *cmtproto.Vote {
	key := ed25519.PubKey(s.w.Genesis.State.Validators[by].Key[1:])
	return &cmtproto.Vote{
		Type: kind, Height: at, BlockID: blockID(), Timestamp: time.Now(), ValidatorAddress: key.Address(), ValidatorIndex: int32(by),
		Signature: random(64),
	}
}

// next is the height that the network is about to decide.
func (s *siege) next() int64 { return int64(s.height.Load()) + 1 }

// attacks are all that is tried.
func attacks() []attack {
	list := []attack{{name: "addresses", cut: true, do: func(_ *siege, h *hostile) {
		h.say(chAddresses, random(100)) // nobody exchanges addresses
	}}}
	for c, most := range channels {
		list = append(list, attack{name: "garbage on " + hex(c), cut: true, do: func(_ *siege, h *hostile) {
			h.say(c, append([]byte{0xff}, random(1000)...))
		}})
		if most <= 4<<20 || long() {
			list = append(list, attack{name: "oversized on " + hex(c), cut: true, do: func(_ *siege, h *hostile) {
				h.say(c, make([]byte, most+most/8+1<<16))
			}})
		}
	}
	list = append(list, attack{name: "everything again", may: true, do: func(_ *siege, h *hostile) { shuffled(h) }})
	return append(append(append(list, floodsOfTransactions()...), floodsOfConsensus()...), floodsOfRequests()...)
}

func hex(c byte) string { return string([]byte{"0123456789abcdef"[c>>4], "0123456789abcdef"[c&15]}) }

func floodsOfTransactions() []attack {
	stranger := 100
	return []attack{
		{name: "transactions nobody can read", do: func(_ *siege, h *hostile) { h.say(chMempool, mempoolMessage(random(300), random(300))) }},
		{name: "large transactions nobody can read", do: func(_ *siege, h *hostile) { h.say(chMempool, mempoolMessage(random(cityid.MaxTx))) }},
		{name: "no transactions", cut: true, do: func(_ *siege, h *hostile) { h.say(chMempool, mempoolMessage()) }},
		{name: "empty transactions", cut: true, do: func(_ *siege, h *hostile) { h.say(chMempool, mempoolMessage(nil, nil, nil)) }},
		{name: "forged transactions", do: func(s *siege, h *hostile) {
			raw := chaintest.Tx(s.w.Genesis.Chain, time.Now(), numbered(int(random(1)[0])))
			raw[len(raw)-1] ^= 1
			h.say(chMempool, mempoolMessage(raw))
		}},
		{name: "transactions of strangers", least: 1500, do: func(s *siege, h *hostile) {
			stranger++
			h.say(chMempool, mempoolMessage(chaintest.TxBy(s.w.Genesis.Chain, time.Now(), []cityid.Signer{chaintest.Key(stranger)}, numbered(stranger))))
		}},
		{name: "transactions of another chain", do: func(_ *siege, h *hostile) {
			h.say(chMempool, mempoolMessage(chaintest.Tx("another-chain", time.Now(), numbered(1))))
		}},
		{name: "expired transactions", do: func(s *siege, h *hostile) {
			h.say(chMempool, mempoolMessage(chaintest.Tx(s.w.Genesis.Chain, time.Now().Add(-time.Hour), numbered(1))))
		}},
		{name: "recorded transactions", do: func(s *siege, h *hostile) {
			// The height may be that of another node, which is ahead.
			if b := s.w.Nodes[0].LoadBlock(1 + uint64(random(1)[0])%s.height.Load()); b != nil {
				for _, tx := range b.Txs {
					h.say(chMempool, mempoolMessage(tx, tx))
				}
			}
			h.sent++ // a block may have none
		}},
	}
}

func consensusMessage(m *cmtcons.Message) []byte { return encoded(m) }

func floodsOfConsensus() []attack {
	vote := func(v *cmtproto.Vote) []byte {
		return consensusMessage(&cmtcons.Message{Sum: &cmtcons.Message_Vote{Vote: &cmtcons.Vote{Vote: v}}})
	}
	part := func(height int64, index uint32, size int) []byte {
		return consensusMessage(&cmtcons.Message{Sum: &cmtcons.Message_BlockPart{BlockPart: &cmtcons.BlockPart{
			Height: height, Part: cmtproto.Part{Index: index, Bytes: random(size), Proof: crypto.Proof{Total: 100, Index: int64(index), LeafHash: random(32)}},
		}}})
	}
	key := ed25519.GenPrivKey()
	return []attack{
		{name: "forged votes", do: func(s *siege, h *hostile) {
			for by := range 4 {
				h.say(chVotes, vote(s.forgedVote(s.next(), cmtproto.PrevoteType, by)))
				h.say(chVotes, vote(s.forgedVote(s.next(), cmtproto.PrecommitType, by)))
			}
		}},
		{name: "votes of other heights", do: func(s *siege, h *hostile) {
			h.say(chVotes, vote(s.forgedVote(1, cmtproto.PrecommitType, 1)))
			h.say(chVotes, vote(s.forgedVote(1<<60, cmtproto.PrecommitType, 1)))
		}},
		{name: "votes that can not be", cut: true, do: func(s *siege, h *hostile) {
			v := s.forgedVote(s.next(), cmtproto.PrevoteType, 0)
			v.Height = -1
			h.say(chVotes, vote(v))
		}},
		{name: "block parts of no block", do: func(s *siege, h *hostile) { h.say(chData, part(s.next(), 3, 65_536)) }},
		{name: "forged proposals", do: func(s *siege, h *hostile) {
			h.say(chData, consensusMessage(&cmtcons.Message{Sum: &cmtcons.Message_Proposal{Proposal: &cmtcons.Proposal{Proposal: cmtproto.Proposal{
				Type: cmtproto.ProposalType, Height: s.next(), PolRound: -1, BlockID: blockID(), Timestamp: time.Now(), Signature: random(64),
			}}}}))
		}},
		{name: "majorities that are none", may: true, do: func(s *siege, h *hostile) {
			h.say(chState, consensusMessage(&cmtcons.Message{Sum: &cmtcons.Message_VoteSetMaj23{VoteSetMaj23: &cmtcons.VoteSetMaj23{
				Height: s.next(), Type: cmtproto.PrevoteType, BlockID: blockID(),
			}}}))
		}},
		{name: "states that jump", do: func(s *siege, h *hostile) {
			for _, height := range []int64{1, 1 << 50, s.next()} {
				m := &cmtcons.NewRoundStep{Height: height, Step: 1, SecondsSinceStartTime: 1}
				if height == 1 {
					m.LastCommitRound = -1
				}
				h.say(chState, consensusMessage(&cmtcons.Message{Sum: &cmtcons.Message_NewRoundStep{NewRoundStep: m}}))
			}
			h.say(chState, consensusMessage(&cmtcons.Message{Sum: &cmtcons.Message_HasVote{HasVote: &cmtcons.HasVote{Height: s.next(), Type: cmtproto.PrecommitType, Index: 2}}}))
			h.say(chVoteBits, consensusMessage(&cmtcons.Message{Sum: &cmtcons.Message_VoteSetBits{VoteSetBits: &cmtcons.VoteSetBits{
				Height: s.next(), Type: cmtproto.PrevoteType, BlockID: blockID(), Votes: bits.BitArray{Bits: 4, Elems: []uint64{15}},
			}}}))
		}},
		{name: "evidence against nobody", cut: true, do: func(s *siege, h *hostile) {
			a, b := s.forgedVote(2, cmtproto.PrecommitType, 0), s.forgedVote(2, cmtproto.PrecommitType, 0)
			if string(a.BlockID.Hash) > string(b.BlockID.Hash) {
				a, b = b, a
			}
			for _, v := range []*cmtproto.Vote{a, b} {
				v.ValidatorAddress = key.PubKey().Address()
			}
			h.say(chEvidence, encoded(&cmtproto.EvidenceList{Evidence: []cmtproto.Evidence{{Sum: &cmtproto.Evidence_DuplicateVoteEvidence{
				DuplicateVoteEvidence: &cmtproto.DuplicateVoteEvidence{VoteA: a, VoteB: b, TotalVotingPower: 40, ValidatorPower: 10, Timestamp: time.Now()},
			}}}}))
		}},
	}
}

func floodsOfRequests() []attack {
	block := func(m *bcproto.Message) []byte { return encoded(m) }
	state := func(m *ssproto.Message) []byte { return encoded(m) }
	return []attack{
		{name: "requests for blocks", do: func(s *siege, h *hostile) {
			for _, height := range []int64{1, s.next() / 2, 1 << 60} {
				h.say(chBlocks, block(&bcproto.Message{Sum: &bcproto.Message_BlockRequest{BlockRequest: &bcproto.BlockRequest{Height: height}}}))
			}
		}},
		{name: "a chain that is longer", do: func(_ *siege, h *hostile) {
			h.say(chBlocks, block(&bcproto.Message{Sum: &bcproto.Message_StatusResponse{StatusResponse: &bcproto.StatusResponse{Base: 1, Height: 1 << 60}}}))
			h.say(chBlocks, block(&bcproto.Message{Sum: &bcproto.Message_StatusRequest{StatusRequest: &bcproto.StatusRequest{}}}))
		}},
		{name: "blocks nobody asked for", may: true, do: func(s *siege, h *hostile) {
			b, err := s.w.Nodes[0].LoadBlock(2).ToProto()
			if err != nil {
				panic(err)
			}
			for range 4 {
				h.say(chBlocks, block(&bcproto.Message{Sum: &bcproto.Message_BlockResponse{BlockResponse: &bcproto.BlockResponse{Block: b}}}))
			}
		}},
		{name: "requests for snapshots", do: func(_ *siege, h *hostile) {
			h.say(chSnapshots, state(&ssproto.Message{Sum: &ssproto.Message_SnapshotsRequest{SnapshotsRequest: &ssproto.SnapshotsRequest{}}}))
		}},
		{name: "requests for parts of snapshots", do: func(s *siege, h *hostile) {
			list, err := s.w.Nodes[0].App().ListSnapshots(ctx, nil)
			if err != nil || len(list.Snapshots) == 0 {
				panic("no snapshot is served")
			}
			for _, r := range []ssproto.ChunkRequest{
				{Height: list.Snapshots[0].Height, Format: 1}, {Height: list.Snapshots[0].Height, Format: 7}, {Height: 1 << 60, Format: 1, Index: 1<<32 - 1},
			} {
				h.say(chChunks, state(&ssproto.Message{Sum: &ssproto.Message_ChunkRequest{ChunkRequest: &r}}))
			}
		}},
		{name: "snapshots nobody asked for", do: func(_ *siege, h *hostile) {
			h.say(chSnapshots, state(&ssproto.Message{Sum: &ssproto.Message_SnapshotsResponse{SnapshotsResponse: &ssproto.SnapshotsResponse{
				Height: 5, Format: 1, Chunks: 3, Hash: random(32), Metadata: random(1000),
			}}}))
			h.say(chChunks, state(&ssproto.Message{Sum: &ssproto.Message_ChunkResponse{ChunkResponse: &ssproto.ChunkResponse{Height: 5, Format: 1, Chunk: random(100_000)}}}))
		}},
		{name: "snapshots that can not be", cut: true, do: func(_ *siege, h *hostile) {
			h.say(chSnapshots, state(&ssproto.Message{Sum: &ssproto.Message_SnapshotsResponse{SnapshotsResponse: &ssproto.SnapshotsResponse{Height: 5, Format: 1, Chunks: 1<<32 - 1, Hash: random(32)}}}))
		}},
	}
}
