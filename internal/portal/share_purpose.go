// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/office"
	"cityid/keys"
)

// What a request is for is kept by the portal where it was made, and sent through
// both cities' gateways to those who decide, encrypted to the keys with role
// encrypt in the policy that governs the dataset. Neither gateway can read it. A
// portal that has such a key shows the text to those who have a voice there;
// others get the file, for the command.

const (
	purposesAtOnce = 50 // requests looked for in one round
	purposeDaily   = 24 * time.Hour
	purposeSlowest = 10 * time.Minute
	purposeFastest = 2 * time.Second
)

// readersOf returns the keys with role encrypt in the policy that governs a code,
// and in those of the codes that are its members, at most 64 of them.
func (p *portal) readersOf(ctx context.Context, code cityid.Code) ([]cityid.PublicKey, error) {
	node, err := p.Source.Status(ctx)
	if err != nil {
		return nil, err
	}
	v := new(reviewing)
	if err := p.addSeats(ctx, v, code, cityid.TimeOf(node.Time), false, 0); err != nil {
		return nil, err
	}
	var out []cityid.PublicKey
	for _, s := range v.Seats {
		for _, k := range s.Keys {
			if !slices.Contains(out, k) && len(out) < 64 {
				out = append(out, k)
			}
		}
	}
	return out, nil
}

// settleAgreements finds out which requests made here are on the chain, and sends
// their purposes.
func (p *portal) settleAgreements(ctx context.Context) error {
	due, err := p.Office.AgreementsDue(ctx, purposesAtOnce)
	if err != nil {
		return err
	}
	var errs []error
	for i := range due {
		found, err := p.settleAgreement(ctx, &due[i])
		if err == nil {
			err = p.Office.NoteAgreement(ctx, due[i].ID, found)
		}
		if err != nil && !errors.Is(err, office.ErrConflict) { // someone else was quicker
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// settleAgreement finds out what has become of a request, and does what is to be
// done about it.
func (p *portal) settleAgreement(ctx context.Context, own *office.OwnAgreement) (office.AgreementFound, error) {
	now := time.Now()
	f := office.AgreementFound{Progress: own.Progress, Ends: own.Ends, Problem: own.Problem}
	later := now.Add(min(purposeSlowest, max(purposeFastest, now.Sub(own.Created)/8)))
	a, err := p.Source.Agreement(ctx, own.ID)
	if errors.Is(err, cityid.ErrNotFound) {
		status, err := p.Source.Status(ctx)
		if err != nil {
			return f, err
		}
		if cityid.TimeOf(status.Time) < own.Terms.Respond { // afterwards the registry refuses it
			f.Look = later
		}
		return f, nil
	}
	if err != nil {
		return f, err
	}
	ended, over := agreementEnd(a)
	f.Ends = ended.Std()
	if own.Progress == office.AgreementPrepared {
		f.Progress = office.AgreementRecorded
	}
	if f.Progress == office.AgreementRecorded {
		if a.State == cityid.AgreementRequested {
			f.Problem, f.Tried = p.sendPurpose(ctx, own)
			switch {
			case f.Tried && f.Problem == "":
				f.Progress, f.Tried = office.AgreementSent, false
			case !f.Tried:
				f.Look = now.Add(purposeSlowest) // until the portal is told of a gateway, or the holder has a key
				return f, nil
			default:
				f.Look = now.Add(min(purposeSlowest, purposeFastest<<min(own.Tries, 16)))
				return f, nil
			}
		} else {
			f.Progress = office.AgreementClosed
		}
	}
	if !over {
		f.Look = now.Add(purposeDaily)
	}
	return f, nil
}

// agreementEnd returns when an agreement ends, and whether that is over.
func agreementEnd(a *cityid.AgreementAnswer) (cityid.Time, bool) {
	x := &a.Agreement
	switch a.State {
	case cityid.AgreementRefused:
		return x.Decided.Time, true
	case cityid.AgreementRevoked:
		return x.Ended.Time, true
	case cityid.AgreementLapsed:
		return x.Terms.Respond, true
	case cityid.AgreementExpired:
		return x.Terms.Until, true
	}
	return x.Terms.Until, false
}

// sendPurpose hands a purpose to the consumer's gateway, and reports whether it
// was tried and what went wrong.
func (p *portal) sendPurpose(ctx context.Context, own *office.OwnAgreement) (problem string, tried bool) {
	if own.Purpose == nil {
		return "", false
	}
	_, holder, err := p.governing(ctx, own.Terms.Consumer)
	if err != nil {
		return err.Error(), true
	}
	party, ok := p.gatewayOf(own.Terms.Consumer, holder)
	if !ok {
		return "", false
	}
	readers, err := p.readersOf(ctx, own.Terms.Dataset)
	if err == nil && len(readers) == 0 {
		return "", false
	}
	var envelope []byte
	if err == nil {
		envelope, err = office.SealPurpose(readers, *own.Purpose)
	}
	if err == nil {
		err = p.Gateways.SendPurpose(ctx, party, own.ID, envelope)
	}
	if err != nil {
		p.Log.Warn("a purpose was not sent", "agreement", own.ID, "error", err)
		return err.Error(), true
	}
	p.Log.Info("a purpose was sent", "agreement", own.ID)
	return "", true
}

// purposeView is what the page of an agreement says about its purpose.
type purposeView struct {
	Text, Basis string // as far as it can be read here
	Own         bool   // it was written here
	Erased      bool
	Progress    string // how far an own one is, in words
	Problem     string // why it is not sent, or can not be read
	Tries       int    // to send it
	File        string // address of the encrypted file; "": there is none
	Send        bool   // the file has to be sent by hand
	Open        string // command that opens the file; "": not needed
	Missing     bool   // none has come
	Waits       bool   // and one may still come
	NoWay       bool   // this portal knows no gateway of the holder
}

// purposeOf says what a visitor with a voice may know about a purpose.
func (pg *page) purposeOf(d *oneData) (*purposeView, error) {
	if d.Own != nil && d.MayAsk {
		return pg.ownPurpose(d), nil
	}
	if !d.MayHold || d.Answer == nil {
		return nil, nil
	}
	v := new(purposeView)
	party, ok := pg.gatewayOf(d.Terms.Dataset, d.Decider.Code)
	if !ok {
		v.NoWay = true
		return v, nil
	}
	ctx, cancel := context.WithTimeout(pg.ctx, patience)
	defer cancel()
	envelope, err := pg.Gateways.Purpose(ctx, party, d.ID)
	switch {
	case errors.Is(err, cityid.ErrNotFound):
		v.Missing, v.Waits = true, d.Answer.State == cityid.AgreementRequested
		return v, nil
	case err != nil:
		v.Problem = pg.gatewayRefusal(err)
		return v, nil
	}
	v.File = d.URL + "/purpose"
	p, err := pg.openPurpose(envelope, d.Terms.Purpose)
	switch {
	case err == nil:
		v.Text, v.Basis = p.Text, p.Basis
	case errors.Is(err, office.ErrKey):
		v.Open = "cityid agreement purpose open purpose.age --agreement " + d.ID.String() + " --key NAME --node " + pg.Origin
	default:
		v.Problem = pg.T("share.purpose.damaged")
	}
	return v, nil
}

// openPurpose opens an envelope with the first key here that does; the error
// matches [office.ErrKey] if none is for it.
func (p *portal) openPurpose(envelope []byte, digest cityid.Digest) (office.Purpose, error) {
	err := office.ErrKey
	for _, k := range append([]*keys.Private{p.EvidenceKey}, p.PurposeKeys...) {
		if k == nil {
			continue
		}
		var purpose office.Purpose
		if purpose, err = office.OpenPurpose(k, envelope, digest); !errors.Is(err, office.ErrKey) {
			return purpose, err
		}
	}
	return office.Purpose{}, err
}

// gatewayRefusal says what an error of a gateway means to the visitor.
func (pg *page) gatewayRefusal(err error) string {
	var broken *GatewayError
	switch {
	case !errors.As(err, &broken):
		return pg.refusal(err)
	case broken.Lies:
		return pg.T("share.gateway.lies", broken.Party)
	}
	return pg.T("share.gateway.silent", broken.Party)
}

// ownPurpose says how far a purpose is that was written here.
func (pg *page) ownPurpose(d *oneData) *purposeView {
	own := d.Own
	v := &purposeView{Own: true, Progress: pg.T("share.progress." + strconv.Itoa(int(own.Progress))), Problem: own.Problem, Tries: own.Tries}
	if own.Purpose == nil {
		v.Erased = true
		return v
	}
	v.Text, v.Basis = own.Purpose.Text, own.Purpose.Basis
	_, known := pg.gatewayOf(d.Terms.Consumer, d.Asker)
	waits := d.Answer != nil && d.Answer.State == cityid.AgreementRequested
	if waits && own.Progress < office.AgreementSent && !d.NoKeys {
		v.File, v.Send = d.URL+"/purpose", !known
	}
	return v
}

// sharePurpose hands out the encrypted purpose: one that came, or an own one for
// those who decide.
func (pg *page) sharePurpose(w http.ResponseWriter, d *oneData) error {
	var envelope []byte
	switch {
	case d.Own != nil && d.Own.Purpose != nil && d.MayAsk:
		readers, err := pg.readersOf(pg.ctx, d.Terms.Dataset)
		if err != nil {
			return err
		}
		if len(readers) == 0 {
			return cityid.Errorf(cityid.ErrConflict, "nobody who decides about %s has published a key to encrypt to", d.Terms.Dataset)
		}
		if envelope, err = office.SealPurpose(readers, *d.Own.Purpose); err != nil {
			return err
		}
	case d.MayHold:
		party, ok := pg.gatewayOf(d.Terms.Dataset, d.Decider.Code)
		if !ok {
			return errNoPage
		}
		var err error
		if envelope, err = pg.Gateways.Purpose(pg.ctx, party, d.ID); err != nil {
			return err
		}
	default:
		return errNoPage
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(envelope)))
	h.Set("Content-Disposition", `attachment; filename="`+d.ID.String()[:16]+`.age"`)
	h.Set("Cache-Control", "no-store")
	_, err := w.Write(envelope)
	return ignoreWrite(err)
}
