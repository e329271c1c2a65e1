// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
	"cityid/internal/web"
)

// Whoever scans a label can say what is wrong with the thing: without an account,
// and without scripts. The report stays in the office; who is responsible is found
// by the registry, and the citizen takes away a receipt that the institution's
// intake key has signed. A portal takes reports if it has that key.
//
//	/report/CODE           the form
//	/receipt/NUMBER        what became of it, for whoever has the token
//	/work/CODE/reports     the desk of whoever is responsible, and of those above
//	/reports/NUMBER        one report there
//
// Programs do the same under /office/reports: see report_api.go.

const maxReportPhoto = 8 << 20 // octets of a photograph as it is sent

var errNoReports = cityid.Errorf(cityid.ErrUnavailable, "this portal takes no reports: it was started without the intake key of an institution, which signs the receipts")

// TakesReports reports whether people can report something here.
func (p *portal) TakesReports() bool {
	return p.Office != nil && p.Intake != nil && !p.Member.IsZero()
}

// reportScreens are the pages for reporting, and for what becomes of it.
func (p *portal) reportScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /report/{code...}":       p.reportPage,
		"POST /report/{code...}":      p.reportTake,
		"GET /receipt/{number}":       p.reportReceipt,
		"GET /receipt/{number}/file":  p.reportFile,
		"GET /receipt/{number}/photo": p.reportPhoto,
		"GET /reports/{number}":       p.signedIn(p.deskReport),
		"POST /reports/{number}":      p.signedIn(p.deskChange),
		"GET /reports/{number}/photo": p.signedIn(p.deskPhoto),
	}
}

// reportInput is what somebody sends, as it came.
type reportInput struct {
	ID, Category, Text, Contact string
	Photo                       []byte
}

// reportFault says which field of a report is wrong.
type reportFault struct {
	field string
	key   string // of the text that says so
	args  []any
	err   *cityid.Error
}

func (f *reportFault) Error() string { return f.err.Error() }
func (f *reportFault) Unwrap() error { return f.err }

func wrong(field, key string, code cityid.ErrorCode, format string, args ...any) *reportFault {
	return &reportFault{field: field, key: key, err: cityid.Errorf(code, format, args...)}
}

var (
	reportIDs = regexp.MustCompile(`^[0-9a-f]{32}$`)
	mails     = regexp.MustCompile(`^[^@\s]{1,64}@[^@\s]+\.[^@\s.]+$`)
	phones    = regexp.MustCompile(`^\+?[0-9][0-9 ()-]{4,30}$`)
)

// plainText returns what somebody wrote as it is kept: composed, with line feeds
// as the only control characters, and without blanks at the ends.
func plainText(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n\n", "\t", " ").Replace(strings.ToValidUTF8(s, ""))
	s = strings.Map(func(r rune) rune {
		if r != '\n' && unicode.Is(unicode.C, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(norm.NFC.String(s))
}

// readReport checks what somebody has sent. The error is a [reportFault] where a
// field is wrong.
func (pg *page) readReport(code cityid.Code, in reportInput) (office.NewReport, error) {
	n := office.NewReport{ID: in.ID, Code: code, Text: plainText(in.Text), Contact: oneLine(plainText(in.Contact))}
	if !reportIDs.MatchString(in.ID) {
		return n, wrong("", "report.wrong.id", cityid.ErrMalformed, "id: want 32 hexadecimal digits that nobody else has used")
	}
	if err := n.Category.UnmarshalText([]byte(in.Category)); err != nil {
		return n, wrong("category", "report.wrong.category", cityid.ErrInvalid, "%v", err)
	}
	content := cityid.Report{Category: n.Category, Text: n.Text}
	if err := content.Check(); err != nil {
		f := &reportFault{field: "text", key: "report.wrong.text", args: []any{cityid.MaxReportText}}
		if n.Text == "" {
			f.key, f.args = "report.wrong.other", nil
		}
		if !errors.As(err, &f.err) {
			return n, err
		}
		return n, f
	}
	if n.Contact != "" && (len(n.Contact) > 200 || !mails.MatchString(n.Contact) && !phones.MatchString(n.Contact)) {
		return n, wrong("contact", "report.wrong.contact", cityid.ErrInvalid, "contact: want an e-mail address or a telephone number, or nothing")
	}
	if len(in.Photo) == 0 {
		return n, nil
	}
	if len(in.Photo) > maxReportPhoto {
		f := wrong("photo", "report.wrong.large", cityid.ErrTooLarge, "the photograph has %d octets: at most %d", len(in.Photo), maxReportPhoto)
		f.args = []any{maxReportPhoto >> 20}
		return n, f
	}
	var err error
	if n.Photo, err = pg.cleanPhoto(in.Photo); err != nil {
		switch cityid.CodeOf(err) {
		case cityid.ErrInvalid:
			return n, wrong("photo", "report.wrong.photo", cityid.ErrInvalid, "the photograph is neither JPEG nor PNG, or damaged")
		case cityid.ErrTooLarge:
			return n, wrong("photo", "report.wrong.pixels", cityid.ErrTooLarge, "the photograph has too many pixels: at most 24 million")
		}
	}
	return n, err
}

// handIn stores a report and has its receipt signed. Handed in again, by its id,
// it is the same report.
func (pg *page) handIn(code cityid.Code, in reportInput) (office.Report, string, []cityid.DutyStep, error) {
	none := office.Report{}
	way, err := pg.responsible(pg.ctx, code)
	if err == nil {
		err = pg.mayReceipt(pg.ctx)
	}
	if err != nil {
		return none, "", nil, err
	}
	n, err := pg.readReport(code, in)
	if err != nil {
		return none, "", nil, err
	}
	n.Department = way[len(way)-1].Code
	r, token, _, err := pg.Office.AddReport(pg.ctx, n, func(number uint64, at time.Time, digest cityid.Digest) (*cityid.ReportFile, error) {
		return cityid.SignReport(cityid.ReportReceipt{
			Institution: pg.Member, Number: number, Code: code, Department: n.Department, Digest: digest, Time: cityid.TimeOf(at),
		}, *pg.Intake)
	})
	if errors.Is(err, office.ErrFull) {
		return none, "", nil, cityid.Errorf(cityid.ErrFull, "this portal keeps as many open reports as it may: try again later, or call whoever is responsible")
	}
	return r, token, way, officeError(err)
}

// responsible finds who is responsible for a code now.
func (p *portal) responsible(ctx context.Context, code cityid.Code) ([]cityid.DutyStep, error) {
	return cityid.Responsible(ctx, code, func(ctx context.Context, c cityid.Code) (*cityid.Record, error) {
		a, err := p.Source.Record(ctx, c)
		if err != nil {
			return nil, err
		}
		return &a.Record, nil
	})
}

// receiptCheck remembers for a while that the intake key stood where it should.
type receiptCheck struct {
	mu    sync.Mutex
	until time.Time
}

const receiptChecked = 30 * time.Second

// mayReceipt refuses to take reports while the intake key does not stand in the
// policy of the institution: its receipts would prove nothing.
func (p *portal) mayReceipt(ctx context.Context) error {
	p.receipts.mu.Lock()
	defer p.receipts.mu.Unlock()
	now := time.Now()
	if now.Before(p.receipts.until) {
		return nil
	}
	s, err := cityid.Stood(ctx, p.Member, p.Intake.Key, cityid.RoleIntake, cityid.TimeOf(now), func(ctx context.Context, c cityid.Code) ([]cityid.Record, error) {
		h, err := p.Source.History(ctx, c)
		if err != nil {
			return nil, err
		}
		return h.Revisions, nil
	})
	if err != nil {
		return err
	}
	if s.Holder.IsZero() || s.Compromised != 0 {
		p.Log.Error("no reports are taken: the intake key of this portal does not stand in the policy of its institution", "institution", p.Member, "key", describe.Fingerprint(p.Intake.Key))
		return cityid.Errorf(cityid.ErrUnavailable, "this portal can not sign receipts now, since its key does not stand in the policy of %s: tell its operator", p.Member)
	}
	p.receipts.until = now.Add(receiptChecked)
	return nil
}

// reportForm is what the page for reporting shows.
type reportForm struct {
	place
	Tag        tag
	ID         string
	Categories []option
	Text       string
	Contact    string
	Most       int // characters
	MB         int // of a photograph
	To         place
	Way        []describe.Line // how To was found
	Moved      bool            // it is not simply what the thing belongs to
	Nobody     string          // why there is none
	Again      bool            // a photograph was chosen that has to be chosen again
}

// reportPage is the form for what is wrong with a code's thing.
func (p *portal) reportPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	code, done, err := pathCode(w, r, pg, "/report/")
	if done || err != nil {
		return err
	}
	if !p.TakesReports() {
		return errNoReports
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	return pg.showReport(w, r, http.StatusOK, code, reportInput{ID: hex.EncodeToString(id[:])})
}

func (pg *page) showReport(w http.ResponseWriter, r *http.Request, status int, code cityid.Code, in reportInput) error {
	a, err := pg.Source.Record(pg.ctx, code)
	if errors.Is(err, cityid.ErrNotFound) {
		return pg.notAllocated(w, r, code)
	}
	if err != nil {
		return err
	}
	pg.Private = true
	data := &reportForm{
		place: pg.placeOf(&a.Record), Tag: pg.StatusTag(a.Record.Status), ID: in.ID, Text: in.Text, Contact: in.Contact,
		Most: cityid.MaxReportText, MB: maxReportPhoto >> 20, Again: len(in.Photo) > 0,
	}
	for _, c := range cityid.ReportCategories() {
		data.Categories = append(data.Categories, option{c.String(), capital(describe.ReportCategory(pg.Lang, c)), "", c.String() == in.Category})
	}
	way, err := pg.responsible(pg.ctx, code)
	switch {
	case err == nil:
		last := &way[len(way)-1]
		data.To = place{last.Code, pg.NameOf(last.Names, last.Code), pg.Kind(last.Kind), pg.CodeURL(last.Code)}
		data.Way = describe.Duty(pg.Lang, way)
		data.Moved = slices.ContainsFunc(way[1:], func(s cityid.DutyStep) bool { return s.By != cityid.DutyParent })
	case cityid.CodeOf(err) == cityid.ErrNotFound, cityid.CodeOf(err) == cityid.ErrConflict:
		data.Nobody = pg.refusal(err)
	default:
		return err
	}
	pg.Title = pg.T("report.title", data.Name)
	return pg.render(w, r, status, "report", data)
}

// reportTake takes the form.
func (p *portal) reportTake(w http.ResponseWriter, r *http.Request, pg *page) error {
	pg.Private = true
	if !p.TakesReports() {
		return errNoReports
	}
	code, err := cityid.Parse(r.PathValue("code"))
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "the address is no code: %v", err)
	}
	if err := pg.Limits.Report(r); err != nil {
		return err
	}
	release, err := p.uploading.Take(web.ClientAddr(r))
	if err != nil {
		return err
	}
	defer release()
	in, err := reportForms(w, r)
	if err != nil {
		return err
	}
	report, token, _, err := pg.handIn(code, in)
	if fault := new(reportFault); errors.As(err, &fault) {
		pg.refuseField(fault.field, pg.T(fault.key, fault.args...))
		return pg.showReport(w, r, web.ProblemOf(err).Status, code, in)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, pg.receiptURL(report.Number, token), http.StatusSeeOther)
	return nil
}

// receiptURL is the page of a report, for whoever has the token.
func (pg *page) receiptURL(number uint64, token string) string {
	return pg.URL(fmt.Sprintf("/receipt/%d?token=%s", number, token))
}

// reportForms reads the form, with a photograph or without.
func reportForms(w http.ResponseWriter, r *http.Request) (reportInput, error) {
	in := reportInput{}
	r.Body = http.MaxBytesReader(w, r.Body, maxFieldPhoto+64<<10) // so that what is a little too large is refused beside the field
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		if err := r.ParseMultipartForm(64 << 10); err != nil {
			return in, uploadError(err)
		}
		defer r.MultipartForm.RemoveAll()
		var err error
		if in.Photo, err = formFile(r, "photo"); err != nil {
			return in, err
		}
	} else if err := r.ParseForm(); err != nil {
		return in, uploadError(err)
	}
	f := r.PostForm
	in.ID, in.Category, in.Text, in.Contact = f.Get("id"), f.Get("category"), f.Get("text"), f.Get("contact")
	return in, nil
}
