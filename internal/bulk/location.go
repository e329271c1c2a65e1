// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"cityid"
)

// CRS is a coordinate reference system that rows may use.
type CRS uint8

// The coordinate reference systems.
const (
	WGS84    CRS = iota // the system of records
	CGCS2000            // read as WGS 84, from which it differs by less than a metre
	GCJ02               // the shifted system of maps published in China; converted
)

// ParseCRS parses the name of a coordinate reference system, without regard to
// case, blanks and hyphens: "WGS84", "EPSG:4326", "CGCS2000", "EPSG:4490",
// "GCJ-02", "国测局". Empty text is WGS 84.
func ParseCRS(s string) (CRS, error) {
	switch strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToUpper(foldWidth(s))) {
	case "", "WGS84", "EPSG:4326", "GPS":
		return WGS84, nil
	case "CGCS2000", "EPSG:4490", "国家2000", "2000国家大地坐标系":
		return CGCS2000, nil
	case "GCJ02", "GCJ", "国测局", "火星坐标", "高德":
		return GCJ02, nil
	}
	return 0, errors.New("want WGS84, CGCS2000 or GCJ-02; convert others, such as BD-09, first")
}

var decimal = regexp.MustCompile(`^[+-]?[0-9]{1,3}(\.[0-9]{1,20})?$`)

// parseDegrees parses decimal degrees within plus and minus limit.
func parseDegrees(s string, limit float64) (float64, error) {
	if !decimal.MatchString(s) {
		return 0, errors.New("want decimal degrees such as 38.045474, with a point and without signs for degrees and minutes")
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(v) > limit {
		return 0, fmt.Errorf("want a value between -%.0f and %.0f degrees", limit, limit)
	}
	return v, nil
}

// locate converts a point in degrees to a record's location.
func locate(lat, lon float64, crs CRS) (cityid.Location, error) {
	if crs == GCJ02 {
		var ok bool
		if lat, lon, ok = GCJ02ToWGS84(lat, lon); !ok {
			return cityid.Location{}, errors.New("GCJ-02 is used inside China only, and this point lies elsewhere: are latitude and longitude exchanged?")
		}
	}
	return cityid.Location{Lat: int32(math.Round(lat * 1e7)), Lon: int32(math.Round(lon * 1e7))}, nil
}

// The box around China in which GCJ-02 is defined, in degrees.
const (
	gcjSouth, gcjNorth = 0.8293, 55.8271
	gcjWest, gcjEast   = 72.004, 137.8347
)

// GCJ02ToWGS84 converts a point in GCJ-02 to WGS 84, in degrees, by iterating
// the published forward formula until it meets the point within a tenth of a
// millimetre. It returns false, and the point unchanged, outside the box around
// China (latitude 0.8293 to 55.8271, longitude 72.004 to 137.8347).
func GCJ02ToWGS84(lat, lon float64) (wgsLat, wgsLon float64, ok bool) {
	if !(lat >= gcjSouth && lat <= gcjNorth && lon >= gcjWest && lon <= gcjEast) {
		return lat, lon, false
	}
	wgsLat, wgsLon = lat, lon
	for range 20 {
		fLat, fLon := wgs84ToGCJ02(wgsLat, wgsLon)
		dLat, dLon := fLat-lat, fLon-lon
		wgsLat, wgsLon = wgsLat-dLat, wgsLon-dLon
		if math.Abs(dLat) < 1e-9 && math.Abs(dLon) < 1e-9 {
			break
		}
	}
	return wgsLat, wgsLon, true
}

// wgs84ToGCJ02 is the published forward formula.
func wgs84ToGCJ02(lat, lon float64) (gcjLat, gcjLon float64) {
	const (
		axis = 6378245.0              // semi-major axis of the Krasovsky ellipsoid, in metres
		ecc2 = 0.00669342162296594323 // its eccentricity squared
	)
	x, y := lon-105, lat-35
	sines := func(v, a, b, c, d, e, f float64) float64 {
		return (a*math.Sin(v*math.Pi) + b*math.Sin(v/3*math.Pi) + c*math.Sin(v/12*math.Pi) + d*math.Sin(v/30*math.Pi) + e*math.Sin(6*x*math.Pi) + f*math.Sin(2*x*math.Pi)) * 2 / 3
	}
	dLat := -100 + 2*x + 3*y + 0.2*y*y + 0.1*x*y + 0.2*math.Sqrt(math.Abs(x)) + sines(y, 20, 40, 160, 320, 20, 20)
	dLon := 300 + x + 2*y + 0.1*x*x + 0.1*x*y + 0.1*math.Sqrt(math.Abs(x)) + sines(x, 20, 40, 150, 300, 20, 20)
	rad := lat / 180 * math.Pi
	m := 1 - ecc2*math.Sin(rad)*math.Sin(rad)
	dLat = dLat * 180 / (axis * (1 - ecc2) / (m * math.Sqrt(m)) * math.Pi)
	dLon = dLon * 180 / (axis / math.Sqrt(m) * math.Cos(rad) * math.Pi)
	return lat + dLat, lon + dLon
}
