// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/keys"
)

// A signing request is a transaction on its way to its signatures, which may be
// made on other machines. Its operations are fixed when it is made; its body is
// once the first signer is known, since a body names its signers. Its id is
// random and serves as the address of its page; whoever has it sees what the row
// holds and can add signatures that the keys themselves must have made, so it is
// stored as it is.
//
//	open       -> submitted, when every signer of the body has signed
//	submitted  -> open again, when the body lapsed before a block took it
//	open, submitted -> done or refused, with a receipt

const (
	maxReceipt     = 256 << 10
	maxNote        = 4000                // bytes of a note
	maxNext        = 2000                // bytes of where to go afterwards
	signingKept    = 90 * 24 * time.Hour // how long an ended request is kept after it expired
	signingIDBytes = 20
)

// signingSweep removes open requests that have expired, and ended ones later.
var signingSweep = fmt.Sprintf(`DELETE FROM signing WHERE state = %d AND expires <= ?1 OR state IN (%d, %d) AND expires + %d <= ?1`,
	SigningOpen, SigningDone, SigningRefused, signingKept.Milliseconds())

// SigningState is how far a signing request is.
type SigningState uint8

// The states.
const (
	SigningOpen      SigningState = 1 // waits for a body or signatures
	SigningSubmitted SigningState = 2 // was given to a node
	SigningDone      SigningState = 3 // a block carried it out
	SigningRefused   SigningState = 4 // it was refused, or given up
)

var signingStates = [...]string{SigningOpen: "open", SigningSubmitted: "submitted", SigningDone: "done", SigningRefused: "refused"}

// String returns the state's name.
func (s SigningState) String() string {
	if int(s) < len(signingStates) {
		return signingStates[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// SigningRequest is what [Office.NewSigning] takes.
type SigningRequest struct {
	Chain      string
	Operations []cityid.Operation
	Title      string             // one line for people, required
	Note       string             // more for people; may be empty
	Next       string             // where the portal goes afterwards; may be empty
	Creator    cityid.PublicKey   // who asks; empty: a visitor
	Signers    []cityid.PublicKey // the only keys that may sign; empty: any
	Life       time.Duration      // 0: Options.SigningLife
}

// Signing is a signing request as it stands.
type Signing struct {
	ID string
	SigningRequest
	Body       []byte                // encoded [cityid.Body]; empty: not fixed yet
	Signatures []cityid.KeySignature // verified, in byte order of the keys
	State      SigningState
	Receipt    json.RawMessage // what the caller of Finish gave; nil: none
	Created    time.Time
	Expires    time.Time // while it is open
}

// Missing returns the signers of the body that have not signed, in byte order.
func (s *Signing) Missing() []cityid.PublicKey {
	b, err := cityid.DecodeBody(s.Body)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(b.Signers, func(k cityid.PublicKey) bool {
		return slices.ContainsFunc(s.Signatures, func(have cityid.KeySignature) bool { return have.Key == k })
	})
}

// NewSigning stores a signing request and returns its id.
func (o *Office) NewSigning(ctx context.Context, r SigningRequest) (string, error) {
	invalid := func(err error) (string, error) { return "", fmt.Errorf("signing request: %w: %w", ErrInvalid, err) }
	if err := cityid.CheckText("the title", r.Title, true); err != nil {
		return invalid(err)
	}
	if len(r.Note) > maxNote || len(r.Next) > maxNext || len(r.Signers) > cityid.MaxSigners {
		return "", fmt.Errorf("signing request: note, address or signers: %w", ErrTooLarge)
	}
	for _, k := range r.Signers {
		if p, err := keys.ParsePublic([]byte(k)); err != nil || !p.CanSign() {
			return invalid(fmt.Errorf("key %s does not sign", k))
		}
	}
	// Whether the operations can stand in a body at all is judged by one that is
	// otherwise good.
	probe := cityid.Body{Chain: r.Chain, Signers: []cityid.PublicKey{"\x01probe"}, Expires: 1, Operations: r.Operations}
	if err := probe.Check(); err != nil {
		return invalid(err)
	}
	operations := cityid.MustMarshal(r.Operations)
	if len(operations) > cityid.MaxTx {
		return "", fmt.Errorf("signing request: operations of %d bytes: %w", len(operations), ErrTooLarge)
	}
	if r.Life <= 0 {
		r.Life = o.opts.SigningLife
	}
	id, now := base64.RawURLEncoding.EncodeToString(random(signingIDBytes)), o.now()
	err := o.write(ctx, func(tx *sql.Tx) error {
		if err := o.roomForSigning(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO signing (id, chain, operations, title, note, next, creator, signers, body, state, receipt, created, expires)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, x'', ?, x'', ?, ?)`, id, r.Chain, operations, r.Title, r.Note, r.Next, []byte(r.Creator),
			cityid.MustMarshal(r.Signers), SigningOpen, ms(now), ms(now.Add(r.Life)))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("signing request: %w", err)
	}
	return id, nil
}

const signingQuery = `SELECT id, chain, operations, title, note, next, creator, signers, body, state, receipt, created, expires FROM signing `

func scanSigning(row interface{ Scan(...any) error }) (s Signing, err error) {
	var operations, creator, signers, receipt []byte
	var created, expires int64
	err = row.Scan(&s.ID, &s.Chain, &operations, &s.Title, &s.Note, &s.Next, &creator, &signers, &s.Body, &s.State, &receipt, &created, &expires)
	if err != nil {
		return s, err
	}
	err = errors.Join(cityid.Unmarshal(operations, &s.Operations), cityid.Unmarshal(signers, &s.Signers))
	if err != nil {
		return s, fmt.Errorf("signing request %s: %w: %w", s.ID, ErrDamaged, err)
	}
	s.Creator, s.Created, s.Expires = cityid.PublicKey(creator), at(created), at(expires)
	s.Life = s.Expires.Sub(s.Created)
	if len(receipt) > 0 {
		s.Receipt = receipt
	}
	return s, nil
}

// signing reads a request, with its signatures.
func (o *Office) signing(ctx context.Context, q folder.Querier, id string) (Signing, error) {
	s, err := scanSigning(q.QueryRowContext(ctx, signingQuery+`WHERE id = ?`, id))
	if err != nil {
		return Signing{}, found(err, "signing request")
	}
	if s.State == SigningOpen && !o.now().Before(s.Expires) {
		return Signing{}, fmt.Errorf("signing request: %w", ErrExpired)
	}
	s.Signatures, err = folder.Collect(ctx, q, func(row interface{ Scan(...any) error }) (k cityid.KeySignature, err error) {
		var key, signature []byte
		err = row.Scan(&key, &signature)
		return cityid.KeySignature{Key: cityid.PublicKey(key), Signature: signature}, err
	}, `SELECT key, signature FROM signing_signature WHERE signing = ? ORDER BY key`, id)
	return s, err
}

// Signing returns a request. An open one that has expired is [ErrExpired].
func (o *Office) Signing(ctx context.Context, id string) (s Signing, err error) {
	tx, err := o.reads.BeginTx(ctx, nil) // so that body and signatures belong together
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	return o.signing(ctx, tx, id)
}

// SigningsOf lists the requests a key has made that have not expired, latest
// first, without their signatures; at most 200.
func (o *Office) SigningsOf(ctx context.Context, creator cityid.PublicKey) ([]Signing, error) {
	if creator == "" {
		return nil, fmt.Errorf("visitors' requests can not be listed: %w", ErrInvalid)
	}
	return folder.Collect(ctx, o.reads, scanSigning, signingQuery+`WHERE creator = ? AND (state <> ? OR expires > ?) ORDER BY created DESC, id LIMIT 200`,
		[]byte(creator), SigningOpen, ms(o.now()))
}

// SubmittedSignings lists the requests that were given to a node and whose end
// is not known, the oldest first: what to ask about after a restart.
func (o *Office) SubmittedSignings(ctx context.Context) ([]Signing, error) {
	return folder.Collect(ctx, o.reads, scanSigning, signingQuery+`WHERE state = ? ORDER BY created, id`, SigningSubmitted)
}

// SetBody fixes the body of an open request: an encoded [cityid.Body] with the
// request's chain and operations, signed by keys the request allows. Another body
// than the one there drops the signatures made so far.
func (o *Office) SetBody(ctx context.Context, id string, body []byte) error {
	b, err := cityid.DecodeBody(body)
	if err != nil {
		return fmt.Errorf("body: %w: %w", ErrInvalid, err)
	}
	return o.changeSigning(ctx, id, func(tx *sql.Tx, s Signing) error {
		switch {
		case s.State != SigningOpen:
			return fmt.Errorf("the signing request is %v: %w", s.State, ErrConflict)
		case b.Chain != s.Chain:
			return fmt.Errorf("the body is for chain %s, the request for %s: %w", b.Chain, s.Chain, ErrInvalid)
		case !bytes.Equal(cityid.MustMarshal(b.Operations), cityid.MustMarshal(s.Operations)):
			return fmt.Errorf("the body has other operations than the request: %w", ErrInvalid)
		case bytes.Equal(body, s.Body):
			return nil
		}
		for _, k := range b.Signers {
			if p, err := keys.ParsePublic([]byte(k)); err != nil || !p.CanSign() || len(s.Signers) > 0 && !slices.Contains(s.Signers, k) {
				return fmt.Errorf("key %s may not sign this request: %w", k, ErrInvalid)
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM signing_signature WHERE signing = ?`, id)
		if err == nil {
			_, err = tx.ExecContext(ctx, `UPDATE signing SET body = ? WHERE id = ?`, body, id)
		}
		return err
	})
}

// AddSignature stores a signature over the body's [cityid.SigningDigest] by one
// of its signers, after verifying it, and reports whether all have signed. A
// second signature by the same key changes nothing. A signature that is not good
// for the body of the moment is [ErrInvalid].
func (o *Office) AddSignature(ctx context.Context, id string, sig cityid.KeySignature) (complete bool, err error) {
	err = o.changeSigning(ctx, id, func(tx *sql.Tx, s Signing) error {
		if s.State != SigningOpen || len(s.Body) == 0 {
			return fmt.Errorf("the signing request is %v, with a body of %d bytes: %w", s.State, len(s.Body), ErrConflict)
		}
		b, err := cityid.DecodeBody(s.Body)
		if err != nil {
			return fmt.Errorf("body: %w: %w", ErrDamaged, err)
		}
		if !slices.Contains(b.Signers, sig.Key) {
			return fmt.Errorf("key %s is not a signer of the body: %w", sig.Key, ErrInvalid)
		}
		digest := cityid.SigningDigest(s.Body)
		if err := keys.Verify([]byte(sig.Key), digest[:], sig.Signature); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO signing_signature (signing, key, signature) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			id, []byte(sig.Key), []byte(sig.Signature))
		s.Signatures = append(s.Signatures, sig)
		complete = len(s.Missing()) == 0
		return err
	})
	return complete && err == nil, err
}

// Submit marks a request that all have signed as given to a node, and returns
// the transaction to give. Call it first: after a crash it returns the same
// transaction again, which a chain takes once only.
func (o *Office) Submit(ctx context.Context, id string) (t *cityid.Tx, err error) {
	err = o.changeSigning(ctx, id, func(tx *sql.Tx, s Signing) error {
		if s.State != SigningOpen && s.State != SigningSubmitted || len(s.Body) == 0 || len(s.Missing()) > 0 {
			return fmt.Errorf("the signing request is %v, %d of its signatures are missing: %w", s.State, len(s.Missing()), ErrConflict)
		}
		t = &cityid.Tx{Body: s.Body}
		for _, k := range s.Signatures { // in byte order, as the body's signers are
			t.Signatures = append(t.Signatures, k.Signature)
		}
		_, err := tx.ExecContext(ctx, `UPDATE signing SET state = ? WHERE id = ?`, SigningSubmitted, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Reopen makes a submitted request open again, for the full life of a request,
// because its body lapsed before a block took it; it then needs a new body.
func (o *Office) Reopen(ctx context.Context, id string) error {
	return o.changeSigning(ctx, id, func(tx *sql.Tx, s Signing) error {
		if s.State != SigningSubmitted {
			return fmt.Errorf("the signing request is %v: %w", s.State, ErrConflict)
		}
		_, err := tx.ExecContext(ctx, `UPDATE signing SET state = ?, expires = ? WHERE id = ?`,
			SigningOpen, ms(o.now().Add(o.opts.SigningLife)), id)
		return err
	})
}

// Finish ends a request as done or refused, with a receipt in JSON (which may be
// nil). A request that has ended in the same state keeps its first receipt; in
// the other state it is [ErrConflict]. Only what was submitted can be done.
func (o *Office) Finish(ctx context.Context, id string, state SigningState, receipt json.RawMessage) error {
	switch {
	case state != SigningDone && state != SigningRefused:
		return fmt.Errorf("a signing request does not end as %v: %w", state, ErrInvalid)
	case len(receipt) > maxReceipt:
		return fmt.Errorf("receipt of %d bytes: %w", len(receipt), ErrTooLarge)
	case len(receipt) > 0 && !json.Valid(receipt):
		return fmt.Errorf("the receipt is not JSON: %w", ErrInvalid)
	}
	return o.changeSigning(ctx, id, func(tx *sql.Tx, s Signing) error {
		switch {
		case s.State == state:
			return nil
		case s.State != SigningSubmitted && (s.State != SigningOpen || state == SigningDone):
			return fmt.Errorf("the signing request is %v: %w", s.State, ErrConflict)
		}
		_, err := tx.ExecContext(ctx, `UPDATE signing SET state = ?, receipt = ? WHERE id = ?`, state, append([]byte{}, receipt...), id)
		return err
	})
}

// changeSigning runs f in a transaction with the request as it is.
func (o *Office) changeSigning(ctx context.Context, id string, f func(tx *sql.Tx, s Signing) error) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		s, err := o.signing(ctx, tx, id)
		if err != nil {
			return err
		}
		return f(tx, s)
	})
}
