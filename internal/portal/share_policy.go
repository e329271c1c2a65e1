// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"

	"cityid"
	"cityid/internal/dcat"
)

// usagePolicy returns the usage policy of a dataset with a digest; nil if the
// catalogue does not have it, or there is none.
func (pg *page) usagePolicy(dataset cityid.Code, digest cityid.Digest) *dcat.Policy {
	if digest.IsZero() || pg.Catalogue == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(pg.ctx, patience)
	defer cancel()
	b, err := pg.Catalogue.DatasetDocument(ctx, dataset, cityid.PartPolicy)
	if err != nil || dcat.Digest(b) != digest {
		return nil
	}
	p, err := dcat.ParsePublishedPolicy(b)
	if err != nil {
		return nil
	}
	return p
}
