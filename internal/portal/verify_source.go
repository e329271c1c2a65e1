// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"time"

	"cityid"
	"cityid/label"
	"cityid/verify"
)

// markView is what the page for checking shows of a source mark beside the
// verdict.
type markView struct {
	label.SourceMark
	Source   place
	Signed   time.Time
	Until    time.Time
	Compared cityid.Digest // of the bytes a visitor named without a script
	Anchored *cityid.Attestation
	AnchorAt string // address of the attestation's page
}

// verifySource checks a source mark by the keys in proven records of the policy
// that governs the source. The bytes stay with the visitor: a script hashes them
// there, and without one the visitor types their digest.
func (pg *page) verifySource(data *verifyData, m label.SourceMark, typed string) error {
	trust, err := pg.siteTrust()
	if err != nil {
		return err
	}
	mark := &markView{SourceMark: m, Source: place{Code: m.Code, Name: m.Code.String(), URL: pg.CodeURL(m.Code)}, Signed: m.Time.Std(), Until: m.Expires.Std()}
	data.Mark = mark
	if typed != "" {
		if mark.Compared, err = cityid.ParseDigest(typed); err != nil {
			pg.refuseField("digest", pg.T("verify.mark.digest.bad"))
		}
	}
	v := &verdictView{}
	data.Result = v
	var unproven *verify.Result
	candidates, err := label.SourceCandidates(m.Code, func(code cityid.Code) (*cityid.Record, error) {
		bundle, err := pg.Source.Bundle(pg.ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, From: 1})
		if err != nil {
			return nil, err
		}
		r := verify.CheckEncoded(trust.Latest(), bundle, verify.Options{Now: time.Now(), Code: code, Kind: cityid.AnswerRecord})
		if r.Verdict != verify.Valid {
			if r.Reason != verify.ReasonZone {
				unproven = &r
			}
			return nil, nil
		}
		if code == m.Code && r.Record != nil {
			mark.Source = pg.placeOf(r.Record)
			v.Record, v.AsOf, v.Height = &mark.Source, r.AsOf.Time, r.AsOf.Height
		}
		return r.Record, nil
	})
	if err != nil {
		return err
	}
	if unproven != nil {
		v.Verdict, v.Sentence, v.Remedy = "undecided", pg.T("verify.js.reason."+string(unproven.Reason)), pg.T("verify.js.remedy.undecided")
		return nil
	}
	found := label.CheckSource(m, candidates, mark.Compared, cityid.TimeOf(time.Now()))
	pg.markVerdict(v, m, found)
	return pg.markAnchor(mark)
}

// markVerdict words what became of a mark.
func (pg *page) markVerdict(v *verdictView, m label.SourceMark, found label.Finding) {
	name := found.Verdict.String()
	switch {
	case found.Verdict == label.Valid:
		v.Verdict = "valid"
		if m.IsPlate() {
			name = "plate"
		}
	case found.Verdict == label.BytesWanted:
		v.Verdict, v.Remedy = "undecided", pg.T("verify.js.remedy.bytes")
	case found.Verdict.Undecided():
		v.Verdict, v.Remedy = "undecided", pg.T("verify.js.remedy.undecided")
	default:
		v.Verdict = "invalid"
	}
	v.Sentence = pg.T("verify.js.source."+name, found.Holder.String(), m.Code.String(), m.Time.String(), m.Expires.String())
	class := map[string]string{"valid": "good", "invalid": "bad", "undecided": "warn"}[v.Verdict]
	if found.Verdict == label.BytesWanted {
		class = "good" // the signature is
	}
	v.Checks = append(v.Checks, checkView{class, pg.T("verify.js.check.mark"), keyText(found.Key)})
}

// markAnchor looks for the source's attestation of the same bytes.
func (pg *page) markAnchor(mark *markView) error {
	if mark.IsPlate() {
		return nil
	}
	a, err := pg.Source.Attestation(pg.ctx, mark.Code, mark.Digest)
	if errors.Is(err, cityid.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	mark.Anchored, mark.AnchorAt = a, pg.attestationURL(a.Source, a.Digest)
	return nil
}
