// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"math"
	"slices"

	"cityid"
	"cityid/header"
	"cityid/keys"
)

// checkTrust applies the versions of the trust root that the bundle carries.
// Afterwards base is the last one. Versions that do not begin right after the
// verifier's own help no further: of the first, nobody could check the
// signatures.
func (c *checker) checkTrust() (string, *finding) {
	own := c.base
	if _, err := validatorsOf(&own.Statement); err != nil {
		return "", invalid(ReasonTrust, "the trust root to judge by is unusable: %v", err)
	}
	for i := range c.b.Versions {
		if f := c.checkVersion(own, i); f != nil {
			return "", f
		}
	}
	if n := len(c.b.Versions); n > 0 {
		if first := c.b.Versions[0].Statement.Version; first != own.Statement.Version+1 {
			return "", undecided(ReasonOtherTrust, "the bundle carries versions of the trust root from %d on, and you hold version %d: judge it by version %d, or ask for one that leads on from yours", first, own.Statement.Version, first-1)
		}
		c.base = &c.b.Versions[n-1]
		c.res.Learned = slices.Clone(c.b.Versions)
	}
	vals, err := validatorsOf(&c.base.Statement)
	if err != nil {
		return "", invalid(ReasonTrust, "%v", err)
	}
	c.vals = vals
	return fmt.Sprintf("version %d of %s, %d newer ones carried", own.Statement.Version, own.Statement.Zone, len(c.b.Versions)), nil
}

// checkVersion checks that version i in the bundle follows from the one before,
// or from the verifier's own, and is the verifier's own if it has its number.
func (c *checker) checkVersion(own *cityid.Trust, i int) *finding {
	next := &c.b.Versions[i]
	s := &next.Statement
	prev := own
	if i > 0 {
		prev = &c.b.Versions[i-1]
	}
	if i > 0 || s.Version == own.Statement.Version+1 {
		if err := verifySuccessor(prev, next); err != nil {
			return invalid(ReasonTrust, "%v", err)
		}
	} else if _, err := validatorsOf(s); err != nil {
		return invalid(ReasonTrust, "%v", err)
	}
	if s.Version == own.Statement.Version && s.Hash() != own.Statement.Hash() || s.Version+1 == own.Statement.Version && s.Hash() != own.Statement.Prev {
		return invalid(ReasonTrust, "version %d of the trust root that the bundle carries contradicts the one you hold", s.Version)
	}
	return nil
}

// verifySuccessor reports whether next is the version after prev, has usable
// validators, and was signed by no more of the quorum than needed.
func verifySuccessor(prev, next *cityid.Trust) error {
	if err := prev.VerifySuccessor(next, keys.Verify); err != nil {
		return err
	}
	if _, err := validatorsOf(&next.Statement); err != nil {
		return err
	}
	if len(minimalTrust(prev, next).Signatures) != len(next.Signatures) {
		return fmt.Errorf("version %d of the trust root has superfluous signatures", next.Statement.Version)
	}
	return nil
}

// minimalTrust returns next, properly signed, with so few of its signatures
// that none can be left out.
func minimalTrust(prev, next *cityid.Trust) cityid.Trust {
	signed := cityid.KeySet{}
	for _, s := range next.Signatures {
		signed[s.Key] = true
	}
	out := cityid.Trust{Statement: next.Statement}
	for _, s := range next.Signatures {
		delete(signed, s.Key)
		if !prev.Statement.Quorum.Met(signed) {
			signed[s.Key] = true
			out.Signatures = append(out.Signatures, s)
		}
	}
	return out
}

// validatorsOf returns the validators a trust statement names, if the statement
// is within its bounds.
func validatorsOf(s *cityid.TrustStatement) (header.Validators, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.Height >= math.MaxInt64 {
		return nil, fmt.Errorf("trust root version %d: no chain has a height of %d", s.Version, s.Height)
	}
	vals := make(header.Validators, len(s.Validators))
	for i, v := range s.Validators {
		vals[i] = header.Validator{PublicKey: [32]byte([]byte(v.Key[1:])), Power: v.Power}
	}
	if err := vals.Check(); err != nil {
		return nil, fmt.Errorf("trust root version %d: %w", s.Version, err)
	}
	return vals, nil
}
