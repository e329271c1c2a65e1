// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"cityid"
	"cityid/internal/bulk"
)

// demoCatalogue is one department's objects.
type demoCatalogue struct {
	department cityid.Code
	class      string
	classNames map[string]string
	key        string // of the department's officer
	file       string // among the objects
	noun       string // in names, Chinese
	asset      string // how the department's old numbers begin
	shift      int    // keeps the one kind of things off the places of the other
}

// demoEach is how many objects a department has.
const demoEach = 5000

var (
	demoManholes = demoCatalogue{
		department: demoUrban, class: "20.010203", classNames: map[string]string{"zh": "雨水井盖", "en": "Storm drain manholes"},
		key: "urban-1", file: "manholes.csv", noun: "雨水井盖", asset: "SJZ-JG-", shift: 0,
	}
	demoLamps = demoCatalogue{
		department: demoTraffic, class: "20.010501", classNames: map[string]string{"zh": "路灯", "en": "Lamp posts"},
		key: "traffic-1", file: "lamps.csv", noun: "路灯", asset: "SJZ-LD-", shift: 40,
	}
)

// departments allocates Shijiazhuang's departments with the city's own key,
// and the class of each one's objects with the department's.
func (d *demo) departments(ctx context.Context, _ *stepTalk) (string, error) {
	officer, err := d.folder.signer("shijiazhuang-1")
	if err != nil {
		return "", err
	}
	for _, x := range []struct {
		code   cityid.Code
		zh, en string
		name   string
	}{
		{demoUrban, "城市管理局", "Urban Management", "urban"},
		{demoTraffic, "交通管理局", "Traffic Management", "traffic"},
	} {
		m, err := d.folder.member(namedRole{x.name + "-1", cityid.RoleControl}, namedRole{x.name + "-assert", cityid.RoleAssert}, namedRole{x.name + "-field", cityid.RoleField})
		if err != nil {
			return "", err
		}
		err = d.ensure(ctx, officer, cityid.Allocation{
			Code: x.code, Kind: cityid.KindDepartment,
			Content: cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": x.zh, "en": x.en})},
			Policy:  &cityid.Policy{Threshold: 1, Members: []cityid.Member{m}},
		})
		if err != nil {
			return "", err
		}
	}
	for _, c := range []demoCatalogue{demoManholes, demoLamps} {
		officer, err := d.folder.signer(c.key)
		if err != nil {
			return "", err
		}
		err = d.ensure(ctx, officer, cityid.Allocation{
			Code: c.classCode(), Kind: cityid.KindClass, Content: cityid.Content{Names: cityid.NamesOf(c.classNames)},
		})
		if err != nil {
			return "", err
		}
	}
	return demoUrban.String() + " 城市管理局 and " + demoTraffic.String() + " 交通管理局\neach with an officer of its own, who allocates what lies below", nil
}

func (c *demoCatalogue) classCode() cityid.Code {
	return cityid.MustParse(c.department.String() + "/" + c.class)
}

// item is the code of the n-th object, counted from 1.
func (c *demoCatalogue) item(n int) cityid.Code {
	return cityid.MustParse(fmt.Sprintf("%s/%06d", c.classCode(), n))
}

// ensure allocates a code unless it is allocated.
func (d *demo) ensure(ctx context.Context, signer cityid.Signer, a cityid.Allocation) error {
	_, err := d.local.Record(ctx, a.Code)
	if cityid.CodeOf(err) != cityid.ErrNotFound {
		return err
	}
	_, err = d.submit(ctx, []cityid.Operation{{Allocate: &cityid.Allocate{Items: []cityid.Allocation{a}}}}, signer)
	return err
}

// importer returns the step that imports a department's objects from a table,
// as code import does: the table is checked whole, and a checkpoint beside it
// remembers how far the import is.
func (d *demo) importer(c demoCatalogue) func(context.Context, *stepTalk) (string, error) {
	return func(ctx context.Context, t *stepTalk) (string, error) {
		settings, err := d.local.Settings(ctx)
		if err != nil {
			return "", err
		}
		table, err := d.table(&c)
		if err != nil {
			return "", err
		}
		plan, err := bulk.NewPlan(table, bulk.Options{Parent: c.department, Settings: settings})
		if err != nil {
			return "", err
		}
		officer, err := d.folder.signer(c.key)
		if err != nil {
			return "", err
		}
		cp, err := bulk.OpenCheckpoint(d.folder.file(demoObjects, c.file+".import"), plan, d.network.chain)
		if err != nil {
			return "", err
		}
		defer cp.Close()
		_, unfinished := cp.Next()
		began := time.Now()
		res, err := bulk.Run(ctx, plan, cp, d.local, signBatches(d.network.chain, demoLifetime, "", officer),
			bulk.RunOptions{Progress: func(p bulk.Progress) { t.progress(p.Done, p.Total) }})
		if err != nil {
			return "", err
		}
		if len(res.Classes) > 0 || len(res.Failed) > 0 {
			return "", fmt.Errorf("%d rows were refused: %w", len(res.Failed), slices.Concat(res.Classes, res.Failed))
		}
		if !res.Complete() || res.Rows != demoEach {
			return "", fmt.Errorf("%d of %d rows are allocated", res.Allocated+res.Existing, res.Rows)
		}
		d.objects += res.Rows
		extent := fmt.Sprintf("%s to %06d", c.item(1), demoEach)
		if !unfinished {
			return extent + ", there already", nil
		}
		return fmt.Sprintf("%s, %s a second", extent, grouped(int(float64(res.Rows)/time.Since(began).Seconds()))), nil
	}
}

// table reads the table of a department's objects, and writes it first unless
// it is there.
func (d *demo) table(c *demoCatalogue) (*bulk.Table, error) {
	path := d.folder.file(demoObjects, c.file)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var w bytes.Buffer
		if err := c.writeCSV(&w); err != nil {
			return nil, err
		}
		b, err = w.Bytes(), writeFile(path, w.Bytes(), 0o644)
	}
	if err != nil {
		return nil, err
	}
	return bulk.ReadTable(bytes.NewReader(b), path, bulk.ReadOptions{})
}

// demoStreet is a street through the city, as a line between two points in
// units of a millionth of a degree.
type demoStreet struct {
	name                   string
	lat1, lon1, lat2, lon2 int
}

// demoStreets are where the invented objects stand.
var demoStreets = []demoStreet{
	{"和平路", 38_057_600, 114_431_000, 38_057_100, 114_571_000},
	{"中山路", 38_042_900, 114_431_000, 38_043_400, 114_571_000},
	{"裕华路", 38_033_800, 114_431_000, 38_034_300, 114_571_000},
	{"槐安路", 38_021_200, 114_431_000, 38_021_700, 114_571_000},
	{"友谊大街", 38_005_000, 114_459_200, 38_082_000, 114_459_600},
	{"中华大街", 38_005_000, 114_480_300, 38_082_000, 114_480_700},
	{"建设大街", 38_005_000, 114_516_300, 38_082_000, 114_516_700},
	{"体育大街", 38_005_000, 114_536_400, 38_082_000, 114_536_800},
}

// writeCSV writes the table of the department's objects: along each street, on
// both sides in turn, with the numbers the department gave them before.
func (c *demoCatalogue) writeCSV(w *bytes.Buffer) error {
	each := demoEach / len(demoStreets)
	return bulk.WriteCSV(w, []string{"class", "serial", "name:zh", "lat", "lon", "alias:asset"}, func(yield func([]string) bool) {
		for i := range demoEach {
			s, at := demoStreets[i/each], i%each
			lat, lon := s.lat1+(s.lat2-s.lat1)*at/each, s.lon1+(s.lon2-s.lon1)*at/each
			side := c.shift + 60
			if at%2 == 1 {
				side = -side
			}
			if s.lat2-s.lat1 > s.lon2-s.lon1 { // north to south: the sides are west and east
				lon += side
			} else {
				lat += side
			}
			row := []string{
				c.class, fmt.Sprintf("%06d", i+1), fmt.Sprintf("%s%d号%s", s.name, at+1, c.noun),
				microDegrees(lat), microDegrees(lon), fmt.Sprintf("%s%05d", c.asset, 70000+i),
			}
			if !yield(row) {
				return
			}
		}
	})
}

func microDegrees(v int) string { return fmt.Sprintf("%d.%06d", v/1_000_000, v%1_000_000) }
