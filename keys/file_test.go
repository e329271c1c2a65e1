// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

const testPassphrase = "a passphrase of 中文 and English"

var testCreated = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testFile(tb testing.TB, a Algorithm) []byte {
	tb.Helper()
	data, err := EncodeFile(File{Key: testKey(tb, a, 1), Name: "Wang Li, 市测绘院 <a&b>", Created: testCreated, WorkFactor: MinWorkFactor}, testPassphrase)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestFileRoundTrip(t *testing.T) {
	for _, a := range []Algorithm{Ed25519, P256, X25519} {
		path := filepath.Join(t.TempDir(), "wang.key")
		key := testKey(t, a, 1)
		if err := WriteFile(path, key, testPassphrase, WithName("Wang Li"), WithCreated(testCreated), WithWorkFactor(MinWorkFactor)); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(path, testPassphrase)
		if err != nil {
			t.Fatal(err)
		}
		if got.Public() != key.Public() || got.secret != key.secret {
			t.Errorf("%v: another key came back", a)
		}
		if pub, err := ReadPublicFile(path); err != nil || pub != key.Public() {
			t.Errorf("ReadPublicFile: %v, %v", pub, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := DecodeFile(data, testPassphrase)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name != "Wang Li" || !f.Created.Equal(testCreated) {
			t.Errorf("name %q, created %v", f.Name, f.Created)
		}
		if bytes.Contains(data, []byte("Wang")) {
			t.Error("the name stands in the clear")
		}
		if _, err := ReadFile(path, testPassphrase+" "); !errors.Is(err, ErrPassphrase) {
			t.Errorf("wrong passphrase: %v", err)
		}
		if _, err := ReadFile(path, ""); !errors.Is(err, ErrPassphrase) {
			t.Errorf("empty passphrase: %v", err)
		}
	}
}

// TestFileLayout checks the two comment lines, and that what follows is an ordinary age file.
func TestFileLayout(t *testing.T) {
	data, key := testFile(t, Ed25519), testKey(t, Ed25519, 1)
	head := "# cityid key: " + key.Public().String() + "\n# fingerprint: " + key.Public().Fingerprint() + "\n"
	rest, ok := bytes.CutPrefix(data, []byte(head))
	if !ok {
		t.Fatalf("file starts otherwise:\n%s", data)
	}
	identity, err := age.NewScryptIdentity(testPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(rest)), identity)
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	if _, err := content.ReadFrom(plain); err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"algorithm":"ed25519","secret":"` + base64.RawURLEncoding.EncodeToString(key.secret[:]) +
		`","name":"Wang Li, 市测绘院 \u003ca\u0026b\u003e","created":"2026-01-02T03:04:05Z"}` + "\n"
	if content.String() != want {
		t.Errorf("content is\n%swant\n%s", content.String(), want)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.key")
	key := testKey(t, Ed25519, 1)
	if err := WriteFile(path, key, testPassphrase, WithWorkFactor(MinWorkFactor)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	err = WriteFile(path, testKey(t, Ed25519, 2), testPassphrase, WithWorkFactor(MinWorkFactor))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing over a key: %v, want fs.ErrExist", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the first key is gone (%v)", err)
	}
	for name, opts := range map[string][]FileOption{
		"work factor too low":  {WithWorkFactor(MinWorkFactor - 1)},
		"work factor too high": {WithWorkFactor(MaxWorkFactor + 1)},
		"name too long":        {WithName(strings.Repeat("x", 201))},
		"line break in name":   {WithName("a\nb")},
		"name not UTF-8":       {WithName("\xff")},
		"part of a second":     {WithCreated(testCreated.Add(1))},
		"year 10000":           {WithCreated(testCreated.AddDate(8000, 0, 0))},
	} {
		path := filepath.Join(t.TempDir(), "b.key")
		if err := WriteFile(path, key, testPassphrase, opts...); err == nil {
			t.Errorf("%s: written", name)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left (%v)", name, err)
		}
	}
	path = filepath.Join(t.TempDir(), "c.key")
	if err := WriteFile(path, key, "", WithWorkFactor(MinWorkFactor)); err == nil {
		t.Error("written with an empty passphrase")
	}
	if err := WriteFile(path, nil, testPassphrase); err == nil {
		t.Error("written without a key")
	}
	if err := WriteFile(filepath.Join(path, "d.key"), key, testPassphrase, WithWorkFactor(MinWorkFactor)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
	if _, err := ReadFile(path, testPassphrase); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

func TestCheckPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are not these bits")
	}
	path := filepath.Join(t.TempDir(), "a.key")
	if err := WriteFile(path, testKey(t, Ed25519, 1), testPassphrase, WithWorkFactor(MinWorkFactor)); err != nil {
		t.Fatal(err)
	}
	if err := CheckPermissions(path); err != nil {
		t.Errorf("a new file: %v", err)
	}
	for mode, open := range map[fs.FileMode]bool{0o400: false, 0o700: false, 0o640: true, 0o604: true, 0o620: true, 0o601: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var warning *PermissionError
		if got := errors.As(CheckPermissions(path), &warning); got != open {
			t.Errorf("mode %o: warned is %v, want %v", mode, got, open)
		}
		if open && !strings.Contains(warning.Error(), "chmod 600 "+path) {
			t.Errorf("the warning does not say what to do: %v", warning)
		}
	}
	if err := CheckPermissions(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

// reseal encrypts any content below the comment lines of a key.
func reseal(t *testing.T, public Public, content string, recipient age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString(publicLine + public.String() + "\n" + fingerprintLine + public.Fingerprint() + "\n")
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, recipient)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write([]byte(content))
	if err := errors.Join(err, w.Close(), armored.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func scryptRecipient(t *testing.T, logN int) age.Recipient {
	t.Helper()
	r, err := age.NewScryptRecipient(testPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(logN)
	return r
}

// withWorkFactor changes the work factor that a file asks of its reader from 10.
func withWorkFactor(t *testing.T, file, logN string) string {
	t.Helper()
	start := strings.Index(file, armor.Header)
	plain, err := io.ReadAll(armor.NewReader(strings.NewReader(file[start:])))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(plain, []byte(" 10\n"), []byte(" "+logN+"\n"), 1)
	if bytes.Equal(changed, plain) {
		t.Fatal("the work factor is not where it was thought to be")
	}
	var out bytes.Buffer
	out.WriteString(file[:start])
	w := armor.NewWriter(&out)
	if _, err = w.Write(changed); errors.Join(err, w.Close()) != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDamagedFiles(t *testing.T) {
	good := string(testFile(t, Ed25519))
	other := testKey(t, Ed25519, 2).Public()
	lines := strings.SplitAfter(good, "\n")
	body := strings.Join(lines[2:], "")
	bad := map[string]string{
		"empty":                   "",
		"too long":                good + strings.Repeat("\n", maxFileSize),
		"no first line":           strings.Join(lines[1:], ""),
		"no second line":          lines[0] + body,
		"bare age file":           body,
		"another key named":       publicLine + other.String() + "\n" + fingerprintLine + other.Fingerprint() + "\n" + body,
		"another fingerprint":     lines[0] + fingerprintLine + other.Fingerprint() + "\n" + body,
		"line ends of Windows":    strings.ReplaceAll(good, "\n", "\r\n"),
		"text after":              good + "x",
		"empty line after":        good + "\n",
		"empty line before":       "\n" + good,
		"empty line between":      lines[0] + lines[1] + "\n" + body,
		"last line gone":          strings.TrimSuffix(good, lines[len(lines)-2]),
		"one line gone":           strings.Join(append(lines[:5:5], lines[6:]...), ""),
		"half the file":           good[:len(good)/2],
		"space in the first line": strings.Replace(good, "\n", " \n", 1),
		"spelling of a named key": strings.Replace(good, "ed25519:", "Ed25519:", 1),
		"work factor too high":    withWorkFactor(t, good, "21"),
	}
	for name, data := range bad {
		if _, err := DecodeFile([]byte(data), testPassphrase); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v, want ErrKeyFile", name, err)
		}
	}
	// Any change to the encrypted part is found, as damage or as a wrong passphrase.
	start := len(lines[0]) + len(lines[1])
	for i := start; i < len(good); i += 7 {
		data := []byte(good)
		data[i] ^= 1
		_, err := DecodeFile(data, testPassphrase)
		if !errors.Is(err, ErrKeyFile) && !errors.Is(err, ErrPassphrase) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func TestStrangeContent(t *testing.T) {
	secret := base64.RawURLEncoding.EncodeToString(testKey(t, Ed25519, 1).secret[:])
	good := `{"version":1,"algorithm":"ed25519","secret":"` + secret + `","name":"","created":"2026-01-02T03:04:05Z"}` + "\n"
	public := testKey(t, Ed25519, 1).Public()
	if _, err := DecodeFile(reseal(t, public, good, scryptRecipient(t, MinWorkFactor)), testPassphrase); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty":              "",
		"no line feed":       strings.TrimSpace(good),
		"two line feeds":     good + "\n",
		"space":              strings.Replace(good, ":", ": ", 1),
		"version 2":          strings.Replace(good, ":1,", ":2,", 1),
		"unknown member":     strings.Replace(good, "{", `{"x":1,`, 1),
		"member twice":       strings.Replace(good, "{", `{"version":1,`, 1),
		"member in capitals": strings.Replace(good, "version", "Version", 1),
		"member missing":     strings.Replace(good, `"name":"",`, "", 1),
		"x25519":             strings.Replace(good, "ed25519", "x25519", 1),
		"sm2":                strings.Replace(good, "ed25519", "sm2", 1),
		"webauthn-p256":      strings.Replace(good, "ed25519", "webauthn-p256", 1),
		"short secret":       strings.Replace(good, secret, secret[:42], 1),
		"padded secret":      strings.Replace(good, secret, secret+"=", 1),
		"another secret":     strings.Replace(good, secret, "B"+secret[1:], 1),
		"zone in the time":   strings.Replace(good, "05Z", "05+00:00", 1),
		"fraction of second": strings.Replace(good, "05Z", "05.5Z", 1),
		"no time":            strings.Replace(good, "2026-01-02T03:04:05Z", "", 1),
		"control in name":    strings.Replace(good, `"name":""`, `"name":"\u0007"`, 1),
		"needless escape":    strings.Replace(good, `"name":""`, `"name":"\u0041"`, 1),
	} {
		if content == good {
			t.Fatalf("%s: nothing changed", name)
		}
		data := reseal(t, public, content, scryptRecipient(t, MinWorkFactor))
		if _, err := DecodeFile(data, testPassphrase); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v, want ErrKeyFile", name, err)
		}
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	_, err = DecodeFile(reseal(t, public, good, identity.Recipient()), testPassphrase)
	if !errors.Is(err, ErrKeyFile) || errors.Is(err, ErrPassphrase) {
		t.Errorf("not encrypted with a passphrase: %v, want ErrKeyFile", err)
	}
}

func FuzzKeyFile(f *testing.F) {
	f.Add(testFile(f, Ed25519))
	f.Add(testFile(f, P256))
	f.Add([]byte(publicLine + "\n" + fingerprintLine + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		public, armored, err := splitFile(data)
		if err != nil {
			if !errors.Is(err, ErrKeyFile) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again := publicLine + public.String() + "\n" + fingerprintLine + public.Fingerprint() + "\n" + string(armored)
		if again != string(data) {
			t.Fatal("the parts are not the whole")
		}
	})
}

func FuzzKeyFileContent(f *testing.F) {
	for _, a := range []Algorithm{Ed25519, P256, X25519} {
		content, err := encodePayload(File{Key: testKey(f, a, 1), Name: "name", Created: testCreated})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := decodePayload(content)
		if err != nil {
			if !errors.Is(err, ErrKeyFile) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if again, err := encodePayload(file); err != nil || !bytes.Equal(again, content) {
			t.Fatalf("not canonical: %q (%v)", content, err)
		}
	})
}
