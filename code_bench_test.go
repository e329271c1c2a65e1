// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"strings"
	"testing"
)

func BenchmarkParseCanonical(b *testing.B) {
	const s = "MA.156.1301.01/20.010203/000123"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCanonical(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseDisplay(b *testing.B) {
	s := strings.ToLower(MustParse("MA.156.1301.01/20.010203/000123").Display())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCodeParent(b *testing.B) {
	c := MustParse("MA.156.1301.01/20.010203/000123")
	b.ReportAllocs()
	for b.Loop() {
		if c.Parent().IsZero() {
			b.Fatal("no parent")
		}
	}
}

func BenchmarkDisplay(b *testing.B) {
	c := MustParse("MA.156.1301.01/20.010203/000123")
	b.ReportAllocs()
	for b.Loop() {
		if c.Display() == "" {
			b.Fatal("no display form")
		}
	}
}
