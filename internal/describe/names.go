// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"strings"

	"cityid"
)

// Kind, Status, Reason, Roles, ProposalState, AgreementState and DatasetClass name a value of a
// closed list. A value this version does not know has its number for a name.

// Kind names a kind.
func Kind(lang string, k cityid.Kind) string { return in(lang).kind(k) }

// Status names a status.
func Status(lang string, v cityid.Status) string { return in(lang).name("status", v.String()) }

// Reason names the reason of a change of status; none is empty.
func Reason(lang string, v cityid.Reason) string { return in(lang).name("reason", v.String()) }

// Roles names a set of roles.
func Roles(lang string, r cityid.Roles) string { return in(lang).roles(r) }

// ProposalState names where a proposal stands.
func ProposalState(lang string, v cityid.ProposalState) string {
	return in(lang).name("state", v.String())
}

// AgreementState names how an agreement reads.
func AgreementState(lang string, v cityid.AgreementState) string {
	return in(lang).name("agreement", v.String())
}

// DatasetClass names under which conditions a dataset is shared.
func DatasetClass(lang string, v cityid.DatasetClass) string {
	return in(lang).name("class", v.String())
}

func (s *speech) name(list, value string) string {
	if value == "" {
		return ""
	}
	if entry, ok := dictionary[list+"/"+value]; ok {
		return entry[s.language]
	}
	return Text(value)
}

func (s *speech) kind(k cityid.Kind) string { return s.name("kind", k.String()) }

// article is a kind's name as something is called one.
func (s *speech) article(k cityid.Kind) string {
	name := s.kind(k)
	if s.language == zh {
		return name
	}
	if strings.ContainsAny(name[:1], "aeiou") {
		return "an " + name
	}
	return "a " + name
}

func (s *speech) roles(r cityid.Roles) string {
	const known = cityid.RoleControl | cityid.RoleAssert | cityid.RoleGateway | cityid.RoleField | cityid.RoleIntake | cityid.RoleEncrypt
	var out []string
	for one := cityid.RoleControl; one <= cityid.RoleEncrypt; one <<= 1 {
		if r&one != 0 {
			out = append(out, s.name("role", one.String()))
		}
	}
	if rest := r &^ known; rest != 0 {
		out = append(out, s.words("role-unknown", uint8(rest)))
	}
	if len(out) == 0 {
		return s.words("role-none")
	}
	return strings.Join(out, s.words("comma"))
}
