// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"errors"
	"net/http"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/web"
	"cityid/verify"
)

// Evidence makes the evidence of a fetch that the gateway served or made, by the
// hash of its entry. What is not anchored yet is left out: making it again later
// shows more. The other side is asked for its proof, if it answers.
func (g *Gateway) Evidence(ctx context.Context, entry cityid.Digest) (*Evidence, error) {
	d, err := g.entry(ctx, entry)
	if err != nil {
		return nil, err
	}
	if d.Request.IsZero() || d.Agreement.IsZero() {
		return nil, cityid.Errorf(cityid.ErrInvalid, "the entry is of a fetch without an agreement")
	}
	standing, err := g.standingAt(ctx, d.Agreement, timesOf(&d))
	if err != nil {
		return nil, err
	}
	e := &Evidence{
		Version: evidenceVersion, Agreement: d.Agreement, Request: d.Request, Response: d.Response, Entry: d.Entry, Standing: standing.Bundle,
	}
	if a := d.Acknowledgement; a != nil {
		e.Acknowledgement = &SignedAcknowledgement{Body: a.Body, Message: a.Message}
	}
	own, err := g.ledger.Proof(ctx, d.ID)
	if err == nil {
		err = g.addSide(ctx, e, &own)
	}
	if err != nil && !errors.Is(err, ledger.ErrWaiting) {
		return nil, err
	}
	g.addPeer(ctx, e, &d)
	if len(e.Sides) == 2 && d.Direction == ledger.DirectionFetched {
		e.Sides[0], e.Sides[1] = e.Sides[1], e.Sides[0]
	}
	return e, nil
}

// entry finds an entry on either side.
func (g *Gateway) entry(ctx context.Context, hash cityid.Digest) (ledger.Detail, error) {
	for _, direction := range []ledger.Direction{ledger.DirectionFetched, ledger.DirectionServed} {
		id, err := g.ledger.ByHash(ctx, direction, hash)
		if errors.Is(err, ledger.ErrNotFound) {
			continue
		}
		if err != nil {
			return ledger.Detail{}, err
		}
		d, err := g.ledger.Entry(ctx, id)
		if err != nil {
			return d, refusalOf(err)
		}
		return d, nil
	}
	return ledger.Detail{}, cityid.Errorf(cityid.ErrNotFound, "no entry %s is kept here; it may have been erased", hash)
}

// timesOf returns the times about which evidence of an entry has to say how the
// parties stood: that of the receipt, of the acknowledgement, and of an anchor that
// came late.
func timesOf(d *ledger.Detail) []cityid.Time {
	list := []cityid.Time{d.Receipt.Time}
	if d.Acknowledgement != nil {
		if a, err := ledger.DecodeAcknowledgement(d.Acknowledgement.Body); err == nil && a.Time > d.Receipt.Time {
			list = append(list, a.Time)
		}
	}
	if d.Anchored.Std().Sub(d.Receipt.Time.Std()) > AnchorDeadline {
		list = append(list, d.Anchored)
	}
	return list
}

// standingAt proves an agreement with the parties as they were at some times.
func (g *Gateway) standingAt(ctx context.Context, id cityid.Digest, at []cityid.Time) (*Standing, error) {
	a, err := g.view.about(ctx, id)
	if err != nil {
		return nil, err
	}
	return g.view.prove(ctx, id, guess(&a.Terms, g.view.Trust().Statement.Zone), at...)
}

// addSide adds a proof and the anchor it leads to, as of as early a header as
// nodes still prove.
func (g *Gateway) addSide(ctx context.Context, e *Evidence, p *ledger.LeafProof) error {
	proof, err := p.Encode()
	if err != nil {
		return err
	}
	anchor, err := g.view.provenAnchor(ctx, p)
	if err != nil {
		return err
	}
	e.Sides = append(e.Sides, Side{Proof: proof, Anchor: anchor})
	return nil
}

// addPeer adds the other side's proof: the one kept, or the one it gives, which is
// kept once the chain is known to have its anchor. Only a consumer can ask.
func (g *Gateway) addPeer(ctx context.Context, e *Evidence, d *ledger.Detail) {
	if d.PeerProof != nil {
		p, _, _, err := ledger.DecodeLeafProof(d.PeerProof)
		if err == nil {
			err = g.addSide(ctx, e, &p)
		}
		if err == nil {
			return
		}
		g.logger.Warn("the anchor of the other side's proof is not proven", "entry", d.Hash, "error", err)
	}
	if d.Direction != ledger.DirectionFetched {
		return
	}
	list, err := g.PeerProofs(ctx, d.Agreement, []cityid.Digest{d.Hash})
	if err != nil {
		g.logger.Info("not all of the provider's gateways give proofs now", "entry", d.Hash, "error", err)
	}
	if list == nil || list[0] == nil {
		return
	}
	if err := g.addSide(ctx, e, list[0]); err != nil {
		g.logger.Warn("the anchor of the other side's proof is not proven", "entry", d.Hash, "error", err)
		return
	}
	encoded, err := list[0].Encode()
	if err == nil {
		err = g.ledger.StorePeerProof(ctx, d.ID, encoded)
	}
	if err != nil {
		g.logger.Warn("the provider's proof not kept", "entry", d.Hash, "error", err)
	}
}

// provenAnchor returns a bundle that proves an anchor. The earlier its header,
// the more it says about "no later than"; nodes keep old states for a while.
func (v *View) provenAnchor(ctx context.Context, p *ledger.LeafProof) ([]byte, error) {
	key := cityid.AnchorKey(p.Party, p.Log, p.Sequence)
	trust := v.Pinned()
	r, latest, err := v.entriesFrom(ctx, trust, [][]byte{key}, cityid.MaxStaleness*1e9)
	if err != nil {
		return nil, err
	}
	var a cityid.Anchor
	found, err := r.Entry(key, &a)
	if err != nil {
		return nil, err
	}
	if !found || a.Root != p.Root {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s has not anchored batch %d of log %s with this root", p.Party, p.Sequence, p.Log)
	}
	for _, n := range v.nodes.list {
		early, err := n.Bundle(ctx, cityid.BundleQuery{
			Kind: cityid.AnswerEntries, Keys: [][]byte{key}, At: a.Changed.Height, Log: true,
			From: trust.Statement.Version, Base: trust.Statement.Height,
		})
		if err != nil {
			continue
		}
		at, err := verify.AnsweredAt(early)
		if err != nil {
			continue
		}
		check := verify.CheckEncoded(trust, early, verify.Options{Now: v.now(), At: at, Kind: cityid.AnswerEntries, Keys: [][]byte{key}})
		if check.Verdict == verify.Valid {
			return early, nil
		}
	}
	return latest, nil
}

// localEvidence answers with the evidence of an entry; with ?agreement=ID, only if
// it is of a fetch under that agreement.
func (g *Gateway) localEvidence(w http.ResponseWriter, r *http.Request) error {
	var entry cityid.Digest
	if err := entry.UnmarshalText([]byte(r.PathValue("entry"))); err != nil || entry.IsZero() {
		return cityid.Errorf(cityid.ErrMalformed, "entry %.70q: want its hash", r.PathValue("entry"))
	}
	e, err := g.Evidence(r.Context(), entry)
	if err != nil {
		return fetchProblem(err)
	}
	if v := r.URL.Query(); v.Has("agreement") && v.Get("agreement") != e.Agreement.String() {
		return cityid.Errorf(cityid.ErrNotFound, "entry %s is of a fetch under another agreement than %.70q", entry, v.Get("agreement"))
	}
	b, err := e.Encode()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+entry.String()[:16]+`.evidence"`)
	web.WriteBytes(w, r, http.StatusOK, EvidenceType, b)
	return nil
}
