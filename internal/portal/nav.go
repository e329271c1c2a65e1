// SPDX-License-Identifier: Apache-2.0

package portal

import "strings"

// navItem is one entry of the navigation.
type navItem struct {
	URL, Text string
	Current   bool
}

// Nav returns the main navigation.
func (pg *page) Nav() []navItem {
	var out []navItem
	for _, e := range []struct {
		path, key string
		screens   []string // templates that belong to it
	}{
		{"/search", "page.nav.search", []string{"search", "map", "code"}},
		{"/data", "page.nav.data", []string{"data"}},
		{"/verify", "page.nav.verify", []string{"verify", "scan"}},
		{"/apply", "page.nav.apply", []string{"apply"}},
		{"/review", "page.nav.review", []string{"review", "officers"}},
		{"/work", "page.nav.work", []string{"work", "labels", "field", "imports", "share"}},
		{"/chain", "page.nav.chain", []string{"chain"}},
	} {
		if e.path == "/data" && pg.Catalogue == nil {
			continue
		}
		item := navItem{URL: pg.URL(e.path), Text: pg.T(e.key)}
		for _, s := range e.screens {
			item.Current = item.Current || pg.Screen == s || strings.HasPrefix(pg.Screen, s+"_")
		}
		out = append(out, item)
	}
	return out
}

// Account returns the entry for signing in, or for who has.
func (pg *page) Account() *navItem {
	switch {
	case pg.Office == nil:
		return nil
	case pg.Key() == "":
		return &navItem{URL: pg.URL("/sign-in"), Text: pg.T("page.signin")}
	}
	return &navItem{URL: pg.URL("/account"), Text: pg.T("page.account")}
}

// FieldError returns what is wrong with a field, or "".
func (pg *page) FieldError(field string) string {
	for _, e := range pg.Errors {
		if e.Field == field {
			return e.Text
		}
	}
	return ""
}

// refuseField notes what is wrong with a field of a form.
func (pg *page) refuseField(field, text string) {
	pg.Errors = append(pg.Errors, fieldError{field, text})
}
