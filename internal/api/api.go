// SPDX-License-Identifier: Apache-2.0

// Package api serves the registry to programs, under /v1. It reads from a
// [Source], which is the node in the same process or a client of another node.
//
// # Resources
//
//	GET  /v1/records/{code}           RecordAnswer: the latest revision, also of a retired code
//	GET  /v1/children/{code}          RecordPage; ?deep=true &kind=department &after=CODE &limit=100 (to 1000)
//	GET  /v1/history/{code}           HistoryAnswer: all revisions, latest first
//	GET  /v1/crosswalk/{scheme}/{value}  CrosswalkAnswer
//	GET  /v1/search                   SearchPage; ?q=TEXT &kind=city,county &status=active &below=CODE &limit=20 (to 100)
//	                                  &box=SOUTH,WEST,NORTH,EAST &near=LAT,LON &min_height=17 &after=CURSOR
//	GET  /v1/attestations/{digest}    Attestation; ?source=CODE is required
//	GET  /v1/attestations             AttestationPage; ?source=CODE is required &after=DIGEST &limit=50 (to 200)
//	GET  /v1/proposals                ProposalPage; ?state=pending &code=CODE &before=17 &limit=50 (to 200)
//	GET  /v1/proposals/{number}       ProposalAnswer
//	POST /v1/transactions             Receipt; ?wait=false
//	GET  /v1/transactions/{id}        Receipt
//	GET  /v1/transactions/{id}/body   TransactionAnswer; as application/cbor the encoded transaction itself
//	GET  /v1/blocks                   BlockPage, latest first; ?before=17 &busy=true &limit=20 (to 100)
//	GET  /v1/blocks/{height}          Block, with its transactions
//	GET  /v1/changes                  Changes; ?after=HEIGHT is required, &wait=true
//	GET  /v1/events                   a stream of Event; ?after=HEIGHT &code=CODE &proposal=17
//	GET  /v1/bundles/{code}           a bundle; ?kind=record|children|descendants|history|referral &from= &base= &at= &log=true &anchor=
//	GET  /v1/entries                  a bundle about keys of the state; ?keys=HEX,HEX is required, &from= &base= &at= &log=true &anchor=
//	POST /v1/entries                  the same for many keys, which are the body: a list of byte strings as application/cbor
//	GET  /v1/agreements               AgreementPage; ?dataset=CODE or ?consumer=CODE is required, &state=granted &after=CURSOR &limit=50 (to 200)
//	GET  /v1/agreements/{id}          AgreementAnswer
//	GET  /v1/anchors/{code}           AnchorPage: a party's receipt logs; ?after_log=NAME &limit=100 (to 1000)
//	                                  or the anchors of one; ?log=NAME &after=17 &limit=100 (to 1000)
//	GET  /v1/catalogue                the catalogue of shared data, DCAT-AP as application/ld+json; ?city=CODE &after=CURSOR &limit=200 (to 1000)
//	GET  /v1/datasets                 DatasetPage; ?q=TEXT &below=CODE &city= &department= &industry= &theme= &class=open &format=JSON
//	                                  &freshness=late &quality=good &indicator= &state=refused &sort=relevance|modified|quality|code
//	                                  &facets=false &after=CURSOR &limit=20 (to 100)
//	GET  /v1/datasets/{code}          DatasetAnswer; or one of the documents as the gateway serves it: ?part=description|schema|policy
//	GET  /v1/links/{height}           a link to the header of a height, for archiving a bundle; ?from=
//	GET  /v1/headers/{height}         a signed header with its validators and all votes, for a node that begins with a snapshot
//	GET  /v1/trust                    {"versions": [Trust, ...]}, the first version first
//	GET  /v1/trust/{version}          Trust
//	GET  /v1/trust/next               TrustStatement, for the quorum to sign as the next version
//	GET  /v1/zones                    ZonePage: the zone above, and those below; ?after=CODE &limit=100 (to 1000)
//	GET  /v1/settings                 Settings
//	GET  /v1/status                   NodeStatus
//	GET  /v1/openapi.json             the same, as an OpenAPI 3.1 document
//
// The types are those of package cityid, and their JSON is what the package
// says. To try it:
//
//	curl -s http://localhost:8080/v1/records/MA.156.1301
//	curl -s 'http://localhost:8080/v1/children/MA.156.1301?kind=department&limit=10'
//	curl -s -o record.bundle http://localhost:8080/v1/bundles/MA.156.1301
//
// A code in a path is written as it is, with its slashes, and may have any form
// that [cityid.Parse] accepts, percent-encoded where it must be; answers carry
// the canonical one. Query parameters that are unknown, repeated or malformed
// are refused, so that a misspelt one cannot pass for an answer to another
// question. Lists that go on name the next page in a Link header (RFC 8288)
// and in the body's "next".
//
// # Transactions
//
// A transaction is posted as application/cbor, the bytes of a [cityid.Tx], or
// as application/json: {"body": base64url, "signatures": [base64url, ...]}.
// The answer comes when a block has recorded it and is provable, with 200 and the
// receipt. With ?wait=false, or "Prefer: respond-async", it comes as soon as the
// node has accepted the transaction, with 202 and a receipt of height 0; so it
// does when no block comes within 30 seconds. The Location header says where to
// ask again.
//
// A refusal, before a block or in one, is a problem whose status follows from
// its code; if a block holds the transaction, the problem carries the receipt.
// Reading the receipt of a refused transaction later is an ordinary 200.
//
// Posting is idempotent, because a transaction's id is the hash of its body:
// one that waits already is waited for, and one that is recorded is answered
// with its receipt. No Idempotency-Key is therefore needed; one that is sent
// comes back unchanged and has no effect.
//
// # Events
//
// /v1/events is a stream of server-sent events (text/event-stream, as EventSource
// in browsers reads it), one for each block, also the empty ones of an idle chain:
//
//	id: 17
//	event: block
//	data: {"height":17,"time":"2027-01-15T08:00:00Z","transactions":[{"id":"5f3a...","code":"ok",
//	data:   "operations":["allocate"],"codes":["MA.156.1301.01"],"proposals":[]}],"changed":["MA.156.1301.01"]}
//
// (the data stands in one line). A new stream begins with the latest block.
// Last-Event-ID, which browsers send when they connect again, or ?after= goes on
// behind that height. Who is more than 1,000 blocks behind, or whose height this
// chain is far from having, or asks for blocks the node does not keep, gets
//
//	id: 16
//	event: reset
//	data: {"height":17}
//
// instead of what was missed: read anew what you show; events go on with that
// height. ?code= chooses the blocks whose transactions name, or which wrote, that
// code or one below it, and ?proposal= those whose transactions name or made that
// proposal; with both, both must hold. An event always tells of its whole block.
// Where the node no longer knows what a block wrote ("changed" is missing), the
// block passes for every code.
//
// Every 15 seconds without an event comes a comment, with an id if a filter held
// events back. A reader who does not take an event within 30 seconds is cut off.
// At most 1,000 streams run (503 beyond), a quarter of them for one client
// address (429). A node that stops says so in a comment, with a longer "retry".
//
// /v1/changes?wait=true answers as soon as there is a block after the height, or
// after 25 seconds with the same height: for programs that keep a copy.
//
// # Search
//
// A node that keeps an index answers /v1/search from it; others answer 404 with the
// code unsupported. Each page names the block the index has seen. ?min_height= waits
// for one, such as that of a receipt, 10 seconds at most and then with 503. A page
// may hold fewer hits than asked for and still name a next one.
//
// # Shared data
//
// A node that keeps the catalogue of shared data answers /v1/catalogue and
// /v1/datasets from it; others answer 404 with the code unsupported. Several values
// of one condition stand with commas between, themes with blanks, since IRIs may
// have commas. All pages of /v1/catalogue describe one catalogue, whose IRI is its
// address without cursor and limit; their union is the whole. So harvesters that
// follow Link headers and merge graphs have all of it.
//
// # Everything else
//
// Problems, entity tags and limits are those of package web. The data is public:
// there are no accounts, scripts of any origin may read, and all writes are
// authorized by the signatures inside transactions alone.
package api

import (
	"cmp"
	"context"
	_ "embed"
	"net/http"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/internal/web"
)

// Records reads records of the latest state.
type Records interface {
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
	Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error)
}

// Evidence reads what stands behind records.
type Evidence interface {
	History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error)
	Attestation(ctx context.Context, source cityid.Code, digest cityid.Digest) (*cityid.Attestation, error)
	Attestations(ctx context.Context, q cityid.AttestationQuery) (*cityid.AttestationPage, error)
}

// Sharing reads agreements and the anchors of receipts.
type Sharing interface {
	Agreement(ctx context.Context, id cityid.Digest) (*cityid.AgreementAnswer, error)
	Agreements(ctx context.Context, q cityid.AgreementQuery) (*cityid.AgreementPage, error)
	Anchors(ctx context.Context, q cityid.AnchorQuery) (*cityid.AnchorPage, error)
}

// Crosswalk looks foreign identifiers up.
type Crosswalk interface {
	Lookup(ctx context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error)
}

// Proposals reads proposals.
type Proposals interface {
	Proposal(ctx context.Context, number uint64) (*cityid.ProposalAnswer, error)
	Proposals(ctx context.Context, q cityid.ProposalQuery) (*cityid.ProposalPage, error)
}

// Transactions takes encoded transactions and tells what became of them. Submit
// returns an error for one that it does not take, and a receipt otherwise: its
// Code is the block's verdict, and its Height is 0 while there is none. With
// wait it returns when a block has decided, or with ctx's error, after which one
// still may. A transaction submitted again is joined or answered, not repeated.
type Transactions interface {
	Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error)
	Transaction(ctx context.Context, id cityid.Digest) (*cityid.Receipt, error)
}

// Blocks reads the blocks of the chain, and transactions out of them.
type Blocks interface {
	Blocks(ctx context.Context, q cityid.BlockQuery) (*cityid.BlockPage, error)
	Block(ctx context.Context, height uint64) (*cityid.Block, error)
	FindTransaction(ctx context.Context, id cityid.Digest) (*cityid.TransactionAnswer, error)
}

// Events tells what happens. Await returns the height of the latest block as
// soon as it exceeds after, and everything up to it can be read then; or ctx's
// error. Any number may wait.
type Events interface {
	Await(ctx context.Context, after uint64) (uint64, error)
	Changes(ctx context.Context, after uint64) (*cityid.Changes, error)
}

// Proofs makes bundles, makes links to headers in the block log for an asker who
// holds a version of the trust root, gives signed headers as package verify encodes
// them, and holds the versions of the trust root,
// the first version first.
type Proofs interface {
	Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error)
	Link(ctx context.Context, height uint64, from uint32) ([]byte, error)
	SignedHeader(ctx context.Context, height uint64) ([]byte, error)
	Trust(ctx context.Context) ([]cityid.Trust, error)
	NextTrust(ctx context.Context) (*cityid.TrustStatement, error)
}

// Node tells how the node is, what rules it keeps, and how its zone stands to
// those above and below.
type Node interface {
	Status(ctx context.Context) (*cityid.NodeStatus, error)
	Zones(ctx context.Context, q cityid.ZoneQuery) (*cityid.ZonePage, error)
	Settings(ctx context.Context) (*cityid.Settings, error)
}

// Source is where answers come from. Its methods may be called from several
// goroutines at once; the callers own what they return. A refusal has a
// [cityid.ErrorCode] in its chain, such as not-found; any other error counts as
// a defect, and its text is not shown to clients.
type Source interface {
	Records
	Evidence
	Crosswalk
	Sharing
	Proposals
	Transactions
	Blocks
	Events
	Proofs
	Node
}

// Config configures [Handler].
type Config struct {
	Source Source
	Search Searcher      // answers searches; nil: there is no index
	Data   Datasets      // the catalogue of shared data; nil: there is none
	Writes *web.Limiter  // limits POST for each client address; nil: no limit
	Wait   time.Duration // longest a post waits for its block; 0: 30 s

	Streams int           // streams of events at a time, a quarter of them for one client address; 0: 1,000
	Beat    time.Duration // longest a stream is silent; 0: 15 s
	Write   time.Duration // longest a reader may take for one event; 0: 30 s
	Poll    time.Duration // longest a request waits for changes; 0: 25 s
}

// Handler returns the handler for all paths from /v1/ on.
func Handler(c Config) http.Handler {
	source := newListings(c.Source)
	h := &handler{
		source: source, searcher: c.Search, datasets: c.Data, turn: source.turn, wait: cmp.Or(c.Wait, 30*time.Second), poll: cmp.Or(c.Poll, pollTime),
		beat: cmp.Or(c.Beat, defaultBeat), write: cmp.Or(c.Write, defaultWrite),
		events: newEvents(source), slots: web.NewSlots(cmp.Or(c.Streams, defaultStreams)),
	}
	mux := http.NewServeMux()
	routes := h.routes(c.Writes)
	for _, r := range routes {
		mux.Handle(r.pattern, r.methods)
		bare, ok := strings.CutSuffix(r.pattern, "/{code...}")
		if ok && !slices.ContainsFunc(routes, func(r route) bool { return r.pattern == bare }) {
			mux.Handle(bare, web.Endpoint(web.NotFound)) // or ServeMux would redirect it
		}
	}
	mux.Handle("/", web.Endpoint(web.NotFound))
	return web.Public(mux)
}

type handler struct {
	source   Source
	searcher Searcher
	datasets Datasets
	turn     func(context.Context) (done func(), err error) // to make a listing
	events   *events
	slots    *web.Slots

	wait, poll, beat, write time.Duration
}

type route struct {
	pattern string
	methods web.Methods
}

// routes lists every resource; the OpenAPI document describes exactly these.
func (h *handler) routes(writes *web.Limiter) []route {
	get := func(f web.Endpoint) web.Methods { return web.Methods{http.MethodGet: f} }
	return []route{
		{"/v1/records/{code...}", get(jsonEndpoint(h.record))},
		{"/v1/children/{code...}", get(jsonEndpoint(h.children))},
		{"/v1/history/{code...}", get(jsonEndpoint(h.history))},
		{"/v1/crosswalk/{scheme}/{value}", get(jsonEndpoint(h.crosswalk))},
		{"/v1/search", get(jsonEndpoint(h.search))},
		{"/v1/attestations/{digest}", get(jsonEndpoint(h.attestation))},
		{"/v1/attestations", get(jsonEndpoint(h.attestations))},
		{"/v1/proposals", get(jsonEndpoint(h.proposals))},
		{"/v1/proposals/{number}", get(jsonEndpoint(h.proposal))},
		{"/v1/transactions", web.Methods{http.MethodPost: writes.Limit(h.submit)}},
		{"/v1/transactions/{id}", get(jsonEndpoint(h.transaction))},
		{"/v1/transactions/{id}/body", get(h.transactionBody)},
		{"/v1/blocks", get(jsonEndpoint(h.blocks))},
		{"/v1/blocks/{height}", get(jsonEndpoint(h.block))},
		{"/v1/changes", get(jsonEndpoint(h.changes))},
		{"/v1/events", get(h.stream)},
		{"/v1/bundles/{code...}", get(h.bundle)},
		{"/v1/entries", web.Methods{http.MethodGet: h.entries, http.MethodPost: h.entries}},
		{"/v1/agreements", get(jsonEndpoint(h.agreements))},
		{"/v1/agreements/{id}", get(jsonEndpoint(h.agreement))},
		{"/v1/anchors/{code...}", get(jsonEndpoint(h.anchors))},
		{"/v1/catalogue", get(h.catalogue)},
		{"/v1/datasets", get(jsonEndpoint(h.listDatasets))},
		{"/v1/datasets/{code...}", get(h.dataset)},
		{"/v1/links/{height}", get(h.link)},
		{"/v1/headers/{height}", get(h.signedHeader)},
		{"/v1/trust", get(jsonEndpoint(h.trust))},
		{"/v1/trust/next", get(jsonEndpoint(h.nextTrust))},
		{"/v1/trust/{version}", get(jsonEndpoint(h.trustVersion))},
		{"/v1/zones", get(jsonEndpoint(h.zones))},
		{"/v1/settings", get(jsonEndpoint(h.settings))},
		{"/v1/status", get(jsonEndpoint(h.status))},
		{"/v1/openapi.json", get(openAPI)},
	}
}

//go:embed openapi.json
var openAPIDocument []byte

func openAPI(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r); err != nil {
		return err
	}
	if _, err := web.Negotiate(r, web.JSONType); err != nil {
		return err
	}
	web.WriteBytes(w, r, http.StatusOK, web.JSONType, openAPIDocument)
	return nil
}

// jsonEndpoint returns the endpoint that answers with what f returns. f may set
// headers.
func jsonEndpoint(f func(h http.Header, r *http.Request) (any, error)) web.Endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := web.Negotiate(r, web.JSONType); err != nil {
			return err
		}
		v, err := f(w.Header(), r)
		if err != nil {
			return err
		}
		return web.WriteJSON(w, r, http.StatusOK, v)
	}
}
