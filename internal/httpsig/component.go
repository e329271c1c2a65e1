// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dunglas/httpsfv"
)

// component is a component identifier with its parameters.
type component struct {
	text string // as it stands in the signature base, such as "content-digest";req
	name string // a field's name in lower case, or "@" and the name of a derived component

	req, sf, bs, tr bool
	hasKey          bool
	key             string // the member of a dictionary that ";key" names
	hasParam        bool
	param           string // the query parameter that ";name" names
}

// identify reads an identifier and refuses parameters that are unknown, of a wrong type, or do not go together.
func identify(item httpsfv.Item) (component, error) {
	name, ok := item.Value.(string)
	text, err := httpsfv.Marshal(item)
	if err != nil || !ok {
		return component{}, errors.New("a component identifier must be a string with parameters")
	}
	c := component{text: text, name: name}
	for _, p := range item.Params.Names() {
		v, _ := item.Params.Get(p)
		value, isString := v.(string)
		switch {
		case p == "req" && v == true:
			c.req = true
		case p == "sf" && v == true:
			c.sf = true
		case p == "bs" && v == true:
			c.bs = true
		case p == "tr" && v == true:
			c.tr = true
		case p == "key" && isString:
			c.hasKey, c.key = true, value
		case p == "name" && isString:
			c.hasParam, c.param = true, value
		default:
			return component{}, fmt.Errorf("component %s: the parameter %s is unknown or has a wrong value", text, p)
		}
	}
	if err := c.check(); err != nil {
		return component{}, fmt.Errorf("component %s: %w", text, err)
	}
	return c, nil
}

// check refuses names that are none, and parameters that do not go together.
func (c component) check() error {
	switch {
	case strings.HasPrefix(c.name, "@"):
		if !slices.Contains(derived, c.name) {
			return errors.New("no such derived component")
		}
		if c.sf || c.bs || c.tr || c.hasKey || c.hasParam != (c.name == "@query-param") || c.req && c.name == "@status" {
			return errors.New("parameters that this component does not take, or lacks")
		}
	case !isToken(c.name) || strings.ToLower(c.name) != c.name:
		return errors.New("not the name of a field in lower case")
	case c.hasParam || c.bs && (c.sf || c.hasKey):
		return errors.New("parameters that a field does not take, or not together")
	}
	return nil
}

// derived lists the derived components; it is never changed.
var derived = []string{
	"@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query", "@query-param", "@status",
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}) < 0
}

// value returns the component's value in a message. With once, a field must occur exactly once, and on one line.
func (c component) value(m *Message, once bool) (string, error) {
	if c.req {
		if m.Status == 0 {
			return "", fmt.Errorf("component %s: a request answers no request", c.text)
		}
		if m.Request == nil || m.Request.Status != 0 {
			return "", fmt.Errorf("component %s: the request that the message answers is not at hand", c.text)
		}
		m = m.Request
	}
	var v string
	var err error
	if strings.HasPrefix(c.name, "@") {
		v, err = c.derive(m)
	} else {
		v, err = c.field(m, once)
	}
	if err == nil && !printable(v, true) {
		err = errors.New("octets outside printable ASCII")
	}
	if err != nil {
		return "", fmt.Errorf("component %s: %w", c.text, err)
	}
	return v, nil
}

// derive returns the value of a derived component (RFC 9421, section 2.2).
func (c component) derive(m *Message) (string, error) {
	if (c.name == "@status") != (m.Status != 0) {
		return "", errors.New("not a component of this kind of message")
	}
	switch c.name {
	case "@status":
		return strconv.Itoa(m.Status), nil
	case "@method":
		return m.Method, nil
	case "@scheme":
		return m.Scheme, nil
	case "@request-target":
		return m.Target, nil
	case "@authority":
		return m.authority()
	}
	path, query, hasQuery, err := m.split()
	if err != nil {
		return "", err
	}
	switch c.name {
	case "@path":
		return path, nil
	case "@query":
		return "?" + query, nil
	case "@query-param":
		return queryParam(query, c.param)
	case "@target-uri":
		authority, err := m.authority()
		if hasQuery {
			path += "?" + query
		}
		return m.Scheme + "://" + authority + path, err
	}
	return "", errors.New("no such derived component")
}

// queryParam returns the one value of a query parameter, encoded anew; name is the encoded name.
func queryParam(query, name string) (string, error) {
	var found []string
	for pair := range strings.SplitSeq(query, "&") {
		n, v, _ := strings.Cut(pair, "=")
		if pair != "" && encodeForm(decodeForm(n)) == name {
			found = append(found, decodeForm(v))
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the query has %d parameters of this name, not one", len(found))
	}
	if !utf8.ValidString(found[0]) {
		return "", errors.New("the query parameter is not UTF-8")
	}
	return encodeForm(found[0]), nil
}

// decodeForm decodes as the URL standard parses application/x-www-form-urlencoded: what is no valid escape stands for
// itself.
func decodeForm(s string) string {
	s = strings.ReplaceAll(s, "+", " ")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(v)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// encodeForm percent-encodes all octets but letters, digits and "*-._".
func encodeForm(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("*-._", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
