// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
		},
	}
}

// secrets says where passphrases come from.
type secrets struct {
	file string
	fd   int
	term *terminal
	read string // what a file or descriptor gave, once read
}

func (s *secrets) flags(f *flags) {
	s.term = f.term
	f.StringVar(&s.file, "passphrase-file", "", "read the passphrase from the first line of this `file`")
	f.IntVar(&s.fd, "passphrase-fd", -1, "read the passphrase from this file descriptor `number`")
}

// passphrase returns the passphrase for what, asking twice for a new one.
func (s *secrets) passphrase(what string, fresh bool) (string, error) {
	if s.read != "" {
		return s.read, nil
	}
	switch {
	case s.file != "" && s.fd >= 0:
		return "", usagef("give either --passphrase-file or --passphrase-fd")
	case s.file != "":
		b, err := os.ReadFile(s.file)
		if err != nil {
			return "", fmt.Errorf("passphrase: %w", err)
		}
		return s.first(b)
	case s.fd >= 0:
		b, err := io.ReadAll(io.LimitReader(os.NewFile(uintptr(s.fd), "passphrase"), 4096))
		if err != nil {
			return "", fmt.Errorf("passphrase: %w", err)
		}
		return s.first(b)
	}
	if s.term.in == nil || !term.IsTerminal(int(s.term.in.Fd())) {
		return "", hint(usagef("the passphrase for %s is asked for at a terminal, and this is none", what), "give --passphrase-file FILE or --passphrase-fd NUMBER")
	}
	p, err := s.ask("passphrase for " + what + ": ")
	if err != nil || !fresh {
		return p, err
	}
	again, err := s.ask("the same again: ")
	if err == nil && again != p {
		err = errors.New("the two passphrases differ")
	}
	return p, err
}

func (s *secrets) first(b []byte) (string, error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	s.read = strings.TrimSuffix(string(line), "\r")
	if s.read == "" {
		return "", errors.New("the passphrase is empty")
	}
	return s.read, nil
}

func (s *secrets) ask(prompt string) (string, error) {
	fmt.Fprint(s.term.err, prompt)
	b, err := term.ReadPassword(int(s.term.in.Fd()))
	fmt.Fprintln(s.term.err)
	if err == nil && len(b) == 0 {
		err = errors.New("the passphrase is empty")
	}
	return string(b), err
}

// keyPath is the file of the key that people name: a path if it looks like
// one, else a name in the folder of keys.
func (f *flags) keyPath(name string) string {
	if strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".key") {
		return name
	}
	return filepath.Join(f.home, "keys", name+".key")
}

// openKey unlocks a key.
func (f *flags) openKey(name string, s *secrets) (*keys.Private, error) {
	path := f.keyPath(name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, hint(fmt.Errorf("key %s: there is no file %s", name, path), "cityid key list shows your keys; cityid key new %s makes one", name)
	}
	if err := keys.CheckPermissions(path); err != nil {
		f.talk("warning: %v", err)
	}
	p, err := s.passphrase("key "+name, false)
	if err != nil {
		return nil, err
	}
	k, err := keys.ReadFile(path, p)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return k, nil
}

// signer unlocks a key to sign with.
func (f *flags) signer(name string, s *secrets) (cityid.Signer, error) {
	k, err := f.openKey(name, s)
	if err != nil {
		return cityid.Signer{}, err
	}
	return signerOf(k), nil
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
	p, err := keys.ReadPublicFile(f.keyPath(name))
	if err != nil {
		return "", fmt.Errorf("key %s: %w", name, err)
	}
	return cityid.PublicKey(p.Raw()), nil
}

func keyNew(f *flags) func(context.Context, []string) error {
	algorithm := f.String("algorithm", "ed25519", "ed25519, p256, or x25519 to receive encrypted evidence")
	factor := f.Int("work-factor", keys.DefaultWorkFactor, "how hard a guess at the passphrase is: two to this power, 10 to 20")
	var s secrets
	s.flags(f)
	return func(_ context.Context, args []string) error {
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
		if _, err := os.Lstat(path); err == nil {
			return exitError{exitConflict, fmt.Errorf("key %s exists already in %s: nothing is overwritten", args[0], path)}
		}
		k, err := keys.Generate(a, nil)
		if err != nil {
			return err
		}
		p, err := s.passphrase("the new key "+args[0], true)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := keys.WriteFile(path, k, p, keys.WithName(args[0]), keys.WithCreated(time.Now().UTC().Truncate(time.Second)), keys.WithWorkFactor(*factor)); err != nil {
			return err
		}
		f.talk("key %s is in %s; without its passphrase it is lost, so keep both in two places", args[0], path)
		return f.print(keyTable(args[0], k.Public()))
	}
}

type keyView struct {
	Name        string `json:"name"`
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
	return func(_ context.Context, args []string) error {
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
		return f.print(keyTable(strings.TrimSuffix(filepath.Base(args[0]), ".key"), p))
	}
}

func keyList(f *flags) func(context.Context, []string) error {
	return func(_ context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(f.home, "keys", "*.key"))
		if err != nil {
			return err
		}
		t := &table{head: []string{"name", "algorithm", "fingerprint"}}
		for _, path := range files {
			name := strings.TrimSuffix(filepath.Base(path), ".key")
			p, err := keys.ReadPublicFile(path)
			if err != nil {
				f.talk("warning: %s: %v", path, err)
				continue
			}
			v := viewKey(name, p)
			t.add(v, v.Name, v.Algorithm, v.Fingerprint)
		}
		if len(t.rows) == 0 {
			f.talk("no keys in %s; cityid key new NAME makes one", filepath.Join(f.home, "keys"))
		}
		return f.print(t)
	}
}
