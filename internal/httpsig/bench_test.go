// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"testing"

	"cityid/keys"
)

func BenchmarkSign(b *testing.B) {
	x := newExchange(b)
	requester, provider := testKey(b, keys.Ed25519, 1), testKey(b, keys.Ed25519, 2)
	b.Run("request", func(b *testing.B) {
		p := RequestProfile("cityid-fetch")
		for b.Loop() {
			if _, err := p.Sign(x.request, x.signedRequest.Params, requester); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("response", func(b *testing.B) {
		p := ResponseProfile()
		for b.Loop() {
			if _, err := p.Sign(x.response, x.signedResponse.Params, provider); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ed25519", func(b *testing.B) { // what no code here can save
		for b.Loop() {
			if _, err := provider.Sign([]byte(x.signedResponse.Base)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	x := newExchange(b)
	b.Run("request", func(b *testing.B) {
		p := RequestProfile("cityid-fetch")
		for b.Loop() {
			if _, err := p.Verify(x.request, testTime, lookup); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("response", func(b *testing.B) {
		p := ResponseProfile()
		for b.Loop() {
			if _, err := p.Verify(x.response, testTime, lookup); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ed25519", func(b *testing.B) {
		key := testKey(b, keys.Ed25519, 2).Public()
		for b.Loop() {
			if err := key.Verify([]byte(x.signedResponse.Base), x.signedResponse.Signature); err != nil {
				b.Fatal(err)
			}
		}
	})
}
