// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Fields that the local side adds to an answer.
const (
	fieldEntry   = "Cityid-Entry"   // hash of the entry in the receipt log
	fieldNumber  = "Cityid-Receipt" // PROVIDER LOG NUMBER
	fieldAsOf    = "Cityid-As-Of"   // chain height and time by which the agreement was judged
	minAgreement = 8                // hexadecimal digits by which an agreement in use may be named
)

// Local answers the city's own applications. It has no accounts: who may reach
// the address may use the agreements, so it serves loopback and the configured
// networks alone, and no page of a browser.
//
//	GET /fetch/{agreement}/{path}   the data, verified; a refusal the provider signed comes with its own status
//	GET /subscribe/{agreement}/{path}  a feed as server-sent events
//	GET /v1/...                     what the portal reads, see package comment
func (g *Gateway) Local() http.Handler {
	networks, _ := g.cfg.Networks() // checked before
	return web.Endpoint(func(w http.ResponseWriter, r *http.Request) error {
		if err := g.admit(r, networks); err != nil {
			return err
		}
		path, query, _ := strings.Cut(r.RequestURI, "?")
		if rest, ok := strings.CutPrefix(path, "/fetch/"); ok {
			return g.localFetch(w, r, rest, query)
		}
		if rest, ok := strings.CutPrefix(path, "/subscribe/"); ok && r.Method == http.MethodGet {
			return g.subscribe(w, r, rest, query)
		}
		g.localMux.ServeHTTP(w, r)
		return nil
	})
}

// localRoutes are the resources besides fetches.
func (g *Gateway) localRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.Handler{
		"/v1/status":               get(g.localStatus),
		"/v1/purposes/{agreement}": web.Methods{http.MethodGet: g.localPurpose, http.MethodPost: g.localSendPurpose},
		"/metrics":                 g.metrics(),
		"/v1/series":               get(g.localSeries),
		"/v1/latest":               get(g.localLatest),
		"/v1/replay":               get(g.localReplay),
		"/v1/evidence/{entry}":     get(g.localEvidence),
		"/v1/log":                  get(g.localLog),
		"/":                        web.Endpoint(web.NotFound),
	} {
		mux.Handle(pattern, h)
	}
	return mux
}

// Status says how a gateway is.
type Status struct {
	Party    cityid.Code      `json:"party"`
	Log      string           `json:"log"`
	URL      string           `json:"url"`
	Key      cityid.PublicKey `json:"key"`
	Datasets []cityid.Code    `json:"datasets"`
	Counts   ledger.Stats     `json:"counts"`
	Public   bool             `json:"public"` // everybody may read on a portal's pages what feeds bring
}

func (g *Gateway) localStatus(w http.ResponseWriter, r *http.Request) error {
	s := Status{Party: g.cfg.Party, Log: g.cfg.Log, URL: g.cfg.URL, Key: g.public, Datasets: []cityid.Code{}, Counts: g.ledger.Stats(), Public: g.cfg.PublicDashboard}
	for i := range g.cfg.Datasets {
		s.Datasets = append(s.Datasets, g.cfg.Datasets[i].Code)
	}
	return web.WriteJSON(w, r, http.StatusOK, s)
}

func pathAgreement(r *http.Request) (id cityid.Digest, err error) {
	if err := id.UnmarshalText([]byte(r.PathValue("agreement"))); err != nil || id.IsZero() {
		return id, cityid.Errorf(cityid.ErrMalformed, "agreement %.70q: want its id", r.PathValue("agreement"))
	}
	return id, nil
}

// localPurpose answers with the encrypted purpose that came with a request.
func (g *Gateway) localPurpose(w http.ResponseWriter, r *http.Request) error {
	id, err := pathAgreement(r)
	if err != nil {
		return err
	}
	b, err := g.Purpose(id)
	if err != nil {
		return err
	}
	web.WriteBytes(w, r, http.StatusOK, "application/octet-stream", b)
	return nil
}

// localSendPurpose sends an encrypted purpose to the holder of the dataset.
func (g *Gateway) localSendPurpose(w http.ResponseWriter, r *http.Request) error {
	id, err := pathAgreement(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxPurpose))
	if err != nil {
		return err
	}
	if err := g.SendPurpose(r.Context(), id, body); err != nil {
		return fetchProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// admit refuses strangers, and pages of other sites in a local browser, which
// would reach the address by a name of theirs or send an Origin.
func (g *Gateway) admit(r *http.Request, networks []netip.Prefix) error {
	client := web.ClientAddr(r).Unmap()
	if !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(client) }) {
		return cityid.Errorf(cityid.ErrNotPermitted, "this address serves the city's own applications alone, and %s is in none of its networks", client)
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); host != "localhost" && (err != nil || !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })) {
		return cityid.Errorf(cityid.ErrNotPermitted, "ask for this address by localhost or its number, not as %.100q", r.Host)
	}
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" && r.Header.Get("Sec-Fetch-Site") != "none" {
		return cityid.Errorf(cityid.ErrNotPermitted, "this address serves programs, not pages")
	}
	return nil
}

// localFetch fetches for an application.
func (g *Gateway) localFetch(w http.ResponseWriter, r *http.Request, rest, query string) error {
	if r.Method != http.MethodGet {
		return web.Refuse(http.StatusMethodNotAllowed, cityid.ErrUnsupported, "data are fetched with GET")
	}
	name, path, _ := strings.Cut(rest, "/")
	id, err := g.agreementNamed(r.Context(), name)
	if err != nil {
		return err
	}
	unhurried(w)
	f, err := g.Fetch(r.Context(), id, "/"+path, query)
	if err != nil {
		return fetchProblem(err)
	}
	defer f.Body.Close()
	return g.writeFetched(w, f)
}

// fetchProblem tells an application what is wrong, and whose doing it is.
func fetchProblem(err error) error {
	switch {
	case errors.Is(err, ErrStale):
		return web.Refuse(http.StatusServiceUnavailable, cityid.ErrUnavailable, "%v", err)
	case errors.Is(err, errLies):
		return web.Refuse(http.StatusBadGateway, cityid.ErrSignature, "%v; nothing of it is passed on", err)
	case errors.Is(err, errPeer):
		return web.Refuse(http.StatusBadGateway, cityid.ErrUnavailable, "%v", err)
	}
	return err
}

func (g *Gateway) writeFetched(w http.ResponseWriter, f *Fetched) error {
	body, err := f.Body.Reader()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", f.ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox") // if a person opens it in a browser
	h.Set("Content-Length", strconv.FormatInt(f.Body.Size(), 10))
	h.Set("Cache-Control", "no-store")
	h.Set(fieldEntry, f.Entry.Hash.String())
	h.Set(fieldNumber, fmt.Sprintf("%s %s %d", f.Receipt.Provider, f.Receipt.Log, f.Receipt.Number))
	h.Set(fieldAsOf, fmt.Sprintf("%d %s", f.Standing.AsOf.Height, f.Standing.AsOf.Time.UTC().Format("2006-01-02T15:04:05Z")))
	w.WriteHeader(f.Status)
	// An application that goes away has its receipt all the same.
	if err := copySteadily(w, body, g.patience); err != nil {
		g.logger.Info("answer not taken whole", "agreement", f.Standing.ID, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// agreementNamed returns the agreement with an id, or the only one of the
// party's agreements in force whose id begins so.
func (g *Gateway) agreementNamed(ctx context.Context, name string) (id cityid.Digest, err error) {
	if len(name) == 64 {
		if err := id.UnmarshalText([]byte(name)); err != nil {
			return id, cityid.Errorf(cityid.ErrMalformed, "agreement %.70q: %v", name, err)
		}
		return id, nil
	}
	if len(name) < minAgreement || strings.Trim(name, "0123456789abcdef") != "" {
		return id, cityid.Errorf(cityid.ErrMalformed, "agreement %.70q: want its id, or at least the first %d of its hexadecimal digits", name, minAgreement)
	}
	found := 0
	if id, ok := g.names.get(name, g.now()); ok {
		return id, nil
	}
	q := cityid.AgreementQuery{Consumer: g.cfg.Party, State: cityid.AgreementGranted, Limit: 200}
	for {
		list, err := first(ctx, g.view.nodes, inquiry[*cityid.AgreementPage]{ask: func(ctx context.Context, n Node) (*cityid.AgreementPage, error) {
			return n.Agreements(ctx, q)
		}})
		if err != nil {
			return id, unknown(err)
		}
		for i := range list.Agreements {
			if strings.HasPrefix(list.Agreements[i].ID.String(), name) {
				id, found = list.Agreements[i].ID, found+1
			}
		}
		if q.After = list.Next; q.After == "" || found > 1 {
			break
		}
	}
	switch {
	case found == 0:
		return id, cityid.Errorf(cityid.ErrNotFound, "no granted agreement of %s begins with %s", g.cfg.Party, name)
	case found > 1:
		return id, cityid.Errorf(cityid.ErrConflict, "%d agreements of %s begin with %s: give more of the id", found, g.cfg.Party, name)
	}
	g.names.put(name, id, g.now())
	return id, nil
}

// Of names of agreements.
const (
	knownFor = time.Minute // a beginning of an id that was found belongs to the same one so long
	maxNames = 4096        // that are remembered
)

// names remembers which agreement the beginning of an id belongs to, so that a
// fetch by it does not ask nodes each time.
type names struct {
	mu    sync.Mutex
	known map[string]named
}

type named struct {
	id cityid.Digest
	at time.Time
}

func (n *names) get(name string, now time.Time) (cityid.Digest, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x, ok := n.known[name]
	age := now.Sub(x.at)
	return x.id, ok && age >= 0 && age < knownFor
}

func (n *names) put(name string, id cityid.Digest, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known) >= maxNames || n.known == nil {
		n.known = map[string]named{}
	}
	n.known[name] = named{id, now}
}
