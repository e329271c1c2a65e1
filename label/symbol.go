// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"

	qrcode "github.com/skip2/go-qrcode"

	"cityid"
)

// Quiet is the width in modules of the white margin that every symbol needs on
// each side, and that every image made here includes.
const Quiet = 4

// Versions of a field label's symbol, and the modules of a symbol's side.
const (
	smallVersion = 3
	largeVersion = 4
)

func modulesOf(version int) int { return 17 + 4*version }

// Level is an error correction level of a QR symbol: how much of it may be lost.
type Level uint8

// The levels that labels use.
const (
	LevelM Level = iota + 1 // about 15 %: certificates, read flat and near
	LevelQ                  // about 25 %: field labels
	LevelH                  // about 30 %: what is trodden and driven on
)

var levelNames = []string{LevelM: "M", LevelQ: "Q", LevelH: "H"}

// String returns "M", "Q" or "H".
func (l Level) String() string {
	if l == 0 || int(l) >= len(levelNames) {
		return fmt.Sprintf("level-%d", uint8(l))
	}
	return levelNames[l]
}

// ParseLevel parses "M", "Q" or "H", in either case.
func ParseLevel(s string) (Level, error) {
	for l := LevelM; l <= LevelH; l++ {
		if strings.EqualFold(s, l.String()) {
			return l, nil
		}
	}
	return 0, fmt.Errorf("error correction level %.20q: want M, Q or H", s)
}

// recovery are the library's names of the levels, which are not the standard's.
var recovery = []qrcode.RecoveryLevel{LevelM: qrcode.Medium, LevelQ: qrcode.High, LevelH: qrcode.Highest}

// fieldVersions are, for each level of a field label, the versions of its
// symbol and the characters each holds in alphanumeric mode.
var fieldVersions = map[Level][]struct{ version, characters int }{
	LevelQ: {{smallVersion, maxSmall}, {largeVersion, MaxField}},
	LevelH: {{4, 50}, {5, 64}, {6, MaxField}},
}

// Symbol is a QR symbol together with what is printed beside it. It is
// immutable; only [FieldSymbol], [CertificateSymbol], [SourceSymbol] and
// [TextSymbol] build one, and their variants.
type Symbol struct {
	text    string
	code    cityid.Code // zero: of a text
	host    string
	dates   string // of a certificate or a source mark, to be printed; else empty
	modules int
	dark    []bool // row by row
}

// Text returns the text inside the symbol.
func (s *Symbol) Text() string { return s.text }

// Code returns the code the symbol carries.
func (s *Symbol) Code() cityid.Code { return s.code }

// Host returns the host, and port if any, that the symbol points to.
func (s *Symbol) Host() string { return s.host }

// Modules returns the modules of one side, without the quiet zone.
func (s *Symbol) Modules() int { return s.modules }

// Dark reports whether the module in column x of row y is dark, both counted
// from 0 at the top left without the quiet zone; outside, nothing is.
func (s *Symbol) Dark(x, y int) bool {
	return x >= 0 && y >= 0 && x < s.modules && y < s.modules && s.dark[y*s.modules+x]
}

// FieldSymbol returns the symbol of a field label: level Q, 29x29 modules up
// to 47 characters of [FieldURL], else 33x33.
func FieldSymbol(u PublicURL, code cityid.Code) (*Symbol, error) {
	return FieldSymbolAt(u, code, LevelQ)
}

// FieldSymbolAt is [FieldSymbol] at level Q or H. At H the symbol has 33x33
// modules up to 50 characters, 37x37 up to 64, else 41x41.
func FieldSymbolAt(u PublicURL, code cityid.Code, level Level) (*Symbol, error) {
	text, err := FieldURL(u, code)
	if err != nil {
		return nil, err
	}
	version, err := fieldVersion(text, level)
	if err != nil {
		return nil, fmt.Errorf("field label for %s: %w", code, err)
	}
	q, err := qrcode.NewWithForcedVersion(text, version, recovery[level])
	if err != nil {
		return nil, fmt.Errorf("field label for %s: %w", code, err)
	}
	return newSymbol(q, text, u, code), nil
}

func fieldVersion(text string, level Level) (int, error) {
	for _, v := range fieldVersions[level] {
		if len(text) <= v.characters {
			return v.version, nil
		}
	}
	return 0, fmt.Errorf("level %s: a field label has level Q or H", level)
}

// CertificateSymbol returns the symbol of a certificate: level M, 41x41 modules
// for a city at a short host, 45x45 for its objects, 57x57 for the longest code.
func CertificateSymbol(u PublicURL, c Certificate) (*Symbol, error) {
	return CertificateSymbolAt(u, c, LevelM)
}

// CertificateSymbolAt is [CertificateSymbol] at level M, Q or H, for paper that
// is folded and stamped: with level H a city at a short host has 57x57 modules
// and the longest code up to 81x81.
func CertificateSymbolAt(u PublicURL, c Certificate, level Level) (*Symbol, error) {
	text, err := CertificateURL(u, c)
	if err != nil {
		return nil, err
	}
	if level < LevelM || level > LevelH {
		return nil, fmt.Errorf("certificate for %s: %s: want level M, Q or H", c.Code, level)
	}
	q, err := qrcode.New(text, recovery[level])
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", c.Code, err)
	}
	s := newSymbol(q, text, u, c.Code)
	s.dates = c.Issued.String() + " / " + c.Expires.String()
	return s, nil
}

// SourceSymbol returns the symbol of a source mark, of level M: 53x53 modules
// for a report of a department at a short host, 49x49 for its plate, 69x69 for
// the longest.
func SourceSymbol(u PublicURL, m SourceMark) (*Symbol, error) {
	return SourceSymbolAt(u, m, LevelM)
}

// SourceSymbolAt is [SourceSymbol] at level M, Q or H.
func SourceSymbolAt(u PublicURL, m SourceMark, level Level) (*Symbol, error) {
	text, err := SourceURL(u, m)
	if err != nil {
		return nil, err
	}
	if level < LevelM || level > LevelH {
		return nil, fmt.Errorf("source mark for %s: %s: want level M, Q or H", m.Code, level)
	}
	q, err := qrcode.New(text, recovery[level])
	if err != nil {
		return nil, fmt.Errorf("source mark for %s: %w", m.Code, err)
	}
	s := newSymbol(q, text, u, m.Code)
	s.dates = m.Time.String()
	if m.Expires != 0 {
		s.dates += " / " + m.Expires.String()
	}
	return s, nil
}

// MaxTextSymbol is how many octets the text of [TextSymbol] may have: what a
// symbol of level M and at most 109x109 modules holds.
const MaxTextSymbol = 800

// TextSymbol returns a symbol of level M for a text that is no label, such as the
// address of a page: 1 to 800 printable ASCII characters. Its SVG has no caption.
func TextSymbol(text string) (*Symbol, error) {
	if len(text) < 1 || len(text) > MaxTextSymbol {
		return nil, fmt.Errorf("symbol of a text of %d octets: want 1 to %d", len(text), MaxTextSymbol)
	}
	if i := strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c > '~' }); i >= 0 {
		return nil, fmt.Errorf("symbol of a text: octet %d is no printable ASCII", i)
	}
	q, err := qrcode.New(text, recovery[LevelM])
	if err != nil {
		return nil, fmt.Errorf("symbol of a text: %w", err)
	}
	return newSymbol(q, text, PublicURL{}, cityid.Code{}), nil
}

func newSymbol(q *qrcode.QRCode, text string, u PublicURL, code cityid.Code) *Symbol {
	q.DisableBorder = true
	s := &Symbol{text: text, code: code, host: u.Host(), modules: modulesOf(q.VersionNumber)}
	for _, row := range q.Bitmap() {
		s.dark = append(s.dark, row...)
	}
	return s
}

// PNG returns the symbol alone, black on white with its quiet zone, as a PNG
// with the given pixels per module, 1 to 64.
func (s *Symbol) PNG(pixels int) ([]byte, error) {
	if pixels < 1 || pixels > 64 {
		return nil, fmt.Errorf("%d pixels per module: want 1 to 64", pixels)
	}
	side := (s.modules + 2*Quiet) * pixels
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if s.Dark(x/pixels-Quiet, y/pixels-Quiet) {
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	if err := e.Encode(&b, img); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// errReach is the refusal of a distance or a size that is not usable.
var errReach = errors.New("want 50 to 10000 mm")

// SideMM returns the side in millimetres, without the quiet zone, that a symbol
// of the given modules needs to be read from the given distance in millimetres:
// a tenth of the distance at 29 modules, and in proportion for others, so that
// the modules are the same size.
func SideMM(distance float64, modules int) (float64, error) {
	if !(distance >= 50 && distance <= 10000) {
		return 0, fmt.Errorf("reading distance of %g mm: %w", distance, errReach)
	}
	return distance / 10 * float64(modules) / float64(modulesOf(smallVersion)), nil
}
