// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"

	"cityid/internal/catalogue"
)

// catalogueConfig says whether and how a node harvests what cities share.
type catalogueConfig struct {
	Off         bool   // keep no catalogue
	Private     bool   // gateways may have loopback and private addresses, and speak http
	Authorities string // PEM file of further certificate authorities of gateways; "": none
}

func (c *catalogueConfig) setup(f *flags) {
	f.BoolVar(&c.Off, "no-catalogue", false, "do not harvest what cities share, and keep no catalogue of it")
	f.BoolVar(&c.Private, "private-gateways", false, "harvest gateways at loopback and private addresses too, also over http; for intranets and trials")
	f.StringVar(&c.Authorities, "gateway-authorities", "", "PEM `file` of certificate authorities to trust for gateways besides the system's")
}

// open opens the catalogue in a file and lets it harvest until stop. base is the
// address under which it is served.
func (c *catalogueConfig) open(ctx context.Context, path, base string, from catalogue.Source, log *slog.Logger) (*catalogue.Catalogue, func(), error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, nil, fmt.Errorf("address of the catalogue: %w", err)
	}
	pool, err := authorities(c.Authorities)
	if err != nil {
		return nil, nil, err
	}
	x, err := catalogue.Open(path, from, catalogue.Options{Base: u.Scheme + "://" + u.Host, Private: c.Private, Authorities: pool, Log: log})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := x.Run(ctx); err != nil && ctx.Err() == nil {
			log.Error("the catalogue stopped", "error", err)
		}
	}()
	return x, func() {
		cancel()
		<-done
		if err := x.Close(); err != nil {
			log.Error("the catalogue did not close", "error", err)
		}
	}, nil
}
