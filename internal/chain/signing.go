// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/libs/tempfile"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"cityid/internal/store"
)

// ErrSignedElsewhere: a block shows a vote by this node's validator key that the
// node has not signed, as far as its folder knows. Another node runs with the same
// key, or the folder is an old copy. A node that went on could sign two histories,
// which is provable for ever, so it halts.
var ErrSignedElsewhere = errors.New("the validator key of this node signed elsewhere")

// signing is what a node's folder says its validator key signed.
type signing struct {
	address []byte       // of the key, in votes
	last    func() int64 // height of the last vote
}

// check refuses a block whose commit shows a vote that is later than all this node
// signed. height is that of the block voted for.
func (s *signing) check(height int64, votes []abci.VoteInfo) error {
	if s == nil || s.last() >= height {
		return nil
	}
	for _, v := range votes {
		if bytes.Equal(v.Validator.Address, s.address) && v.BlockIdFlag != cmtproto.BlockIDFlagAbsent {
			return fmt.Errorf("%w: it voted for block %d, and by %s the last it voted for was block %d: make sure that no other node runs with this key, then say with cityid node signing up to which block it has signed",
				ErrSignedElsewhere, height, validatorStateFile, s.last())
		}
	}
	return nil
}

// watchSigning has the application stop when its validator key signs elsewhere.
func (a *Application) watchSigning(v *privval.FilePV) {
	a.signing = &signing{
		address: v.Key.Address,
		last:    func() int64 { return v.LastSignState.Height }, // written and read by consensus alone
	}
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
// to go back. The errors are those of [Open] for a folder in use, and others for what
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
	if height > 1<<62 || int64(height) < last.Height {
		return fmt.Errorf("the key signed block %d already: what it signed is not taken back", last.Height)
	}
	// The last step of the height: nothing of it can be signed any more.
	raised := privval.FilePVLastSignState{Height: int64(height), Round: 1<<31 - 1, Step: 3}
	text, err := cmtjson.MarshalIndent(raised, "", "  ")
	if err != nil {
		return err
	}
	return tempfile.WriteFileAtomic(filepath.Join(home, validatorStateFile), append(text, '\n'), 0o600)
}
