// SPDX-License-Identifier: Apache-2.0

package index

import (
	"math"
	"strconv"

	"cityid"
)

// levels are the grids whose cells are tokens: a cell's side is 2^level units of
// 1e-7 degrees, from 54 degrees to 180 metres.
var levels = [...]uint{29, 26, 23, 20, 17, 14}

// maxCells is how many cells a box may be covered with. A box that fits into a
// cell of one level is covered by 81 of the next at most.
const maxCells = 81

func cellToken(level int, y, x int32) string {
	b := append(make([]byte, 0, 20), 'g'+byte(level)) // a letter above f

	b = strconv.AppendUint(b, uint64(uint32(y)), 16)
	b = append(b, 'x') // which no hexadecimal number has
	return string(strconv.AppendUint(b, uint64(uint32(x)), 16))
}

// cells adds the tokens of a location.
func (s *tokenSet) cells(l *cityid.Location) {
	for i, k := range levels {
		s.add('g', cellToken(i, l.Lat>>k, l.Lon>>k))
	}
}

// cover returns the tokens of which every located record in the box has one.
func cover(b cityid.Box) []string {
	for i := len(levels) - 1; i >= 0; i-- {
		k := levels[i]
		y0, y1, x0, x1 := b.South>>k, b.North>>k, b.West>>k, b.East>>k
		if i > 0 && (int64(y1)-int64(y0)+1)*(int64(x1)-int64(x0)+1) > maxCells {
			continue
		}
		var out []string
		for y := y0; y <= y1; y++ {
			for x := x0; x <= x1; x++ {
				out = append(out, "g"+cellToken(i, y, x))
			}
		}
		return out
	}
	return nil
}

func inside(b *cityid.Box, l *cityid.Location) bool {
	return l != nil && l.Lat >= b.South && l.Lat <= b.North && l.Lon >= b.West && l.Lon <= b.East
}

const (
	earth   = 6_371_008.8 // mean radius in metres
	halfway = 20_016_000  // metres from a point to the farthest one, rounded up
	unit    = math.Pi / 180 / 1e7
)

// distance returns the millimetres between two points on a sphere.
func distance(a, b *cityid.Location) int64 {
	lat1, lat2 := float64(a.Lat)*unit, float64(b.Lat)*unit
	u, v := math.Sin((lat2-lat1)/2), math.Sin((float64(b.Lon)-float64(a.Lon))*unit/2)
	h := u*u + math.Cos(lat1)*math.Cos(lat2)*v*v
	return int64(math.Round(2 * earth * math.Asin(math.Sqrt(min(1, h))) * 1000))
}

// around returns one or two boxes that hold every point within metres of l.
func around(l *cityid.Location, metres float64) []cityid.Box {
	const latMax, lonMax = 90e7, 180e7
	d := metres / earth / unit * 1.0001
	south, north := float64(l.Lat)-d-2, float64(l.Lat)+d+2
	box := cityid.Box{
		South: int32(max(-latMax, math.Floor(south))), North: int32(min(latMax, math.Ceil(north))), West: -lonMax, East: lonMax,
	}
	if south <= -latMax || north >= latMax {
		return []cityid.Box{box}
	}
	// The meridians that touch the circle: sin(dlon) = sin(r) / cos(lat).
	s := math.Sin(d*unit) / math.Cos(float64(l.Lat)*unit)
	if d*unit >= math.Pi/2 || s >= 1 {
		return []cityid.Box{box}
	}
	w := math.Asin(s)/unit*1.0001 + 2
	west, east := math.Floor(float64(l.Lon)-w), math.Ceil(float64(l.Lon)+w)
	other := box
	switch {
	case west < -lonMax:
		box.East, other.West = int32(min(lonMax, east)), int32(west+2*lonMax)
		return []cityid.Box{box, other}
	case east > lonMax:
		box.West, other.East = int32(west), int32(east-2*lonMax)
		return []cityid.Box{box, other}
	}
	box.West, box.East = int32(west), int32(east)
	return []cityid.Box{box}
}

// intersect narrows boxes to limit, if there is one.
func intersect(boxes []cityid.Box, limit *cityid.Box) []cityid.Box {
	if limit == nil {
		return boxes
	}
	var out []cityid.Box
	for _, b := range boxes {
		b = cityid.Box{South: max(b.South, limit.South), West: max(b.West, limit.West), North: min(b.North, limit.North), East: min(b.East, limit.East)}
		if b.South <= b.North && b.West <= b.East {
			out = append(out, b)
		}
	}
	return out
}
