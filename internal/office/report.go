// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// A report comes from somebody without an account, who follows it by its number
// and a token of 26 random symbols (130 bits). Its sender makes an id of 32
// hexadecimal digits, so that a report that is sent again is stored once; the
// token follows from the id and office.key, and the database holds hashes of
// both:
//
//	id    = SHA-256("cityid/office-report-id/1" || digits)
//	token = the first 26 octets, modulo 32, of
//	        HKDF-SHA256(office.key || digits, no salt, info "cityid/office-report-token/1")
//	opens = SHA-256("cityid/office-report-opens/1" || token)
//
// Content (with its salt) and photograph are boxes under office.key with the
// additional data "cityid/office-report/1" || id, the contact with
// "cityid/office-report-contact/1" || id.
//
// What names people is erased: the contact a while after the report was closed,
// and a year after it came at the latest; content and photograph longer after it
// was closed. The number, what it was about and what was done stay.

// Limits on reports.
const (
	MaxReportPhoto = 8 << 20 // bytes of a photograph as it is kept

	maxReportSteps = 100
	maxReports     = 200 // in one list
	longestContact = 366 * 24 * time.Hour
)

// NewReport is what somebody hands in.
type NewReport struct {
	ID         string // 32 hexadecimal digits, made by its sender
	Code       cityid.Code
	Department cityid.Code // who is responsible now
	Category   cityid.ReportCategory
	Text       string
	Contact    string // e-mail address or telephone number; may be empty
	Photo      []byte // JPEG without anything of its camera; nil: none
}

// Report is a report that was handed in.
type Report struct {
	Number     uint64 // from 1, without gaps
	Code       cityid.Code
	Department cityid.Code // as the receipt says, or to whom it was passed on
	Category   cityid.ReportCategory
	State      cityid.ReportState
	Opening    *cityid.ReportOpening // nil: erased
	Contact    string                // empty: none, or erased
	Photo      bool                  // there is one: [Office.ReportPhoto]
	Receipt    cityid.ReportFile     // without its opening
	Received   time.Time
	Closed     time.Time // zero: open
}

// File returns the receipt with its opening, while there is one.
func (r *Report) File() *cityid.ReportFile {
	f := r.Receipt
	f.Opening = r.Opening
	return &f
}

// ReportStep is one step of what was done about a report.
type ReportStep struct {
	cityid.ReportStep
	Key cityid.PublicKey // of who did it; empty: it was handed in
}

// ReportSigner signs the receipt of a report that is about to be stored. It may
// not use the office.
type ReportSigner func(number uint64, at time.Time, digest cityid.Digest) (*cityid.ReportFile, error)

type reportKey struct{ id [32]byte }

func reportKeyOf(id string) (reportKey, error) {
	if !installationID.MatchString(id) {
		return reportKey{}, fmt.Errorf("the id of a report: want 32 hexadecimal digits: %w", ErrInvalid)
	}
	return reportKey{hashOf([]byte("cityid/office-report-id/1"), []byte(id))}, nil
}

func (k reportKey) where() []byte { return append([]byte("cityid/office-report/1"), k.id[:]...) }

func (k reportKey) whereContact() []byte {
	return append([]byte("cityid/office-report-contact/1"), k.id[:]...)
}

func (o *Office) reportToken(id string) string {
	b := derive(append(bytes.Clone(o.key[:]), id...), "cityid/office-report-token/1")
	out := make([]byte, secretSymbols)
	for i := range out {
		out[i] = symbols[b[i]&31]
	}
	return string(out)
}

func reportOpens(token string) [32]byte {
	return hashOf([]byte("cityid/office-report-opens/1"), []byte(token))
}

// arrival is a report on its way in.
type arrival struct {
	reportKey
	*NewReport
	opening *cityid.ReportOpening
	opens   [32]byte
	file    any // digest of the photograph's box, or nil
	size    int // of that
	sign    ReportSigner
}

// AddReport stores a report with its receipt, both or neither, and returns its
// token. The same report again, by its id and content, is no error: it is
// returned as it is by now, added being false. [ErrConflict] says that another
// one has the id; [ErrFull], that there are too many open reports, or no room for
// the photograph.
func (o *Office) AddReport(ctx context.Context, n NewReport, sign ReportSigner) (r Report, token string, added bool, err error) {
	k, err := reportKeyOf(n.ID)
	if err == nil {
		err = n.check()
	}
	if err != nil {
		return r, "", false, err
	}
	token = o.reportToken(n.ID)
	a := arrival{
		reportKey: k, NewReport: &n, opens: reportOpens(token), sign: sign,
		opening: &cityid.ReportOpening{Salt: cityid.Digest(random(32)), Report: cityid.Report{Category: n.Category, Text: n.Text}},
	}
	if n.Photo != nil {
		a.opening.Report.Photo = cityid.Digest(hashOf(n.Photo))
	}
	known, err := o.sentBefore(ctx, o.reads, &a)
	if err != nil {
		return r, "", false, err
	}
	if known != nil {
		return *known, token, false, nil
	}
	if n.Photo != nil {
		box := enclose(o.key, n.Photo, k.where())
		a.size = len(box)
		if err := o.roomForPhoto(ctx, o.reads, a.size); err != nil { // before it is written for a stranger
			return r, "", false, err
		}
		d, err := o.PutBytes(ctx, box)
		if err != nil {
			return r, "", false, err
		}
		a.file = d[:]
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		known, err := o.sentBefore(ctx, tx, &a) // perhaps meanwhile
		if err != nil {
			return err
		}
		if added = known == nil; added {
			r, err = o.insertReport(ctx, tx, &a)
		} else {
			r = *known
		}
		return err
	})
	if err != nil {
		return Report{}, "", false, fmt.Errorf("report: %w", err)
	}
	return r, token, added, nil
}

func (n *NewReport) check() error {
	content := cityid.Report{Category: n.Category, Text: n.Text}
	if n.Code.IsZero() || n.Department.IsZero() {
		return fmt.Errorf("a report has a code and a department: %w", ErrInvalid)
	}
	if err := content.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := cityid.CheckText("the contact", n.Contact, false); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(n.Photo) > MaxReportPhoto {
		return fmt.Errorf("a photograph of %d bytes, at most %d: %w", len(n.Photo), MaxReportPhoto, ErrTooLarge)
	}
	return nil
}

// sentBefore returns the report of an arrival's id, nil if there is none. One of
// another content, or whose content is erased, is a conflict.
func (o *Office) sentBefore(ctx context.Context, q folder.Querier, a *arrival) (*Report, error) {
	r, err := o.scanReport(q.QueryRowContext(ctx, reportQuery+`WHERE id = ?`, a.id[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil && (r.Opening == nil || r.Opening.Report != a.opening.Report || r.Code != a.Code) {
		err = fmt.Errorf("another report has this id: %w", ErrConflict)
	}
	if err != nil {
		return nil, err
	}
	return &r, nil
}

func (o *Office) insertReport(ctx context.Context, tx *sql.Tx, a *arrival) (r Report, err error) {
	if err := roomForOne(ctx, tx, o.opts.Reports, "open reports", `SELECT count(*) FROM report WHERE closed = 0`); err != nil {
		return r, err
	}
	if err := o.roomForPhoto(ctx, tx, a.size); err != nil {
		return r, err
	}
	now, contact := o.now(), []byte{}
	if a.Contact != "" {
		contact = enclose(o.key, []byte(a.Contact), a.whereContact())
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO report (id, opens, code, department, category, state, content, contact, photo, size, receipt, received, closed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'', ?, 0)`, a.id[:], a.opens[:], a.Code.String(), a.Department.String(), a.Category, cityid.ReportReceived,
		enclose(o.key, cityid.MustMarshal(a.opening), a.where()), contact, a.file, a.size, ms(now))
	if err != nil {
		return r, stored(err, "the report")
	}
	number, err := result.LastInsertId()
	if err != nil {
		return r, err
	}
	receipt, err := a.sign(uint64(number), now, a.opening.Digest())
	if err != nil {
		return r, err
	}
	bare := *receipt
	bare.Opening = nil
	_, err = tx.ExecContext(ctx, `UPDATE report SET receipt = ? WHERE number = ?`, cityid.MustMarshal(&bare), number)
	if err == nil {
		err = insertReportStep(ctx, tx, number, 0, ReportStep{ReportStep: cityid.ReportStep{Time: cityid.TimeOf(now), State: cityid.ReportReceived}})
	}
	return Report{
		Number: uint64(number), Code: a.Code, Department: a.Department, Category: a.Category, State: cityid.ReportReceived,
		Opening: a.opening, Contact: a.Contact, Photo: a.file != nil, Receipt: bare, Received: at(ms(now)),
	}, err
}

func insertReportStep(ctx context.Context, tx *sql.Tx, number int64, position int, s ReportStep) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO report_step (report, position, state, department, note, key, time) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		number, position, s.State, s.Department.String(), s.Note, []byte(s.Key), int64(s.Time))
	return err
}

const reportQuery = `SELECT number, id, code, department, category, state, content, contact, photo IS NOT NULL, receipt, received, closed FROM report `

func (o *Office) scanReport(row interface{ Scan(...any) error }) (r Report, err error) {
	var id, content, contact, receipt []byte
	var code, department string
	var received, closed int64
	err = row.Scan(&r.Number, &id, &code, &department, &r.Category, &r.State, &content, &contact, &r.Photo, &receipt, &received, &closed)
	if err != nil {
		return r, err
	}
	damaged := func(err error) (Report, error) {
		return Report{}, fmt.Errorf("report %d: %w: %w", r.Number, ErrDamaged, err)
	}
	var k reportKey
	copy(k.id[:], id)
	r.Received, r.Closed = at(received), at(closed)
	if r.Code, err = cityid.Parse(code); err != nil {
		return damaged(err)
	}
	if r.Department, err = cityid.Parse(department); err != nil {
		return damaged(err)
	}
	f, err := cityid.DecodeReportFile(receipt)
	if err != nil {
		return damaged(err)
	}
	r.Receipt = *f
	if len(content) > 0 {
		plain, err := disclose(o.key, content, k.where())
		if err != nil {
			return damaged(err)
		}
		r.Opening = new(cityid.ReportOpening)
		if err := cityid.Unmarshal(plain, r.Opening); err != nil {
			return damaged(err)
		}
	}
	if len(contact) > 0 {
		plain, err := disclose(o.key, contact, k.whereContact())
		if err != nil {
			return damaged(err)
		}
		r.Contact = string(plain)
	}
	return r, nil
}

// Report returns the report with a number, or [ErrNotFound].
func (o *Office) Report(ctx context.Context, number uint64) (Report, error) {
	r, err := o.scanReport(o.reads.QueryRowContext(ctx, reportQuery+`WHERE number = ?`, int64(number)))
	return r, found(err, "report")
}

// ReportByToken returns the report with a number for whoever has its token, as
// somebody may have typed it, or [ErrNotFound].
func (o *Office) ReportByToken(ctx context.Context, number uint64, token string) (Report, error) {
	wrong := fmt.Errorf("report: %w", ErrNotFound)
	token, err := foldSymbols(token)
	if err != nil || len(token) != secretSymbols {
		return Report{}, wrong
	}
	var want []byte
	err = o.reads.QueryRowContext(ctx, `SELECT opens FROM report WHERE number = ?`, int64(number)).Scan(&want)
	if err != nil {
		return Report{}, found(err, "report")
	}
	if got := reportOpens(token); subtle.ConstantTimeCompare(got[:], want) != 1 {
		return Report{}, wrong
	}
	return o.Report(ctx, number)
}

// ReportPhoto returns the photograph of a report, a JPEG, or [ErrNotFound].
func (o *Office) ReportPhoto(ctx context.Context, number uint64) ([]byte, error) {
	var k reportKey
	var id, photo []byte
	err := o.reads.QueryRowContext(ctx, `SELECT id, photo FROM report WHERE number = ? AND photo IS NOT NULL`, int64(number)).Scan(&id, &photo)
	if err != nil {
		return nil, found(err, "photograph")
	}
	var file cityid.Digest
	copy(k.id[:], id)
	copy(file[:], photo)
	box, err := o.ReadFile(ctx, file, MaxReportPhoto+boxOverhead)
	if err != nil {
		return nil, err
	}
	b, err := disclose(o.key, box, k.where())
	if err != nil {
		return nil, fmt.Errorf("photograph of report %d: %w", number, err)
	}
	return b, nil
}

// ReportSteps lists what was done about a report, the first step first.
func (o *Office) ReportSteps(ctx context.Context, number uint64) ([]ReportStep, error) {
	return folder.Collect(ctx, o.reads, func(row interface{ Scan(...any) error }) (s ReportStep, err error) {
		var department string
		var key []byte
		var when int64
		if err := row.Scan(&s.State, &department, &s.Note, &key, &when); err != nil {
			return s, err
		}
		s.Key, s.Time = cityid.PublicKey(key), cityid.Time(when)
		if department != "" {
			s.Department, err = cityid.Parse(department)
		}
		return s, err
	}, `SELECT state, department, note, key, time FROM report_step WHERE report = ? ORDER BY position`, int64(number))
}

// ReportFilter chooses reports.
type ReportFilter struct {
	Departments []cityid.Code
	Open        bool                  // only open ones
	State       cityid.ReportState    // only in this state; 0: any
	Category    cityid.ReportCategory // only of this category; 0: any
	Before      uint64                // only with a smaller number; 0: from the latest
	Limit       int                   // at most 200
}

// Reports lists the reports of departments, the latest first.
func (o *Office) Reports(ctx context.Context, f ReportFilter) ([]Report, error) {
	departments, err := json.Marshal(f.Departments)
	if err != nil {
		return nil, err
	}
	return folder.Collect(ctx, o.reads, o.scanReport, reportQuery+`WHERE department IN (SELECT value FROM json_each(?1)) AND (NOT ?2 OR closed = 0)
		AND (?3 = 0 OR state = ?3) AND (?4 = 0 OR category = ?4) AND (?5 = 0 OR number < ?5) ORDER BY number DESC LIMIT ?6`,
		string(departments), f.Open, f.State, f.Category, int64(f.Before), min(f.Limit, maxReports))
}

// ReportDepartments lists the departments that reports were given to, in order,
// each with how many of its reports are open.
func (o *Office) ReportDepartments(ctx context.Context) (map[cityid.Code]int, error) {
	type row struct {
		code cityid.Code
		open int
	}
	rows, err := folder.Collect(ctx, o.reads, func(x interface{ Scan(...any) error }) (r row, err error) {
		var code string
		if err := x.Scan(&code, &r.open); err != nil {
			return r, err
		}
		r.code, err = cityid.Parse(code)
		return r, err
	}, `WITH RECURSIVE d(x) AS (SELECT min(department) FROM report
		UNION ALL SELECT (SELECT min(department) FROM report WHERE department > x) FROM d WHERE x IS NOT NULL)
		SELECT x, (SELECT count(*) FROM report WHERE department = x AND closed = 0) FROM d WHERE x IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	out := map[cityid.Code]int{}
	for _, r := range rows {
		out[r.code] = r.open
	}
	return out, nil
}

// ChangeReport does something about a report, by the holder of a key. It is
// [ErrConflict] if the report is no longer in the state that was seen, and
// [ErrInvalid] if it can not go that way.
func (o *Office) ChangeReport(ctx context.Context, number uint64, c cityid.ReportChange, by cityid.PublicKey) error {
	if err := c.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if by == "" {
		return fmt.Errorf("somebody must do it: %w", ErrInvalid)
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		var state cityid.ReportState
		var steps int
		err := tx.QueryRowContext(ctx, `SELECT state, (SELECT count(*) FROM report_step WHERE report = number) FROM report WHERE number = ?`, int64(number)).Scan(&state, &steps)
		switch {
		case err != nil:
			return found(err, "report")
		case state != c.From:
			return fmt.Errorf("report %d is %s by now: %w", number, state, ErrConflict)
		case steps >= maxReportSteps && c.To.Open():
			return fmt.Errorf("report %d was assigned %d times: close it: %w", number, steps, ErrTooLarge)
		}
		now := o.now()
		closed := int64(0)
		if !c.To.Open() {
			closed = ms(now)
		}
		_, err = tx.ExecContext(ctx, `UPDATE report SET state = ?1, closed = ?2, department = CASE ?3 WHEN '' THEN department ELSE ?3 END WHERE number = ?4`,
			c.To, closed, c.Department.String(), int64(number))
		if err != nil {
			return err
		}
		return insertReportStep(ctx, tx, int64(number), steps, ReportStep{
			ReportStep: cityid.ReportStep{Time: cityid.TimeOf(now), State: c.To, Department: c.Department, Note: c.Note}, Key: by,
		})
	})
}

// roomForPhoto refuses a photograph of a report that does not fit beside the
// others.
func (o *Office) roomForPhoto(ctx context.Context, q folder.Querier, size int) error {
	var used int64
	if err := q.QueryRowContext(ctx, `SELECT coalesce(sum(size), 0) FROM report WHERE size > 0`).Scan(&used); err != nil {
		return err
	}
	if size > 0 && used+int64(size) > o.opts.ReportSpace {
		return fmt.Errorf("photographs of reports take %d of %d bytes: %w", used, o.opts.ReportSpace, ErrFull)
	}
	return nil
}

// reportSweeps erase what names people.
func (o *Office) reportSweeps() []string {
	return []string{
		fmt.Sprintf(`UPDATE report SET contact = x'' WHERE contact <> x'' AND (closed > 0 AND closed + %d <= ?1 OR received + %d <= ?1)`,
			o.opts.ContactLife.Milliseconds(), longestContact.Milliseconds()),
		fmt.Sprintf(`UPDATE report SET content = x'', photo = NULL, size = 0 WHERE content <> x'' AND closed > 0 AND closed + %d <= ?1`, o.opts.ReportLife.Milliseconds()),
	}
}
