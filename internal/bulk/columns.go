// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"fmt"
	"slices"
	"strings"

	"cityid"
)

// field is what a column holds.
type field uint8

const (
	fieldCode field = iota
	fieldClass
	fieldSerial
	fieldKind
	fieldStatus
	fieldName
	fieldLat
	fieldLon
	fieldCRS
	fieldAlias
	fieldLink
	fieldIgnored
)

// column is a column of the table that was recognised.
type column struct {
	index  int
	header string // as the table has it
	field  field
	arg    string // language of a name, scheme of an alias, relation of a link
}

// defaultRel is the relation of a plain link column.
const defaultRel = "about"

// knownColumns is what an error says about the columns there are.
const knownColumns = "code, class, serial, kind, status, name, name:LANG, lat, lon, crs, alias:SCHEME, link, link:REL"

// headers maps header cells, folded and in lower case, to fields. Those that
// take an argument after ":" are listed in headersWithArg.
var headers = map[string]field{
	"code": fieldCode, "代码": fieldCode, "编码": fieldCode, "标识代码": fieldCode, "城市代码": fieldCode,
	"class": fieldClass, "类别": fieldClass, "分类": fieldClass, "分类代码": fieldClass, "类代码": fieldClass,
	"serial": fieldSerial, "序号": fieldSerial, "流水号": fieldSerial, "编号": fieldSerial,
	"kind": fieldKind, "类型": fieldKind, "种类": fieldKind,
	"status": fieldStatus, "状态": fieldStatus,
	"name": fieldName, "名称": fieldName,
	"lat": fieldLat, "latitude": fieldLat, "纬度": fieldLat,
	"lon": fieldLon, "lng": fieldLon, "long": fieldLon, "longitude": fieldLon, "经度": fieldLon,
	"crs": fieldCRS, "坐标系": fieldCRS,
	"link": fieldLink, "url": fieldLink, "链接": fieldLink, "网址": fieldLink,
}

var headersWithArg = map[string]field{
	"name": fieldName, "名称": fieldName,
	"alias": fieldAlias, "别名": fieldAlias, "旧码": fieldAlias,
	"link": fieldLink, "链接": fieldLink,
}

var headersOfLanguage = map[string]string{
	"中文名": "zh", "中文名称": "zh", "英文名": "en", "英文名称": "en",
}

var kindSynonyms = map[string]cityid.Kind{
	"省": cityid.KindProvince, "市": cityid.KindCity, "城市": cityid.KindCity, "县": cityid.KindCounty, "区县": cityid.KindCounty,
	"部门": cityid.KindDepartment, "行业": cityid.KindIndustry, "机构": cityid.KindOrganisation, "类": cityid.KindClass, "类别": cityid.KindClass,
	"对象": cityid.KindObject, "部件": cityid.KindObject, "数据集": cityid.KindDataset, "数据源": cityid.KindSource,
}

// foldWidth returns s with full-width forms of ASCII characters folded, and
// without blanks at its ends.
func foldWidth(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r >= '\uFF01' && r <= '\uFF5E' {
			return r - '\uFF01' + '!'
		}
		return r
	}, s))
}

// parseHeader recognises one header cell.
func parseHeader(text, language string) (f field, arg string, err error) {
	folded := foldWidth(text)
	lower := strings.ToLower(folded)
	if f, ok := headers[lower]; ok {
		switch f {
		case fieldName:
			arg = language
		case fieldLink:
			arg = defaultRel
		}
		return f, arg, nil
	}
	if lang, ok := headersOfLanguage[lower]; ok {
		return fieldName, lang, nil
	}
	base, _, found := strings.Cut(lower, ":")
	f, ok := headersWithArg[strings.TrimSpace(base)]
	if !found || !ok {
		return 0, "", fmt.Errorf("unknown column: rename it to one of %s, or have unknown columns ignored", knownColumns)
	}
	_, arg, _ = strings.Cut(folded, ":")
	arg = strings.TrimSpace(arg)
	var check cityid.Content
	switch f {
	case fieldName:
		primary, subtags, more := strings.Cut(arg, "-")
		if arg = strings.ToLower(primary); more {
			arg += "-" + subtags
		}
		check.Names = cityid.Names{{Lang: arg, Text: "x"}}
	case fieldLink:
		arg = strings.ToLower(arg)
		check.Links = []cityid.Link{{Rel: arg, Href: "https://example.org/"}}
	case fieldAlias:
		if arg = strings.ToLower(arg); !cityid.ValidSchemeName(arg) {
			return 0, "", fmt.Errorf("scheme name %.40q: want 1 to 24 letters, digits and hyphens after the colon", arg)
		}
	}
	if err := check.Check(); err != nil {
		return 0, "", reasonOf(err)
	}
	return f, arg, nil
}

// columnsOf recognises the header of t, and reports all that is wrong with it.
func columnsOf(t *Table, o *Options) ([]column, Problems) {
	var cols []column
	var problems Problems
	report := func(i int, format string, args ...any) {
		p := problemf(t.Line, format, args...)
		if i >= 0 {
			p.Column, p.Value = t.Header[i], shorten(t.Header[i], maxShown)
		}
		problems = append(problems, p)
	}
	for i, text := range t.Header {
		if strings.TrimSpace(text) == "" {
			cols = append(cols, column{i, text, fieldIgnored, ""})
			continue
		}
		f, arg, err := parseHeader(text, o.Language)
		switch {
		case err != nil && o.IgnoreUnknown:
			cols = append(cols, column{i, text, fieldIgnored, ""})
			continue
		case err != nil:
			report(i, "%v", err)
			continue
		}
		if f == fieldAlias && o.Settings != nil && schemeOf(o.Settings, arg) == nil {
			report(i, "the registry has no crosswalk scheme %s; it has %s", arg, schemeNames(o.Settings))
			continue
		}
		if at := slices.IndexFunc(cols, func(c column) bool { return c.field == f && c.arg == arg }); at >= 0 {
			report(i, "it holds the same as column %s: keep one", cols[at].header)
			continue
		}
		cols = append(cols, column{i, text, f, arg})
	}
	if len(problems) == 0 {
		if format, args := checkTogether(cols, o.Parent); format != "" {
			report(-1, format, args...)
		}
	}
	return cols, problems
}

// checkTogether says what is wrong with the columns as a set, as a format and
// its arguments, or "".
func checkTogether(cols []column, parent cityid.Code) (format string, args []any) {
	has := func(f field) bool {
		return slices.ContainsFunc(cols, func(c column) bool { return c.field == f })
	}
	code, class, serial := has(fieldCode), has(fieldClass), has(fieldSerial)
	switch {
	case code && (class || serial):
		return "there is a code column as well as class or serial: keep either", nil
	case !code && !class && !serial:
		return "there is no code column, nor class and serial: the known columns are %s", []any{knownColumns}
	case class && parent.Class() != "":
		return "the parent %s is a class or below one already: leave the class column out", []any{parent}
	case serial && !class && (parent.Class() == "" || parent.Item() != ""):
		return "serial without class needs a class as parent, and %s is none: add a class column", []any{parent}
	case class && !serial:
		return "there is a class column but no serial: add it, and leave its cells blank in rows for classes themselves", nil
	case has(fieldLat) != has(fieldLon):
		return "lat and lon go together: add the missing one", nil
	}
	return "", nil
}

func schemeOf(s *cityid.Settings, name string) *cityid.Scheme {
	for i := range s.Schemes {
		if s.Schemes[i].Name == name {
			return &s.Schemes[i]
		}
	}
	return nil
}

func schemeNames(s *cityid.Settings) string {
	var names []string
	for _, x := range s.Schemes {
		names = append(names, x.Name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
