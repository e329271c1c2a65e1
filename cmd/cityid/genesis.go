// SPDX-License-Identifier: Apache-2.0

package main

import "cityid"

// defaultRule is the distribution rule a network starts with: Chinese codes,
// with the numbers of GB/T 2260 for places. The apex decides on provinces,
// cities and institutions; everything below a city is the city's.
func defaultRule() cityid.Rule {
	const (
		authority  = cityid.KindAuthority
		province   = cityid.KindProvince
		city       = cityid.KindCity
		county     = cityid.KindCounty
		department = cityid.KindDepartment
		industry   = cityid.KindIndustry
		org        = cityid.KindOrganisation
		class      = cityid.KindClass
		object     = cityid.KindObject
		dataset    = cityid.KindDataset
		source     = cityid.KindSource
	)
	named := []string{"en", "zh"}
	holders := []cityid.Kind{authority, province, city, county, department, industry, org}
	return cityid.Rule{
		Kinds: []cityid.KindRule{
			{Kind: province, Parents: []cityid.Kind{authority}, Patterns: []string{"##"}, Schemes: []string{"gb2260"}, Languages: named, Apex: true},
			{Kind: city, Parents: []cityid.Kind{authority, province}, Patterns: []string{"####", "11", "12", "31", "50"}, Schemes: []string{"gb2260"}, Languages: named, Apex: true},
			{Kind: county, Parents: []cityid.Kind{province, city}, Patterns: []string{"######"}, Schemes: []string{"gb2260"}, Languages: []string{"zh"}},
			{Kind: department, Parents: []cityid.Kind{authority, province, city, county, department, org}, Patterns: []string{"##"}, Sequence: true, Languages: []string{"zh"}},
			{Kind: industry, Parents: []cityid.Kind{authority}, Patterns: []string{"@#"}, Languages: named, Apex: true},
			{Kind: org, Parents: []cityid.Kind{authority, industry, org}, Languages: []string{"zh"}},
			{Kind: class, Parents: append(holders[:len(holders):len(holders)], class)},
			{Kind: object, Parents: []cityid.Kind{class, object}},
			{Kind: dataset, Parents: []cityid.Kind{class, object}},
			{Kind: source, Parents: []cityid.Kind{class, object}},
		},
		Classes: []cityid.ClassRule{
			{Prefix: "20.0201", Disclosure: cityid.DisclosureSealed}, // dwellings
			{Prefix: "20.0301", Disclosure: cityid.DisclosureCoarse}, // pressure regulators of the gas network
		},
	}
}

// industryPatterns are sections, divisions, groups and classes, as both GB/T 4754
// and ISIC write them with the section's letter.
var industryPatterns = []string{"@", "@##", "@###", "@####"}

// defaultSchemes are the crosswalk schemes a network starts with. The apex
// agrees to every entry of the national ones; old department codes are free.
func defaultSchemes(apex cityid.Code) []cityid.Scheme {
	title := func(zh, en string) cityid.Names { return cityid.NamesOf(map[string]string{"zh": zh, "en": en}) }
	return []cityid.Scheme{
		{Name: "gb2260", Titles: title("中华人民共和国行政区划代码", "Codes for the administrative divisions of China (GB/T 2260)"), Owner: apex, Patterns: []string{"######"}},
		{Name: "cjt553", Titles: title("城市基础设施部件编码", "Codes for urban components (CJ/T 553)"), Patterns: []string{"#####################"}},
		{Name: "unlocode", Titles: title("联合国口岸及相关地点代码", "UN/LOCODE"), Owner: apex, Patterns: []string{"@@???"}},
		{Name: "gb-t-4754", Titles: title("国民经济行业分类", "Industries of the national economy (GB/T 4754)"), Owner: apex, Patterns: industryPatterns},
		{Name: "isic", Titles: title("国际标准行业分类", "International Standard Industrial Classification (ISIC)"), Owner: apex, Patterns: industryPatterns},
		{Name: "department", Titles: title("部门旧编码", "Former code of a department")},
		{Name: "asset", Titles: title("部门资产旧编号", "Former asset number of a department")},
	}
}
