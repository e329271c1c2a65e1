// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/libs/tempfile"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"cityid/internal/durable"
	"cityid/internal/store"
)

// ErrSignedElsewhere: there is a vote by this node's validator key that the node has
// not signed, as far as its folder knows. Another node runs with the same key, or the
// folder is an old copy. A node that went on could sign two histories, which is
// provable for ever, so it halts.
var ErrSignedElsewhere = errors.New("the validator key of this node signed elsewhere")

// signedKept is for how many blocks the signatures of votes are remembered, after which
// no block can show them any more.
const signedKept = 16

// signing is what a node's folder says its validator key signed, and what it signs from
// then on: it is the validator that CometBFT has sign. Two nodes with one key that run
// in step vote for the same blocks, but their votes have different times.
//
// A node that is alone with its key is not accused, as long as the file system keeps
// validator_state.json: CometBFT syncs the file before anybody sees what was signed, but
// not the folder, which the sync of its log takes along where metadata are journaled in
// order, as on ext4 and XFS. What the node signs is in that file, so that no block shows a vote above the
// height there, whenever the process ends and however blocks come: agreed on, replayed,
// fetched, or after a snapshot. Which votes up to the height of the start it gave is not
// remembered, and not asked. Above it every precommit was signed by this process, of any
// round, for a block or none, before it was sent; a vote is signed again with the time
// and signature that it had. Nobody without the key can give a vote another signature
// that is valid, and a block's votes were all verified when it comes to be carried out.
type signing struct {
	*privval.FilePV
	address []byte // of the key, in votes
	before  int64  // the last height signed when the node was opened
	// commit returns the votes for a block that stand in the next; nil until
	// CometBFT's blocks are open.
	commit func(height int64) *types.Commit

	mu   sync.Mutex
	mine map[int64][][]byte // signatures of precommits by height, after before
}

// newSigning watches over what a validator key signs.
func newSigning(v *privval.FilePV) *signing {
	return &signing{FilePV: v, address: v.Key.Address, before: v.LastSignState.Height, mine: map[int64][][]byte{}}
}

// SignVote signs a vote and remembers that.
func (s *signing) SignVote(chainID string, vote *cmtproto.Vote) error {
	if err := s.FilePV.SignVote(chainID, vote); err != nil || vote.Type != cmtproto.PrecommitType {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mine[vote.Height] = append(s.mine[vote.Height], bytes.Clone(vote.Signature))
	for h := range s.mine {
		if h < vote.Height-signedKept {
			delete(s.mine, h)
		}
	}
	return nil
}

// check refuses a block whose commit shows a vote by the key that this node did not
// give. height is that of the block voted for.
func (s *signing) check(height int64, votes []abci.VoteInfo) error {
	if s == nil || !slices.ContainsFunc(votes, func(v abci.VoteInfo) bool {
		return bytes.Equal(v.Validator.Address, s.address) && v.BlockIdFlag != cmtproto.BlockIDFlagAbsent
	}) {
		return nil
	}
	if last := s.LastSignState.Height; last < height { // written and read by consensus alone
		return fmt.Errorf("%w: it voted for block %d, and by %s the last it voted for was block %d: make sure that no other node runs with this key, then say with cityid node signing up to which block it has signed",
			ErrSignedElsewhere, height, validatorStateFile, last)
	}
	if height <= s.before || s.commit == nil {
		return nil
	}
	commit := s.commit(height)
	if commit == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range commit.Signatures {
		if bytes.Equal(v.ValidatorAddress, s.address) && !slices.ContainsFunc(s.mine[height], func(mine []byte) bool { return bytes.Equal(mine, v.Signature) }) {
			return fmt.Errorf("%w: the vote for block %d is not one that this node gave: another node runs with this key now: stop it, then start this one again", ErrSignedElsewhere, height)
		}
	}
	return nil
}

// conflictingVote is what CometBFT reports, and nothing else, when it sees a vote of its
// own key that contradicts the one that it gave; the signature has been verified.
const conflictingVote = "found conflicting vote from ourselves"

// conflict stops the application when its own key contradicted it.
func (a *Application) conflict() {
	a.fail(fmt.Errorf("%w: it voted for another block than this node did: another node runs with this key now: stop it, then start this one again", ErrSignedElsewhere))
}

// LastSigned returns the height of the last block that the validator key in a home
// folder voted for, as far as the folder knows; 0 if none.
func LastSigned(home string) (uint64, error) {
	v, err := openValidator(home)
	if err != nil {
		return 0, err
	}
	return uint64(v.LastSignState.Height), nil
}

// RaiseSigned notes in the home folder of a stopped node that its validator key has
// signed everything up to a height, so that it signs none of that again. It refuses
// to go back. A folder that is a copy of a node that ran on ([ErrCopy]) may be opened
// then. The errors are those of [Open] for a folder in use, and others for what
// can not be read or written.
func RaiseSigned(home string, height uint64) (err error) {
	g, err := ReadGenesis(home)
	if err != nil {
		return err
	}
	lock, err := store.Open(filepath.Join(home, stateDir), store.Options{ChainID: g.Chain})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	v, err := openValidator(home)
	if err != nil {
		return err
	}
	last := v.LastSignState
	copied, err := readRunning(home)
	if err != nil {
		return err
	}
	if copied != nil && height < copied.Height {
		return fmt.Errorf("the folder is a copy of a node that was at block %d already: give the height that others are at", copied.Height)
	}
	if height > 1<<62 || int64(height) < last.Height {
		return fmt.Errorf("the key signed block %d already: what it signed is not taken back", last.Height)
	}
	// The last step of the height: nothing of it can be signed any more.
	raised := privval.FilePVLastSignState{Height: int64(height), Round: 1<<31 - 1, Step: 3}
	text, err := cmtjson.MarshalIndent(raised, "", "  ")
	if err != nil {
		return err
	}
	if err := tempfile.WriteFileAtomic(filepath.Join(home, validatorStateFile), append(text, '\n'), 0o600); err != nil || copied == nil {
		return err
	}
	if err := durable.SyncDir(home); err != nil { // before the node may open
		return err
	}
	return errors.Join(os.Remove(filepath.Join(home, runningFile)), durable.SyncDir(home))
}
