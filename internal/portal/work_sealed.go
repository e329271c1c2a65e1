// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"cityid"
	"cityid/internal/office"
)

// Sealed contents are kept by the office of the portal where they were sealed.
// Whoever has a voice in the policy that governs a record sees its content on
// its page of the workspace, and may take what lies below a code along for a
// gateway. Nobody else does, not those above either: what governs the record
// decides, not what governs the code that was asked for.

const (
	sealedPage  = 500 // entries read at a time
	sealedNamed = 20  // damaged contents that are named
)

// sealedView is what the pages of a sealed record show of it.
type sealedView struct {
	State    string // shown, absent, damaged, or other: not for this visitor
	Content  cityid.Content
	Lat, Lon string
	Holder   place
	Datasets string // where to look for what is shared of the holder's
	Before   bool   // earlier revisions were open
	History  string
}

// sealedView returns what a visitor sees of a sealed record; nil if it is not
// sealed. may says that the visitor has a voice in the policy that governs it.
func (pg *page) sealedView(rec *cityid.Record, holder place, may bool) (*sealedView, error) {
	if rec.Sealed.IsZero() {
		return nil, nil
	}
	v := &sealedView{State: "other", Holder: holder, History: pg.CodeURL(rec.Code) + "?view=history"}
	if !holder.Code.IsZero() {
		v.Datasets = pg.URL("/search?kind=dataset&below=", holder.Code.String())
	}
	var err error
	if v.Before, err = pg.openBefore(rec); err != nil || !may || pg.Office == nil {
		return v, err
	}
	s, err := pg.Office.Sealed(pg.ctx, rec.Code, rec.Sealed)
	if err == nil && s.Opens(rec) != nil {
		err = office.ErrDamaged
	}
	switch {
	case errors.Is(err, office.ErrNotFound):
		v.State = "absent"
		return v, nil
	case errors.Is(err, office.ErrDamaged):
		pg.Log.Error("a sealed content is damaged", "code", rec.Code.String(), "error", err)
		v.State = "damaged"
		return v, nil
	case err != nil:
		return nil, err
	}
	v.State, v.Content = "shown", s.Content
	v.Lat, v.Lon, err = inDegrees(s.Content.Location)
	return v, err
}

// openBefore reports whether an earlier revision of a record said what it stood
// for itself.
func (pg *page) openBefore(rec *cityid.Record) (bool, error) {
	if rec.Revision == 1 {
		return false, nil
	}
	h, err := pg.Source.History(pg.ctx, rec.Code)
	if err != nil {
		return false, err
	}
	for i := range h.Revisions {
		if r := &h.Revisions[i]; r.Sealed.IsZero() && (!r.Content.IsZero() || len(r.Aliases) > 0) {
			return true, nil
		}
	}
	return false, nil
}

// inDegrees writes a location as decimal degrees; "" for none.
func inDegrees(l *cityid.Location) (lat, lon string, err error) {
	if l == nil {
		return "", "", nil
	}
	b, err := json.Marshal(l)
	if err != nil {
		return "", "", err
	}
	var d struct{ Lat, Lon json.Number }
	err = json.Unmarshal(b, &d)
	return d.Lat.String(), d.Lon.String(), err
}

// sealedBelow is what an office keeps of what lies at and below a code.
type sealedBelow struct {
	*workAt
	Good    int // contents the visitor may have, which are what their records show
	Others  int // contents under policies in which the visitor has no voice
	Damaged int
	Named   []cityid.Code // the first that are damaged
	Counted bool
	Command string
}

// maySealed answers with a refusal unless the visitor has a voice in the policy
// that governs the code.
func (pg *page) maySealed(w http.ResponseWriter, r *http.Request, at *workAt) (bool, error) {
	if at.May {
		return true, nil
	}
	return false, pg.refuseWork(w, r, at, at.Code(), pg.T("sealed.refused"))
}

// workSealed says what may be taken along, and by whom.
func (p *portal) workSealed(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	return p.signedIn(func(w http.ResponseWriter, r *http.Request, pg *page) error {
		if ok, err := pg.maySealed(w, r, at); !ok || err != nil {
			return err
		}
		return pg.showSealed(w, r, http.StatusOK, &sealedBelow{workAt: at})
	})(w, r, pg)
}

func (pg *page) showSealed(w http.ResponseWriter, r *http.Request, status int, data *sealedBelow) error {
	pg.Title = pg.T("sealed.title", data.Name)
	data.Command = "cityid code sealed check content.json --node " + pg.Origin
	return pg.render(w, r, status, "work_sealed", data)
}

// workSealedSend sends the contents as JSON lines, as an import writes them. All
// are read and checked before the first is sent: damaged ones are told, and left
// out only when the visitor says so.
func (p *portal) workSealedSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.maySealed(w, r, at); !ok || err != nil {
		return err
	}
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	select {
	case p.audits <- struct{}{}:
		defer func() { <-p.audits }()
	default:
		return cityid.Errorf(cityid.ErrFull, "other exports are being made: try again in a few minutes")
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxAuditTime)
	defer cancel()
	data := &sealedBelow{workAt: at, Counted: true}
	if err := pg.eachSealed(ctx, data, nil); err != nil {
		return err
	}
	if data.Good == 0 || data.Damaged > 0 && r.PostForm.Get("rest") != "1" {
		return pg.showSealed(w, r, http.StatusConflict, data)
	}
	h := w.Header()
	h.Set("Content-Type", "application/jsonl")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "sealed-"+strings.ReplaceAll(at.Code().String(), "/", "~")+".jsonl"))
	h.Set("Cache-Control", "no-store")
	out := &patient{w: w, c: http.NewResponseController(w)}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	again := &sealedBelow{workAt: at}
	err := pg.eachSealed(ctx, again, func(s *cityid.SealedContent) error { return lines.Encode(s) })
	if err == nil && again.Damaged > data.Damaged {
		err = office.ErrDamaged
	}
	if err != nil {
		// The answer has begun: breaking it off is how the visitor learns that the
		// file is not whole.
		p.Log.Warn("sealed contents broke off", "code", at.Code().String(), "error", err)
		panic(http.ErrAbortHandler)
	}
	p.Log.Info("sealed contents were taken along", "code", at.Code().String(), "contents", again.Good, "key", pg.Key().String())
	return nil
}

// eachSealed counts the contents that the office keeps of records at and below a
// code, as these stand now, and hands those to send that the visitor may have;
// send may be nil.
func (pg *page) eachSealed(ctx context.Context, data *sealedBelow, send func(*cityid.SealedContent) error) error {
	below, voices := map[cityid.Code]bool{}, map[cityid.Code]bool{}
	for after := (cityid.Code{}); ; {
		list, err := pg.Office.SealedList(ctx, after, sealedPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			after = e.Code
			a, err := pg.Source.Record(ctx, e.Code)
			if errors.Is(err, cityid.ErrNotFound) {
				continue // its batch was never recorded
			}
			if err != nil {
				return err
			}
			if a.Record.Sealed != e.Digest {
				continue // sealed anew since, or opened
			}
			in, err := pg.liesBelow(ctx, &a.Record, data.Code(), below)
			if err != nil {
				return err
			}
			if !in {
				continue
			}
			if err := pg.oneSealed(ctx, data, a, voices, send); err != nil {
				return err
			}
		}
	}
}

// oneSealed deals with one content.
func (pg *page) oneSealed(ctx context.Context, data *sealedBelow, a *cityid.RecordAnswer, voices map[cityid.Code]bool, send func(*cityid.SealedContent) error) error {
	may, known := voices[a.Holder]
	if !known {
		var err error
		if !a.Holder.IsZero() {
			if may, err = pg.takesPart(a.Holder); err != nil {
				return err
			}
		}
		voices[a.Holder] = may
	}
	if !may {
		data.Others++
		return nil
	}
	s, err := pg.Office.Sealed(ctx, a.Record.Code, a.Record.Sealed)
	if err == nil && s.Opens(&a.Record) != nil {
		err = office.ErrDamaged
	}
	if errors.Is(err, office.ErrDamaged) {
		if data.Damaged++; data.Damaged <= sealedNamed {
			data.Named = append(data.Named, a.Record.Code)
		}
		return nil
	}
	if err != nil {
		return err
	}
	data.Good++
	if send == nil {
		return nil
	}
	return send(&s)
}

// liesBelow reports whether a record is top's or lies below it, as the records
// name their parents. known remembers the answers about parents.
func (pg *page) liesBelow(ctx context.Context, rec *cityid.Record, top cityid.Code, known map[cityid.Code]bool) (bool, error) {
	if rec.Code == top || top.Covers(rec.Code) || rec.Parent == top {
		return true, nil
	}
	if rec.Parent.IsZero() {
		return false, nil
	}
	if in, ok := known[rec.Parent]; ok {
		return in, nil
	}
	a, err := pg.Source.Record(ctx, rec.Parent)
	if err != nil {
		return false, err
	}
	in, err := pg.liesBelow(ctx, &a.Record, top, known)
	if err == nil {
		known[rec.Parent] = in
	}
	return in, err
}
