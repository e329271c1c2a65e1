// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"strings"

	"cityid"
)

const (
	maxAccept = 2048 // octets of all Accept headers
	maxRanges = 32   // media ranges in them
)

// A MediaRange is one element of an Accept header, in lower case: a media type
// whose subtype, or both parts, may be "*".
type MediaRange struct {
	Type, Subtype string
	Quality       int // thousandths, 0 to 1000; 0: not acceptable
}

// specificity orders the ranges that match a type: the most specific decides.
func (m MediaRange) specificity(mediaType string) int {
	typ, sub, _ := strings.Cut(mediaType, "/")
	switch {
	case m.Type == typ && m.Subtype == sub:
		return 3
	case m.Type == typ && m.Subtype == "*":
		return 2
	case m.Type == "*":
		return 1
	}
	return 0
}

// Negotiate returns the one of the offered media types that suits the
// request's Accept headers best (RFC 9110, section 12.5.1); among equals the one
// offered first, which is also the choice where there is no Accept. Parameters
// other than q are read over: no media type here has any. If no offer suits, the
// error is a 406; if the headers are malformed or beyond bounds, a 400.
func Negotiate(r *http.Request, offers ...string) (string, error) {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return offers[0], nil
	}
	ranges, err := ParseAccept(strings.Join(values, ","))
	if err != nil {
		return "", err
	}
	if len(ranges) == 0 {
		return offers[0], nil
	}
	best, quality := "", 0
	for _, offer := range offers {
		q, specificity := 0, 0
		for _, m := range ranges {
			if s := m.specificity(offer); s > specificity {
				q, specificity = m.Quality, s
			}
		}
		if q > quality {
			best, quality = offer, q
		}
	}
	if best == "" {
		return "", Refuse(http.StatusNotAcceptable, cityid.ErrUnsupported,
			"nothing the Accept header names is served here: ask for %s", strings.Join(offers, " or "))
	}
	return best, nil
}

// ParseAccept parses the value of an Accept header of at most 2048 octets and
// 32 ranges:
//
//	Accept = [ range *( "," range ) ]             ; blanks around any part; elements may be empty
//	range  = ( "*/*" / type "/*" / type "/" subtype ) *( ";" name "=" ( token / quoted-string ) )
//	q      = "0" [ "." 0*3DIGIT ] / "1" [ "." 0*3"0" ]
//
// The error is a [cityid.Error] of code malformed or too-large.
func ParseAccept(s string) ([]MediaRange, error) {
	if len(s) > maxAccept {
		return nil, refuseAccept(cityid.ErrTooLarge, "longer than 2048 octets")
	}
	var list []MediaRange
	p := &acceptParser{rest: s}
	for {
		p.blanks()
		if p.rest == "" {
			return list, nil
		}
		if p.take(',') {
			continue
		}
		m, ok := p.mediaRange()
		if !ok {
			return nil, refuseAccept(cityid.ErrMalformed, "not a list of media types")
		}
		if len(list) == maxRanges {
			return nil, refuseAccept(cityid.ErrTooLarge, "more than 32 media types")
		}
		list = append(list, m)
		if p.rest != "" && !p.take(',') {
			return nil, refuseAccept(cityid.ErrMalformed, "not a list of media types")
		}
	}
}

func refuseAccept(code cityid.ErrorCode, reason string) error {
	return Refuse(http.StatusBadRequest, code, "header Accept: %s", reason)
}

// acceptParser reads from the front of rest.
type acceptParser struct{ rest string }

func (p *acceptParser) blanks() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *acceptParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *acceptParser) token() string {
	n := 0
	for n < len(p.rest) && isTokenChar(p.rest[n]) {
		n++
	}
	t := p.rest[:n]
	p.rest = p.rest[n:]
	return strings.ToLower(t)
}

func isTokenChar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// quoted reads over a quoted string.
func (p *acceptParser) quoted() bool {
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return true
		case c == '\\':
			i++
		case c < ' ' && c != '\t' || c == 0x7f:
			return false
		}
	}
	return false
}

func (p *acceptParser) mediaRange() (MediaRange, bool) {
	m := MediaRange{Type: p.token(), Quality: 1000}
	if m.Type == "" || !p.take('/') {
		return m, false
	}
	m.Subtype = p.token()
	if m.Subtype == "" || m.Type == "*" && m.Subtype != "*" {
		return m, false
	}
	weighed := false
	for {
		p.blanks()
		if !p.take(';') {
			return m, true
		}
		p.blanks()
		name := p.token()
		if name == "" || !p.take('=') {
			return m, false
		}
		if p.rest != "" && p.rest[0] == '"' {
			if name == "q" || !p.quoted() {
				return m, false
			}
			continue
		}
		value := p.token()
		if value == "" {
			return m, false
		}
		if name == "q" && !weighed {
			q, ok := parseQuality(value)
			if !ok {
				return m, false
			}
			m.Quality, weighed = q, true
		}
	}
}

// parseQuality parses a weight into thousandths.
func parseQuality(s string) (int, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(frac) > 3 {
		return 0, false
	}
	q := int(whole[0] - '0')
	for i := range 3 {
		digit := 0
		if i < len(frac) {
			digit = int(frac[i]) - '0'
		}
		if digit < 0 || digit > 9 {
			return 0, false
		}
		q = q*10 + digit
	}
	return q, q <= 1000
}
