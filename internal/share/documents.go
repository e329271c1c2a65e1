// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"cityid"
	"cityid/internal/web"
)

// Bounds of documents.
const (
	maxDocument = 256 << 10 // octets of a DCAT document, a schema or a policy
	classKnown  = 10 * time.Second
)

// dataset is what the gateway provides.
type dataset struct {
	code      cityid.Code
	source    source
	paths     []PathRule
	documents map[string][]byte // "datasets", "schemas", "policies"
	class     atomic.Pointer[knownClass]
}

// knownClass is the class of a dataset as the chain had it.
type knownClass struct {
	class cityid.DatasetClass
	at    time.Time
}

func openDataset(c *DatasetConfig) (*dataset, error) {
	d := &dataset{code: c.Code, paths: c.Paths, documents: map[string][]byte{}}
	for kind, file := range map[string]string{"datasets": c.Document, "schemas": c.Schema, "policies": c.Policy} {
		if file == "" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if len(b) > maxDocument {
			return nil, fmt.Errorf("%s has %d octets: at most %d", file, len(b), maxDocument)
		}
		d.documents[kind] = b
	}
	var err error
	d.source, err = openSource(&c.Backend)
	return d, err
}

// fill asks the service behind the dataset and fills a spool with the answer. The
// error is a refusal, or matches errBackend or errTooLarge.
func (d *dataset) fill(ctx context.Context, into *Spool, segments []string, query string, patience time.Duration) (status int, contentType string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a, err := d.source.fetch(ctx, segments, query)
	if err != nil || a.body == nil {
		if err == nil {
			status, contentType = a.status, a.contentType
		}
		return status, contentType, err
	}
	defer a.body.Close()
	err = into.steadily(a.body, cmp.Or(a.patience, patience), cancel)
	if err != nil && !errors.Is(err, errTooLarge) {
		err = fmt.Errorf("%w: %w", errBackend, cmp.Or(context.Cause(ctx), err))
	}
	return a.status, a.contentType, err
}

// digests returns the digests of the documents as a record has them.
func (d *dataset) digests() cityid.Dataset {
	of := func(kind string) cityid.Digest {
		if b := d.documents[kind]; b != nil {
			return sha256.Sum256(b)
		}
		return cityid.Digest{}
	}
	return cityid.Dataset{Document: of("datasets"), Schema: of("schemas"), Policy: of("policies")}
}

// classOf returns the class of a dataset by the chain, known for ten seconds.
func (g *Gateway) classOf(ctx context.Context, d *dataset) (cityid.DatasetClass, error) {
	if k := d.class.Load(); k != nil && g.now().Sub(k.at) < classKnown {
		return k.class, nil
	}
	key := cityid.RecordKey(d.code)
	r, _, err := g.view.Entries(ctx, [][]byte{key}, time.Hour)
	if err != nil {
		return 0, web.Refuse(http.StatusServiceUnavailable, cityid.ErrUnavailable, "what the registry says about %s is not known now", d.code).RetryAfter(5 * time.Second)
	}
	k := &knownClass{class: cityid.DatasetClosed, at: g.now()}
	if len(r.Records) == 1 && r.Records[0].Status == cityid.StatusActive && r.Records[0].Content.Dataset != nil {
		k.class = r.Records[0].Content.Dataset.Class
	}
	d.class.Store(k)
	return k.class, nil
}

// documentTypes are the media types of documents.
var documentTypes = map[string]string{
	"datasets": "application/ld+json", "schemas": "application/schema+json", "policies": "application/ld+json",
}

// serveDocument answers with the exact bytes of a document. Readers compare
// their digest with the one in the dataset's record.
func (g *Gateway) serveDocument(w http.ResponseWriter, r *http.Request) error {
	kind, segment, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	code, err := ParseSegment(segment)
	if err != nil {
		return err
	}
	d := g.datasets[code]
	if d == nil || d.documents[kind] == nil {
		return web.NotFound(w, r)
	}
	web.WriteBytes(w, r, http.StatusOK, documentTypes[kind], d.documents[kind])
	return nil
}
