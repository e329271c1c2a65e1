// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"slices"
	"strconv"

	"cityid"
	"cityid/internal/describe"
)

const (
	workRows      = 50 // rows of the list below a code
	workDecisions = 10 // proposals shown
	soon          = 30 * 86400
)

// workTree is what the page of a code in the workspace shows.
type workTree struct {
	*workAt
	Form      workForm // search and filter
	Kinds     []navItem
	Rows      []workRow
	Next      string
	Searched  bool
	Counts    []countItem
	Quotas    []quota
	Policy    []describe.Line
	Warnings  []string
	Waiting   []string
	Veto      bool // the visitor may stop what waits
	Override  bool // or lift a veto
	Complete  bool // or carry it out
	Proposals []proposalLine
	Objects   bool // the code may be given objects or classes: import makes sense
	Reports   int  // open ones; -1: not for this visitor
	Sealed    *sealedView
	Sharing   *shareCounts
}

type workRow struct {
	place
	Other string
	Tag   tag
	Page  string // of the code
}

// quota is what the distribution rule says of one kind below the code.
type quota struct {
	Kind        cityid.Kind
	Name        string
	Used, Most  uint64 // Most is 0 where there is no limit
	Form        string // patterns of its last node
	Next        string // next free code; "": not known
	Apex        bool   // the apex decides
	Sequence    bool
	Languages   string
	Schemes     string
	AllocateURL string
}

// workTree shows what lies below a code and what may be done there.
func (p *portal) workTree(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	data := &workTree{workAt: at, Form: workForm{r.URL.Query()}}
	if err := pg.workBelow(r, data); err != nil {
		return err
	}
	var err error
	if data.Counts, err = pg.counts(at.Code()); err != nil {
		return err
	}
	if data.Quotas, err = pg.quotas(at); err != nil {
		return err
	}
	if data.Reports, err = pg.openReports(at.Code()); err != nil {
		return err
	}
	if data.Sharing, err = pg.shareCounts(at.Code(), at.May); err != nil {
		return err
	}
	holder := at.Holder
	holder.URL = pg.CodeURL(holder.Code)
	if data.Sealed, err = pg.sealedView(at.Record, holder, at.May); err != nil {
		return err
	}
	data.Objects = at.Code().Item() == "" && slices.ContainsFunc(data.Quotas, func(q quota) bool { return !q.Apex })
	data.Policy = describe.Policy(pg.Lang, at.Policy)
	data.Warnings = pg.policyWarnings(at.Policy, cityid.TimeOf(at.Answer.AsOf.Time))
	if err := pg.workWaiting(data); err != nil {
		return err
	}
	got, err := p.Source.Proposals(pg.ctx, cityid.ProposalQuery{Code: at.Code(), Limit: workDecisions})
	if err != nil {
		return err
	}
	for i := range got.Proposals {
		data.Proposals = append(data.Proposals, pg.proposalLine(&got.Proposals[i]))
	}
	pg.Title = pg.T("work.tree.title", at.Name)
	return pg.render(w, r, http.StatusOK, "work_tree", data)
}

// workBelow lists what lies directly below the code, or what a search finds
// anywhere below it.
func (pg *page) workBelow(r *http.Request, data *workTree) error {
	var kind cityid.Kind
	if s := data.Form.Get("kind"); s != "" {
		if err := kind.UnmarshalText([]byte(s)); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "kind %.40q is unknown", s)
		}
	}
	data.Kinds = append(data.Kinds, navItem{URL: address(r, "kind", "", "after", "") + "#below", Text: pg.T("search.any-kind"), Current: kind == 0})
	for _, k := range data.Rule.Rule.Kinds {
		if slices.Contains(k.Parents, data.Record.Kind) {
			data.Kinds = append(data.Kinds, navItem{
				URL: address(r, "kind", k.Kind.String(), "after", "") + "#below", Text: pg.Kinds(k.Kind), Current: kind == k.Kind,
			})
		}
	}
	row := func(c cityid.Code, names cityid.Names, k cityid.Kind, s cityid.Status) {
		data.Rows = append(data.Rows, workRow{
			place{c, pg.NameOf(names, c), pg.Kind(k), pg.URL("/work/", c.String())}, pg.OtherName(names), pg.StatusTag(s), pg.CodeURL(c),
		})
	}
	if text := data.Form.Text("q"); text != "" {
		if len(text) > 200 {
			return cityid.Errorf(cityid.ErrTooLarge, "the text to look for has %d octets: at most 200", len(text))
		}
		data.Searched = true
		q := cityid.SearchQuery{Text: text, Below: data.Code(), After: data.Form.Get("after"), Limit: workRows}
		if kind != 0 {
			q.Kinds = []cityid.Kind{kind}
		}
		found, err := pg.Index.Search(pg.ctx, q)
		if err != nil {
			return err
		}
		for _, h := range found.Hits {
			row(h.Code, h.Names, h.Kind, h.Status)
		}
		if found.Next != "" {
			data.Next = address(r, "after", found.Next) + "#below"
		}
		return nil
	}
	q := cityid.ChildrenQuery{Code: data.Code(), Kind: kind, Limit: workRows}
	if s := data.Form.Get("after"); s != "" {
		var err error
		if q.After, err = cityid.Parse(s); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	got, err := pg.Source.Children(pg.ctx, q)
	if err != nil {
		return err
	}
	for i := range got.Records {
		c := &got.Records[i]
		row(c.Code, c.Content.Names, c.Kind, c.Status)
	}
	if !got.Next.IsZero() {
		data.Next = address(r, "after", got.Next.String()) + "#below"
	}
	return nil
}

// policyWarnings says what in a policy may end badly.
func (pg *page) policyWarnings(policy *cityid.Policy, now cityid.Time) []string {
	if policy == nil {
		return nil
	}
	var out []string
	able, hosts := 0, map[string]bool{}
	for i, m := range policy.Members {
		if !m.Code.IsZero() {
			able, hosts[""] = able+1, true
			continue
		}
		holds, ends := false, cityid.Time(0)
		for _, k := range m.Keys {
			if !k.Holds(cityid.RoleControl, now) {
				continue
			}
			holds = true
			hosts[k.Public.RPID()] = true
			if k.Until == 0 {
				ends = 0
				break
			}
			ends = max(ends, k.Until)
		}
		switch {
		case !holds:
			out = append(out, pg.T("work.warn.mute", i+1))
			continue
		case ends != 0 && ends < now+soon:
			out = append(out, pg.T("work.warn.ends", i+1, pg.Day(pg.At(ends))))
		}
		able++
	}
	switch {
	case able < int(policy.Threshold):
		out = append(out, pg.T("work.warn.stuck", policy.Threshold, able))
	case able == int(policy.Threshold) && able > 1:
		out = append(out, pg.T("work.warn.all", able))
	case able == 1:
		out = append(out, pg.T("work.warn.single"))
	}
	if len(hosts) == 1 && !hosts[""] && policy.Threshold > 1 {
		out = append(out, pg.T("work.warn.host"))
	}
	return out
}

// workWaiting says what a delay holds back, and what the visitor may do about
// it.
func (pg *page) workWaiting(data *workTree) error {
	x := data.Answer.Waiting
	if x == nil {
		return nil
	}
	data.Waiting = pg.waitingLines(x)
	due := cityid.TimeOf(data.Answer.AsOf.Time) >= x.Effective
	if x.Retire != nil {
		data.Veto, data.Complete = data.MayAbove, data.May && due
		return nil
	}
	data.Veto = data.May && !x.Vetoed && !x.Overruled
	data.Complete = data.MayAbove && due && !x.Vetoed
	if !x.Vetoed || data.Above == nil {
		return nil
	}
	next, err := pg.above(data.Above)
	if err != nil || next == nil {
		return err
	}
	data.Override, err = pg.takesPart(next.Code)
	return err
}

// quotas says for each kind that may stand below the code how many there may be
// and which comes next.
func (pg *page) quotas(at *workAt) ([]quota, error) {
	var out []quota
	for i := range at.Rule.Rule.Kinds {
		k := &at.Rule.Rule.Kinds[i]
		if !slices.Contains(k.Parents, at.Record.Kind) || !canHold(at.Code(), k.Kind) {
			continue
		}
		q := quota{
			Kind: k.Kind, Name: pg.Kind(k.Kind), Most: uint64(k.Quota), Apex: k.Apex, Sequence: k.Sequence, AllocateURL: at.URL + "/allocate?kind=" + k.Kind.String(),
		}
		for j, x := range k.Patterns {
			if j > 0 {
				q.Form += " / "
			}
			q.Form += x
		}
		if k.Quota > 0 {
			used, err := pg.countBelow(at.Code(), k.Kind, int(k.Quota))
			if err != nil {
				return nil, err
			}
			q.Used = uint64(used)
		}
		next, err := pg.nextCode(at.Record, k)
		if err != nil {
			return nil, err
		}
		if !next.IsZero() {
			q.Next = next.String()
		}
		out = append(out, q)
	}
	return out, nil
}

// countBelow counts codes of a kind directly below one, as far as enough.
func (pg *page) countBelow(code cityid.Code, kind cityid.Kind, enough int) (int, error) {
	n, q := 0, cityid.ChildrenQuery{Code: code, Kind: kind, Limit: 1000}
	for n < enough {
		got, err := pg.Source.Children(pg.ctx, q)
		if err != nil {
			return 0, err
		}
		n += len(got.Records)
		if q.After = got.Next; q.After.IsZero() {
			break
		}
	}
	return n, nil
}

// workVeto stops what waits, or lifts a veto.
func (p *portal) workVeto(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	x := at.Answer.Waiting
	if x == nil {
		return cityid.Errorf(cityid.ErrNotFound, "nothing waits for %s", at.Code())
	}
	data := &workTree{workAt: at}
	if err := pg.workWaiting(data); err != nil {
		return err
	}
	override := r.PostForm.Get("override") != ""
	decider := at.Code()
	if x.Retire != nil && at.Above != nil {
		decider = at.Above.Code
	}
	if override && at.Above != nil && !at.Above.Parent.IsZero() {
		decider = at.Above.Parent
	}
	if !override && !data.Veto || override && !data.Override {
		return pg.refuseWork(w, r, at, decider, "")
	}
	ops, err := pg.decideAll([]cityid.Code{decider}, "", cityid.Operation{Veto: &cityid.Veto{Code: at.Code(), Override: override}})
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.veto.title", at.Name), at.URL, ops...)
}

// workComplete carries out a change whose delay has passed.
func (p *portal) workComplete(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	x := at.Answer.Waiting
	if x == nil {
		return cityid.Errorf(cityid.ErrNotFound, "nothing waits for %s", at.Code())
	}
	data := &workTree{workAt: at}
	if err := pg.workWaiting(data); err != nil {
		return err
	}
	if !data.Complete {
		return pg.refuseWork(w, r, at, at.Code(), pg.T("work.waiting.until", pg.Moment(pg.At(x.Effective))))
	}
	codes := []cityid.Code{at.Code()}
	var op cityid.Operation
	if x.Retire != nil {
		again := *x.Retire
		again.Revision, op.SetStatus = at.Record.Revision, &again
		codes = append(codes, again.Successors...)
		if !again.Heir.IsZero() && (at.Above == nil || again.Heir != at.Above.Code) {
			codes = append(codes, again.Heir)
		}
	} else {
		again := *x.Rekey
		again.Revision, op.Rekey = at.Record.Revision, &again
		codes = []cityid.Code{at.Above.Code}
	}
	ops, err := pg.decideAll(codes, "", op)
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.complete.title", at.Name), at.URL, ops...)
}

// workWithdraw takes back a proposal of the visitor's.
func (p *portal) workWithdraw(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	n, err := strconv.ParseUint(r.PostForm.Get("proposal"), 10, 64)
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "proposal %.40q: want a number", r.PostForm.Get("proposal"))
	}
	x, err := p.Source.Proposal(pg.ctx, n)
	if err != nil {
		return err
	}
	if line := pg.proposalLine(x); !line.Mine {
		return cityid.Errorf(cityid.ErrNotPermitted, "proposal %d is not open, or not yours to take back", n)
	}
	return pg.sign(w, r, pg.T("work.withdraw.title", n), at.URL, cityid.Operation{Withdraw: &cityid.Withdraw{Proposal: n}})
}
