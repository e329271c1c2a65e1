// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/client"
	"cityid/internal/bulk"
)

// Old tables, whose columns a person gives their meanings.

// planTable plans a table, after applying the meanings that --map gives.
func (i *importing) planTable(t *bulk.Table, o bulk.Options) (*bulk.Plan, error) {
	if len(i.meanings) == 0 {
		return bulk.NewPlan(t, o)
	}
	if err := i.mapColumns(t); err != nil {
		return nil, err
	}
	for line := range strings.FieldsFuncSeq(i.skip, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(line)
		if err != nil || n <= t.Line {
			return nil, usagef("--skip %s: want lines below the header, such as 450,787", i.skip)
		}
		i.changes.Skip = append(i.changes.Skip, n)
	}
	if i.mend {
		swapped := i.changes.Exchanged(t)
		i.changes.Set(swapped...)
		if len(swapped) > 0 {
			i.talk("exchanged latitude and longitude in %s", count(len(swapped)/2, "row"))
		}
	}
	changed, err := t.Change(&i.changes)
	if err != nil {
		return nil, usageError{err}
	}
	plan, err := bulk.NewPlan(changed, o)
	var list bulk.Problems
	if i.mend && errors.As(err, &list) {
		cells := i.changes.Mend(list)
		if i.changes.Set(cells...); len(cells) > 0 {
			i.talk("corrected %s", count(len(cells), "cell"))
			if changed, err = t.Change(&i.changes); err == nil {
				plan, err = bulk.NewPlan(changed, o)
			}
		}
	}
	return plan, err
}

// mapColumns gives the columns that --map names their meanings.
func (i *importing) mapColumns(t *bulk.Table) error {
	c := &i.changes
	c.Columns = slices.Repeat([]string{bulk.Ignore}, len(t.Header))
	for _, m := range i.meanings {
		at := strings.LastIndexByte(m, '=')
		if at < 1 {
			return usagef("--map %s: want COLUMN=MEANING, such as 纬度=lat", m)
		}
		name, meaning := strings.TrimSpace(m[:at]), strings.TrimSpace(m[at+1:])
		k := slices.IndexFunc(t.Header, func(h string) bool { return strings.TrimSpace(h) == name })
		if k < 0 {
			return usagef("--map %s: the table has no column %s", m, name)
		}
		if err := bulk.CheckMeaning(meaning); err != nil {
			return usagef("--map %s: %v", m, err)
		}
		c.Columns[k] = meaning
	}
	return nil
}

// suggestion is what --suggest prints.
type suggestion struct {
	Columns  []suggestedColumn `json:"columns"`
	CRS      string            `json:"crs"`
	Findings []string          `json:"findings,omitempty"`
	Number   string            `json:"number,omitempty"` // next free serial, if rows are to be numbered
	Command  string            `json:"command"`
}

type suggestedColumn struct {
	Column  string `json:"column"`
	Meaning string `json:"meaning"`
	Why     string `json:"why,omitempty"`
}

// printSuggestion says what the columns of a table probably mean, and the
// command that takes it so.
func (i *importing) printSuggestion(ctx context.Context, c *client.Client, path string) error {
	t, err := i.table(path)
	if err != nil {
		return err
	}
	settings, err := c.Settings(ctx)
	if err != nil {
		return err
	}
	x := bulk.Suggest(t, i.options.Parent, settings)
	v := suggestion{CRS: map[bulk.CRS]string{bulk.WGS84: "WGS84", bulk.CGCS2000: "CGCS2000", bulk.GCJ02: "GCJ-02"}[x.CRS]}
	command := []string{"cityid code import", shellWord(path), "--parent", i.options.Parent.String()}
	for k, h := range t.Header {
		col := suggestedColumn{Column: strings.TrimSpace(h), Meaning: x.Changes.Columns[k]}
		for _, f := range x.Findings {
			if f.Column == k {
				col.Why = f.String()
			}
		}
		v.Columns = append(v.Columns, col)
		if col.Meaning != bulk.Ignore {
			command = append(command, "--map", shellWord(col.Column+"="+col.Meaning))
		}
	}
	for _, f := range x.Findings {
		switch {
		case f.Column >= 0:
		case f.What == bulk.FoundNoSerial:
			if v.Number, err = nextSerial(ctx, c, i.options.Parent, i.changes.Class); err != nil {
				return err
			}
			command = append(command, "--number", v.Number)
			v.Findings = append(v.Findings, f.String())
		case f.What == bulk.FoundNoClass && i.changes.Class != "":
			command = append(command, "--class", i.changes.Class)
		case f.What == bulk.FoundNoClass:
			command = append(command, "--class CLASS")
			v.Findings = append(v.Findings, f.String())
		default:
			v.Findings = append(v.Findings, f.String())
		}
	}
	if x.CRS != bulk.WGS84 {
		command = append(command, "--crs", v.CRS)
	}
	v.Command = strings.Join(append(command, "--mend --dry-run"), " ")
	var list []string
	for _, col := range v.Columns {
		list = append(list, printable(col.Column), printable(col.Meaning+why(col)))
	}
	list = append(list, "coordinates", v.CRS)
	for _, f := range v.Findings {
		list = append(list, "look", printable(f))
	}
	return i.print(fields(v, append(list, "try", printable(v.Command))...))
}

func why(c suggestedColumn) string {
	if c.Why == "" || strings.HasPrefix(c.Why, c.Meaning) {
		return strings.TrimPrefix(c.Why, c.Meaning)
	}
	return ": " + c.Why
}

// nextSerial returns the first serial after all that are allocated in a class
// below a code; with class "" in any class below it.
func nextSerial(ctx context.Context, c *client.Client, below cityid.Code, class string) (string, error) {
	if class != "" {
		var err error
		if below, err = cityid.Parse(below.String() + "/" + class); err != nil {
			return "", usageError{err}
		}
	}
	var last uint64
	width := 6
	q := cityid.ChildrenQuery{Code: below, Deep: true, Kind: cityid.KindObject, Limit: 1000}
	for {
		page, err := c.Children(ctx, q)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			break
		}
		if err != nil {
			return "", err
		}
		for k := range page.Records {
			item := page.Records[k].Code.LastNode()
			if n, err := strconv.ParseUint(item, 10, 63); err == nil && n > last && len(item) <= 18 {
				last, width = n, max(width, len(item))
			}
		}
		if page.Next.IsZero() {
			break
		}
		q.After = page.Next
	}
	return fmt.Sprintf("%0*d", width, last+1), nil
}
