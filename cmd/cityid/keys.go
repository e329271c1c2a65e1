// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"cityid"
	"cityid/keys"
)

func keyCommand() *command {
	return &command{
		name: "key", short: "make and show the keys you sign with",
		sub: []*command{
			{
				name: "new", args: "NAME", short: "make a key and keep it in a file under a passphrase",
				examples: []string{"cityid key new officer", "cityid key new sensor --algorithm p256 --passphrase-file /run/secrets/sensor"},
				setup:    keyNew,
			},
			{name: "list", short: "list the keys in your folder", setup: keyList},
			{name: "show", args: "NAME|FILE", short: "show the public half of a key and its fingerprint", setup: keyShow},
			{
				name: "sign-in", args: "ORIGIN CHALLENGE", short: "sign in at a portal with a key that is not in the browser",
				long:     "The portal's page shows the command with its challenge. Paste the line that the command writes\ninto the page. The signature is worth nothing at another address, and signs no transaction.",
				examples: []string{"cityid key sign-in https://id.example 3q2-7w… --key officer"},
				setup:    keySignIn,
			},
		},
	}
}

// passphraseVariable is the environment variable that names a file, not a secret.
const passphraseVariable = "CITYID_PASSPHRASE_FILE"

// secrets says where passphrases come from.
type secrets struct {
	file string
	fd   int
	term *terminal
	read string // what a file or descriptor gave, once read
}

func (s *secrets) flags(f *flags) {
	s.term = f.term
	f.StringVar(&s.file, "passphrase-file", os.Getenv(passphraseVariable), "read the passphrase from the first line of this `file`; "+passphraseVariable+" names it too")
	f.IntVar(&s.fd, "passphrase-fd", -1, "read the passphrase from this file descriptor `number`")
}

// passphrase returns the passphrase for what, asking twice for a new one.
func (s *secrets) passphrase(ctx context.Context, what string, fresh bool) (string, error) {
	if s.read != "" {
		return s.read, nil
	}
	switch {
	case s.file != "" && s.file != os.Getenv(passphraseVariable) && s.fd >= 0:
		return "", usagef("give either --passphrase-file or --passphrase-fd")
	case s.fd >= 0:
		return s.first(ctx, func() (io.ReadCloser, error) { return os.NewFile(uintptr(s.fd), "passphrase"), nil })
	case s.file != "":
		return s.first(ctx, func() (io.ReadCloser, error) { return os.Open(s.file) })
	}
	if s.term.in == nil || !term.IsTerminal(int(s.term.in.Fd())) {
		return "", hint(usagef("the passphrase for %s is asked for at a terminal, and this is none", what), "give --passphrase-file FILE or --passphrase-fd NUMBER")
	}
	p, err := s.ask(ctx, "passphrase for "+what+": ")
	if err != nil || !fresh {
		return p, err
	}
	again, err := s.ask(ctx, "the same again: ")
	if err == nil && again != p {
		err = errors.New("the two passphrases differ")
	}
	return p, err
}

// maxPassphrase bounds a passphrase in octets.
const maxPassphrase = 4096

// first returns the first line of what open opens, and keeps it for the next
// key.
func (s *secrets) first(ctx context.Context, open func() (io.ReadCloser, error)) (string, error) {
	b, err := interruptible(ctx, func() ([]byte, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(io.LimitReader(r, maxPassphrase+1))
	})
	if err != nil {
		return "", fmt.Errorf("passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	switch p := strings.TrimSuffix(string(line), "\r"); {
	case p == "":
		return "", errors.New("the passphrase is empty")
	case len(p) > maxPassphrase:
		return "", fmt.Errorf("the passphrase is longer than %d octets", maxPassphrase)
	default:
		s.read = p
		return p, nil
	}
}

// ask reads a passphrase from the terminal without showing it. The terminal is
// as it was afterwards, even when the person gives up with Ctrl-C.
func (s *secrets) ask(ctx context.Context, prompt string) (string, error) {
	fd := int(s.term.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(s.term.err, printable(prompt))
	b, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(s.term.err)
	if err != nil {
		return "", errors.Join(err, term.Restore(fd, before))
	}
	if len(b) == 0 {
		return "", errors.New("the passphrase is empty")
	}
	return string(b), nil
}

// keyPath is the file of the key that people name: a path if it looks like
// one, else a name in the folder of keys.
func (f *flags) keyPath(name string) string {
	if strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".key") {
		return name
	}
	return filepath.Join(f.home, "keys", name+".key")
}

// keyFile is the path of a key's file, which must be there.
func (f *flags) keyFile(name string) (string, error) {
	path := f.keyPath(name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", hint(fmt.Errorf("key %s: there is no file %s", name, path), "cityid key list shows your keys; cityid key new %s makes one", name)
	}
	return path, nil
}

// openKey unlocks a key.
func (f *flags) openKey(ctx context.Context, name string, s *secrets) (*keys.Private, error) {
	path, err := f.keyFile(name)
	if err != nil {
		return nil, err
	}
	if err := keys.CheckPermissions(path); err != nil {
		f.talk("warning: %v", err)
	}
	p, err := s.passphrase(ctx, "key "+name, false)
	if err != nil {
		return nil, err
	}
	return keys.ReadFile(path, p)
}

// signers unlocks keys to sign with.
func (f *flags) signers(ctx context.Context, names list, s *secrets) ([]cityid.Signer, error) {
	var out []cityid.Signer
	for _, name := range names {
		k, err := f.openKey(ctx, name, s)
		if err != nil {
			return nil, err
		}
		out = append(out, signerOf(k))
	}
	return out, nil
}

func signerOf(k *keys.Private) cityid.Signer {
	return cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
}

// publicKey reads the public half of a key: from its file, or from the text
// form itself.
func (f *flags) publicKey(name string) (cityid.PublicKey, error) {
	if strings.Contains(name, ":") {
		p, err := keys.ParsePublicText(name)
		if err != nil {
			return "", usageError{err}
		}
		return cityid.PublicKey(p.Raw()), nil
	}
	path, err := f.keyFile(name)
	if err != nil {
		return "", err
	}
	p, err := keys.ReadPublicFile(path)
	if err != nil {
		return "", err
	}
	return cityid.PublicKey(p.Raw()), nil
}

func keyNew(f *flags) func(context.Context, []string) error {
	algorithm := f.String("algorithm", "ed25519", "ed25519, p256, or x25519 to receive encrypted evidence")
	factor := f.Int("work-factor", keys.DefaultWorkFactor, "how hard a guess at the passphrase is: two to this power, 10 to 20")
	var s secrets
	s.flags(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want a name for the key")
		}
		if *factor < keys.MinWorkFactor || *factor > keys.MaxWorkFactor {
			return usagef("--work-factor %d: want %d to %d", *factor, keys.MinWorkFactor, keys.MaxWorkFactor)
		}
		a, err := keys.ParseAlgorithm(*algorithm)
		if err != nil {
			return usageError{err}
		}
		path := f.keyPath(args[0])
		name := strings.TrimSuffix(filepath.Base(path), ".key")
		if name == "" {
			return usagef("want a name for the key, not %q", args[0])
		}
		if _, err := os.Lstat(path); err == nil {
			return exitError{exitConflict, fmt.Errorf("key %s exists already in %s: nothing is overwritten", args[0], path)}
		}
		k, err := keys.Generate(a, nil)
		if err != nil {
			return err
		}
		p, err := s.passphrase(ctx, "the new key "+args[0], true)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := keys.WriteFile(path, k, p, keys.WithName(name), keys.WithCreated(time.Now().UTC().Truncate(time.Second)), keys.WithWorkFactor(*factor)); err != nil {
			return err
		}
		f.talk("key %s is in %s; without its passphrase it is lost, so keep both in two places", args[0], path)
		return f.print(keyTable(name, k.Public()))
	}
}

type keyView struct {
	Name        string `json:"name,omitempty"`
	Public      string `json:"public"`
	Algorithm   string `json:"algorithm"`
	Fingerprint string `json:"fingerprint"`
}

func viewKey(name string, p keys.Public) keyView {
	return keyView{Name: name, Public: p.String(), Algorithm: p.Algorithm().String(), Fingerprint: p.Fingerprint()}
}

func keyTable(name string, p keys.Public) *table {
	v := viewKey(name, p)
	return fields(v, "name", v.Name, "public key", v.Public, "fingerprint", v.Fingerprint)
}

func keyShow(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the name or the file of one key")
		}
		k, err := f.publicKey(args[0])
		if err != nil {
			return err
		}
		p, err := keys.ParsePublic([]byte(k))
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(args[0]), ".key")
		if strings.Contains(args[0], ":") {
			name = "" // the public key itself was given
		}
		return f.print(keyTable(name, p))
	}
}

func keyList(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		folder := filepath.Join(f.home, "keys")
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		t := &table{head: []string{"name", "algorithm", "fingerprint"}}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), ".key")
			if !ok {
				continue
			}
			p, err := keys.ReadPublicFile(filepath.Join(folder, e.Name()))
			if err != nil {
				f.talk("warning: %v", err)
				continue
			}
			v := viewKey(name, p)
			t.add(v, v.Name, v.Algorithm, v.Fingerprint)
		}
		if len(t.rows) == 0 {
			f.talk("no keys in %s; cityid key new NAME makes one", folder)
		}
		return f.print(t)
	}
}

func keySignIn(f *flags) func(context.Context, []string) error {
	key := f.String("key", "", "sign in with this key (`name` or file)")
	var s secrets
	s.flags(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 2 || *key == "" {
			return usagef("want the address of the portal and its challenge, as its page shows them, and --key NAME")
		}
		u, err := url.Parse(args[0])
		if err != nil || u.Host == "" || u.Path != "" || u.Scheme != "https" && u.Scheme != "http" {
			return usagef("address %q: want scheme and host, such as https://id.example", args[0])
		}
		challenge, err := base64.RawURLEncoding.Strict().DecodeString(args[1])
		if err != nil || len(challenge) != 32 {
			return usagef("challenge %q: copy it whole from the page", args[1])
		}
		k, err := f.openKey(ctx, *key, &s)
		if err != nil {
			return err
		}
		digest := cityid.SignInDigest(args[0], challenge)
		signature, err := k.Sign(digest[:])
		if err != nil {
			return err
		}
		f.talk("paste this line into the page of %s, and nowhere else:", u.Host)
		return f.write([]byte(k.Public().String() + " " + base64.RawURLEncoding.EncodeToString(signature) + "\n"))
	}
}
