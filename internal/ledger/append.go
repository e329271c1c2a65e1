// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cityid"
	"cityid/merkle"
)

// MaxPath bounds the path and query of a fetch, in octets.
const MaxPath = 4 << 10

// Served is a fetch that the gateway is about to answer.
type Served struct {
	Agreement   cityid.Digest // zero: none
	Peer        cityid.Code   // the consumer; zero: unknown
	Path        string        // with the query; it stays in the ledger
	Request     Message       // zero: it had no signature
	Nonce       *Nonce        // of the request, claimed before; nil: none
	Reservation *Reservation  // nil: it is a refusal, or counts under no agreement
}

// Answer is what a provider signs.
type Answer struct {
	Receipt  Receipt
	Response Message
}

// Appended is an entry that is on the disk.
type Appended struct {
	ID     uint64 // in this ledger, from 1
	Number uint64 // in the log that is written; ID if there was no other before
	Entry  []byte
	Hash   cityid.Digest // [EntryHash] of it
}

// AppendServed writes the entry of an answer before any octet of it may leave. It
// calls build, in the caller's goroutine, with the number that the receipt must
// bear; build returns the receipt and the answer's signature, quickly and without
// calling the ledger. It may be called again with another number: see the package
// comment. With the entry, the nonce becomes durable and the reservation becomes
// usage, of the size that the receipt names; else the caller releases it.
//
// Errors of build are passed on; a receipt that does not fit what is served is
// [ErrInvalid].
func (l *Ledger) AppendServed(ctx context.Context, s Served, build func(number uint64) (Answer, error)) (Appended, error) {
	if err := s.check(); err != nil {
		return Appended{}, fmt.Errorf("served entry: %w", err)
	}
	e := newEntry{
		account: account{s.Agreement, DirectionServed}, peer: s.Peer, path: s.Path, request: s.Request,
		nonce: s.Nonce, reservation: s.Reservation,
	}
	var requested cityid.Digest
	if !s.Request.IsZero() {
		requested = s.Request.Hash()
	}
	j := &job{whole: true, apply: e.write}
	j.build = func(number uint64) error {
		a, err := build(number)
		if err != nil {
			return err
		}
		r := &a.Receipt
		switch {
		case r.Number != number || r.Log != l.opts.Log || r.Provider != l.opts.Party:
			return fmt.Errorf("receipt: %w: it is number %d of log %.40q of %v, not %d of %s of %v", ErrInvalid,
				r.Number, r.Log, r.Provider, number, l.opts.Log, l.opts.Party)
		case r.Agreement != s.Agreement || r.Request != requested:
			return fmt.Errorf("receipt: %w: it is for another request or agreement", ErrInvalid)
		case r.Served() && s.Reservation == nil && !s.Agreement.IsZero():
			return fmt.Errorf("receipt: %w: data is served under an agreement, and no place in its quotas is reserved", ErrInvalid)
		case s.Reservation != nil && r.Size > s.Reservation.Octets():
			return fmt.Errorf("receipt: %w: %d octets, %d are reserved", ErrInvalid, r.Size, s.Reservation.Octets())
		}
		encoded, err := r.Encode()
		if err != nil {
			return err
		}
		return e.complete(r, encoded, a.Response)
	}
	if err := l.write(ctx, j); err != nil {
		return Appended{}, fmt.Errorf("served entry: %w", err)
	}
	return e.result, nil
}

func (s *Served) check() error {
	if len(s.Path) > MaxPath {
		return fmt.Errorf("%w: a path of %d octets, want at most %d", ErrInvalid, len(s.Path), MaxPath)
	}
	if s.Request.IsZero() {
		if !s.Agreement.IsZero() || s.Nonce != nil {
			return fmt.Errorf("%w: under an agreement every request is signed", ErrInvalid)
		}
		return nil
	}
	if r := s.Reservation; r != nil && r.account.agreement != s.Agreement {
		return fmt.Errorf("%w: the reservation is for another agreement", ErrInvalid)
	}
	if r := s.Reservation; r != nil && !r.isOpen() {
		return fmt.Errorf("%w: the reservation has ended", ErrConflict)
	}
	if s.Nonce != nil {
		if err := s.Nonce.check(); err != nil {
			return err
		}
	}
	return s.Request.Check()
}

// Fetched is an answer that the gateway got and has verified.
type Fetched struct {
	Path     string  // with the query, as requested; it stays in the ledger
	Request  Message // zero: it had no signature
	Response Message
	Receipt  []byte // as it came
}

// AppendFetched writes the entry of an answer before the application gets the first
// octet of it. It returns [ErrConflict] if the same answer was written before, and
// [ErrInvalid] if the receipt is malformed or for another request.
func (l *Ledger) AppendFetched(ctx context.Context, f Fetched) (Appended, error) {
	e, err := f.entry()
	if err == nil {
		err = l.write(ctx, &job{whole: true, apply: e.write})
	}
	if err != nil {
		return Appended{}, fmt.Errorf("fetched entry: %w", err)
	}
	return e.result, nil
}

func (f *Fetched) entry() (*newEntry, error) {
	r, err := DecodeReceipt(f.Receipt)
	if err != nil {
		return nil, err
	}
	var requested cityid.Digest
	if !f.Request.IsZero() {
		if err := f.Request.Check(); err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
		requested = f.Request.Hash()
	}
	switch {
	case len(f.Path) > MaxPath:
		return nil, fmt.Errorf("%w: a path of %d octets, want at most %d", ErrInvalid, len(f.Path), MaxPath)
	case r.Request != requested:
		return nil, fmt.Errorf("%w: the receipt is for another request", ErrInvalid)
	}
	e := &newEntry{account: account{r.Agreement, DirectionFetched}, peer: r.Provider, path: f.Path, request: f.Request}
	return e, e.complete(&r, f.Receipt, f.Response)
}

// newEntry is an entry that is being written.
type newEntry struct {
	account
	peer        cityid.Code
	path        string
	request     Message
	nonce       *Nonce
	reservation *Reservation

	receipt  Receipt
	response Message
	encoded  []byte
	hash     cityid.Digest
	salt     cityid.Digest
	leaf     merkle.Hash

	result Appended
}

// complete adds what is known once the answer is signed. The caller's goroutine does
// the hashing.
func (e *newEntry) complete(r *Receipt, receipt []byte, response Message) (err error) {
	if e.encoded, err = EncodeEntry(receipt, response); err != nil {
		return err
	}
	e.receipt, e.response, e.hash = *r, response, EntryHash(e.encoded)
	rand.Read(e.salt[:]) // never fails
	e.leaf = LeafHash(e.salt, e.encoded)
	return nil
}

// awaits reports whether the consumer has to acknowledge the entry.
func (e *newEntry) awaits() bool { return e.receipt.Served() && !e.agreement.IsZero() }

// write writes the entry as the next one. If it fails on a constraint it has changed
// nothing.
func (e *newEntry) write(g *group) error {
	id, s := g.state.next, &g.w.stmt
	_, err := s.entry.Exec(id, e.direction, optional(e.agreement), e.peer.String(), e.hash[:], e.leaf[:], g.now,
		e.receipt.Status, e.receipt.Size, e.awaits())
	if constraint(err) {
		return fmt.Errorf("the entry %v exists: %w", e.hash, ErrConflict)
	}
	if err != nil {
		return err
	}
	if _, err := s.content.Exec(id, e.salt[:], e.encoded, e.path, blob(e.request.Base), blob(e.request.Signature), blob(e.response.Base), blob(e.response.Signature)); err != nil {
		return fatalError{err}
	}
	if n := e.nonce; n != nil {
		if _, err := s.nonce.Exec(int64(n.Expires), []byte(n.Key), n.Value[:]); err != nil {
			return fatalError{err}
		}
	}
	if err := g.addLeaf(id, e.leaf); err != nil {
		return fatalError{err}
	}
	g.state.next++
	e.result = Appended{ID: id, Number: id - g.state.base, Entry: e.encoded, Hash: e.hash}
	day, use := dayOf(g.second()), Usage{Refused: 1}
	if r := e.reservation; r != nil {
		day = r.key.day
	}
	if e.reservation != nil || e.receipt.Served() {
		use = Usage{Requests: 1, Octets: e.receipt.Size}
	}
	g.usage = append(g.usage, usageDelta{usageKey{e.account, day}, use})
	g.after = append(g.after, e.known)
	return nil
}

// known makes an entry that is on the disk known in memory; l.mu is held.
func (e *newEntry) known(l *Ledger) {
	l.stats.count(e.direction, &e.receipt)
	if e.awaits() {
		l.addPending(e.account, e.hash, e.result.ID)
	}
	if r := e.reservation; r != nil {
		r.use(e.receipt.Size)
	}
}

// blob keeps nil from becoming NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// constraint reports whether a statement failed because of what is stored already.
func constraint(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}
