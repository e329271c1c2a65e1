// SPDX-License-Identifier: Apache-2.0

// Package bulk is everything of a bulk import that does not itself talk to a
// node: it reads a table, checks it whole, turns its rows into batches of
// allocations, and carries those through to the registry in a way that can be
// killed at any moment and run again. [Translate] translates a column of a table
// through the crosswalk.
//
//	table, err := bulk.ReadTable(file, "lamps.csv", bulk.ReadOptions{})
//	plan, err := bulk.NewPlan(table, bulk.Options{Parent: parent, Settings: settings})
//	cp, err := bulk.OpenCheckpoint("lamps.csv.checkpoint", plan, chain)
//	result, err := bulk.Run(ctx, plan, cp, node, sign, bulk.RunOptions{})
//
// # Tables
//
// A table is a CSV file (RFC 4180; separated by comma, semicolon or tab, which
// is detected) or one sheet of an XLSX workbook. A CSV file is UTF-8 with or
// without byte order mark, UTF-16 with one (what Excel calls "Unicode text"),
// or GB18030; [Table.Encoding] says which was found. Detection is strict: a
// file that is mostly UTF-8 but damaged is refused, not read as GB18030. The
// first row is the header; rows whose cells are all blank are skipped.
//
// Or it is JSON lines in one of these encodings: each line one object. The names of
// its members are the header, in the order in which they first occur. A text is a
// cell, null a blank one; all other values are cells as they are written. A name
// that stands twice in an object is refused.
//
// # Columns
//
// Header cells are compared without regard to case and to full-width forms:
//
//	code           代码 编码 标识代码 城市代码     the whole code, or the part below the parent
//	class          类别 分类 分类代码 类代码       "use.category[.model]", instead of code, with serial
//	serial         序号 流水号 编号               the item, with class; or alone below a class
//	kind           类型 种类                      see [cityid.Kind]; else as the code's shape says
//	status         状态                           active (default) or reserved
//	name           名称                           in the language of [Options.Language]
//	name:LANG      中文名称 英文名称              in the language LANG, as name:zh
//	lat, lon       纬度, 经度                     decimal degrees, both or neither
//	crs            坐标系                         WGS84 (default), CGCS2000 or GCJ-02
//	alias:SCHEME   别名:SCHEME 旧码:SCHEME        a crosswalk entry, in the same transaction
//	link           链接 网址                      a link's target; its relation is "about"
//	link:REL       链接:REL                       a link of relation REL
//
// A code cell that begins with the agency of the parent and a "." is a whole
// code. Any other is appended to the parent: as it stands if it begins with "."
// or "/"; after "/" if the parent is a class, or if it looks like a class
// (two or three digits, a point, four digits or more); else after ".". So below
// MA.156.1301 the cell 01 is a department, 20.010203/000123 an object. Both
// forms may end in "*" and check characters.
//
// Blanks around cells are dropped. Codes, numbers and crosswalk values have
// full-width characters folded to ASCII; names are brought to Unicode normal
// form C. A kind follows from the shape only where the shape decides: an item
// is an object, a class a class, a unit below a place a department.
//
// CGCS2000 is read as WGS 84: the two differ by less than a metre, hardly more
// than a registered point means. GCJ-02 is converted, to a centimetre of the
// published formula's inverse, and only inside the box the formula is defined
// for. Coordinates are rounded to seven decimal places.
//
// # Damage by spreadsheets
//
// A spreadsheet that takes codes for numbers drops their leading zeros, turns
// long ones into scientific notation and some into dates. Cells where that
// shows are named one by one: 1.23E+12; a number whose cell shows something
// else; digits that are shorter than those of their neighbours which kept their
// zeros; serials of one class which are digits of different lengths, none of
// them with a leading zero. [Options.Width] pads the last two again;
// [Options.AsIs] says that they are meant.
//
// # Problems
//
// A table is checked whole, and [NewPlan] returns all [Problems] at once, each
// with its line, column, value and what to do.
//
// # Classes
//
// An object needs its class's record. Classes that rows need and the table
// does not have are added to the plan, and left out when it is run if the node
// knows them already. So a plan depends on nothing but the table and the
// options, and is the same when an import is resumed.
//
// # Disclosure
//
// A row never publishes more than its class allows. For a coarse class the
// location must lie on the coarse grid, or [Options.Coarsen] rounds it. Rows of
// a sealed class are sealed: the chain gets a digest, and [Plan.Sealed] the
// contents and salts, which the caller keeps. A row's salt is HMAC-SHA256 of its code
// under a fresh secret key, so that a resumed import has the same salts.
package bulk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits on tables and batches.
const (
	MaxFile       = 64 << 20  // octets of a file
	MaxRows       = 1_000_000 // rows below the header
	MaxColumns    = 64        // columns
	MaxCell       = 32 << 10  // octets of a cell
	MaxBatch      = 500       // allocations of a batch
	MaxBatchBytes = 400 << 10 // octets of a batch's encoded allocations

	maxUnzipped = 512 << 20 // octets of a workbook's parts together
	maxShown    = 200       // octets of a cell that a problem repeats
	maxReason   = 1000      // octets of a node's reason that a problem repeats
)

// Problem is one thing that is wrong with a table, or one row the registry
// refused.
type Problem struct {
	Line   int    `json:"line"`             // where the record begins: physical line of a CSV file, row of a sheet; 0: the whole file
	Column string `json:"column,omitempty"` // header as the table has it
	Cell   string `json:"cell,omitempty"`   // address such as C12, of a workbook's cell
	Value  string `json:"value,omitempty"`  // what the cell holds; when that is long, its beginning
	Reason string `json:"reason"`           // what is wrong and what to do; lower case, no full stop

	// Suggest, if any, is the value that was probably meant.
	Suggest string `json:"suggest,omitempty"`

	// Format and Args are what Reason was made of, for other languages.
	Format string `json:"-"`
	Args   []any  `json:"-"`
}

// problemf makes a problem of a format and its arguments.
func problemf(line int, format string, args ...any) Problem {
	return Problem{Line: line, Reason: fmt.Sprintf(format, args...), Format: format, Args: args}
}

// String returns the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Column != "" {
		fmt.Fprintf(&b, "column %s: ", p.Column)
	}
	if p.Value != "" {
		fmt.Fprintf(&b, "%q: ", p.Value)
	}
	b.WriteString(p.Reason)
	return b.String()
}

// Problems is a list of problems in order of line. As an error it speaks of
// them all.
type Problems []Problem

// Error returns the first problems, one a line, and how many more there are.
func (p Problems) Error() string {
	const most = 20
	var b strings.Builder
	for i := range min(len(p), most) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p[i].String())
	}
	if len(p) > most {
		fmt.Fprintf(&b, "\nand %d more", len(p)-most)
	}
	return b.String()
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}

// shorten cuts what a problem repeats of a text.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
