// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cityid"
)

// Bounds of what a request may ask for.
const (
	maxPath      = 1024 // octets of a path below a dataset
	maxQuery     = 2048
	maxParameter = 256
)

// Segment writes a code as one segment of a path: its slashes as "~".
func Segment(c cityid.Code) string { return strings.ReplaceAll(c.String(), "/", "~") }

// ParseSegment reads what [Segment] writes, and nothing else. The error is a
// refusal.
func ParseSegment(s string) (cityid.Code, error) {
	code, err := cityid.ParseCanonical(strings.ReplaceAll(s, "~", "/"))
	if err != nil || strings.Contains(s, "/") {
		return cityid.Code{}, cityid.Errorf(cityid.ErrMalformed, "%.80q is no code in a path: write its slashes as ~", s)
	}
	return code, nil
}

// check checks a rule's form.
func (p *PathRule) check() error {
	if !strings.HasPrefix(p.Path, "/") || len(p.Path) > maxPath {
		return fmt.Errorf("path %.80q: want one that begins with a slash", p.Path)
	}
	segments := strings.Split(p.Path[1:], "/")
	for i, s := range segments {
		if s == "*" || s == "**" && i == len(segments)-1 || s == "" && len(segments) == 1 {
			continue
		}
		if checkSegment(s) != nil || strings.Contains(s, "*") {
			return fmt.Errorf("path %.80q: a segment is text, * for any one, or ** at the end for any rest", p.Path)
		}
	}
	for name, kind := range p.Query {
		if name == "" || len(name) > 64 || !plainWord(name) {
			return fmt.Errorf("path %s: parameter %.40q: want letters, digits, hyphens and underscores", p.Path, name)
		}
		if !slices.Contains([]string{"integer", "time", "code", "word"}, kind) && (kind == "" || !choices(kind)) {
			return fmt.Errorf("path %s: parameter %s is %.40q: want integer, time, code, word, or choices such as a|b", p.Path, name, kind)
		}
	}
	return nil
}

func choices(kind string) bool {
	return strings.Contains(kind, "|") && !slices.ContainsFunc(strings.Split(kind, "|"), func(s string) bool { return !plainWord(s) })
}

func plainWord(s string) bool {
	return s != "" && len(s) <= maxParameter && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != ':'
	})
}

// checkSegment refuses what could lead elsewhere than it looks. A "~" stands for
// the slashes of a code, and at the beginning for somebody's own folder.
func checkSegment(s string) error {
	if s == "" || s == "." || s == ".." || s[0] == '~' || !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool {
		return c < ' ' || c == 0x7f || c == '/' || c == '\\' || c == '%' || c == ';'
	}) {
		return fmt.Errorf("segment %.40q", s)
	}
	return nil
}

// splitPath takes a path as it was sent apart and returns its segments decoded.
// There is one way to write a path: with the fewest percent signs, no empty
// segments and none that go up.
func splitPath(escaped string) ([]string, error) {
	bad := func(why string) error {
		return cityid.Errorf(cityid.ErrMalformed, "path %.120q: %s", escaped, why)
	}
	if len(escaped) > maxPath {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "path of %d octets: at most %d", len(escaped), maxPath)
	}
	if !strings.HasPrefix(escaped, "/") {
		return nil, bad("it begins with a slash")
	}
	if escaped == "/" {
		return nil, nil
	}
	var out []string
	for part := range strings.SplitSeq(escaped[1:], "/") {
		s, err := url.PathUnescape(part)
		switch {
		case err != nil:
			return nil, bad("its percent signs lead to nothing")
		case checkSegment(s) != nil:
			return nil, bad("a segment is empty, goes up, or has characters that are not allowed")
		case (&url.URL{Path: "/" + s}).EscapedPath() != "/"+part:
			return nil, bad("it is not written in its one form")
		}
		out = append(out, s)
	}
	return out, nil
}

// matches reports whether the segments fit a rule's path.
func (p *PathRule) matches(segments []string) bool {
	want := strings.Split(p.Path[1:], "/")
	if p.Path == "/" {
		want = nil
	}
	for i, w := range want {
		if w == "**" {
			return len(segments) > i
		}
		if i >= len(segments) || w != "*" && w != segments[i] {
			return false
		}
	}
	return len(segments) == len(want)
}

// allow returns an error unless one of the rules allows the path and the query,
// both as sent. It returns the segments and the query anew, in order of name.
func allow(rules []PathRule, path, rawQuery string) (segments []string, query string, err error) {
	if segments, err = splitPath(path); err != nil {
		return nil, "", err
	}
	i := slices.IndexFunc(rules, func(p PathRule) bool { return p.matches(segments) })
	if i < 0 {
		return nil, "", cityid.Errorf(cityid.ErrNotPermitted, "the path %.120q is not among those the agreement opens", path)
	}
	if len(rawQuery) > maxQuery {
		return nil, "", cityid.Errorf(cityid.ErrTooLarge, "query of %d octets: at most %d", len(rawQuery), maxQuery)
	}
	values, err := url.ParseQuery(rawQuery)
	if err != nil || strings.Contains(rawQuery, ";") {
		return nil, "", cityid.Errorf(cityid.ErrMalformed, "query: its percent signs or separators lead to nothing")
	}
	for name, list := range values {
		kind, ok := rules[i].Query[name]
		switch {
		case !ok:
			return nil, "", cityid.Errorf(cityid.ErrNotPermitted, "query: parameter %.40q is not among those allowed here", name)
		case len(list) != 1:
			return nil, "", cityid.Errorf(cityid.ErrMalformed, "query: parameter %s is given twice", name)
		case !fits(kind, list[0]):
			return nil, "", cityid.Errorf(cityid.ErrMalformed, "query: parameter %s=%.60q: want %s", name, list[0], kind)
		}
	}
	return segments, values.Encode(), nil
}

// fits reports whether a parameter's value is of its kind.
func fits(kind, value string) bool {
	switch kind {
	case "integer":
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && strconv.FormatInt(n, 10) == value
	case "time":
		_, err := time.Parse(time.RFC3339Nano, value)
		return err == nil && len(value) <= 40
	case "code":
		_, err := cityid.ParseCanonical(value)
		return err == nil
	case "word":
		return plainWord(value)
	}
	return slices.Contains(strings.Split(kind, "|"), value)
}
