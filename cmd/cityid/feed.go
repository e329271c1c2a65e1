// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/feed"
	"cityid/internal/web"
)

func feedCommand() *command {
	return &command{
		name: "feed", short: "play a city's data platform: observations of water, energy, air and waste, the same on every machine",
		sub: []*command{
			{
				name: "serve", short: "answer over HTTP as the platform that stands behind a gateway",
				long: "The observations are computed, not stored: the same city and seed give the same ones everywhere. Without --start\nthe platform's clock is this machine's; with it, the clock shows that time when the command begins.",
				examples: []string{
					"cityid feed serve --city MA.156.1301 --seed 7",
					"cityid feed serve --city MA.156.1301 --seed 7 --start 2026-03-01T08:00:00Z --speed 60 --listen 127.0.0.1:8091",
				},
				setup: feedServe,
			},
			{
				name: "print", short: "print what such a platform releases in a time, as JSON lines",
				examples: []string{"cityid feed print --city MA.156.1301 --seed 7 --indicator 37120:2018:8.1 --from 2026-03-01 --to 2026-03-02 -o pm25.jsonl"},
				setup:    feedPrint,
			},
			{
				name: "stations", short: "list the codes of a platform's stations, as a table that code import takes",
				examples: []string{"cityid feed stations --city MA.156.1301 --stations 12 --format csv -o stations.csv"},
				setup:    feedStations,
			},
			{name: "indicators", short: "list what is observed, with units and periods", setup: feedIndicators},
		},
	}
}

// platform is the flags that choose a platform.
type platform struct {
	*flags
	city     string
	seed     uint64
	stations int
}

func (f *flags) platform() *platform {
	p := &platform{flags: f}
	f.StringVar(&p.city, "city", "", "`code` of the city, such as MA.156.1301")
	f.IntVar(&p.stations, "stations", feed.DefaultStations, "stations of each domain, 1 to 250; 140 make 1.2 million observations a day")
	return p
}

func (p *platform) withSeed() *platform {
	p.Uint64Var(&p.seed, "seed", 1, "`number` that all values follow from")
	return p
}

// config returns the configuration that the flags describe.
func (p *platform) config(args []string) (feed.Config, error) {
	c := feed.Config{Seed: p.seed, Stations: p.stations}
	if err := noArgs(args); err != nil {
		return c, err
	}
	if p.city == "" {
		return c, usagef("which city? give --city CODE")
	}
	if p.stations < 1 || p.stations > feed.MaxStations {
		return c, usagef("--stations %d: want 1 to %d", p.stations, feed.MaxStations)
	}
	var err error
	c.City, err = parseCode(p.city)
	return c, err
}

// open returns the platform of a configuration.
func (p *platform) open(c feed.Config) (*feed.Feed, error) {
	f, err := feed.New(c)
	if err != nil {
		return nil, usageError{err}
	}
	return f, nil
}

func feedServe(f *flags) func(context.Context, []string) error {
	p := f.platform().withSeed()
	address := f.String("listen", "127.0.0.1:8090", "`host:port` to answer at")
	start := f.String("start", "", "`time` that the platform's clock shows at the beginning (RFC 3339, or a day); this machine's without it")
	speed := f.Int("speed", 1, "seconds that pass for the platform in each second, 1 to 100000")
	since := f.String("since", "", "first `time` there are observations of; 00:00 UTC of the day before the start without it")
	level := f.String("log-level", "warn", "debug, info, warn or error")
	jsonLog := f.Bool("log-json", false, "write the log as JSON lines")
	return func(ctx context.Context, args []string) error {
		c, err := p.config(args)
		if err != nil {
			return err
		}
		if *speed < 1 || *speed > feed.MaxSpeed {
			return usagef("--speed %d: want 1 to %d", *speed, feed.MaxSpeed)
		}
		if c.Begin, err = parseTime(*since); err != nil {
			return err
		}
		begin, err := parseTime(*start)
		if err != nil {
			return err
		}
		if begin.IsZero() {
			begin = time.Now()
		}
		log, err := f.logger(*level, *jsonLog)
		if err != nil {
			return err
		}
		c.Now = feed.Clock(begin, *speed)
		d, err := p.open(c)
		if err != nil {
			return err
		}
		l, err := listen(ctx, *address)
		if err != nil {
			return err
		}
		f.greet(d, c, *speed, l.Addr())
		return web.Serve(ctx, web.NewServer(web.Wrap(d.Handler(), web.WrapConfig{Log: log}), web.Limits{}, log), l, nil, drain)
	}
}

// greet says what platform answers where.
func (f *flags) greet(d *feed.Feed, c feed.Config, speed int, a net.Addr) {
	base := publicAddress(a, false)
	f.talk("%s, seed %d, %s: observations since %s; the clock shows %s and goes %d times as fast as this machine's",
		c.City, c.Seed, count(len(d.Stations()), "station"), cityid.TimeOf(d.Begin()), cityid.TimeOf(d.Now()), speed)
	f.talk("answers at %s/observations, %s/latest and %s/schema.json", base, base, base)
}

func feedPrint(f *flags) func(context.Context, []string) error {
	p := f.platform().withSeed()
	indicator := f.String("indicator", "", "`identifier` of the one indicator to print, such as 37120:2018:8.1; all without it")
	from := f.String("from", "", "first `time` of release (RFC 3339 in whole minutes, or a day)")
	to := f.String("to", "", "`time` of release to end before")
	format := f.Lookup("format")
	f.format, format.DefValue, format.Usage = "jsonl", "jsonl", "jsonl, and nothing else"
	return func(ctx context.Context, args []string) error {
		c, err := p.config(args)
		if err != nil {
			return err
		}
		if f.format != "jsonl" {
			return usagef("--format %s: observations are printed as jsonl", f.format)
		}
		first, err := parseTime(*from)
		if err != nil {
			return err
		}
		last, err := parseTime(*to)
		if err != nil {
			return err
		}
		if first.IsZero() || last.IsZero() {
			return usagef("of what time? give --from and --to")
		}
		c.Begin = time.Unix(86400, 0) // this platform has always been there
		d, err := p.open(c)
		if err != nil {
			return err
		}
		list, err := d.Released(first, last, *indicator)
		if err != nil {
			return usageError{err}
		}
		return f.stream(func(to io.Writer) error {
			w := bufio.NewWriter(to)
			e := json.NewEncoder(w)
			for o := range list {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := e.Encode(&o); err != nil {
					return err
				}
			}
			return w.Flush()
		})
	}
}

func feedStations(f *flags) func(context.Context, []string) error {
	p := f.platform()
	return func(_ context.Context, args []string) error {
		c, err := p.config(args)
		if err != nil {
			return err
		}
		d, err := p.open(c)
		if err != nil {
			return err
		}
		t := &table{head: []string{"code", "name:zh", "name:en"}}
		for _, s := range d.Stations() {
			t.add(s, s.Code.String(), s.Names.Get("zh"), s.Names.Get("en"))
		}
		return f.print(t)
	}
}

func feedIndicators(f *flags) func(context.Context, []string) error {
	return func(_ context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		t := &table{head: []string{"indicator", "what", "unit", "minutes"}}
		for _, i := range feed.Indicators() {
			what := strings.TrimSpace(i.Labels.Get("zh") + "  " + i.Labels.Get("en"))
			t.add(i, i.ID, what, i.Unit, strconv.Itoa(i.Minutes))
		}
		return f.print(t)
	}
}
