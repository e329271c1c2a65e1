// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"cityid/internal/registry"
)

// ErrUpgrade: the next block falls under a version of the rules that this program
// does not have. The error says which, from which block on, and what to install; it
// wraps a [registry.UnknownRulesError] as well.
var ErrUpgrade = errors.New("the network has gone on to rules this program does not have")

// upcoming is what the block after some state falls under.
type upcoming struct {
	version uint32          // of the rules
	rules   *registry.Rules // nil if this program does not have them
	err     error           // then; wraps ErrUpgrade
}

// upcoming returns what the block at a height falls under, by the state before it.
func (a *Application) upcoming(r registry.Reader, height uint64) upcoming {
	rules, err := a.versions.At(r, height)
	if err != nil {
		return upcoming{version: registry.Ruleset(r, height).Version, err: fmt.Errorf("%w: %w", ErrUpgrade, err)}
	}
	return upcoming{version: rules.Version, rules: rules}
}

// upcomingRules returns what the block after the committed state falls under.
func (a *Application) upcomingRules() upcoming {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.next
}

// paramUpdates has the next header carry another version than the block before,
// which falls under the rules, did; nil if it is the same. A node that lacks the
// version says so too, since all must agree on the header.
func (u upcoming) paramUpdates(before *registry.Rules) *cmtproto.ConsensusParams {
	if u.version == before.Version {
		return nil
	}
	return &cmtproto.ConsensusParams{Version: &cmtproto.VersionParams{App: uint64(u.version)}}
}

// outdated reports whether the application stopped because of [ErrUpgrade]. What
// CometBFT then calls a failure of consensus is none.
func (a *Application) outdated() bool { return errors.Is(a.failure(), ErrUpgrade) }

// unfounded is the state before the first block.
type unfounded struct{}

func (unfounded) Get([]byte) []byte { return nil }

func (unfounded) Scan([]byte, []byte, func(_, _ []byte) bool) {}
