// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"cityid/internal/durable"
	"cityid/internal/web"
)

// Files of a private certificate authority, in its folder.
const (
	authorityCert = "ca.pem"
	authorityKey  = "ca.key"
)

// maxPEM bounds a PEM file in octets.
const maxPEM = 64 << 10

func networkCACommand() *command {
	return &command{
		name: "ca", short: "a private certificate authority, for TLS on an intranet",
		sub: []*command{
			{
				name: "init", args: "FOLDER", short: "make a certificate authority",
				long:     "Whoever trusts ca.pem believes any certificate made with ca.key, within the domains and networks of\n--permit. Keep the folder off the machines that serve.",
				examples: []string{"cityid network ca init ca --name 'Shijiazhuang intranet' --permit intra.sjz.example --permit 10.0.0.0/8"},
				setup:    caInit,
			},
			{
				name: "issue", args: "FOLDER", short: "make or renew a server's certificate",
				long:     "The key in the file of --key is made if it is not there, and kept if it is. A node that runs takes a\nrenewed certificate by itself.",
				examples: []string{"cityid network ca issue ca --host id.intra.sjz.example --host 10.0.0.5 --cert cert.pem --key key.pem"},
				setup:    caIssue,
			},
		},
	}
}

func caInit(f *flags) func(context.Context, []string) error {
	name := f.String("name", "cityid private authority", "what the authority is called, for people")
	var permit list
	f.Var(&permit, "permit", "a `domain` or network that it may issue for, and no others; several times; any without it")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the folder of the new authority")
		}
		a, err := web.NewAuthority(*name, permit, time.Now())
		if err != nil {
			return usageError{err}
		}
		key, err := a.KeyPEM()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(args[0], 0o700); err != nil {
			return err
		}
		// The key goes first: a certificate whose key was lost would be of no use.
		keyFile, certFile := filepath.Join(args[0], authorityKey), filepath.Join(args[0], authorityCert)
		for _, path := range []string{keyFile, certFile} {
			if _, err := os.Lstat(path); err == nil {
				return exitError{exitConflict, fmt.Errorf("there is a file %s already: nothing is overwritten", path)}
			}
		}
		if err := durable.WriteNew(keyFile, key); err != nil {
			return fmt.Errorf("write %s: %w", keyFile, err)
		}
		if err := writeFresh(certFile, a.CertPEM()); err != nil {
			return errors.Join(err, os.Remove(keyFile))
		}
		f.talk("clients trust %s: browsers import it, cityid takes it with --authorities or CITYID_AUTHORITIES", certFile)
		if len(permit) == 0 {
			f.talk("  it can issue for any site there is; --permit would bound what a thief of its key could do")
		}
		v := struct {
			Name        string    `json:"name"`
			Certificate string    `json:"certificate"`
			Until       time.Time `json:"until"`
		}{a.Name(), certFile, a.Until()}
		return f.print(fields(v, "name", v.Name, "certificate", v.Certificate, "until", v.Until.UTC().Format(time.RFC3339)))
	}
}

func caIssue(f *flags) func(context.Context, []string) error {
	var hosts list
	f.Var(&hosts, "host", "a `name` or IP address of the server; several times")
	cert := f.String("cert", "cert.pem", "write the certificate to this `file`")
	key := f.String("key", "key.pem", "the server's private key is in this `file`; it is made if it is not there")
	days := f.Int("days", int(web.CertificateLife/(24*time.Hour)), "how long it is good")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || len(hosts) == 0 {
			return usagef("want the folder of the authority and --host NAME")
		}
		a, err := readAuthority(ctx, args[0])
		if err != nil {
			return err
		}
		k, made, err := serverKey(ctx, *key)
		if err != nil {
			return err
		}
		until := time.Now().Add(time.Duration(*days) * 24 * time.Hour)
		b, err := a.Issue(k, hosts, time.Now(), time.Duration(*days)*24*time.Hour)
		if err != nil {
			return usageError{err}
		}
		if made {
			text, err := web.KeyPEM(k)
			if err != nil {
				return err
			}
			if err := durable.WriteNew(*key, text); err != nil {
				return fmt.Errorf("write %s: %w", *key, err)
			}
		}
		if err := writeFile(*cert, b, 0o644); err != nil {
			return err
		}
		if a.Until().Before(until) {
			until = a.Until()
			f.talk("warning: it ends with its authority")
		}
		f.talk("serve with it: cityid node start FOLDER --tls-cert %s --tls-key %s", *cert, *key)
		v := struct {
			Certificate string    `json:"certificate"`
			Key         string    `json:"key"`
			Hosts       []string  `json:"hosts"`
			Until       time.Time `json:"until"`
		}{*cert, *key, hosts, until}
		return f.print(fields(v, "certificate", v.Certificate, "key", v.Key, "for", hosts.String(), "until", until.UTC().Format(time.RFC3339)))
	}
}

func readAuthority(ctx context.Context, dir string) (*web.Authority, error) {
	cert, err := readBounded(ctx, filepath.Join(dir, authorityCert), maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint(exitError{exitNotFound, fmt.Errorf("there is no authority in %s", dir)}, "cityid network ca init %s makes one", dir)
	}
	if err != nil {
		return nil, err
	}
	key, err := readBounded(ctx, filepath.Join(dir, authorityKey), maxPEM)
	if err != nil {
		return nil, err
	}
	a, err := web.ParseAuthority(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return a, nil
}

// serverKey reads a server's key, or makes one if there is no such file.
func serverKey(ctx context.Context, path string) (*ecdsa.PrivateKey, bool, error) {
	text, err := readBounded(ctx, path, maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		k, err := web.NewTLSKey()
		return k, true, err
	}
	if err != nil {
		return nil, false, err
	}
	k, err := web.ParseTLSKey(text)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", path, err)
	}
	return k, false, nil
}
