// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"cityid"
	"cityid/internal/durable/folder"
)

// The docket is what the chain recorded about proposals: who brought, changed,
// returned and voted on each, and what every revision asked for. The chain's
// state holds only the last revision; reviewers want to know what became of what
// they have returned. The docket is filled block by block by whoever follows the
// chain, belongs to one chain, and can be filled anew at any time.

// Act is what somebody did about a proposal.
type Act string

// The acts.
const (
	ActApply    Act = "apply"
	ActPropose  Act = "propose"
	ActRevise   Act = "revise"
	ActApprove  Act = "approve"
	ActReturn   Act = "return"
	ActReject   Act = "reject"
	ActWithdraw Act = "withdraw"
)

// Step is one act about a proposal.
type Step struct {
	Proposal   uint64
	Height     uint64        // of the block
	Time       cityid.Time   // of the block
	Tx         cityid.Digest // id of the transaction
	Ordinal    int           // of the transaction within its block
	Position   int           // of the operation within its transaction
	Act        Act
	Signers    []cityid.PublicKey
	Note       string
	Digest     cityid.Digest      // that a vote or a return names
	Revision   uint32             // that the act made; 0: none
	Operations []cityid.Operation // of that revision
	Evidence   []cityid.Digest    // of that revision
}

const docketSetting = "docket"

// docketMark says how far the docket has been filled.
type docketMark struct {
	_      struct{} `cbor:",toarray"`
	Chain  string
	Height uint64
}

// DocketHeight returns the block up to which the docket of a chain is filled; 0 if
// it is empty.
func (o *Office) DocketHeight(ctx context.Context, chain string) (uint64, error) {
	m, err := docketHeight(ctx, o.reads)
	if err != nil || m.Chain != chain {
		return 0, err
	}
	return m.Height, nil
}

func docketHeight(ctx context.Context, q folder.Querier) (m docketMark, err error) {
	var raw []byte
	err = q.QueryRowContext(ctx, `SELECT value FROM setting WHERE name = ?`, docketSetting).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return m, nil
	}
	if err == nil {
		err = cityid.Unmarshal(raw, &m)
	}
	return m, err
}

// FillDocket adds the steps of the blocks of a chain up to a height. Steps of
// another chain are removed. Blocks the docket has already are skipped.
func (o *Office) FillDocket(ctx context.Context, chain string, height uint64, steps []Step) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		m, err := docketHeight(ctx, tx)
		if err != nil {
			return err
		}
		if m.Chain != chain {
			if _, err := tx.ExecContext(ctx, `DELETE FROM step`); err != nil {
				return err
			}
			m = docketMark{Chain: chain}
		}
		if height <= m.Height {
			return nil
		}
		for i := range steps {
			if s := &steps[i]; s.Height > m.Height {
				if err := insertStep(ctx, tx, s); err != nil {
					return fmt.Errorf("docket: proposal %d: %w", s.Proposal, err)
				}
			}
		}
		m.Height = height
		_, err = tx.ExecContext(ctx, `INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			docketSetting, cityid.MustMarshal(&m))
		return err
	})
}

func insertStep(ctx context.Context, tx *sql.Tx, s *Step) error {
	operations := []byte{}
	if len(s.Operations) > 0 {
		operations = cityid.MustMarshal(s.Operations)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO step (proposal, height, tx, position, ordinal, act, time, signers, note, digest, revision, operations, evidence)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, int64(s.Proposal), int64(s.Height), s.Tx[:], s.Position, s.Ordinal, string(s.Act), int64(s.Time),
		cityid.MustMarshal(s.Signers), s.Note, s.Digest[:], s.Revision, operations, cityid.MustMarshal(s.Evidence))
	return err
}

// Steps lists what was recorded about a proposal, the oldest first.
func (o *Office) Steps(ctx context.Context, proposal uint64) ([]Step, error) {
	return folder.Collect(ctx, o.reads, scanStep, `SELECT proposal, height, tx, position, ordinal, act, time, signers, note, digest, revision, operations, evidence
		FROM step WHERE proposal = ? ORDER BY height, ordinal, position`, int64(proposal))
}

func scanStep(row interface{ Scan(...any) error }) (s Step, err error) {
	var proposal, height, time int64
	var tx, signers, digest, operations, evidence []byte
	err = row.Scan(&proposal, &height, &tx, &s.Position, &s.Ordinal, &s.Act, &time, &signers, &s.Note, &digest, &s.Revision, &operations, &evidence)
	if err != nil {
		return s, err
	}
	s.Proposal, s.Height, s.Time = uint64(proposal), uint64(height), cityid.Time(time)
	copy(s.Tx[:], tx)
	copy(s.Digest[:], digest)
	if err := cityid.Unmarshal(signers, &s.Signers); err != nil {
		return s, fmt.Errorf("docket: %w: %w", ErrDamaged, err)
	}
	if err := cityid.Unmarshal(evidence, &s.Evidence); err != nil {
		return s, fmt.Errorf("docket: %w: %w", ErrDamaged, err)
	}
	if len(operations) > 0 {
		if err := cityid.Unmarshal(operations, &s.Operations); err != nil {
			return s, fmt.Errorf("docket: %w: %w", ErrDamaged, err)
		}
	}
	return s, nil
}

// CopyEvidence enqueues a delivery of evidence for a proposal, and remembers that,
// so that one destination is sent a document for a proposal once. It reports whether
// the delivery is new.
func (o *Office) CopyEvidence(ctx context.Context, proposal uint64, digest cityid.Digest, d NewDelivery) (fresh bool, err error) {
	err = o.write(ctx, func(tx *sql.Tx) error {
		n, err := folder.Count(tx.ExecContext(ctx, `INSERT INTO evidence_copy (proposal, digest, destination) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			int64(proposal), digest[:], d.Destination))
		if err != nil || n == 0 {
			return err
		}
		fresh = true
		_, err = o.insertDelivery(ctx, tx, d)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("copy evidence: %w", err)
	}
	return fresh, nil
}
