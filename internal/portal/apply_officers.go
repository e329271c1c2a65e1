// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/describe"
	"cityid/keys"
)

// officersData is the list of officers and how many of them sign together.
type officersData struct {
	*draft
	Rows        []officerRow
	Thresholds  []int
	Unreachable bool // only passkeys of one host could meet the threshold
	Alone       bool // a single officer
	Locked      bool
	Words       []describe.Line
}

// officerRow is an officer as listed.
type officerRow struct {
	draftOfficer
	Index  int
	Keys   []keyRow
	Lonely bool // a single passkey: one lost device, and the officer is mute
}

type keyRow struct {
	Text, Role string
}

// officersPage lists the officers.
func (p *portal) officersPage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	return pg.showOfficers(w, r, http.StatusOK, d)
}

func (pg *page) showOfficers(w http.ResponseWriter, r *http.Request, status int, d *draft) error {
	policy := d.policy()
	data := &officersData{draft: d, Locked: d.File != nil, Unreachable: policyProblem(policy) == "unreachable", Alone: policy != nil && len(policy.Members) == 1}
	if data.Locked {
		data.Words = describe.Policy(pg.Lang, policy)
	}
	for i, o := range d.Officers {
		row := officerRow{draftOfficer: o, Index: i, Lonely: o.Key.RPID() != "" && (o.Second == "" || o.Second.RPID() == o.Key.RPID())}
		for _, k := range o.keys() {
			row.Keys = append(row.Keys, keyRow{describe.Key(pg.Lang, k.Public), describe.Roles(pg.Lang, k.Roles)})
		}
		data.Rows = append(data.Rows, row)
		data.Thresholds = append(data.Thresholds, i+1)
	}
	pg.Title = pg.T("apply.task.officers")
	return pg.render(w, r, status, "apply_officers", data)
}

// officersSave takes how many officers sign together.
func (p *portal) officersSave(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	if d.File == nil {
		n, err := strconv.Atoi(value(r, "threshold"))
		switch {
		case len(d.Officers) == 0:
			pg.refuseField("add-officer", pg.T("apply.officers.none"))
		case err != nil || n < 1 || n > len(d.Officers):
			pg.refuseField("threshold", pg.T("apply.officers.threshold.wrong", len(d.Officers)))
		default:
			d.Threshold = n
		}
		if len(pg.Errors) > 0 {
			return pg.showOfficers(w, r, http.StatusUnprocessableEntity, d)
		}
		if err := d.save(pg); err != nil {
			return err
		}
		if policyProblem(d.policy()) == "unreachable" {
			pg.refuseField("threshold", pg.T("apply.officers.unreachable.short"))
			return pg.showOfficers(w, r, http.StatusUnprocessableEntity, d)
		}
	}
	http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
	return nil
}

// officerData is the form for one officer.
type officerData struct {
	Officer  draftOfficer
	Index    string // "new", or which
	Typed    map[string]string
	TestKeys []TestKey
	RPID     string
}

// officerAt finds the officer that the address names; "new" is one more.
func (d *draft) officerAt(r *http.Request) (int, error) {
	s := r.PathValue("n")
	if s == "new" {
		return len(d.Officers), nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= len(d.Officers) {
		return 0, errNoPage
	}
	return n, nil
}

// officerPage asks for an officer's name and keys.
func (p *portal) officerPage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	n, err := d.officerAt(r)
	if err != nil || d.File != nil {
		return errNoPage
	}
	var o draftOfficer
	if n < len(d.Officers) {
		o = d.Officers[n]
	}
	return pg.showOfficer(w, r, http.StatusOK, o, map[string]string{
		"key": o.Key.String(), "second": o.Second.String(), "assert": o.Assert.String(), "encrypt": o.Encrypt.String(),
	})
}

func (pg *page) showOfficer(w http.ResponseWriter, r *http.Request, status int, o draftOfficer, typed map[string]string) error {
	for name, text := range typed {
		if text == "" || text == ":" {
			delete(typed, name)
		}
	}
	pg.Title = pg.T("apply.officer.title")
	return pg.render(w, r, status, "apply_officer", &officerData{o, r.PathValue("n"), typed, pg.testKeys(), pg.rpID()})
}

// officerSave takes an officer.
func (p *portal) officerSave(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	n, err := d.officerAt(r)
	if err != nil || d.File != nil {
		return errNoPage
	}
	if n == cityid.MaxMembers {
		return cityid.Errorf(cityid.ErrTooLarge, "a policy has at most %d members", cityid.MaxMembers)
	}
	typed := map[string]string{}
	o := draftOfficer{Name: pg.text(r, "name", 60, true), Staff: pg.text(r, "staff", 24, false)}
	for _, f := range []struct {
		name  string
		key   *cityid.PublicKey
		signs bool
	}{{"key", &o.Key, true}, {"second", &o.Second, true}, {"assert", &o.Assert, true}, {"encrypt", &o.Encrypt, false}} {
		typed[f.name] = value(r, f.name)
		if t := value(r, f.name+"-test"); t != "" && typed[f.name] == "" {
			typed[f.name] = pg.testKeyText(t)
		}
		pg.readKey(f.name, typed[f.name], f.signs, f.key)
	}
	if typed["key"] == "" {
		pg.refuseField("key", pg.T("apply.officer.key.none"))
	}
	pg.refuseRepeated(d, n, &o)
	if len(pg.Errors) > 0 {
		return pg.showOfficer(w, r, http.StatusUnprocessableEntity, o, typed)
	}
	if n == len(d.Officers) {
		d.Officers = append(d.Officers, o)
		d.Threshold = max(d.Threshold, 1)
		if len(d.Officers) == 2 {
			d.Threshold = 2 // two who sign together is what most want; the next page asks
		}
	} else {
		d.Officers[n] = o
	}
	if err := d.save(pg); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft/officers"), http.StatusSeeOther)
	return nil
}

func (p *portal) testKeyText(name string) string {
	for _, t := range p.TestKeys {
		if t.Name == name {
			return t.Signer.Key.String()
		}
	}
	return ""
}

// readKey parses a public key that must sign, or must receive.
func (pg *page) readKey(field, text string, signs bool, key *cityid.PublicKey) {
	if text == "" {
		return
	}
	public, err := keys.ParsePublicText(text)
	switch {
	case err != nil:
		pg.refuseField(field, pg.T("apply.officer.key.wrong"))
	case public.CanSign() != signs && signs:
		pg.refuseField(field, pg.T("apply.officer.key.mute"))
	case public.CanSign() != signs:
		pg.refuseField(field, pg.T("apply.officer.encrypt.wrong"))
	default:
		*key = cityid.PublicKey(public.Raw())
	}
}

// refuseRepeated refuses a key that stands twice in the policy.
func (pg *page) refuseRepeated(d *draft, n int, o *draftOfficer) {
	seen := map[cityid.PublicKey]bool{}
	for i := range d.Officers {
		if i != n {
			for _, k := range d.Officers[i].keys() {
				seen[k.Public] = true
			}
		}
	}
	for field, k := range map[string]cityid.PublicKey{"key": o.Key, "second": o.Second, "assert": o.Assert, "encrypt": o.Encrypt} {
		if k != "" && seen[k] {
			pg.refuseField(field, pg.T("apply.officer.key.twice"))
		}
		seen[k] = true
	}
}

// officerRemove takes an officer off the list.
func (p *portal) officerRemove(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	n, err := d.officerAt(r)
	if err != nil || n == len(d.Officers) || d.File != nil {
		return errNoPage
	}
	d.Officers = slices.Delete(d.Officers, n, n+1)
	d.Threshold = max(1, min(d.Threshold, len(d.Officers)))
	if err := d.save(pg); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft/officers"), http.StatusSeeOther)
	return nil
}

// Key returns the text of one of the fields for keys.
func (o *officerData) Key(name string) string { return strings.TrimSpace(o.Typed[name]) }
