// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"cityid/internal/durable"
)

// A box is what AES-256-GCM makes of some bytes: a fresh nonce of 12 bytes, the
// ciphertext, a tag of 16. The additional data says where the box belongs, so
// that no box passes for another.

const boxOverhead = 12 + 16

func gcm(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block is AES
	}
	return aead
}

// enclose returns the box of plain.
func enclose(key [32]byte, plain, where []byte) []byte {
	return gcm(key).Seal(nil, nil, plain, where)
}

// disclose returns what is in a box, or [ErrDamaged].
func disclose(key [32]byte, box, where []byte) ([]byte, error) {
	plain, err := gcm(key).Open(nil, nil, box, where)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", ErrDamaged)
	}
	return plain, nil
}

// derive returns the key for one use of a secret that has enough entropy:
// HKDF-SHA256 without salt.
func derive(secret []byte, use string) [32]byte {
	b, err := hkdf.Key(sha256.New, secret, nil, use, 32)
	if err != nil {
		panic(err) // 32 bytes can always be had
	}
	return [32]byte(b)
}

// readOfficeKey reads the key file, and makes it if there is none and make says
// so.
func readOfficeKey(path string, make bool) (key [32]byte, err error) {
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) != len(key):
		return key, fmt.Errorf("%s has %d bytes, not %d: %w", path, len(b), len(key), ErrKey)
	case err == nil:
		if err := ownerOnly(path); err != nil {
			return key, err
		}
		return [32]byte(b), nil
	case !errors.Is(err, fs.ErrNotExist):
		return key, err
	case !make:
		return key, fmt.Errorf("%s is missing, and the database needs it: %w: take it from a backup", path, ErrKey)
	}
	key = [32]byte(random(len(key)))
	return key, durable.WriteNew(path, key[:])
}

// ownerOnly refuses a secret that others on the machine may read.
func ownerOnly(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is open to others than its owner (mode %04o): %w: run chmod 600 on it", path, info.Mode().Perm(), ErrKey)
	}
	return nil
}

// checkKey compares office.key with the one the database remembers by its hash.
func (o *Office) checkKey(ctx context.Context) error {
	const name = "office-key"
	want := hashOf([]byte("cityid/office-key/1"), o.key[:])
	return o.write(ctx, func(tx *sql.Tx) error {
		var got []byte
		err := tx.QueryRowContext(ctx, `SELECT value FROM setting WHERE name = ?`, name).Scan(&got)
		if errors.Is(err, sql.ErrNoRows) {
			_, err := tx.ExecContext(ctx, `INSERT INTO setting (name, value) VALUES (?, ?)`, name, want[:])
			return err
		}
		if err == nil && subtle.ConstantTimeCompare(got, want[:]) != 1 {
			return fmt.Errorf("%s is not the key this database was made with: %w", keyName, ErrKey)
		}
		return err
	})
}
