// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cityid"
)

// Limits of the wire format.
const (
	MaxPageBytes = 2 << 20 // octets of a page
	MaxItems     = 4096    // observations of a page
	MaxSeq       = 1<<53 - 1
)

// Observation is one observation.
type Observation struct {
	Seq       uint64      `json:"seq"`                // 1 to [MaxSeq]; grows within a stream, with gaps
	Time      cityid.Time `json:"time"`               // when the period began that was observed, as RFC 3339 in UTC
	Indicator string      `json:"indicator"`          // 1 to 40 of letters, digits, ":", "." and "-"
	Value     Decimal     `json:"value"`              //
	Unit      string      `json:"unit"`               // UCUM, 1 to 32 visible ASCII characters
	Source    cityid.Code `json:"source"`             // what observed
	Corrects  uint64      `json:"corrects,omitempty"` // the seq of the observation that this one replaces; 0: none
}

// Page is some observations.
type Page struct {
	Items []Observation `json:"items"`          // in order of Seq, at most [MaxItems]
	Next  string        `json:"next,omitempty"` // cursor to go on with: 1 to 128 of letters, digits, "-" and "_"; "": there is none
	More  bool          `json:"more,omitempty"` // there may be more already: ask again at once
}

// Decimal is a decimal number as it is written, such as "12.30": up to 12 digits
// without leading zeros, and up to 6 decimal places. Zero has no sign.
type Decimal string

// Check reports what is wrong with d.
func (d Decimal) Check() error {
	digits, negative := strings.CutPrefix(string(d), "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if len(whole) < 1 || len(whole) > 12 || len(whole) > 1 && whole[0] == '0' || len(fraction) > 6 || point && fraction == "" ||
		strings.Trim(whole+fraction, "0123456789") != "" || negative && strings.Trim(digits, "0.") == "" {
		return fmt.Errorf("number %.40q: want a decimal such as 12.3, with up to 12 digits and 6 decimal places", string(d))
	}
	return nil
}

// Millionths returns d as a whole number of millionths, exactly; 0 for what Check
// refuses.
func (d Decimal) Millionths() int64 {
	if d.Check() != nil {
		return 0
	}
	digits, negative := strings.CutPrefix(string(d), "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	n, _ := strconv.ParseInt(whole+fraction+"000000"[len(fraction):], 10, 64) // at most 18 digits
	if negative {
		return -n
	}
	return n
}

// Check reports the first field of o that breaks its rule.
func (o *Observation) Check() error {
	switch {
	case o.Seq < 1 || o.Seq > MaxSeq:
		return fmt.Errorf("seq %d: want 1 to %d", o.Seq, uint64(MaxSeq))
	case o.Corrects >= o.Seq:
		return fmt.Errorf("seq %d corrects %d: want an earlier one", o.Seq, o.Corrects)
	case o.Time == 0 || !o.Time.Valid():
		return fmt.Errorf("seq %d has no time", o.Seq)
	case !consists(o.Indicator, 40, ":.-"):
		return fmt.Errorf("indicator %.60q: want 1 to 40 letters, digits, colons, points and hyphens", o.Indicator)
	case len(o.Unit) < 1 || len(o.Unit) > 32 || strings.ContainsFunc(o.Unit, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("unit %.60q: want 1 to 32 visible ASCII characters", o.Unit)
	case o.Source.IsZero():
		return fmt.Errorf("seq %d has no source", o.Seq)
	}
	return o.Value.Check()
}

// Check reports what is wrong with the page or the first of its observations.
func (p *Page) Check() error {
	if len(p.Items) > MaxItems {
		return fmt.Errorf("%d observations: at most %d", len(p.Items), MaxItems)
	}
	if p.Next != "" && !consists(p.Next, 128, "-_") {
		return fmt.Errorf("next %.140q: want 1 to 128 letters, digits, hyphens and underscores", p.Next)
	}
	if p.More && p.Next == "" {
		return errors.New("more is true, and there is no next")
	}
	for i := range p.Items {
		if err := p.Items[i].Check(); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		if i > 0 && p.Items[i].Seq <= p.Items[i-1].Seq {
			return fmt.Errorf("item %d: seq %d does not come after %d", i, p.Items[i].Seq, p.Items[i-1].Seq)
		}
	}
	return nil
}

// consists reports whether s is 1 to most letters, digits and others.
func consists(s string, most int, others string) bool {
	return len(s) >= 1 && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	})
}

// ParsePage parses a page. It refuses what is too large, unknown, missing, repeated,
// out of order or not in its one form, and whatever follows the page.
func ParsePage(data []byte) (*Page, error) {
	if len(data) > MaxPageBytes {
		return nil, fmt.Errorf("page of %d octets: at most %d", len(data), MaxPageBytes)
	}
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errors.New("page: it is not one JSON value in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var p Page
	err := object(d, pageFields, 1, func(field int) (err error) {
		switch pageFields[field] {
		case "items":
			p.Items, err = items(d)
		case "next":
			p.Next, err = token[string](d)
			err = nonzero(p.Next, err)
		case "more":
			p.More, err = token[bool](d)
			err = nonzero(p.More, err)
		}
		return err
	})
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return &p, nil
}

func items(d *json.Decoder) ([]Observation, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("want a list: %w", orEnd(err))
	}
	list := []Observation{}
	for d.More() {
		if len(list) == MaxItems {
			return nil, fmt.Errorf("more than %d observations", MaxItems)
		}
		var o Observation
		if err := o.parse(d); err != nil {
			return nil, fmt.Errorf("item %d: %w", len(list), err)
		}
		list = append(list, o)
	}
	if _, err := d.Token(); err != nil {
		return nil, orEnd(err)
	}
	return list, nil
}

// The fields of both objects, the required ones first.
var (
	pageFields        = []string{"items", "next", "more"}
	observationFields = []string{"seq", "time", "indicator", "value", "unit", "source", "corrects"}
)

func (o *Observation) parse(d *json.Decoder) error {
	return object(d, observationFields, 6, func(field int) (err error) {
		switch observationFields[field] {
		case "seq":
			o.Seq, err = number(d)
		case "time":
			o.Time, err = moment3339(d)
		case "indicator":
			o.Indicator, err = token[string](d)
		case "value":
			var s string
			s, err = token[string](d)
			o.Value = Decimal(s)
		case "unit":
			o.Unit, err = token[string](d)
		case "source":
			var s string
			if s, err = token[string](d); err == nil {
				o.Source, err = cityid.ParseCanonical(s)
			}
		case "corrects":
			o.Corrects, err = number(d)
			err = nonzero(o.Corrects, err)
		}
		return err
	})
}

// object reads an object of fields, of which the first so many are required. The
// value of each is read by a function, which is given the field's index.
func object(d *json.Decoder, fields []string, required int, read func(field int) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("want an object: %w", orEnd(err))
	}
	seen := 0 // bit by field
	for d.More() {
		name, err := token[string](d)
		if err != nil {
			return err
		}
		field := slices.Index(fields, name)
		switch {
		case field < 0:
			return fmt.Errorf("unknown field %.40q", name)
		case seen>>field&1 == 1:
			return fmt.Errorf("field %s stands twice", name)
		}
		seen |= 1 << field
		if err := read(field); err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return orEnd(err)
	}
	for field, name := range fields[:required] {
		if seen>>field&1 == 0 {
			return fmt.Errorf("field %s is missing", name)
		}
	}
	return nil
}

// token reads one value of a type.
func token[T any](d *json.Decoder) (T, error) {
	t, err := d.Token()
	v, ok := t.(T)
	if err != nil || !ok {
		return v, fmt.Errorf("want another type of value: %w", orEnd(err))
	}
	return v, nil
}

// orEnd returns err, or what is wrong if it is not the syntax.
func orEnd(err error) error {
	switch {
	case err == nil:
		return errors.New("it is of another type")
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// nonzero refuses a field that is given as what it would be without.
func nonzero[T comparable](v T, err error) error {
	var zero T
	if err == nil && v == zero {
		return errors.New("leave it out where it says nothing")
	}
	return err
}

// number reads a whole number in its shortest form.
func number(d *json.Decoder) (uint64, error) {
	t, err := token[json.Number](d)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(t.String(), 10, 64)
	if err != nil || n > MaxSeq {
		return 0, fmt.Errorf("%.40s: want a whole number up to %d", t, uint64(MaxSeq))
	}
	return n, nil
}

// moment3339 reads a time in its one form.
func moment3339(d *json.Decoder) (cityid.Time, error) {
	s, err := token[string](d)
	if err != nil {
		return 0, err
	}
	var t cityid.Time
	if err := t.UnmarshalText([]byte(s)); err != nil || t.String() != s {
		return 0, fmt.Errorf("%.40q: want the form 2026-03-01T12:00:00Z", s)
	}
	return t, nil
}
