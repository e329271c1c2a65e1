// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
)

func csvTable(t testing.TB, text string) *Table {
	t.Helper()
	table, err := ReadTable(strings.NewReader(text), "test.csv", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// realSchemes are the schemes a network starts with.
func realSchemes() *cityid.Settings {
	s := settings()
	s.Schemes = []cityid.Scheme{{Name: "gb2260", Patterns: []string{"######"}}, {Name: "cjt553", Patterns: []string{"#####################"}}, {Name: "asset"}}
	return s
}

func TestSuggest(t *testing.T) {
	cjt := "130102010501000000001"
	for _, test := range []struct{ name, table, columns, crs, found string }{
		{"a template", "class,serial,name:zh,lat,lon,alias:asset\n20.010501,000001,一,38.0,114.0,A-1\n", "class serial name:zh lat lon alias:asset", "WGS84", "no-crs"},
		{"departments' words", "序号,资产编号,设施名称,X坐标(GCJ02),Y坐标(GCJ02),功率\n1,A1,甲,114.5,38.01,5\n2,A2,乙,114.6,38.02,5\n", "ignore alias:asset name:zh lon lat ignore", "GCJ-02", "crs no-class no-serial"},
		{"exchanged", "名称,经度,纬度\n甲,38.0123,114.5123\n乙,38.0124,114.5124\n", "name:zh lat lon", "WGS84", "exchanged no-crs no-class no-serial"},
		{"Baidu", "名称,百度经度,百度纬度\n甲,114.5123,38.0123\n", "name:zh lon lat", "WGS84", "foreign-crs no-class no-serial"},
		{"values alone", "a,b,c,d\n" + cjt + ",114.51234,38.01234,20.010501\n" + cjt[:20] + "2,114.51235,38.01235,20.010501\n", "alias:cjt553 lon lat class", "WGS84", "no-crs no-name no-serial"},
		{"codes", "编码,名称\nMA.156.1301.01/20.010501/000001,甲\nMA.156.1301.01/20.010501/000002,乙\n", "code name:zh", "WGS84", ""},
		{"a type that is none", "类型,状态,名称,地址\n单臂,完好,甲,东街\n双臂,破损,乙,西街\n", "ignore ignore name:zh ignore", "WGS84", "no-class no-serial"},
		{"a place for a name", "井盖编号,安装位置\nJ-1,东街\nJ-2,西街\n", "alias:asset name:zh", "WGS84", "no-class no-serial"},
		{"row numbers with a gap", "编号,名称\n1,甲\n2,乙\n", "ignore name:zh", "WGS84", "no-class no-serial"},
		{"real serials", "编号,名称\n000101,甲\n000102,乙\n", "serial name:zh", "WGS84", "no-class"},
		{"blank", ",\n,\n", "", "", ""},
		{"two of a kind", "资产编号,原编号,名称\nA1,B1,甲\nA2,B2,乙\n", "alias:asset ignore name:zh", "WGS84", "no-class no-serial"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := ReadTable(strings.NewReader(test.table), "test.csv", ReadOptions{})
			if err != nil {
				if test.columns == "" {
					return
				}
				t.Fatal(err)
			}
			x := Suggest(table, parent, realSchemes())
			if got := strings.Join(x.Changes.Columns, " "); got != test.columns {
				t.Errorf("columns are %q, want %q", got, test.columns)
			}
			crs, err := ParseCRS(test.crs)
			if err != nil || x.CRS != crs {
				t.Errorf("coordinates are %v, want %v (%v)", x.CRS, crs, err)
			}
			var found []string
			for _, f := range x.Findings {
				if f.Column < 0 {
					found = append(found, f.What)
				}
				if f.String() == "" || strings.Contains(f.String(), "%!") {
					t.Errorf("finding %+v has no text", f)
				}
			}
			if got := strings.Join(found, " "); got != test.found {
				t.Errorf("found %q, want %q", got, test.found)
			}
		})
	}
}

// TestOldTable takes the table that people try a migration with through all of
// it.
func TestOldTable(t *testing.T) {
	data, err := OldTable()
	if err != nil {
		t.Fatal(err)
	}
	table, err := ReadTable(bytes.NewReader(data), "old.csv", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if table.Encoding != GB18030 || len(table.Rows) != 1000 {
		t.Fatalf("%s, %d rows", table.Encoding, len(table.Rows))
	}
	s := realSchemes()
	x := Suggest(table, parent, s)
	c := &x.Changes
	c.Class, c.Number = "20.010501", "000100"
	o := Options{Parent: parent, Settings: s, CRS: x.CRS}
	plan := func() (*Table, *Plan, Problems) {
		t.Helper()
		changed, err := table.Change(c)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewPlan(changed, o)
		var list Problems
		if err != nil && !errors.As(err, &list) {
			t.Fatal(err)
		}
		return changed, plan, list
	}
	_, _, list := plan()
	if len(list) != 27 {
		t.Errorf("%d problems, want 27: %v", len(list), list)
	}
	mends, swaps := c.Mend(list), c.Exchanged(table)
	if len(mends) != 20 || len(swaps) != 10 {
		t.Errorf("%d cells to mend and %d to exchange, want 20 and 10", len(mends), len(swaps))
	}
	c.Set(mends...)
	c.Set(swaps...)
	c.Set(swaps...)
	if len(c.Cells) != 30 {
		t.Errorf("%d corrections, want 30", len(c.Cells))
	}
	_, _, list = plan()
	for _, p := range list {
		c.Skip = append(c.Skip, p.Line)
	}
	changed, p, list := plan()
	if len(list) > 0 || p.Rows != 998 {
		t.Fatalf("%d rows, problems %v", p.Rows, list)
	}
	if again := changed.Repeated("alias:asset"); len(again) != 10 {
		t.Errorf("%d repeated old numbers, want 10", len(again))
	}
	if again := changed.Repeated("name:zh", "lat", "lon"); len(again) != 10 {
		t.Errorf("%d repeated places, want 10", len(again))
	}
	if again := changed.Repeated("alias:nope"); again != nil {
		t.Errorf("repeated values of a column that is not there: %v", again)
	}
	if first := p.Batches[1].Items[0].Allocation; first.Code.String() != parent.String()+"/20.010501/000100" {
		t.Errorf("the first row became %s", first.Code)
	}
	// Written and read again it is the same plan.
	var file bytes.Buffer
	if err := WriteTable(&file, changed); err != nil {
		t.Fatal(err)
	}
	if p2 := mustPlan(t, csvTable(t, file.String()), o); p2.Digest != p.Digest {
		t.Errorf("written and read again it plans %s, not %s", p2.Digest, p.Digest)
	}
}

func TestChangeRefused(t *testing.T) {
	table := csvTable(t, "a,b\n1,2\n3,4\n")
	for _, test := range []struct {
		c    Changes
		want string
	}{
		{Changes{Columns: []string{"serial"}}, "meanings for 1 columns"},
		{Changes{Columns: []string{"serial", "colour"}}, "unknown column"},
		{Changes{Columns: []string{"serial", Ignore}, Number: "01"}, "keep either"},
		{Changes{Columns: []string{"lat", Ignore}, Number: "-1"}, "up to 18 digits"},
		{Changes{Columns: []string{"lat", Ignore}, Number: strings.Repeat("9", 19)}, "up to 18 digits"},
		{Changes{Columns: []string{"lat", Ignore}, Number: "9"}, "more digits"},
		{Changes{Columns: []string{"class", Ignore}, Class: "20.010501"}, "keep either"},
		{Changes{Columns: []string{"lat", Ignore}, Cells: []Cell{{2, 2, "x"}}}, "names no column"},
		{Changes{Columns: []string{"lat", Ignore}, Cells: []Cell{{2, 0, strings.Repeat("x", MaxCell+1)}}}, "too long"},
	} {
		if _, err := table.Change(&test.c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %q", test.c, err, test.want)
		}
	}
	before := csvTable(t, "a,b\n1,2\n3,4\n")
	if _, err := table.Change(&Changes{Columns: []string{"lat", "lon"}, Skip: []int{3, 99}, Cells: []Cell{{2, 0, "9"}, {77, 1, "x"}}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Rows, table.Rows); diff != "" {
		t.Errorf("the table itself was changed: %s", diff)
	}
}

// TestChangeWorkbook keeps what cells of a workbook show, except where they are
// corrected.
func TestChangeWorkbook(t *testing.T) {
	data := workbook(t, [][]any{{"名称", "编码X"}, {"甲", 1.23e15}, {"乙", 2.5e16}}, nil)
	table, err := ReadTable(bytes.NewReader(data), "book.xlsx", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := Changes{Columns: []string{"name:zh", "alias:old"}, Class: "20.010501", Number: "000001"}
	problems := func() int {
		changed, err := table.Change(&c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewPlan(changed, options())
		var list Problems
		errors.As(err, &list)
		return len(list)
	}
	before := problems()
	if before == 0 {
		t.Fatal("a number in scientific notation is no problem")
	}
	c.Set(Cell{2, 1, "1230000000000000"}, Cell{3, 1, "25000000000000000"})
	if n := problems(); n != 0 {
		t.Errorf("%d problems are left of %d", n, before)
	}
}

func TestGuessCRS(t *testing.T) {
	at := func(lat, lon float64, crs CRS) cityid.Location {
		l, err := locate(lat, lon, crs)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var gcj, wgs, other []Apart
	for i := range 5 {
		lat, lon := 38+float64(i)/100, 114.5
		gcj = append(gcj, Apart{lat, lon, at(lat, lon, GCJ02)})
		wgs = append(wgs, Apart{lat, lon, at(lat, lon, WGS84)})
		other = append(other, Apart{lat, lon, at(lat+1, lon, WGS84)})
	}
	for _, test := range []struct {
		name  string
		pairs []Apart
		crs   CRS
		ok    bool
	}{
		{"GCJ-02", gcj, GCJ02, true}, {"WGS 84", wgs, WGS84, true}, {"neither", other, 0, false}, {"nothing", nil, 0, false},
		{"half and half", append(append([]Apart{}, gcj...), wgs...), 0, false},
		{"mostly others", append(append([]Apart{}, other...), wgs[:1]...), 0, false},
	} {
		if crs, ok := GuessCRS(test.pairs); crs != test.crs || ok != test.ok {
			t.Errorf("%s: %v %v", test.name, crs, ok)
		}
	}
}

// bomb returns a workbook with one more part of so many octets.
func bomb(t testing.TB, size int64) []byte {
	t.Helper()
	base := workbook(t, [][]any{{"code"}, {"20.010203/000001"}}, nil)
	z, err := zip.NewReader(bytes.NewReader(base), int64(len(base)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, part := range z.File {
		if err := w.Copy(part); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.Create("xl/media/image1.png")
	if err == nil {
		_, err = io.CopyN(part, blankBytes{}, size)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type blankBytes struct{}

func (blankBytes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBombs(t *testing.T) {
	read := func(data []byte, o ReadOptions) error {
		_, err := ReadTable(bytes.NewReader(data), "bomb.xlsx", o)
		return err
	}
	large := bomb(t, 40<<20)
	if len(large) > 1<<20 {
		t.Fatalf("the bomb has %d octets", len(large))
	}
	if err := read(large, ReadOptions{MaxUnzipped: 20 << 20}); err == nil || !strings.Contains(err.Error(), "more than 20 MiB unpacked") {
		t.Errorf("a bomb: %v", err)
	}
	if err := read(large, ReadOptions{}); err != nil {
		t.Errorf("within the limit: %v", err)
	}
	// One that states another size than it has: in the directory of the archive
	// the uncompressed size stands 24 octets after the signature.
	lie := bytes.Clone(large)
	for at := 0; ; {
		i := bytes.Index(lie[at:], []byte("PK\x01\x02"))
		if i < 0 {
			break
		}
		at += i
		if size := binary.LittleEndian.Uint32(lie[at+24:]); size == 40<<20 {
			binary.LittleEndian.PutUint32(lie[at+24:], 100)
		}
		at += 4
	}
	if err := read(lie, ReadOptions{MaxUnzipped: 20 << 20}); err == nil {
		t.Error("a workbook that lies about its size is read")
	}
	var many bytes.Buffer
	w := zip.NewWriter(&many)
	for i := range maxParts + 1 {
		if _, err := w.Create(fmt.Sprint("part", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := read(many.Bytes(), ReadOptions{}); err == nil || !strings.Contains(err.Error(), "parts") {
		t.Errorf("too many parts: %v", err)
	}
	if err := read([]byte("code\n1\n2\n3\n"), ReadOptions{MaxRows: 2}); err == nil || !strings.Contains(err.Error(), "more than 2 rows") {
		t.Errorf("too many rows: %v", err)
	}
}

// FuzzSuggest: whatever a table holds, what is suggested can be applied.
func FuzzSuggest(f *testing.F) {
	old, err := OldTable()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old[:2000])
	f.Add([]byte("经度,纬度,lat,lon\n1,2,3,4\n"))
	f.Add([]byte("name:zh,名称:ZH,link\nx,y,https://a.example\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte("PK")) {
			t.Skip("workbooks are excelize's to read")
		}
		table, err := ReadTable(bytes.NewReader(data), "fuzz.csv", ReadOptions{})
		if err != nil {
			return
		}
		x := Suggest(table, parent, realSchemes())
		if _, err := table.Change(&x.Changes); err != nil {
			t.Errorf("what is suggested can not be applied: %v", err)
		}
	})
}
