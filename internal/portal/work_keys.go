// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/describe"
)

// The page of a code's own policy: whose keys decide, and how many. Every change
// is one rekey, which the policy in force signs.

// workKeys is what the page shows.
type workKeys struct {
	*workAt
	Form       workForm
	Own        *cityid.Policy // nil: governed from above
	Members    []memberView
	Thresholds []int
	Need       int // members that must agree
	Roles      []roleView
	TestKeys   []TestKey
	RPID       string
	Warnings   []string
}

type memberView struct {
	Index  int
	Number int    // as people count
	Code   *place // a code that votes by its own policy
	Keys   []policyKey
	Lonely bool
}

type policyKey struct {
	Key     cityid.PublicKey
	Text    string
	Roles   string
	From    cityid.Time
	Until   cityid.Time
	Tag     tag
	You, On bool
}

type roleView struct {
	Value, Text string
	Chosen      bool
}

// keyRoles are the roles that the form offers.
var keyRoles = []cityid.Roles{cityid.RoleControl, cityid.RoleAssert, cityid.RoleField, cityid.RoleGateway, cityid.RoleIntake, cityid.RoleEncrypt}

func (pg *page) keysOf(at *workAt, f workForm) (*workKeys, error) {
	data := &workKeys{workAt: at, Form: f, Own: at.Record.Policy, TestKeys: pg.testKeys(), RPID: pg.rpID()}
	data.Form.Set("revision", fmtRevision(at.Record.Revision))
	for _, r := range keyRoles {
		chosen := f.Has("role", r.String()) || len(f.Values["role"]) == 0 && r == cityid.RoleControl
		data.Roles = append(data.Roles, roleView{r.String(), describe.Roles(pg.Lang, r), chosen})
	}
	if data.Own == nil {
		return data, nil
	}
	data.Need = int(data.Own.Threshold)
	now := cityid.TimeOf(at.Answer.AsOf.Time)
	hosts := map[string]bool{}
	for i := range data.Own.Members {
		m := &data.Own.Members[i]
		data.Thresholds = append(data.Thresholds, i+1)
		view := memberView{Index: i, Number: i + 1, Lonely: m.Code.IsZero() && lonelyMember(m, now)}
		if !m.Code.IsZero() {
			c, err := pg.placeAt(m.Code)
			if err != nil {
				return nil, err
			}
			view.Code = &c
			hosts["code "+m.Code.String()] = true
		}
		for j := range m.Keys {
			k := &m.Keys[j]
			view.Keys = append(view.Keys, pg.policyKey(k, now))
			if host := k.Public.RPID(); host != "" {
				hosts[host] = true
			} else {
				hosts[string(k.Public)] = true
			}
		}
		data.Members = append(data.Members, view)
	}
	if data.Own.Threshold >= 2 && len(hosts) == 1 {
		data.Warnings = append(data.Warnings, pg.T("work.policy.warn.host"))
	}
	if data.Own.Threshold == 1 && len(data.Own.Members) == 1 {
		data.Warnings = append(data.Warnings, pg.T("work.policy.warn.alone"))
	}
	return data, nil
}

func (pg *page) policyKey(k *cityid.Key, now cityid.Time) policyKey {
	v := policyKey{Key: k.Public, Text: describe.Key(pg.Lang, k.Public), Roles: describe.Roles(pg.Lang, k.Roles), From: k.From, Until: k.Until, You: k.Public == pg.Key()}
	switch v.On = k.Holds(k.Roles, now); {
	case k.Compromised != 0:
		v.Tag = tag{pg.T("work.policy.stolen"), "bad", "✕"}
	case v.On:
		v.Tag = tag{pg.T("work.policy.on"), "good", "✓"}
	case k.From > now:
		v.Tag = tag{pg.T("work.policy.later"), "plain", "○"}
	default:
		v.Tag = tag{pg.T("work.policy.ended"), "plain", "■"}
	}
	return v
}

func (p *portal) workKeys(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayWork(w, r, at); !ok || err != nil {
		return err
	}
	data, err := pg.keysOf(at, workForm{url.Values{}})
	if err != nil {
		return err
	}
	return pg.showKeys(w, r, http.StatusOK, data)
}

func (pg *page) showKeys(w http.ResponseWriter, r *http.Request, status int, data *workKeys) error {
	pg.Title = pg.T("work.policy.title", data.Name)
	return pg.render(w, r, status, "work_policy", data)
}

// workKeysSend makes the change of the policy that the form asks for.
func (p *portal) workKeysSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayWork(w, r, at); !ok || err != nil {
		return err
	}
	f := formOf(r)
	status := http.StatusUnprocessableEntity
	var next *cityid.Policy
	if pg.stale(at, f) {
		status = http.StatusConflict
	} else {
		next = pg.nextPolicy(at, f, r)
	}
	if len(pg.Errors) > 0 {
		data, err := pg.keysOf(at, f)
		if err != nil {
			return err
		}
		return pg.showKeys(w, r, status, data)
	}
	rekey := &cityid.Rekey{Code: at.Code(), Revision: at.Record.Revision, Policy: next}
	return pg.signPolicy(w, r, pg.T("work.policy.sign", at.Name), at.URL+"/policy", rekey)
}

// nextPolicy is the policy after the change that a form asks for. What can not
// be is refused beside its field.
func (pg *page) nextPolicy(at *workAt, f workForm, r *http.Request) *cityid.Policy {
	now := cityid.TimeOf(at.Answer.AsOf.Time)
	policy := new(cityid.Policy)
	if at.Record.Policy != nil {
		if err := cityid.Unmarshal(cityid.MustMarshal(at.Record.Policy), policy); err != nil { // a copy
			pg.refuseField("", pg.refusal(err))
			return nil
		}
	}
	switch f.Get("do") {
	case "add":
		pg.addKey(policy, f, r, now)
	case "end", "stolen":
		_, k := findKey(policy, pg.namedKey(f))
		switch {
		case k == nil:
			pg.refuseField("", pg.T("work.policy.gone"))
		case f.Get("do") == "stolen":
			k.Compromised = now
		case k.From >= now:
			pg.refuseField("", pg.T("work.policy.notyet"))
		default:
			k.Until = now
		}
	case "drop":
		i, err := strconv.Atoi(f.Get("member"))
		if err != nil || i < 0 || i >= len(policy.Members) {
			pg.refuseField("", pg.T("work.policy.gone"))
			return nil
		}
		policy.Members = slices.Delete(policy.Members, i, i+1)
		policy.Threshold = uint8(min(int(policy.Threshold), max(1, len(policy.Members))))
	case "threshold":
		n, err := strconv.ParseUint(f.Get("threshold"), 10, 8)
		if err != nil || n < 1 || int(n) > len(policy.Members) {
			pg.refuseField("threshold", pg.T("work.policy.threshold.bad", len(policy.Members)))
			return nil
		}
		policy.Threshold = uint8(n)
	case "inherit":
		return nil
	default:
		pg.refuseField("", pg.T("work.policy.what"))
	}
	if len(pg.Errors) == 0 {
		if err := policy.Check(); err != nil {
			pg.refuseField("key", pg.refusal(err))
		}
	}
	return policy
}

func (pg *page) namedKey(f workForm) cityid.PublicKey {
	var k cityid.PublicKey
	if err := k.UnmarshalText([]byte(f.Text("which"))); err != nil {
		return ""
	}
	return k
}

// addKey puts a key into the policy: beside those of a member, or as a member of
// its own.
func (pg *page) addKey(policy *cityid.Policy, f workForm, r *http.Request, now cityid.Time) {
	var roles cityid.Roles
	if err := roles.UnmarshalText([]byte(strings.Join(f.Values["role"], ","))); err != nil {
		pg.refuseField("roles", pg.T("work.policy.roles.none"))
		return
	}
	text := pg.chosenKey(r)
	if text == "" {
		pg.refuseField("key", pg.T("officers.key.none"))
		return
	}
	key := cityid.Key{Roles: roles, From: now}
	pg.readKey("key", text, roles&cityid.RoleEncrypt == 0, &key.Public)
	if _, there := findKey(policy, key.Public); there != nil {
		pg.refuseField("key", pg.T("officers.key.there"))
	}
	if len(pg.Errors) > 0 {
		return
	}
	if f.Get("member") == "new" || len(policy.Members) == 0 {
		policy.Members = append(policy.Members, cityid.Member{Keys: []cityid.Key{key}})
		policy.Threshold = max(1, policy.Threshold)
		return
	}
	i, err := strconv.Atoi(f.Get("member"))
	if err != nil || i < 0 || i >= len(policy.Members) || !policy.Members[i].Code.IsZero() {
		pg.refuseField("member", pg.T("work.policy.gone"))
		return
	}
	policy.Members[i].Keys = append(policy.Members[i].Keys, key)
}
