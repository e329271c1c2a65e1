// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"

	"cityid"
	"cityid/internal/durable/folder"
)

const (
	// MaxWindow is how many seconds a signature may last.
	MaxWindow = 60

	keptInMemory = 600  // seconds beyond its end that a nonce stays in memory
	keptOnDisk   = 3600 // and on the disk
)

// Nonce is what makes a signed request unlike any other of its signer.
type Nonce struct {
	Key     cityid.PublicKey
	Value   [16]byte
	Created cityid.Time // parameters of the signature
	Expires cityid.Time // at most MaxWindow seconds later
}

func (n *Nonce) check() error {
	switch {
	case n.Key == "":
		return fmt.Errorf("nonce: %w: it has no key", ErrInvalid)
	case !n.Created.Valid() || !n.Expires.Valid() || n.Expires <= n.Created || n.Expires-n.Created > MaxWindow:
		return fmt.Errorf("nonce: %w: the signature lasts from %d to %d, want at most %d s", ErrInvalid, int64(n.Created), int64(n.Expires), MaxWindow)
	}
	return nil
}

// nonceMemory holds the nonces that were claimed lately.
type nonceMemory struct {
	seen  map[cityid.Time]map[nonceKey]struct{} // by the second in which they end
	from  cityid.Time                           // of signatures that end in or before it, some may be on the disk alone
	floor cityid.Time                           // signatures made in or before it are refused, see the package comment
	swept cityid.Time
}

type nonceKey struct {
	key   cityid.PublicKey
	value [16]byte
}

// Claim takes the nonce of a request whose signature is good. It returns nil once
// for each nonce and end, [ErrReplayed] ever after, [ErrTooOld] if the signature has
// ended or may have been seen before the ledger was opened (the signer signs again,
// a second later), [ErrTooNew] if the signer's clock is ahead. The nonce is on the
// disk once an entry with it is.
func (l *Ledger) Claim(ctx context.Context, n Nonce) error {
	if err := n.check(); err != nil {
		return err
	}
	now := cityid.TimeOf(l.now())
	switch {
	case n.Created > now.Add(l.opts.Skew):
		return fmt.Errorf("the signature was made at %v, %d s from now by this gateway's clock: %w", n.Created, n.Created-now, ErrTooNew)
	case n.Expires <= now:
		return fmt.Errorf("the signature ended at %v: %w", n.Expires, ErrTooOld)
	case n.Created <= l.opened:
		return fmt.Errorf("the signature was made at %v and this gateway started at %v: %w: sign again", n.Created, l.opened, ErrTooOld)
	}
	l.mu.Lock()
	m := &l.nonces
	m.sweep(now)
	if n.Created <= m.floor {
		l.mu.Unlock()
		return fmt.Errorf("the signature was made at %v; up to %v this gateway does not know what it has seen: %w: sign again later", n.Created, m.floor, ErrTooOld)
	}
	k := nonceKey{n.Key, n.Value}
	_, seen := m.seen[n.Expires][k]
	if !seen {
		if m.seen[n.Expires] == nil {
			m.seen[n.Expires] = map[nonceKey]struct{}{}
		}
		m.seen[n.Expires][k] = struct{}{}
	}
	disk := n.Expires <= m.from
	l.mu.Unlock()
	if !seen && disk {
		var count int
		err := l.reads.QueryRowContext(ctx, `SELECT count(*) FROM nonce WHERE expires = ? AND key = ? AND value = ?`,
			int64(n.Expires), []byte(n.Key), n.Value[:]).Scan(&count)
		if err != nil {
			return fmt.Errorf("look for a nonce: %w", err)
		}
		seen = count > 0
	}
	if seen {
		return fmt.Errorf("the nonce: %w", ErrReplayed)
	}
	return nil
}

// sweep forgets what ended long ago; the disk may still know it.
func (m *nonceMemory) sweep(now cityid.Time) {
	if m.swept == now {
		return
	}
	m.swept = now
	for end := range m.seen {
		if end < now-keptInMemory {
			delete(m.seen, end)
			m.from = max(m.from, end)
		}
	}
}

// Sweep removes what is not needed any more: nonces of signatures that ended more
// than an hour ago, and counters of past days in memory. The ledger's owner calls it
// every few minutes.
func (l *Ledger) Sweep(ctx context.Context) error {
	err := l.write(ctx, &job{apply: func(g *group) error {
		ctx := context.Background()
		var last int64
		end := int64(g.second()) - keptOnDisk
		if err := g.w.conn.QueryRowContext(ctx, `SELECT coalesce(max(expires), 0) FROM nonce WHERE expires < ?`, end).Scan(&last); err != nil || last == 0 {
			return err
		}
		if err := raise(ctx, g.w.conn, settingFloor, last); err != nil {
			return err
		}
		_, err := g.w.conn.ExecContext(ctx, `DELETE FROM nonce WHERE expires <= ?`, last)
		g.after = append(g.after, func(l *Ledger) { l.nonces.floor = max(l.nonces.floor, cityid.Time(last)) })
		return err
	}})
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	l.sweepTallies()
	return nil
}

// raise sets a setting that only grows.
func raise(ctx context.Context, on execer, name string, value int64) error {
	_, err := on.ExecContext(ctx, `INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)`, name, value)
	return err
}

// setting returns a number, 0 if there is none.
func setting(ctx context.Context, q folder.Querier, name string) (value int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT coalesce((SELECT value FROM setting WHERE name = ?), 0)`, name).Scan(&value)
	return value, err
}
