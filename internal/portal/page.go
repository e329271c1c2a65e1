// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/web"
)

// page is one answer in the making. Templates call its methods.
type page struct {
	*portal
	Lang    string
	Path    string // of this page below the language, with its query
	Title   string
	Screen  string // name of the template
	Private bool   // holds what is not for everybody: never kept or compressed
	Errors  []fieldError
	Data    any

	ctx  context.Context
	node *cityid.NodeStatus // as the footer shows it; nil: it does not answer

	session *session // nil: none
	done    string   // id of the signing request that led here

	policies map[cityid.Code]policyAt // that were asked for
}

// fieldError says what is wrong with a field of a form.
type fieldError struct {
	Field string // id of the field
	Text  string
}

// page begins an answer.
func (p *portal) page(r *http.Request, lang string) *page {
	where := strings.TrimPrefix(r.URL.Path, "/"+lang)
	if r.URL.RawQuery != "" && r.Method == http.MethodGet {
		where += "?" + r.URL.RawQuery
	}
	return &page{portal: p, Lang: lang, Path: where, ctx: r.Context(), done: r.URL.Query().Get("done")}
}

//go:embed templates/*.html
var templateFiles embed.FS

// parseTemplates parses every screen's template together with the layout and
// the parts, which begin with an underscore.
func (p *portal) parseTemplates() (map[string]*template.Template, error) {
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	shared := template.New("").Funcs(template.FuncMap{
		"grouped": func(n any) (string, error) { return groupedAny(n) },
		"args":    func(v ...any) []any { return v },
		"join":    strings.Join,
		"lower":   strings.ToLower,
	})
	if shared, err = shared.ParseFS(templateFiles, "templates/_*.html"); err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, name := range files {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if strings.HasPrefix(base, "_") {
			continue
		}
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if out[base], err = t.ParseFS(templateFiles, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func groupedAny(n any) (string, error) {
	switch x := n.(type) {
	case int:
		return grouped(x), nil
	case int64:
		return grouped(x), nil
	case uint64:
		return grouped(x), nil
	case uint32:
		return grouped(x), nil
	}
	return "", fmt.Errorf("grouped: %T is no number", n)
}

// render writes the page. It writes nothing if the template fails.
func (pg *page) render(w http.ResponseWriter, r *http.Request, status int, screen string, data any) error {
	t := pg.templates[screen]
	if t == nil {
		return fmt.Errorf("there is no template %s", screen)
	}
	pg.Screen, pg.Data = screen, data
	if pg.node == nil {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		pg.node, _ = pg.Source.Status(ctx) // the footer says so when it does not answer
		cancel()
	}
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if err := t.ExecuteTemplate(b, "layout", pg); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", map[string]string{"zh": "zh-CN", "en": "en"}[pg.Lang])
	h.Add("Vary", "Accept-Encoding, Cookie")
	switch {
	case pg.Private:
		h.Set("Cache-Control", "no-store")
	case pg.session != nil: // it says who has signed in
		h.Set("Cache-Control", "private, no-cache")
	default:
		h.Set("Cache-Control", "no-cache")
	}
	if pg.Private || !acceptsGzip(r) {
		w.WriteHeader(status)
		_, err := b.WriteTo(w)
		return ignoreWrite(err)
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(w)
	if _, err := b.WriteTo(z); err != nil {
		return ignoreWrite(err)
	}
	return ignoreWrite(z.Close())
}

// ignoreWrite drops an error of writing to the client: the answer has begun, and
// whoever left needs no other.
func ignoreWrite(error) error { return nil }

var (
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	zippers = sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}
)

// T returns a text in the page's language.
func (pg *page) T(key string, args ...any) string { return pg.texts[pg.Lang].text(key, args...) }

// N returns a text that counts something: KEY, or KEY.one for one thing where
// the language tells them apart. The number fills {0}.
func (pg *page) N(key string, n any, args ...any) string {
	text, err := groupedAny(n)
	if err != nil {
		text = fmt.Sprint(n)
	}
	c := pg.texts[pg.Lang]
	if one := key + ".one"; text == "1" && c[one] != "" {
		key = one
	}
	return c.text(key, append([]any{text}, args...)...)
}

// URL returns the address of a page below the language.
func (pg *page) URL(parts ...string) string { return "/" + pg.Lang + strings.Join(parts, "") }

// Other returns the address of this page in the other language.
func (pg *page) Other() string {
	if strings.Contains(pg.Path, "?") || pg.Screen != "error" {
		return "/" + pg.OtherLang() + pg.Path
	}
	return "/" + pg.OtherLang() + "/"
}

// OtherLang returns the language the page is not in.
func (pg *page) OtherLang() string {
	if pg.Lang == "zh" {
		return "en"
	}
	return "zh"
}

// HTMLLang returns the page's language as a BCP 47 tag.
func (pg *page) HTMLLang() string { return map[string]string{"zh": "zh-CN", "en": "en"}[pg.Lang] }

// PortalName returns what the portal calls itself.
func (pg *page) PortalName() string {
	if n := pg.Name[pg.Lang]; n != "" {
		return n
	}
	return "cityid"
}

// Asset returns the address of a static file.
func (pg *page) Asset(name string) (string, error) {
	if pg.assets.files[name] == nil {
		return "", fmt.Errorf("there is no static file %s", name)
	}
	return pg.assets.base + name, nil
}

// Node returns the status the footer shows, or nil.
func (pg *page) Node() *cityid.NodeStatus { return pg.node }

// Moment, Day and Age write times for people; Age as time since.
func (pg *page) Moment(t time.Time) string { return moment(t, pg.Lang) }

// Day writes a date.
func (pg *page) Day(t time.Time) string { return day(t, pg.Lang) }

// At turns a block's time into one for Moment and Day.
func (pg *page) At(t cityid.Time) time.Time { return t.Std() }

// Machine writes a time for programs.
func (pg *page) Machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Age writes how long ago t was, as scripts go on to do.
func (pg *page) Age(t time.Time) string {
	s := int64(time.Since(t).Seconds())
	switch {
	case s < 0:
		s = 0
	case s >= 2*86400:
		return pg.T("page.ago.days", s/86400)
	case s >= 2*3600:
		return pg.T("page.ago.hours", s/3600)
	case s >= 120:
		return pg.T("page.ago.minutes", s/60)
	}
	return pg.T("page.ago.seconds", s)
}

// NameOf returns a record's name in the page's language, or its code where it
// has none.
func (pg *page) NameOf(names cityid.Names, code cityid.Code) string {
	if n := names.Get(pg.Lang); n != "" {
		return n
	}
	return code.String()
}

// OtherName returns a record's name in the other language, unless it is the
// same.
func (pg *page) OtherName(names cityid.Names) string {
	other := pg.OtherLang()
	if !names.Has(other) || names.Get(other) == names.Get(pg.Lang) {
		return ""
	}
	return names.Get(other)
}

// CodeURL returns the address of a code's page.
func (pg *page) CodeURL(code cityid.Code) string { return pg.URL("/code/", code.String()) }

// Kind, Status, Reason, Roles and State name members of closed lists.
func (pg *page) Kind(k cityid.Kind) string { return capital(describe.Kind(pg.Lang, k)) }

// Kinds names a kind in the plural, for lists and counts.
func (pg *page) Kinds(k cityid.Kind) string { return pg.T("kinds." + k.String()) }

// capital writes the first letter of a word large, where letters have a size.
func capital(s string) string {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

// StatusName names a status.
func (pg *page) StatusName(s cityid.Status) string { return capital(describe.Status(pg.Lang, s)) }

// Reason names a reason.
func (pg *page) Reason(r cityid.Reason) string { return describe.Reason(pg.Lang, r) }

// StatusTag says how a status is shown: as word, icon and colour.
func (pg *page) StatusTag(s cityid.Status) tag {
	t := tag{Text: capital(describe.Status(pg.Lang, s))}
	switch s {
	case cityid.StatusActive:
		t.Class, t.Icon = "good", "✓"
	case cityid.StatusReserved:
		t.Class, t.Icon = "plain", "○"
	case cityid.StatusSuspended:
		t.Class, t.Icon = "warn", "‖"
	case cityid.StatusRetired:
		t.Class, t.Icon = "bad", "■"
	}
	return t
}

// StateTag says how a proposal's state is shown.
func (pg *page) StateTag(s cityid.ProposalState) tag {
	t := tag{Text: capital(describe.ProposalState(pg.Lang, s))}
	switch s {
	case cityid.ProposalExecuted:
		t.Class, t.Icon = "good", "✓"
	case cityid.ProposalPending:
		t.Class, t.Icon = "info", "…"
	case cityid.ProposalReturned:
		t.Class, t.Icon = "warn", "↩"
	case cityid.ProposalRejected:
		t.Class, t.Icon = "bad", "✕"
	default:
		t.Class, t.Icon = "plain", "■"
	}
	return t
}

// tag is a status word with its icon and colour.
type tag struct{ Text, Class, Icon string }

// refusal says what an error means to the visitor. Defects are not described.
func (pg *page) refusal(err error) string {
	if web.ProblemOf(err).Status == http.StatusInternalServerError {
		return pg.T("error.defect")
	}
	if errors.Is(err, errNoPage) {
		return pg.T("error.no-page")
	}
	return describe.Refusal(pg.Lang, err)
}

// address returns the page's path with parameters of its query replaced; an empty
// value takes one away.
func address(r *http.Request, pairs ...string) string {
	v := r.URL.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Del(pairs[i])
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return r.URL.Path
	}
	return r.URL.Path + "?" + v.Encode()
}

// pathCode returns the code in a page's address. A form that is not canonical
// is a redirect to the one that is, and then done is true.
func pathCode(w http.ResponseWriter, r *http.Request, pg *page, before string) (code cityid.Code, done bool, err error) {
	text := r.PathValue("code")
	code, err = cityid.Parse(text)
	if err != nil {
		return code, false, cityid.Errorf(cityid.ErrNotFound, "the address is no code: %v", err)
	}
	if code.String() != text {
		u := url.URL{Path: pg.URL(before, code.String()), RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, u.String(), http.StatusPermanentRedirect)
		return code, true, nil
	}
	return code, false, nil
}

// Tag makes a tag of a text.
func (pg *page) Tag(class, icon, text string) tag { return tag{text, class, icon} }
