// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"slices"
	"strings"
)

// Score is how good a description is, in points: 0 to 100.
type Score struct {
	Points     int         `json:"points"`
	Dimensions []Dimension `json:"dimensions"`
}

// Dimension is one of findability, accessibility, interoperability, reusability
// and contextuality, in this order.
type Dimension struct {
	ID     string   `json:"id"`
	Words  Words    `json:"words"`
	Points int      `json:"points"`
	Of     int      `json:"of"` // points there are to be had
	Parts  []Reason `json:"parts"`
}

// Reason is one thing that brings points, all of them or none.
type Reason struct {
	ID     string `json:"id"`
	Points int    `json:"points"`
	Of     int    `json:"of"`
	Words  Words  `json:"words"` // what brings the points
}

// Rate gives a document points along the five dimensions. What is asked of
// distributions is asked of each. The result depends on d alone.
func Rate(d *Dataset) Score {
	dimensions := []Dimension{
		dimension("findability", Words{"可发现性", "findability"}, d.findable()),
		dimension("accessibility", Words{"可获取性", "accessibility"}, d.accessible()),
		dimension("interoperability", Words{"互操作性", "interoperability"}, d.interoperable()),
		dimension("reusability", Words{"可重用性", "reusability"}, d.reusable()),
		dimension("contextuality", Words{"背景信息", "contextuality"}, d.contextual()),
	}
	s := Score{Dimensions: dimensions}
	for _, x := range dimensions {
		s.Points += x.Points
	}
	return s
}

func dimension(id string, w Words, parts []Reason) Dimension {
	x := Dimension{ID: id, Words: w, Parts: parts}
	for _, p := range parts {
		x.Points += p.Points
		x.Of += p.Of
	}
	return x
}

func reason(id string, of int, met bool, zh, en string) Reason {
	r := Reason{ID: id, Of: of, Words: Words{zh, en}}
	if met {
		r.Points = of
	}
	return r
}

// each reports whether there are distributions, and all of them are so.
func (d *Dataset) each(so func(x *Distribution) bool) bool {
	for i := range d.Distributions {
		if !so(&d.Distributions[i]) {
			return false
		}
	}
	return len(d.Distributions) > 0
}

func (d *Dataset) findable() []Reason {
	return []Reason{
		reason("keyword-zh", 5, d.keyworded("zh"), "有中文关键词", "keywords in Chinese"),
		reason("keyword-en", 5, d.keyworded("en"), "有英文关键词", "keywords in English"),
		reason("theme", 5, slices.ContainsFunc(d.Themes, func(t Concept) bool { return t.known() }),
			"主题在欧盟数据主题表或对照体系中", "a theme of the European table or of a crosswalk scheme"),
		reason("spatial", 5, d.Spatial != nil && (d.Spatial.Box != nil || d.Spatial.Point != nil), "有地方及其范围或坐标", "a place, with a rectangle or a point"),
		reason("temporal", 5, d.Temporal != nil && d.Temporal.Start != "", "有时间范围", "a period of time"),
	}
}

func (d *Dataset) accessible() []Reason {
	return []Reason{
		reason("access-url", 5, d.each(func(x *Distribution) bool { return strings.HasPrefix(x.AccessURL, "https://") }), "获取地址使用 HTTPS", "addresses of the data with HTTPS"),
		reason("service", 6, d.each(func(x *Distribution) bool { return x.Service != nil && x.Service.Endpoint != "" }), "说明了由哪个网关提供", "gateways that serve it"),
		reason("endpoint-description", 5, d.each(func(x *Distribution) bool { return x.Service != nil && x.Service.EndpointDescription != "" }), "有接口说明文档", "descriptions of the interfaces"),
		reason("landing-page", 4, d.LandingPage != "", "有供人阅读的网页", "a page for people"),
	}
}

func (d *Dataset) interoperable() []Reason {
	model := slices.ContainsFunc(d.ConformsTo, func(s Standard) bool { return s.Checksum == nil })
	return []Reason{
		reason("format", 5, d.each(func(x *Distribution) bool { return authority(x.Format, EUFileType) }), "文件格式在欧盟文件类型表中", "formats of the European table of file types"),
		reason("media-type", 4, d.each(func(x *Distribution) bool { return strings.HasPrefix(x.MediaType, IANAMediaType) }), "媒体类型是 IANA 登记的", "media types of IANA's"),
		reason("machine-readable", 5, d.each(func(x *Distribution) bool { return within(x.Format, EUFileType, machineReadable) }), "格式便于机器读取", "formats that machines read"),
		reason("schema", 6, d.Schema() != nil, "有带校验值的 JSON Schema", "a JSON Schema with a checksum"),
		reason("model", 5, model, "遵循公开的数据模型或标准", "a data model or standard that others use"),
	}
}

func (d *Dataset) reusable() []Reason {
	licensed := d.each(func(x *Distribution) bool { return knownLicence(x.Licence) })
	return []Reason{
		reason("terms", 8, licensed || d.Policy() != nil, "有常见的许可协议或使用策略", "a licence that machines recognise, or a usage policy"),
		reason("access", 4, d.Access != 0, "说明了谁可以得到数据", "who gets the data"),
		reason("contact", 4, d.Contact != nil && (d.Contact.Email != "" || d.Contact.Telephone != "" || d.Contact.Page != ""), "有联系方式", "a contact"),
		reason("publisher", 4, d.Publisher != nil && len(d.Publisher.Name) > 0, "有发布单位及其名称", "a publisher with a name"),
	}
}

func (d *Dataset) contextual() []Reason {
	measured := len(d.Indicators) > 0 && !slices.ContainsFunc(d.Indicators, func(x Indicator) bool { return x.Unit == "" || len(x.Sources) == 0 })
	sized := d.each(func(x *Distribution) bool { return x.Size > 0 && x.Checksum != nil })
	return []Reason{
		reason("languages", 3, bilingual(d.Title) && bilingual(d.Description), "标题和说明有中英文", "title and description in Chinese and English"),
		reason("issued", 1, d.Issued != 0, "有发布时间", "the time of first publication"),
		reason("modified", 2, d.Modified != 0, "有更新时间", "the time of the last change"),
		reason("frequency", 2, within(d.Frequency, EUFrequency, euFrequencies), "更新频率在欧盟频率表中", "a frequency of the European table"),
		reason("measures", 2, measured || sized, "指标有单位和来源，或文件有大小和校验值", "indicators with units and sources, or files with sizes and checksums"),
	}
}
