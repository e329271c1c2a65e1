// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// field returns the value of a field component (RFC 9421, section 2.1).
func (c component) field(m *Message, once bool) (string, error) {
	header := m.Header
	if c.tr {
		header = m.Trailer
	}
	lines, err := fieldLines(header, c.name)
	if err != nil {
		return "", err
	}
	if len(lines) == 0 && c.name == "host" && m.Status == 0 && !c.tr && m.Host != "" {
		lines = []string{m.Host} // net/http keeps it apart
	}
	if len(lines) == 0 {
		return "", errors.New("the message has no such field")
	}
	if once && len(lines) != 1 {
		return "", fmt.Errorf("the field occurs %d times: send it once", len(lines))
	}
	flat := make([]string, len(lines))
	for i, line := range lines {
		if flat[i], err = unfold(line); err != nil {
			return "", err
		}
		if once && flat[i] != line {
			return "", errors.New("the field's value is folded, or begins or ends with a space")
		}
	}
	switch {
	case c.bs:
		list := make(httpsfv.List, len(flat))
		for i, v := range flat {
			list[i] = httpsfv.NewItem([]byte(v))
		}
		return httpsfv.Marshal(list)
	case c.hasKey:
		d, err := httpsfv.UnmarshalDictionary(flat)
		if err != nil {
			return "", fmt.Errorf("not a dictionary: %w", err)
		}
		member, ok := d.Get(c.key)
		if !ok {
			return "", fmt.Errorf("the dictionary has no member %q", c.key)
		}
		return httpsfv.Marshal(member)
	case c.sf:
		return strict(flat, m.Structured[c.name])
	}
	return strings.Join(flat, ", "), nil
}

// strict writes a structured field's value anew in its one strict form.
func strict(lines []string, kind Kind) (string, error) {
	var v httpsfv.StructuredFieldValue
	var err error
	switch kind {
	case Item:
		v, err = httpsfv.UnmarshalItem(lines)
	case List:
		v, err = httpsfv.UnmarshalList(lines)
	case Dictionary:
		v, err = httpsfv.UnmarshalDictionary(lines)
	default:
		return "", errors.New("not known to be a structured field")
	}
	if err != nil {
		return "", err
	}
	return httpsfv.Marshal(v)
}

// fieldLines returns the values of all lines of the field, whose name is in lower case. Lines under several spellings of the
// name, which only a program can put there, have no order and are an error.
func fieldLines(h http.Header, name string) ([]string, error) {
	var lines []string
	for key, values := range h {
		if len(key) != len(name) || len(values) == 0 || !strings.EqualFold(key, name) {
			continue
		}
		if lines != nil {
			return nil, errors.New("the field occurs under several spellings of its name")
		}
		lines = values
	}
	return lines, nil
}

// unfold strips white space around a field's value, and puts one space in the place of each fold (RFC 9112, section 5.2).
func unfold(v string) (string, error) {
	first, rest, folded := strings.Cut(v, "\n")
	v = strings.Trim(first, " \t\r")
	for folded {
		if rest == "" || rest[0] != ' ' && rest[0] != '\t' {
			return "", errors.New("the field's value has a line break")
		}
		var next string
		next, rest, folded = strings.Cut(rest, "\n")
		v += " " + strings.Trim(next, " \t\r")
	}
	return strings.Trim(v, " \t"), nil
}

// printable reports whether s has nothing but visible ASCII characters and spaces and, if tabs are allowed, tabs.
func printable(s string, tabs bool) bool {
	for i := range len(s) {
		if (s[i] < ' ' || s[i] > '~') && !(tabs && s[i] == '\t') {
			return false
		}
	}
	return true
}
