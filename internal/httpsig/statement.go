// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// Statement is what a signature base says.
type Statement struct {
	Params
	Base   string
	Digest [sha256.Size]byte // of the message's own Content-Digest, zero if the profile does not cover it

	profile *Profile
	values  []string // of the profile's components, in order
}

// Value returns the value of a component, written as in [Rules.Components], or "" if the profile does not cover it.
func (s *Statement) Value(component string) string {
	if i := slices.Index(s.profile.rules.Components, component); i >= 0 {
		return s.values[i]
	}
	return ""
}

// Signed is a statement with a signature that was made or checked.
type Signed struct {
	Statement
	Signature []byte
}

// Hash names a signed message: SHA-256 of the signature base, a zero octet and the signature.
func (s *Signed) Hash() [sha256.Size]byte {
	return sha256.Sum256(slices.Concat([]byte(s.Base), []byte{0}, s.Signature))
}

// Answers reports an error, which matches [ErrMalformed], unless every component with ";req" that the response s covers has
// the value that it has in the request, the request's signature among them.
func (s *Signed) Answers(request *Signed) error {
	for i, c := range s.profile.components {
		if !c.req {
			continue
		}
		var want string
		if c.name == "signature" && c.hasKey {
			if c.key == request.profile.rules.Label {
				want = bytesField(request.Signature)
			}
		} else {
			want = request.Value(strings.Replace(s.profile.rules.Components[i], ";req", "", 1))
		}
		if want != s.values[i] {
			return fmt.Errorf("%w: the response answers another request: its component %s is %.80q, that of the request %.80q",
				ErrMalformed, c.text, s.values[i], want)
		}
	}
	return nil
}

// ParseBase reads the components and parameters out of a signature base, and accepts exactly those bases that
// [Profile.Sign] can make. The error matches [ErrMalformed].
func (p *Profile) ParseBase(base string) (*Statement, error) {
	if len(base) > MaxBase {
		return nil, fmt.Errorf("%w: a signature base of %d octets, more than %d", ErrMalformed, len(base), MaxBase)
	}
	s := &Statement{Base: base, profile: p, values: make([]string, len(p.components))}
	rest := base
	for i, c := range p.components {
		line, after, ok := strings.Cut(rest, "\n")
		value, is := strings.CutPrefix(line, c.text+": ")
		if !ok || !is {
			return nil, fmt.Errorf("%w: signature base, line %d: %.80q is not the component %s", ErrMalformed, i+1, line, c.text)
		}
		if err := checkValue(c, value); err != nil {
			return nil, fmt.Errorf("%w: component %s: %w", ErrMalformed, c.text, err)
		}
		if c.text == `"content-digest"` {
			s.Digest, _ = parseDigest(value) // checked above
		}
		s.values[i], rest = value, after
	}
	input, ok := strings.CutPrefix(rest, paramsLine)
	if !ok {
		return nil, fmt.Errorf("%w: signature base: %.80q is not the line of the signature parameters", ErrMalformed, rest)
	}
	var err error
	if s.Params, err = p.parseParams(input); err != nil {
		return nil, malformed(err)
	}
	return s, nil
}

// parseParams reads the signature parameters: the profile's components and parameters, in order, and no others.
func (p *Profile) parseParams(input string) (Params, error) {
	if len(input) > MaxInput {
		return Params{}, fmt.Errorf("signature parameters of %d octets, more than %d", len(input), MaxInput)
	}
	after, ok := strings.CutPrefix(input, p.covered)
	if !ok {
		return Params{}, fmt.Errorf("the signature covers %.400s, not %s", input, p.covered)
	}
	item, err := httpsfv.UnmarshalItem([]string{"?1" + after}) // any item: its parameters are what is read
	if err != nil {
		return Params{}, fmt.Errorf("signature parameters: %w", err)
	}
	get := func(name string) any { v, _ := item.Params.Get(name); return v }
	created, _ := get("created").(int64)
	expires, _ := get("expires").(int64)
	var q Params
	q.Nonce, _ = get("nonce").(string)
	q.KeyID, _ = get("keyid").(string)
	if q.KeyID == "" || len(q.KeyID) > maxKeyID || strings.Contains(q.KeyID, " ") {
		return Params{}, fmt.Errorf("keyid: want a string of 1 to %d visible characters", maxKeyID)
	}
	if created <= 0 || created > maxSeconds {
		return Params{}, errors.New("created: want whole seconds since 1970, before the year 10000")
	}
	q.Created = time.Unix(created, 0).UTC()
	if p.rules.Once {
		if lasts := expires - created; lasts <= 0 || lasts > int64(p.rules.MaxAge/time.Second) {
			return Params{}, fmt.Errorf("expires: want at most %v after created", p.rules.MaxAge)
		}
		q.Expires = time.Unix(expires, 0).UTC()
		if err := checkNonce(q.Nonce); err != nil {
			return Params{}, err
		}
	}
	if want := p.input(q); want != input {
		return Params{}, fmt.Errorf("signature parameters %.400s: want these alone, in this form: %s", after, want[len(p.covered):])
	}
	return q, nil
}

// checks has the grammar of each derived component that a profile may cover; it is never changed.
var checks = map[string]func(string) error{
	"@method": checkMethod, "@authority": checkAuthority, "@path": checkPath, "@query": checkQuery, "@status": checkStatus,
}

// checkValue refuses what can not be a component's value, so that a base has one meaning wherever it comes from.
func checkValue(c component, v string) error {
	if v == "" || len(v) > MaxValue {
		return fmt.Errorf("a value of %d octets: want 1 to %d", len(v), MaxValue)
	}
	if !printable(v, false) || v[0] == ' ' || v[len(v)-1] == ' ' {
		return fmt.Errorf("%.80q: want visible ASCII characters with spaces only between them", v)
	}
	var err error
	switch {
	case checks[c.name] != nil:
		return checks[c.name](v)
	case c.name == "content-digest" && !c.hasKey:
		_, err = parseDigest(v)
	case c.name == "signature" && c.hasKey:
		_, err = parseBytesField(v)
	}
	return err
}

func checkMethod(v string) error {
	if len(v) > 16 || strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("%.80q: want at most 16 capital letters", v)
	}
	return nil
}

func checkStatus(v string) error {
	if n, err := strconv.Atoi(v); err != nil || n < 200 || n > 599 || len(v) != 3 {
		return fmt.Errorf("%.80q: want a final status, 200 to 599", v)
	}
	return nil
}

// checkAuthority wants a host, and a port if it is not the scheme's own. A host is a name, an IPv4 address, or an IPv6
// address in brackets.
func checkAuthority(v string) error {
	host, port, hasPort := v, "", false
	if i := strings.LastIndexByte(v, ':'); i > strings.LastIndexByte(v, ']') {
		host, port, hasPort = v[:i], v[i+1:], true
	}
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0 || strconv.FormatUint(n, 10) != port) {
		return fmt.Errorf("%.80q: want a port from 1 to 65535 behind the colon", v)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		if !ok || err != nil || !ip.Is6() || ip.Zone() != "" || ip.String() != inner {
			return fmt.Errorf("%.80q: want an IPv6 address in its shortest form in the brackets", v)
		}
		return nil
	}
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		return fmt.Errorf("%.80q: want a host name in lower case, in its xn-- form if it needs one", v)
	}
	return nil
}

func checkPath(v string) error {
	if v[0] != '/' {
		return fmt.Errorf("%.80q: want a path that begins with a slash", v)
	}
	return checkURI(v, "/")
}

func checkQuery(v string) error {
	if v[0] != '?' {
		return fmt.Errorf("%.80q: want a query that begins with a question mark", v)
	}
	return checkURI(v[1:], "/?")
}

// checkURI wants characters of paths (RFC 3986, section 3.3), those in more, and escapes.
func checkURI(v, more string) error {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~!$&'()*+,;=:@"+more, c) >= 0:
		case c == '%' && i+2 < len(v) && isHex(v[i+1]) && isHex(v[i+2]):
			i += 2
		default:
			return fmt.Errorf("%q at octet %d of %.80q must be percent-encoded", c, i+1, v)
		}
	}
	return nil
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// bytesField writes octets as a byte sequence (RFC 9651).
func bytesField(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(b) + ":" }

// parseBytesField reads a signature as bytesField writes it, and no other spelling.
func parseBytesField(v string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.Trim(v, ":"))
	if err != nil || len(b) != SignatureSize || bytesField(b) != v {
		return nil, fmt.Errorf("want %d octets in base64 between colons, without parameters", SignatureSize)
	}
	return b, nil
}
