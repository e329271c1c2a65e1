// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// nonceSize is the length of a nonce in octets.
const nonceSize = 16

// NewNonce returns 16 octets from the system's secure source as 22 characters of base64url.
func NewNonce() string {
	var b [nonceSize]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// CheckNonce refuses, with an error that matches [ErrMalformed], what [NewNonce] can not return.
func CheckNonce(s string) error {
	if err := checkNonce(s); err != nil {
		return malformed(err)
	}
	return nil
}

func checkNonce(s string) error {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != nonceSize || base64.RawURLEncoding.EncodeToString(b) != s {
		return fmt.Errorf("nonce %.40q: want %d octets as 22 characters of base64url", s, nonceSize)
	}
	return nil
}
