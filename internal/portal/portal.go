// SPDX-License-Identifier: Apache-2.0

// Package portal serves the pages that people see: looking codes up, applying
// for them, reviewing, managing a city's codes, printing and checking labels,
// and looking at the chain; in Chinese under /zh/ and in English under /en/.
//
// # How pages are made
//
// Pages are written by html/template on the server and work, as far as reading
// goes, without scripts. Each screen has a file of Go, a template of the same
// name in templates, its texts in text/SCREEN.zh.json and SCREEN.en.json, and,
// where it needs them, a style sheet in assets/css and a script in assets/js.
// All style sheets are sent as one. Scripts are ES modules without
// dependencies; they only improve on what the server has written:
//
//	data-copy            a button copies the text of the element it names
//	data-live="TOPIC"    the element is fetched again when an event of the topic
//	                     happens: "block", "code:CODE" (or below it), "proposal:NUMBER"
//	data-time            a time is shown as "3 s ago", and kept so
//
// # Security
//
// Every answer carries a content security policy that allows this host's own
// files alone, no inline script or style and no framing. Forms that change
// something are refused when another site sent them (by the browser's
// Sec-Fetch-Site and Origin headers). Whoever may do what on the chain is
// decided by signatures, never by a session: a session only says which key a
// visitor has shown to hold, so that the right pages are offered, and opens
// what an institution keeps for itself.
//
// # Sources
//
// The package reads from a [Source], which the node in the same process and a
// client of another one both satisfy, and from the search index. So a portal can
// run beside a node or apart from it.
package portal

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"cityid"
	"cityid/internal/index"
	"cityid/internal/office"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/label"
	"cityid/verify/js"
)

// Source is where pages read from and submit to. Its methods may be called from
// several goroutines at once; the callers own what they return. Refusals have a
// [cityid.ErrorCode] in their chain.
type Source interface {
	Status(ctx context.Context) (*cityid.NodeStatus, error)
	Settings(ctx context.Context) (*cityid.Settings, error)
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
	Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error)
	History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error)
	Lookup(ctx context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error)
	Proposal(ctx context.Context, number uint64) (*cityid.ProposalAnswer, error)
	Proposals(ctx context.Context, q cityid.ProposalQuery) (*cityid.ProposalPage, error)
	Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error)
	Transaction(ctx context.Context, id cityid.Digest) (*cityid.Receipt, error)
	FindTransaction(ctx context.Context, id cityid.Digest) (*cityid.TransactionAnswer, error)
	Blocks(ctx context.Context, q cityid.BlockQuery) (*cityid.BlockPage, error)
	Block(ctx context.Context, height uint64) (*cityid.Block, error)
	Agreement(ctx context.Context, id cityid.Digest) (*cityid.AgreementAnswer, error)
	Agreements(ctx context.Context, q cityid.AgreementQuery) (*cityid.AgreementPage, error)
	Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error)
	Attestation(ctx context.Context, source cityid.Code, digest cityid.Digest) (*cityid.Attestation, error)
	Attestations(ctx context.Context, q cityid.AttestationQuery) (*cityid.AttestationPage, error)
	Trust(ctx context.Context) ([]cityid.Trust, error)
}

// Config configures [New].
type Config struct {
	Source Source
	Index  *index.Index // answers searches and draws maps
	Origin string       // where browsers reach the pages, such as https://id.example; passkeys are bound to it
	Public label.PublicURL
	Name   map[string]string // what the portal calls itself, by language; empty: "cityid"
	Demo   bool              // say on every page that the codes are not official

	Catalogue Catalogue // what cities share; nil: there are no pages about it, and others show usage policies by digest alone

	Office   *office.Office // what is kept off the chain; nil: the pages only show the registry
	Limits   *Limits        // nil: none
	TestKeys []TestKey      // offered to everybody; for demonstrations alone

	// Intake is the institution's intake key, with which applications reach the
	// chain as soon as they are handed in; it can do nothing else. nil: a clerk
	// brings each.
	Intake  *cityid.Signer
	Example *Example // an application that visitors may begin with; nil: none

	// Member is the institution whose portal this is: those who sign for it see the
	// evidence and the intake. Zero: nobody does.
	Member      cityid.Code
	EvidenceKey *keys.Private  // the institution's x25519 key, which opens evidence; nil: none is taken or shown
	DeliverTo   []netip.Prefix // networks evidence may be sent to besides the public ones

	// Gateways are where pages read what cities share. Those of the codes whose
	// officers work here also send and keep purposes, and have the access logs. nil:
	// there are none, and officers carry files.
	Gateways Gateways
	// PurposeKeys are further x25519 keys with role encrypt of codes whose officers
	// work here: with them, and with EvidenceKey, purposes of requests are shown.
	PurposeKeys []*keys.Private

	// BaseMap is a GeoJSON file of land polygons to draw maps on, with the
	// members "source" and "approval" to show beside them; nil: the outline of
	// Natural Earth.
	BaseMap []byte
	Log     *slog.Logger
}

// portal is what all pages share. What changes after New guards itself.
type portal struct {
	Config
	secure     bool // Origin is https
	texts      map[string]catalogue
	templates  map[string]*template.Template
	assets     *assets
	basemap    *baseMap
	imports    *importDesk
	crossForms *http.CrossOriginProtection
	audits     chan struct{} // holds a token for each export that is being made
	docket     *docket
	tally      *tally
	shares     *shareTally
	attempts   attempts      // to bring applications onto the chain
	receipts   receiptCheck  // of the intake key
	boards     *boards       // asks gateways; nil: there are none
	duties     *duties       // who is responsible by now for what was reported
	receiving  *web.Slots    // of envelopes that are being taken
	uploading  *web.Slots    // of documents that are being handed in
	decoding   chan struct{} // holds one for each photograph being read
	printing   chan struct{} // holds one for each sheet being made
}

// Portal is the handler of the pages, and what the portal does by itself.
type Portal struct {
	*portal
	http.Handler
}

// New returns the handler of the pages: of /zh/, /en/, /static/ and /office/, and
// of / for browsers. The error says which part of c is wrong.
func New(c Config) (*Portal, error) {
	origin, err := url.Parse(c.Origin)
	if err != nil || origin.Host == "" || origin.Path != "" || origin.Scheme != "http" && origin.Scheme != "https" {
		return nil, fmt.Errorf("portal: origin %q: want scheme and host, such as https://id.example", c.Origin)
	}
	if len(c.TestKeys) > 0 && !c.Demo {
		return nil, errors.New("portal: test keys sign for everybody: only a demonstration offers them")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &portal{Config: c, secure: origin.Scheme == "https", crossForms: http.NewCrossOriginProtection(), decoding: make(chan struct{}, 2), printing: make(chan struct{}, 2)}
	p.duties, p.boards = &duties{portal: p}, newBoards(c.Gateways, c.Log)
	p.docket, p.tally, p.shares = &docket{source: c.Source, office: c.Office}, &tally{source: c.Source}, new(shareTally)
	p.receiving, p.uploading = web.NewSlots(receivingAtOnce), web.NewSlots(uploadingAtOnce)
	if err := p.crossForms.AddTrustedOrigin(c.Origin); err != nil { // a proxy may not hand on the host that browsers see
		return nil, fmt.Errorf("portal: origin %q: %w", c.Origin, err)
	}
	p.imports, p.audits = newImportDesk(), make(chan struct{}, auditsAtOnce)
	if p.texts, err = loadCatalogues(); err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	if p.assets, err = loadAssets(map[string][]byte{js.Name: js.Module}); err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	if p.basemap, err = parseBaseMap(c.BaseMap); err != nil {
		return nil, fmt.Errorf("portal: base map: %w", err)
	}
	if p.templates, err = p.parseTemplates(); err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	return &Portal{p, p.handler()}, nil
}

// handler routes to the screens.
func (p *portal) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, e := range p.screens() {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			panic("portal: pattern without method: " + pattern)
		}
		for _, lang := range languages {
			mux.Handle(method+" /"+lang+path, p.endpoint(lang, e))
		}
	}
	mux.HandleFunc("GET /static/{hash}/{name}", p.assets.serve)
	mux.HandleFunc("POST "+evidencePath, p.receiveEvidence)
	for pattern, e := range p.programs() {
		mux.Handle(pattern, p.program(e))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language, Cookie")
		w.Header().Set("Cache-Control", "no-cache")
		http.Redirect(w, r, "/"+languageOf(r)+"/", http.StatusSeeOther)
	})
	for _, lang := range languages {
		mux.Handle("/"+lang+"/", p.endpoint(lang, elsewhere))
		mux.HandleFunc("GET /"+lang, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/"+lang+"/", http.StatusPermanentRedirect)
		})
	}
	return mux
}

// screens lists every page: method and path below the language, and what
// answers. Each topic lists its own.
func (p *portal) screens() map[string]endpoint {
	out := p.readScreens()
	for _, more := range []map[string]endpoint{
		p.chainScreens(), p.verifyScreens(), p.attestationScreens(), p.accountScreens(), p.applyScreens(), p.reviewScreens(), p.importScreens(), p.workScreens(), p.labelScreens(), p.fieldScreens(), p.dataScreens(), p.reportScreens(), p.shareScreens(), p.boardScreens(),
	} {
		maps.Copy(out, more)
	}
	return out
}

// readScreens are the pages for looking things up.
func (p *portal) readScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /{$}":            p.home,
		"GET /search":         p.search,
		"GET /map":            p.mapPage,
		"GET /code/{code...}": p.code,
		"GET /about":          p.static("about"),
	}
}

var errNoPage = cityid.Errorf(cityid.ErrNotFound, "there is no such page")

// elsewhere answers under a path that is no page's: a code leads to its page.
func elsewhere(w http.ResponseWriter, r *http.Request, pg *page) error {
	code, err := cityid.Parse(strings.TrimPrefix(r.URL.Path, pg.URL("/")))
	if err != nil || r.Method != http.MethodGet {
		return errNoPage
	}
	http.Redirect(w, r, pg.URL("/code/"+code.String()), http.StatusPermanentRedirect)
	return nil
}

// endpoint answers a request in the language of pg. If it returns an error it
// has written nothing, and the error becomes a page.
type endpoint func(w http.ResponseWriter, r *http.Request, pg *page) error

// endpoint puts around e what all pages have in common.
func (p *portal) endpoint(lang string, e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.headers(w.Header())
		pg := p.page(r, lang)
		if err := p.crossForms.Check(r); err != nil {
			p.fail(w, r, pg, web.Refuse(http.StatusForbidden, cityid.ErrNotPermitted, "the form was sent from another site: open the page here and send it again"))
			return
		}
		slowly(w, r)
		rememberLanguage(w, r, lang, p.secure)
		if err := pg.loadSession(r); err != nil {
			p.fail(w, r, pg, err)
			return
		}
		if err := e(w, r, pg); err != nil {
			p.fail(w, r, pg, err)
		}
	})
}

// contentPolicy allows this host's own files alone. Images may also come from
// memory, for what a visitor has chosen but not sent yet.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
	"manifest-src 'self'; worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func (p *portal) headers(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(self), geolocation=(self), microphone=(), publickey-credentials-get=(self), publickey-credentials-create=(self)")
	if p.secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// fail shows an error as a page.
func (p *portal) fail(w http.ResponseWriter, r *http.Request, pg *page, err error) {
	status := web.ProblemOf(err).Status
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	p.Log.Log(r.Context(), level, "page refused", "request", web.RequestID(r.Context()), "path", LogPath(r), "error", err)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	data := struct {
		Status  int
		Request string
		Refusal string
	}{status, web.RequestID(r.Context()), pg.refusal(err)}
	pg.Title = pg.T(fmt.Sprintf("error.title.%d", errorTitle(status)))
	if werr := pg.render(w, r, status, "error", data); werr != nil {
		p.Log.Error("the error page failed", "error", werr)
		web.WriteError(w, r, errors.Join(err, werr))
	}
}

// errorTitle returns the status under which the page for status is titled.
func errorTitle(status int) int {
	switch status {
	case 400, 403, 404, 409, 410, 413, 422, 429, 503:
		return status
	}
	if status < 500 {
		return 400
	}
	return 500
}

// static returns the endpoint of a page that only says something.
func (p *portal) static(name string) endpoint {
	return func(w http.ResponseWriter, r *http.Request, pg *page) error {
		pg.Title = pg.T(name + ".title")
		return pg.render(w, r, http.StatusOK, name, nil)
	}
}

// patience is how long a page waits for what it could do without.
const patience = 2 * time.Second

// Pages tells a resolver where people are sent. It is safe for concurrent use.
type Pages struct{}

// CodePage returns the path of a code's page.
func (Pages) CodePage(r *http.Request, code cityid.Code) string {
	return "/" + languageOf(r) + "/code/" + code.String()
}

// CertificatePage returns the path of the page that checks a certificate.
func (Pages) CertificatePage(r *http.Request, text string) string {
	return "/" + languageOf(r) + "/verify?text=" + url.QueryEscape(text)
}
