// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"cityid"
)

// Defaults and bounds of [Config].
const (
	DefaultUnacknowledged = 256
	DefaultBatchTime      = 60 * time.Second
	DefaultBatchLeaves    = 10_000
	DefaultRetention      = 365 * 24 * time.Hour
	DefaultObservations   = 365 * 24 * time.Hour
	DefaultMaxBody        = 4 << 30
	DefaultInFlight       = 1024
	MaxDatasets           = 10_000
	MaxFeeds              = 1000
	MaxPaths              = 64
)

// Config says what a gateway is and what stands behind it. Backends come from
// here alone: nothing on the chain or in a request names an address that a
// gateway would fetch from.
type Config struct {
	Party  cityid.Code `json:"party"`  // for whom the gateway acts
	Log    string      `json:"log"`    // name of this instance's receipt log, among the party's
	URL    string      `json:"url"`    // where other gateways reach this one
	Listen string      `json:"listen"` // address for other gateways
	Local  string      `json:"local"`  // address for the city's own applications; loopback unless local_networks are given
	Data   string      `json:"data"`   // folder of the receipt log
	Key    string      `json:"key"`    // file of the gateway's ed25519 key
	Trust  string      `json:"trust"`  // file of the pinned trust root
	Nodes  []string    `json:"nodes"`  // addresses of nodes, asked in this order

	LocalNetworks []string `json:"local_networks,omitempty"` // networks from which applications may ask besides loopback
	Cert          string   `json:"cert,omitempty"`           // PEM files for TLS on listen
	CertKey       string   `json:"cert_key,omitempty"`
	Authorities   string   `json:"authorities,omitempty"`   // PEM file of further certificate authorities for peers and nodes
	PrivatePeers  bool     `json:"private_peers,omitempty"` // peers may have loopback and private addresses, and speak http there
	Instances     int      `json:"instances,omitempty"`     // of the party's gateways that share the quotas; default 1

	Datasets []DatasetConfig `json:"datasets,omitempty"` // what the gateway provides
	Feeds    []FeedConfig    `json:"feeds,omitempty"`    // what it subscribes to

	PublicDashboard bool `json:"public_dashboard,omitempty"` // everybody may read on a portal's pages what feeds bring; without it, the city's own officers

	Unacknowledged int      `json:"unacknowledged,omitempty"` // answers under an agreement that may wait for their acknowledgement; default 256
	BatchTime      Duration `json:"batch_time,omitempty"`     // a batch of receipts is closed after; default 60s
	BatchLeaves    int      `json:"batch_leaves,omitempty"`   // or with so many; default 10,000
	Retention      Duration `json:"retention,omitempty"`      // receipts and salts are erased after; default 8760h
	Observations   Duration `json:"observations,omitempty"`   // of feeds are removed so long after they were made; default 8760h
	MaxBody        int64    `json:"max_body,omitempty"`       // octets of one answer; default 4 GiB
	InFlight       int      `json:"in_flight,omitempty"`      // requests served at a time, a quarter of them for one address; default 1024
}

// DatasetConfig is a dataset that the gateway provides.
type DatasetConfig struct {
	Code     cityid.Code `json:"code"`
	Document string      `json:"document"`         // file of the DCAT document
	Schema   string      `json:"schema,omitempty"` // file of the JSON Schema
	Policy   string      `json:"policy,omitempty"` // file of the usage policy
	Backend  Backend     `json:"backend"`
	Paths    []PathRule  `json:"paths"` // what may be asked for
}

// Backend is where a dataset's data come from: exactly one is set.
type Backend struct {
	HTTP    string   `json:"http,omitempty"`    // address of a service, to which the path is appended
	Files   string   `json:"files,omitempty"`   // a folder
	Sealed  string   `json:"sealed,omitempty"`  // a file with contents of sealed records, one JSON object a line
	Timeout Duration `json:"timeout,omitempty"` // of one answer of a service; default 60s
}

// PathRule allows a path and its query parameters.
type PathRule struct {
	Path  string            `json:"path"`            // such as /latest, /stations/* (one segment) or /files/** (any rest)
	Query map[string]string `json:"query,omitempty"` // parameter -> integer, time, code, word, or a|b|c
}

// FeedConfig is a feed under an agreement that the gateway follows.
type FeedConfig struct {
	Agreement cityid.Digest `json:"agreement"`
	Path      string        `json:"path"`            // of the feed, such as /observations
	Every     Duration      `json:"every,omitempty"` // how often it asks; default 10s
	Series    bool          `json:"series,omitempty"`
}

// Duration is a time span in JSON as Go writes it, such as "60s".
type Duration time.Duration

// MarshalText returns the span as Go writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText parses what Go writes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// WithDefaults returns the configuration with its defaults filled in.
func (c Config) WithDefaults() Config {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.Unacknowledged, DefaultUnacknowledged)
	set(&c.BatchLeaves, DefaultBatchLeaves)
	set(&c.InFlight, DefaultInFlight)
	set(&c.Instances, 1)
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.BatchTime == 0 {
		c.BatchTime = Duration(DefaultBatchTime)
	}
	if c.Retention == 0 {
		c.Retention = Duration(DefaultRetention)
	}
	if c.Observations == 0 {
		c.Observations = Duration(DefaultObservations)
	}
	return c
}

// Check reports the first thing that is wrong with the configuration, defaults
// filled in.
func (c *Config) Check() error {
	u, err := url.Parse(c.URL)
	switch {
	case c.Party.IsZero():
		return fmt.Errorf("party: want the code for which the gateway acts")
	case !cityid.ValidLogName(c.Log):
		return fmt.Errorf("log %.40q: want 1 to %d lower-case letters, digits and hyphens", c.Log, cityid.MaxLogName)
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("url %.100q: want such as https://gateway.example.cn, without a path", c.URL)
	case u.Scheme == "http" && !c.PrivatePeers:
		return fmt.Errorf("url %s: want https; http is for private_peers alone", c.URL)
	case (c.Cert == "") != (c.CertKey == ""):
		return fmt.Errorf("cert and cert_key: want both or neither")
	case c.Listen == "" || c.Local == "" || c.Data == "" || c.Key == "" || c.Trust == "":
		return fmt.Errorf("listen, local, data, key and trust must be given")
	case len(c.Nodes) < 1 || len(c.Nodes) > 16:
		return fmt.Errorf("nodes: want 1 to 16 addresses")
	case len(c.Datasets) > MaxDatasets || len(c.Feeds) > MaxFeeds:
		return fmt.Errorf("at most %d datasets and %d feeds", MaxDatasets, MaxFeeds)
	}
	if _, err := c.Networks(); err != nil {
		return err
	}
	for _, n := range []struct {
		name           string
		v, least, most int64
	}{
		{"instances", int64(c.Instances), 1, 64}, {"unacknowledged", int64(c.Unacknowledged), 1, 1_000_000},
		{"batch_leaves", int64(c.BatchLeaves), 1, cityid.MaxBatch}, {"in_flight", int64(c.InFlight), 1, 10_000},
		{"max_body", c.MaxBody, 1, 1 << 40}, {"batch_time in seconds", int64(time.Duration(c.BatchTime) / time.Second), 1, 86400},
		{"retention in hours", int64(time.Duration(c.Retention) / time.Hour), 1, 100 * 8766},
		{"observations in hours", int64(time.Duration(c.Observations) / time.Hour), 1, 100 * 8766},
	} {
		if n.v < n.least || n.v > n.most {
			return fmt.Errorf("%s is %d: want %d to %d", n.name, n.v, n.least, n.most)
		}
	}
	seen := map[cityid.Code]bool{}
	for i := range c.Datasets {
		d := &c.Datasets[i]
		if d.Code.IsZero() || seen[d.Code] {
			return fmt.Errorf("dataset %d: want a code, each once", i)
		}
		seen[d.Code] = true
		if err := d.check(); err != nil {
			return fmt.Errorf("dataset %s: %w", d.Code, err)
		}
	}
	feeds := map[FeedConfig]bool{}
	for i := range c.Feeds {
		f := &c.Feeds[i]
		_, err := splitPath(f.Path)
		one := FeedConfig{Agreement: f.Agreement, Path: f.Path}
		if f.Agreement.IsZero() || err != nil || f.Every != 0 && time.Duration(f.Every) < time.Second {
			return fmt.Errorf("feed %d: want an agreement, a path such as /observations in its one form and without a query, and at least a second", i)
		}
		if feeds[one] {
			return fmt.Errorf("feed %d: %s under agreement %s is followed already", i, f.Path, f.Agreement)
		}
		feeds[one] = true
	}
	return nil
}

// Networks returns the networks from which applications may ask, loopback among
// them.
func (c *Config) Networks() ([]netip.Prefix, error) {
	out := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, s := range c.LocalNetworks {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("local_networks: %q: want such as 10.1.0.0/16", s)
		}
		out = append(out, p.Masked())
	}
	host, _, err := net.SplitHostPort(c.Local)
	if ip, bad := netip.ParseAddr(host); err != nil || len(c.LocalNetworks) == 0 && host != "localhost" && (bad != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("local %q: want a loopback address and port, unless local_networks say who may ask", c.Local)
	}
	return out, nil
}

func (d *DatasetConfig) check() error {
	n := 0
	for _, s := range []string{d.Backend.HTTP, d.Backend.Files, d.Backend.Sealed} {
		if s != "" {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("backend: want exactly one of http, files and sealed")
	}
	if d.Backend.HTTP != "" {
		u, err := url.Parse(d.Backend.HTTP)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("backend http %.100q: want an absolute address without query", d.Backend.HTTP)
		}
	}
	if d.Document == "" {
		return fmt.Errorf("document: want the file of its DCAT document")
	}
	if len(d.Paths) < 1 || len(d.Paths) > MaxPaths {
		return fmt.Errorf("paths: want 1 to %d", MaxPaths)
	}
	for i := range d.Paths {
		if err := d.Paths[i].check(); err != nil {
			return err
		}
	}
	return nil
}
