// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dunglas/httpsfv"
)

// paramsLine begins the last line of every signature base.
const paramsLine = `"@signature-params": `

// Base returns the signature base of a message (RFC 9421, section 2.5). input says what is covered, in the strict form in
// which it stands in Signature-Input behind the label and "=", such as
//
//	("@method" "content-digest");created=1618884473;keyid="test-key-ed25519"
//
// All components and parameters of the RFC are known, whatever a profile may say. The error, which matches [ErrMalformed], says
// which component has no value or is not allowed.
func Base(m *Message, input string) (string, error) {
	components, err := parseInput(input)
	if err != nil {
		return "", malformed(err)
	}
	return base(m, components, input, false)
}

// malformed says what kind of error it is.
func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }

// base returns the base with the given components, and input as it is. With once, covered fields must occur exactly once.
func base(m *Message, components []component, input string, once bool) (string, error) {
	var b strings.Builder
	for _, c := range components {
		v, err := c.value(m, once)
		if err != nil {
			return "", malformed(err)
		}
		b.WriteString(c.text)
		b.WriteString(": ")
		b.WriteString(v)
		b.WriteByte('\n')
	}
	b.WriteString(paramsLine)
	b.WriteString(input)
	return b.String(), nil
}

// parseInput reads a list of different components with parameters, and refuses every spelling but the strict one.
func parseInput(input string) ([]component, error) {
	if len(input) > MaxInput {
		return nil, fmt.Errorf("signature parameters of %d octets, more than %d", len(input), MaxInput)
	}
	members, err := httpsfv.UnmarshalList([]string{input})
	if err != nil {
		return nil, fmt.Errorf("signature parameters: %w", err)
	}
	var list httpsfv.InnerList
	if len(members) == 1 {
		list, _ = members[0].(httpsfv.InnerList)
	}
	if again, err := httpsfv.Marshal(list); err != nil || again != input {
		return nil, errors.New("signature parameters: not one list of components in its strict form, and nothing behind it")
	}
	components := make([]component, len(list.Items))
	seen := map[component]bool{}
	for i, item := range list.Items {
		if components[i], err = identify(item); err != nil {
			return nil, err
		}
		same := components[i]
		same.text = "" // the order of its parameters makes no other component
		if seen[same] {
			return nil, fmt.Errorf("component %s is covered twice", components[i].text)
		}
		seen[same] = true
	}
	return components, nil
}
