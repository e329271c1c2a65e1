// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"

	"cityid/internal/bulk"
)

// importSample hands out a table to try an import with, in a demonstration.
func (p *portal) importSample(w http.ResponseWriter, r *http.Request, pg *page) error {
	if !p.Demo {
		return errNoPage
	}
	b, err := bulk.OldTable()
	if err != nil {
		return err
	}
	attach(w, pg.T("imports.sample.file"))
	w.Header().Set("Content-Type", "text/csv; charset=gb18030")
	w.Header().Set("Cache-Control", "no-cache")
	_, err = w.Write(b)
	return ignoreWrite(err)
}
