// SPDX-License-Identifier: Apache-2.0

// Package httpsig signs requests and responses so that the signature can be shown to others later. It is RFC 9421 (HTTP
// message signatures) and RFC 9530 (Content-Digest) in the narrow form below, and [Base] is the whole of RFC 9421, section 2.
// It knows no algorithms: keys of package keys are a [Signer] and a [Key].
//
// # Signature bases
//
// What is signed is a text, the signature base: a line for each covered component, and one for the parameters, with line
// feeds between them and none at the end. A request between two gateways has this one:
//
//	"@method": GET
//	"@authority": gateway.example
//	"@path": /data/air/stations
//	"@query": ?limit=10
//	"content-digest": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:
//	"data-agreement": "3f9a..."
//	"@signature-params": ("@method" "@authority" "@path" "@query" "content-digest" "data-agreement");created=1767323045;↩
//	expires=1767323105;nonce="AAECAwQFBgcICQoLDA0ODw";keyid="ed25519:11qYAYKx...";tag="cityid-fetch"
//
// (↩ is not part of it.) What stands in the last line behind "@signature-params" is also the value of the field
// Signature-Input, behind a label; the field Signature has the signature:
//
//	Signature-Input: sig1=("@method" ... );created=1767323045;...
//	Signature: sig1=:<64 octets in base64>:
//
// A signature base and its signature are evidence by themselves: whoever has both and the public key can check the one against
// the other, and read the message's components out of it with [Profile.ParseBase].
//
// # Profiles
//
// A [Profile] fixes everything that RFC 9421 leaves open. There is one label, one list of components in one order, one list of
// parameters in one order: created, expires, nonce, keyid, tag, or created, keyid, tag where signatures may be used more than
// once. There is no alg, because the key says it. Of each base, header and value there is one spelling:
//
//   - Signature-Input and Signature occur once, with one label, in the strict form of RFC 9651; the parameters have at most
//     [MaxInput] octets.
//   - Covered fields occur once, on one line, in visible ASCII characters with spaces only between them, at most [MaxValue]
//     octets.
//   - @method is 1 to 16 capital letters; @status is 200 to 599.
//   - @authority is a host in lower case, and the port unless it is the scheme's own. IPv6 addresses stand in brackets, in
//     their shortest form; other scripts appear in their xn-- form.
//   - @path and @query are those of the request line, octet for octet: nothing is decoded or normalised. Characters that
//     RFC 3986 does not allow there are refused. A request without a query has the @query "?"; one that ends in a bare "?"
//     would have the same and is refused, and so are request targets that do not begin with a slash.
//   - content-digest is one SHA-256, also of empty contents. A message with Content-Encoding is refused.
//   - signature;key is the signature of 64 octets.
//   - created and expires are whole seconds since 1970, expires at most the profile's maximum age after created; a nonce has
//     16 random octets in base64url (22 characters); a keyid has 1 to 256 visible characters.
//
// [RequestProfile] and [ResponseProfile] are the two profiles of the gateways' protocol. A response covers what the request
// covers and the request's signature, so neither can be shown with another one's partner ([Signed.Answers]).
//
// # Content-Digest
//
//	Content-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:
//
// A signature covers this field and not the content. So whoever receives a content computes its digest and compares:
// [CheckDigest], or [DigestReader] while it is read.
package httpsig

import (
	"errors"
	"time"
)

// Bounds, in octets.
const (
	SignatureSize = 64    // a signature: ed25519, or ECDSA with P-256
	MaxInput      = 2048  // the signature parameters, the covered components among them
	MaxValue      = 8192  // the value of a component in a profile
	MaxBase       = 32768 // a signature base that a profile accepts

	maxKeyID = 256
)

// maxSeconds is the last second of the year 9999.
const maxSeconds = 253402300799

var (
	// ErrUnsigned is matched when a message has no signature at all.
	ErrUnsigned = errors.New("the message is not signed")
	// ErrMalformed is matched when a message, a field or a signature base is not what the profile or the RFC wants.
	ErrMalformed = errors.New("signed message refused")
	// ErrTime is matched when a signature is too old, has expired, or comes from the future.
	ErrTime = errors.New("signature out of time")
	// ErrSignature is matched when the key did not make the signature, or not of this message.
	ErrSignature = errors.New("wrong signature")
	// ErrDigest is matched when a content is not the one that was signed.
	ErrDigest = errors.New("wrong content")
)

// Of the gateways' protocol.
const (
	peerLabel  = "sig1"
	peerMaxAge = 60 * time.Second
	peerSkew   = 10 * time.Second
	answerTag  = "cityid-answer"
)

// RequestProfile returns the profile of requests between gateways; tag says what they ask for, such as "cityid-fetch". They cover
// @method, @authority, @path, @query, content-digest and data-agreement, and expire at most 60 s after they were made; clocks
// may differ by 10 s. It panics unless tag has 1 to 64 lower-case letters, digits and hyphens.
func RequestProfile(tag string) *Profile {
	return must(Rules{
		Label: peerLabel, Tag: tag, Once: true, MaxAge: peerMaxAge, Skew: peerSkew,
		Components: []string{"@method", "@authority", "@path", "@query", "content-digest", "data-agreement"},
	})
}

// ResponseProfile returns the profile of responses to such requests, refusals among them. They cover @status, content-digest,
// content-type, data-receipt, and of the request all that it covers and its signature. They are accepted until 60 s after they
// were made; clocks may differ by 10 s.
func ResponseProfile() *Profile {
	return must(Rules{
		Label: peerLabel, Tag: answerTag, Response: true, MaxAge: peerMaxAge, Skew: peerSkew,
		Components: []string{
			"@status", "content-digest", "content-type", "data-receipt",
			"@method;req", "@authority;req", "@path;req", "@query;req", "content-digest;req", "data-agreement;req",
			`signature;req;key="` + peerLabel + `"`,
		},
	})
}
