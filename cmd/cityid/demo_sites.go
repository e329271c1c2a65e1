// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"cityid"
	"cityid/internal/office"
	"cityid/internal/portal"
	"cityid/keys"
)

// The demo serves the pages of three institutions at once, each with an office
// of its own: the first at localhost, the others at b.localhost and c.localhost,
// which browsers also take for this machine. Passkeys are bound to a host, and
// no decision of several counts if one host could have asked for all of it.
var demoHosts = []string{"localhost", "b.localhost", "c.localhost"}

// demoLoopback is where the demo's offices send evidence: to one another on this
// machine.
var demoLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// openSites opens the index, the offices and the pages of the institutions.
func (d *demo) openSites(ctx context.Context) ([]site, error) {
	x, stop, err := openIndex(ctx, d.folder.file("index.sqlite"), d.network.nodes[0], d.folder.log)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, func() error { stop(); return nil })
	d.search = x
	k, stopData, err := (&catalogueConfig{Private: true}).open(ctx, d.folder.file("catalogue.sqlite"), d.address, d.network.nodes[0], d.folder.log)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, func() error { stopData(); return nil })
	d.data = k
	test, err := d.testKeys()
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(d.address)
	if err != nil {
		return nil, err
	}
	intake, err := d.folder.signer(institute(0, "intake"))
	if err != nil {
		return nil, err
	}
	locals := map[cityid.Code]string{}
	for _, s := range d.sharers {
		locals[s.code] = s.local()
	}
	gateways, err := portal.NewHTTPGateways(locals)
	if err != nil {
		return nil, err
	}
	var out []site
	for i, host := range demoHosts {
		o, err := office.Open(ctx, office.Options{Dir: d.folder.file("office-" + "abc"[i:i+1])})
		if err != nil {
			return nil, fmt.Errorf("office of institute %s: %w", "ABC"[i:i+1], err)
		}
		d.closers = append(d.closers, o.Close)
		if err := d.enterOfficers(ctx, o, i); err != nil {
			return nil, err
		}
		origin := "http://" + host
		if port := base.Port(); port != "" {
			origin += ":" + port
		}
		evidence, err := d.folder.key(institute(i, "encrypt"), keys.X25519)
		if err != nil {
			return nil, err
		}
		c := portal.Config{
			Source: d.network.nodes[0], Index: x, Catalogue: k, Office: o, Origin: origin, Public: d.public, Demo: true,
			Name:   map[string]string{"zh": "城市标识 · 演示研究院" + []string{"甲", "乙", "丙"}[i], "en": "cityid · Demo Institute " + "ABC"[i:i+1]},
			Limits: portal.NewLimits(), TestKeys: test, Example: demoExample, Log: d.folder.log,
			Gateways: gateways, Member: demoInstitutes[i], EvidenceKey: evidence, DeliverTo: demoLoopback,
		}
		if i == 0 { // at A applications reach the chain by themselves; at B and C a clerk brings them
			c.Intake = &intake
			for _, s := range d.sharers { // and the officers of the cities that share data work there
				k, err := d.folder.key(s.name+"-encrypt", keys.X25519)
				if err != nil {
					return nil, err
				}
				c.PurposeKeys = append(c.PurposeKeys, k)
			}
		}
		h, err := portal.New(c)
		if err != nil {
			return nil, err
		}
		stop := runPortal(ctx, h, d.folder.log)
		d.closers = append(d.closers, func() error { stop(); return nil })
		d.origins = append(d.origins, origin)
		out = append(out, site{host: host, pages: h})
	}
	return out, nil
}

// demoExample is a place that is not among the cities of the demo: Xiong'an New
// Area, founded in 2017, whose number in GB/T 2260 is 133100.
var demoExample = &portal.Example{
	Kind:    cityid.KindCity,
	Names:   map[string]string{"zh": "雄安新区", "en": "Xiong'an New Area"},
	Aliases: map[string]string{"gb2260": "133100"},
	Lat:     "39.0431", Lon: "115.9038",
}

// enterOfficers writes into an institute's list whose the keys of its policy are.
func (d *demo) enterOfficers(ctx context.Context, o *office.Office, i int) error {
	have, err := o.Officers(ctx)
	if err != nil || len(have) > 0 {
		return err
	}
	for n, name := range []string{"审核员一", "审核员二"} {
		s, err := d.folder.signer(institute(i, fmt.Sprint(n+1)))
		if err != nil {
			return err
		}
		_, err = o.AddOfficer(ctx, office.Officer{
			Name: "演示" + name, Staff: fmt.Sprintf("%s-%03d", "ABC"[i:i+1], n+1), Key: s.Key, Member: demoInstitutes[i], From: d.began,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// testKeys are the officers' keys that the pages offer to everybody.
func (d *demo) testKeys() ([]portal.TestKey, error) {
	var out []portal.TestKey
	add := func(name, zh, en string) error {
		s, err := d.folder.signer(name)
		out = append(out, portal.TestKey{Name: name, Title: map[string]string{"zh": zh, "en": en}, Signer: s})
		return err
	}
	var errs []error
	for i := range demoInstitutes {
		zh, en := []string{"甲", "乙", "丙"}[i], "ABC"[i:i+1]
		errs = append(errs, add(institute(i, "1"), "研究院"+zh+"审核员一", "Institute "+en+", first officer"),
			add(institute(i, "2"), "研究院"+zh+"审核员二", "Institute "+en+", second officer"))
		if i > 0 { // A's intake works by itself
			errs = append(errs, add(institute(i, "intake"), "研究院"+zh+"受理员", "Institute "+en+", intake clerk"))
		}
	}
	errs = append(errs, add("applicant-1", "申请单位经办人一", "Applicant, first officer"), add("applicant-2", "申请单位经办人二", "Applicant, second officer"))
	errs = append(errs, add("shijiazhuang-1", "石家庄经办人一", "Shijiazhuang, first officer"), add("shijiazhuang-2", "石家庄经办人二", "Shijiazhuang, second officer"),
		add("tianjin-1", "天津经办人", "Tianjin, officer"),
		add("urban-1", "城管局经办人", "Urban management, officer"), add("traffic-1", "交通局经办人", "Traffic, officer"),
		add("urban-assert", "城管局签注密钥", "Urban management, assert key"), add("traffic-assert", "交通局签注密钥", "Traffic, assert key"),
		add("traffic-field", "交通局外勤人员", "Traffic, field worker"))
	return out, errors.Join(errs...)
}

// closeSites closes what openSites opened, the last first.
func (d *demo) closeSites() error {
	var err error
	for i := len(d.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, d.closers[i]())
	}
	d.closers = nil
	return err
}

// offices lets each institute's record say where its portal takes evidence, for as
// long as the demo stays there. The apex approves the hosts, as it would anybody's
// links.
func (d *demo) offices(ctx context.Context, _ *stepTalk) (string, error) {
	apex, err := d.local.Record(ctx, demoApex)
	if err != nil {
		return "", err
	}
	content := apex.Record.Content
	content.Hosts = slices.Clone(content.Hosts)
	content.Hosts = append(content.Hosts, demoHosts...)
	slices.Sort(content.Hosts)
	if content.Hosts = slices.Compact(content.Hosts); len(content.Hosts) > len(apex.Record.Content.Hosts) {
		var two []cityid.Signer
		for i := range 2 {
			s, err := d.folder.signer(institute(i, "1"))
			if err != nil {
				return "", err
			}
			two = append(two, s)
		}
		if err := d.amend(ctx, &apex.Record, content, two...); err != nil {
			return "", err
		}
	}
	for i, code := range demoInstitutes {
		a, err := d.local.Record(ctx, code)
		if err != nil {
			return "", err
		}
		content := a.Record.Content
		content.Links = slices.DeleteFunc(slices.Clone(content.Links), func(l cityid.Link) bool { return l.Rel == portal.RelOffice })
		content.Links = append(content.Links, cityid.Link{Rel: portal.RelOffice, Href: d.origins[i], Title: "portal"})
		if slices.EqualFunc(content.Links, a.Record.Content.Links, func(x, y cityid.Link) bool { return x.Rel == y.Rel && x.Href == y.Href }) {
			continue
		}
		officer, err := d.folder.signer(institute(i, "1"))
		if err != nil {
			return "", err
		}
		if err := d.amend(ctx, &a.Record, content, officer); err != nil {
			return "", err
		}
	}
	return "evidence handed in at one of them is sent to the others,\nin envelopes that only their keys open", nil
}

func (d *demo) amend(ctx context.Context, r *cityid.Record, content cityid.Content, signers ...cityid.Signer) error {
	_, err := d.submit(ctx, []cityid.Operation{{Amend: &cityid.Amend{Code: r.Code, Revision: r.Revision, Content: content}}}, signers...)
	return err
}
