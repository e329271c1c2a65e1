// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cityid"
	"cityid/verify"
)

// Inspection is one thing that was looked at before a gateway is started.
type Inspection struct {
	Subject string `json:"subject"` // what was looked at
	Good    bool   `json:"good"`
	Detail  string `json:"detail"` // what was found, or what is wrong and what to do
}

// Inspect holds a configuration against the chain and the backends: whether the
// party's policy names the key and its record links to the gateway, and whether
// each dataset is the party's, is served with the documents that its record
// names, and has a backend that can be opened.
func Inspect(ctx context.Context, cfg *Config, key cityid.PublicKey, v *View, now time.Time) []Inspection {
	var out []Inspection
	add := func(subject string, err error, good string) {
		i := Inspection{Subject: subject, Good: err == nil, Detail: good}
		if err != nil {
			i.Detail = err.Error()
		}
		out = append(out, i)
	}
	codes := []cityid.Code{cfg.Party}
	for i := range cfg.Datasets {
		codes = append(codes, cfg.Datasets[i].Code)
	}
	for i, code := range codes {
		p, record, at, err := v.party(ctx, code)
		if err == nil && i == 0 {
			add("party "+code.String(), inspectParty(&p, cfg, key, cityid.TimeOf(now)), fmt.Sprintf("its policy names the key and it links to %s, as of height %d", cfg.URL, at.Height))
			continue
		}
		if err == nil && i > 0 {
			err = inspectDataset(&cfg.Datasets[i-1], &p, record, cfg.Party)
		}
		add("dataset "+code.String(), err, "served as its record says")
	}
	return out
}

func inspectParty(p *Party, cfg *Config, key cityid.PublicKey, now cityid.Time) error {
	if p.Holder != cfg.Party && p.Bar == "" {
		return fmt.Errorf("%s has no policy of its own: %s governs it, so let the gateway act for that", cfg.Party, p.Holder)
	}
	if err := p.Key(key, now); err != nil {
		return fmt.Errorf("%w: add the key with role gateway to the policy, by a rekey", err)
	}
	if !slices.Contains(p.Links, cfg.URL) {
		return fmt.Errorf("no record from %s upwards links to %s with the relation %q: amend the record", cfg.Party, cfg.URL, RelGateway)
	}
	return nil
}

func inspectDataset(c *DatasetConfig, p *Party, r *cityid.Record, party cityid.Code) error {
	switch {
	case p.Bar != "":
		return cityid.Errorf(cityid.ErrStatus, "%s", p.Bar)
	case p.Holder != party:
		return fmt.Errorf("%s holds it, not %s", p.Holder, party)
	case r.Kind != cityid.KindDataset || r.Content.Dataset == nil:
		return fmt.Errorf("its record describes no shared data yet: cityid dataset publish does")
	}
	d, err := openDataset(c)
	if err != nil {
		return err
	}
	have, want := d.digests(), *r.Content.Dataset
	for _, x := range []struct {
		what       string
		have, want cityid.Digest
	}{
		{"description", have.Document, want.Document}, {"schema", have.Schema, want.Schema}, {"policy", have.Policy, want.Policy},
	} {
		if x.have != x.want {
			return fmt.Errorf("its %s has digest %s, and the record names %s: publish the one that is served", x.what, orNone(x.have), orNone(x.want))
		}
	}
	return nil
}

func orNone(d cityid.Digest) string {
	if d.IsZero() {
		return "none"
	}
	return d.String()
}

// party proves who governs a code now.
func (v *View) party(ctx context.Context, code cityid.Code) (p Party, record *cityid.Record, at cityid.AsOf, err error) {
	var keys [][]byte
	for c, apex := code, v.Trust().Statement.Zone; apex == c || apex.Covers(c); c = c.Parent() {
		keys = append(keys, cityid.RecordKey(c))
	}
	if len(keys) == 0 {
		return p, nil, at, cityid.Errorf(cityid.ErrNotFound, "%s is outside the zone of %s", code, v.Trust().Statement.Zone)
	}
	for range verify.MaxEntries {
		keys = sortKeys(keys)
		r, _, err := v.Entries(ctx, keys, time.Hour)
		if err != nil {
			return p, nil, at, err
		}
		f := finder{result: r, known: map[cityid.Code]*cityid.Record{}}
		p = f.party(code)
		if f.err != nil {
			return p, nil, at, f.err
		}
		if record = f.record(code); len(f.missing) == 0 {
			if record == nil {
				return p, nil, at, cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
			}
			return p, record, r.AsOf, nil
		}
		if keys = append(keys, f.missing...); len(keys) > verify.MaxEntries {
			break
		}
	}
	return p, nil, at, cityid.Errorf(cityid.ErrUnavailable, "the records above %s can not be read", code)
}
