// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the document is not fit to be published
	Warning Severity = "warning" // it is, and would be better otherwise
)

// Finding is something that is wrong with a document.
type Finding struct {
	ID       string   `json:"id"` // stable, lower-case words joined by hyphens
	Severity Severity `json:"severity"`
	Path     string   `json:"path"` // JSON pointer into the document
	Words    Words    `json:"words"`
}

// Check says what a document still needs: every error, then every warning, both
// in a fixed order. A document without errors has all that DCAT-AP makes
// mandatory, and what the package comment lists beyond that. The result depends
// on d alone.
func Check(d *Dataset) []Finding {
	c := checker{d: d}
	c.about()
	c.people()
	c.sharing()
	c.coverage()
	c.standards()
	c.distributions()
	c.indicators()
	slices.SortStableFunc(c.found, func(a, b Finding) int { return strings.Compare(string(a.Severity), string(b.Severity)) })
	return c.found
}

// Publishable reports whether [Check] finds no error.
func Publishable(findings []Finding) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error })
}

type checker struct {
	d     *Dataset
	found []Finding
}

func (c *checker) fail(wrong bool, id, path, zh, en string) { c.find(wrong, Error, id, path, zh, en) }
func (c *checker) warn(wrong bool, id, path, zh, en string) { c.find(wrong, Warning, id, path, zh, en) }

func (c *checker) find(wrong bool, s Severity, id, path, zh, en string) {
	if wrong {
		c.found = append(c.found, Finding{id, s, path, Words{zh, en}})
	}
}

// speaks reports whether there is a name in a language or a variety of it.
func speaks(n cityid.Names, lang string) bool {
	return slices.ContainsFunc(n, func(x cityid.Name) bool { return x.Lang == lang || strings.HasPrefix(x.Lang, lang+"-") })
}

func bilingual(n cityid.Names) bool { return speaks(n, "zh") && speaks(n, "en") }

func (c *checker) about() {
	d := c.d
	c.fail(len(d.Title) == 0, "title-missing", "/title", "缺少标题。", "The title is missing.")
	c.warn(len(d.Title) > 0 && !bilingual(d.Title), "title-languages", "/title", "标题应同时有中文和英文。", "The title should be there in Chinese and in English.")
	c.fail(len(d.Description) == 0, "description-missing", "/description", "缺少说明。", "The description is missing.")
	c.warn(len(d.Description) > 0 && !bilingual(d.Description), "description-languages", "/description", "说明应同时有中文和英文。", "The description should be there in Chinese and in English.")
	c.fail(!d.keyworded("zh"), "keyword-zh", "/keyword", "缺少中文关键词。", "Keywords in Chinese are missing.")
	c.fail(!d.keyworded("en"), "keyword-en", "/keyword", "缺少英文关键词。", "Keywords in English are missing.")
	c.fail(len(d.Themes) == 0, "theme-missing", "/theme", "缺少主题分类。", "The theme is missing.")
	for i := range d.Themes {
		t, at := &d.Themes[i], "/theme/"+strconv.Itoa(i)
		c.fail(len(t.Label) == 0, "theme-name", at, "主题没有名称。", "The theme has no name.")
		c.warn(!t.known(), "theme-unknown", at+"/@id", "主题既不在欧盟数据主题表中，也不是对照体系中的代码，别人难以归类。",
			"The theme is neither in the European table of data themes nor a term of a crosswalk scheme, so that others can not sort by it.")
	}
	c.fail(d.Issued == 0, "issued-missing", "/issued", "缺少发布时间。", "The time of first publication is missing.")
	c.fail(d.Modified == 0, "modified-missing", "/modified", "缺少最近更新时间。", "The time of the last change is missing.")
	c.fail(d.Modified != 0 && d.Modified < d.Issued, "modified-early", "/modified", "更新时间早于发布时间。", "The last change lies before the first publication.")
	c.fail(d.Frequency == "", "frequency-missing", "/accrualPeriodicity", "缺少更新频率。", "The frequency of updates is missing.")
	c.warn(d.Frequency != "" && !within(d.Frequency, EUFrequency, euFrequencies), "frequency-unknown", "/accrualPeriodicity",
		"更新频率不在欧盟频率表中。", "The frequency is not in the European table of frequencies.")
	c.fail(len(d.Languages) == 0, "language-missing", "/language", "缺少数据所用的语言。", "The language of the data is missing.")
	c.warn(slices.ContainsFunc(d.Languages, func(l string) bool { return !authority(l, EULanguage) }), "language-unknown", "/language",
		"语言不在欧盟语言表中。", "A language is not in the European table of languages.")
	c.warn(d.LandingPage == "", "landing-page", "/landingPage", "没有供人阅读的网页。", "There is no page for people to read.")
	c.warn(d.Version == "", "version", "/version", "没有版本号。", "There is no version.")
}

// keyworded reports whether there are keywords in a language or a variety of it.
func (d *Dataset) keyworded(lang string) bool {
	return slices.ContainsFunc(d.Keywords, func(k KeywordSet) bool { return k.Lang == lang || strings.HasPrefix(k.Lang, lang+"-") })
}

// known reports whether a theme is one that others can sort by.
func (c *Concept) known() bool {
	return within(c.ID, EUTheme, euThemes) || strings.HasPrefix(c.ID, schemePrefix)
}

func (c *checker) people() {
	d := c.d
	c.fail(d.Publisher == nil, "publisher-missing", "/publisher", "缺少发布单位。", "The publisher is missing.")
	if p := d.Publisher; p != nil {
		c.fail(len(p.Name) == 0, "publisher-name", "/publisher/name", "发布单位没有名称。", "The publisher has no name.")
		c.warn(!d.ID.code.Within(p.ID.code), "publisher-elsewhere", "/publisher/@id", "数据集的代码不在发布单位的代码之下。", "The dataset's code does not lie below the publisher's.")
		c.warn(p.ID.host != d.ID.host, "publisher-host", "/publisher/@id", "发布单位与数据集用了不同的解析主机。", "The publisher is named at another resolver than the dataset.")
	}
	c.fail(d.Contact == nil, "contact-missing", "/contactPoint", "缺少联系方式。", "The contact is missing.")
	if p := d.Contact; p != nil {
		c.fail(len(p.Name) == 0, "contact-name", "/contactPoint/fn", "联系方式没有科室名称。", "The contact has no name of an office.")
		c.fail(p.Email == "" && p.Telephone == "" && p.Page == "", "contact-address", "/contactPoint", "联系方式没有邮箱、电话或网页。", "The contact has no address, telephone or page.")
		c.warn(p.Email != "" && !roleAddress(p.Email), "contact-person", "/contactPoint/hasEmail",
			"邮箱看起来属于个人，请用科室邮箱，人员变动时仍然有效，也不公开个人信息。",
			"The address looks like a person's: name an office's, which outlives its staff and gives away nobody.")
	}
}

// roleWords are what the addresses of offices are made of.
var roleWords = []string{"admin", "bureau", "contact", "data", "desk", "dept", "dsj", "enquir", "feedback", "geo", "gov", "help", "hotline",
	"info", "inquir", "kefu", "mail", "office", "open", "press", "request", "sc", "secretariat", "service", "share", "shuju", "sjj",
	"support", "team", "webmaster", "zwgk"}

// roleAddress reports whether a mailto IRI looks like the address of an office.
func roleAddress(mailto string) bool {
	local, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(mailto, "mailto:")), "@")
	for _, part := range strings.FieldsFunc(local, func(r rune) bool { return r == '.' || r == '-' || r == '_' || r == '+' }) {
		if slices.ContainsFunc(roleWords, func(w string) bool { return len(w) > 2 && strings.HasPrefix(part, w) || part == w }) {
			return true
		}
	}
	return local == "12345" // the hotline of Chinese cities
}

func (c *checker) sharing() {
	d := c.d
	p := d.Policy()
	c.fail(d.Access == 0, "access-missing", "/accessRights", "没有说明谁可以得到数据。", "It is not said who gets the data.")
	licensed := len(d.Distributions) > 0 && !slices.ContainsFunc(d.Distributions, func(x Distribution) bool { return x.Licence == "" })
	c.fail(p == nil && d.Access != Closed && !licensed, "licence-missing", "/hasPolicy", "既没有使用策略，也不是每种获取方式都有许可协议。",
		"There is no usage policy, and not every distribution has a licence.")
	c.fail(p == nil && d.Access == Conditional, "policy-missing", "/hasPolicy", "有条件共享的数据集必须有使用策略，协议以它为准。",
		"A dataset under agreements needs a usage policy, which agreements name.")
	c.warn(p == nil && d.Access == Open && licensed, "policy-open", "/hasPolicy", "没有使用策略，数据空间的连接器读不到要约。",
		"There is no usage policy, so connectors of data spaces find no offer.")
	if p == nil {
		return
	}
	c.fail(d.Access == Open && (len(p.Recipients) > 0 || len(p.Purposes) > 0), "open-restricted", "/hasPolicy/0",
		"开放的数据集不能限定使用者或用途。", "An open dataset can not be for some recipients or purposes alone.")
	c.fail(d.Access == Closed, "closed-offered", "/hasPolicy/0", "不共享的数据集不能有使用策略。", "A closed dataset can not have a policy that permits use.")
	c.warn(d.Publisher != nil && p.Assigner != d.Publisher.ID, "policy-assigner", "/hasPolicy/0/assigner", "使用策略的授予方不是发布单位。",
		"The policy's assigner is not the publisher.")
}

func (c *checker) coverage() {
	d := c.d
	c.fail(d.Spatial == nil, "spatial-missing", "/spatial", "没有说明数据覆盖的地方。", "It is not said which place the data covers.")
	c.warn(d.Spatial != nil && d.Spatial.Box == nil && d.Spatial.Point == nil, "spatial-extent", "/spatial", "覆盖的地方没有范围或坐标，地图上找不到。",
		"The place has neither a rectangle nor a point, so that no map finds it.")
	c.warn(d.Spatial != nil && d.Spatial.ID.host != d.ID.host, "spatial-host", "/spatial/@id", "地方与数据集用了不同的解析主机。", "The place is named at another resolver than the dataset.")
	c.fail(d.Temporal == nil || d.Temporal.Start == "", "temporal-missing", "/temporal", "没有说明数据从何时起。", "It is not said from when on there is data.")
}

func (c *checker) standards() {
	d := c.d
	c.fail(len(d.ConformsTo) == 0, "conforms-missing", "/conformsTo", "没有说明数据遵循的模式或数据模型。", "It is not said which schema or data model the data conforms to.")
	c.warn(d.Schema() == nil && d.Access != Closed, "schema-missing", "/conformsTo", "没有带校验值的 JSON Schema，返回的数据无法自动核对。",
		"There is no JSON Schema with a checksum, so answers can not be checked.")
}

func (c *checker) distributions() {
	d := c.d
	c.fail(len(d.Distributions) == 0 && d.Access != Closed, "distribution-missing", "/distribution", "没有获取数据的方式。", "There is no way to get the data.")
	for i := range d.Distributions {
		x, at := &d.Distributions[i], "/distribution/"+strconv.Itoa(i)
		c.fail(x.AccessURL == "", "access-url-missing", at+"/accessURL", "没有获取地址。", "The address of the data is missing.")
		c.fail(x.Format == "", "format-missing", at+"/format", "没有说明文件格式。", "The format is missing.")
		c.warn(x.Format != "" && !authority(x.Format, EUFileType), "format-unknown", at+"/format", "文件格式不在欧盟文件类型表中。", "The format is not in the European table of file types.")
		c.fail(x.MediaType == "", "media-type-missing", at+"/mediaType", "没有说明媒体类型。", "The media type is missing.")
		c.warn(x.MediaType != "" && !strings.HasPrefix(x.MediaType, IANAMediaType), "media-type-unknown", at+"/mediaType", "媒体类型不是 IANA 登记的。", "The media type is not one of IANA's.")
		c.warn(x.ID == "", "distribution-name", at+"/@id", "这种获取方式没有固定的标识。", "The distribution has no stable IRI.")
		c.warn(x.Licence != "" && !knownLicence(x.Licence), "licence-unknown", at+"/license", "许可协议不是常见的协议，机器认不出来。", "The licence is not one that machines recognise.")
		c.service(x.Service, at+"/accessService")
	}
}

func knownLicence(iri string) bool {
	return slices.ContainsFunc(licencePlaces, func(p string) bool { return strings.HasPrefix(iri, p) })
}

func (c *checker) service(s *Service, at string) {
	c.fail(s == nil, "service-missing", at, "没有说明由哪个网关提供。", "It is not said which gateway serves it.")
	if s == nil {
		return
	}
	c.fail(s.Endpoint == "", "endpoint-missing", at+"/endpointURL", "没有网关地址。", "The gateway's address is missing.")
	c.fail(len(s.Title) == 0, "service-title", at+"/title", "网关没有名称。", "The gateway has no title.")
	c.warn(s.EndpointDescription == "", "endpoint-description", at+"/endpointDescription", "没有接口说明文档。", "There is no description of the interface.")
}

func (c *checker) indicators() {
	for i := range c.d.Indicators {
		x, at := &c.d.Indicators[i], "/variableMeasured/"+strconv.Itoa(i)
		c.warn(x.Unit == "", "indicator-unit", at+"/unitCode", "指标没有单位。", "The indicator has no unit.")
		c.warn(len(x.Sources) == 0, "indicator-source", at+"/wasDerivedFrom", "没有说明指标取自哪些来源。", "It is not said which sources the indicator comes from.")
	}
}
