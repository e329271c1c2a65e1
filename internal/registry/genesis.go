// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"cityid"
)

// Genesis is the state a zone is founded with: what the genesis file carries as
// its application state, in JSON. All founders check that file by its hash.
type Genesis struct {
	Params     cityid.Params       `json:"params"`
	Rule       cityid.Rule         `json:"rule"`
	Schemes    []cityid.Scheme     `json:"schemes"`
	Validators []cityid.Validator  `json:"validators"`         // in byte order of their keys
	Records    []cityid.Allocation `json:"records"`            // the apex first, each parent before its children
	Upstream   *cityid.Upstream    `json:"upstream,omitempty"` // the zone above that delegates the apex; nil: there is none
}

// Init writes the founding state. s must be empty, and block names the chain,
// height 0 and the genesis time. Records need no consent and are not held
// against the distribution rule, which they found; policies may name each
// other's codes and are checked when all records stand.
func (g *Genesis) Init(s State, block Block, verify VerifyFunc) error {
	if err := g.check(block); err != nil {
		return err
	}
	set := &settings{params: g.Params, rule: g.Rule, apex: g.Records[0].Code, upstream: g.Upstream}
	w := newWork(s, block, set, verify)
	w.set(cityid.ParamsKey, &g.Params)
	w.set(cityid.ApexKey, &set.apex)
	if g.Upstream != nil {
		w.set(cityid.UpstreamKey, g.Upstream)
	}
	w.set(cityid.ValidatorsKey, &cityid.ValidatorSet{Revision: 1, Validators: g.Validators})
	for i := range g.Records {
		if err := w.found(&g.Records[i], i == 0); err != nil {
			return cityid.Errorf(cityid.CodeOf(err), "genesis record %s: %s", g.Records[i].Code, because(err))
		}
	}
	for i := range g.Schemes {
		if err := w.setScheme(&g.Schemes[i]); err != nil {
			return err
		}
	}
	if err := w.setRule(&g.Rule); err != nil {
		return err
	}
	for i := range g.Records {
		a := &g.Records[i]
		for _, p := range []*cityid.Policy{a.Policy, a.Recovery} {
			if p == nil {
				continue
			}
			if err := w.checkPolicy(p, a.Code); err != nil {
				return cityid.Errorf(cityid.CodeOf(err), "genesis record %s: %s", a.Code, because(err))
			}
		}
		for _, alias := range a.Aliases {
			if err := w.setAlias(a.Code, alias); err != nil {
				return err
			}
		}
	}
	if err := w.foundTrust(g); err != nil {
		return err
	}
	w.commit(s)
	return nil
}

func (g *Genesis) check(block Block) error {
	if !cityid.ValidChainID(block.Chain) || block.Time <= 0 || !block.Time.Valid() {
		return cityid.Errorf(cityid.ErrInvalid, "genesis: a chain id and a time must be given")
	}
	if err := g.Params.Check(); err != nil {
		return err
	}
	if g.Params.Revision != 1 {
		return cityid.Errorf(cityid.ErrInvalid, "genesis: the parameters begin at revision 1")
	}
	if err := checkValidators(g.Validators); err != nil {
		return err
	}
	if len(g.Records) == 0 || len(g.Records) > cityid.MaxOperations {
		return cityid.Errorf(cityid.ErrInvalid, "genesis: want 1 to %d records, the apex first", cityid.MaxOperations)
	}
	if g.Upstream != nil {
		return g.checkUpstream(block)
	}
	return nil
}

// found creates a record of the founding state.
func (w *work) found(a *cityid.Allocation, apex bool) error {
	if a.Code.IsZero() || w.record(a.Code) != nil {
		return cityid.Errorf(cityid.ErrExists, "the code is missing or appears twice")
	}
	if err := checkShape(a.Code, a.Kind); err != nil {
		return err
	}
	if err := w.within(a.Code); err != nil {
		return err
	}
	var parent *cityid.Record
	if apex {
		if a.Policy == nil {
			return cityid.Errorf(cityid.ErrPolicy, "an apex needs a policy")
		}
	} else {
		p, err := w.checkParent(a)
		if err != nil {
			return err
		}
		if a.Recovery != nil {
			return cityid.Errorf(cityid.ErrPolicy, "only an apex names a recovery policy")
		}
		parent = p
	}
	if err := a.Content.Check(); err != nil {
		return err
	}
	if err := cityid.CheckAliases(a.Aliases); err != nil {
		return err
	}
	r, err := firstRevision(a, parent)
	if err != nil {
		return err
	}
	if parent != nil {
		var below births
		w.born(&below, parent.Code, a.Kind)
		w.count(&below)
	}
	return w.put(nil, r)
}

// foundTrust writes version 1 of the trust root, which follows from the genesis
// file alone.
func (w *work) foundTrust(g *Genesis) error {
	q, _, err := w.quorumOf(claim{code: w.apex})
	if err != nil {
		return err
	}
	t := cityid.Trust{Statement: cityid.TrustStatement{
		Version: 1, Zone: w.apex, Chain: w.block.Chain, Time: w.block.Time,
		Validators: TrustPowers(g.Validators), Quorum: *q,
	}}
	if err := t.Statement.Check(); err != nil {
		return err
	}
	w.set(cityid.TrustKey(1), &t)
	w.set(cityid.CountersKey, &cityid.Counters{Trust: 1})
	return nil
}

// TrustPowers returns validators in the order a header's validators hash has
// them: by power from the highest, then by address, which is the first 20
// octets of the SHA-256 of the key.
func TrustPowers(list []cityid.Validator) []cityid.TrustPower {
	out := make([]cityid.TrustPower, 0, len(list))
	for _, v := range list {
		out = append(out, cityid.TrustPower{Key: v.Key, Power: v.Power})
	}
	address := func(k cityid.PublicKey) []byte {
		h := sha256.Sum256([]byte(k[1:]))
		return h[:20]
	}
	slices.SortFunc(out, func(a, b cityid.TrustPower) int {
		if a.Power != b.Power {
			if a.Power > b.Power {
				return -1
			}
			return 1
		}
		return bytes.Compare(address(a.Key), address(b.Key))
	})
	return out
}

// ApexQuorum returns what meets the apex policy at the block's time, for the
// statement of the next trust root.
func ApexQuorum(r Reader, block Block) (*cityid.Quorum, error) {
	s, err := loadSettings(r)
	if err != nil {
		return nil, err
	}
	q, _, err := newWork(r, block, s, nil).quorumOf(claim{code: s.apex})
	return q, err
}
