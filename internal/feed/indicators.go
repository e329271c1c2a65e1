// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"fmt"
	"slices"

	"cityid"
)

// Domain is what an indicator is about.
type Domain uint8

// The domains.
const (
	Energy Domain = iota + 1
	Air
	Waste
	Water
)

var domains = []struct{ name, zh, en, class string }{
	Energy: {"energy", "能源", "Energy", "30.070001"},
	Air:    {"air", "空气质量", "Air quality", "30.080001"},
	Waste:  {"waste", "生活垃圾", "Waste", "30.160001"},
	Water:  {"water", "供水", "Water", "30.230001"},
}

// String returns the domain's name.
func (d Domain) String() string { return domains[d].name }

// Label returns what people call the domain, in "zh" or "en".
func (d Domain) Label(lang string) string {
	if lang == "zh" {
		return domains[d].zh
	}
	return domains[d].en
}

// MarshalText returns the domain's name.
func (d Domain) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses a domain's name.
func (d *Domain) UnmarshalText(text []byte) error {
	for i := range domains {
		if i > 0 && domains[i].name == string(text) {
			*d = Domain(i)
			return nil
		}
	}
	return fmt.Errorf("domain %.40q: want energy, air, waste or water", text)
}

// class is the class of the domain's stations. Its category begins with the clause
// of ISO 37120:2018 that the domain has.
func (d Domain) class() string { return domains[d].class }

// Indicator is what is observed.
type Indicator struct {
	ID       string       `json:"id"`     // standard, year and number of the indicator it is computed for, as "37120:2018:8.1"
	Domain   Domain       `json:"domain"` //
	Labels   cityid.Names `json:"labels"` // short, in zh and en
	Unit     string       `json:"unit"`   // UCUM
	Decimals int          `json:"decimals"`
	Minutes  int          `json:"minutes"` // period: 1, or 1440 for a day of the local calendar
}

// Indicators returns all indicators, in the order that the stream has within a
// minute.
func Indicators() []Indicator {
	out := make([]Indicator, len(indicators))
	for i := range indicators {
		out[i] = indicators[i].Indicator
		out[i].Labels = slices.Clone(out[i].Labels)
	}
	return out
}

// IndicatorOf returns the indicator with an identifier.
func IndicatorOf(id string) (Indicator, bool) {
	if i := indexOf(id); i >= 0 {
		return Indicators()[i], true
	}
	return Indicator{}, false
}

func indexOf(id string) int {
	return slices.IndexFunc(indicators, func(x indicator) bool { return x.ID == id })
}

// indicator is an indicator with the model of its values. Values are in millionths of
// the unit, factors in thousandths.
type indicator struct {
	Indicator
	weather string // name of the noise that stations share
	base    int64
	min     int64
	max     int64
	above   string // identifier of an indicator of the same station whose value is added; "": none
	hours   [24]int64
	weekend int64
	months  [12]int64
	swing   int64 // of the weather
	spread  int64 // among stations
	drift   int64 // of a station, within hours
	jitter  int64 // of a minute
}

func labels(zh, en string) cityid.Names {
	return cityid.Names{{Lang: "en", Text: en}, {Lang: "zh", Text: zh}}
}

var flat = [24]int64{
	1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000,
}

// indicators is the table of all indicators. Bases and shapes are of the size that a
// city of the North China Plain has; they are invented.
var indicators = []indicator{
	{
		Indicator: Indicator{ID: "37120:2018:7.1", Domain: Energy, Labels: labels("人均用电量", "Electricity use per head"), Unit: "kW.h/d/{person}", Decimals: 2, Minutes: 1},
		weather:   "heat", base: 15_200_000, min: 1_000_000, max: 90_000_000,
		hours:   [24]int64{720, 670, 640, 630, 640, 690, 800, 930, 1050, 1120, 1150, 1130, 1080, 1090, 1120, 1130, 1140, 1180, 1260, 1310, 1270, 1150, 970, 820},
		weekend: 910, months: [12]int64{1120, 1060, 940, 880, 890, 1010, 1170, 1150, 970, 880, 950, 1090},
		swing: 90, spread: 250, drift: 60, jitter: 15,
	},
	{
		Indicator: Indicator{ID: "37120:2018:8.1", Domain: Air, Labels: labels("细颗粒物 PM2.5", "Fine particles PM2.5"), Unit: "ug/m3", Decimals: 1, Minutes: 1},
		weather:   "air", base: 46_000_000, min: 2_000_000, max: 600_000_000,
		hours:   [24]int64{1090, 1070, 1050, 1030, 1020, 1040, 1100, 1180, 1200, 1130, 1030, 950, 880, 830, 800, 800, 830, 900, 1000, 1080, 1130, 1150, 1140, 1120},
		weekend: 960, months: [12]int64{1750, 1450, 1080, 850, 700, 620, 600, 560, 680, 950, 1330, 1620},
		swing: 620, spread: 180, drift: 120, jitter: 40,
	},
	{
		Indicator: Indicator{ID: "37120:2018:8.2", Domain: Air, Labels: labels("可吸入颗粒物 PM10", "Particles PM10"), Unit: "ug/m3", Decimals: 1, Minutes: 1},
		weather:   "dust", base: 38_000_000, min: 3_000_000, max: 900_000_000, above: "37120:2018:8.1",
		hours:   [24]int64{950, 920, 900, 890, 900, 950, 1050, 1150, 1180, 1120, 1050, 1000, 960, 940, 940, 960, 1000, 1060, 1100, 1100, 1080, 1040, 1000, 970},
		weekend: 930, months: [12]int64{1050, 1080, 1450, 1500, 1250, 900, 700, 680, 780, 900, 1000, 1050},
		swing: 500, spread: 220, drift: 130, jitter: 50,
	},
	{
		Indicator: Indicator{ID: "37120:2018:8.7", Domain: Air, Labels: labels("臭氧 O3", "Ozone O3"), Unit: "ug/m3", Decimals: 1, Minutes: 1},
		weather:   "sun", base: 68_000_000, min: 2_000_000, max: 500_000_000,
		hours:   [24]int64{560, 520, 480, 450, 420, 390, 370, 420, 560, 790, 1060, 1340, 1570, 1720, 1780, 1750, 1640, 1450, 1220, 1010, 850, 740, 660, 600},
		weekend: 1040, months: [12]int64{450, 600, 860, 1120, 1400, 1620, 1480, 1380, 1150, 800, 520, 420},
		swing: 350, spread: 120, drift: 80, jitter: 20,
	},
	{
		Indicator: Indicator{ID: "37120:2018:16.2", Domain: Waste, Labels: labels("人均垃圾清运量", "Waste collected per head"), Unit: "kg/d/{person}", Decimals: 3, Minutes: 1440},
		weather:   "waste", base: 1_060_000, min: 200_000, max: 4_000_000,
		hours: flat, weekend: 1080, months: [12]int64{1020, 1060, 960, 970, 990, 1020, 1060, 1060, 1010, 990, 970, 980},
		swing: 40, spread: 200, drift: 30, jitter: 60,
	},
	{
		Indicator: Indicator{ID: "37120:2018:16.3", Domain: Waste, Labels: labels("垃圾回收利用率", "Share of waste recycled"), Unit: "%", Decimals: 1, Minutes: 1440},
		weather:   "sorting", base: 36_500_000, min: 5_000_000, max: 95_000_000,
		hours: flat, weekend: 970, months: [12]int64{960, 940, 990, 1010, 1020, 1010, 990, 990, 1010, 1030, 1040, 1010},
		swing: 30, spread: 180, drift: 20, jitter: 40,
	},
	{
		Indicator: Indicator{ID: "37120:2018:23.4", Domain: Water, Labels: labels("出厂水浊度", "Turbidity of drinking water"), Unit: "[NTU]", Decimals: 2, Minutes: 1},
		weather:   "rain", base: 260_000, min: 50_000, max: 8_000_000,
		hours:   [24]int64{900, 880, 870, 870, 890, 950, 1080, 1160, 1130, 1060, 1020, 1000, 1000, 990, 980, 980, 1000, 1040, 1090, 1100, 1070, 1010, 960, 920},
		weekend: 990, months: [12]int64{850, 850, 900, 950, 1000, 1080, 1300, 1350, 1120, 980, 900, 860},
		swing: 300, spread: 260, drift: 100, jitter: 60,
	},
	{
		Indicator: Indicator{ID: "37120:2018:23.5", Domain: Water, Labels: labels("人均供水量", "Water supplied per head"), Unit: "L/d/{person}", Decimals: 1, Minutes: 1},
		weather:   "heat", base: 192_000_000, min: 10_000_000, max: 900_000_000,
		hours:   [24]int64{480, 400, 370, 370, 450, 720, 1180, 1480, 1420, 1230, 1130, 1150, 1180, 1060, 980, 970, 1020, 1180, 1390, 1450, 1330, 1120, 860, 640},
		weekend: 1060, months: [12]int64{900, 910, 940, 980, 1040, 1120, 1150, 1130, 1040, 980, 930, 900},
		swing: 60, spread: 220, drift: 90, jitter: 30,
	},
}
