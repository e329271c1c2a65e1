// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"slices"

	"cityid"
	"cityid/keys"
)

// setParams replaces parameters, rule or schemes.
func (w *work) setParams(op *cityid.SetParams) error {
	if op.Revision != w.params.Revision {
		return cityid.Errorf(cityid.ErrConflict, "the parameters are at revision %d, not %d", w.params.Revision, op.Revision)
	}
	if op.Params == nil && op.Rule == nil && len(op.Schemes) == 0 || len(op.Schemes) > 64 {
		return cityid.Errorf(cityid.ErrInvalid, "want parameters, a rule, or up to 64 schemes")
	}
	next := *w.settings
	if op.Params != nil {
		next.params = *op.Params
	}
	next.params.Revision = w.params.Revision + 1
	if err := next.params.Check(); err != nil {
		return err
	}
	for i := range op.Schemes {
		if err := w.setScheme(&op.Schemes[i]); err != nil {
			return err
		}
	}
	if op.Rule != nil {
		if err := w.setRule(op.Rule); err != nil {
			return err
		}
		next.rule = *op.Rule
	}
	w.set(cityid.ParamsKey, &next.params)
	w.settings, w.settingsChanged = &next, true
	return nil
}

// setRule stores a distribution rule; the schemes it asks for must exist.
func (w *work) setRule(r *cityid.Rule) error {
	if err := r.Check(); err != nil {
		return err
	}
	for i := range r.Kinds {
		for _, name := range r.Kinds[i].Schemes {
			if _, err := w.scheme(name); err != nil {
				return cityid.Errorf(cityid.ErrCrosswalk, "distribution rule for %s: %s", r.Kinds[i].Kind, because(err))
			}
		}
	}
	w.set(cityid.RuleKey, r)
	return nil
}

func (w *work) setScheme(s *cityid.Scheme) error {
	if err := s.Check(); err != nil {
		return err
	}
	if !s.Owner.IsZero() {
		if _, err := w.existing(s.Owner); err != nil {
			return cityid.Errorf(cityid.ErrCrosswalk, "owner of scheme %s: %s", s.Name, because(err))
		}
	}
	w.set(cityid.SchemeKey(s.Name), s)
	delete(w.schemes, s.Name)
	return nil
}

// setValidators replaces the validator set. Less than a third of the power may
// go at once, and one change a block, so that a light client that trusts the
// old set can still follow.
func (w *work) setValidators(op *cityid.SetValidators) error {
	var old cityid.ValidatorSet
	w.load(cityid.ValidatorsKey, &old)
	if op.Revision != old.Revision {
		return cityid.Errorf(cityid.ErrConflict, "the validator set is at revision %d, not %d", old.Revision, op.Revision)
	}
	if old.Changed == w.block.Height {
		return cityid.Errorf(cityid.ErrRetry, "the validator set changed in this block already")
	}
	if err := checkValidators(op.Validators); err != nil {
		return err
	}
	var total, removed int64
	for _, v := range old.Validators {
		total += v.Power
		i := slices.IndexFunc(op.Validators, func(x cityid.Validator) bool { return x.Key == v.Key })
		if i < 0 {
			removed += v.Power
		} else if x := op.Validators[i]; x.Power < v.Power {
			removed += v.Power - x.Power
		}
	}
	if 3*removed >= total {
		return cityid.Errorf(cityid.ErrInvalid, "the change removes %d of %d power: less than a third may go at once", removed, total)
	}
	w.set(cityid.ValidatorsKey, &cityid.ValidatorSet{Revision: old.Revision + 1, Validators: op.Validators, Changed: w.block.Height})
	return nil
}

func checkValidators(list []cityid.Validator) error {
	if len(list) < 1 || len(list) > cityid.MaxValidators {
		return cityid.Errorf(cityid.ErrInvalid, "want 1 to %d validators", cityid.MaxValidators)
	}
	for i, v := range list {
		if v.Key.Algorithm() != "ed25519" || v.Power < 1 || v.Power > cityid.MaxPower {
			return cityid.Errorf(cityid.ErrInvalid, "validator %s: want an ed25519 key and a power of 1 to %d", v.Key, cityid.MaxPower)
		}
		if _, err := keys.ParsePublic([]byte(v.Key)); err != nil {
			return cityid.Errorf(cityid.ErrInvalid, "validator %s: %v", v.Key, err)
		}
		if i > 0 && list[i-1].Key >= v.Key {
			return cityid.Errorf(cityid.ErrInvalid, "validators must be in byte order of their keys, each once")
		}
	}
	return nil
}

// setTrust records the next version of the trust root. The quorum of the
// version before has signed it, and it must name this chain, nothing from the
// future, and the quorum that meets the apex policy now.
func (w *work) setTrust(op *cityid.SetTrust) error {
	c := w.counters()
	var prev cityid.Trust
	if !w.load(cityid.TrustKey(c.Trust), &prev) {
		return cityid.Errorf(cityid.ErrInternal, "trust root version %d is missing", c.Trust)
	}
	next := &op.Trust
	if err := prev.VerifySuccessor(next, w.verify); err != nil {
		return err
	}
	s := &next.Statement
	if s.Chain != w.block.Chain || s.Height >= w.block.Height || s.Time > w.block.Time {
		return cityid.Errorf(cityid.ErrInvalid, "a trust root names a past header of this chain")
	}
	q, _, err := w.quorumOf(claim{code: w.apex})
	if err != nil {
		return err
	}
	if !bytes.Equal(cityid.MustMarshal(q), cityid.MustMarshal(&s.Quorum)) {
		return cityid.Errorf(cityid.ErrConflict, "the trust root's quorum is not the one of the apex policy now")
	}
	c.Trust = s.Version
	w.set(cityid.CountersKey, &c)
	w.set(cityid.TrustKey(s.Version), next)
	return nil
}
