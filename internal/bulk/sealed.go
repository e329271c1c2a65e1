// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"cityid"
	"cityid/internal/durable"
)

// WriteSealed writes sealed contents as JSON lines.
func WriteSealed(w io.Writer, list []cityid.SealedContent) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for i := range list {
		if err := enc.Encode(&list[i]); err != nil {
			return err
		}
	}
	return b.Flush()
}

// SaltKey returns the key the file at path holds, and makes the file with a
// fresh random key if there is none. The key is a secret of whoever holds the
// sealed codes: with it, a guess at a sealed content can be tested.
func SaltKey(path string) ([32]byte, error) {
	var key [32]byte
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || len(b) != len(key) {
			return key, fmt.Errorf("%s: not a salt key: want 64 hexadecimal digits", path)
		}
		copy(key[:], b)
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return key, err
	}
	if _, err := rand.Read(key[:]); err != nil {
		return key, err
	}
	return key, durable.WriteNew(path, []byte(hex.EncodeToString(key[:])+"\n"))
}

// saltFor returns the salt of a sealed record.
func saltFor(key [32]byte, code cityid.Code) [32]byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("cityid/import-salt/1\x00" + code.String()))
	return [32]byte(h.Sum(nil))
}
