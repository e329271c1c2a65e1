// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"

	"cityid"
	"cityid/internal/dcat"
)

// Documents has the documents that records of datasets name. Its methods may be
// called from several goroutines at once. What it returns is compared with the
// digest on the chain.
type Documents interface {
	// DatasetDocument returns the bytes of a document of a dataset;
	// [cityid.ErrNotFound] if they are not at hand.
	DatasetDocument(ctx context.Context, dataset cityid.Code, part cityid.DatasetPart) ([]byte, error)
}

// usagePolicy returns the usage policy of a dataset with a digest; nil if it is not
// at hand, or there is none.
func (pg *page) usagePolicy(dataset cityid.Code, digest cityid.Digest) *dcat.Policy {
	if digest.IsZero() || pg.Documents == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(pg.ctx, patience)
	defer cancel()
	b, err := pg.Documents.DatasetDocument(ctx, dataset, cityid.PartPolicy)
	if err != nil || dcat.Digest(b) != digest {
		return nil
	}
	p, err := dcat.ParsePublishedPolicy(b)
	if err != nil {
		return nil
	}
	return p
}
