// SPDX-License-Identifier: Apache-2.0

// Package founding lets institutions that do not trust each other found a
// network together: from a plan that all of them read, and a part that each of
// them makes and signs, everybody comes to the same founding state, octet by
// octet, and compares its hash.
//
// # The plan
//
// A [Plan] is a JSON file that people write and edit. It says what the network
// is: its chain id, the moment it is founded, the apex and how many of those who
// have a seat there must agree, and each owner with the power of its validator.
//
//	{
//	  "version": 1,
//	  "chain": "cityid-ma-156-k3v9q2zd",
//	  "time": "2026-11-24T12:00:00Z",
//	  "zone": "MA.156",
//	  "names": {"en": "China", "zh": "中国"},
//	  "threshold": 3,
//	  "owners": [
//	    {"code": "MA.156.9001", "kind": "organisation", "seat": true, "power": 10},
//	    …
//	  ],
//	  "params": {…}, "rule": {…}, "schemes": […]
//	}
//
// Seats and validators are separate: who has a seat decides, who has power signs
// blocks, and an owner may have one without the other.
//
// # A part
//
// A [Part] is what one owner brings: its name, the first policy of its code, and
// its machine, known by the key that signs votes, the key that others reach it by,
// and an address. It names the chain, so that it serves no other network, and is
// signed over
//
//	SHA-256("cityid/part/1" || canonical CBOR of PartContent)
//
// by both keys of the machine and by every signing key of the policy: each proves
// that it is held, as in an application for a code. Officers in other places add
// their signatures to the file one after the other, in any order.
//
// # Assembly
//
// [Assemble] refuses what could not work or could be abused: an owner without a
// part, a key that stands in two places, an address nobody could reach. It
// refuses as well what makes a network unsafe ([Risk]), unless the plan says that
// its founders accept that. The result depends on the plan and the parts alone,
// not on their order.
//
// Nothing here reaches a network, a disk or a clock.
package founding

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cityid"
)

// Version is that of plans and parts.
const Version = 1

// Limits on what is read.
const (
	MaxPlan   = 8 << 20  // octets of a plan
	MaxPart   = 64 << 10 // octets of a part
	MaxOwners = 100      // owners of a plan
)

// Risk is a weakness of a network that its founders may accept, knowingly, by
// naming it in the plan.
type Risk string

// The risks.
const (
	// FewOwners: fewer than four owners have validators. One of them alone can
	// then stop the network, and if it is dishonest nobody can tell who lied.
	FewOwners Risk = "few-owners"
	// Third: one owner holds a third of the power or more. It alone can stop
	// the network, and its keys together with a few others can sign two
	// histories.
	Third Risk = "third"
)

// risks are all there are.
var risks = []Risk{FewOwners, Third}

// Plan says what a network is to be.
type Plan struct {
	Version   int            `json:"version"`   // 1
	Chain     string         `json:"chain"`     // chain id, with a random suffix and never used before
	Time      cityid.Time    `json:"time"`      // at which the network is founded; it may be past
	Zone      cityid.Code    `json:"zone"`      // the apex
	Names     cityid.Names   `json:"names"`     // of the apex
	Threshold int            `json:"threshold"` // how many of those with a seat must agree
	Owners    []Owner        `json:"owners"`    // 1 to MaxOwners, each once, in any order
	Recovery  *cityid.Policy `json:"recovery,omitempty"`

	// PrivateAddresses lets nodes have loopback and private addresses, for
	// networks inside one machine or one intranet.
	PrivateAddresses bool `json:"private_addresses,omitempty"`
	// Accept are the risks that the founders accept.
	Accept []Risk `json:"accept,omitempty"`

	Params  cityid.Params   `json:"params"`
	Rule    cityid.Rule     `json:"rule"`
	Schemes []cityid.Scheme `json:"schemes"`
}

// Owner is an institution that founds the network.
type Owner struct {
	Code  cityid.Code `json:"code"`  // below the apex
	Kind  cityid.Kind `json:"kind"`  // of its record
	Seat  bool        `json:"seat"`  // whether it is a member of the apex policy
	Power int64       `json:"power"` // of its validator, 1 to cityid.MaxPower; 0: it has none
}

// ParsePlan parses a plan and checks it.
func ParsePlan(text []byte) (*Plan, error) {
	var p Plan
	if err := parse(text, MaxPlan, &p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	return &p, nil
}

// Encode returns the plan's file.
func (p *Plan) Encode() ([]byte, error) { return encode(p) }

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Check reports the first thing wrong with a plan. What only the registry can
// judge, such as whether a code may stand below the apex, is left to it.
func (p *Plan) Check() error {
	switch {
	case p.Version != Version:
		return fmt.Errorf("plan: version %d is unknown: this program reads version %d", p.Version, Version)
	case !cityid.ValidChainID(p.Chain):
		return fmt.Errorf("plan: chain %.60q: want 1 to 50 letters, digits, dots or hyphens", p.Chain)
	case p.Time <= 0 || !p.Time.Valid():
		return errors.New("plan: time is missing; all nodes must begin at the same")
	case p.Zone.IsZero():
		return errors.New("plan: zone is missing: want the code of the apex, such as MA.156")
	case len(p.Owners) < 1 || len(p.Owners) > MaxOwners:
		return fmt.Errorf("plan: %d owners: want 1 to %d", len(p.Owners), MaxOwners)
	}
	seen, seats := map[cityid.Code]bool{}, 0
	for i, o := range p.Owners {
		switch {
		case o.Code.IsZero() || !o.Code.Within(p.Zone) || o.Code == p.Zone:
			return fmt.Errorf("plan: owner %d: code %q is not below the apex %s", i+1, o.Code, p.Zone)
		case seen[o.Code]:
			return fmt.Errorf("plan: owner %s stands there twice", o.Code)
		case !o.Kind.Valid():
			return fmt.Errorf("plan: owner %s: kind is missing, such as organisation", o.Code)
		case o.Power < 0 || o.Power > cityid.MaxPower:
			return fmt.Errorf("plan: owner %s: power %d: want 0 for no validator, or up to %d", o.Code, o.Power, cityid.MaxPower)
		case o.Power == 0 && !o.Seat:
			return fmt.Errorf("plan: owner %s has neither a seat nor a validator", o.Code)
		}
		seen[o.Code] = true
		if o.Seat {
			seats++
		}
	}
	if p.Threshold < 1 || p.Threshold > seats || seats > cityid.MaxMembers {
		return fmt.Errorf("plan: threshold %d of %d seats: want 1 to the number of seats, of which there may be %d", p.Threshold, seats, cityid.MaxMembers)
	}
	if p.power() == 0 {
		return errors.New("plan: no owner has a validator, so nobody would sign blocks")
	}
	for i, r := range p.Accept {
		if !slices.Contains(risks, r) || slices.Contains(p.Accept[:i], r) {
			return fmt.Errorf("plan: accept %.40q: want %s or %s, each once", r, FewOwners, Third)
		}
	}
	if p.Recovery != nil {
		if err := p.Recovery.Check(); err != nil {
			return fmt.Errorf("plan: recovery policy: %w", err)
		}
	}
	if err := p.Params.Check(); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if err := p.Rule.Check(); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	return nil
}

// Owner returns the owner with a code.
func (p *Plan) Owner(code cityid.Code) (Owner, bool) {
	i := slices.IndexFunc(p.Owners, func(o Owner) bool { return o.Code == code })
	if i < 0 {
		return Owner{}, false
	}
	return p.Owners[i], true
}

func (p *Plan) power() (total int64) {
	for _, o := range p.Owners {
		total += o.Power
	}
	return total
}

// parse decodes JSON strictly, and names the line of what is wrong where it is
// known.
func parse(text []byte, limit int, v any) error {
	if len(text) > limit {
		return fmt.Errorf("%d octets: at most %d", len(text), limit)
	}
	err := cityid.DecodeJSON(text, v)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", lineAt(text, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %s: want %s, not %s", lineAt(text, kind.Offset), kind.Field, kind.Type, kind.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		name = strings.TrimSuffix(name, `"`)
		if i := bytes.Index(text, []byte(`"`+name+`"`)); i >= 0 {
			return fmt.Errorf("line %d: there is no field %q", lineAt(text, int64(i)), name)
		}
	}
	return err
}

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(max(offset, 0), int64(len(text)))], []byte("\n"))
}
