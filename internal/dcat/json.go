// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gowebpki/jcs"

	"cityid"
)

// Bounds on any JSON text read here.
const (
	maxDepth       = 32  // nested objects and arrays of a document
	maxNumber      = 64  // octets of a number
	maxExponent    = 308 // of a number, either way
	maxShownMember = 60  // octets of a member's name that an error repeats
)

// shape is what a scan counts at one depth; the outermost value has depth 0.
type shape struct {
	values int // values
	octets int // octets of strings and of members' names
}

// scan checks that b is one JSON text in UTF-8 with nothing behind it, that no
// object has a member twice, that it is nested at most depth deep, and that
// numbers are of a length that costs nothing to handle. It returns the shape by
// depth.
func scan(what string, b []byte, depth int) ([]shape, error) {
	if !utf8.Valid(b) {
		return nil, malformed("%s is not UTF-8", what)
	}
	s := scanner{what: what, d: json.NewDecoder(bytes.NewReader(b)), limit: depth}
	s.d.UseNumber()
	if err := s.run(); err != nil {
		return nil, err
	}
	if _, err := s.d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("%s has something behind its end, at octet %d", what, s.d.InputOffset())
	}
	return s.shapes, nil
}

type scanner struct {
	what   string
	d      *json.Decoder
	limit  int
	open   []level
	shapes []shape
}

// level is an object or array that is being read.
type level struct {
	members map[string]struct{} // nil for an array
	value   bool                // a member's name has been read
}

func (s *scanner) run() error {
	for first := true; first || len(s.open) > 0; first = false {
		t, err := s.d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it ends too early")
			}
			return malformed("%s is not JSON, at octet %d: %v", s.what, s.d.InputOffset(), err)
		}
		if err := s.token(t); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) token(t json.Token) error {
	if d, ok := t.(json.Delim); ok && (d == '}' || d == ']') {
		s.open = s.open[:len(s.open)-1]
		return nil
	}
	if n := len(s.open); n > 0 && s.open[n-1].members != nil {
		top := &s.open[n-1]
		if top.value = !top.value; top.value {
			name := t.(string) // a decoder yields no other names
			if _, twice := top.members[name]; twice {
				return malformed("%s has the member %q twice in one object, the second time at octet %d", s.what, cut(name), s.d.InputOffset())
			}
			top.members[name] = struct{}{}
			s.at(n).octets += len(name)
			return nil
		}
	}
	at := s.at(len(s.open))
	at.values++
	switch v := t.(type) {
	case string:
		at.octets += len(v)
	case json.Number:
		return checkNumber(s.what, string(v))
	case json.Delim:
		if len(s.open) == s.limit {
			return cityid.Errorf(cityid.ErrTooLarge, "%s is nested deeper than %d", s.what, s.limit)
		}
		l := level{}
		if v == '{' {
			l.members = map[string]struct{}{}
		}
		s.open = append(s.open, l)
	}
	return nil
}

func (s *scanner) at(depth int) *shape {
	for len(s.shapes) <= depth {
		s.shapes = append(s.shapes, shape{})
	}
	return &s.shapes[depth]
}

// checkNumber refuses numbers that would be costly to compute with.
func checkNumber(what, n string) error {
	if len(n) > maxNumber {
		return cityid.Errorf(cityid.ErrTooLarge, "%s has a number of %d octets: at most %d", what, len(n), maxNumber)
	}
	if i := strings.IndexAny(n, "eE"); i >= 0 {
		if e, err := strconv.Atoi(strings.TrimPrefix(n[i+1:], "+")); err != nil || e > maxExponent || e < -maxExponent {
			return cityid.Errorf(cityid.ErrTooLarge, "%s has the number %s: its exponent is beyond %d", what, n, maxExponent)
		}
	}
	return nil
}

func cut(name string) string {
	if len(name) <= maxShownMember {
		return name
	}
	return strings.ToValidUTF8(name[:maxShownMember], "") + "…"
}

func malformed(format string, args ...any) error {
	return cityid.Errorf(cityid.ErrMalformed, format, args...)
}

// invalid says what about the value at a JSON pointer breaks which rule.
func invalid(path, format string, args ...any) error {
	return cityid.Errorf(cityid.ErrInvalid, "%s: %s", path, fmt.Sprintf(format, args...))
}

// canonical returns the JSON text of v in the form of RFC 8785.
func canonical(what string, v any, limit int) ([]byte, error) {
	b, err := json.Marshal(v)
	if err == nil {
		b, err = jcs.Transform(b)
	}
	if err != nil {
		return nil, malformed("%s: %v", what, err)
	}
	if len(b) > limit {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%s of %d octets: at most %d", what, len(b), limit)
	}
	return b, nil
}

// beginning is how an object in canonical form begins that has a context.
func beginning(context []byte) []byte {
	return slices.Concat([]byte(`{"@context":`), context, []byte(","))
}

// withContext puts a context in front of an object in canonical form, where it
// belongs by order: the other members with "@" follow it.
func withContext(what string, context, object []byte, limit int) ([]byte, error) {
	b := append(beginning(context), object[1:]...)
	if len(b) > limit {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%s of %d octets: at most %d", what, len(b), limit)
	}
	return b, nil
}

// withoutContext undoes [withContext]; ok is false if b does not begin so.
func withoutContext(context, b []byte) (object []byte, ok bool) {
	rest, ok := bytes.CutPrefix(b, beginning(context))
	return append([]byte("{"), rest...), ok
}

// decode reads one document of at most limit octets into v, and returns its
// canonical form.
func decode(what string, b []byte, limit int, v any) ([]byte, error) {
	if len(b) > limit {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%s of %d octets: at most %d", what, len(b), limit)
	}
	if _, err := scan(what, b, maxDepth); err != nil {
		return nil, err
	}
	c, err := jcs.Transform(b)
	if err != nil {
		return nil, malformed("%s: %v", what, err)
	}
	if err := json.Unmarshal(c, v); err != nil {
		var refused *cityid.Error
		if errors.As(err, &refused) {
			return nil, cityid.Errorf(refused.Code, "%s: %s", what, refused.Message)
		}
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, malformed("%s: /%s: a JSON %s can not stand there", what, strings.ReplaceAll(wrong.Field, ".", "/"), wrong.Value)
		}
		return nil, malformed("%s: %v", what, err)
	}
	return c, nil
}

// same reports where given, the canonical form of what somebody wrote, says
// something else than what was understood. What was understood may only say more
// where the format adds what follows from the rest: types, context and included
// nodes.
func same(what string, given, understood []byte) error {
	a, err := plain(given)
	if err != nil {
		return malformed("%s: %v", what, err)
	}
	b, err := plain(understood)
	if err != nil {
		return malformed("%s: %v", what, err)
	}
	return compare(what, "", a, b)
}

// plain returns the values of a JSON text, numbers as they are written.
func plain(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

func compare(what, path string, given, understood any) error {
	shown := path
	if shown == "" {
		shown = "/"
	}
	switch g := given.(type) {
	case map[string]any:
		u, ok := understood.(map[string]any)
		if !ok {
			return malformed("%s: %s: an object can not stand there", what, shown)
		}
		return compareObjects(what, path, g, u)
	case []any:
		u, ok := understood.([]any)
		if !ok || len(g) != len(u) {
			return malformed("%s: %s: this list can not stand there", what, shown)
		}
		for i := range g {
			if err := compare(what, path+"/"+strconv.Itoa(i), g[i], u[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if given != understood {
		switch understood.(type) {
		case map[string]any, []any:
			return malformed("%s: %s: a single value can not stand there", what, shown)
		}
		return malformed("%s: %s: is %v, where only %v can stand", what, shown, shortly(given), shortly(understood))
	}
	return nil
}

func compareObjects(what, path string, given, understood map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(understood)) {
		if _, ok := given[name]; !ok && !strings.HasPrefix(name, "@") {
			return malformed("%s: %s/%s is missing", what, path, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		v, at := given[name], path+"/"+pointerToken(name)
		w, ok := understood[name]
		if !ok {
			if v == nil || isEmpty(v) {
				return malformed("%s: %s is empty: leave it out", what, at)
			}
			return malformed("%s: %s is not known, or can not stand there", what, at)
		}
		if err := compare(what, at, v, w); err != nil {
			return err
		}
	}
	return nil
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// pointerToken writes a member's name as RFC 6901 has it.
func pointerToken(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(cut(name), "~", "~0"), "/", "~1")
}

func shortly(v any) string { return fmt.Sprintf("%.60q", fmt.Sprint(v)) }
