// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"math"
	"strconv"
	"strings"
)

// scale is an axis of numbers: round ones between two ends that are round as well.
type scale struct {
	low, high float64
	ticks     []scaleTick
}

type scaleTick struct {
	at   float64
	text string
}

// newScale returns a scale that holds low and high (finite, low <= high), with about
// n steps. Of a single value it shows the surroundings.
func newScale(low, high float64, n int) scale {
	if room := math.Max(math.Abs(low), math.Abs(high)); high-low <= room*1e-9 {
		// One value, or several that can not be told apart.
		pad := room * .1
		if room == 0 {
			pad = 1
		}
		if low >= 0 && low-pad < 0 || room == 0 {
			low, high = 0, high+pad
		} else {
			low, high = low-pad, high+pad
		}
	}
	digit, exponent := roundStep((high - low) / float64(n))
	step := float64(digit) * math.Pow(10, float64(exponent))
	first, last := int64(math.Floor(low/step+1e-9)), int64(math.Ceil(high/step-1e-9))
	s := scale{low: math.Min(low, float64(first)*step), high: math.Max(high, float64(last)*step)}
	for k := first; k <= last; k++ {
		s.ticks = append(s.ticks, scaleTick{float64(k) * step, powerText(k*digit, exponent)})
	}
	return s
}

// roundStep returns the least of 1, 2 and 5 times a power of ten that is not below
// step.
func roundStep(step float64) (digit int64, exponent int) {
	exponent = int(math.Floor(math.Log10(step)))
	scaled := step / math.Pow(10, float64(exponent))
	for _, d := range []int64{1, 2, 5} {
		if scaled <= float64(d)*(1+1e-9) {
			return d, exponent
		}
	}
	return 1, exponent + 1
}

// powerText writes n times ten to a power exactly, the way people do.
func powerText(n int64, exponent int) string {
	if n == 0 {
		return "0"
	}
	digits, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		digits, sign = digits[1:], "−"
	}
	size := len(digits) + exponent // places before the point
	switch {
	case size > 7 || size < -4:
		return sign + scientific(digits, size-1)
	case exponent >= 0:
		whole, _ := strconv.ParseInt(digits+strings.Repeat("0", exponent), 10, 64)
		return sign + grouped(whole)
	case size <= 0:
		digits = strings.Repeat("0", 1-size) + digits
		size = 1
	}
	return sign + digits[:size] + "." + digits[size:]
}

// scientific writes digits as a number with one place before the point, times a power
// of ten.
func scientific(digits string, power int) string {
	digits = strings.TrimRight(digits, "0")
	if len(digits) > 1 {
		digits = digits[:1] + "." + digits[1:]
	}
	raised := strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")
	return digits + "×10" + raised.Replace(strconv.Itoa(power))
}
