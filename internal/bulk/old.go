// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// oldStreets are where the lamp posts of [OldTable] stand: lines between two
// points in WGS 84, in degrees.
var oldStreets = []struct {
	name                   string
	lat1, lon1, lat2, lon2 float64
}{
	{"翠屏路", 38.0301, 114.4310, 38.0301, 114.5010},
	{"泰华街", 38.0060, 114.4701, 38.0820, 114.4701},
	{"新石北路", 38.0265, 114.4310, 38.0265, 114.5010},
	{"西二环北路", 38.0060, 114.4215, 38.0820, 114.4215},
	{"合作路", 38.0682, 114.4310, 38.0682, 114.5010},
}

// OldTable returns a table of 1,000 invented lamp posts as departments keep them,
// to try a migration with: GB18030, its own headers, coordinates of a map service
// (GCJ-02), and what years of spreadsheets do. The 200 posts of each street have
// old numbers of seven digits, of which 20 have lost their leading zeros; 10
// posts are listed twice; in 5 rows latitude and longitude are exchanged; one
// has degrees and minutes, one no latitude; 3 are posts that the demo has
// registered already. It is the same each time.
func OldTable() ([]byte, error) {
	var b strings.Builder
	b.WriteString("序号,资产编号,路灯名称,所属道路,经度（高德）,纬度（高德）,灯杆高度(米),光源功率(W),安装日期,养护单位,备注\r\n")
	n := 0
	write := func(asset, name, street, lon, lat string, at int, remark string) {
		n++
		fmt.Fprintf(&b, "%d,%s,%s,%s,%s,%s,%d,%d,%d/%d/%d,市政养护%d队,%s\r\n",
			n, asset, name, street, lon, lat, 8+at%3*2, 60+at%4*40, 2009+at%14, 1+at%12, 1+at%28, 1+at%3, remark)
	}
	each := 200
	for k, s := range oldStreets {
		for i := range each {
			at := k*each + i
			lat := s.lat1 + (s.lat2-s.lat1)*float64(i)/float64(each)
			lon := s.lon1 + (s.lon2-s.lon1)*float64(i)/float64(each)
			gLat, gLon := wgs84ToGCJ02(lat, lon)
			y, x := strconv.FormatFloat(gLat, 'f', 6, 64), strconv.FormatFloat(gLon, 'f', 6, 64)
			asset, remark := fmt.Sprintf("%07d", 31_000+at*7), ""
			switch {
			case at%50 == 17:
				asset = strings.TrimLeft(asset, "0")
			case at%200 == 123:
				x, y = y, x
			case at == 444:
				y = "38°2′30″"
			case at == 777:
				y = ""
			case at%40 == 3:
				remark = `灯罩破损,"待修"`
			}
			if strings.ContainsAny(remark, `,"`) {
				remark = `"` + strings.ReplaceAll(remark, `"`, `""`) + `"`
			}
			name := fmt.Sprintf("%s%d号路灯", s.name, i+1)
			if at < 987 {
				write(asset, name, s.name, x, y, at, remark)
			}
			if at%100 == 60 {
				write(asset, name, s.name, x, y, at, "重复录入")
			}
		}
	}
	for i := range 3 { // along 和平路, as the demo has them
		lat, lon := 38.057_600-.000_000_8*float64(i*10), 114.431+.000_224*float64(i*10)
		gLat, gLon := wgs84ToGCJ02(lat+.0001, lon)
		write(fmt.Sprintf("SJZ-LD-%05d", 70_000+i*10), fmt.Sprintf("和平路%d号路灯", i*10+1), "和平路",
			strconv.FormatFloat(gLon, 'f', 6, 64), strconv.FormatFloat(gLat, 'f', 6, 64), i, "")
	}
	out, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(b.String()))
	return bytes.Clone(out), err
}
