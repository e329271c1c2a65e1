// SPDX-License-Identifier: Apache-2.0

// Package keys holds the kinds of key that cityid knows, the files they are kept in, and one pinned
// verification rule for each kind. Every node and every offline verifier must give the same verdict on
// the same bytes for decades, so the rules below are complete: what they do not allow is refused.
//
// # Public keys
//
// An encoded (raw) public key is one algorithm byte followed by the key:
//
//	1  ed25519        32 bytes: the compressed Edwards point (RFC 8032)
//	2  p256           33 bytes: the compressed point (SEC 1), 0x02 or 0x03 first
//	3  webauthn-p256  33 bytes as p256 || uint8 n || RP id, n bytes || uint16 m, big endian || origin, m bytes
//	4  x25519         32 bytes: the u coordinate (RFC 7748); encrypts only, never signs
//	5  sm2            reserved; refused
//
// The text form is the algorithm's name, a colon and everything after the algorithm byte in base64url
// without padding:
//
//	ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo
//
// [ParsePublic] admits keys into policies and is strict: one encoding per key, points on their curve, no
// ed25519 point of small order (such a key "signs" without a secret), no x25519 point that turns every
// shared secret into zero. An ed25519 key with a torsion component is admitted: it can only be made on
// purpose by the holder of the secret, and gives nothing that a second key would not.
//
// A webauthn-p256 key (a passkey) carries the one place where it may be used. The RP id is a lower-case
// host name of at most 253 bytes: labels of a-z, 0-9 and inner hyphens, at most 63 bytes each, the last
// starting with a letter, so never an IP address; other scripts appear in their xn-- form. The origin is
// scheme://host[:port], at most 512 bytes; host is such a host name as well, and the port, from 1 to 65535,
// is written only when it is not the scheme's own (443 or 80), in decimal without leading zeros. The scheme
// is https or, if the host is localhost or ends in ".localhost", http: such names are this machine, and
// browsers treat them as secure, so that several institutions can be tried side by side. The RP id equals
// the origin's host, or has two labels or more and is what follows one of the host's dots; for
// http://portal.city.localhost that is portal.city.localhost or city.localhost, never localhost. Which
// suffixes may be registered is the browser's business; a single label, such as a top-level domain, is
// refused here.
//
// # Fingerprints
//
// Two people compare a key by telephone before it enters a policy. [Public.Fingerprint] gives six groups
// of five decimal digits, about 100 bits. Digits are the one alphabet that is read aloud without
// misunderstanding in Chinese and in English alike; letters are not, and word lists exist in one language
// at a time. With
//
//	h = SHA-256("cityid/key-fingerprint/1" || raw)
//
// group i (0 to 5) is the big-endian number h[5i:5i+5] modulo 100000, written with five digits.
//
// # Verification rules
//
// ed25519: exactly ZIP-215, with the library and the options that CometBFT uses: the cofactored equation,
// any encoding of A and R that decodes, s below the group order. The signature is R || s, 64 bytes. Single,
// cached and batch verification accept the same set of signatures.
//
// p256: ECDSA over SHA-256 of the message. The signature is r || s, 32 bytes each, big endian, with
// 1 <= r < n and 1 <= s <= n/2 (low s), so that nobody can turn one valid signature into another.
//
// webauthn-p256: the signature is
//
//	uint16 a || authenticatorData, a bytes || uint16 c || clientDataJSON, c bytes || r || s
//
// with big-endian lengths, a from 37 to 1024, c at most 2048, and r || s as for p256 over
// authenticatorData || SHA-256(clientDataJSON). The authenticator data starts with SHA-256(RP id); its
// flags say user present (UP) and user verified (UV), and do not say attested credential data (AT); it is
// 37 bytes long without the extension flag (ED) and longer with it. The other flags, the counter and the
// extensions are covered by the signature and otherwise ignored. The client data follows the limited
// verification algorithm of WebAuthn Level 2, section 5.8.1.2, which needs no JSON parser: it starts with
//
//	{"type":"webauthn.get","challenge":"<message in base64url>","origin":"<origin>","crossOrigin":false
//
// and then has either "}" and nothing more, or a "," and anything, ending in "}". The challenge a browser
// is asked to sign is therefore the message itself.
//
// x25519 keys verify nothing.
//
// The files in testdata hold good and bad cases for each rule: raw public key, message and signature in
// hexadecimal, and the verdict. Another implementation that agrees with all of them follows these rules.
//
// # Key files
//
// A private key rests in a text file, by custom named *.key, which anyone may list but only the passphrase
// opens:
//
//	# cityid key: ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo
//	# fingerprint: 71779 63129 12376 02405 93913 57438
//	-----BEGIN AGE ENCRYPTED FILE-----
//	YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCA...
//	-----END AGE ENCRYPTED FILE-----
//
// Below the two comment lines stands an ordinary armored age file with a scrypt passphrase
// (age-encryption.org/v1), so the key can be had without this package:
//
//	grep -v '^#' wang.key | age -d
//
// Inside is one line of JSON with exactly these members in this order, no spaces, and a line feed:
//
//	{"version":1,"algorithm":"ed25519","secret":"<32 bytes, base64url>","name":"...","created":"2026-01-02T03:04:05Z"}
//
// The comment lines are not encrypted and anyone can edit them; opening the file therefore checks that the
// secret's public half is the key they name. Files use line feeds only and are at most 64 KiB.
//
// Passphrases are taken as the bytes given; where they come from is the caller's business.
package keys

import (
	"errors"
	"fmt"
)

// Algorithm is the kind of a key. The list is closed and append-only; the numbers are written into
// records for good. The zero Algorithm is no algorithm.
type Algorithm uint8

// The algorithms. SM2 has its number so that a later version can take it up; this version refuses it.
const (
	Ed25519      Algorithm = 1
	P256         Algorithm = 2
	WebAuthnP256 Algorithm = 3
	X25519       Algorithm = 4
	SM2          Algorithm = 5
)

// Size limits of encoded keys and signatures, in bytes.
const (
	// MaxPublicSize is the length of the longest raw public key, a passkey with the longest names.
	MaxPublicSize = 1 + p256PointSize + 1 + maxRPID + 2 + maxOrigin
	// MaxSignatureSize is the length of the longest signature, a passkey's.
	MaxSignatureSize = 2 + maxAuthenticatorData + 2 + maxClientData + p256SignatureSize
)

var (
	// ErrPublicKey is matched by every error that refuses a public key: malformed, unusable, of an
	// unknown or reserved algorithm, or asked for what its algorithm cannot do.
	ErrPublicKey = errors.New("public key refused")
	// ErrSignature is matched by every error that refuses a signature by a well-formed public key:
	// malformed, made over another message or by another key, or against the algorithm's rule.
	ErrSignature = errors.New("signature refused")
)

var algorithmNames = [...]string{
	Ed25519:      "ed25519",
	P256:         "p256",
	WebAuthnP256: "webauthn-p256",
	X25519:       "x25519",
	SM2:          "sm2",
}

// String returns the algorithm's name as it stands in text forms, such as "webauthn-p256", or
// "algorithm(n)" for a number that is not on the list.
func (a Algorithm) String() string {
	if a == 0 || int(a) >= len(algorithmNames) {
		return fmt.Sprintf("algorithm(%d)", uint8(a))
	}
	return algorithmNames[a]
}

// CanSign reports whether keys of this algorithm make signatures.
func (a Algorithm) CanSign() bool {
	return a == Ed25519 || a == P256 || a == WebAuthnP256
}

// supported reports an error unless keys of this algorithm can be parsed by this version.
func (a Algorithm) supported() error {
	switch a {
	case Ed25519, P256, WebAuthnP256, X25519:
		return nil
	case SM2:
		return fmt.Errorf("%w: sm2 is reserved and not supported yet", ErrPublicKey)
	default:
		return fmt.Errorf("%w: unknown algorithm number %d", ErrPublicKey, uint8(a))
	}
}

// ParseAlgorithm is the inverse of [Algorithm.String] for the algorithms this version supports. The
// error matches [ErrPublicKey].
func ParseAlgorithm(name string) (Algorithm, error) {
	for a := Ed25519; int(a) < len(algorithmNames); a++ {
		if algorithmNames[a] == name {
			return a, a.supported()
		}
	}
	return 0, fmt.Errorf("%w: unknown algorithm %q", ErrPublicKey, name)
}

// Verify checks sig over msg by the raw public key pub under its algorithm's one rule, stated in the
// package comment. It returns nil if the signature is good, and otherwise an error that matches
// [ErrSignature], or [ErrPublicKey] if the key is malformed or cannot sign.
//
// An ed25519 key is judged by ZIP-215 alone, which also decodes keys that [ParsePublic] would not admit.
// Verify is a pure function and safe for concurrent use.
func Verify(pub, msg, sig []byte) error {
	return verify(pub, msg, sig, VerifyEd25519)
}

// verify is Verify with the way to check an ed25519 signature left to the caller.
func verify(pub, msg, sig []byte, verifyEd25519 func(pub, msg, sig []byte) bool) error {
	if len(pub) == 0 {
		return fmt.Errorf("%w: empty", ErrPublicKey)
	}
	a, key := Algorithm(pub[0]), pub[1:]
	if err := a.supported(); err != nil {
		return err
	}
	switch a {
	case Ed25519:
		if len(key) != ed25519Size {
			return fmt.Errorf("%w: an ed25519 key has %d bytes, not %d", ErrPublicKey, ed25519Size, len(key))
		}
		if !verifyEd25519(key, msg, sig) {
			return fmt.Errorf("%w: not an ed25519 signature of this message by this key", ErrSignature)
		}
		return nil
	case P256:
		return verifyP256(key, msg, sig)
	case WebAuthnP256:
		return verifyWebAuthn(key, msg, sig)
	default:
		return fmt.Errorf("%w: %v keys do not sign", ErrPublicKey, a)
	}
}
