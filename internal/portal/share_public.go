// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"slices"

	"cityid"
	"cityid/internal/describe"
)

// publicData is what everybody sees of an agreement.
type publicData struct {
	ID     cityid.Digest
	Answer *cityid.AgreementAnswer
	Terms  *cityid.Terms
	State  tag
	shareParties
	Steps []shareStepView
	Words []describe.Line
	Wrong bool
	Work  []navItem // where the visitor may do something about it
}

// agreementPage shows an agreement to everybody.
func (p *portal) agreementPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	var id cityid.Digest
	if err := id.UnmarshalText([]byte(r.PathValue("id"))); err != nil || id.IsZero() {
		return errNoPage
	}
	a, err := p.Source.Agreement(r.Context(), id)
	if err != nil {
		return err
	}
	t := &a.Agreement.Terms
	d := &publicData{
		ID: id, Answer: a, Terms: t, State: pg.AgreementTag(a), Wrong: t.ID() != id, Steps: pg.agreementSteps(a),
		Words: describe.Operation(pg.Lang, &cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: *t}}),
	}
	if d.shareParties, err = pg.parties(t, a); err != nil {
		return err
	}
	if d.Work, err = pg.agreementWork(d); err != nil {
		return err
	}
	pg.Title = pg.T("share.one.title", d.Consumer.Name, d.Dataset.Name)
	return pg.render(w, r, http.StatusOK, "share_public", d)
}

// agreementWork lists where the visitor may do something about an agreement.
func (pg *page) agreementWork(d *publicData) ([]navItem, error) {
	if pg.Office == nil {
		return nil, nil
	}
	var out []navItem
	for _, side := range []place{d.Dataset, d.Consumer} {
		may, err := pg.takesPart(side.Code)
		if err != nil {
			return nil, err
		}
		if may && side.Code == d.Dataset.Code && d.Decider.Code.Covers(side.Code) {
			side = d.Decider
		}
		if may {
			out = append(out, navItem{URL: pg.URL("/work/", side.Code.String(), "/agreements/", d.ID.String()), Text: side.Name})
		}
	}
	return slices.CompactFunc(out, func(a, b navItem) bool { return a.URL == b.URL }), nil
}

// shareScreens are the pages of agreements apart from the workspace.
func (p *portal) shareScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /agreement/new":  p.signedIn(p.askFor),
		"GET /agreement/{id}": p.agreementPage,
	}
}
