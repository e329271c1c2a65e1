// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"cityid"
	"cityid/internal/describe"
)

// Sizes of the lists on the workspace's first page.
const (
	workProposals = 100 // pending proposals looked through
	workBlocks    = 20  // blocks with transactions looked through
	workChanges   = 10  // changes shown
)

func fmtRevision(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// workHome is what the workspace's first page shows.
type workHome struct {
	Codes   []workCode
	Waiting []proposalLine
	Changes []workChange
	Keys    []TestKey
}

// workCode is a code the visitor may act for.
type workCode struct {
	place
	Roles   string
	Tag     tag
	Control bool
	Counts  []countItem
	Reports int // open ones that it, or what lies below it, is responsible for; -1: not for this visitor
	Sharing *shareCounts
}

// workChange is something that happened lately.
type workChange struct {
	place
	Tag    tag
	Height uint64
	At     cityid.Time
}

// proposalLine is a proposal in a list.
type proposalLine struct {
	*cityid.ProposalAnswer
	Summary string
	Tag     tag
	Mine    bool // the visitor brought it
}

// work shows the codes a visitor may act for, or how to become one who may.
func (p *portal) work(w http.ResponseWriter, r *http.Request, pg *page) error {
	data := &workHome{Keys: p.testKeys()}
	pg.Title = pg.T("work.title")
	if pg.Key() == "" {
		return pg.render(w, r, http.StatusOK, "work", data)
	}
	pg.Private = true
	var codes []cityid.Code
	for _, h := range pg.Holdings() {
		if slices.ContainsFunc(data.Codes, func(c workCode) bool { return c.Code == h.Code }) {
			continue
		}
		counts, err := pg.counts(h.Code)
		if err != nil {
			return err
		}
		reports, err := pg.openReports(h.Code)
		if err != nil {
			return err
		}
		sharing, err := pg.shareCounts(h.Code, h.Roles&cityid.RoleControl != 0)
		if err != nil {
			return err
		}
		codes = append(codes, h.Code)
		data.Codes = append(data.Codes, workCode{
			place: place{h.Code, pg.NameOf(h.Names, h.Code), pg.Kind(h.Kind), pg.URL("/work/", h.Code.String())}, Tag: pg.StatusTag(h.Status),
			Roles: describe.Roles(pg.Lang, h.Roles), Control: h.Roles&cityid.RoleControl != 0, Counts: counts, Reports: reports, Sharing: sharing,
		})
	}
	var err error
	if data.Waiting, err = pg.waitingFor(codes); err != nil {
		return err
	}
	if data.Changes, err = pg.lately(codes); err != nil {
		return err
	}
	return pg.render(w, r, http.StatusOK, "work", data)
}

// waitingFor lists pending proposals that a code's vote, or the visitor's, is
// missing from.
func (pg *page) waitingFor(codes []cityid.Code) ([]proposalLine, error) {
	if len(codes) == 0 {
		return nil, nil
	}
	got, err := pg.Source.Proposals(pg.ctx, cityid.ProposalQuery{State: cityid.ProposalPending, Limit: workProposals})
	if err != nil {
		return nil, err
	}
	var out []proposalLine
	for i := range got.Proposals {
		x := &got.Proposals[i]
		missing := slices.ContainsFunc(x.Needs, func(n cityid.Need) bool {
			return slices.ContainsFunc(n.Members, func(m cityid.MemberVote) bool {
				return !m.Approved && !m.Rejected && (slices.Contains(codes, m.Code) || slices.Contains(m.Keys, pg.Key()))
			})
		})
		if missing {
			out = append(out, pg.proposalLine(x))
		}
	}
	return out, nil
}

func (pg *page) proposalLine(x *cityid.ProposalAnswer) proposalLine {
	return proposalLine{
		ProposalAnswer: x, Summary: describe.Summary(pg.Lang, x.Proposal.Operations), Tag: pg.StateTag(x.State),
		Mine: pg.Key() != "" && x.State.Open() && slices.Contains(x.Proposal.Proposer, pg.Key()),
	}
}

// lately lists what changed at or below codes in the latest blocks.
func (pg *page) lately(codes []cityid.Code) ([]workChange, error) {
	if len(codes) == 0 {
		return nil, nil
	}
	got, err := pg.Source.Blocks(pg.ctx, cityid.BlockQuery{Busy: true, Limit: workBlocks})
	if err != nil {
		return nil, err
	}
	var out []workChange
	for i := range got.Blocks {
		b, err := pg.Source.Block(pg.ctx, got.Blocks[i].Height)
		if errors.Is(err, cityid.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, c := range b.Changed {
			if !slices.ContainsFunc(codes, func(x cityid.Code) bool { return x == c || x.Covers(c) || x.PlaceCovers(c.Root()) }) {
				continue
			}
			if slices.ContainsFunc(out, func(x workChange) bool { return x.Code == c }) {
				continue
			}
			a, err := pg.Source.Record(pg.ctx, c)
			if err != nil {
				return nil, err
			}
			at := pg.placeOf(&a.Record)
			at.URL = pg.URL("/work/", c.String())
			out = append(out, workChange{at, pg.StatusTag(a.Record.Status), a.Record.Changed.Height, a.Record.Changed.Time})
			if len(out) == workChanges {
				return out, nil
			}
		}
	}
	return out, nil
}
