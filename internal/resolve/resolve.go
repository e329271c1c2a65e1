// SPDX-License-Identifier: Apache-2.0

// Package resolve answers for codes at the root of a host, where labels point:
//
//	GET /MA.156.1301.02/20.010501/000045
//
// # Which paths are codes
//
// A path is a code only if the code is, or lies below, a root that is served,
// such as MA.156. The first segments v1, x, zh, en, api, 1.0 and static, in
// either case, belong to other parts of the server and can be no root. All that
// is neither a code nor one of the paths below is answered with 404.
//
// Every code has one address: its canonical form, in upper case and without
// check characters. Any other form that [cityid.Parse] accepts (lower case,
// full-width, with check characters, with a slash at its end) is redirected
// there with 308, which keeps the query.
//
// # What the answer is
//
//	code is           status  body
//	allocated         200     RecordAnswer as JSON, or its bundle
//	retired           410     a problem with the same members, or its bundle
//	not allocated     404     a problem, or the bundle that proves the absence
//
// Accept chooses between application/json, which is the default, and
// application/vnd.cityid.bundle+cbor; for people, ?format=json or
// ?format=bundle overrides it. Browsers ask for text/html: where the host has
// pages for people, they are sent on to the code's with 303. Other query
// parameters are ignored, because messengers add theirs to links that are
// shared. A reserved or suspended code is a 200 whose record says so.
//
// The problem of a retired code repeats the record's "heir" and "successors" as
// members of its own, and the answer names them in Link headers (RFC 8288):
// successors with the relation successor-version, an heir with urn:cityid:rel:heir.
// They are not followed by themselves: whoever scans an old label should learn
// that the thing has another code now.
//
//	curl -s http://localhost:8080/MA.156.1301
//	curl -s -H 'Accept: application/vnd.cityid.bundle+cbor' http://localhost:8080/MA.156.9999 -o absent.bundle
//
// # Other paths
//
// GET / tells what this is, as JSON or plain text.
//
// GET /X/{code}/{digits} is what a phone opens that scans a certificate: 174
// digits hold its signature. The answer is 303 to the code's record, with
// "Cityid-Certificate: unverified" and a note, because a signature that the
// scanned site itself would confirm proves nothing: "cityid label scan" checks it.
// A browser is sent to the page that checks it there, if the host has one.
//
// GET /X/{digits} is what a phone opens that scans a source mark. It is answered
// in the same way, with "Cityid-Source-Mark: unverified", for the code of the
// source, which is in the digits.
//
// Behind a path prefix, as in HTTPS://CITY.EXAMPLE/ID/MA.156, all of this
// stands below the prefix.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/web"
	"cityid/label"
	"cityid/verify"
)

// certificateDigits is how many digits end the path of a certificate.
const certificateDigits = 174

// reserved are the first segments, in upper case, that are no codes.
var reserved = []string{"V1", "X", "ZH", "EN", "API", "1.0", "STATIC"}

// Source is where answers come from: the node in the same process, or a client
// of another one. Its methods may be called from several goroutines at once. A
// code that is not allocated is an error of code not-found for Record, and a
// proof of absence for Bundle.
type Source interface {
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
	Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error)
}

// Config configures [Handler].
type Config struct {
	Source Source
	Roots  []cityid.Code // served with all codes below them; at least one
	Prefix string        // path before codes: "", or one such as "/ID" without a slash at its end
	Pages  Pages         // where people are sent; nil: there are no pages
	Try    []string      // further paths on the host that its index names; nil: those of a node
}

// Pages names the pages that this host has for people. Both methods return a
// path on it, in the language the request asks for.
type Pages interface {
	CodePage(r *http.Request, code cityid.Code) string
	CertificatePage(r *http.Request, text string) string // of a certificate or source mark; text as the symbol has it
}

// Handler returns the handler for all paths that nothing else on the host
// serves. The error tells which part of c is wrong.
func Handler(c Config) (http.Handler, error) {
	if len(c.Roots) == 0 {
		return nil, errors.New("resolver: no root to serve: name one, such as MA.156")
	}
	for _, root := range c.Roots {
		first, _, _ := strings.Cut(root.String(), "/")
		if root.IsZero() || slices.Contains(reserved, first) {
			return nil, fmt.Errorf("resolver: root %q is empty or a reserved path", root)
		}
	}
	if c.Prefix != "" && (c.Prefix[0] != '/' || strings.HasSuffix(c.Prefix, "/") || strings.ContainsAny(c.Prefix, "%?# ")) {
		return nil, fmt.Errorf("resolver: path prefix %q: want one such as /ID, without a slash at its end", c.Prefix)
	}
	h := &handler{source: c.Source, roots: slices.Clone(c.Roots), prefix: c.Prefix, pages: c.Pages, try: slices.Clone(c.Try)}
	if h.try == nil {
		h.try = []string{"/v1/status", "/v1/openapi.json"}
	}
	return web.Public(web.Methods{http.MethodGet: h.serve}), nil
}

type handler struct {
	source Source
	roots  []cityid.Code
	prefix string
	pages  Pages
	try    []string
}

// serve tells the paths apart.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	path, ok := strings.CutPrefix(r.URL.Path, h.prefix+"/")
	if !ok {
		return web.NotFound(w, r)
	}
	if path == "" {
		return h.index(w, r)
	}
	first, rest, _ := strings.Cut(path, "/")
	switch first = strings.ToUpper(first); {
	case first == "X":
		return h.certificate(w, r, rest)
	case slices.Contains(reserved, first):
		return web.NotFound(w, r)
	}
	code, err := cityid.Parse(path)
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "the path is no code: %v", err)
	}
	if !h.serves(code) {
		return cityid.Errorf(cityid.ErrNotFound, "%s is not served here: the codes served are those of %s", code, h.rootList())
	}
	if canonical := h.path(code); r.URL.EscapedPath() != canonical {
		return redirect(w, r, http.StatusPermanentRedirect, canonical)
	}
	return h.code(w, r, code)
}

func (h *handler) serves(code cityid.Code) bool {
	return slices.ContainsFunc(h.roots, func(root cityid.Code) bool { return root == code || root.Covers(code) })
}

func (h *handler) rootList() string {
	list := make([]string, len(h.roots))
	for i, root := range h.roots {
		list[i] = root.String()
	}
	return strings.Join(list, ", ")
}

// path returns the one address of a code. The characters of codes need no
// encoding in a path.
func (h *handler) path(code cityid.Code) string { return h.prefix + "/" + code.String() }

// redirect sends the client to a path on this host, with the query it came
// with.
func redirect(w http.ResponseWriter, r *http.Request, status int, path string) error {
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", path)
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	return nil
}

// code answers for a canonical code that is served.
func (h *handler) code(w http.ResponseWriter, r *http.Request, code cityid.Code) error {
	w.Header().Set("Vary", "Accept")
	format, err := h.chooseFormat(r)
	if err != nil {
		return err
	}
	if format == htmlType {
		return see(w, h.pages.CodePage(r, code))
	}
	answer, err := h.source.Record(r.Context(), code)
	absent := errors.Is(err, cityid.ErrNotFound)
	if err != nil && (!absent || format != verify.MediaType) {
		return err
	}
	status := http.StatusOK
	switch {
	case absent:
		status = http.StatusNotFound
	case answer.Record.Status == cityid.StatusRetired:
		status = http.StatusGone
		h.linkSuccessors(w.Header(), &answer.Record)
	}
	if format == verify.MediaType {
		bundle, err := h.source.Bundle(r.Context(), cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord})
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(code.String(), "/", "_") + ".bundle"
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
		web.WriteBytes(w, r, status, verify.MediaType, bundle)
		return nil
	}
	w.Header().Add("Link", fmt.Sprintf("<%s?format=bundle>; rel=\"alternate\"; type=%q", h.path(code), verify.MediaType))
	if status == http.StatusGone {
		return gone(answer)
	}
	return web.WriteJSON(w, r, http.StatusOK, answer)
}

// htmlType is what browsers ask for.
const htmlType = "text/html"

// see sends a person to a page.
func see(w http.ResponseWriter, page string) error {
	w.Header().Set("Location", page)
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// offers returns the media types that a code can be answered with.
func (h *handler) offers() []string {
	if h.pages == nil {
		return []string{web.JSONType, verify.MediaType}
	}
	return []string{web.JSONType, verify.MediaType, htmlType}
}

// chooseFormat returns the media type to answer with.
func (h *handler) chooseFormat(r *http.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", cityid.Errorf(cityid.ErrMalformed, "query: %v", err)
	}
	if !query.Has("format") {
		return web.Negotiate(r, h.offers()...)
	}
	if len(query["format"]) == 1 {
		switch query.Get("format") {
		case "json":
			return web.JSONType, nil
		case "bundle":
			return verify.MediaType, nil
		}
	}
	return "", cityid.Errorf(cityid.ErrMalformed, "query: parameter format=%.40q: want json or bundle, once", query.Get("format"))
}

// linkSuccessors sets the Link headers of a retired record.
func (h *handler) linkSuccessors(header http.Header, record *cityid.Record) {
	for _, successor := range record.Successors {
		header.Add("Link", fmt.Sprintf("<%s>; rel=\"successor-version\"", h.path(successor)))
	}
	if !record.Heir.IsZero() {
		header.Add("Link", fmt.Sprintf("<%s>; rel=\"urn:cityid:rel:heir\"", h.path(record.Heir)))
	}
}

// gone is the problem that answers for a retired code.
func gone(answer *cityid.RecordAnswer) error {
	record := &answer.Record
	detail := record.Code.String() + " is retired"
	if record.Reason != 0 {
		detail += ": " + record.Reason.String()
	}
	p := web.Refuse(http.StatusGone, cityid.ErrStatus, "%s", detail)
	p.Title = "The code is retired"
	p.RecordAnswer, p.Heir, p.Successors = answer, record.Heir, record.Successors
	return p
}

// certificate answers for the path of a scanned certificate, after "/X/".
func (h *handler) certificate(w http.ResponseWriter, r *http.Request, path string) error {
	at := strings.LastIndexByte(path, '/')
	if digits := strings.TrimSuffix(path, "/"); digits != "" && strings.Trim(digits, "0123456789") == "" {
		return h.sourceMark(w, r, digits)
	}
	if at < 0 || len(path)-at-1 != certificateDigits || strings.Trim(path[at+1:], "0123456789") != "" {
		return cityid.Errorf(cityid.ErrNotFound, "not the address of a certificate: want /X/, a code, and %d digits", certificateDigits)
	}
	code, err := cityid.Parse(path[:at])
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "certificate: %v", err)
	}
	if !h.serves(code) {
		return cityid.Errorf(cityid.ErrNotFound, "certificate: %s is not served here: the codes served are those of %s", code, h.rootList())
	}
	w.Header().Set("Cityid-Certificate", "unverified")
	return h.scanned(w, r, code, code.String()+path[at:], "The signature on this certificate has not been checked. Check it with: cityid label scan")
}

// sourceMark answers for the path of a scanned source mark, after "/X/".
func (h *handler) sourceMark(w http.ResponseWriter, r *http.Request, digits string) error {
	m, err := label.ParseSourceMark(digits)
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "not the address of a source mark: %v", err)
	}
	if !h.serves(m.Code) {
		return cityid.Errorf(cityid.ErrNotFound, "source mark: %s is not served here: the codes served are those of %s", m.Code, h.rootList())
	}
	w.Header().Set("Cityid-Source-Mark", "unverified")
	return h.scanned(w, r, m.Code, digits, "The signature of this source mark has not been checked. Check it with: cityid label scan")
}

// scanned sends a person to the page that checks what was scanned, and a program
// to the code's record.
func (h *handler) scanned(w http.ResponseWriter, r *http.Request, code cityid.Code, path, note string) error {
	w.Header().Set("Vary", "Accept")
	if h.pages != nil {
		if format, err := web.Negotiate(r, web.JSONType, htmlType); err == nil && format == htmlType {
			return see(w, h.pages.CertificatePage(r, h.prefix+"/X/"+path))
		}
	}
	w.Header().Set("Location", h.path(code))
	return web.WriteJSON(w, r, http.StatusSeeOther, struct {
		Code cityid.Code `json:"code"`
		Note string      `json:"note"`
	}{code, note})
}

// index tells what this is.
func (h *handler) index(w http.ResponseWriter, r *http.Request) error {
	const about = "A resolver of city codes. Ask for a code to get its record; ask for " + verify.MediaType + " to get it with a proof."
	w.Header().Set("Vary", "Accept")
	format, err := web.Negotiate(r, web.JSONType, "text/plain")
	if err != nil {
		return err
	}
	var try []string
	for _, root := range h.roots {
		try = append(try, h.path(root), h.path(root)+"?format=bundle")
	}
	try = append(try, h.try...)
	if format == "text/plain" {
		text := about + "\n\nTry:\n\n  " + strings.Join(try, "\n  ") + "\n"
		web.WriteBytes(w, r, http.StatusOK, "text/plain; charset=utf-8", []byte(text))
		return nil
	}
	return web.WriteJSON(w, r, http.StatusOK, struct {
		About string        `json:"about"`
		Roots []cityid.Code `json:"roots"`
		Try   []string      `json:"try"`
	}{about, h.roots, try})
}
