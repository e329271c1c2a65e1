// SPDX-License-Identifier: Apache-2.0

package cityid

// SignInDigest is what a key signs to show a web site that it is there:
// SHA-256("cityid/sign-in/1" || CBOR [origin, challenge]). It names the site, so
// that one site can not pass the question of another on, and is no digest of a
// transaction. The challenge has 32 octets, fresh and used once.
func SignInDigest(origin string, challenge []byte) Digest {
	return hashOf(append([]byte("cityid/sign-in/1"), MustMarshal([]any{origin, Bytes(challenge)})...))
}
