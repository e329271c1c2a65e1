// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"testing"
)

func FuzzSignedHeader(f *testing.F) {
	f.Add([]byte{0xa3, 1, 0x40, 2, 0x40, 3, 0x40})
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSignedHeader(data)
		if err != nil {
			return
		}
		again, err := EncodeSignedHeader(&s)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x decodes, and encodes to %x, %v", data, again, err)
		}
	})
}
