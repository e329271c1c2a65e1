// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"slices"

	"cityid"
	"cityid/internal/describe"
)

// What may be done about an agreement, in the form and in order. Granting and
// refusing are for the policy that governs the dataset; a request is taken back by
// the consumer's; either revokes. The key of a gateway can do none of it.
const (
	actGrant    = "grant"
	actRefuse   = "refuse"
	actTakeBack = "take-back"
	actRevoke   = "revoke"
)

// decisions says what the visitor may do about an agreement, with the words of
// what is signed.
func (pg *page) decisions(d *oneData) []choice {
	if d.Wrong {
		return nil
	}
	var acts []string
	switch d.Answer.State {
	case cityid.AgreementRequested:
		if d.MayHold && !d.Changed {
			acts = append(acts, actGrant)
		}
		if d.MayHold {
			acts = append(acts, actRefuse)
		}
		if d.MayAsk {
			acts = append(acts, actTakeBack)
		}
	case cityid.AgreementGranted:
		if d.MayHold || d.MayAsk {
			acts = append(acts, actRevoke)
		}
	}
	var out []choice
	for _, act := range acts {
		op := agreementOperation(act, d.Terms.Dataset, d.ID, "…")
		out = append(out, choice{Action: act, Title: pg.T("share.act." + act), Hint: pg.T("share.hint." + act), Words: describe.Operations(pg.Lang, []cityid.Operation{op})})
	}
	return out
}

// agreementOperation is what is signed.
func agreementOperation(act string, dataset cityid.Code, id cityid.Digest, note string) cityid.Operation {
	x := &cityid.AgreementDecision{Dataset: dataset, Agreement: id, Note: note}
	switch act {
	case actGrant:
		return cityid.Operation{AgreementGrant: x}
	case actRefuse:
		return cityid.Operation{AgreementRefuse: x}
	}
	return cityid.Operation{AgreementRevoke: x}
}

// shareDecide takes what an officer has chosen, and has it signed. The agreement's
// id says all its terms, so what is signed is what was shown.
func (pg *page) shareDecide(w http.ResponseWriter, r *http.Request, at *workAt, id cityid.Digest) error {
	if pg.Key() == "" {
		return cityid.Errorf(cityid.ErrNotPermitted, "sign in first")
	}
	pg.Private = true
	d, err := pg.agreementAt(at, id)
	if err != nil {
		return err
	}
	if d.Answer == nil {
		return cityid.Errorf(cityid.ErrConflict, "the request is not on the chain yet")
	}
	if d.Answer.State == cityid.AgreementRequested {
		if d.Changed, err = pg.termsOutdated(d.Terms); err != nil {
			return err
		}
	}
	f := formOf(r)
	d.Action, d.Note = f.Get("act"), oneLine(f.Get("note"))
	may := slices.ContainsFunc(pg.decisions(d), func(c choice) bool { return c.Action == d.Action })
	switch {
	case !slices.Contains([]string{actGrant, actRefuse, actTakeBack, actRevoke}, d.Action):
		d.Action = ""
		pg.refuseField("act", pg.T("share.act.none"))
	case !may:
		pg.refuseField("act", pg.T("share.act.gone"))
		return pg.showAgreement(w, r, http.StatusConflict, d)
	case d.Action == actRefuse && d.Note == "":
		pg.refuseField("note", pg.T("share.note.needed"))
	}
	if err := cityid.CheckText("note", d.Note, false); err != nil {
		pg.refuseField("note", pg.T("share.note.bad"))
	}
	if len(pg.Errors) > 0 {
		return pg.showAgreement(w, r, http.StatusUnprocessableEntity, d)
	}
	decider := d.Terms.Dataset
	if d.Action == actTakeBack || d.Action == actRevoke && !d.MayHold {
		decider = d.Terms.Consumer
	}
	ops, err := pg.decide(decider, "", agreementOperation(d.Action, d.Terms.Dataset, id, d.Note))
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("share.sign."+d.Action, d.Consumer.Name, d.Dataset.Name), d.URL, ops...)
}

// agreementView is an agreement that an operation is about, with its terms in
// words, so that who signs a digest sees what it stands for.
type agreementView struct {
	ID    cityid.Digest
	URL   string
	Words []describe.Line // of terms the operation itself does not show; nil: it does, or they are not known
}

// agreementsIn lists the agreements that operations are about, those within
// proposals too.
func (pg *page) agreementsIn(ops []cityid.Operation) []agreementView {
	var out []agreementView
	add := func(id cityid.Digest, shown bool) {
		if slices.ContainsFunc(out, func(v agreementView) bool { return v.ID == id }) {
			return
		}
		v := agreementView{ID: id, URL: pg.URL("/agreement/", id.String())}
		if !shown {
			if a, err := pg.Source.Agreement(pg.ctx, id); err == nil && a.Agreement.Terms.ID() == id {
				v.Words = describe.Operation(pg.Lang, &cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: a.Agreement.Terms}})
			}
		}
		out = append(out, v)
	}
	var walk func(ops []cityid.Operation)
	walk = func(ops []cityid.Operation) {
		for i := range ops {
			op := &ops[i]
			if op.AgreementRequest != nil {
				add(op.AgreementRequest.Terms.ID(), true)
			}
			for _, x := range []*cityid.AgreementDecision{op.AgreementGrant, op.AgreementRefuse, op.AgreementRevoke} {
				if x != nil {
					add(x.Agreement, false)
				}
			}
			if op.Propose != nil {
				walk(op.Propose.Operations)
			}
			if op.Revise != nil {
				walk(op.Revise.Operations)
			}
		}
	}
	walk(ops)
	return out
}
