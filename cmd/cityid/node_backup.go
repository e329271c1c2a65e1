// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"filippo.io/age"
	"golang.org/x/term"

	"cityid/internal/chain"
	"cityid/internal/durable/folder"
	"cityid/internal/office"
	"cityid/internal/store"
	"cityid/keys"
)

// recipients returns what encrypts for the x25519 keys with some names.
func (f *flags) recipients(names []string) ([]age.Recipient, error) {
	var out []age.Recipient
	for _, name := range names {
		public, err := f.publicKey(name)
		if err != nil {
			return nil, err
		}
		p, err := keys.ParsePublic([]byte(public))
		if err != nil {
			return nil, err
		}
		r, err := p.AgeRecipient()
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, r)
	}
	return out, nil
}

// identities opens the x25519 keys with some names, which decrypt.
func (f *flags) identities(ctx context.Context, names []string, secret *secrets) ([]age.Identity, error) {
	var out []age.Identity
	for _, name := range names {
		k, err := f.openKey(ctx, name, secret)
		if err != nil {
			return nil, err
		}
		i, err := k.AgeIdentity()
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, i)
	}
	return out, nil
}

func nodeBackup(f *flags) func(context.Context, []string) error {
	var (
		secret   secrets
		to       list
		o        chain.BackupOptions
		password bool
	)
	f.Var(&to, "recipient", "`name`, file or public x25519 key that can open the backup; several times")
	f.BoolVar(&password, "passphrase", false, "encrypt the backup with a passphrase instead")
	f.BoolVar(&o.Keys, "keys", false, "take the keys of node and validator along, and what the validator signed last")
	f.BoolVar(&o.NoOffice, "no-office", false, "leave out what the institution keeps off the chain")
	secret.flags(f)
	return func(ctx context.Context, args []string) (err error) {
		if len(args) != 1 {
			return usagef("want the node's folder")
		}
		if password && len(to) > 0 {
			return usagef("give either --recipient or --passphrase")
		}
		if !isNode(args[0]) {
			return hint(exitError{exitNotFound, fmt.Errorf("there is no node in %s", args[0])}, "name the folder that holds genesis.json")
		}
		if out, ok := f.term.out.(*os.File); ok && f.out == "" && term.IsTerminal(int(out.Fd())) {
			return hint(usagef("a backup is binary, and this is a terminal"), "name a file with -o FILE")
		}
		if o.Recipients, err = f.recipients(to); err != nil {
			return err
		}
		if password {
			text, err := secret.passphrase(ctx, "the backup", true)
			if err != nil {
				return err
			}
			r, err := age.NewScryptRecipient(text)
			if err != nil {
				return usageError{err}
			}
			o.Recipients = []age.Recipient{r}
		}
		_, err = os.Stat(filepath.Join(args[0], "office"))
		if secrets := o.Keys || err == nil && !o.NoOffice; secrets && len(o.Recipients) == 0 {
			return hint(usagef("the backup would hold secrets that anybody could read"), "encrypt it with --recipient KEY or --passphrase, or leave out what is secret: --no-office, and no --keys")
		}
		if f.out != "" && f.out != "-" {
			o.Temp = filepath.Dir(f.out)
		}
		o.Office, o.Tell = office.CopyFolder, f.tellCopied()
		err = f.streamMode(0o600, func(w io.Writer) error { return chain.Backup(ctx, args[0], w, o) })
		switch {
		case errors.Is(err, chain.ErrNoBackup):
			return hint(exitError{exitConflict, err}, "wait until it has a block and no other backup is being made; or stop the node, and start it again afterwards")
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, store.ErrDiskFull):
			return hint(err, "the backup of a running node takes the room of its folders state, blocks and office twice, where it is written: name a larger disk with -o; nothing was left there, and the node is not touched")
		case errors.Is(err, chain.ErrNoState):
			return hint(exitError{exitNotFound, fmt.Errorf("the node in %s has no state: it never ran", args[0])}, "cityid node start %s", args[0])
		case err != nil:
			return err
		}
		if o.Keys {
			f.talk("warning: two nodes with this validator's key can sign two histories, which is provable for ever: guard the backup, and restore it only when this node never runs again")
		} else {
			f.talk("the keys of node and validator are not in it: keep them elsewhere, or the restored node has another id and no vote")
		}
		return nil
	}
}

func nodeRestore(f *flags) func(context.Context, []string) error {
	var (
		secret secrets
		names  list
	)
	f.Var(&names, "identity", "`name` or file of the x25519 key that opens the backup; several times. Without one, a passphrase does, if it is encrypted")
	secret.flags(f)
	return func(ctx context.Context, args []string) (err error) {
		if len(args) != 2 {
			return usagef("want a backup and the folder to make of it")
		}
		with, err := f.identities(ctx, names, &secret)
		if err != nil {
			return err
		}
		file, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		if len(with) == 0 {
			with = []age.Identity{passphraseIdentity{ctx, &secret}}
		}
		r, err := chain.Restore(ctx, args[1], file, checkOffice, with...)
		switch {
		case errors.Is(err, folder.ErrConflict):
			return hint(exitError{exitConflict, err}, "name a folder that does not exist yet")
		case errors.Is(err, folder.ErrDamaged), errors.Is(err, chain.ErrForeignChain):
			return hint(exitError{exitInvalid, err}, "nothing was restored: take another backup")
		case errors.Is(err, folder.ErrKey):
			return hint(exitError{exitNotPermitted, err}, "name the key with --identity, or give the passphrase")
		case err != nil:
			return err
		}
		f.talk("restored into %s; next: cityid node start %s", args[1], args[1])
		switch {
		case r.Running:
			f.talk("warning: this node has the keys of one that ran on when it was backed up, so it does not start yet. Make sure that that one never runs again, and say up to which block its key has signed, which is the height that others are at: cityid node signing %s --through HEIGHT", args[1])
		case r.Keys:
			f.talk("warning: this node has the keys of the one that was backed up. Start it only if that one never runs again; if it ran after the backup, say first up to which block its key has signed: cityid node signing %s --through HEIGHT", args[1])
		default:
			f.talk("  it has keys of its own: another id, and no vote")
		}
		return f.print(fields(r, "chain", r.Chain, "height", fmt.Sprint(r.Height), "app hash", r.AppHash.String(), "keys", fmt.Sprint(r.Keys), "running", fmt.Sprint(r.Running), "office", fmt.Sprint(r.Office)))
	}
}

// tellCopied returns what says now and then how much of a running node was copied.
func (f *flags) tellCopied() func(octets int64) {
	next := time.Now()
	return func(octets int64) {
		if now := time.Now(); now.After(next) {
			if octets < 1<<20 {
				f.talk("the node runs: what it holds at this moment is copied, verified and written")
			} else {
				f.talk("  copied %d MB", octets>>20)
			}
			next = now.Add(5 * time.Second)
		}
	}
}

// checkOffice opens the office in a restored home, if there is one.
func checkOffice(ctx context.Context, home string) error {
	dir := filepath.Join(home, "office")
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	o, err := office.Open(ctx, office.Options{Dir: dir})
	if err != nil {
		return fmt.Errorf("%w: %w", folder.ErrDamaged, err)
	}
	return o.Close()
}

// passphraseIdentity asks for a passphrase once an archive turns out to need one.
type passphraseIdentity struct {
	ctx    context.Context
	secret *secrets
}

// Unwrap implements age.Identity.
func (p passphraseIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	text, err := p.secret.passphrase(p.ctx, "the backup", false)
	if err != nil {
		return nil, err
	}
	i, err := age.NewScryptIdentity(text)
	if err != nil {
		return nil, err
	}
	return i.Unwrap(stanzas)
}
