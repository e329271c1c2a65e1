// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable"
	"cityid/internal/share"
)

// gatewayConfigCommands write a configuration step by step.
func gatewayConfigCommands() []*command {
	return []*command{
		{
			name: "init", args: "CONFIG", short: "write the configuration of a new gateway",
			long: "The file is described field by field in docs/sharing.md. The key is one of yours; put it into the\npolicy with cityid code rekey CODE --add gateway=KEY.",
			examples: []string{
				"cityid gateway init gateway.json --party MA.156.1301 --url https://gateway.sjz.example --cert tls.pem --cert-key tls.key --key gw",
				"cityid gateway init gateway.json --party MA.156.1301 --url http://localhost:9101 --private --key gw",
			},
			setup: gatewayInit,
		},
		{
			name: "provide", args: "CONFIG DATASET", short: "let a gateway provide a dataset",
			long: "The documents are what cityid dataset publish --published FOLDER wrote. A path may end in its\nparameters with their kinds: integer, time, code, word, or a|b|c.",
			examples: []string{
				"cityid gateway provide gateway.json MA.156.1301.03/20.030101/AIR1 --published served --http http://10.0.0.5:8000 --path /latest --path '/observations?after=word&limit=integer'",
				"cityid gateway provide gateway.json MA.156.1301.02/20.010501/LAMPS --published lamps --files /srv/lamps --path '/**'",
			},
			setup: gatewayProvide,
		},
		{
			name: "follow", args: "CONFIG AGREEMENT PATH", short: "let a gateway follow a feed under an agreement",
			examples: []string{"cityid gateway follow gateway.json 3b0c… /observations --series"},
			setup:    gatewayFollow,
		},
	}
}

func gatewayInit(f *flags) func(context.Context, []string) error {
	var c share.Config
	party := f.String("party", "", "`code` for which the gateway acts")
	f.StringVar(&c.URL, "url", "", "`address` at which other gateways reach it")
	f.StringVar(&c.Listen, "listen", "", "`host:port` for other gateways; :9101, or with --private the host and port of --url")
	f.StringVar(&c.Local, "local", "127.0.0.1:9102", "`host:port` for the city's own programs")
	f.StringVar(&c.Log, "log", "gw-1", "`name` of this instance's receipt log")
	f.StringVar(&c.Data, "data", "data", "`folder` of the receipt log, beside the configuration")
	f.StringVar(&c.Key, "key", "", "the gateway's ed25519 key (`name` or file)")
	f.StringVar(&c.Trust, "trust", "trust.json", "`file` of the pinned trust root, beside the configuration")
	f.StringVar(&c.Cert, "cert", "", "PEM `file` of the certificate for other gateways, beside the configuration")
	f.StringVar(&c.CertKey, "cert-key", "", "PEM `file` of its key")
	f.BoolVar(&c.PrivatePeers, "private", false, "other gateways are in this machine's or a private network, and may speak http")
	batch := f.Duration("batch-time", 0, "receipts are anchored after; 60s without it")
	var nodes list
	f.Var(&nodes, "ask", "`address` of a node to ask; several times, in this order; that of --node without it")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || *party == "" || c.URL == "" || c.Key == "" {
			return usagef("want the file to write, --party CODE, --url URL and --key NAME")
		}
		var err error
		if c.Party, err = parseCode(*party); err != nil {
			return err
		}
		path, err := f.keyFile(c.Key)
		if err != nil {
			return err
		}
		if c.Key, err = filepath.Abs(path); err != nil {
			return err
		}
		if c.Nodes = nodes; len(nodes) == 0 {
			c.Nodes = []string{f.node}
		}
		if c.Listen == "" {
			c.Listen = ":9101"
			if _, rest, ok := strings.Cut(c.URL, "://"); ok && c.PrivatePeers {
				c.Listen = strings.TrimRight(rest, "/")
			}
		}
		c.BatchTime = share.Duration(*batch)
		b, err := encodeGatewayConfig(&c)
		if err != nil {
			return usageError{err}
		}
		if err := durable.WriteNew(args[0], b); errors.Is(err, fs.ErrExist) {
			return exitError{exitConflict, fmt.Errorf("there is a file %s already: nothing is overwritten", args[0])}
		} else if err != nil {
			return fmt.Errorf("write %s: %w", args[0], err)
		}
		f.talk("%s is written; cityid gateway provide and follow add to it, cityid gateway check compares it with the chain", args[0])
		trust := filepath.Join(filepath.Dir(args[0]), c.Trust)
		if filepath.IsAbs(c.Trust) {
			trust = c.Trust
		}
		if _, err := os.Stat(trust); errors.Is(err, fs.ErrNotExist) {
			f.talk("  there is no trust root yet: cityid trust pin -o %s", trust)
		}
		return nil
	}
}

// encodeGatewayConfig returns the file of a configuration, if it is one that a
// gateway could start with. What is at its default stays out.
func encodeGatewayConfig(c *share.Config) ([]byte, error) {
	full := c.WithDefaults()
	if err := full.Check(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	return append(b, '\n'), err
}

// changeGatewayConfig replaces a configuration by a changed one, whole or not at
// all.
func changeGatewayConfig(ctx context.Context, path string, change func(c *share.Config) error) error {
	c, err := parseGatewayConfig(ctx, path)
	if err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	b, err := encodeGatewayConfig(c)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return writeFile(path, b, 0o600)
}

func gatewayProvide(f *flags) func(context.Context, []string) error {
	var d share.DatasetConfig
	published := f.String("published", "", "`folder` with the documents to serve")
	f.StringVar(&d.Backend.HTTP, "http", "", "the data are at this `address`")
	f.StringVar(&d.Backend.Files, "files", "", "the data are in this `folder`")
	f.StringVar(&d.Backend.Sealed, "sealed", "", "the data are contents of sealed records, in this `file`")
	timeout := f.Duration("timeout", 0, "for one answer of --http; 60s without it")
	var paths list
	f.Var(&paths, "path", "what may be asked for, as `path?parameter=kind&…`; several times")
	return func(ctx context.Context, args []string) error {
		if len(args) != 2 || *published == "" || len(paths) == 0 {
			return usagef("want the configuration, a dataset, --published FOLDER and --path PATH")
		}
		var err error
		if d.Code, err = parseCode(args[1]); err != nil {
			return err
		}
		d.Backend.Timeout = share.Duration(*timeout)
		for _, x := range []struct {
			file string
			to   *string
		}{{"dataset.jsonld", &d.Document}, {"schema.json", &d.Schema}, {"policy.jsonld", &d.Policy}} {
			path := filepath.Join(*published, x.file)
			if _, err := os.Stat(path); err == nil {
				*x.to = path
			} else if !errors.Is(err, fs.ErrNotExist) || x.to == &d.Document {
				return hint(err, "cityid dataset publish --published %s writes the documents there", *published)
			}
		}
		for _, p := range paths {
			rule, err := pathRule(p)
			if err != nil {
				return err
			}
			d.Paths = append(d.Paths, rule)
		}
		for _, p := range []*string{&d.Document, &d.Schema, &d.Policy, &d.Backend.Files, &d.Backend.Sealed} {
			if err := besideConfig(args[0], p); err != nil {
				return err
			}
		}
		replaced := false
		err = changeGatewayConfig(ctx, args[0], func(c *share.Config) error {
			for i := range c.Datasets {
				if c.Datasets[i].Code == d.Code {
					c.Datasets[i], replaced = d, true
				}
			}
			if !replaced {
				c.Datasets = append(c.Datasets, d)
			}
			return nil
		})
		if err == nil {
			f.talk("%s provides %s%s; a gateway that runs reads it when it is started again", args[0], d.Code, map[bool]string{true: " in another way"}[replaced])
		}
		return err
	}
}

// besideConfig makes the path of a file, as the command took it, relative to the
// configuration, as the gateway takes it.
func besideConfig(config string, path *string) error {
	if *path == "" || filepath.IsAbs(*path) {
		return nil
	}
	base, err := filepath.Abs(filepath.Dir(config))
	if err != nil {
		return err
	}
	full, err := filepath.Abs(*path)
	if err != nil {
		return err
	}
	*path, err = filepath.Rel(base, full)
	return err
}

// pathRule parses "/observations?after=word&limit=integer".
func pathRule(text string) (share.PathRule, error) {
	path, query, has := strings.Cut(text, "?")
	rule := share.PathRule{Path: path}
	if !has {
		return rule, nil
	}
	rule.Query = map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		name, kind, ok := strings.Cut(part, "=")
		if _, twice := rule.Query[name]; !ok || twice {
			return rule, usagef("--path %q: want parameter=kind after the question mark, each once", text)
		}
		rule.Query[name] = kind
	}
	return rule, nil
}

func gatewayFollow(f *flags) func(context.Context, []string) error {
	var c share.FeedConfig
	every := f.Duration("every", 10*time.Second, "how often it asks for what is new")
	f.BoolVar(&c.Series, "series", false, "keep observations, to draw lines of them")
	stop := f.Bool("stop", false, "follow it no more")
	return func(ctx context.Context, args []string) error {
		if len(args) != 3 {
			return usagef("want the configuration, the id of an agreement and a path such as /observations")
		}
		var err error
		if c.Agreement, err = cityid.ParseDigest(args[1]); err != nil {
			return usageError{err}
		}
		c.Path, c.Every = args[2], share.Duration(*every)
		return changeGatewayConfig(ctx, args[0], func(to *share.Config) error {
			var feeds []share.FeedConfig
			found := false
			for _, x := range to.Feeds {
				if x.Agreement == c.Agreement && x.Path == c.Path {
					found = true
					continue
				}
				feeds = append(feeds, x)
			}
			switch {
			case *stop && !found:
				return usagef("%s does not follow %s under that agreement", args[0], c.Path)
			case *stop:
				f.talk("%s follows %s no more; a gateway that runs does so until it is started again", args[0], c.Path)
			default:
				feeds = append(feeds, c)
				f.talk("%s follows %s; a gateway that runs does so once it is started again", args[0], c.Path)
			}
			to.Feeds = feeds
			return nil
		})
	}
}
