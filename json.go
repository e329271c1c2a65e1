// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// DecodeJSON decodes exactly one JSON value. It refuses unknown fields, and
// fields that stand twice: of those, two readers might see different ones.
func DecodeJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	switch err := d.Decode(v); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends in the middle")
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case err != nil:
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return noRepeats(b)
}

// noRepeats refuses JSON in which a field of an object stands twice. Names that
// differ in case alone are the same, as encoding/json takes them.
func noRepeats(b []byte) error {
	type level struct {
		seen map[string]bool // the fields of an object so far; nil in an array
		name bool            // a field's name comes next
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if top := len(open) - 1; top >= 0 && open[top].seen != nil {
			name, isText := token.(string)
			if open[top].name && isText {
				folded := strings.ToLower(name)
				if open[top].seen[folded] {
					return fmt.Errorf("field %.80q stands twice", name)
				}
				open[top].seen[folded], open[top].name = true, false
				continue
			}
			open[top].name = true
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{seen: map[string]bool{}, name: true})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
	}
}
