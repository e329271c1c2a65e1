// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/internal/web"
	"cityid/verify"
)

func gatewayCommand() *command {
	return &command{
		name: "gateway", short: "share data with other cities under agreements",
		sub: append(gatewayConfigCommands(), []*command{
			{
				name: "start", args: "CONFIG", short: "run a gateway",
				long:     "The configuration is one JSON file, described in docs/sharing.md. Relative files in it are\nlooked for beside it. The gateway's key stands with role gateway in the policy that governs the\nparty, and has no other role.",
				examples: []string{"cityid gateway start gateway.json --passphrase-file /run/secrets/gateway"},
				setup:    gatewayStart,
			},
			{
				name: "backup", args: "CONFIG", short: "write what a stopped gateway keeps into one file",
				long:     "The file says who fetched what and when. Encrypt it for the x25519 key of whoever keeps backups.",
				examples: []string{"cityid gateway backup gateway.json --recipient backup -o gateway.backup"},
				setup:    gatewayBackup,
			},
			{
				name: "restore", args: "CONFIG FILE", short: "make a gateway's folder of a backup; give its log a new name first",
				long:     "A restored log can not know what it signed since the backup, so it goes on under a name that was\nnever used: change \"log\" in the configuration.",
				examples: []string{"cityid gateway restore gateway.json gateway.backup --identity backup"},
				setup:    gatewayRestore,
			},
			{
				name: "check", args: "CONFIG", short: "check a gateway's configuration and what it provides, without running it",
				examples: []string{"cityid gateway check gateway.json"},
				setup:    gatewayCheck,
			},
		}...),
	}
}

// parseGatewayConfig reads a configuration as it is written.
func parseGatewayConfig(ctx context.Context, path string) (*share.Config, error) {
	b, err := readBounded(ctx, path, 4<<20)
	if err != nil {
		return nil, err
	}
	c := new(share.Config)
	if err := strictJSON(b, c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// readGatewayConfig reads a configuration, fills its defaults in, and makes the
// files in it absolute.
func readGatewayConfig(ctx context.Context, path string) (*share.Config, error) {
	written, err := parseGatewayConfig(ctx, path)
	if err != nil {
		return nil, err
	}
	c := written.WithDefaults()
	base := filepath.Dir(path)
	files := []*string{&c.Data, &c.Key, &c.Trust, &c.Cert, &c.CertKey, &c.Authorities}
	for i := range c.Datasets {
		d := &c.Datasets[i]
		files = append(files, &d.Document, &d.Schema, &d.Policy, &d.Backend.Files, &d.Backend.Sealed)
	}
	for _, f := range files {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(base, *f)
		}
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &c, nil
}

func gatewayStart(f *flags) func(context.Context, []string) error {
	var secret secrets
	secret.flags(f)
	level := f.String("log-level", "info", "debug, info, warn or error")
	jsonLog := f.Bool("log-json", false, "write the log as JSON lines")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the gateway's configuration")
		}
		log, err := f.logger(*level, *jsonLog)
		if err != nil {
			return err
		}
		cfg, err := readGatewayConfig(ctx, args[0])
		if err != nil {
			return err
		}
		parts, err := f.gatewayParts(ctx, cfg, &secret, log)
		if err != nil {
			return err
		}
		return f.runGateway(ctx, cfg, parts)
	}
}

// gatewayParts opens what a gateway is made of.
func (f *flags) gatewayParts(ctx context.Context, cfg *share.Config, secret *secrets, log *slog.Logger) (p share.Parts, err error) {
	p.Log = log
	if p.Key, err = f.openKey(ctx, cfg.Key, secret); err != nil {
		return p, err
	}
	p.Learned = func(t *verify.TrustFile) {
		if err := writeTrust(cfg.Trust, t); err != nil {
			log.Error("trust root not kept", "error", err)
		}
	}
	return p, f.gatewayNodes(ctx, cfg, &p)
}

// gatewayNodes opens what a gateway needs to know the chain and its peers.
func (f *flags) gatewayNodes(ctx context.Context, cfg *share.Config, p *share.Parts) (err error) {
	if p.Trust, err = (&trustFlag{path: cfg.Trust}).load(ctx); err != nil {
		return err
	}
	pool, err := authorities(cfg.Authorities)
	if err != nil {
		return err
	}
	p.Peers = web.NewOutward(cfg.PrivatePeers, pool)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = pool
	for _, address := range cfg.Nodes {
		c, err := client.New(address, client.WithTimeout(30*time.Second), client.WithTransport(transport), client.WithUserAgent("cityid-gateway"))
		if err != nil {
			return err
		}
		p.Nodes = append(p.Nodes, c)
	}
	return nil
}

// authorities returns the system's certificate authorities and those of a file;
// nil, which stands for the system's, without one.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authorities: %s holds no PEM certificate", file)
	}
	return pool, nil
}

// runGateway serves both sides until ctx ends.
func (f *flags) runGateway(ctx context.Context, cfg *share.Config, parts share.Parts) (err error) {
	g, err := share.Open(ctx, *cfg, parts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	var cert *web.Certificate
	if cfg.Cert != "" {
		if cert, err = web.LoadCertificate(cfg.Cert, cfg.CertKey, parts.Log); err != nil {
			return err
		}
	}
	peer, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	local, err := listen(ctx, cfg.Local)
	if err != nil {
		return errors.Join(err, peer.Close())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 3)
	go func() { g.Run(ctx); done <- nil }()
	go func() {
		done <- web.Serve(ctx, web.NewServer(web.Wrap(g.Peer(), web.WrapConfig{Log: parts.Log}), web.Limits{}, parts.Log), peer, cert, drain)
	}()
	go func() {
		done <- web.Serve(ctx, web.NewServer(web.Wrap(g.Local(), web.WrapConfig{Log: parts.Log}), web.Limits{}, parts.Log), local, nil, drain)
	}()
	f.talk("gateway of %s, log %s, answers other gateways at %s and applications at http://%s", cfg.Party, cfg.Log, cfg.URL, local.Addr())
	for range 3 {
		e := <-done
		if e != nil {
			err = errors.Join(err, e)
		}
		cancel(e)
	}
	f.talk("stopped")
	return err
}

func gatewayCheck(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the gateway's configuration")
		}
		cfg, err := readGatewayConfig(ctx, args[0])
		if err != nil {
			return err
		}
		log, err := f.logger("error", false)
		if err != nil {
			return err
		}
		key, err := f.publicKey(cfg.Key)
		if err != nil {
			return err
		}
		var p share.Parts
		if err := f.gatewayNodes(ctx, cfg, &p); err != nil {
			return err
		}
		found := share.Inspect(ctx, cfg, key, share.NewView(p.Trust, p.Nodes, time.Now, nil, log), time.Now())
		t := &table{head: []string{"subject", "good", "detail"}}
		bad := 0
		for _, i := range found {
			word := "yes"
			if !i.Good {
				word, bad = "NO", bad+1
			}
			t.add(i, i.Subject, word, i.Detail)
		}
		if err := f.print(t); err != nil {
			return err
		}
		if bad > 0 {
			return fmt.Errorf("%d of %d are not as they should be", bad, len(found))
		}
		return nil
	}
}

// gatewayRefusal makes an error of a gateway's problem.
func gatewayRefusal(body []byte, status string) error {
	var p struct {
		Detail string           `json:"detail"`
		Code   cityid.ErrorCode `json:"code"`
	}
	if json.Unmarshal(body, &p) != nil || p.Code == cityid.OK {
		return fmt.Errorf("the gateway answers with status %s", status)
	}
	return cityid.Errorf(p.Code, "%s", p.Detail)
}

// gatewayBackup writes the ledger of a gateway that does not run.
func gatewayBackup(f *flags) func(context.Context, []string) error {
	var recipients list
	f.Var(&recipients, "recipient", "x25519 `key` that can open the file: its name, file or text; several times. Without it, the file is not encrypted")
	return func(ctx context.Context, args []string) (err error) {
		if len(args) != 1 {
			return usagef("want the gateway's configuration")
		}
		cfg, err := readGatewayConfig(ctx, args[0])
		if err != nil {
			return err
		}
		to, err := f.recipients(recipients)
		if err != nil {
			return err
		}
		l, err := ledger.Open(ctx, ledger.Options{Dir: cfg.Data, Party: cfg.Party, Log: cfg.Log})
		if err != nil {
			return hint(err, "stop the gateway first; what it keeps is in %s", cfg.Data)
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		var b bytes.Buffer
		if err := l.Snapshot(ctx, &b, to...); err != nil {
			return err
		}
		return f.writeBinary("a backup", b.Bytes())
	}
}

// gatewayRestore makes a gateway's folder of a backup.
func gatewayRestore(f *flags) func(context.Context, []string) error {
	var secret secrets
	secret.flags(f)
	var names list
	f.Var(&names, "identity", "`name` or file of the x25519 key that opens the backup; several times")
	return func(ctx context.Context, args []string) (err error) {
		if len(args) != 2 {
			return usagef("want the gateway's configuration and a backup")
		}
		cfg, err := readGatewayConfig(ctx, args[0])
		if err != nil {
			return err
		}
		with, err := f.identities(ctx, names, &secret)
		if err != nil {
			return err
		}
		file, err := os.Open(args[1])
		if err != nil {
			return err
		}
		defer file.Close()
		if err := ledger.Restore(ctx, cfg.Data, file, with...); err != nil {
			return err
		}
		f.talk("restored into %s; the gateway starts once log in %s has a name that was never used", cfg.Data, args[0])
		return nil
	}
}
