// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"cityid"
	"cityid/internal/durable"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Bounds of purposes and proofs.
const (
	MaxPurpose    = 64 << 10 // octets of an encrypted purpose
	maxPurposes   = 10_000   // kept
	maxProofAsked = 64       // entries in one question
	ageHeader     = "age-encryption.org/v1\n"
	purposesDir   = "purposes"
	purposeSuffix = ".age"
)

var (
	purposeProfile = httpsig.RequestProfile(tagPurpose)
	proofProfile   = httpsig.RequestProfile(tagProof)
)

// takePurpose keeps the purpose of a request, encrypted to the holder's officers:
// the gateway can not read it.
func (g *Gateway) takePurpose(w http.ResponseWriter, r *http.Request) error {
	c, body, err := g.signedBody(r, purposeProfile, MaxPurpose)
	if err != nil {
		return err
	}
	switch s := c.standing; {
	case s.Provider.Holder != g.cfg.Party:
		return cityid.Errorf(cityid.ErrNotPermitted, "%s is not held by %s", s.Agreement.Terms.Dataset, g.cfg.Party)
	case s.Agreement.StateAt(cityid.TimeOf(g.now())) != cityid.AgreementRequested:
		return cityid.Errorf(cityid.ErrClosed, "the agreement is %s: a purpose belongs to a request that waits", s.Agreement.StateAt(cityid.TimeOf(g.now())))
	case !bytes.HasPrefix(body, []byte(ageHeader)):
		return cityid.Errorf(cityid.ErrMalformed, "the purpose is not encrypted with age")
	}
	dir := filepath.Join(g.cfg.Data, purposesDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep a purpose: %w", err)
	}
	kept, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("keep a purpose: %w", err)
	}
	if len(kept) >= maxPurposes {
		return web.Refuse(http.StatusInsufficientStorage, cityid.ErrFull, "this gateway keeps %d purposes and no more", maxPurposes)
	}
	// The first one counts: a purpose that changed later would be another one.
	if err := durable.WriteNew(filepath.Join(dir, c.standing.ID.String()+purposeSuffix), body); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("keep a purpose: %w", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Purpose returns the encrypted purpose that a consumer sent with a request.
func (g *Gateway) Purpose(id cityid.Digest) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(g.cfg.Data, purposesDir, id.String()+purposeSuffix))
	if errors.Is(err, os.ErrNotExist) {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no purpose came with the request %s", id)
	}
	return b, err
}

// SendPurpose sends an encrypted purpose to the holder of the dataset that was
// asked for.
func (g *Gateway) SendPurpose(ctx context.Context, id cityid.Digest, purpose []byte) error {
	s, err := g.view.Standing(ctx, id)
	if err != nil {
		return err
	}
	err = cityid.Errorf(cityid.ErrNotFound, "no record from %s upwards links to a gateway", s.Agreement.Terms.Dataset)
	for _, base := range s.Provider.Links {
		if _, err = g.postSigned(ctx, base, "/purposes", id, purposeProfile, purpose, nil); err == nil {
			return nil
		}
	}
	return err
}

// giveProofs answers which of a consumer's entries are anchored, with proofs: for
// each entry asked for, in order, an encoded [ledger.LeafProof], or nothing while
// it is not anchored or once it was erased.
func (g *Gateway) giveProofs(w http.ResponseWriter, r *http.Request) error {
	c, body, err := g.signedBody(r, proofProfile, maxAckBody)
	if err != nil {
		return err
	}
	var asked []cityid.Digest
	if err := cityid.Unmarshal(body, &asked); err != nil || len(asked) < 1 || len(asked) > maxProofAsked {
		return cityid.Errorf(cityid.ErrMalformed, "want the hashes of 1 to %d entries", maxProofAsked)
	}
	out := make([]cityid.Bytes, len(asked))
	for i, h := range asked {
		p, err := g.proofFor(r.Context(), c.standing.ID, h)
		if errors.Is(err, ledger.ErrNotFound) || errors.Is(err, ledger.ErrWaiting) || errors.Is(err, ledger.ErrErased) {
			out[i] = cityid.Bytes{}
			continue
		}
		if err != nil {
			return err
		}
		if out[i], err = p.Encode(); err != nil {
			return err
		}
	}
	web.WriteBytes(w, r, http.StatusOK, "application/cbor", cityid.MustMarshal(out))
	return nil
}

// proofFor returns the proof of an entry that was served under an agreement.
func (g *Gateway) proofFor(ctx context.Context, agreement, entry cityid.Digest) (p ledger.LeafProof, err error) {
	id, err := g.ledger.ByHash(ctx, ledger.DirectionServed, entry)
	if err != nil {
		return p, err
	}
	if p, err = g.ledger.Proof(ctx, id); err != nil {
		return p, err
	}
	if _, r, err := ledger.DecodeEntry(p.Entry); err != nil || r.Agreement != agreement {
		return ledger.LeafProof{}, ledger.ErrNotFound
	}
	return p, nil
}

// PeerProofs asks the provider's gateways for the proofs of entries under an
// agreement. Each is checked to be one of the entry, of a log of the provider's; one
// that is missing is nil. The error says which gateways did not answer, or answered
// with something else: what the others have shown is good whatever it says. It is
// another matter whether the chain has the anchors.
func (g *Gateway) PeerProofs(ctx context.Context, id cityid.Digest, entries []cityid.Digest) ([]*ledger.LeafProof, error) {
	s, err := g.view.Standing(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]*ledger.LeafProof, len(entries))
	var failed []error
	for _, base := range s.Provider.Links {
		if !slices.Contains(out, nil) {
			break
		}
		if err := g.peerProofs(ctx, base, id, entries, out); err != nil {
			failed = append(failed, err)
		}
	}
	return out, errors.Join(failed...)
}

// peerProofs asks one gateway, and fills in those proofs that are missing and good.
func (g *Gateway) peerProofs(ctx context.Context, base string, id cityid.Digest, entries []cityid.Digest, out []*ledger.LeafProof) error {
	var body []byte
	if _, err := g.postSigned(ctx, base, "/proofs", id, proofProfile, cityid.MustMarshal(entries), &body); err != nil {
		return err
	}
	var list []cityid.Bytes
	if err := cityid.Unmarshal(body, &list); err != nil || len(list) != len(entries) {
		return fmt.Errorf("%w: %s: its proofs can not be read", errLies, base)
	}
	var failed []error
	for i, b := range list {
		if len(b) == 0 || out[i] != nil {
			continue
		}
		p, _, r, err := ledger.DecodeLeafProof(b)
		if err != nil || ledger.EntryHash(p.Entry) != entries[i] || p.Party != r.Provider {
			failed = append(failed, fmt.Errorf("%w: %s: a proof is not of the entry %s asked for", errLies, base, entries[i]))
			continue
		}
		out[i] = &p
	}
	return errors.Join(failed...)
}
