// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"strings"

	"cityid"
)

// A code may be given to a zone of its own: another chain answers for it and for
// what lies below. What is decided about the code itself, its policy, status,
// crosswalk entries and the delegation, stays here, and the other zone follows
// it; what the code publishes, and everything below it, is there. So no record
// inside the range of a delegated code is ever in this state, and a record that
// is there proves that this zone answers for it.
//
// This file says what belongs to which zone, and has what parent and code decide
// together. What proves itself is in checkpoint.go and follow.go.

// trustingPeriod is how long, in seconds, the validators that a checkpoint names
// are believed. Keys of validators who left long ago may be anybody's.
const trustingPeriod = 14 * day

// within refuses a code that does not belong to this zone. A zone with none above
// has whatever its apex's records lead to.
func (w *work) within(code cityid.Code) error {
	up := w.upstream
	if up == nil || cityid.InZone(w.apex, up.Places, code) {
		return nil
	}
	return cityid.Errorf(cityid.ErrParent, "%s lies outside this zone, which has %s%s: ask the zone of %s, chain %s", code, w.apex, andPlaces(up.Places), up.Zone, up.Chain)
}

func andPlaces(places bool) string {
	if places {
		return " and the places that continue it"
	}
	return " and what lies below it"
}

// ours refuses a code that is delegated or belongs to the zone of one that is.
func (w *work) ours(code cityid.Code) error { return toZone(code, w.delegator(code)) }

// toZone is the refusal of a code that a record gives to another zone, or nil if
// there is no such record.
func toZone(code cityid.Code, r *cityid.Record) error {
	if r == nil {
		return nil
	}
	d := r.Delegation
	where := "which names no address yet"
	if len(d.Endpoints) > 0 {
		where = "at " + strings.Join(d.Endpoints, ", ")
	}
	if r.Code == code {
		return cityid.Errorf(cityid.ErrDelegated, "%s has a zone of its own: do this on chain %s, %s", code, d.Chain, where)
	}
	return cityid.Errorf(cityid.ErrDelegated, "%s belongs to the zone of %s: ask and submit on chain %s, %s", code, r.Code, d.Chain, where)
}

// delegator returns the record whose delegation covers a code, or nil.
func (w *work) delegator(code cityid.Code) *cityid.Record {
	if w.settings == nil || !w.zones || code.IsZero() {
		return nil
	}
	if r := w.record(code); r != nil && r.Delegation != nil {
		return r
	}
	return w.delegatorAbove(code)
}

// delegatorAbove is delegator for a code that is not delegated itself. Codes come
// in batches below one parent, so what holds for the parent is kept.
func (w *work) delegatorAbove(code cityid.Code) *cityid.Record {
	if !w.zones {
		return nil
	}
	if !isPlace(code) {
		parent := code.Parent()
		if code == w.apex || parent.IsZero() {
			return nil
		}
		r, ok := w.delegated[parent]
		if !ok {
			if w.delegated == nil {
				w.delegated = map[cityid.Code]*cityid.Record{}
			}
			r = w.delegator(parent)
			w.delegated[parent] = r
		}
		return r
	}
	for _, c := range cityid.Delegators(w.apex, code) {
		if r := w.record(c); c != code && r != nil && r.Delegation != nil && r.Delegation.Covers(c, code) {
			return r
		}
	}
	return nil
}

// isPlace reports whether a code is a place, which others may continue.
func isPlace(c cityid.Code) bool { return c.Depth() == 3 && c.Place() != "" }

// decidedHere refuses an operation about what another zone decides.
func (w *work) decidedHere(op *cityid.Operation) error {
	if err := w.decidedAbove(op); err != nil || !w.zones {
		return err
	}
	switch {
	case op.Allocate != nil:
		return w.allocatedHere(op.Allocate)
	case op.Amend != nil:
		return w.ours(op.Amend.Code)
	case op.Seal != nil:
		return w.ours(op.Seal.Code)
	case op.Unseal != nil:
		return w.ours(op.Unseal.Code)
	case op.Attest != nil:
		return w.ours(op.Attest.Source)
	case op.AgreementRequest != nil:
		if err := w.ours(op.AgreementRequest.Terms.Dataset); err != nil {
			return err
		}
		return w.ours(op.AgreementRequest.Terms.Consumer)
	case op.AgreementGrant != nil:
		return w.ours(op.AgreementGrant.Dataset)
	case op.AgreementRefuse != nil:
		return w.ours(op.AgreementRefuse.Dataset)
	case op.AgreementRevoke != nil:
		return w.ours(op.AgreementRevoke.Dataset)
	case op.AnchorReceipts != nil:
		return w.ours(op.AnchorReceipts.Party)
	}
	return nil
}

// allocatedHere refuses codes that belong to another zone. What differs from the
// code before in its last node alone has the same one, but for places, which
// others continue.
func (w *work) allocatedHere(op *cityid.Allocate) error {
	var before string
	for i := range op.Items {
		code := op.Items[i].Code
		path := strings.TrimSuffix(code.String(), code.LastNode())
		if path == before && path != "" {
			continue
		}
		if err := toZone(code, w.delegatorAbove(code)); err != nil {
			return err
		}
		if before = path; isPlace(code) {
			before = ""
		}
	}
	return nil
}

// decidedAbove refuses what the zone above decides about the apex of this one,
// and codes that this one does not have.
func (w *work) decidedAbove(op *cityid.Operation) error {
	up := w.upstream
	if up == nil {
		return nil
	}
	var code cityid.Code
	switch {
	case op.Allocate != nil:
		for i := range op.Allocate.Items {
			if err := w.within(op.Allocate.Items[i].Code); err != nil {
				return err
			}
		}
		return nil
	case op.Rekey != nil:
		code = op.Rekey.Code
	case op.SetStatus != nil:
		code = op.SetStatus.Code
	case op.Map != nil:
		code = op.Map.Code
	case op.Delegate != nil:
		code = op.Delegate.Code
	case op.Unfreeze != nil:
		code = op.Unfreeze.Zone
	}
	if code != w.apex {
		return nil
	}
	return cityid.Errorf(cityid.ErrNotPermitted, "%s is the apex of this zone: make the change in the zone of %s, chain %s; it takes effect here once it has been followed", code, up.Zone, up.Chain)
}

// waysToDelegate takes the parent and the code, or the code alone where its zone
// stays what it is.
func (w *work) waysToDelegate(code cityid.Code, alone bool) ([]way, error) {
	r, err := w.existing(code)
	if err != nil {
		return nil, err
	}
	parent := w.above(r)
	if parent == nil {
		return nil, cityid.Errorf(cityid.ErrNotPermitted, "%s is the apex of this zone: only what lies below it can have a zone of its own", code)
	}
	if alone && r.Delegation != nil {
		return only(claim{code: code}), nil
	}
	return only(claim{code: parent.Code}, claim{code: code}), nil
}

// delegate gives a code a zone of its own, anchors that zone again, or changes
// where its nodes are. A code with records in the range is not given away: they
// would be in two zones.
func (w *work) delegate(op *cityid.Delegate) error {
	r, err := w.changeable(op.Code, op.Revision)
	if err != nil {
		return err
	}
	d := &op.Delegation
	if err := d.Check(op.Code); err != nil {
		return err
	}
	next := *r
	next.Delegation = d
	if op.Checkpoint == nil {
		if err := w.checkMove(r, d); err != nil {
			return err
		}
		return w.put(r, next)
	}
	z := cityid.Zone{Chain: d.Chain, Places: d.Places, Checkpoint: *op.Checkpoint, Accepted: w.here(), Anchored: w.block.Time, Anchors: 1}
	old := r.Delegation
	if old != nil {
		var before cityid.Zone
		w.load(cityid.ZoneKey(op.Code), &before)
		if err := checkAgain(op.Code, old, d, &before); err != nil {
			return err
		}
		z.Anchors += before.Anchors
	}
	if old == nil || old.Places != d.Places {
		if err := w.checkEmpty(r, d); err != nil {
			return err
		}
	}
	if old == nil || old.Chain != d.Chain {
		if err := w.checkNewChain(op.Code, d.Chain); err != nil {
			return err
		}
	}
	if err := checkApexKind(r); err != nil {
		return err
	}
	if err := checkZonePolicy(op.Code, r.Policy); err != nil {
		return err
	}
	if err := w.checkAnchor(op.Checkpoint); err != nil {
		return err
	}
	w.set(cityid.ZoneKey(op.Code), &z)
	if err := w.put(r, next); err != nil {
		return err
	}
	w.changeSettings(func(s *settings) { s.zones = true })
	clear(w.delegated)
	return nil
}

// changeSettings has those that read the settings after this transaction read
// them anew.
func (w *work) changeSettings(f func(*settings)) {
	next := *w.settings
	f(&next)
	w.settings, w.settingsChanged = &next, true
}

// checkMove permits a delegation without a checkpoint: that of the same zone at
// other addresses.
func (w *work) checkMove(r *cityid.Record, d *cityid.Delegation) error {
	old := r.Delegation
	switch {
	case old == nil:
		return cityid.Errorf(cityid.ErrInvalid, "%s has no zone of its own yet: give the first checkpoint of the one it is to have", r.Code)
	case old.Chain != d.Chain || old.Genesis != d.Genesis || old.Places != d.Places:
		return cityid.Errorf(cityid.ErrInvalid, "%s has the zone on chain %s: another takes a checkpoint of it, and the consent of the parent", r.Code, old.Chain)
	case fmt.Sprint(old.Endpoints) == fmt.Sprint(d.Endpoints):
		return cityid.Errorf(cityid.ErrInvalid, "nothing would change: the zone of %s has these endpoints", r.Code)
	}
	return nil
}

// checkAgain permits what comes in the place of a delegation: the same zone
// anchored again, or one on another chain.
func checkAgain(code cityid.Code, old, d *cityid.Delegation, z *cityid.Zone) error {
	switch {
	case old.Chain != d.Chain:
		return nil
	case old.Genesis != d.Genesis || old.Places != d.Places:
		return cityid.Errorf(cityid.ErrInvalid, "chain %s of %s has another genesis file or range: a zone that is founded anew takes a chain id of its own", old.Chain, code)
	case z.Fork != nil:
		return cityid.Errorf(cityid.ErrStatus, "the zone of %s is frozen, for its validators signed two headers %d: unfreeze it, naming the one to go on with", code, z.Fork.Height)
	}
	return nil
}

// checkEmpty refuses a delegation of a range in which this zone has records.
func (w *work) checkEmpty(r *cityid.Record, d *cityid.Delegation) error {
	lo, hi := r.Code.DescendantRange()
	from, to := cityid.RecordPrefix(lo), cityid.RecordPrefix(hi)
	if d.Places {
		_, to = cityid.Range(cityid.RecordPrefix(r.Code.String()))
	}
	var first cityid.Code
	w.Scan(from, to, func(key, _ []byte) bool {
		first, _ = cityid.CodeOfRecordKey(key)
		return false
	})
	if first.IsZero() {
		return nil
	}
	return cityid.Errorf(cityid.ErrStatus, "this zone has records in the range of %s, the first is %s: only a code without any can be given away", r.Code, first)
}

// checkNewChain refuses a chain that can not be a zone's: this one, that of the
// zone above, or one that another code has.
func (w *work) checkNewChain(code cityid.Code, chain string) error {
	if chain == w.block.Chain || w.upstream != nil && chain == w.upstream.Chain {
		return cityid.Errorf(cityid.ErrInvalid, "chain %s is that of this zone or the one above: a zone of its own has a chain of its own", chain)
	}
	var other cityid.Code
	err := Zones(w, func(apex cityid.Code, z *cityid.Zone) bool {
		if z.Chain == chain && apex != code {
			other = apex
		}
		return other.IsZero()
	})
	if err == nil && !other.IsZero() {
		err = cityid.Errorf(cityid.ErrInvalid, "chain %s is that of %s: each zone has a chain of its own", chain, other)
	}
	return err
}

// checkApexKind refuses what can not be the apex of a zone.
func checkApexKind(r *cityid.Record) error {
	if !isParty(r.Kind) || r.Code.Class() != "" {
		return cityid.Errorf(cityid.ErrInvalid, "%s is a code of kind %s: an authority, a place, a department, an industry or an organisation may have a zone of its own", r.Code, r.Kind)
	}
	return nil
}

// checkZonePolicy demands of a code with a zone of its own a policy of keys
// alone: it holds in both zones, and neither could look up the other's codes.
func checkZonePolicy(code cityid.Code, p *cityid.Policy) error {
	if p == nil {
		return cityid.Errorf(cityid.ErrPolicy, "%s needs a policy of its own, for its zone has none above to inherit from: rekey it first", code)
	}
	for i := range p.Members {
		if c := p.Members[i].Code; !c.IsZero() {
			return cityid.Errorf(cityid.ErrPolicy, "the policy of %s has the code %s as a member: where there are two zones it names keys only, for neither can look up what the codes of the other decide", code, c)
		}
	}
	return nil
}

// checkAnchor bounds a checkpoint that the parent and the code vouch for.
func (w *work) checkAnchor(c *cityid.Checkpoint) error {
	if err := c.Check(); err != nil {
		return err
	}
	switch now := w.block.Time; {
	case c.Time > now+cityid.ClockTolerance:
		return cityid.Errorf(cityid.ErrInvalid, "the checkpoint is of %s, ahead of this zone's time %s: look at the clocks of the other zone's validators", c.Time, now)
	case now-c.Time > trustingPeriod:
		return cityid.Errorf(cityid.ErrExpired, "the checkpoint is of %s, more than 14 days ago, so nothing could follow from it: take a later header", c.Time)
	}
	return nil
}

// unfreeze goes on with one branch of a zone that was frozen.
func (w *work) unfreeze(op *cityid.Unfreeze) error {
	_, z, err := w.zoneOf(op.Zone)
	if err != nil {
		return err
	}
	switch {
	case z.Fork == nil:
		return cityid.Errorf(cityid.ErrStatus, "the zone of %s is not frozen", op.Zone)
	case z.Fork.Height != op.Fork:
		return cityid.Errorf(cityid.ErrConflict, "the zone of %s is frozen for two headers %d, not %d: look at it again", op.Zone, z.Fork.Height, op.Fork)
	}
	if err := w.checkAnchor(&op.Checkpoint); err != nil {
		return err
	}
	z.Checkpoint, z.Accepted, z.Anchored, z.Fork = op.Checkpoint, w.here(), w.block.Time, nil
	z.Anchors++
	w.set(cityid.ZoneKey(op.Zone), z)
	return nil
}

// zoneOf returns a delegated code's record and what is known of its zone. A
// retired code's zone is over.
func (w *work) zoneOf(code cityid.Code) (*cityid.Record, *cityid.Zone, error) {
	r, err := w.existing(code)
	if err != nil {
		return nil, nil, err
	}
	z := new(cityid.Zone)
	switch {
	case r.Delegation == nil || !w.load(cityid.ZoneKey(code), z):
		return nil, nil, cityid.Errorf(cityid.ErrNotFound, "%s has no zone of its own", code)
	case r.Status == cityid.StatusRetired:
		return nil, nil, cityid.Errorf(cityid.ErrStatus, "%s is retired, and its zone with it", code)
	}
	return r, z, nil
}

// Zones calls fn for what is known of each delegated zone, in order of code,
// until fn returns false. Those of retired codes are among them.
func Zones(r Reader, fn func(apex cityid.Code, z *cityid.Zone) bool) error {
	lo, hi := cityid.ZoneRange()
	var failed error
	r.Scan(lo, hi, func(key, value []byte) bool {
		apex, ok := cityid.CodeOfZoneKey(key)
		z := new(cityid.Zone)
		if err := cityid.UnmarshalTrusted(value, z); err != nil || !ok {
			failed = cityid.Errorf(cityid.ErrInternal, "state at %q: %v", key, err)
			return false
		}
		return fn(apex, z)
	})
	return failed
}

// Zone returns what is known of the zone of a delegated code, or nil if the code
// has none.
func Zone(r Reader, apex cityid.Code) *cityid.Zone {
	z := new(cityid.Zone)
	if !newWork(r, Block{}, nil, nil).load(cityid.ZoneKey(apex), z) {
		return nil
	}
	return z
}

// Delegated finds who answers about a code in the zone of apex: the code whose
// zone does, its record and what is known of its zone, and true; or false where
// that is the zone of apex itself. A delegated code's own zone answers about the
// code as well, but for what the record here says of policy, status, crosswalk
// entries and delegation.
func Delegated(r Reader, apex, code cityid.Code) (cityid.Code, *cityid.Record, *cityid.Zone, bool) {
	w := newWork(r, Block{}, nil, nil)
	for _, c := range cityid.Delegators(apex, code) {
		x := w.record(c)
		if x == nil || x.Delegation == nil || !x.Delegation.Covers(c, code) {
			continue
		}
		if z := Zone(r, c); z != nil {
			return c, x, z, true
		}
	}
	return cityid.Code{}, nil, nil, false
}

// Upstream returns what a zone knows of the zone above, or nil if there is none.
func Upstream(r Reader) *cityid.Upstream {
	u := new(cityid.Upstream)
	if !newWork(r, Block{}, nil, nil).load(cityid.UpstreamKey, u) {
		return nil
	}
	return u
}

// checkUpstream checks what a genesis says of the zone above.
func (g *Genesis) checkUpstream(block Block) error {
	up, apex := g.Upstream, &g.Records[0]
	if err := up.Checkpoint.Check(); err != nil {
		return cityid.Errorf(cityid.ErrInvalid, "genesis: upstream: %s", because(err))
	}
	switch {
	case !cityid.ValidChainID(up.Chain) || up.Chain == block.Chain:
		return cityid.Errorf(cityid.ErrInvalid, "genesis: the zone above needs a chain id, another than this zone's")
	case up.Zone.IsZero() || up.Zone == apex.Code || !apex.Code.Within(up.Zone):
		return cityid.Errorf(cityid.ErrInvalid, "genesis: %q does not stand above %s, the apex", up.Zone, apex.Code)
	case up.Places && !isPlace(apex.Code):
		return cityid.Errorf(cityid.ErrInvalid, "genesis: only a place has places that continue it")
	case up.Revision != 0 || up.Checkpoint.Log != (cityid.BlockLog{}):
		return cityid.Errorf(cityid.ErrInvalid, "genesis: upstream begins with no revision followed and without a block log")
	case apex.Recovery != nil:
		return cityid.Errorf(cityid.ErrPolicy, "genesis: %s names a recovery policy, but the zone above recovers it", apex.Code)
	}
	return checkZonePolicy(apex.Code, apex.Policy)
}
