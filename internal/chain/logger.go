// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"log/slog"
	"strings"

	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// levelTrace is below slog's Debug: CometBFT's own debugging, several lines a
// vote.
const levelTrace = slog.LevelDebug - 4

// cometLogger passes CometBFT's log on to slog. What CometBFT calls
// information is debugging to whoever runs a node, and what it calls an error
// of the network is often a peer that restarts.
type cometLogger struct {
	log   *slog.Logger
	quiet bool // of a module whose errors are mostly the peers' doing
	// ended reports whether the node has ended on purpose, so that what CometBFT
	// reports as errors follows from it. nil: never.
	ended func() bool
	// broke is told what ended consensus; it may be nil. CometBFT says so nowhere else.
	broke func(cause any)
	// conflict is called when the node's own key contradicted it; it may be nil.
	conflict func()
}

var _ cmtlog.Logger = cometLogger{}

// peerModules are the modules that report what peers do as errors.
var peerModules = map[string]bool{"p2p": true, "pex": true, "mempool": true, "blocksync": true, "statesync": true, "evidence": true}

// shutdownNoise are the errors CometBFT reports when its services are stopped
// in the order that is safe.
var shutdownNoise = []string{"Error closing switch", "Error closing eventBus", "Error closing transport"}

func (l cometLogger) Debug(msg string, kv ...any) {
	if l.log.Enabled(context.Background(), levelTrace) {
		l.log.Log(context.Background(), levelTrace, msg, kv...)
	}
}

func (l cometLogger) Info(msg string, kv ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(msg, kv...)
	}
}

// consensusFailure is what CometBFT reports, with what it recovered from as "err", when
// consensus has ended.
const consensusFailure = "CONSENSUS FAILURE!!!"

func (l cometLogger) Error(msg string, kv ...any) {
	if msg == consensusFailure && l.broke != nil && len(kv) > 1 {
		l.broke(kv[1])
	}
	if l.conflict != nil && strings.HasPrefix(msg, conflictingVote) {
		l.conflict()
	}
	level := slog.LevelError
	if l.quiet || l.ended != nil && l.ended() {
		level = slog.LevelDebug
	}
	for _, n := range shutdownNoise {
		if strings.HasPrefix(msg, n) {
			level = slog.LevelDebug
		}
	}
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, msg, kv...)
	}
}

func (l cometLogger) With(kv ...any) cmtlog.Logger {
	quiet := l.quiet
	for i := 0; i+1 < len(kv); i += 2 {
		if name, ok := kv[i+1].(string); ok && kv[i] == "module" {
			quiet = peerModules[name]
		}
	}
	l.log, l.quiet = l.log.With(kv...), quiet
	return l
}
