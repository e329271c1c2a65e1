// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/office"
	"cityid/internal/web"
	"cityid/label"
)

// The field app notes what was done to labels in their places. Its page works
// without a network: a service worker keeps it, and what is noted waits in the
// browser until it can be sent. Each entry has an id made where it was noted, so
// that sending it again stores nothing new.

// fieldScreens are the pages of the field app and of the installation log.
func (p *portal) fieldScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /field":                    p.signedIn(p.fieldPage),
		"GET /field/sw.mjs":             p.fieldWorker,
		"POST /field/entries":           p.signedIn(p.fieldEntry),
		"GET /field/entries/{id}/photo": p.signedIn(p.fieldPhoto),
		"GET /field/log":                p.signedIn(p.fieldLog),
		"GET /field/log/csv":            p.signedIn(p.fieldCSV),
		"POST /field/attest":            p.signedIn(p.fieldAttest),
		"GET /field/statements/{id}":    p.signedIn(p.fieldStatement),
		"POST /field/scans":             p.signedIn(p.fieldScans),
		"GET /field/scans/{log}":        p.signedIn(p.fieldScanLog),
	}
}

const (
	maxFieldPhoto = 12 << 20 // octets of a photograph as it is sent
	maxNoteAge    = 366 * 24 * time.Hour
)

// fieldData is what the field app's page shows.
type fieldData struct {
	Holders []place
	Events  []option
	ID      string // of the entry to be noted
	Sent    *office.Installation
	Code    string
	Note    string
	Key     string
}

// fieldPage is the field app.
func (p *portal) fieldPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	data := &fieldData{Code: r.URL.Query().Get("code")}
	if id := r.URL.Query().Get("sent"); id != "" {
		e, err := pg.entry(id)
		if err != nil {
			return err
		}
		data.Sent = e
	}
	return pg.showField(w, r, http.StatusOK, data)
}

func (pg *page) showField(w http.ResponseWriter, r *http.Request, status int, data *fieldData) error {
	var err error
	if data.Holders, err = pg.holders(fieldRoles); err != nil {
		return err
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	data.ID, data.Key = hex.EncodeToString(id[:]), pg.Fingerprint(pg.Key())
	for _, e := range []office.InstallationEvent{office.LabelInstalled, office.LabelReplaced, office.LabelDamaged, office.LabelRemoved} {
		data.Events = append(data.Events, option{e.String(), pg.T("field.event." + e.String()), "", e == office.LabelInstalled})
	}
	pg.Title = pg.T("field.title")
	return pg.render(w, r, status, "field", data)
}

// Config is what the page's script needs.
func (d *fieldData) Config(pg *page) any {
	texts := map[string]string{}
	for key, text := range pg.texts[pg.Lang] {
		if name, ok := strings.CutPrefix(key, "field.js."); ok {
			texts[name] = text
		}
	}
	return map[string]any{
		"lang": pg.Lang, "key": d.Key, "texts": texts, "worker": pg.URL("/field/sw.mjs"), "scope": pg.URL("/field"), "entries": pg.URL("/field/entries"),
		"frames": pg.URL("/verify/frame"), "page": pg.URL("/field"), "signIn": pg.URL("/sign-in?next=", pg.URL("/field")),
	}
}

// fieldWorker is the service worker: the list of what it keeps, and its script.
// Its header lets it answer for the page, which lies above it.
func (p *portal) fieldWorker(w http.ResponseWriter, r *http.Request, pg *page) error {
	shell := struct {
		Version string   `json:"version"`
		Page    string   `json:"page"`
		Files   []string `json:"files"`
	}{Version: "field-" + pg.Lang + "-" + path.Base(p.assets.base), Page: pg.URL("/field")}
	for _, name := range []string{"site.css", "site.mjs", "camera.mjs", "field.mjs", "mark.svg", "site.webmanifest"} {
		shell.Files = append(shell.Files, p.assets.base+name)
	}
	list, err := json.Marshal(shell)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Service-Worker-Allowed", pg.URL("/field"))
	h.Set("Cache-Control", "no-cache")
	script := append([]byte("const shell = "), list...)
	script = append(append(script, ";\n"...), p.assets.files["field-sw.mjs"].plain...)
	web.WriteBytes(w, r, http.StatusOK, "text/javascript; charset=utf-8", script)
	return nil
}

// fieldEntry takes an entry, from the page's script or its form.
func (p *portal) fieldEntry(w http.ResponseWriter, r *http.Request, pg *page) error {
	e, added, err := pg.takeEntry(w, r)
	if r.Header.Get("Accept") == web.JSONType {
		if err != nil {
			status := web.ProblemOf(err).Status
			if status >= http.StatusInternalServerError {
				p.Log.Error("an entry failed", "error", err)
			}
			w.Header().Set("Cache-Control", "no-store")
			return web.WriteJSON(w, r, status, map[string]string{"detail": pg.refusal(err)})
		}
		return pg.json(w, r, map[string]any{"id": e.ID, "code": e.Code, "new": added})
	}
	status := web.ProblemOf(err).Status
	if err != nil && status != http.StatusInternalServerError && status != http.StatusTooManyRequests {
		pg.refuseField("code", pg.refusal(err))
		return pg.showField(w, r, status, &fieldData{Code: r.PostFormValue("code"), Note: r.PostFormValue("note")})
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/field?sent=", e.ID), http.StatusSeeOther)
	return nil
}

// takeEntry reads an entry and stores it.
func (pg *page) takeEntry(w http.ResponseWriter, r *http.Request) (*office.Installation, bool, error) {
	if err := pg.Limits.Visit(r); err != nil {
		return nil, false, err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 2*maxFieldPhoto+64<<10)
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		return nil, false, uploadError(err)
	}
	defer r.MultipartForm.RemoveAll()
	f := r.PostForm
	photo, err := formFile(r, "photo")
	if err != nil {
		return nil, false, err
	}
	scan, err := formFile(r, "scan")
	if err != nil {
		return nil, false, err
	}
	h := sha256.New()
	for _, name := range []string{"id", "code", "event", "noted", "lat", "lon", "accuracy", "note"} {
		fmt.Fprintf(h, "%s=%q\n", name, f.Get(name))
	}
	fmt.Fprintf(h, "photo=%x\nscan=%x\n", sha256.Sum256(photo), sha256.Sum256(scan))
	e := &office.Installation{ID: f.Get("id"), Digest: cityid.Digest(h.Sum(nil)), Creator: pg.Key(), Note: strings.TrimSpace(f.Get("note"))}
	if known, err := pg.Office.Installation(pg.ctx, e.ID); err == nil && known.Digest == e.Digest && known.Creator == e.Creator {
		return &known, false, nil // sent before
	} else if err != nil && !errors.Is(err, office.ErrNotFound) {
		return nil, false, err
	}
	if err := pg.readEntry(e, f.Get, scan); err != nil {
		return nil, false, err
	}
	if len(photo) > 0 {
		clean, err := pg.cleanPhoto(photo)
		if err != nil {
			return nil, false, err
		}
		if e.Photo, err = pg.Office.PutBytes(pg.ctx, clean); err != nil {
			return nil, false, err
		}
	}
	added, err := pg.Office.AddInstallation(pg.ctx, *e)
	return e, added, officeError(err)
}

// formFile reads a file of a form that was parsed; nil if there is none.
func formFile(r *http.Request, name string) ([]byte, error) {
	var headers []*multipart.FileHeader
	if r.MultipartForm != nil {
		headers = r.MultipartForm.File[name]
	}
	if len(headers) == 0 || headers[0].Size == 0 {
		return nil, nil
	}
	if headers[0].Size > maxFieldPhoto {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the photograph has %d octets: at most %d", headers[0].Size, maxFieldPhoto)
	}
	file, err := headers[0].Open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFieldPhoto))
}

// readEntry reads the fields of an entry: which label, by its text or by a
// photograph of it, what happened, when and where.
func (pg *page) readEntry(e *office.Installation, field func(string) string, scan []byte) error {
	text := strings.TrimSpace(field("code"))
	if text == "" && len(scan) > 0 {
		var err error
		if text, err = pg.decode(pg.ctx, strings.NewReader(string(scan))); err != nil {
			if errors.Is(err, label.ErrImage) || errors.Is(err, label.ErrTooLarge) || errors.Is(err, label.ErrNoSymbol) {
				return cityid.Errorf(cityid.ErrInvalid, "the photograph of the label: %v", err)
			}
			return err
		}
	}
	payload, err := label.ParsePayload(text)
	if err != nil {
		return cityid.Errorf(cityid.ErrInvalid, "the label: %v", err)
	}
	if e.Event, err = office.ParseInstallationEvent(field("event")); err != nil {
		return officeError(err)
	}
	now := time.Now()
	if e.Noted = now; field("noted") != "" {
		if e.Noted, err = time.Parse(time.RFC3339, field("noted")); err != nil {
			return cityid.Errorf(cityid.ErrInvalid, "time %.40q: want one such as 2026-11-24T08:30:00Z", field("noted"))
		}
		if e.Noted.After(now.Add(24*time.Hour)) || e.Noted.Before(now.Add(-maxNoteAge)) {
			return cityid.Errorf(cityid.ErrInvalid, "time %.40q is more than a day ahead or a year ago: set the clock of the device", field("noted"))
		}
	}
	if e.Location, err = parseDegrees(field("lat"), field("lon")); err != nil {
		return err
	}
	if s := field("accuracy"); s != "" && e.Location != nil {
		if e.Accuracy, err = strconv.Atoi(s); err != nil || e.Accuracy < 0 || e.Accuracy > 100_000 {
			return cityid.Errorf(cityid.ErrInvalid, "accuracy %.20q: want whole metres up to 100000", s)
		}
	}
	a, err := pg.Source.Record(pg.ctx, payload.Code)
	if err != nil {
		return err
	}
	if !pg.controls(a.Holder, fieldRoles) {
		return cityid.Errorf(cityid.ErrNotPermitted, "your key does not stand in the policy that governs %s", payload.Code)
	}
	e.Code, e.Holder = payload.Code, a.Holder
	return nil
}

var degrees = regexp.MustCompile(`^-?[0-9]{1,3}(\.[0-9]{1,7})?$`)

// parseDegrees reads a position; nil if none is given.
func parseDegrees(lat, lon string) (*cityid.Location, error) {
	lat, lon = strings.TrimSpace(lat), strings.TrimSpace(lon)
	if lat == "" && lon == "" {
		return nil, nil
	}
	bad := cityid.Errorf(cityid.ErrInvalid, "position %.20q, %.20q: want degrees with at most seven decimal places, both or neither", lat, lon)
	if !degrees.MatchString(lat) || !degrees.MatchString(lon) {
		return nil, bad
	}
	number := func(s string) json.Number {
		x, err := strconv.ParseFloat(s, 64) // it has no leading zeros, which JSON refuses
		if err != nil {
			return json.Number(s)
		}
		return json.Number(strconv.FormatFloat(x, 'f', -1, 64))
	}
	l := new(cityid.Location)
	if err := l.UnmarshalJSON(fmt.Appendf(nil, `{"lat":%s,"lon":%s}`, number(lat), number(lon))); err != nil {
		return nil, bad
	}
	return l, nil
}

// entry loads an entry that the visitor may see.
func (pg *page) entry(id string) (*office.Installation, error) {
	e, err := pg.Office.Installation(pg.ctx, id)
	if err != nil {
		return nil, officeError(err)
	}
	ok, err := pg.stands(e.Holder, fieldRoles)
	if err == nil && !ok {
		err = cityid.Errorf(cityid.ErrNotFound, "installation: %v", office.ErrNotFound)
	}
	return &e, err
}

// fieldPhoto hands out the photograph of an entry.
func (p *portal) fieldPhoto(w http.ResponseWriter, r *http.Request, pg *page) error {
	e, err := pg.entry(r.PathValue("id"))
	if err != nil {
		return err
	}
	if e.Photo.IsZero() {
		return errNoPage
	}
	b, err := p.Office.ReadFile(pg.ctx, e.Photo, maxFieldPhoto)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	web.WriteBytes(w, r, http.StatusOK, "image/jpeg", b)
	return nil
}

// fieldHolder returns whose log the address or form names, or the first one the
// visitor stands for.
func (pg *page) fieldHolder(text string) (code cityid.Code, all []place, err error) {
	if all, err = pg.holders(fieldRoles); err != nil {
		return code, nil, err
	}
	if text == "" {
		if len(all) > 0 {
			code = all[0].Code
		}
		return code, all, nil
	}
	if code, err = cityid.Parse(text); err != nil {
		return code, nil, cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	if !slices.ContainsFunc(all, func(p place) bool { return p.Code == code }) {
		err = pg.mustStand(code, fieldRoles)
	}
	return code, all, err
}
