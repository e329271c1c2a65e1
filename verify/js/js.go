// SPDX-License-Identifier: Apache-2.0

// Package js holds the verifier for browsers: one JavaScript module that judges
// bundles as package verify does and certificates as package label does.
//
// The module is cityid-verify.mjs in this folder. It imports nothing, asks no
// network, evaluates no text as code and so runs under the content security
// policy script-src 'self'; it also runs in Node. docs/verifier.md says how to
// use it and what it trusts, and its comments how it works.
//
// What is served and offered for download is [Module]: the source without
// comments, blank lines and indentation. [Hash] is what people compare. The
// tests hold both forms to all vectors, and the verdicts to those of Go on
// bundles changed octet by octet and at random.
package js

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"strings"
)

// Name is the file name under which the module is served.
const Name = "cityid-verify.mjs"

//go:embed cityid-verify.mjs
var source string

// Module is the module as it is served, in UTF-8. It must not be changed.
var Module = []byte(strip(source))

// Hash is the SHA-256 of [Module], 64 lower-case hexadecimal digits.
var Hash = func() string {
	sum := sha256.Sum256(Module)
	return hex.EncodeToString(sum[:])
}()

// strip leaves out what only readers of the source need: indentation, blank
// lines, and lines that are a comment and nothing else, but for the first line.
// It looks at whole lines, so the source must not have text or comments that go
// on over the end of a line; a test sees to that.
func strip(source string) string {
	var out strings.Builder
	for line := range strings.Lines(source) {
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "//") && out.Len() > 0 {
			continue
		}
		out.WriteString(text)
		out.WriteByte('\n')
	}
	return out.String()
}
