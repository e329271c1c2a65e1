// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"database/sql"
	"time"
)

// Stats are the ledger's counters. Those of what happened count since it was opened.
type Stats struct {
	Served           uint64 // entries of data that was served
	ServedOctets     uint64
	Refused          uint64 // entries of refusals that were served
	Fetched          uint64 // entries of data that was fetched
	FetchedOctets    uint64
	FetchRefused     uint64 // entries of refusals that were fetched
	Acknowledgements uint64 // stored
	Groups           uint64 // synced transactions
	Anchored         uint64 // batches

	Entries        uint64    // ever written
	Unacknowledged int       // entries that await an acknowledgement now
	Open           uint64    // leaves in no batch yet
	OpenSince      time.Time // when the first of them was written; zero: there are none
	Waiting        int       // closed batches that are not known to be on the chain
	Nonces         int       // in memory
	Reservations   int       // that are open
}

// Stats returns the counters of the moment.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	if s.Open > 0 {
		s.OpenSince = at(l.openSince)
	}
	for _, m := range l.nonces.seen {
		s.Nonces += len(m)
	}
	for _, n := range l.held {
		s.Reservations += n
	}
	return s
}

// count counts an entry.
func (s *Stats) count(d Direction, r *Receipt) {
	s.Entries++
	switch {
	case d == DirectionServed && r.Served():
		s.Served++
		s.ServedOctets += r.Size
	case d == DirectionServed:
		s.Refused++
	case r.Served():
		s.Fetched++
		s.FetchedOctets += r.Size
	default:
		s.FetchRefused++
	}
}

// loadStats reads those that are of the moment.
func (l *Ledger) loadStats(ctx context.Context, tx *sql.Tx, s *state) error {
	l.stats.Entries, l.stats.Open, l.openSince = s.next-1, s.open.log.Size(), s.open.since
	return tx.QueryRowContext(ctx, `SELECT count(*) FROM batch WHERE anchored = 0`).Scan(&l.stats.Waiting)
}
