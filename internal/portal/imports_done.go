// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"fmt"
	"net/http"

	"cityid"
	"cityid/internal/office"
)

// importDoneData is what the last page shows.
type importDoneData struct {
	*importView
	Failed []problemView
	More   int
	Labels string
}

// importDone shows what became of the rows.
func (p *portal) importDone(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importJob(r)
	if err != nil {
		return err
	}
	if j.Phase != office.ImportDone || j.State.Result == nil {
		http.Redirect(w, r, pg.importURL(j.ID, "run"), http.StatusSeeOther)
		return nil
	}
	v, err := pg.importView(j, "done")
	if err != nil {
		return err
	}
	d := &importDoneData{importView: v, Labels: pg.URL("/labels?import=", j.ID)}
	for i := range j.State.Result.Failed {
		if i == importRowsShown {
			d.More = len(j.State.Result.Failed) - i
			break
		}
		d.Failed = append(d.Failed, problemView{Problem: j.State.Result.Failed[i], Text: pg.problem(&j.State.Result.Failed[i])})
	}
	return pg.render(w, r, http.StatusOK, "imports_done", d)
}

// importedCodes lists the codes that an import has allocated or found as it
// would have, in order; for the page that makes labels.
func (pg *page) importedCodes(id string) ([]cityid.Code, error) {
	j, err := pg.importHead(id)
	if err != nil {
		return nil, err
	}
	if err := pg.importWork(j); err != nil {
		return nil, err
	}
	if j.plan == nil || j.State.Result == nil {
		return nil, cityid.Errorf(cityid.ErrConflict, "the import has not allocated anything yet")
	}
	refused := map[string]bool{}
	for _, f := range j.State.Result.Failed {
		refused[f.Value] = true
	}
	var out []cityid.Code
	for _, b := range j.plan.Batches {
		for _, item := range b.Items {
			if item.Line == 0 || refused[item.Allocation.Code.String()] {
				continue
			}
			out = append(out, item.Allocation.Code)
		}
	}
	if !j.State.Result.Complete || len(j.State.Result.Failed) == importsKept {
		kept := out[:0]
		for _, c := range out {
			there, err := pg.allocated(c)
			if err != nil {
				return nil, fmt.Errorf("look for %s: %w", c, err)
			}
			if there {
				kept = append(kept, c)
			}
		}
		out = kept
	}
	return out, nil
}
