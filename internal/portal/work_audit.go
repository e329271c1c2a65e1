// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"cityid"
	"cityid/internal/audit"
	"cityid/internal/bulk"
	"cityid/verify"
)

// Bounds of what the portal exports; the command has none.
const (
	maxAuditProofs = 20_000
	maxAuditTime   = 15 * time.Minute
	auditsAtOnce   = 2
	auditPatience  = 30 * time.Second // for a visitor who takes nothing
)

// workAudit is what the form for an export shows.
type workAudit struct {
	*workAt
	Form    workForm
	Command string
}

// mayAudit answers with a refusal unless the visitor has a voice at the code or
// above it. What is exported is public; that it is made here takes a key, because
// it is work.
func (pg *page) mayAudit(w http.ResponseWriter, r *http.Request, at *workAt) (bool, error) {
	if at.May || at.MayAbove {
		return true, nil
	}
	return false, pg.refuseWork(w, r, at, at.Code(), pg.T("work.audit.refused", auditCommandOf(at, pg.Origin)))
}

func auditCommandOf(at *workAt, node string) string {
	return "cityid audit export --code " + at.Code().String() + " --from 2026-01-01 --to 2026-03-31 -o audit.zip --node " + node
}

func (p *portal) workAudit(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAudit(w, r, at); !ok || err != nil {
		return err
	}
	now := at.Answer.AsOf.Time.In(beijing)
	return pg.showAudit(w, r, http.StatusOK, at, workForm{url.Values{
		"from": {now.AddDate(0, -1, 0).Format(time.DateOnly)}, "to": {now.Format(time.DateOnly)}, "proofs": {"1"},
	}})
}

func (pg *page) showAudit(w http.ResponseWriter, r *http.Request, status int, at *workAt, f workForm) error {
	pg.Title = pg.T("work.audit.title", at.Name)
	return pg.render(w, r, status, "work_audit", &workAudit{at, f, auditCommandOf(at, pg.Origin)})
}

// workAuditSend streams the archive.
func (p *portal) workAuditSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAudit(w, r, at); !ok || err != nil {
		return err
	}
	f := formOf(r)
	from, to := pg.dayFrom(f, "from"), pg.dayFrom(f, "to")
	for _, field := range []string{"from", "to"} {
		if f.Text(field) == "" {
			pg.refuseField(field, pg.T("work.day.bad"))
		}
	}
	if len(pg.Errors) == 0 && to < from {
		pg.refuseField("to", pg.T("work.audit.order"))
	}
	if len(pg.Errors) > 0 {
		return pg.showAudit(w, r, http.StatusUnprocessableEntity, at, f)
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
	o, err := pg.auditOptions(at)
	if err != nil {
		return err
	}
	o.From, o.To, o.NoProofs = from.Std(), to.Std().AddDate(0, 0, 1), !f.Has("proofs", "1")
	ctx, cancel := context.WithTimeout(r.Context(), maxAuditTime)
	defer cancel()
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fmt.Sprintf("cityid-audit-%s-%s-%s.zip", at.Record.Code.Root(), f.Text("from"), f.Text("to"))))
	h.Set("Cache-Control", "no-store")
	out := &patient{w: w, c: http.NewResponseController(w)}
	if _, err := audit.Export(ctx, out, p.Source, o); err != nil {
		if !out.begun {
			h.Del("Content-Disposition")
			return err
		}
		// The answer has begun: breaking it off is how the visitor learns that the
		// file is no archive.
		p.Log.Warn("an export broke off", "code", at.Code().String(), "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// auditOptions fills in the trust root, and what other packages define.
func (pg *page) auditOptions(at *workAt) (audit.Options, error) {
	o := audit.Options{Code: at.Code(), CSV: bulk.WriteCSV, BundleTime: verify.AnsweredAt, MaxProofs: maxAuditProofs}
	versions, err := pg.Source.Trust(pg.ctx)
	if err != nil {
		return o, err
	}
	if len(versions) == 0 {
		return o, cityid.Errorf(cityid.ErrUnavailable, "the node has no trust root")
	}
	trust, err := verify.NewTrustFile(versions[0])
	if err != nil {
		return o, err
	}
	if err := trust.Add(versions[1:]...); err != nil {
		return o, err
	}
	s := &trust.Latest().Statement
	o.Question.From, o.Question.Base = s.Version, s.Height
	o.Trust, err = verify.FormatTrustFile(trust)
	return o, err
}

// patient gives the visitor time for each piece instead of for the whole.
type patient struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	begun bool
}

func (p *patient) Write(b []byte) (int, error) {
	p.begun = true
	_ = p.c.SetWriteDeadline(time.Now().Add(auditPatience)) // a connection without deadlines waits longer
	return p.w.Write(b)
}
