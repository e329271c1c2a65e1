// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"bytes"
	"encoding/json"
	"strconv"

	"cityid"
)

// Bounds on a policy.
const (
	maxPurposes   = 16
	maxRecipients = 64
)

// What the profile adds to ODRL: its own name, and the units of counts. A day is
// a day of UTC.
const (
	PolicyProfile  = "urn:cityid:odrl:1"
	RequestsPerDay = "urn:cityid:unit:requests-per-day"
	OctetsPerDay   = "urn:cityid:unit:octets-per-day"
)

// Policy is a usage policy in the closed profile of ODRL that the package
// comment describes. It permits use; what is zero says nothing. In a dataset it
// stands as it is; published by itself it carries [PolicyContext].
type Policy struct {
	ID             string      // IRI: https, http or urn
	Assigner       Ref         // whose data it is
	From           cityid.Time // first moment of use
	Until          cityid.Time // first moment without
	Purposes       []Concept   // for one of these alone; each with a name
	Recipients     []Ref       // by these parties alone, and what lies below them
	Requests       uint64      // a day, at most
	Octets         uint64      // of answers' bodies a day, at most
	NoDistribution bool        // not to be passed on
	AttributeTo    Ref         // to be named as the source
	DeleteBy       cityid.Time // to be deleted by then
}

type (
	offerType   struct{}
	profileName struct{}
)

func (offerType) constant() any   { return "Offer" }
func (profileName) constant() any { return PolicyProfile }

// The JSON form.
type (
	policyForm struct {
		Context     json.RawMessage    `json:"@context,omitempty"`
		ID          string             `json:"@id"`
		Type        fixed[offerType]   `json:"@type"`
		Profile     fixed[profileName] `json:"profile"`
		Assigner    Ref                `json:"assigner"`
		Permission  []permissionForm   `json:"permission"`
		Prohibition []ruleForm         `json:"prohibition,omitempty"`
	}
	permissionForm struct {
		Action     string           `json:"action"`
		Constraint []constraintForm `json:"constraint,omitempty"`
		Duty       []dutyForm       `json:"duty,omitempty"`
	}
	ruleForm struct {
		Action string `json:"action"`
	}
	dutyForm struct {
		Action          string           `json:"action"`
		AttributedParty Ref              `json:"attributedParty,omitzero"`
		Constraint      []constraintForm `json:"constraint,omitempty"`
	}
	constraintForm struct {
		Left     string          `json:"leftOperand"`
		Operator string          `json:"operator"`
		Right    json.RawMessage `json:"rightOperand"`
		Unit     string          `json:"unit,omitempty"`
	}
	typedValue struct {
		Type  string `json:"@type"`
		Value string `json:"@value"`
	}
	reference struct {
		ID Ref `json:"@id"`
	}
)

// A constraintRule is one kind of constraint: how it is recognised, and how its
// right operand is written and read. present reports whether a policy has it.
type constraintRule struct {
	left, operator, unit string
	present              func(p *Policy) bool
	write                func(p *Policy) any
	read                 func(p *Policy, right []byte) error
}

// constraintRules are the constraints a permission may have, each at most once
// and in this order.
var constraintRules = []constraintRule{
	{"dateTime", "gteq", "", func(p *Policy) bool { return p.From != 0 },
		func(p *Policy) any { return timeValue(p.From) },
		func(p *Policy, b []byte) error { return readTime(b, &p.From) }},
	{"dateTime", "lt", "", func(p *Policy) bool { return p.Until != 0 },
		func(p *Policy) any { return timeValue(p.Until) },
		func(p *Policy, b []byte) error { return readTime(b, &p.Until) }},
	{"purpose", "isAnyOf", "", func(p *Policy) bool { return len(p.Purposes) > 0 },
		func(p *Policy) any { return p.Purposes },
		func(p *Policy, b []byte) error { return readList(b, &p.Purposes) }},
	{"recipient", "isPartOf", "", func(p *Policy) bool { return len(p.Recipients) > 0 },
		func(p *Policy) any {
			list := make([]reference, len(p.Recipients))
			for i, r := range p.Recipients {
				list[i].ID = r
			}
			return list
		},
		func(p *Policy, b []byte) error {
			var list []reference
			if err := readList(b, &list); err != nil {
				return err
			}
			for _, r := range list {
				p.Recipients = append(p.Recipients, r.ID)
			}
			return nil
		}},
	{"count", "lteq", RequestsPerDay, func(p *Policy) bool { return p.Requests != 0 },
		func(p *Policy) any { return countValue(p.Requests) },
		func(p *Policy, b []byte) error { return readCount(b, &p.Requests) }},
	{"count", "lteq", OctetsPerDay, func(p *Policy) bool { return p.Octets != 0 },
		func(p *Policy) any { return countValue(p.Octets) },
		func(p *Policy, b []byte) error { return readCount(b, &p.Octets) }},
}

const (
	typeDateTime = "xsd:dateTime"
	typeInteger  = "xsd:integer"
)

func timeValue(t cityid.Time) any { return typedValue{typeDateTime, t.String()} }

func countValue(n uint64) any { return typedValue{typeInteger, strconv.FormatUint(n, 10)} }

func readTime(b []byte, t *cityid.Time) error {
	var v typedValue
	if err := json.Unmarshal(b, &v); err != nil || v.Type != typeDateTime {
		return malformed(`want {"@type": %q, "@value": "2026-11-24T00:00:00Z"}`, typeDateTime)
	}
	if err := t.UnmarshalText([]byte(v.Value)); err != nil || *t == 0 {
		return malformed("time %.40q: want one as 2026-11-24T00:00:00Z", v.Value)
	}
	return nil
}

func readCount(b []byte, n *uint64) error {
	var v typedValue
	var c Count
	err := json.Unmarshal(b, &v)
	if err == nil {
		err = c.UnmarshalText([]byte(v.Value))
	}
	if err != nil || v.Type != typeInteger || c == 0 {
		return malformed(`want {"@type": %q, "@value": "1000"} with a number from 1`, typeInteger)
	}
	*n = uint64(c)
	return nil
}

func readList[T any](b []byte, list *[]T) error {
	if err := json.Unmarshal(b, list); err != nil || len(*list) == 0 {
		return malformed(`want a list of objects with "@id"`)
	}
	return nil
}

func constraint(left, operator, unit string, right any) (constraintForm, error) {
	b, err := json.Marshal(right)
	return constraintForm{Left: left, Operator: operator, Unit: unit, Right: b}, err
}

// form returns the policy's JSON form.
func (p *Policy) form() (policyForm, error) {
	use := permissionForm{Action: "use"}
	for _, r := range constraintRules {
		if !r.present(p) {
			continue
		}
		c, err := constraint(r.left, r.operator, r.unit, r.write(p))
		if err != nil {
			return policyForm{}, err
		}
		use.Constraint = append(use.Constraint, c)
	}
	if !p.AttributeTo.IsZero() {
		use.Duty = append(use.Duty, dutyForm{Action: "attribute", AttributedParty: p.AttributeTo})
	}
	if p.DeleteBy != 0 {
		c, err := constraint("dateTime", "lteq", "", timeValue(p.DeleteBy))
		if err != nil {
			return policyForm{}, err
		}
		use.Duty = append(use.Duty, dutyForm{Action: "delete", Constraint: []constraintForm{c}})
	}
	f := policyForm{ID: p.ID, Assigner: p.Assigner, Permission: []permissionForm{use}}
	if p.NoDistribution {
		f.Prohibition = []ruleForm{{"distribute"}}
	}
	return f, nil
}

// MarshalJSON writes the policy as it stands in a dataset.
func (p Policy) MarshalJSON() ([]byte, error) {
	f, err := p.form()
	if err != nil {
		return nil, err
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads a policy with or without context, and refuses everything
// outside the profile but unknown members, which [ParsePolicy] and
// [ParseDataset] refuse.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var f policyForm
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	q, err := f.policy()
	if err != nil {
		return err
	}
	*p = *q
	return nil
}

func (f *policyForm) policy() (*Policy, error) {
	p := &Policy{ID: f.ID, Assigner: f.Assigner}
	if len(f.Permission) != 1 || f.Permission[0].Action != "use" {
		return nil, malformed("policy: /permission: want one permission, with the action use")
	}
	last := -1
	for i, c := range f.Permission[0].Constraint {
		at := "/permission/0/constraint/" + strconv.Itoa(i)
		k := c.rule()
		if k < 0 {
			return nil, malformed("policy: %s: %.20q %.20q is no constraint of the profile: from (dateTime gteq), until (dateTime lt), purpose (isAnyOf), recipient (isPartOf), requests or octets a day (count lteq)", at, c.Left, c.Operator)
		}
		if k <= last {
			return nil, malformed("policy: %s: constraints stand in the order from, until, purpose, recipient, requests, octets, each once at most", at)
		}
		last = k
		if err := constraintRules[k].read(p, c.Right); err != nil {
			return nil, malformed("policy: %s/rightOperand: %s", at, message(err))
		}
	}
	if err := f.duties(p); err != nil {
		return nil, err
	}
	switch {
	case len(f.Prohibition) == 0:
	case len(f.Prohibition) == 1 && f.Prohibition[0].Action == "distribute":
		p.NoDistribution = true
	default:
		return nil, malformed("policy: /prohibition: want one prohibition, with the action distribute, or none")
	}
	return p, nil
}

// rule returns the index of the constraint's rule, -1 if there is none.
func (c *constraintForm) rule() int {
	for i, r := range constraintRules {
		if c.Left == r.left && c.Operator == r.operator && c.Unit == r.unit {
			return i
		}
	}
	return -1
}

func (f *policyForm) duties(p *Policy) error {
	for i, d := range f.Permission[0].Duty {
		at := "/permission/0/duty/" + strconv.Itoa(i)
		switch {
		case d.Action == "attribute" && i == 0 && len(d.Constraint) == 0 && !d.AttributedParty.IsZero():
			p.AttributeTo = d.AttributedParty
		case d.Action == "delete" && p.DeleteBy == 0 && len(d.Constraint) == 1 && d.AttributedParty.IsZero():
			c := d.Constraint[0]
			if c.Left != "dateTime" || c.Operator != "lteq" || c.Unit != "" {
				return malformed("policy: %s/constraint/0: data is deleted by a date: dateTime lteq", at)
			}
			if err := readTime(c.Right, &p.DeleteBy); err != nil {
				return malformed("policy: %s/constraint/0/rightOperand: %s", at, message(err))
			}
		default:
			return malformed("policy: %s: want attribute with attributedParty, then delete with one constraint, each once at most", at)
		}
	}
	return nil
}

// Encode returns the canonical bytes of the policy as it is published by itself;
// the chain holds their [Digest]. It refuses a policy that breaks a rule of form.
func (p *Policy) Encode() ([]byte, error) {
	if err := p.check(""); err != nil {
		return nil, err
	}
	f, err := p.form()
	if err != nil {
		return nil, err
	}
	b, err := canonical("policy", f, MaxDocument)
	if err != nil {
		return nil, err
	}
	return withContext("policy", policyContext, b, MaxDocument)
}

// ParsePolicy reads a policy that somebody wrote, as [ParseDataset] reads a
// dataset.
func ParsePolicy(b []byte) (*Policy, error) {
	var f policyForm
	given, err := decode("policy", b, MaxDocument, &f)
	if err != nil {
		return nil, err
	}
	if f.Context != nil && !bytes.Equal(f.Context, policyContext) {
		return nil, malformed("policy: /@context is not the fixed one: leave it out")
	}
	p, err := f.policy()
	if err != nil {
		return nil, err
	}
	understood, err := p.Encode()
	if err != nil {
		return nil, err
	}
	if err := same("policy", given, understood); err != nil {
		return nil, err
	}
	return p, nil
}

// ParsePublishedPolicy reads a published policy, and refuses bytes that are not
// what [Policy.Encode] would write.
func ParsePublishedPolicy(b []byte) (*Policy, error) {
	p, err := ParsePolicy(b)
	if err != nil {
		return nil, err
	}
	if again, err := p.Encode(); err != nil || !bytes.Equal(again, b) {
		return nil, malformed("policy: is not in canonical form: encode it again")
	}
	return p, nil
}

// check reports the first value that breaks a rule of form.
func (p *Policy) check(path string) error {
	if p.ID == "" {
		return invalid(path+"/@id", "is missing: want the IRI of the policy")
	}
	if err := checkIRI(path+"/@id", p.ID, "https", "http", "urn"); err != nil {
		return err
	}
	if p.Assigner.IsZero() {
		return invalid(path+"/assigner", "is missing: want the IRI of whose data it is")
	}
	for _, t := range []cityid.Time{p.From, p.Until, p.DeleteBy} {
		if !t.Valid() {
			return invalid(path, "a time is outside the years 1970 to 9999")
		}
	}
	if p.From != 0 && p.Until != 0 && p.Until <= p.From {
		return invalid(path, "use ends before it begins")
	}
	if p.Requests > 1<<63-1 || p.Octets > 1<<63-1 {
		return invalid(path, "a count is beyond what any day holds")
	}
	if len(p.Purposes) > maxPurposes || len(p.Recipients) > maxRecipients {
		return invalid(path, "at most %d purposes and %d recipients", maxPurposes, maxRecipients)
	}
	return p.checkLists(path)
}

func (p *Policy) checkLists(path string) error {
	purposes := map[string]bool{}
	for i := range p.Purposes {
		c, at := &p.Purposes[i], path+": purpose "+strconv.Itoa(i)
		if err := c.check(at); err != nil {
			return err
		}
		if len(c.Label) == 0 || purposes[c.ID] {
			return invalid(at, "has no name, or stands there twice")
		}
		purposes[c.ID] = true
	}
	recipients := map[Ref]bool{}
	for i, r := range p.Recipients {
		if r.IsZero() || recipients[r] {
			return invalid(path+": recipient "+strconv.Itoa(i), "is empty, or stands there twice")
		}
		recipients[r] = true
	}
	return nil
}

// Admits reports why the terms of an agreement are not covered by the policy: who
// the consumer is, from and until when, and how many requests and octets a day;
// nil if they are.
func (p *Policy) Admits(t *cityid.Terms) error {
	refuse := func(format string, args ...any) error { return cityid.Errorf(cityid.ErrNotPermitted, format, args...) }
	admitted := len(p.Recipients) == 0
	for _, r := range p.Recipients {
		admitted = admitted || t.Consumer.Within(r.code)
	}
	switch {
	case !admitted:
		return refuse("the policy names recipients, and %s is none of them nor below one", t.Consumer)
	case t.From < p.From:
		return refuse("the policy permits use from %s", p.From)
	case p.Until != 0 && (t.Until == 0 || t.Until > p.Until):
		return refuse("the policy permits use until %s", p.Until)
	case p.Requests != 0 && (t.Requests == 0 || t.Requests > p.Requests):
		return refuse("the policy permits %d requests a day", p.Requests)
	case p.Octets != 0 && (t.Octets == 0 || t.Octets > p.Octets):
		return refuse("the policy permits %d octets a day", p.Octets)
	}
	return nil
}
