// SPDX-License-Identifier: Apache-2.0

package cityid

import "context"

// Standing is how a key stood to a code at some time.
type Standing struct {
	Holder      Code // whose policy named the key with the role; zero: none did
	Compromised Time // since when the key is known, by now, to be compromised; zero: it is not
}

// Stood finds out whether a key stood with one of the roles in the policy that
// governed a code at a time: in that policy, or in those of the codes that were
// its members. The policy's record, and each it was inherited through, must have
// been active.
//
// history returns the revisions of a record, latest first: all of them, or, from
// whoever knows no more, the latest ones. The error is [ErrUnavailable] if the
// revision in force then is not among them, and whatever history returns; of a
// code that was not allocated then, nothing stood.
func Stood(ctx context.Context, code Code, key PublicKey, roles Roles, at Time, history func(context.Context, Code) ([]Record, error)) (Standing, error) {
	s := stander{ctx: ctx, key: key, roles: roles, at: at, history: history}
	return s.find(code, 0)
}

type stander struct {
	ctx     context.Context
	key     PublicKey
	roles   Roles
	at      Time
	history func(context.Context, Code) ([]Record, error)
}

// inForce returns the revisions of a code and the one in force; nil if it was
// not allocated.
func (s *stander) inForce(code Code) ([]Record, *Record, error) {
	all, err := s.history(s.ctx, code)
	if err != nil {
		return nil, nil, err
	}
	for i := range all {
		if all[i].Changed.Time <= s.at {
			return all, &all[i], nil
		}
	}
	if n := len(all); n > 0 && all[n-1].Revision > 1 {
		return all, nil, Errorf(ErrUnavailable, "the revision of %s that was in force at %s is not known", code, s.at)
	}
	return all, nil, nil
}

// maxInherited bounds the records through which a policy is inherited.
const maxInherited = 64

func (s *stander) find(code Code, depth int) (Standing, error) {
	for n := 0; depth <= MaxPolicyDepth && n <= maxInherited; n++ {
		all, r, err := s.inForce(code)
		switch {
		case err != nil || r == nil:
			return Standing{}, err
		case n > 0 && r.Status == StatusRetired && !r.Heir.IsZero():
			code = r.Heir
		case r.Status != StatusActive:
			return Standing{}, nil
		case r.Policy != nil:
			return s.among(all, r, depth)
		default:
			code = r.Parent
		}
		if code.IsZero() {
			break
		}
	}
	return Standing{}, nil
}

// among looks for the key among the members of a record's policy.
func (s *stander) among(all []Record, r *Record, depth int) (Standing, error) {
	for i := range r.Policy.Members {
		m := &r.Policy.Members[i]
		for j := range m.Keys {
			if k := &m.Keys[j]; k.Public == s.key && k.Roles&s.roles != 0 && s.at >= k.From && (k.Until == 0 || s.at < k.Until) {
				return Standing{Holder: r.Code, Compromised: compromised(all, s.key)}, nil
			}
		}
	}
	for i := range r.Policy.Members {
		if m := r.Policy.Members[i].Code; !m.IsZero() {
			if found, err := s.find(m, depth+1); err != nil || !found.Holder.IsZero() {
				return found, err
			}
		}
	}
	return Standing{}, nil
}

// compromised returns the first moment from which any of the revisions knows a
// key to be compromised.
func compromised(all []Record, key PublicKey) Time {
	var first Time
	for i := range all {
		if all[i].Policy == nil {
			continue
		}
		for _, m := range all[i].Policy.Members {
			for _, k := range m.Keys {
				if k.Public == key && k.Compromised != 0 && (first == 0 || k.Compromised < first) {
					first = k.Compromised
				}
			}
		}
	}
	return first
}
