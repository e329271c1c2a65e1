// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxRPID   = 253
	maxOrigin = 512
	maxLabel  = 63

	minAuthenticatorData = 37
	maxAuthenticatorData = 1024
	maxClientData        = 2048

	// Flags in the 33rd byte of authenticator data (WebAuthn Level 2, section 6.1).
	flagUserPresent  = 0x01
	flagUserVerified = 0x04
	flagAttested     = 0x40
	flagExtensions   = 0x80
)

// spkiP256 is what comes before the uncompressed point in the DER SubjectPublicKeyInfo of any P-256 key.
const spkiP256 = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"

// WebAuthnFromSPKI returns the key of a passkey from what a browser gives when it is made: the public
// key as AuthenticatorAttestationResponse.getPublicKey() returns it, a DER SubjectPublicKeyInfo with an
// uncompressed P-256 point, together with the RP id asked for and the origin of the page. The error
// matches [ErrPublicKey].
func WebAuthnFromSPKI(spki []byte, rpID, origin string) (Public, error) {
	uncompressed, ok := bytes.CutPrefix(spki, []byte(spkiP256))
	if !ok {
		return Public{}, fmt.Errorf("%w: not a SubjectPublicKeyInfo with an uncompressed P-256 point; ask for COSE algorithm -7 (ES256)", ErrPublicKey)
	}
	if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), uncompressed); err != nil {
		return Public{}, fmt.Errorf("%w: p256: %w", ErrPublicKey, err)
	}
	if err := checkBinding(rpID, origin); err != nil {
		return Public{}, err
	}
	raw := append([]byte{byte(WebAuthnP256)}, compressP256(uncompressed)...)
	raw = append(raw, byte(len(rpID)))
	raw = append(raw, rpID...)
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(origin)))
	raw = append(raw, origin...)
	return ParsePublic(raw)
}

// webAuthnKey is a decoded webauthn-p256 key.
type webAuthnKey struct {
	point        []byte // compressed
	rpID, origin string
}

// parseWebAuthn decodes what follows the algorithm byte. It checks the binding but not the point.
func parseWebAuthn(key []byte) (webAuthnKey, error) {
	malformed := fmt.Errorf("%w: a webauthn-p256 key is a compressed point, an RP id and an origin, each complete and nothing more", ErrPublicKey)
	if len(key) < p256PointSize+1 {
		return webAuthnKey{}, malformed
	}
	point, rest := key[:p256PointSize], key[p256PointSize:]
	n, rest := int(rest[0]), rest[1:]
	if len(rest) < n+2 {
		return webAuthnKey{}, malformed
	}
	rpID, rest := string(rest[:n]), rest[n:]
	m, rest := int(binary.BigEndian.Uint16(rest)), rest[2:]
	if len(rest) != m {
		return webAuthnKey{}, malformed
	}
	origin := string(rest)
	if err := checkBinding(rpID, origin); err != nil {
		return webAuthnKey{}, err
	}
	return webAuthnKey{point, rpID, origin}, nil
}

// checkBinding checks an RP id, an origin, and that one belongs to the other.
func checkBinding(rpID, origin string) error {
	if !isHostName(rpID) {
		return fmt.Errorf("%w: RP id %.60q is not a lower-case host name", ErrPublicKey, rpID)
	}
	host, ok := originHost(origin)
	if !ok {
		return fmt.Errorf("%w: origin %.60q is not https://host[:port], http://localhost[:port] or http://name.localhost[:port] in the exact form a browser writes", ErrPublicKey, origin)
	}
	if host == rpID || strings.HasSuffix(host, "."+rpID) && strings.Contains(rpID, ".") {
		return nil
	}
	return fmt.Errorf("%w: RP id %q does not cover origin %q", ErrPublicKey, rpID, origin)
}

// originHost returns the host name of an origin, and whether the origin is well formed.
func originHost(origin string) (string, bool) {
	if len(origin) > maxOrigin {
		return "", false
	}
	defaultPort := "443"
	authority, secure := strings.CutPrefix(origin, "https://")
	if !secure {
		var ok bool
		if authority, ok = strings.CutPrefix(origin, "http://"); !ok {
			return "", false
		}
		defaultPort = "80"
	}
	host, port, hasPort := strings.Cut(authority, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port || port == defaultPort {
			return "", false
		}
	}
	loopback := host == "localhost" || strings.HasSuffix(host, ".localhost")
	return host, isHostName(host) && (secure || loopback)
}

// isHostName reports whether s is a lower-case host name as the package comment defines it.
func isHostName(s string) bool {
	if len(s) > maxRPID {
		return false
	}
	var last string
	for last = range strings.SplitSeq(s, ".") {
		if len(last) == 0 || len(last) > maxLabel || last[0] == '-' || last[len(last)-1] == '-' {
			return false
		}
		for _, c := range []byte(last) {
			if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return last[0] >= 'a'
}

// webAuthnSignature is a decoded signature; its slices share the encoded bytes.
type webAuthnSignature struct {
	authenticatorData, clientData []byte
	rs                            []byte // 64 bytes
}

// parseWebAuthnSignature splits an encoded signature and checks the bounds of its parts.
func parseWebAuthnSignature(sig []byte) (webAuthnSignature, error) {
	authenticatorData, rest, ok := cutUint16(sig)
	if !ok || len(authenticatorData) < minAuthenticatorData || len(authenticatorData) > maxAuthenticatorData {
		return webAuthnSignature{}, fmt.Errorf("%w: authenticator data is cut short or not %d to %d bytes long", ErrSignature, minAuthenticatorData, maxAuthenticatorData)
	}
	clientData, rest, ok := cutUint16(rest)
	if !ok || len(clientData) > maxClientData {
		return webAuthnSignature{}, fmt.Errorf("%w: client data is cut short or longer than %d bytes", ErrSignature, maxClientData)
	}
	if len(rest) != p256SignatureSize {
		return webAuthnSignature{}, fmt.Errorf("%w: %d bytes follow the client data, not %d", ErrSignature, len(rest), p256SignatureSize)
	}
	return webAuthnSignature{authenticatorData, clientData, rest}, nil
}

// cutUint16 splits b after the field that starts with its own big-endian length.
func cutUint16(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, nil, false
	}
	return b[2:n], b[n:], true
}

// WebAuthnSignature encodes what a browser gives for an assertion (the members authenticatorData,
// clientDataJSON and signature of AuthenticatorAssertionResponse, the last in DER) as the signature of a
// webauthn-p256 key. It checks sizes and the DER; [Verify] judges the rest. The error matches
// [ErrSignature].
func WebAuthnSignature(authenticatorData, clientDataJSON, der []byte) ([]byte, error) {
	rs, err := P256FromDER(der)
	if err != nil {
		return nil, err
	}
	if len(authenticatorData) > maxAuthenticatorData || len(clientDataJSON) > maxClientData {
		return nil, fmt.Errorf("%w: authenticator data is longer than %d bytes or client data than %d", ErrSignature, maxAuthenticatorData, maxClientData)
	}
	sig := encodeWebAuthnSignature(webAuthnSignature{authenticatorData, clientDataJSON, rs})
	if _, err := parseWebAuthnSignature(sig); err != nil {
		return nil, err
	}
	return sig, nil
}

func encodeWebAuthnSignature(s webAuthnSignature) []byte {
	sig := make([]byte, 0, 4+len(s.authenticatorData)+len(s.clientData)+len(s.rs))
	sig = binary.BigEndian.AppendUint16(sig, uint16(len(s.authenticatorData)))
	sig = append(sig, s.authenticatorData...)
	sig = binary.BigEndian.AppendUint16(sig, uint16(len(s.clientData)))
	sig = append(sig, s.clientData...)
	return append(sig, s.rs...)
}

// verifyWebAuthn checks an encoded assertion over msg by an encoded key without its algorithm byte.
func verifyWebAuthn(key, msg, sig []byte) error {
	k, err := parseWebAuthn(key)
	if err != nil {
		return err
	}
	s, err := parseWebAuthnSignature(sig)
	if err != nil {
		return err
	}
	if err := checkClientData(s.clientData, msg, k.origin); err != nil {
		return err
	}
	if err := checkAuthenticatorData(s.authenticatorData, k.rpID); err != nil {
		return err
	}
	clientHash := sha256.Sum256(s.clientData)
	signed := make([]byte, 0, len(s.authenticatorData)+len(clientHash))
	signed = append(signed, s.authenticatorData...)
	signed = append(signed, clientHash[:]...)
	return verifyP256(k.point, signed, s.rs)
}

// checkClientData is the limited verification algorithm. An origin that checkBinding admits holds no
// character that needs escaping, so it stands between its quotes as it is.
func checkClientData(clientData, msg []byte, origin string) error {
	rest := clientData
	for _, want := range []struct{ name, text string }{
		{"type", `{"type":"webauthn.get"`},
		{"challenge", `,"challenge":"` + base64.RawURLEncoding.EncodeToString(msg) + `"`},
		{"origin", `,"origin":"` + origin + `"`},
		{"crossOrigin", `,"crossOrigin":false`},
	} {
		var ok bool
		if rest, ok = bytes.CutPrefix(rest, []byte(want.text)); !ok {
			return fmt.Errorf("%w: the %s in the client data is not as it must be, %.120q", ErrSignature, want.name, want.text)
		}
	}
	if string(rest) == "}" || len(rest) >= 2 && rest[0] == ',' && rest[len(rest)-1] == '}' {
		return nil
	}
	return fmt.Errorf("%w: the client data does not end as it must", ErrSignature)
}

// checkAuthenticatorData checks data whose length parseWebAuthnSignature has bounded.
func checkAuthenticatorData(data []byte, rpID string) error {
	rpHash := sha256.Sum256([]byte(rpID))
	if !bytes.Equal(data[:len(rpHash)], rpHash[:]) {
		return fmt.Errorf("%w: the authenticator data is for another RP id than %q", ErrSignature, rpID)
	}
	flags := data[len(rpHash)]
	switch {
	case flags&flagUserPresent == 0:
		return fmt.Errorf("%w: the authenticator did not find the user present", ErrSignature)
	case flags&flagUserVerified == 0:
		return fmt.Errorf("%w: the authenticator did not verify the user by PIN or biometrics", ErrSignature)
	case flags&flagAttested != 0:
		return fmt.Errorf("%w: the authenticator data carries a credential, which an assertion never does", ErrSignature)
	case flags&flagExtensions != 0 != (len(data) > minAuthenticatorData):
		return fmt.Errorf("%w: the authenticator data's length and its extension flag disagree", ErrSignature)
	}
	return nil
}
