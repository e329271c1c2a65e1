// SPDX-License-Identifier: Apache-2.0

package label

import (
	"fmt"
	"strings"
)

// Phrase is a text in both languages.
type Phrase struct{ ZH, EN string }

// In returns the text in lang, "zh" or "en".
func (p Phrase) In(lang string) string {
	if lang == "zh" {
		return p.ZH
	}
	return p.EN
}

// Material is what a label is made of, and what that asks of the symbol.
type Material struct {
	Name     string
	Title    Phrase
	ModuleMM float64 // least size of one module in millimetres that it keeps sharp for years
	Level    Level   // least error correction level
	Advice   Phrase  // for the print shop
}

var materials = []Material{
	{"paper", Phrase{"纸张", "paper"}, 0.4, LevelM, Phrase{"哑光纸，黑色油墨；室内使用", "matt paper, black ink; for use indoors"}},
	{"card", Phrase{"塑料卡", "plastic card"}, 0.4, LevelM, Phrase{"哑光覆膜；不用光面覆膜", "matt overlay, no glossy one"}},
	{"vinyl", Phrase{"户外不干胶", "outdoor vinyl"}, 0.5, LevelQ, Phrase{"哑光抗紫外线覆膜，圆角", "matt laminate against ultraviolet, rounded corners"}},
	{"reflective", Phrase{"反光膜", "reflective film"}, 0.7, LevelQ, Phrase{"二维码及静区之下用不反光的哑白底，防止闪光灯回光", "matt white, not reflective, under the symbol and its quiet zone: a flash would blind the camera"}},
	{"aluminium", Phrase{"铝板", "aluminium"}, 0.7, LevelQ, Phrase{"先涂哑白底再印黑色；不在裸露金属上蚀刻", "print black on a matt white coat; do not etch bare metal"}},
	{"cast", Phrase{"铸件及路面嵌板", "castings and plates set in the ground"}, 1.5, LevelH, Phrase{"嵌板低于磨损面，黑白两色填充，不靠凹凸成像", "set the plate below the worn surface; fill with black and white, relief alone is not read"}},
}

// Materials returns all materials.
func Materials() []Material { return append([]Material(nil), materials...) }

// MaterialOf returns the material of a name.
func MaterialOf(name string) (Material, error) {
	var names []string
	for _, m := range materials {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Material{}, fmt.Errorf("material %.40q: want one of %s", name, strings.Join(names, ", "))
}

// Template is a named layout.
type Template struct {
	Name     string
	Title    Phrase
	Material string  // what it is usually made of
	Level    Level   // least error correction level
	WidthMM  float64 // of one label; 0: as the symbol needs
	HeightMM float64
	BoxMM    float64 // largest side of the symbol with its quiet zone
	Beside   bool    // the text stands beside the symbol, else below
	TextMM   float64 // largest size of the text
	Page     string  // "A4" or "A5"

	certificate bool
}

// SheetTemplate is the name of the plain grid that [WriteSheet] makes.
const SheetTemplate = "sheet"

var templates = []Template{
	{Name: SheetTemplate, Title: Phrase{"普通标签页", "plain grid"}, Material: "paper", Level: LevelQ, Page: "A4"},
	{Name: "pole", Title: Phrase{"杆件标签", "sticker for poles"}, Material: "vinyl", Level: LevelQ, WidthMM: 60, HeightMM: 40, BoxMM: 37, Beside: true, TextMM: 2.3, Page: "A4"},
	{Name: "manhole", Title: Phrase{"井盖标牌", "plate for manhole covers"}, Material: "cast", Level: LevelH, WidthMM: 150, HeightMM: 190, BoxMM: 148, TextMM: 4.5, Page: "A4"},
	{Name: "door", Title: Phrase{"门牌", "door plate"}, Material: "aluminium", Level: LevelQ, WidthMM: 150, HeightMM: 90, BoxMM: 88, Beside: true, TextMM: 5, Page: "A4"},
	{Name: "card", Title: Phrase{"卡片", "card"}, Material: "card", Level: LevelQ, WidthMM: 85.6, HeightMM: 53.98, BoxMM: 50, Beside: true, TextMM: 3, Page: "A4"},
	{Name: "certificate", Title: Phrase{"证书（A4）", "certificate on A4"}, Material: "paper", Level: LevelM, WidthMM: 190, HeightMM: 268, BoxMM: 80, TextMM: 6, Page: "A4", certificate: true},
	{Name: "certificate-a5", Title: Phrase{"证书（A5）", "certificate on A5"}, Material: "paper", Level: LevelM, WidthMM: 128, HeightMM: 180, BoxMM: 62, TextMM: 4.5, Page: "A5", certificate: true},
}

// Templates returns all templates.
func Templates() []Template { return append([]Template(nil), templates...) }

// TemplateOf returns the template of a name.
func TemplateOf(name string) (Template, error) {
	var names []string
	for _, t := range templates {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Template{}, fmt.Errorf("template %.40q: want one of %s", name, strings.Join(names, ", "))
}

// Certificate reports whether the template prints certificates.
func (t Template) Certificate() bool { return t.certificate }
