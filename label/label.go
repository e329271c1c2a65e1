// SPDX-License-Identifier: Apache-2.0

// Package label writes codes on things and reads them back: the text inside a
// QR symbol, the symbol itself, print sheets, and the reading of photographs.
// This comment is the specification of the texts.
//
// # Field labels
//
// A field label sits on a lamp post. Its text is a web address, so that any
// phone camera opens it, in upper case, so that a QR symbol holds it in
// alphanumeric mode:
//
//	HTTPS://ID.EXAMPLE/MA.156.1301.02/20.010501/000045
//
//	field  = public "/" code                         ; at most 67 characters on a label
//	public = scheme "://" host [ ":" port ] *( "/" prefix )  ; at most 60 characters
//	scheme = "HTTP" / "HTTPS"
//	prefix = 1*( UP / DIGIT )                        ; but no reserved word
//
// The reserved words V1, X, ZH, EN, API and STATIC (and 1.0) belong to the
// resolver; neither a prefix nor the first part of a labelled code may be one.
// A port that is the scheme's own is left out. The host is a name (an
// internationalised one in its xn-- form) or an IPv4 address. It is never a
// loopback, unspecified, link-local, multicast or reserved address, nor
// localhost, .local, .localdomain or .invalid, because paper outlives the
// machine that printed it. IPv6 addresses need brackets, which QR alphanumeric
// mode lacks.
//
// The symbol has error correction level Q and a quiet zone of 4 modules. It
// has 29x29 modules up to 47 characters and 33x33 up to 67, whatever mode
// switching might save, so that a printed size can be promised. What is trodden
// and driven on may have level H: 33x33 modules up to 50 characters, 37x37 up to
// 64, 41x41 up to 67.
//
// A field label carries no signature: it would need 1.4 to 1.6 times the size
// at the same distance, and a copied signature still verifies. Swapped
// stickers are exposed by the printed host, holder and code.
//
// # Certificates
//
// A certificate is for the hand: paper, plates, cards. It adds a signed
// envelope of 72 octets, written as 174 decimal digits (one big-endian integer
// below 2^576, padded with zeros), which a symbol holds in numeric mode:
//
//	certificate = public "/X/" code "/" 174DIGIT
//
//	HTTPS://ID.EXAMPLE/X/MA.156.1301.02/20.010501/000045/0123...
//
//	envelope = key id (4) || issued (2) || expires (2) || signature (64)
//
// Dates are days since 2020-01-01 UTC, big-endian; both days are included, and
// issued is not after expires. The key id is the first four octets of
// SHA-256("cityid/label/key/1" || encoded public key). The signature is
// Ed25519, by a key of role assert, over the 32 octets
//
//	SHA-256("cityid/label/1" || length of code (1) || code || key id || issued || expires)
//
// The web address is not signed: a resolver may move, the certificate stays
// true. No code holds 174 digits in a row, so the last part cannot be mistaken
// for one of the code's. A certificate's symbol has level M, or Q or H where
// asked for: it is read flat and near, where larger modules help more than
// redundancy does.
//
// [Check] tries every key whose key id matches, but only keys held by the code
// itself or by one of its ancestors: a key of another city proves nothing here.
//
// # Source marks
//
// A department, sensor or station vouches for the bytes of a report with a
// source mark on it, or a device carries one that vouches for no bytes: a plate.
// Its text has one part after the X, a decimal number without leading zeros, of
// at most 648 digits, which a symbol holds in numeric mode:
//
//	source = public "/X/" 1*DIGIT
//
//	HTTPS://ID.EXAMPLE/X/8931...
//
// The number is, big-endian, a statement and the 64 octets of a signature. The
// statement is deterministic CBOR, a map:
//
//	1 version  1
//	2 code     of the source, as text
//	3 digest   SHA-256 of the bytes; absent on a plate
//	4 time     when it was signed, by the signer's word, in seconds since 1970
//	5 nonce    16 random octets, not all zero
//	6 key id   as in a certificate
//	7 expires  first second at which it no longer counts, after time; absent: never
//
// The signature is Ed25519, by a key of role assert of the policy that governs
// the source, over the 32 octets SHA-256("cityid/source/1" || statement). The
// web address is not signed. The symbol has level M: 53x53 modules for a report
// of a department at a short host.
//
// A mark proves which registered key vouched for which bytes. It does not prove
// that they are true, nor when they were made: time is the signer's word, unless
// an attestation on the chain bears it out. Anybody can copy a plate, so a plate
// proves an identifier and not that it is on the device it was made for.
//
// # Sheets
//
// [WriteLayout] lays labels out for printing by a named [Template] for a named
// [Material]; [CheckSheet] reads every label of the document back, from the
// symbol as it is drawn, and holds the printed text against it. An emblem stands
// beside the symbol, never in it.
//
// # Reading
//
// [ParsePayload] accepts either case, all kinds of text above, and a bare
// code with or without check characters. [Decode] reads a PNG or JPEG. Neither
// follows a link.
//
// All functions may be called from several goroutines at once.
package label

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

const (
	// MaxField is the length in characters of the longest field label.
	MaxField = 67
	// maxSmall is the length of the longest field label of 29x29 modules.
	maxSmall = 47
	// maxPublic bounds a public URL, so that a certificate of the longest
	// code still has a symbol.
	maxPublic = 60
	// maxPayload bounds what ParsePayload looks at, in octets: the longest
	// public URL with the mark of the longest code fits.
	maxPayload = 711
)

// reserved are the first path segments that belong to the resolver itself.
var reserved = []string{"V1", "X", "ZH", "EN", "API", "1.0", "STATIC"}

// PublicURL is where labels point: scheme, host, optional port and optional
// path prefix. Only [ParsePublicURL] and [ParsePayload] build one; the zero
// PublicURL is none. Values are comparable.
type PublicURL struct {
	text string // upper case, no trailing slash
}

// String returns the URL as labels carry it: upper case, no trailing slash.
func (u PublicURL) String() string { return u.text }

// IsZero reports whether u is no URL.
func (u PublicURL) IsZero() bool { return u.text == "" }

// Host returns host and port as people read them, in lower case.
func (u PublicURL) Host() string {
	_, rest, _ := strings.Cut(u.text, "://")
	host, _, _ := strings.Cut(rest, "/")
	return strings.ToLower(host)
}

// ParsePublicURL parses the address under which the public reaches the
// resolver, such as "https://id.example", as the package comment defines it.
// One trailing slash is dropped. A path prefix must be given in upper case, as
// the labels will ask for it. Errors say what to change.
func ParsePublicURL(s string) (PublicURL, error) {
	fail := func(err error) (PublicURL, error) {
		return PublicURL{}, fmt.Errorf("public URL %.100q: %w", s, err)
	}
	scheme, authority, segments, err := splitURL(s)
	if err != nil {
		return fail(err)
	}
	for _, p := range segments {
		if strings.ToUpper(p) != p {
			return fail(fmt.Errorf("labels are upper case, so write the path as %q and serve it in that spelling", strings.ToUpper(p)))
		}
	}
	u, err := newPublicURL(scheme, authority, segments)
	if err != nil {
		return fail(err)
	}
	return u, nil
}

// splitURL cuts a web address into scheme and authority, both upper case, and
// path segments as they are. One trailing slash is dropped.
func splitURL(s string) (scheme, authority string, segments []string, err error) {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return "", "", nil, fmt.Errorf("unexpected character at offset %d: only ASCII without spaces; write an international host name in its xn-- form", i)
		}
	}
	if i := strings.IndexAny(s, "?#@[]%\\"); i >= 0 {
		return "", "", nil, fmt.Errorf("unexpected %q at offset %d: only scheme, host, port and a plain path are allowed", s[i], i)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToUpper(scheme)
	if !ok || scheme != "HTTP" && scheme != "HTTPS" {
		return "", "", nil, errors.New("must begin with http:// or https://")
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	return scheme, strings.ToUpper(parts[0]), parts[1:], nil
}

// newPublicURL checks upper-case parts and joins them.
func newPublicURL(scheme, authority string, prefix []string) (PublicURL, error) {
	host, port, hasPort := strings.Cut(authority, ":")
	if err := checkHost(host); err != nil {
		return PublicURL{}, err
	}
	text := scheme + "://" + host
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return PublicURL{}, fmt.Errorf("port %.20q: want 1 to 65535 without leading zeros", port)
		}
		if own := map[string]string{"HTTP": "80", "HTTPS": "443"}[scheme]; port != own {
			text += ":" + port
		}
	}
	for _, p := range prefix {
		if slices.Contains(reserved, p) {
			return PublicURL{}, fmt.Errorf("path %q is reserved for the resolver: choose another", p)
		}
		if !isPrefix(p) {
			return PublicURL{}, fmt.Errorf("path %.40q: only letters A to Z and digits are allowed", p)
		}
		text += "/" + p
	}
	if len(text) > maxPublic {
		return PublicURL{}, fmt.Errorf("%d characters: at most %d leave room for a code, so choose a shorter host", len(text), maxPublic)
	}
	return PublicURL{text}, nil
}

// isPrefix reports whether p may stand between host and code. It has no dot,
// and so is never a class: that is why a code can be found after a prefix.
func isPrefix(p string) bool {
	for i := range len(p) {
		if !isUpperAlnum(p[i]) {
			return false
		}
	}
	return p != "" && !slices.Contains(reserved, p)
}

func isUpperAlnum(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' }

// errHome is why a host cannot stand on paper.
var errHome = errors.New("names only the machine or the cable it is on: print labels with the address the public will use, set by --public-url")

// checkHost checks an upper-case host name or IPv4 address.
func checkHost(host string) error {
	if host == "" || len(host) > 253 {
		return fmt.Errorf("host of %d characters: want 1 to 253", len(host))
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return fmt.Errorf("host %.80q is not a host name", host)
		}
		for i := range len(l) {
			if !isUpperAlnum(l[i]) && l[i] != '-' {
				return fmt.Errorf("host %.80q: unexpected %q", host, l[i])
			}
		}
	}
	last := labels[len(labels)-1]
	switch last {
	case "LOCALHOST", "LOCAL", "LOCALDOMAIN", "IP6-LOCALHOST", "IP6-LOOPBACK", "INVALID":
		return fmt.Errorf("host %.80q %w", host, errHome)
	}
	// Browsers take a host whose last label is a number for an IPv4 address in
	// one of its old spellings, such as 127.1 or 0X7F000001.
	if strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0X") {
		return nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("host %.80q is neither a name nor an IPv4 address of four decimal numbers", host)
	}
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.As4()[0] == 0 {
		return fmt.Errorf("host %.80q %w", host, errHome)
	}
	if ip.As4()[0] >= 224 {
		return fmt.Errorf("host %.80q is a multicast or reserved address: print labels with the resolver's own address", host)
	}
	return nil
}

// checkCode refuses the zero code and codes whose path the resolver reserves.
func checkCode(code cityid.Code) error {
	first, _, _ := strings.Cut(code.String(), "/")
	if first == "" {
		return errors.New("no code given")
	}
	if slices.Contains(reserved, first) {
		return fmt.Errorf("code %s: addresses beginning with %q are reserved for the resolver, so it cannot be labelled", code, first)
	}
	return nil
}

// FieldURL returns the text of a field label: upper case, at most [MaxField]
// characters.
func FieldURL(u PublicURL, code cityid.Code) (string, error) {
	if u.IsZero() {
		return "", errors.New("field label: no public URL given, set --public-url")
	}
	if err := checkCode(code); err != nil {
		return "", fmt.Errorf("field label: %w", err)
	}
	text := u.text + "/" + code.String()
	if n := len(text) - MaxField; n > 0 {
		return "", fmt.Errorf("field label for %s: %d characters, at most %d fit: choose a public URL at least %d characters shorter than %s, or print a certificate",
			code, len(text), MaxField, n, u)
	}
	return text, nil
}

// Kind tells what a scanned or typed text is.
type Kind uint8

// The kinds.
const (
	KindField       Kind = 1 // a field label: Public and Code are set
	KindCertificate Kind = 2 // a certificate: Public, Code and Certificate are set
	KindCode        Kind = 3 // a bare code: only Code is set
	KindSource      Kind = 4 // a source mark: Public, Code and Source are set
)

// String returns "field", "certificate", "code" or "source".
func (k Kind) String() string {
	switch k {
	case KindField:
		return "field"
	case KindCertificate:
		return "certificate"
	case KindCode:
		return "code"
	case KindSource:
		return "source"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Payload is what a scanned or typed text says. Nothing in it is verified.
type Payload struct {
	Kind        Kind
	Public      PublicURL   // where the label points; compare its host with the printed one
	Code        cityid.Code // never zero
	Certificate Certificate // its Code equals Code
	Source      SourceMark  // its Code equals Code
}

// String returns the text of p in its one upper-case form; [ParsePayload]
// reads it back to p.
func (p Payload) String() string {
	switch p.Kind {
	case KindField:
		return p.Public.text + "/" + p.Code.String()
	case KindCertificate:
		return p.Public.text + "/X/" + p.Code.String() + "/" + p.Certificate.digits()
	case KindSource:
		return p.Public.text + "/X/" + p.Source.digits()
	}
	return p.Code.String()
}

// ParsePayload reads the text of a symbol, or what somebody typed. It accepts
// either case, http and https, one trailing slash, and, for a bare code, check
// characters and all that [cityid.Parse] folds. A web address must point to a
// host that a label may carry; beyond [MaxField] characters it is still read,
// though no label would be printed with it. Anything else is an error that
// names the reason.
func ParsePayload(text string) (Payload, error) {
	if len(text) > maxPayload {
		return Payload{}, fmt.Errorf("text of %d octets: longer than any label", len(text))
	}
	if !strings.Contains(text, "://") {
		code, err := cityid.Parse(text)
		if err != nil {
			return Payload{}, fmt.Errorf("neither a label nor a code: %w", err)
		}
		return Payload{Kind: KindCode, Code: code}, nil
	}
	p, err := parseURL(text)
	if err != nil {
		return Payload{}, fmt.Errorf("not a label: %w", err)
	}
	return p, nil
}

func parseURL(text string) (Payload, error) {
	scheme, authority, segments, err := splitURL(text)
	if err != nil {
		return Payload{}, err
	}
	for i := range segments {
		segments[i] = strings.ToUpper(segments[i])
	}
	k := 0
	for k < len(segments) && isPrefix(segments[k]) {
		k++
	}
	if k < len(segments) && segments[k] == "X" {
		if len(segments) == k+2 && strings.Trim(segments[k+1], "0123456789") == "" {
			return parseSource(scheme, authority, segments[:k], segments[k+1])
		}
		return parseCertificate(scheme, authority, segments[:k], segments[k+1:])
	}
	// The code starts at the first segment from which the rest is one: the
	// segment after a prefix is never a class, so no earlier start succeeds.
	err = errors.New("the address has no code after the host")
	for i := 0; i <= k && i < len(segments); i++ {
		var code cityid.Code
		if code, err = cityid.ParseCanonical(strings.Join(segments[i:], "/")); err != nil {
			continue
		}
		if err := checkCode(code); err != nil {
			return Payload{}, err
		}
		u, err := newPublicURL(scheme, authority, segments[:i])
		return Payload{Kind: KindField, Public: u, Code: code}, err
	}
	return Payload{}, err
}

// parseSource reads the one segment that follows the X of a source mark.
func parseSource(scheme, authority string, prefix []string, digits string) (Payload, error) {
	m, err := ParseSourceMark(digits)
	if err != nil {
		return Payload{}, fmt.Errorf("source mark: %w", err)
	}
	u, err := newPublicURL(scheme, authority, prefix)
	if err != nil {
		return Payload{}, err
	}
	return Payload{Kind: KindSource, Public: u, Code: m.Code, Source: m}, nil
}

// parseCertificate reads the segments that follow the X.
func parseCertificate(scheme, authority string, prefix, rest []string) (Payload, error) {
	if len(rest) < 2 {
		return Payload{}, errors.New("certificate: want a code and a signature after /X/")
	}
	last := len(rest) - 1
	code, err := cityid.ParseCanonical(strings.Join(rest[:last], "/"))
	if err != nil {
		return Payload{}, fmt.Errorf("certificate: %w", err)
	}
	if err := checkCode(code); err != nil {
		return Payload{}, err
	}
	c, err := parseDigits(code, rest[last])
	if err != nil {
		return Payload{}, fmt.Errorf("certificate for %s: %w", code, err)
	}
	u, err := newPublicURL(scheme, authority, prefix)
	return Payload{Kind: KindCertificate, Public: u, Code: code, Certificate: c}, err
}
