// SPDX-License-Identifier: Apache-2.0

package index

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cityid"
)

// The number of a row is its rank:
//
//	rank of its kind (4 bits) | depth of its code (5) | counter (53)
const (
	counterBits = 53
	depthBits   = 5
)

// rankOf puts the kinds in the order in which hits come.
var rankOf = [...]int64{
	cityid.KindAuthority: 0, cityid.KindProvince: 1, cityid.KindCity: 2, cityid.KindCounty: 3, cityid.KindIndustry: 4,
	cityid.KindOrganisation: 5, cityid.KindDepartment: 6, cityid.KindSource: 7, cityid.KindDataset: 8, cityid.KindClass: 9, cityid.KindObject: 10,
}

// kindOf is the inverse of rankOf.
var kindOf = func() (kinds [16]cityid.Kind) {
	for k := cityid.KindAuthority; k <= cityid.KindSource; k++ {
		kinds[rankOf[k]] = k
	}
	return kinds
}()

func groupOf(k cityid.Kind, depth int) int64 { return rankOf[k]<<depthBits | int64(depth) }

func idKind(id int64) cityid.Kind { return kindOf[id>>(counterBits+depthBits)&15] }

// errRebuild says that the index can not be brought up to date, only made anew.
var errRebuild = errors.New("the index does not belong to this state")

// errOrphan says that the parent of a record is not in the index.
var errOrphan = errors.New("a parent and not in it")

// binLevels are the grids in which located records are counted.
var binLevels = [...]uint{28, 26, 24, 22, 20, 18}

// ancestor is a record above others.
type ancestor struct {
	id     int64
	places bool // its located descendants are counted on the map
}

// entry is a record ready to be written.
type entry struct {
	r     *cityid.Record
	id    int64
	fresh bool       // not in the index before
	above []ancestor // its ancestors
	names string     // JSON
	alias string     // JSON
	text  string     // tokens that depend on the record alone
}

// prepare does the part of the work that needs no database.
func prepare(r *cityid.Record, s *tokenSet) (*entry, error) {
	if !r.Kind.Valid() || int(r.Kind) >= len(rankOf) || r.Code.Depth() >= 1<<depthBits {
		return nil, fmt.Errorf("%s: kind %s at depth %d can not be indexed", r.Code, r.Kind, r.Code.Depth())
	}
	e := &entry{r: r}
	s.reset()
	for _, n := range r.Content.Names {
		s.name(n.Text)
	}
	for _, a := range r.Aliases {
		s.alias(a.Value)
	}
	s.add('s', strconv.Itoa(int(r.Status)))
	if r.Content.Location != nil {
		s.cells(r.Content.Location)
	}
	if len(r.Content.Names) > 0 {
		b, err := json.Marshal(r.Content.Names)
		if err != nil {
			return nil, err
		}
		e.names = string(b)
	}
	if len(r.Aliases) > 0 {
		b, err := json.Marshal(r.Aliases)
		if err != nil {
			return nil, err
		}
		e.alias = string(b)
	}
	e.text = s.b.String()
	return e, nil
}

type binKey struct {
	below      int64
	level      uint
	y, x, kind int32
}

type countKey struct {
	below int64
	kind  cityid.Kind
}

// A batch writes records in one transaction.
type batch struct {
	tx     *sql.Tx
	ctx    context.Context
	empty  bool // the index held no record when the build began: nothing is looked up
	scan   bool // records come from a scan, which may meet one made after it passed by the parent
	next   map[int64]int64
	lines  map[cityid.Code][]ancestor // ancestors of a code's children: the code and those above it
	counts map[countKey]int64
	bins   map[binKey]int64
}

// begin starts a batch. lines is kept from batch to batch.
func (x *Index) begin(ctx context.Context, empty, scan bool, lines map[cityid.Code][]ancestor) (*batch, error) {
	tx, err := x.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	b := &batch{tx: tx, ctx: ctx, empty: empty, scan: scan, next: map[int64]int64{}, lines: lines, counts: map[countKey]int64{}, bins: map[binKey]int64{}}
	rows, err := tx.QueryContext(ctx, "SELECT grp, next FROM groups")
	if err != nil {
		tx.Rollback()
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var grp, next int64
		if err := rows.Scan(&grp, &next); err != nil {
			tx.Rollback()
			return nil, err
		}
		b.next[grp] = next
	}
	if err := rows.Err(); err != nil {
		tx.Rollback()
		return nil, err
	}
	return b, nil
}

// lookup returns the row of a code, or false.
func lookup(ctx context.Context, tx *sql.Tx, code cityid.Code) (id int64, parent string, ok bool, err error) {
	err = tx.QueryRowContext(ctx, "SELECT d.id, d.parent FROM groups g CROSS JOIN docs d ON d.grp = g.grp AND d.code = ?1 WHERE g.grp & 31 = ?2", code.String(), code.Depth()).Scan(&id, &parent)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "", false, nil
	}
	return id, parent, err == nil, err
}

// lineage returns the ancestors of the children of a code.
func (b *batch) lineage(code cityid.Code) ([]ancestor, error) {
	if code.IsZero() {
		return nil, nil
	}
	if l, ok := b.lines[code]; ok {
		return l, nil
	}
	id, parent, ok, err := lookup(b.ctx, b.tx, code)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s is %w", errRebuild, code, errOrphan)
	}
	above, err := cityid.ParseCanonical(parent)
	if err != nil && parent != "" {
		return nil, fmt.Errorf("%w: %v", errRebuild, err)
	}
	line, err := b.lineage(above)
	if err != nil {
		return nil, err
	}
	return b.remember(code, id, line), nil
}

// maxLines bounds the memory of known lines of ancestors.
const maxLines = 50_000

func (b *batch) remember(code cityid.Code, id int64, above []ancestor) []ancestor {
	if len(b.lines) >= maxLines {
		clear(b.lines)
	}
	line := append(slices.Clip(above), ancestor{id, code.Class() == ""})
	b.lines[code] = line
	return line
}

// put writes entries, which come parents first, each code once. One that a scan
// meets without its parent is left out: it is younger than the height the scan
// is good for, and comes again among what changed since.
func (b *batch) put(entries []*entry) error {
	kept := entries[:0]
	docs, err := b.tx.PrepareContext(b.ctx, "INSERT OR REPLACE INTO docs(id, grp, code, parent, status, lat, lon, names, aliases) VALUES(?,?,?,?,?,?,?,?,?)")
	if err != nil {
		return err
	}
	defer docs.Close()
	for _, e := range entries {
		if err := b.place(e); b.scan && errors.Is(err, errOrphan) {
			continue
		} else if err != nil {
			return err
		}
		kept = append(kept, e)
		grp := e.id >> counterBits
		var lat, lon any
		if l := e.r.Content.Location; l != nil {
			lat, lon = l.Lat, l.Lon
		}
		if !e.fresh {
			if err := b.forget(e); err != nil {
				return err
			}
		}
		if _, err := docs.ExecContext(b.ctx, e.id, grp, e.r.Code.String(), e.r.Parent.String(), int64(e.r.Status), lat, lon, text(e.names), text(e.alias)); err != nil {
			return err
		}
		if e.fresh {
			b.counts[countKey{0, e.r.Kind}]++
			for _, a := range e.above {
				b.counts[countKey{a.id, e.r.Kind}]++
			}
		}
		b.count(e.r.Kind, e.r.Content.Location, e.above, 1)
		if err := b.putKeys(e); err != nil {
			return err
		}
	}
	return b.putTokens(kept)
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// place finds the row of an entry, or gives it a new one, and its ancestors.
func (b *batch) place(e *entry) (err error) {
	if e.above, err = b.lineage(e.r.Parent); err != nil {
		return err
	}
	grp := groupOf(e.r.Kind, e.r.Code.Depth())
	e.fresh = true
	if !b.empty {
		id, _, ok, err := lookup(b.ctx, b.tx, e.r.Code)
		if err != nil {
			return err
		}
		if ok && id>>counterBits != grp {
			return fmt.Errorf("%w: %s has become a %s", errRebuild, e.r.Code, e.r.Kind)
		}
		e.id, e.fresh = id, !ok
	}
	if e.fresh {
		b.next[grp]++
		e.id = grp<<counterBits | b.next[grp]
	}
	if e.r.Kind != cityid.KindObject {
		b.remember(e.r.Code, e.id, e.above)
	}
	return nil
}

// forget takes out what put adds to.
func (b *batch) forget(e *entry) error {
	var lat, lon sql.NullInt32
	if err := b.tx.QueryRowContext(b.ctx, "SELECT lat, lon FROM docs WHERE id = ?", e.id).Scan(&lat, &lon); err != nil {
		return err
	}
	if lat.Valid && lon.Valid {
		b.count(e.r.Kind, &cityid.Location{Lat: lat.Int32, Lon: lon.Int32}, e.above, -1)
	}
	for _, stmt := range []string{"DELETE FROM geo WHERE id = ?", "DELETE FROM keys WHERE id = ?"} {
		if _, err := b.tx.ExecContext(b.ctx, stmt, e.id); err != nil {
			return err
		}
	}
	return nil
}

// count counts a located record on the map.
func (b *batch) count(k cityid.Kind, l *cityid.Location, above []ancestor, n int64) {
	if l == nil {
		return
	}
	for _, level := range binLevels {
		key := binKey{0, level, l.Lat >> level, l.Lon >> level, int32(k)}
		b.bins[key] += n
		for _, a := range above {
			if a.places {
				key.below = a.id
				b.bins[key] += n
			}
		}
	}
}

func (b *batch) putKeys(e *entry) error {
	if e.r.Policy == nil {
		return nil
	}
	for i, m := range e.r.Policy.Members {
		for _, k := range m.Keys {
			until := k.Until
			if k.Compromised != 0 && (until == 0 || k.Compromised < until) {
				until = k.Compromised
			}
			if _, err := b.tx.ExecContext(b.ctx, "INSERT INTO keys(key, id, member, roles, since, until) VALUES(?,?,?,?,?,?)",
				[]byte(k.Public), e.id, i, int64(k.Roles), int64(k.From), int64(until)); err != nil {
				return err
			}
		}
	}
	return nil
}

// putTokens writes the full-text rows and the R*Tree. FTS5 writes what it has
// collected to the disk whenever a row's number is not above the last one's, so
// they go in order.
func (b *batch) putTokens(entries []*entry) error {
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	for _, e := range entries {
		if e.fresh {
			continue
		}
		if _, err := b.tx.ExecContext(b.ctx, "DELETE FROM fts WHERE rowid = ?", e.id); err != nil {
			return err
		}
	}
	fts, err := b.tx.PrepareContext(b.ctx, "INSERT INTO fts(rowid, t) VALUES(?,?)")
	if err != nil {
		return err
	}
	defer fts.Close()
	geo, err := b.tx.PrepareContext(b.ctx, "INSERT INTO geo(id, south, north, west, east) VALUES(?,?,?,?,?)")
	if err != nil {
		return err
	}
	defer geo.Close()
	var line []byte
	for _, e := range entries {
		line = append(line[:0], e.text...)
		for _, a := range e.above {
			line = append(append(line, belowToken(a.id)...), ' ')
		}
		if _, err := fts.ExecContext(b.ctx, e.id, string(line)); err != nil {
			return err
		}
		if l := e.r.Content.Location; l != nil {
			if _, err := geo.ExecContext(b.ctx, e.id, l.Lat, l.Lat, l.Lon, l.Lon); err != nil {
				return err
			}
		}
	}
	return nil
}

// belowToken is the token of all that is below a row.
func belowToken(id int64) string { return "b" + strconv.FormatInt(id, 36) }

// commit writes the counters and what the file says about itself, and ends the
// batch.
func (b *batch) commit(m meta) error {
	for grp, next := range b.next {
		if _, err := b.tx.ExecContext(b.ctx, "INSERT OR REPLACE INTO groups(grp, next) VALUES(?,?)", grp, next); err != nil {
			return err
		}
	}
	for k, n := range b.counts {
		if _, err := b.tx.ExecContext(b.ctx, "INSERT INTO counts(below, kind, n) VALUES(?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n", k.below, int64(k.kind), n); err != nil {
			return err
		}
	}
	bins, err := b.tx.PrepareContext(b.ctx, "INSERT INTO bins(below, level, y, x, kind, n) VALUES(?,?,?,?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n")
	if err != nil {
		return err
	}
	defer bins.Close()
	for k, n := range b.bins {
		if n == 0 {
			continue
		}
		if _, err := bins.ExecContext(b.ctx, k.below, int64(k.level), k.y, k.x, k.kind, n); err != nil {
			return err
		}
	}
	built := 0
	if m.built {
		built = 1
	}
	for name, value := range map[string]any{"chain": m.chain, "apex": m.apex, "height": int64(m.height), "built": built} {
		if _, err := b.tx.ExecContext(b.ctx, "INSERT OR REPLACE INTO meta(name, value) VALUES(?,?)", name, value); err != nil {
			return err
		}
	}
	return b.tx.Commit()
}

func (b *batch) abort() { b.tx.Rollback() }
