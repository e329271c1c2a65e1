// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"

	"cityid"
)

// Record returns the latest record of code, or nil if it is not allocated.
func Record(r Reader, code cityid.Code) *cityid.Record {
	return newWork(r, Block{}, nil, nil).record(code)
}

// Holder returns the code whose policy governs code now, whether or not that
// policy acts, or the zero code.
func Holder(r Reader, code cityid.Code) cityid.Code {
	w := newWork(r, Block{}, nil, nil)
	for x := range w.lineage(w.record(code)) {
		if x.Policy != nil && (x.Status != cityid.StatusRetired || x.Code == code) {
			return x.Code
		}
	}
	return cityid.Code{}
}

// WaitingFor returns the change a delay holds back for code, or nil.
func WaitingFor(r Reader, code cityid.Code) *cityid.Waiting {
	return newWork(r, Block{}, nil, nil).waiting(code)
}

// Proposal returns what the state says of a proposal at the block's time: its
// state, the digest an approval must name, and for an open one what it still
// needs. The answer's AsOf is left to the caller.
func Proposal(r Reader, block Block, number uint64) (*cityid.ProposalAnswer, error) {
	s, err := loadSettings(r)
	if err != nil {
		return nil, err
	}
	w := newWork(r, block, s, nil)
	p, err := w.proposal(number)
	if err != nil {
		return nil, err
	}
	out := &cityid.ProposalAnswer{Proposal: *p, State: p.StateAt(block.Time)}
	if out.State.Open() {
		x, err := w.assess(p.Operations)
		if err != nil {
			return nil, err
		}
		v := &proposalView{&out.Proposal, x}
		v.refresh()
		if v.failed != nil {
			out.Stale = v.failed.Error()
		}
		out.Needs = v.needs()
		if p.Application() {
			out.Competing = w.competing(p)
		}
	}
	out.Digest = out.Proposal.Digest()
	return out, nil
}

// needs lists the policies, each once, of the way of each operation in which
// those who approve have a voice, or of its first.
func (v *proposalView) needs() []cityid.Need {
	approving, rejecting := keysOf(v.Approvals), keysOf(v.Rejections)
	var out []cityid.Need
	for _, o := range v.ops {
		taken := max(0, slices.IndexFunc(o.quorums, func(qs []*cityid.Quorum) bool { return haveVoice(qs, approving) }))
		for i, q := range o.quorums[taken] {
			n := cityid.Need{Code: o.holders[taken][i]}
			if q == nil || slices.ContainsFunc(out, func(x cityid.Need) bool { return x.Code == n.Code }) {
				continue
			}
			n.Threshold = int(q.Threshold)
			for j := range q.Members {
				one := cityid.Quorum{Threshold: 1, Members: q.Members[j : j+1]}
				m := cityid.MemberVote{
					Code: q.Members[j].Code, Keys: q.Members[j].Keys,
					Approved: one.Met(approving), Rejected: one.Met(rejecting),
				}
				if m.Approved {
					n.Votes++
				}
				n.Members = append(n.Members, m)
			}
			out = append(out, n)
		}
	}
	return out
}

// competing returns the other open applications for the code p applies for.
func (w *work) competing(p *cityid.Proposal) []uint64 {
	return slices.DeleteFunc(w.contest(appliedFor(p)), func(n uint64) bool {
		other, err := w.proposal(n)
		return n == p.Number || err != nil || !other.StateAt(w.block.Time).Open()
	})
}

// Validators returns the validator set as decided.
func Validators(r Reader) cityid.ValidatorSet {
	var v cityid.ValidatorSet
	newWork(r, Block{}, nil, nil).load(cityid.ValidatorsKey, &v)
	return v
}

// Settings returns the parameters, the distribution rule and the crosswalk
// schemes in order of name. The answer's Rules and AsOf are left to the caller.
func Settings(r Reader) (*cityid.Settings, error) {
	s, err := loadSettings(r)
	if err != nil {
		return nil, err
	}
	out := &cityid.Settings{Params: s.params, Rule: s.rule}
	lo, hi := cityid.SchemeRange()
	var failed error
	r.Scan(lo, hi, func(_, value []byte) bool {
		var x cityid.Scheme
		if failed = cityid.UnmarshalTrusted(value, &x); failed != nil {
			return false
		}
		out.Schemes = append(out.Schemes, x)
		return true
	})
	return out, failed
}

// Trusts returns all versions of the trust root, oldest first.
func Trusts(r Reader) ([]cityid.Trust, error) {
	var out []cityid.Trust
	lo, hi := cityid.TrustRange()
	var failed error
	r.Scan(lo, hi, func(_, value []byte) bool {
		var t cityid.Trust
		if failed = cityid.UnmarshalTrusted(value, &t); failed != nil {
			return false
		}
		out = append(out, t)
		return true
	})
	return out, failed
}
