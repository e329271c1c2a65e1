// SPDX-License-Identifier: Apache-2.0

// Package feed is the data platform that a city has already, as far as a gateway
// needs one to stand behind it: a stream of observations of water, energy, air and
// waste, computed and not stored, and the same on every machine. It has the wire
// format of observations as well, with a strict parser for whoever reads them.
//
//	h := feed.NewHandler(feed.Config{City: cityid.MustParse("MA.156.1301"), Seed: 7})
//	page, err := feed.ParsePage(body)
//
// # Series
//
// [Indicators] lists what is observed: for each an identifier of an indicator of ISO
// 37120:2018, a unit of UCUM, and a period. An observation is not the indicator's
// value, which is of a year and a city, but one of those it is computed from. Each
// indicator is observed by a number of stations ([Config.Stations]); a station has a
// code of its own below the city:
//
//	CITY/CLASS/NUMBER   MA.156.1301/30.080001/000012
//
// where the class is that of the [Domain] and the number begins with 000001. One
// indicator at one station is a series.
//
// The value of a series at a minute is a function of seed, city, indicator, station
// and minute, in integers alone: a base, times a shape of the day, of the week and of
// the year, in the city's local time (8 hours ahead of UTC for country 156, else UTC),
// times noise. Noise is that of the city, shared by all stations, slow and strong; of
// the station; and of the minute. Its source is SplitMix64 over a key, the first 8
// octets of
//
//	SHA-256("cityid/feed/1" || seed as 8 octets || city || 0x00 || name || 0x00 || station as 4 octets)
//
// # Faults
//
// A platform of a city is never clean, so neither is this one. Of 10,000 observations
// of a series, 30 are never made, 50 arrive 7 minutes late and 20 arrive 45 minutes
// late, 20 are wrong and corrected after 90 minutes, 5 after a day. On about 15 of
// 1,000 days a station says nothing for 20 to 259 minutes.
//
// # Stream
//
// An observation of a minute is released at its end, so at the beginning of the next;
// one of a day (of the local calendar) between 06:00 and 06:59 of the next day, each
// station at a minute of its own. Its number in the stream is
//
//	seq = minute of release since 1970 << 16  |  kind << 13  |  index of the series
//
// where the kind is 0 on time, 1 and 2 late, 3 and 4 correction. Numbers grow, with
// gaps. A correction repeats time, indicator and source with the right value and names
// in corrects the number of what it replaces. What was released never changes, so a
// reader that goes on from where it was misses nothing and sees nothing twice.
//
// # HTTP
//
//	GET /observations?after=CURSOR&limit=N&indicator=ID   a page of the stream
//	GET /latest?indicator=ID                              the latest of each series, and the cursor of the present
//	GET /observations/minute/2026-03-01T12:00:00Z?indicator=ID   all there is of a minute by now
//	GET /schema.json                                      the JSON Schema of the three
//
// Answers are [Page]s; a minute's has no next. Without after the stream begins with
// [Config.Begin]. limit is 1 to 2000, 500 without it; a page may have fewer and even
// none while more is true. A cursor is opaque and belongs to one city, seed and number
// of stations; it survives a restart. Parameters that are unknown, repeated or badly
// formed are refused with 400, a cursor from before Begin with 410. Refusals are
// problems (RFC 9457).
package feed

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
)

// Limits of a feed.
const (
	MaxStations     = 250 // stations of each domain
	DefaultStations = 140 // with which the minutes of a day have about 1.2 million observations
	MaxSpeed        = 100_000
)

// Config says what platform to play. City is required.
type Config struct {
	City     cityid.Code // a place, such as MA.156.1301
	Seed     uint64
	Stations int              // stations of each domain, 1 to [MaxStations]; 0: [DefaultStations]
	Begin    time.Time        // first minute there are observations of, cut to minutes; zero: 00:00 UTC of the day before Now
	Now      func() time.Time // the platform's clock, called by several goroutines; nil: [time.Now]
}

// Clock returns a clock that shows start now and passes speed seconds in each second.
func Clock(start time.Time, speed int) func() time.Time {
	origin := time.Now()
	return func() time.Time {
		passed := time.Since(origin)
		whole, rest := int64(passed/time.Second), passed%time.Second
		return time.Unix(start.Unix()+whole*int64(speed), int64(start.Nanosecond())).Add(rest * time.Duration(speed)).UTC()
	}
}

// A Feed is a platform. It holds nothing but its series, and goroutines may share it.
type Feed struct {
	config Config
	begin  int64 // minutes since 1970
	offset int64 // minutes that local time is ahead of UTC
	tag    [4]byte
	series []series
	cities []cityKeys // by index of indicator
	below  []int      // by index of indicator: that of the one whose value is added; -1: none
}

// New returns the platform, or says what is wrong with the configuration.
func New(c Config) (*Feed, error) {
	c.Stations = cmp.Or(c.Stations, DefaultStations)
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case c.City.Place() == "" || c.City.Class() != "":
		return nil, fmt.Errorf("city %q: want the code of a place, such as MA.156.1301", c.City)
	case c.Stations < 1 || c.Stations > MaxStations:
		return nil, fmt.Errorf("%d stations: want 1 to %d", c.Stations, MaxStations)
	}
	if c.Begin.IsZero() {
		c.Begin = c.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	}
	f := &Feed{config: c, begin: c.Begin.Unix() / 60}
	if f.begin < 1440 || f.begin > maxMinute {
		return nil, errors.New("the first observations must be of the years 1970 to 9999")
	}
	if c.City.Country() == "156" {
		f.offset = 8 * 60
	}
	tag := f.digest("cursor", c.Stations)
	copy(f.tag[:], tag[:])
	for i := range indicators {
		ind := &indicators[i]
		f.cities = append(f.cities, cityKeys{slow: f.key(ind.weather+" slow", 0), fast: f.key(ind.weather+" fast", 0)})
		f.below = append(f.below, indexOf(ind.above))
		for n := 1; n <= c.Stations; n++ {
			source, err := f.station(ind.Domain, n)
			if err != nil {
				return nil, err
			}
			key := f.key(ind.ID, n)
			f.series = append(f.series, series{
				indicator: i, station: n - 1, source: source, key: key, outages: f.key("outages "+ind.Domain.class(), n),
				level: signed(hash(key, 0)) * ind.spread / 1000, morning: int64(hash(key, 1) % 60),
			})
		}
	}
	return f, nil
}

// series is one indicator at one station.
type series struct {
	indicator int // index
	station   int // index, one less than its number
	source    cityid.Code
	key       uint64
	outages   uint64 // key of the station's outages
	level     int64  // thousandths by which the station differs from the city, always
	morning   int64  // minute after 06:00 at which a day's observation is released
}

// cityKeys are the keys of the noise that all stations share.
type cityKeys struct{ slow, fast uint64 }

// digest is the hash that keys are taken from.
func (f *Feed) digest(name string, station int) [32]byte {
	b := binary.BigEndian.AppendUint64([]byte("cityid/feed/1"), f.config.Seed)
	b = append(b, f.config.City.String()...)
	b = append(b, 0)
	b = append(b, name...)
	b = binary.BigEndian.AppendUint32(append(b, 0), uint32(station))
	return sha256.Sum256(b)
}

func (f *Feed) key(name string, station int) uint64 {
	d := f.digest(name, station)
	return binary.BigEndian.Uint64(d[:8])
}

// station returns the code of a domain's n-th station.
func (f *Feed) station(d Domain, n int) (cityid.Code, error) {
	code, err := cityid.Parse(fmt.Sprintf("%s/%s/%06d", f.config.City, d.class(), n))
	if err != nil {
		return cityid.Code{}, fmt.Errorf("stations of %s: %w", f.config.City, err)
	}
	return code, nil
}

// A Station is what observes.
type Station struct {
	Code   cityid.Code  `json:"code"`
	Domain Domain       `json:"domain"`
	Names  cityid.Names `json:"names"`
}

// Stations returns all stations in order of code, for instance to register their
// codes.
func (f *Feed) Stations() []Station {
	var out []Station
	seen := map[cityid.Code]bool{}
	for i := range f.series {
		s := &f.series[i]
		if seen[s.source] {
			continue
		}
		seen[s.source] = true
		d := indicators[s.indicator].Domain
		number := strings.TrimLeft(s.source.LastNode(), "0")
		out = append(out, Station{s.source, d, cityid.NamesOf(map[string]string{
			"zh": d.Label("zh") + "监测站" + number + "号", "en": d.Label("en") + " station " + number,
		})})
	}
	slices.SortFunc(out, func(a, b Station) int { return a.Code.Compare(b.Code) })
	return out
}

// Begin returns the first minute there are observations of.
func (f *Feed) Begin() time.Time { return time.Unix(f.begin*60, 0).UTC() }

// Now returns what the platform's clock shows.
func (f *Feed) Now() time.Time { return f.config.Now() }

// minute returns the minute that the clock shows, within what can be written.
func (f *Feed) minute() int64 { return min(max(f.config.Now().Unix()/60, 0), maxMinute) }
