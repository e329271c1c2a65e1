// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/internal/office"
	"cityid/label"
)

// Labels are chosen here, laid out, and read back before they are handed out.
// Whoever chooses stands in the policy of the codes' holder; one sheet has codes
// of one holder. A sheet that was handed out is kept as a print run.

// Roles that print labels, and that see what was printed and installed.
const (
	printRoles = cityid.RoleControl | cityid.RoleAssert
	fieldRoles = printRoles | cityid.RoleField
)

const (
	labelsShown  = 50      // rows of a page
	labelsWalked = 20_000  // records that one page looks through for labels not printed
	maxPasted    = 1 << 20 // octets of a pasted list
	problemsSaid = 10      // problems of a list that are named
)

// labelScreens are the pages for printing labels.
func (p *portal) labelScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /labels":                   p.signedIn(p.labelsPage),
		"POST /labels":                  p.signedIn(p.labelsChoose),
		"GET /labels/make/{id}":         p.signedIn(p.labelsMakePage),
		"POST /labels/make/{id}":        p.signedIn(p.labelsMake),
		"GET /labels/make/{id}/preview": p.signedIn(p.labelsPreview),
		"GET /labels/runs":              p.signedIn(p.labelsRunsPage),
		"GET /labels/runs/{run}":        p.signedIn(p.labelsRunPage),
		"GET /labels/runs/{run}/sheet":  p.signedIn(p.labelsSheet),
		"GET /labels/runs/{run}/codes":  p.signedIn(p.labelsCodes),
		"POST /labels/runs/{run}/again": p.signedIn(p.labelsAgain),
		"GET /labels/certificate":       p.signedIn(p.certificatePage),
		"POST /labels/certificate":      p.signedIn(p.certificateTake),
		"POST /labels/certificate/sign": p.signedIn(p.certificateSigned),
	}
}

// stands reports whether the visitor's key has a role in the policy that governs
// a code now.
func (pg *page) stands(code cityid.Code, roles cityid.Roles) (bool, error) {
	a, err := pg.Source.Record(pg.ctx, code)
	if errors.Is(err, cityid.ErrNotFound) {
		return false, nil
	}
	return err == nil && pg.controls(a.Holder, roles), err
}

// mustStand refuses whoever does not stand in the policy that governs a code.
func (pg *page) mustStand(code cityid.Code, roles cityid.Roles) error {
	ok, err := pg.stands(code, roles)
	if err == nil && !ok {
		err = cityid.Errorf(cityid.ErrNotPermitted, "your key does not stand in the policy that governs %s: sign in with one that does", code)
	}
	return err
}

// holders lists whom the visitor's key stands for with one of the roles.
func (pg *page) holders(roles cityid.Roles) ([]place, error) {
	var out []place
	for _, h := range pg.Holdings() {
		if h.Roles&roles == 0 || h.Status == cityid.StatusRetired || slices.ContainsFunc(out, func(p place) bool { return p.Code == h.Code }) {
			continue
		}
		at, err := pg.placeAt(h.Code)
		if err != nil {
			return nil, err
		}
		out = append(out, at)
	}
	return out, nil
}

// labelsData is what the page for choosing shows.
type labelsData struct {
	Holders []place
	Below   cityid.Code
	Place   place
	Classes []navItem
	Text    string
	Fresh   bool // only what was never printed
	Rows    []labelRow
	Next    string
	Filters []navItem
	Pasted  string
	Most    int
	Public  bool   // the portal knows where labels are to point
	Import  string // import whose codes are to be printed
	Count   int    // of its codes
	Looked  bool   // the page has looked through as many records as it does at once
}

type labelRow struct {
	childRow
	Run       int64
	Installed string
}

// labelsPage offers what labels can be made of.
func (p *portal) labelsPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	return pg.showLabels(w, r, http.StatusOK, "")
}

func (pg *page) showLabels(w http.ResponseWriter, r *http.Request, status int, pasted string) error {
	data := &labelsData{Text: strings.TrimSpace(r.FormValue("q")), Fresh: r.FormValue("fresh") != "", Pasted: pasted, Most: office.MaxRun, Public: !pg.Public.IsZero()}
	var err error
	if data.Holders, err = pg.holders(printRoles); err != nil {
		return err
	}
	if data.Import = r.FormValue("import"); data.Import != "" {
		codes, err := pg.importedCodes(data.Import)
		if err != nil {
			return err
		}
		data.Count = len(codes)
	}
	if s := r.FormValue("below"); s != "" {
		if data.Below, err = cityid.Parse(s); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
		if err := pg.mustStand(data.Below, printRoles); err != nil {
			return err
		}
		if err := pg.labelList(r, data); err != nil {
			return err
		}
	}
	pg.Title = pg.T("labels.title")
	return pg.render(w, r, status, "labels", data)
}

// labelList fills in what lies below a code.
func (pg *page) labelList(r *http.Request, data *labelsData) error {
	var err error
	if data.Place, err = pg.placeAt(data.Below); err != nil {
		return err
	}
	classes, err := pg.Source.Children(pg.ctx, cityid.ChildrenQuery{Code: data.Below, Kind: cityid.KindClass, Limit: 100})
	if err != nil {
		return err
	}
	for i := range classes.Records {
		x := &classes.Records[i]
		data.Classes = append(data.Classes, navItem{URL: pg.URL("/labels?below=", x.Code.String()), Text: pg.NameOf(x.Content.Names, x.Code)})
	}
	for _, fresh := range []string{"", "1"} {
		data.Filters = append(data.Filters, navItem{URL: address(r, "fresh", fresh, "after", ""), Text: pg.T("labels.filter." + map[string]string{"": "all", "1": "fresh"}[fresh]), Current: data.Fresh == (fresh != "")})
	}
	walk := &labelWalk{pg: pg, below: data.Below, text: data.Text, fresh: data.Fresh, after: r.URL.Query().Get("after")}
	for len(data.Rows) < labelsShown && !walk.done && walk.looked < labelsWalked {
		rows, err := walk.next(labelsShown - len(data.Rows))
		if err != nil {
			return err
		}
		data.Rows = append(data.Rows, rows...)
	}
	if !walk.done {
		data.Next, data.Looked = address(r, "after", walk.after), len(data.Rows) < labelsShown
	}
	codes := make([]cityid.Code, 0, len(data.Rows))
	for _, x := range data.Rows {
		codes = append(codes, x.Code)
	}
	installed, err := pg.Office.LatestInstallations(pg.ctx, codes)
	if err != nil {
		return err
	}
	for i := range data.Rows {
		if e, ok := installed[data.Rows[i].Code]; ok {
			data.Rows[i].Installed = pg.T("field.event." + e.String())
		}
	}
	return nil
}

// labelWalk goes through the objects below a code, by the registry or, where
// there is a text to look for, by the search index.
type labelWalk struct {
	pg     *page
	below  cityid.Code
	text   string
	fresh  bool
	after  string
	looked int
	done   bool
}

// next returns some more, at most limit.
func (l *labelWalk) next(limit int) ([]labelRow, error) {
	rows, err := l.read(limit)
	if err != nil {
		return nil, err
	}
	codes := make([]cityid.Code, 0, len(rows))
	for _, x := range rows {
		codes = append(codes, x.Code)
	}
	printed, err := l.pg.Office.Printed(l.pg.ctx, codes)
	if err != nil {
		return nil, err
	}
	out := rows[:0]
	for _, x := range rows {
		x.Run = printed[x.Code]
		if !l.fresh || x.Run == 0 {
			out = append(out, x)
		}
	}
	return out, nil
}

func (l *labelWalk) read(limit int) (rows []labelRow, err error) {
	add := func(code cityid.Code, kind cityid.Kind, names cityid.Names, s cityid.Status) {
		if s != cityid.StatusRetired {
			at := place{code, l.pg.NameOf(names, code), l.pg.Kind(kind), l.pg.CodeURL(code)}
			rows = append(rows, labelRow{childRow: childRow{place: at, Other: l.pg.OtherName(names), Tag: l.pg.StatusTag(s)}})
		}
	}
	if l.text != "" {
		found, err := l.pg.Index.Search(l.pg.ctx, cityid.SearchQuery{Text: l.text, Kinds: []cityid.Kind{cityid.KindObject}, Below: l.below, After: l.after, Limit: min(limit, 100)})
		if err != nil {
			return nil, err
		}
		for _, h := range found.Hits {
			add(h.Code, h.Kind, h.Names, h.Status)
		}
		l.looked, l.after, l.done = l.looked+len(found.Hits), found.Next, found.Next == ""
		return rows, nil
	}
	q := cityid.ChildrenQuery{Code: l.below, Deep: true, Kind: cityid.KindObject, Limit: min(limit, 1000)}
	if l.after != "" {
		if q.After, err = cityid.Parse(l.after); err != nil {
			return nil, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	got, err := l.pg.Source.Children(l.pg.ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range got.Records {
		x := &got.Records[i]
		add(x.Code, x.Kind, x.Content.Names, x.Status)
	}
	l.looked, l.done = l.looked+len(got.Records), got.Next.IsZero()
	if !l.done {
		l.after = got.Next.String()
	}
	return rows, nil
}

// labelsChoose takes a choice: ticked codes, all that the filter shows, a pasted
// list, or what an import has allocated.
func (p *portal) labelsChoose(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxPasted+64<<10)
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrTooLarge, "the list is longer than %d octets, or not complete", maxPasted)
	}
	var codes []cityid.Code
	var problems []string
	field, pasted := "codes", r.PostForm.Get("paste")
	switch r.PostForm.Get("what") {
	case "list":
		field = "paste"
		codes, problems = pg.parseCodeList(pasted)
	case "all":
		below, err := cityid.Parse(r.PostForm.Get("below"))
		if err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
		if err := pg.mustStand(below, printRoles); err != nil { // before the walk, which takes its time
			return err
		}
		walk := &labelWalk{pg: pg, below: below, text: strings.TrimSpace(r.PostForm.Get("q")), fresh: r.PostForm.Get("fresh") != ""}
		for !walk.done && len(codes) <= office.MaxRun {
			rows, err := walk.next(1000)
			if err != nil {
				return err
			}
			for _, x := range rows {
				codes = append(codes, x.Code)
			}
		}
	case "import":
		field = "import"
		var err error
		if codes, err = pg.importedCodes(r.PostForm.Get("import")); err != nil {
			return err
		}
	default:
		codes, problems = pg.parseCodeList(strings.Join(r.PostForm["code"], "\n"))
	}
	switch {
	case len(problems) > 0:
	case len(codes) == 0:
		problems = append(problems, pg.T("labels.none"))
	case len(codes) > office.MaxRun:
		problems = append(problems, pg.T("labels.toomany", office.MaxRun))
	default:
		return pg.choose(w, r, field, pasted, office.Selection{Codes: codes, Options: office.PrintOptions{Template: "pole", Lang: pg.Lang}})
	}
	for _, text := range problems {
		pg.refuseField(field, text)
	}
	return pg.showLabels(w, r, http.StatusUnprocessableEntity, pasted)
}

// choose checks chosen codes and goes on to laying them out.
func (pg *page) choose(w http.ResponseWriter, r *http.Request, field, pasted string, s office.Selection) error {
	_, holder, problems, err := pg.labelItems(s.Codes, pg.Lang)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		for _, text := range problems {
			pg.refuseField(field, text)
		}
		return pg.showLabels(w, r, http.StatusUnprocessableEntity, pasted)
	}
	s.Holder, s.Creator = holder, pg.Key()
	if _, err := label.TemplateOf(s.Options.Template); err != nil {
		s.Options.Template = label.SheetTemplate
	}
	id, err := pg.Office.NewSelection(pg.ctx, s)
	if err != nil {
		return officeError(err)
	}
	http.Redirect(w, r, pg.URL("/labels/make/", id), http.StatusSeeOther)
	return nil
}

// parseCodeList reads codes, with or without check characters, or texts of
// labels, separated by blanks, commas or semicolons; each counts once.
func (pg *page) parseCodeList(text string) (codes []cityid.Code, problems []string) {
	if len(text) > maxPasted {
		return nil, []string{pg.T("labels.paste.long", grouped(maxPasted))}
	}
	seen := map[cityid.Code]bool{}
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return strings.ContainsRune(" \t\r\n,;，；、\ufeff\"", c) }) {
		payload, err := label.ParsePayload(word)
		if err != nil {
			if len(problems) < problemsSaid {
				problems = append(problems, pg.T("labels.paste.bad", fmt.Sprintf("%.60q", word), err))
			}
			continue
		}
		if !seen[payload.Code] {
			seen[payload.Code] = true
			codes = append(codes, payload.Code)
		}
		if len(codes) > office.MaxRun {
			break
		}
	}
	return codes, problems
}

// labelItems looks codes up: what is printed beside each symbol, and who holds
// them all. What must not be printed is a problem: a code that is not allocated
// or is retired, one the visitor's key does not stand for, or holders that
// differ.
func (pg *page) labelItems(codes []cityid.Code, lang string) (items []label.Item, holder cityid.Code, problems []string, err error) {
	say := func(key string, args ...any) {
		if len(problems) < problemsSaid {
			problems = append(problems, pg.T(key, args...))
		}
	}
	names := map[cityid.Code]string{}
	for _, c := range codes {
		a, err := pg.Source.Record(pg.ctx, c)
		if errors.Is(err, cityid.ErrNotFound) {
			say("labels.refused.absent", c)
			continue
		}
		if err != nil {
			return nil, holder, nil, err
		}
		switch {
		case a.Record.Status == cityid.StatusRetired:
			say("labels.refused.retired", c)
			continue
		case !pg.controls(a.Holder, printRoles):
			say("labels.refused.foreign", c)
			continue
		case holder.IsZero():
			holder = a.Holder
		case holder != a.Holder:
			say("labels.refused.holders", c, holder)
			continue
		}
		if _, ok := names[a.Holder]; !ok {
			if names[a.Holder], err = pg.holderName(a.Holder, lang); err != nil {
				return nil, holder, nil, err
			}
		}
		items = append(items, label.Item{Code: c, Name: a.Record.Content.Names.Get(lang), Holder: names[a.Holder]})
	}
	return items, holder, problems, nil
}

// holderName names a holder on paper: by its own name, or that of the nearest
// above it that has one, or else by its code.
func (pg *page) holderName(code cityid.Code, lang string) (string, error) {
	for c := code; !c.IsZero(); {
		a, err := pg.Source.Record(pg.ctx, c)
		if err != nil {
			return "", err
		}
		if n := a.Record.Content.Names.Get(lang); n != "" && a.Record.Code.Class() == "" {
			return n, nil
		}
		c = a.Record.Parent
	}
	return code.String(), nil
}

// long gives an answer that takes its time more of it than pages have.
func long(w http.ResponseWriter, d time.Duration) {
	// Where the connection can not be told, the usual time has to do.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
}
