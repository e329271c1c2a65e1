// SPDX-License-Identifier: Apache-2.0

// Package catalogue keeps the catalogue of shared data across all cities: it
// fetches the descriptions of datasets from the cities' gateways, believes none
// that the registry does not vouch for, and finds them again.
//
// # Harvest
//
// The registry says which datasets there are, and for each the digests of its
// documents: description, schema and usage policy. [Catalogue.Run] reads all
// records of datasets once and then follows the registry block by block. The
// documents come from the gateway that the nearest record at or above the
// dataset's names (relation "gateway"; above a retired code stands its heir):
//
//	GET GATEWAY/datasets/CODE, /schemas/CODE, /policies/CODE   with slashes of the code as "~"
//
// A document is taken if its SHA-256 is the digest in the record, and not
// otherwise, whatever the gateway says. A description must also be in its one
// published form (package dcat, which loads nothing from anywhere), name this
// code, and agree with the record about class, schema and policy. What goes
// wrong is kept as the state of the dataset and shown; what was held before is
// shown meanwhile, as of an earlier revision.
//
// Only what changed is fetched. Every six hours it is asked again whether the
// gateway still serves what it published, with If-None-Match where it gave an
// entity tag.
//
// # Bounds
//
// No gateway delays another. Each is visited by itself, at most four documents at
// a time and a minute in a row, by one of 32 visitors; one that failed or was slow
// comes to eight other visitors, who ask for one document at a time, and not
// before a pause of five seconds, or a quarter of the time it has been failing, up to
// an hour. A document has 256 KiB
// at most and twenty seconds to come. All documents of one gateway take 512 MiB at
// most, and all together 8 GiB; a dataset beyond that says so. Gateways are
// asked at public addresses over HTTPS alone, unless [Options] allows others, and
// redirects are not followed.
//
// # Finding
//
// A text is looked for in titles, then in keywords and names, then in
// descriptions: Latin words by their beginning, Chinese anywhere. A text that is
// a code, or an identifier of another system in a crosswalk scheme (as it is, or
// as SCHEME:VALUE), finds the datasets of what it stands for, and first: those at
// or below the code and those of its heirs and successors, so that the former
// number of a department that was merged finds what its successor publishes; those
// of the industry; those whose description names it as a theme. A publisher whom a
// description names counts only within the city or organisation that the
// dataset's code belongs to: nobody appears among another city's data by saying so.
//
// Facets count, for each value, the datasets that would be left if it were chosen
// besides what the other facets have chosen.
//
// # Storage
//
// One SQLite file, which is derived from the registry and the gateways and never
// proves anything: one that is foreign, of another version or broken is thrown
// away and filled anew. Documents are kept by digest, compressed. What facets and
// orders need stands in memory as well, some 200 octets a dataset.
package catalogue

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cityid"
	"cityid/internal/web"
)

// RelGateway is the relation by which a record links to the gateway of whoever
// holds it.
const RelGateway = "gateway"

// Source is the registry: a node in the same process, or a client of one. Its
// errors are temporary, except [cityid.ErrNotFound].
type Source interface {
	Status(ctx context.Context) (*cityid.NodeStatus, error)
	Settings(ctx context.Context) (*cityid.Settings, error)
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
	Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error)
	Lookup(ctx context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error)
	// Await returns the committed height once it exceeds after.
	Await(ctx context.Context, after uint64) (uint64, error)
	// Changes lists the codes whose records changed after a height.
	Changes(ctx context.Context, after uint64) (*cityid.Changes, error)
}

// Options configures [Open]. What is zero has the default that is named.
type Options struct {
	Base        string         // address under which the catalogue is served, such as https://id.example; required
	Private     bool           // gateways may have loopback and private addresses, and speak http
	Authorities *x509.CertPool // certificate authorities of gateways; nil: the system's
	Log         *slog.Logger   // nil: silent
	Now         func() time.Time

	MaxGateway int64         // octets of all documents of one gateway; 512 MiB
	MaxTotal   int64         // octets of all documents; 8 GiB
	Visitors   int           // gateways visited at a time; 32
	Suspects   int           // of those that failed or were slow; 8
	Timeout    time.Duration // for one document; 20 s
	Visit      time.Duration // for one gateway in a row; 1 min
	Recheck    time.Duration // until a gateway is asked again; 6 h
	Pause      time.Duration // before a gateway that failed is asked again; 5 s at first, and 720 times that at most
	Retry      time.Duration // the same of one dataset's documents; 30 s
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	setDefault(&o.MaxGateway, 512<<20)
	setDefault(&o.MaxTotal, 8<<30)
	setDefault(&o.Visitors, 32)
	setDefault(&o.Suspects, 8)
	setDefault(&o.Timeout, 20*time.Second)
	setDefault(&o.Visit, time.Minute)
	setDefault(&o.Recheck, 6*time.Hour)
	setDefault(&o.Pause, 5*time.Second)
	setDefault(&o.Retry, 30*time.Second)
	return o
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Catalogue is the catalogue of one registry. All methods may be called from
// several goroutines at once.
type Catalogue struct {
	path   string
	o      Options
	host   string // of Base
	source Source
	client *http.Client
	texts  *schemes

	running sync.Mutex // held by Run
	writing sync.Mutex // held while a transaction is written and memory follows
	file    sync.RWMutex
	store   *store // under file; nil: closed

	table *table
	plan  *plan
}

// ErrClosed is what a closed catalogue answers, with [cityid.ErrUnavailable] in
// its chain.
var ErrClosed = cityid.Errorf(cityid.ErrUnavailable, "the catalogue is closed")

// Open opens the catalogue in a file, which only one process may do at a time. It
// answers from what is there; [Catalogue.Run] fills it. The error says what is
// wrong with o, or with the folder.
func Open(path string, source Source, o Options) (*Catalogue, error) {
	o = o.withDefaults()
	u, err := url.Parse(o.Base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("catalogue: address %.100q: want scheme and host, such as https://id.example", o.Base)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("catalogue: %s is not a folder", filepath.Dir(path))
	}
	c := &Catalogue{path: path, o: o, host: u.Host, source: source, client: web.NewOutward(o.Private, o.Authorities), texts: &schemes{source: source, now: o.Now}}
	if err := c.open(); err != nil {
		o.Log.Info("catalogue is made anew", "file", path, "reason", err.Error())
		if err := c.replace(); err != nil {
			return nil, fmt.Errorf("catalogue %s: %w", path, err)
		}
	}
	return c, nil
}

// open opens the file and reads what memory holds of it.
func (c *Catalogue) open() error {
	s, err := openStore(c.path)
	if err != nil {
		return err
	}
	t, p := newTable(), newPlan(&c.o)
	if err := s.load(func(r *row) { t.put(r, p.put(r)) }, p.restore); err != nil {
		return errors.Join(err, s.Close())
	}
	c.store, c.table, c.plan = s, t, p
	return nil
}

// replace throws the file away and opens an empty one. The caller holds file
// exclusively, or nobody else knows c yet.
func (c *Catalogue) replace() error {
	if c.store != nil {
		if err := c.store.Close(); err != nil {
			c.o.Log.Warn("closing the old catalogue", "error", err)
		}
		c.store = nil
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(c.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return c.open()
}

// Close ends the catalogue. Questions under way finish first; Run must have
// returned.
func (c *Catalogue) Close() error {
	c.file.Lock()
	defer c.file.Unlock()
	if c.store == nil {
		return nil
	}
	s := c.store
	c.store = nil
	c.client.CloseIdleConnections()
	return s.Close()
}

// use calls f with the open file, which stays while f runs.
func (c *Catalogue) use(f func(s *store, t *table, p *plan) error) error {
	c.file.RLock()
	defer c.file.RUnlock()
	if c.store == nil {
		return ErrClosed
	}
	return f(c.store, c.table, c.plan)
}

// explain turns an error of the file into one for the asker.
func (c *Catalogue) explain(ctx context.Context, err error) error {
	var refusal cityid.ErrorCode
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.o.Log.Error("the catalogue can not answer", "error", err)
	return cityid.Errorf(cityid.ErrUnavailable, "the catalogue can not answer now: ask again")
}

// Run reads the registry and fetches documents until ctx ends, and returns ctx's
// error or one of the disk. Only one may run at a time.
func (c *Catalogue) Run(ctx context.Context) error {
	if !c.running.TryLock() {
		return errors.New("catalogue: it is being filled already")
	}
	defer c.running.Unlock()
	for {
		err := c.run(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.o.Log.Warn("catalogue is made anew", "reason", err.Error())
		c.file.Lock()
		err = c.replace()
		c.file.Unlock()
		if err != nil {
			return fmt.Errorf("catalogue %s: %w", c.path, err)
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// run works until ctx ends or the file has to be made anew.
func (c *Catalogue) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	work.Go(func() { cancel(c.follow(ctx)) })
	work.Go(func() { cancel(c.harvest(ctx)) })
	work.Wait()
	return context.Cause(ctx)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
