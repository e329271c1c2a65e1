// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
)

// offence is what is kept beside the tree of a validator that signed two histories,
// until the node takes a snapshot in. It decides nothing.
type offence struct {
	Times    uint64           `cbor:"1,keyasint"`
	Voted    uint64           `cbor:"2,keyasint"` // height of the latest two votes
	Recorded uint64           `cbor:"3,keyasint"` // of the block with the evidence of them
	Key      cityid.PublicKey `cbor:"4,keyasint,omitempty"`
	Owner    cityid.Code      `cbor:"5,keyasint,omitzero"`
}

// offenceKey is the key of what is kept of the validator with an address.
func offenceKey(address []byte) []byte { return append([]byte("o"), address...) }

// validatorAddress is by what CometBFT names a validator's key.
func validatorAddress(key cityid.PublicKey) []byte { return ed25519.PubKey(key[1:]).Address() }

// record stages what a block's evidence says, in the same batch as the block, so that
// a block that is carried out twice counts once. Removing a validator is for the apex
// policy to decide: an automatic removal could be provoked.
func (a *Application) record(s *staged, evidence []abci.Misbehavior) error {
	for _, m := range evidence {
		address := m.Validator.Address
		raw, err := s.batch.GetSide(offenceKey(address))
		if err != nil {
			return err
		}
		var o offence
		if raw != nil {
			if err := cityid.UnmarshalTrusted(raw, &o); err != nil {
				return fmt.Errorf("read what is kept of validator %X: %w", address, err)
			}
		}
		o.Times, o.Voted, o.Recorded = o.Times+1, uint64(m.Height), s.height
		for _, v := range registry.Validators(s.state).Validators {
			if bytes.Equal(validatorAddress(v.Key), address) {
				o.Key, o.Owner = v.Key, v.Owner
			}
		}
		if err := s.batch.SetSide(offenceKey(address), cityid.MustMarshal(&o)); err != nil {
			return err
		}
		a.log.Error("a validator signed two histories: have the apex policy replace it", "address", fmt.Sprintf("%X", address), "key", o.Key.String(), "owner", o.Owner.String(), "evidence", m.Type.String(), "height", m.Height)
	}
	return nil
}

// offenders returns all that is kept, by address. seats are the validators there are.
func (a *Application) offenders(seats []cityid.Validator) (out []cityid.Offender, err error) {
	var failed error
	err = a.store.ScanSide(offenceKey(nil), []byte("p"), func(key, value []byte) bool {
		var o offence
		if failed = cityid.UnmarshalTrusted(value, &o); failed != nil {
			failed = fmt.Errorf("read what is kept of validator %X: %w: %w", key[1:], failed, store.ErrCorrupt)
			return false
		}
		out = append(out, cityid.Offender{
			Address: hex.EncodeToString(key[1:]), Key: o.Key, Owner: o.Owner, Times: o.Times, Voted: o.Voted, Recorded: o.Recorded,
			Validates: slices.ContainsFunc(seats, func(v cityid.Validator) bool { return bytes.Equal(validatorAddress(v.Key), key[1:]) }),
		})
		return true
	})
	switch {
	case errors.Is(err, store.ErrClosed):
		return nil, errClosed()
	case err != nil:
		return nil, fmt.Errorf("read what is kept of validators: %w", err)
	}
	return out, failed
}
