// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cityid"
)

const (
	maxText      = 200
	defaultLimit = 20
	maxLimit     = 100
	maxLooked    = 20_000 // rows looked at for one page
)

// condition is a query, understood.
type condition struct {
	q       cityid.SearchQuery
	kinds   []cityid.Kind           // as hits come; nil: any
	filter  string                  // expression for what all tiers ask: status, ancestor
	typed   string                  // the text as a code, in canonical form, perhaps unfinished; "": it is none
	check   string                  // check characters typed with it, if any: two, or what was typed in their place
	code    cityid.Code             // the text as a code, if it is whole
	folded  string                  // the text as a name
	hash    string                  // token of the whole name
	alias   string                  // the text as a crosswalk value
	words   []Term                  // the text as words
	inexact bool                    // a row that has the tokens must be looked at again
	given   bool                    // there is a text
	places  map[[2]cityid.Code]bool // whether the first is above the second
}

// doc is a row.
type doc struct {
	id       int64
	code     cityid.Code
	parent   string
	status   cityid.Status
	location *cityid.Location
	names    cityid.Names
	aliases  []cityid.Alias
}

const columns = "d.id, d.code, d.parent, d.status, d.lat, d.lon, d.names, d.aliases"

func scanDoc(rows *sql.Rows) (*doc, error) {
	var d doc
	var code string
	var lat, lon sql.NullInt32
	var names, aliases sql.RawBytes
	if err := rows.Scan(&d.id, &code, &d.parent, &d.status, &lat, &lon, &names, &aliases); err != nil {
		return nil, err
	}
	var err error
	if d.code, err = cityid.ParseCanonical(code); err != nil {
		return nil, fmt.Errorf("%w: %v", errRebuild, err)
	}
	if lat.Valid && lon.Valid {
		d.location = &cityid.Location{Lat: lat.Int32, Lon: lon.Int32}
	}
	if len(names) > 0 {
		if err := json.Unmarshal(names, &d.names); err != nil {
			return nil, fmt.Errorf("%w: names of %s: %v", errRebuild, code, err)
		}
	}
	if len(aliases) > 0 {
		if err := json.Unmarshal(aliases, &d.aliases); err != nil {
			return nil, fmt.Errorf("%w: crosswalk of %s: %v", errRebuild, code, err)
		}
	}
	return &d, nil
}

// hit returns what is told about a row.
func (c *condition) hit(d *doc) (cityid.SearchHit, error) {
	parent, err := cityid.Code{}, error(nil)
	if d.parent != "" {
		if parent, err = cityid.ParseCanonical(d.parent); err != nil {
			return cityid.SearchHit{}, err
		}
	}
	h := cityid.SearchHit{Code: d.code, Parent: parent, Kind: idKind(d.id), Status: d.status, Names: d.names, Location: d.location}
	if a, _ := c.aliasOf(d); a != nil {
		h.Alias = a
	}
	return h, nil
}

// checkQuery refuses a query that is out of bounds.
func checkQuery(q *cityid.SearchQuery) error {
	switch {
	case len(q.Text) > maxText:
		return cityid.Errorf(cityid.ErrInvalid, "a text of %d octets: want %d at most", len(q.Text), maxText)
	case q.Limit < 0 || q.Limit > maxLimit:
		return cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxLimit)
	case q.Box != nil && !validBox(q.Box):
		return cityid.Errorf(cityid.ErrInvalid, "box: want south up to north within 90 degrees, and west up to east within 180")
	case q.Near != nil && !validBox(&cityid.Box{South: q.Near.Lat, North: q.Near.Lat, West: q.Near.Lon, East: q.Near.Lon}):
		return cityid.Errorf(cityid.ErrInvalid, "near: latitude lies within 90 degrees and longitude within 180")
	}
	for _, k := range q.Kinds {
		if !k.Valid() {
			return cityid.Errorf(cityid.ErrInvalid, "there is no %s", k)
		}
	}
	for _, s := range q.Statuses {
		if !s.Valid() {
			return cityid.Errorf(cityid.ErrInvalid, "there is no %s", s)
		}
	}
	return nil
}

func validBox(b *cityid.Box) bool {
	return b.South >= -90e7 && b.South <= b.North && b.North <= 90e7 && b.West >= -180e7 && b.West <= b.East && b.East <= 180e7
}

// understand prepares a query that has been checked. found is false if nothing
// can match.
func understand(ctx context.Context, tx *sql.Tx, q cityid.SearchQuery) (c *condition, found bool, err error) {
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	c = &condition{q: q, places: map[[2]cityid.Code]bool{}}
	c.readText()
	c.kinds = slices.Clone(q.Kinds)
	slices.SortFunc(c.kinds, func(a, b cityid.Kind) int { return int(rankOf[a] - rankOf[b]) })
	c.kinds = slices.Compact(c.kinds)
	var statuses []string
	for _, s := range q.Statuses {
		statuses = append(statuses, fmt.Sprintf("s%d", s))
	}
	below := ""
	if !q.Below.IsZero() {
		id, _, ok, err := lookup(ctx, tx, q.Below)
		if err != nil || !ok {
			return c, false, err
		}
		below = quote(belowToken(id))
	}
	c.filter = allOf(quoteAll(" OR ", statuses), below)
	return c, true, nil
}

// readText says what the text may be.
func (c *condition) readText() {
	text := strings.TrimSpace(strings.ToValidUTF8(c.q.Text, " "))
	if code := labelled(text); !code.IsZero() {
		text = code.String()
	}
	if c.given = text != ""; !c.given {
		return
	}
	typed, check, checked := strings.Cut(foldCode(text), "*")
	if isCodeText(typed) && strings.Contains(typed, ".") {
		c.typed = typed
		if checked {
			c.check = "*" + check
		}
	}
	if code, err := cityid.Parse(text); err == nil {
		c.code = code
	}
	c.folded = strings.Join(strings.Fields(Fold(text)), " ")
	c.hash = hashToken(c.folded)
	c.alias = aliasToken(text)
	if c.typed != "" {
		return
	}
	for _, t := range Terms(c.folded) {
		if len(c.words) == maxTerms {
			break
		}
		c.words = append(c.words, t)
		c.inexact = c.inexact || !t.exact()
	}
}

// foldCode is the folding of [cityid.Parse]: full-width forms and case. A slash
// at the very end is dropped.
func foldCode(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= '！' && r <= '～' {
			r -= '！' - '!'
		}
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, s)
	return strings.TrimSuffix(s, "/")
}

// isCodeText reports whether s has only characters of codes.
func isCodeText(s string) bool {
	for i := range len(s) {
		b := s[i]
		if !(b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '.' || b == '/' || b == '-') {
			return false
		}
	}
	return true
}

// labelled returns the code in the web address of a label, or zero.
func labelled(text string) cityid.Code {
	scheme, rest, ok := strings.Cut(text, "://")
	if s := strings.ToLower(scheme); !ok || s != "http" && s != "https" {
		return cityid.Code{}
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "#")
	segments := strings.Split(strings.TrimSuffix(strings.ToUpper(rest), "/"), "/")[1:]
	for i := range segments {
		tail := segments[i:]
		if len(tail) > 2 && tail[0] == "X" { // a certificate: its digits follow the code
			tail = tail[1 : len(tail)-1]
		}
		if c, err := cityid.ParseCanonical(strings.Join(tail, "/")); err == nil && strings.Contains(c.String(), ".") {
			return c
		}
	}
	return cityid.Code{}
}

// nameEquals reports whether a name of the row equals the text.
func (c *condition) nameEquals(d *doc) bool {
	return slices.ContainsFunc(d.names, func(n cityid.Name) bool {
		return strings.Join(strings.Fields(Fold(n.Text)), " ") == c.folded
	})
}

// aliasOf returns the crosswalk entry of the row that the text equals, or else
// that begins with it.
func (c *condition) aliasOf(d *doc) (found *cityid.Alias, equal bool) {
	if c.alias == "" {
		return nil, false
	}
	for i := range d.aliases {
		v := aliasToken(d.aliases[i].Value)
		if v == c.alias {
			return &d.aliases[i], true
		}
		if found == nil && len([]rune(c.alias)) >= minAlias && strings.HasPrefix(v, c.alias) {
			found = &d.aliases[i]
		}
	}
	return found, false
}

// wordsFound reports whether every word of the text is in a name of the row.
func (c *condition) wordsFound(d *doc) bool {
	if len(c.words) == 0 {
		return false
	}
	var names []Term
	for _, n := range d.names {
		names = append(names, Terms(Fold(n.Text))...)
	}
	for _, w := range c.words {
		if !w.matches(names) {
			return false
		}
	}
	return true
}

// passes reports whether a row meets all conditions but the text.
func (c *condition) passes(ctx context.Context, tx *sql.Tx, d *doc) (bool, error) {
	if len(c.kinds) > 0 && !slices.Contains(c.kinds, idKind(d.id)) ||
		len(c.q.Statuses) > 0 && !slices.Contains(c.q.Statuses, d.status) ||
		c.q.Box != nil && !inside(c.q.Box, d.location) {
		return false, nil
	}
	if c.q.Below.IsZero() {
		return true, nil
	}
	return c.isBelow(ctx, tx, c.q.Below, d.code)
}

// isBelow reports whether a code is below another, by its form or because a
// place's record names the other as its parent.
func (c *condition) isBelow(ctx context.Context, tx *sql.Tx, top, code cityid.Code) (bool, error) {
	if top.Covers(code) {
		return true, nil
	}
	return c.descends(ctx, tx, top, placeOf(code))
}

// placeOf returns the first three nodes of a code, or zero.
func placeOf(code cityid.Code) cityid.Code {
	root := code.Root()
	for root.Depth() > 3 {
		root = root.Parent()
	}
	if root.Depth() < 3 {
		return cityid.Code{}
	}
	return root
}

// descends reports whether a place is another or below it, which its record says.
func (c *condition) descends(ctx context.Context, tx *sql.Tx, top, place cityid.Code) (bool, error) {
	if !top.PlaceCovers(place) {
		return false, nil
	}
	key := [2]cityid.Code{top, place}
	if known, ok := c.places[key]; ok {
		return known, nil
	}
	_, parent, ok, err := lookup(ctx, tx, place)
	if err != nil || !ok {
		return false, err
	}
	above, err := cityid.ParseCanonical(parent)
	if err != nil {
		return false, err
	}
	known := above == top
	if !known {
		if known, err = c.descends(ctx, tx, top, above); err != nil {
			return false, err
		}
	}
	c.places[key] = known
	return known, nil
}

// byCode returns the row of a code, or nil.
func byCode(ctx context.Context, tx *sql.Tx, code cityid.Code) (*doc, error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+columns+" FROM groups g CROSS JOIN docs d ON d.grp = g.grp AND d.code = ?1 WHERE g.grp & 31 = ?2", code.String(), code.Depth())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	return scanDoc(rows)
}
