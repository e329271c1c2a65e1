// SPDX-License-Identifier: Apache-2.0

package feed

import "time"

// hash is the SplitMix64 finaliser over a key and a number.
func hash(key, n uint64) uint64 {
	z := key + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// signed returns -1000 to 1000.
func signed(h uint64) int64 { return int64(h%2001) - 1000 }

// noise is a line through random points every so many minutes, from -1000 to 1000.
func noise(key uint64, minute, every int64) int64 {
	cell, at := minute/every, minute%every
	a, b := signed(hash(key, uint64(cell))), signed(hash(key, uint64(cell+1)))
	return a + (b-a)*at/every
}

// moment is a minute with what values depend on.
type moment struct {
	minute int64 // since 1970, UTC
	hour   int   // local
	past   int64 // minutes of the hour
	off    bool  // a Saturday or Sunday
	month  int   // from 0
	gone   int64 // thousandths of the month
}

func (f *Feed) momentOf(minute int64) moment {
	local := minute + f.offset
	day := local / 1440
	t := time.Unix(day*86400, 0).UTC()
	days := t.AddDate(0, 1, 1-t.Day()).AddDate(0, 0, -1).Day()
	return moment{
		minute: minute, hour: int(local % 1440 / 60), past: local % 60,
		off:   t.Weekday() == time.Saturday || t.Weekday() == time.Sunday,
		month: int(t.Month()) - 1, gone: int64(t.Day()-1) * 1000 / int64(days),
	}
}

// value returns the value of a series at a moment, in millionths of its unit.
func (f *Feed) value(s *series, m moment) int64 {
	ind := &indicators[s.indicator]
	v := ind.base
	times := func(thousandths int64) { v = v * thousandths / 1000 }
	a, b := ind.months[m.month], ind.months[(m.month+1)%12]
	times(a + (b-a)*m.gone/1000)
	a, b = ind.hours[m.hour], ind.hours[(m.hour+1)%24]
	times(a + (b-a)*m.past/60)
	if m.off {
		times(ind.weekend)
	}
	city := &f.cities[s.indicator]
	weather := (noise(city.slow, m.minute, 2880)*7 + noise(city.fast, m.minute, 360)*3) / 10
	times(1000 + weather*ind.swing/1000)
	times(1000 + s.level)
	times(1000 + noise(s.key, m.minute, 180)*ind.drift/1000)
	times(1000 + signed(hash(s.key^saltJitter, uint64(m.minute)))*ind.jitter/1000)
	v = min(max(v, ind.min), ind.max)
	if below := f.below[s.indicator]; below >= 0 {
		v += f.value(&f.series[below*f.config.Stations+s.station], m)
	}
	return v
}

// Salts separate uses of one key.
const (
	saltJitter = 0x6a697474
	saltFate   = 0x66617465
	saltWrong  = 0x77726f6e
)

// decimal writes a value in millionths with so many decimals, the last one rounded,
// halves up. Values are positive.
func decimal(millionths int64, decimals int) Decimal {
	unit := int64(1)
	for range 6 - decimals {
		unit *= 10
	}
	n := (millionths + unit/2) / unit
	b := make([]byte, 0, 24)
	for i := 0; i <= decimals || n > 0; i++ {
		if i == decimals && decimals > 0 {
			b = append(b, '.')
		}
		b = append(b, byte('0'+n%10))
		n /= 10
	}
	for i, k := 0, len(b)-1; i < k; i, k = i+1, k-1 {
		b[i], b[k] = b[k], b[i]
	}
	return Decimal(b)
}

// wrong returns what a station said that is corrected later.
func wrong(s *series, minute, right int64) int64 {
	return right * [...]int64{100, 400, 1700}[hash(s.key^saltWrong, uint64(minute))%3] / 1000
}
