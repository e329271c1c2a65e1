// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rules are what a [Profile] is made from.
type Rules struct {
	Label string // of the one signature in a message, such as "sig1"
	Tag   string // what the signature is for, such as "cityid-fetch"
	// Components are all that is covered, in order. One is written as it stands in Signature-Input but without the quotation
	// marks around its name: @method, content-digest, signature;req;key="sig1".
	Components []string
	// Response: the messages are responses, and components of the request that they answer may be covered.
	Response bool
	// Once: signatures expire and carry a nonce, so that a verifier can see to it that each is used once. Without it neither
	// parameter may occur.
	Once bool
	// MaxAge is how long a signature may last, in whole seconds: from created to expires with Once, else from created until it
	// is verified.
	MaxAge time.Duration
	// Skew is by how much, in whole seconds, the clocks of signer and verifier may differ.
	Skew time.Duration
}

// Profile says what a signature looks like; nothing else is accepted or made. It does not change and is safe for concurrent
// use.
type Profile struct {
	rules      Rules
	components []component
	covered    string // the inner list, without parameters
}

var (
	labels = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	tags   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
)

// New returns the profile with the given rules. It refuses components other than @method, @authority, @path, @query, @status
// and fields, with no parameters other than ";req" and ";key".
func New(r Rules) (*Profile, error) {
	if !labels.MatchString(r.Label) || !tags.MatchString(r.Tag) {
		return nil, fmt.Errorf("signature profile: label %q, tag %q: letters in lower case, digits and hyphens", r.Label, r.Tag)
	}
	if r.MaxAge < time.Second || r.Skew < 0 || r.MaxAge%time.Second != 0 || r.Skew%time.Second != 0 {
		return nil, fmt.Errorf("signature profile: maximum age %v, skew %v: whole seconds", r.MaxAge, r.Skew)
	}
	if len(r.Components) == 0 {
		return nil, errors.New("signature profile: it covers nothing")
	}
	r.Components = slices.Clone(r.Components)
	texts := make([]string, len(r.Components))
	for i, written := range r.Components {
		name, _, _ := strings.Cut(written, ";")
		texts[i] = `"` + name + `"` + strings.TrimPrefix(written, name)
	}
	p := &Profile{rules: r, covered: "(" + strings.Join(texts, " ") + ")"}
	var err error
	if p.components, err = parseInput(p.covered); err != nil {
		return nil, fmt.Errorf("signature profile: %s: %w", p.covered, err)
	}
	for i, c := range p.components {
		if c.text != texts[i] || c.sf || c.bs || c.tr || c.hasParam || c.req && !r.Response || strings.HasPrefix(c.name, "@") && checks[c.name] == nil {
			return nil, fmt.Errorf("signature profile: component %s can not be covered in a profile", c.text)
		}
	}
	return p, nil
}

// must returns a profile whose rules are known to be right, but perhaps for the tag.
func must(r Rules) *Profile {
	p, err := New(r)
	if err != nil {
		panic(err)
	}
	return p
}

// Params are what a signature says about itself. Times have whole seconds.
type Params struct {
	Created time.Time
	Expires time.Time // zero if the profile has no Once
	Nonce   string    // "" if the profile has no Once
	KeyID   string    // 1 to 256 visible ASCII characters, neither " nor \
}

// Signer makes signatures of [SignatureSize] octets; *keys.Private is one.
type Signer interface {
	Sign(message []byte) ([]byte, error)
}

// Key checks signatures and returns an error unless one is good; keys.Public is one.
type Key interface {
	Verify(message, signature []byte) error
}

// Lookup returns the key that a keyid names, or an error that says why the signature by it does not count: because the key is
// unknown, not in force, or may not do this.
type Lookup func(keyID string) (Key, error)

// Sign signs a message and puts the signature into its header, in the place of any that was there. Fields that are covered
// must be in the header already. Sub-seconds of the times are cut off; where the profile has Once, a zero Expires becomes
// created plus the maximum age, and an empty Nonce a new one. Sign refuses to make what [Profile.Verify] would not accept.
func (p *Profile) Sign(m *Message, q Params, key Signer) (*Signed, error) {
	q.Created, q.Expires = q.Created.Truncate(time.Second).UTC(), q.Expires.Truncate(time.Second).UTC()
	if p.rules.Once && q.Expires.IsZero() {
		q.Expires = q.Created.Add(p.rules.MaxAge)
	}
	if p.rules.Once && q.Nonce == "" {
		q.Nonce = NewNonce()
	}
	if !p.rules.Once && (q.Nonce != "" || !q.Expires.IsZero()) {
		return nil, fmt.Errorf("tag %s: its signatures have neither a nonce nor an end", p.rules.Tag)
	}
	if err := p.suits(m); err != nil {
		return nil, err
	}
	input := p.input(q)
	text, err := base(m, p.components, input, true)
	if err != nil {
		return nil, err
	}
	statement, err := p.ParseBase(text)
	if err != nil {
		return nil, err
	}
	signature, err := key.Sign([]byte(text))
	if err != nil {
		return nil, err
	}
	if len(signature) != SignatureSize {
		return nil, fmt.Errorf("a signature of %d octets, not %d: the key is of another algorithm", len(signature), SignatureSize)
	}
	m.Header.Set("Signature-Input", p.rules.Label+"="+input)
	m.Header.Set("Signature", p.rules.Label+"="+bytesField(signature))
	return &Signed{Statement: *statement, Signature: signature}, nil
}

// Verify checks the one signature of a message that was received, as of now. Errors match [ErrUnsigned], [ErrMalformed],
// [ErrTime] or [ErrSignature], or are those of lookup, which is asked last but for the signature itself. What Verify does not
// do: compare the authority with the server's own, remember the nonce until Expires and the skew have passed, and compare the
// content with the digest.
func (p *Profile) Verify(m *Message, now time.Time, lookup Lookup) (*Signed, error) {
	if err := p.suits(m); err != nil {
		return nil, err
	}
	input, signature, err := p.fields(m)
	if err != nil {
		return nil, err
	}
	text, err := base(m, p.components, input, true)
	if err != nil {
		return nil, err
	}
	return p.verify(text, signature, lookup, func(q Params) error { return p.checkTime(q, now) })
}

// VerifyBase checks a signature of which nothing but the base is left. Times are held against each other but not against a
// clock. Errors are those of [Profile.Verify].
func (p *Profile) VerifyBase(base string, signature []byte, lookup Lookup) (*Signed, error) {
	return p.verify(base, signature, lookup, func(Params) error { return nil })
}

// Skew returns by how much clocks may differ: a nonce must be remembered this long after its signature expires.
func (p *Profile) Skew() time.Duration { return p.rules.Skew }

func (p *Profile) verify(base string, signature []byte, lookup Lookup, timely func(Params) error) (*Signed, error) {
	statement, err := p.ParseBase(base)
	if err != nil {
		return nil, err
	}
	if err := timely(statement.Params); err != nil {
		return nil, err
	}
	if len(signature) != SignatureSize {
		return nil, fmt.Errorf("%w: it has %d octets, not %d", ErrMalformed, len(signature), SignatureSize)
	}
	key, err := lookup(statement.KeyID)
	if err != nil {
		return nil, fmt.Errorf("signature by key %s: %w", statement.KeyID, err)
	}
	if err := key.Verify([]byte(base), signature); err != nil {
		return nil, fmt.Errorf("%w: key %s did not sign this message: %w", ErrSignature, statement.KeyID, err)
	}
	return &Signed{Statement: *statement, Signature: slices.Clone(signature)}, nil
}

// suits refuses messages of the other kind, contents that were transformed, and request targets that another one shares its
// components with.
func (p *Profile) suits(m *Message) error {
	if (m.Status != 0) != p.rules.Response {
		return fmt.Errorf("%w: tag %s is not for this kind of message", ErrMalformed, p.rules.Tag)
	}
	if lines, err := fieldLines(m.Header, "content-encoding"); err != nil || len(lines) > 0 {
		return fmt.Errorf("%w: the content has an encoding: send it as it is", ErrMalformed)
	}
	if m.Status != 0 {
		m = m.Request
	}
	if m != nil && (!strings.HasPrefix(m.Target, "/") || strings.HasSuffix(m.Target, "?") && strings.Count(m.Target, "?") == 1) {
		return fmt.Errorf("%w: request target %.80q: it must begin with a slash, and not end in a bare question mark", ErrMalformed, m.Target)
	}
	return nil
}

// fields returns what the two fields of a message say under the profile's label.
func (p *Profile) fields(m *Message) (input string, signature []byte, err error) {
	var lines [2]string
	for i, name := range []string{"signature-input", "signature"} {
		found, err := fieldLines(m.Header, name)
		switch {
		case err != nil:
			return "", nil, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
		case len(found) == 0:
			return "", nil, fmt.Errorf("%w: it has no field %s", ErrUnsigned, name)
		case len(found) > 1:
			return "", nil, fmt.Errorf("%w: the field %s occurs %d times: send it once", ErrMalformed, name, len(found))
		}
		// What follows the label is compared with its one strict form later on; so a member after it can not slip through.
		var ok bool
		if lines[i], ok = strings.CutPrefix(found[0], p.rules.Label+"="); !ok {
			return "", nil, fmt.Errorf("%w: the field %s does not begin with the label %s: %.80q", ErrMalformed, name, p.rules.Label, found[0])
		}
	}
	if signature, err = parseBytesField(lines[1]); err != nil {
		return "", nil, fmt.Errorf("%w: signature: %w", ErrMalformed, err)
	}
	return lines[0], signature, nil
}

// checkTime holds the times of a signature against the clock.
func (p *Profile) checkTime(q Params, now time.Time) error {
	switch {
	case q.Created.After(now.Add(p.rules.Skew)):
		return fmt.Errorf("%w: created at %s, which is to come; it is %s here: set the clocks", ErrTime, stamp(q.Created), stamp(now))
	case p.rules.Once && now.After(q.Expires.Add(p.rules.Skew)):
		return fmt.Errorf("%w: it expired at %s; it is %s here: sign again, or set the clocks", ErrTime, stamp(q.Expires), stamp(now))
	case !p.rules.Once && now.After(q.Created.Add(p.rules.MaxAge+p.rules.Skew)):
		return fmt.Errorf("%w: created at %s, more than %v ago; it is %s here: sign again, or set the clocks",
			ErrTime, stamp(q.Created), p.rules.MaxAge, stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// input returns the signature parameters as they are signed.
func (p *Profile) input(q Params) string {
	s := p.covered + ";created=" + strconv.FormatInt(q.Created.Unix(), 10)
	if p.rules.Once {
		s += ";expires=" + strconv.FormatInt(q.Expires.Unix(), 10) + `;nonce="` + q.Nonce + `"`
	}
	return s + `;keyid="` + q.KeyID + `";tag="` + p.rules.Tag + `"`
}
