// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// Who signs for an institution is known to the chain as keys. Which person has
// which key, and from when to when, is kept here. A change of officers is one
// operation on the institution's policy, which its members sign like any other;
// the list follows when the chain has recorded it.

// officersPageData is the list of officers.
type officersPageData struct {
	At         place
	Rows       []officerLine
	Past       []officerLine
	Unknown    []keyLine // keys of the policy that are nobody's here
	Changes    []changeLine
	Lonely     bool // somebody has one credential alone
	MayControl bool
	Typed      map[string]string
}

type officerLine struct {
	office.Officer
	Fingerprint string
	Tag         tag
	Lonely      bool   // no second credential of another host or kind speaks for the same member
	URL         string // of the hand-over; "": has none
}

type keyLine struct {
	Key  cityid.PublicKey
	Text string
}

type changeLine struct {
	office.OfficerChange
	Leaves      string
	Fingerprint string
}

// officerList lists the officers.
func (p *portal) officerList(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := p.settleOfficers(r.Context()); err != nil {
		return err
	}
	return pg.showOfficerList(w, r, http.StatusOK, map[string]string{})
}

func (pg *page) showOfficerList(w http.ResponseWriter, r *http.Request, status int, typed map[string]string) error {
	all, err := pg.Office.Officers(pg.ctx)
	if err != nil {
		return err
	}
	policy, now, err := pg.policyOf(pg.Member)
	if err != nil {
		return err
	}
	data := &officersPageData{Typed: typed, MayControl: pg.deskRoles()&cityid.RoleControl != 0}
	if data.At, err = pg.placeAt(pg.Member); err != nil {
		return err
	}
	known := map[cityid.PublicKey]bool{}
	names := map[int64]string{}
	for _, f := range all {
		names[f.ID] = f.Name
		line := officerLine{Officer: f, Fingerprint: describe.Fingerprint(f.Key)}
		if !f.To.IsZero() && !f.To.After(time.Now()) {
			data.Past = append(data.Past, line)
			continue
		}
		known[f.Key] = true
		m, k := findKey(policy, f.Key)
		switch {
		case k == nil:
			line.Tag = tag{pg.T("officers.tag.absent"), "bad", "✕"}
		case !k.Holds(cityid.RoleControl, now):
			line.Tag = tag{pg.T("officers.tag.later"), "warn", "‖"}
		default:
			line.Tag = tag{pg.T("officers.tag.ok"), "good", "✓"}
			line.Lonely = lonelyMember(m, now)
			data.Lonely = data.Lonely || line.Lonely
			line.URL = pg.URL("/officers/", strconv.FormatInt(f.ID, 10), "/hand-over")
		}
		data.Rows = append(data.Rows, line)
	}
	if policy != nil {
		for i := range policy.Members {
			for _, k := range policy.Members[i].Keys {
				if k.Holds(cityid.RoleControl, now) && !known[k.Public] {
					data.Unknown = append(data.Unknown, keyLine{k.Public, describe.Key(pg.Lang, k.Public)})
				}
			}
		}
	}
	changes, err := pg.Office.OfficerChanges(pg.ctx)
	if err != nil {
		return err
	}
	for _, c := range changes {
		data.Changes = append(data.Changes, changeLine{c, names[c.Leaves], describe.Fingerprint(c.Comes.Key)})
	}
	pg.Title = pg.T("officers.title")
	return pg.render(w, r, status, "officers", data)
}

// findKey finds a key in a policy, and the member it belongs to.
func findKey(policy *cityid.Policy, key cityid.PublicKey) (*cityid.Member, *cityid.Key) {
	if policy == nil {
		return nil, nil
	}
	for i := range policy.Members {
		m := &policy.Members[i]
		for j := range m.Keys {
			if m.Keys[j].Public == key {
				return m, &m.Keys[j]
			}
		}
	}
	return nil, nil
}

// lonelyMember reports whether a member can be spoken for by one key alone, or by
// passkeys of one host alone: one lost device, or one lost site, and it is mute.
func lonelyMember(m *cityid.Member, now cityid.Time) bool {
	places := map[string]bool{}
	for i := range m.Keys {
		k := &m.Keys[i]
		if !k.Holds(cityid.RoleControl, now) || k.Until != 0 {
			continue
		}
		if host := k.Public.RPID(); host != "" {
			places["host "+host] = true
		} else {
			places["key "+string(k.Public)] = true
		}
	}
	return len(places) < 2
}

// officerAdd enters who has a key that stands in the policy.
func (p *portal) officerAdd(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	typed := map[string]string{"name": value(r, "name"), "staff": value(r, "staff"), "key": value(r, "key")}
	f := office.Officer{Name: pg.text(r, "name", 60, true), Staff: pg.text(r, "staff", 24, false), Member: p.Member, From: time.Now()}
	pg.readKey("key", typed["key"], true, &f.Key)
	policy, _, err := pg.policyOf(p.Member)
	if err != nil {
		return err
	}
	if _, k := findKey(policy, f.Key); k == nil && len(pg.Errors) == 0 {
		pg.refuseField("key", pg.T("officers.key.absent"))
	}
	if len(pg.Errors) == 0 {
		if _, err := p.Office.AddOfficer(r.Context(), f); errors.Is(err, office.ErrConflict) || errors.Is(err, office.ErrInvalid) {
			pg.refuseField("key", pg.T("officers.key.taken"))
		} else if err != nil {
			return err
		}
	}
	if len(pg.Errors) > 0 {
		return pg.showOfficerList(w, r, http.StatusUnprocessableEntity, typed)
	}
	http.Redirect(w, r, pg.URL("/officers"), http.StatusSeeOther)
	return nil
}

// handOverData is the form for a hand-over.
type handOverData struct {
	Officer     office.Officer
	Fingerprint string
	Typed       map[string]string
	TestKeys    []TestKey
	RPID        string
}

// leaving finds the officer that the address names, who must be in office.
func (pg *page) leaving(r *http.Request) (office.Officer, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return office.Officer{}, errNoPage
	}
	all, err := pg.Office.Officers(pg.ctx)
	if err != nil {
		return office.Officer{}, err
	}
	for _, f := range all {
		if f.ID == id && f.At(time.Now()) {
			return f, nil
		}
	}
	return office.Officer{}, errNoPage
}

// handOverPage asks who comes for an officer who leaves.
func (p *portal) handOverPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	f, err := pg.leaving(r)
	if err != nil {
		return err
	}
	return pg.showHandOver(w, r, http.StatusOK, f, map[string]string{})
}

func (pg *page) showHandOver(w http.ResponseWriter, r *http.Request, status int, f office.Officer, typed map[string]string) error {
	pg.Title = pg.T("officers.over.title", f.Name)
	return pg.render(w, r, status, "officers_over", &handOverData{f, describe.Fingerprint(f.Key), typed, pg.testKeys(), pg.rpID()})
}

// handOver makes the operation that lets one key end and another begin, and has it
// signed.
func (p *portal) handOver(w http.ResponseWriter, r *http.Request, pg *page) error {
	f, err := pg.leaving(r)
	if err != nil {
		return err
	}
	if err := parseForm(w, r); err != nil {
		return err
	}
	typed := map[string]string{"name": value(r, "name"), "staff": value(r, "staff"), "key": pg.chosenKey(r), "from": value(r, "from")}
	next := office.Officer{Name: pg.text(r, "name", 60, true), Staff: pg.text(r, "staff", 24, false), Member: p.Member, From: time.Now().Truncate(time.Second)}
	pg.readKey("key", typed["key"], true, &next.Key)
	if typed["key"] == "" {
		pg.refuseField("key", pg.T("officers.key.none"))
	}
	if typed["from"] != "" {
		day, err := time.ParseInLocation(time.DateOnly, typed["from"], beijing)
		switch {
		case err != nil || day.After(time.Now().AddDate(1, 0, 0)):
			pg.refuseField("from", pg.T("officers.from.wrong"))
		case day.After(next.From):
			next.From = day
		}
	}
	rekey, err := pg.replaceKey(f.Key, next.Key, cityid.TimeOf(next.From))
	if err != nil {
		return err
	}
	if len(pg.Errors) > 0 {
		return pg.showHandOver(w, r, http.StatusUnprocessableEntity, f, typed)
	}
	if err := p.Office.NoteOfficerChange(r.Context(), office.OfficerChange{Leaves: f.ID, Comes: next}); err != nil {
		return officeError(err)
	}
	return pg.signPolicy(w, r, pg.T("officers.over.sign", f.Name, next.Name), pg.URL("/officers"), rekey)
}

// chosenKey returns a key as typed, or the test key that was chosen instead.
func (pg *page) chosenKey(r *http.Request) string {
	typed := value(r, "key")
	if t := value(r, "key-test"); t != "" && typed == "" {
		typed = pg.testKeyText(t)
	}
	return typed
}

// signPolicy has a change of a policy signed, by the visitor alone or as a
// proposal.
func (pg *page) signPolicy(w http.ResponseWriter, r *http.Request, title, next string, rekey *cityid.Rekey) error {
	ops, err := pg.decide(rekey.Code, "", cityid.Operation{Rekey: rekey})
	if err != nil {
		return err
	}
	return pg.sign(w, r, title, next, ops...)
}

// replaceKey is the change of this institution's policy in which a key ends and
// another begins in its place, with the same roles.
func (pg *page) replaceKey(leaves, comes cityid.PublicKey, at cityid.Time) (*cityid.Rekey, error) {
	return pg.changePolicy(pg.Member, comes, at, func(policy *cityid.Policy) *cityid.Member {
		m, k := findKey(policy, leaves)
		if k == nil {
			pg.refuseField("key", pg.T("officers.leaves.absent"))
			return nil
		}
		m.Keys = append(m.Keys, cityid.Key{Public: comes, Roles: k.Roles, From: at})
		if _, k = findKey(policy, leaves); k.Until == 0 || k.Until > at {
			k.Until = at
		}
		return m
	})
}

// changePolicy makes the change of a code's own policy that change does to a copy
// of it. What can not be is refused beside the field "key".
func (pg *page) changePolicy(code cityid.Code, comes cityid.PublicKey, at cityid.Time, change func(*cityid.Policy) *cityid.Member) (*cityid.Rekey, error) {
	a, err := pg.Source.Record(pg.ctx, code)
	if err != nil {
		return nil, err
	}
	if a.Record.Policy == nil {
		return nil, cityid.Errorf(cityid.ErrPolicy, "%s has no policy of its own", code)
	}
	if len(pg.Errors) > 0 {
		return nil, nil
	}
	var policy cityid.Policy // a copy, whatever the source shares
	if err := cityid.Unmarshal(cityid.MustMarshal(a.Record.Policy), &policy); err != nil {
		return nil, err
	}
	if _, k := findKey(&policy, comes); k != nil {
		pg.refuseField("key", pg.T("officers.key.there"))
		return nil, nil
	}
	now := cityid.TimeOf(a.AsOf.Time)
	m := change(&policy)
	if m == nil {
		return nil, nil
	}
	if len(m.Keys) > cityid.MaxKeys { // those that ended make place; the chain's history keeps them
		m.Keys = slices.DeleteFunc(m.Keys, func(k cityid.Key) bool { return k.Until != 0 && k.Until <= now && k.Until != at })
	}
	if err := policy.Check(); err != nil {
		pg.refuseField("key", pg.refusal(err))
		return nil, nil
	}
	return &cityid.Rekey{Code: code, Revision: a.Record.Revision, Policy: &policy}, nil
}

// credentialData is the form for another key of somebody who signs already.
type credentialData struct {
	Places    []placeChoice
	Typed     map[string]string
	TestKeys  []TestKey
	RPID      string
	Own       string // fingerprint of the key signed in with
	Elsewhere bool   // the key is a passkey of this host: the next one should be elsewhere
}

// placeChoice is a policy in which the visitor's key stands.
type placeChoice struct {
	place
	Checked bool
}

// credentialPage offers to add a key for the same member as the visitor's.
func (p *portal) credentialPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	return pg.showCredential(w, r, http.StatusOK, map[string]string{"code": r.URL.Query().Get("code")})
}

func (pg *page) showCredential(w http.ResponseWriter, r *http.Request, status int, typed map[string]string) error {
	data := &credentialData{Typed: typed, TestKeys: pg.testKeys(), RPID: pg.rpID(), Own: describe.Key(pg.Lang, pg.Key()), Elsewhere: pg.Key().RPID() == pg.rpID()}
	for _, h := range pg.Holdings() {
		if h.Roles&cityid.RoleControl == 0 {
			continue
		}
		at, err := pg.placeAt(h.Code)
		if err != nil {
			return err
		}
		data.Places = append(data.Places, placeChoice{at, h.Code.String() == typed["code"] || len(pg.Holdings()) == 1})
	}
	pg.Title = pg.T("officers.second.title")
	return pg.render(w, r, status, "officers_second", data)
}

// credentialAdd makes the operation that adds a key beside the visitor's own, and
// has it signed.
func (p *portal) credentialAdd(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	typed := map[string]string{"code": value(r, "code"), "key": pg.chosenKey(r)}
	code, err := cityid.Parse(typed["code"])
	if err != nil || !pg.controls(code, cityid.RoleControl) {
		pg.refuseField("code", pg.T("officers.second.code"))
	}
	var comes cityid.PublicKey
	pg.readKey("key", typed["key"], true, &comes)
	if typed["key"] == "" {
		pg.refuseField("key", pg.T("officers.key.none"))
	}
	var rekey *cityid.Rekey
	if len(pg.Errors) == 0 {
		rekey, err = pg.changePolicy(code, comes, 0, func(policy *cityid.Policy) *cityid.Member {
			m, k := findKey(policy, pg.Key())
			if k == nil {
				pg.refuseField("code", pg.T("officers.second.code"))
				return nil
			}
			m.Keys = append(m.Keys, cityid.Key{Public: comes, Roles: k.Roles})
			return m
		})
		if err != nil {
			return err
		}
	}
	if len(pg.Errors) > 0 {
		return pg.showCredential(w, r, http.StatusUnprocessableEntity, typed)
	}
	next := pg.URL("/account")
	if code == p.Member && pg.atDesk() {
		if f, err := p.Office.OfficerByKey(r.Context(), pg.Key(), time.Now()); err == nil {
			next = pg.URL("/officers")
			same := office.Officer{Name: f.Name, Staff: f.Staff, Key: comes, Member: code, From: time.Now()}
			if err := p.Office.NoteOfficerChange(r.Context(), office.OfficerChange{Comes: same}); err != nil {
				return officeError(err)
			}
		} else if !errors.Is(err, office.ErrNotFound) {
			return err
		}
	}
	return pg.signPolicy(w, r, pg.T("officers.second.sign", strings.TrimSpace(code.String())), next, rekey)
}

// settleOfficers carries out in the list what the chain has recorded.
func (p *portal) settleOfficers(ctx context.Context) error {
	changes, err := p.Office.OfficerChanges(ctx)
	if err != nil {
		return err
	}
	for _, c := range changes {
		a, err := p.Source.Record(ctx, c.Comes.Member)
		if errors.Is(err, cityid.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if _, k := findKey(a.Record.Policy, c.Comes.Key); k == nil {
			continue
		}
		err = p.Office.CarryOutOfficerChange(ctx, c.ID)
		if errors.Is(err, office.ErrConflict) || errors.Is(err, office.ErrInvalid) {
			p.Log.Warn("a change of officers does not fit the list: it is left as it is", "key", describe.Fingerprint(c.Comes.Key), "error", err)
			err = p.Office.DropOfficerChange(ctx, c.ID)
		}
		if err != nil && !errors.Is(err, office.ErrNotFound) {
			return err
		}
	}
	return nil
}
