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
	"path/filepath"
	"strings"

	"cityid"
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
	return key, writeNew(path, []byte(hex.EncodeToString(key[:])+"\n"))
}

// saltFor returns the salt of a sealed record.
func saltFor(key [32]byte, code cityid.Code) [32]byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("cityid/import-salt/1\x00" + code.String()))
	return [32]byte(h.Sum(nil))
}

// writeNew makes the file at path whole and durable, or not at all. It fails if
// the file exists.
func writeNew(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes new names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
