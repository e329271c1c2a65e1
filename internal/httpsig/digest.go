// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strings"
)

// digestKey is the one algorithm of Content-Digest that is known here (RFC 9530, section 5).
const digestKey = "sha-256"

// Digest returns the value of Content-Digest for a content, which may be empty.
func Digest(content []byte) string { return FormatDigest(sha256.Sum256(content)) }

// FormatDigest returns the value of Content-Digest for a content with the given SHA-256.
func FormatDigest(sum [sha256.Size]byte) string {
	return digestKey + "=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// ParseDigest returns the digest in a value of Content-Digest. It must be a single one, sha-256, as [FormatDigest] writes it;
// the error matches [ErrMalformed].
func ParseDigest(value string) (sum [sha256.Size]byte, err error) {
	if sum, err = parseDigest(value); err != nil {
		return sum, fmt.Errorf("%w: Content-Digest: %w", ErrMalformed, err)
	}
	return sum, nil
}

func parseDigest(value string) (sum [sha256.Size]byte, err error) {
	encoded, _ := strings.CutPrefix(value, digestKey+"=:")
	b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(encoded, ":"))
	if err != nil || len(b) != len(sum) || FormatDigest([sha256.Size]byte(b)) != value {
		return sum, fmt.Errorf("%.80q: want one digest, %s=: and %d octets in base64 and a colon", value, digestKey, len(sum))
	}
	return [sha256.Size]byte(b), nil
}

// CheckDigest computes the digest of a content and compares it. The error matches [ErrDigest].
func CheckDigest(want [sha256.Size]byte, content []byte) error {
	if got := sha256.Sum256(content); got != want {
		return mismatch(want, got)
	}
	return nil
}

func mismatch(want, got [sha256.Size]byte) error {
	return fmt.Errorf("%w: it has %s, and %s was signed: fetch it again", ErrDigest, FormatDigest(got), FormatDigest(want))
}

// DigestReader passes a content on and compares its digest where it ends: instead of [io.EOF] it then returns an error that
// matches [ErrDigest]. What was read before that is not to be relied on. It is not safe for concurrent use.
type DigestReader struct {
	r    io.Reader
	hash hash.Hash
	want [sha256.Size]byte
	size int64
	max  int64
	err  error
}

// NewDigestReader returns a reader of r, whose content must have the digest want and at most max octets; a longer one ends in
// an error that matches [ErrDigest] as well.
func NewDigestReader(r io.Reader, want [sha256.Size]byte, max int64) *DigestReader {
	return &DigestReader{r: r, hash: sha256.New(), want: want, max: max}
}

// Size returns how many octets have been read.
func (d *DigestReader) Size() int64 { return d.size }

// Read implements [io.Reader].
func (d *DigestReader) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if left := d.max - d.size; int64(len(p))-1 > left {
		p = p[:left+1] // one more tells that there is more
	}
	n, err := d.r.Read(p)
	if int64(n) > d.max-d.size {
		n, err = int(d.max-d.size), fmt.Errorf("%w: it is longer than %d octets", ErrDigest, d.max)
	}
	d.size += int64(n)
	d.hash.Write(p[:n])
	if err == io.EOF {
		if got := [sha256.Size]byte(d.hash.Sum(nil)); got != d.want {
			err = mismatch(d.want, got)
		}
	}
	d.err = err
	return n, err
}
