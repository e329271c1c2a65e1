// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"
)

const (
	maxFileSize = 64 << 10
	maxFileName = 200
	fileVersion = 1

	publicLine      = "# cityid key: "
	fingerprintLine = "# fingerprint: "

	// DefaultWorkFactor is the scrypt cost of a key file unless another is asked for: 2^18 rounds, about
	// a second and 256 MiB.
	DefaultWorkFactor = 18
	// MinWorkFactor is the least cost a key file can be written with, for tests and demonstrations whose
	// passphrase is no secret.
	MinWorkFactor = 10
	// MaxWorkFactor is the highest cost a key file can be written or read with, about 1 GiB of memory.
	MaxWorkFactor = 20
)

var (
	// ErrPassphrase says that the passphrase does not open the key file. (Bytes altered in the part that
	// the passphrase guards look the same.)
	ErrPassphrase = errors.New("wrong passphrase for this key file")
	// ErrKeyFile is matched by every error about the content of a key file other than [ErrPassphrase]:
	// it is cut short, altered, or not a key file at all.
	ErrKeyFile = errors.New("not a whole and unaltered key file")
)

// File is the content of a key file.
type File struct {
	Key *Private
	// Name says whose key it is or what for; it is encrypted with the key. At most 200 bytes of printable
	// text without control characters; may be empty.
	Name string
	// Created is when the key was made, in whole seconds, years 1 to 9999.
	Created time.Time
	// WorkFactor is the scrypt cost as a power of two, from [MinWorkFactor] to [MaxWorkFactor]; 0 is
	// [DefaultWorkFactor]. It is used for writing only and left 0 by reading.
	WorkFactor int
}

// FileOption changes what [WriteFile] writes.
type FileOption func(*File)

// WithName sets [File.Name].
func WithName(name string) FileOption { return func(f *File) { f.Name = name } }

// WithCreated sets [File.Created]; without it, WriteFile takes the present time.
func WithCreated(t time.Time) FileOption { return func(f *File) { f.Created = t } }

// WithWorkFactor sets [File.WorkFactor].
func WithWorkFactor(logN int) FileOption { return func(f *File) { f.WorkFactor = logN } }

// payload is the encrypted part. Its members and their order are the format.
type payload struct {
	Version   int    `json:"version"`
	Algorithm string `json:"algorithm"`
	Secret    string `json:"secret"`
	Name      string `json:"name"`
	Created   string `json:"created"`
}

// EncodeFile returns the bytes of a key file that the passphrase opens. Two calls give different bytes,
// as the encryption is salted. An empty passphrase is refused: a key never lies on a disk in the clear.
func EncodeFile(f File, passphrase string) ([]byte, error) {
	logN := f.WorkFactor
	if logN == 0 {
		logN = DefaultWorkFactor
	}
	if logN < MinWorkFactor || logN > MaxWorkFactor {
		return nil, fmt.Errorf("scrypt work factor %d is not %d to %d", logN, MinWorkFactor, MaxWorkFactor)
	}
	secret, err := encodePayload(f)
	if err != nil {
		return nil, err
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, errors.New("the passphrase is empty; a key file is always encrypted")
	}
	recipient.SetWorkFactor(logN)

	var out bytes.Buffer
	public := f.Key.Public()
	fmt.Fprintf(&out, "%s%v\n%s%s\n", publicLine, public, fingerprintLine, public.Fingerprint())
	armored := armor.NewWriter(&out)
	encrypted, err := age.Encrypt(armored, recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypt key file: %w", err)
	}
	_, err = encrypted.Write(secret)
	if err = errors.Join(err, encrypted.Close(), armored.Close()); err != nil {
		return nil, fmt.Errorf("encrypt key file: %w", err)
	}
	return out.Bytes(), nil
}

func encodePayload(f File) ([]byte, error) {
	created := f.Created.UTC()
	if f.Key == nil {
		return nil, errors.New("a key file needs a key")
	}
	if !validFileName(f.Name) {
		return nil, fmt.Errorf("the name of a key is at most %d bytes of printable text", maxFileName)
	}
	if created.IsZero() || created.Year() < 1 || created.Year() > 9999 || created.Nanosecond() != 0 {
		return nil, errors.New("the creation time of a key is in whole seconds between the years 1 and 9999")
	}
	encoded, err := json.Marshal(payload{
		Version:   fileVersion,
		Algorithm: f.Key.Public().Algorithm().String(),
		Secret:    base64.RawURLEncoding.EncodeToString(f.Key.secret[:]),
		Name:      f.Name,
		Created:   created.Format(time.RFC3339),
	})
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return append(encoded, '\n'), nil
}

func validFileName(s string) bool {
	return len(s) <= maxFileName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// DecodeFile opens the bytes of a key file. The error matches [ErrPassphrase] or [ErrKeyFile].
func DecodeFile(data []byte, passphrase string) (File, error) {
	public, armored, err := splitFile(data)
	if err != nil {
		return File{}, err
	}
	if passphrase == "" {
		return File{}, fmt.Errorf("%w: it is empty, and no key file's is", ErrPassphrase)
	}
	inner, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return File{}, fmt.Errorf("open key file: %w", err)
	}
	inner.SetMaxWorkFactor(MaxWorkFactor)
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(armored)), scryptOnly{inner})
	switch {
	case errors.Is(err, age.ErrIncorrectIdentity):
		return File{}, ErrPassphrase
	case err != nil:
		return File{}, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	secret, err := io.ReadAll(io.LimitReader(plain, maxFileSize))
	if err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	f, err := decodePayload(secret)
	if err != nil {
		return File{}, err
	}
	if f.Key.Public() != public {
		return File{}, fmt.Errorf("%w: its first line names %v but the secret inside belongs to %v", ErrKeyFile, public, f.Key.Public())
	}
	return f, nil
}

// scryptOnly keeps a file that is encrypted in another way apart from a wrong passphrase.
type scryptOnly struct {
	*age.ScryptIdentity
}

// Unwrap implements [age.Identity].
func (s scryptOnly) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, errors.New("it is not encrypted with a passphrase")
	}
	return s.ScryptIdentity.Unwrap(stanzas)
}

// splitFile checks everything about a key file that can be checked without its passphrase and returns
// the key it names and the age file in it.
func splitFile(data []byte) (Public, []byte, error) {
	if len(data) > maxFileSize {
		return Public{}, nil, fmt.Errorf("%w: longer than %d bytes", ErrKeyFile, maxFileSize)
	}
	if bytes.IndexByte(data, '\r') >= 0 {
		return Public{}, nil, fmt.Errorf("%w: a program has changed its line ends", ErrKeyFile)
	}
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	second, armored, _ := bytes.Cut(rest, []byte("\n"))
	text, ok := strings.CutPrefix(string(first), publicLine)
	if !ok {
		return Public{}, nil, fmt.Errorf("%w: its first line does not start with %q", ErrKeyFile, publicLine)
	}
	public, err := ParsePublicText(text)
	if err != nil {
		return Public{}, nil, fmt.Errorf("%w: first line: %w", ErrKeyFile, err)
	}
	if string(second) != fingerprintLine+public.Fingerprint() {
		return Public{}, nil, fmt.Errorf("%w: its second line is not the fingerprint of the key in the first", ErrKeyFile)
	}
	if !bytes.HasPrefix(armored, []byte(armor.Header+"\n")) || !bytes.HasSuffix(armored, []byte("\n"+armor.Footer+"\n")) {
		return Public{}, nil, fmt.Errorf("%w: the encrypted part is incomplete, or something follows it", ErrKeyFile)
	}
	return public, armored, nil
}

// decodePayload is the inverse of encodePayload. Encoding again proves that there was one way to write it.
func decodePayload(b []byte) (File, error) {
	var p payload
	if err := json.Unmarshal(b, &p); err != nil {
		return File{}, fmt.Errorf("%w: content: %w", ErrKeyFile, err)
	}
	if p.Version != fileVersion {
		return File{}, fmt.Errorf("%w: version %d of the format is not known here", ErrKeyFile, p.Version)
	}
	a, err := ParseAlgorithm(p.Algorithm)
	if err != nil {
		return File{}, fmt.Errorf("%w: content: %w", ErrKeyFile, err)
	}
	secret, err := decodeBase64(p.Secret)
	if err != nil {
		return File{}, fmt.Errorf("%w: secret: %w", ErrKeyFile, err)
	}
	key, err := NewPrivate(a, secret)
	if err != nil {
		return File{}, fmt.Errorf("%w: secret: %w", ErrKeyFile, err)
	}
	created, err := time.Parse(time.RFC3339, p.Created)
	if err != nil {
		return File{}, fmt.Errorf("%w: creation time: %w", ErrKeyFile, err)
	}
	f := File{Key: key, Name: p.Name, Created: created}
	if again, err := encodePayload(f); err != nil || !bytes.Equal(again, b) {
		return File{}, fmt.Errorf("%w: content is not in canonical form", ErrKeyFile)
	}
	return f, nil
}

// WriteFile writes the key to a new file that only its owner can read (mode 0600) and waits until it is
// on the disk. It never overwrites: if the path exists, the error matches [fs.ErrExist]. A file that
// could not be written whole is removed again.
func WriteFile(path string, key *Private, passphrase string, opts ...FileOption) error {
	f := File{Key: key}
	for _, o := range opts {
		o(&f)
	}
	if f.Created.IsZero() {
		f.Created = time.Now().UTC().Truncate(time.Second)
	}
	data, err := EncodeFile(f, passphrase)
	if err != nil {
		return fmt.Errorf("write key file %s: %w", path, err)
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write key file: %w", errors.Join(err, os.Remove(path)))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write key file %s: %w", path, err)
	}
	return nil
}

// syncDir makes the name of a new file durable. Windows has no such call and needs none.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ReadFile opens a key file with its passphrase. The error matches [ErrPassphrase], [ErrKeyFile], or what
// reading the file gave. It does not look at permissions; see [CheckPermissions].
func ReadFile(path, passphrase string) (*Private, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	f, err := DecodeFile(data, passphrase)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return f.Key, nil
}

// ReadPublicFile returns the public key that a key file names, without its passphrase. Whoever can write
// the file can name any key; only [ReadFile] proves that the secret inside belongs to it.
func ReadPublicFile(path string) (Public, error) {
	data, err := readBounded(path)
	if err != nil {
		return Public{}, err
	}
	public, _, err := splitFile(data)
	if err != nil {
		return Public{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return public, nil
}

// readBounded reads at most one byte more than a key file may have.
func readBounded(path string) ([]byte, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFileSize+1))
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	return data, nil
}

// PermissionError says that others than its owner can read or change a key file. The key is encrypted,
// so it is a warning rather than a loss.
type PermissionError struct {
	Path string
	Mode fs.FileMode
}

// Error says who else may read the file.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("key file %s is open to others than its owner (mode %04o); run: chmod 600 %s", e.Path, e.Mode.Perm(), e.Path)
}

// CheckPermissions returns a [*PermissionError] if group or others have any right to the file, nil if
// not, and another error if the file cannot be looked at. On Windows, whose rights are not these bits, it
// returns nil for any file that exists.
func CheckPermissions(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("check key file: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return &PermissionError{Path: path, Mode: info.Mode()}
	}
	return nil
}
