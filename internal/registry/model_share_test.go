// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"cityid"
)

// modelDatasets are the datasets the model plays with, by the city above each.
var modelDatasets = map[string]string{"MA.156.1301": "MA.156.1301/40.010101/1", "MA.156.1302": "MA.156.1302/40.010101/1"}

// modelSharing is what the model knows of shared data.
type modelSharing struct {
	describes  map[string]string // dataset -> class and text of its description
	agreements []*modelAgreement
	logs       map[string][]string // party -> texts of the batches of its log
}

type modelAgreement struct {
	name              string
	dataset, consumer string
	text              string // of the description
	state             string
	respond, until    cityid.Time
	endedBy           string
}

// at returns how the agreement reads at a time.
func (a *modelAgreement) at(now cityid.Time) string {
	switch {
	case a.state == "requested" && now >= a.respond:
		return "lapsed"
	case a.state == "granted" && now >= a.until:
		return "expired"
	}
	return a.state
}

// holder returns whose policy governs a code.
func (m *model) holder(code string) string {
	for ; code != ""; code = m.above(code) {
		if m.records[code].policy != nil {
			return code
		}
	}
	return ""
}

// share says whether the registry will accept a step about shared data, and
// does it.
func (m *model) share(s step) bool {
	switch s.what {
	case "describe":
		if !m.changeable(s.code, s.rev) || !m.met(s.code, s.by) {
			return false
		}
		if m.describes == nil {
			m.describes = map[string]string{}
		}
		m.describes[s.code] = s.names
		m.records[s.code].revision++
		return true
	case "request":
		x := &modelAgreement{name: fmt.Sprint("a", s.n), dataset: s.code, consumer: s.heir, text: s.names, state: "requested", respond: s.terms.Respond, until: s.terms.Until}
		if m.records[s.heir] == nil || !m.met(s.heir, s.by) || !m.agreeable(x) || x.respond <= m.now || x.until < x.respond {
			return false
		}
		m.agreements = append(m.agreements, x)
		return true
	case "anchor":
		log := m.logs[s.code]
		if !m.met(s.code, s.by) || s.n != len(log)+1 {
			return false
		}
		if m.logs == nil {
			m.logs = map[string][]string{}
		}
		m.logs[s.code] = append(log, s.names)
		return true
	}
	return m.decide(s)
}

// agreeable reports whether terms fit the dataset, and both sides can act.
func (m *model) agreeable(a *modelAgreement) bool {
	class, text := "", ""
	if d := m.describes[a.dataset]; d != "" {
		class, text = d[:1], d[2:]
	}
	return (class == "o" || class == "c") && text == a.text && m.governing(a.dataset) != nil && m.governing(a.consumer) != nil
}

// decide grants, refuses or revokes.
func (m *model) decide(s step) bool {
	if s.n > len(m.agreements) {
		return false
	}
	a := m.agreements[s.n-1]
	state, byHolder := a.at(m.now), m.met(a.dataset, s.by)
	switch s.what {
	case "grant", "refuse":
		if state != "requested" || !byHolder || s.what == "grant" && !m.agreeable(a) {
			return false
		}
		a.state = map[string]string{"grant": "granted", "refuse": "refused"}[s.what]
		return true
	}
	byConsumer := m.met(a.consumer, s.by)
	switch {
	case state == "granted" && byHolder:
		a.endedBy = m.holder(a.dataset)
	case (state == "granted" || state == "requested") && byConsumer:
		a.endedBy = a.consumer
	default:
		return false
	}
	a.state = "revoked"
	return true
}

// sharing draws a step about shared data.
func (g *generator) sharing() step {
	s := step{code: modelDatasets[pick(g.Rand, []string{"MA.156.1301", "MA.156.1302"})]}
	s.what = pick(g.Rand, []string{"describe", "request", "request", "request", "grant", "grant", "refuse", "revoke", "anchor"})
	switch s.what {
	case "describe":
		s.rev = g.m.records[s.code].revision
		s.names = pick(g.Rand, []string{"o one", "c one", "c one", "c two", "x one"})
		s.by = g.signers(s.code)
	case "request":
		s.n, s.heir, s.names = len(g.m.agreements)+1, g.code(), "one"
		if d := g.m.describes[s.code]; d != "" && g.IntN(8) > 0 {
			s.names = d[2:]
		}
		for range 4 { // rather one that is there
			if g.m.records[s.heir] == nil {
				s.heir = g.code()
			}
		}
		s.by = g.signers(s.heir)
		s.terms.Respond = g.m.now + cityid.Time(g.IntN(10*day))
		s.terms.Until = s.terms.Respond + cityid.Time(g.IntN(10*day))
	case "anchor":
		s.code = g.code()
		s.n, s.names, s.by = len(g.m.logs[s.code])+1, fmt.Sprint("batch ", g.IntN(1000)), g.signers(s.code)
		if g.IntN(8) == 0 {
			s.n = 1 + g.IntN(3)
		}
	default:
		s.n = 1
		if n := len(g.m.agreements); n > 0 {
			s.n += max(0, n-1-g.IntN(6))
		}
		s.by = g.signers(s.code)
		if s.n <= len(g.m.agreements) {
			a := g.m.agreements[s.n-1]
			s.code, s.by = a.dataset, g.signers(a.dataset)
			if s.what == "revoke" && g.IntN(2) == 0 {
				s.by = g.signers(a.consumer)
			}
		}
	}
	return s
}

// sharingText is the step in the notation of the scenarios.
func (s *step) sharingText() string {
	since := func(t cityid.Time) string { return fmt.Sprint(int64(t-genesisTime), "s") }
	switch s.what {
	case "describe":
		class := map[byte]string{'o': "open", 'c': "conditional", 'x': "closed"}[s.names[0]]
		return fmt.Sprintf("amend %s rev=%d zh=集 class=%s describes=%s", s.code, s.rev, class, s.names[2:])
	case "request":
		return fmt.Sprintf("request %s %s as=a%d describes=%s from=1s respond=%s until=%s", s.code, s.heir, s.n, s.names, since(s.terms.Respond), since(s.terms.Until))
	case "anchor":
		return fmt.Sprintf("anchor %s main %q seq=%d", s.code, s.names, s.n)
	default:
		return fmt.Sprintf("%s a%d dataset=%s", s.what, s.n, s.code)
	}
}

// sharingDiffers compares all agreements and anchors with those of the registry.
func (m *model) sharingDiffers(r Reader) string {
	var inState []string
	r.Scan([]byte{'g'}, []byte{'g' + 1}, func(_, raw []byte) bool {
		var a cityid.Agreement
		if err := cityid.Unmarshal(raw, &a); err != nil {
			inState = append(inState, err.Error())
			return true
		}
		inState = append(inState, fmt.Sprintf("%s %s %x %s by %s", a.Terms.Dataset, a.Terms.Consumer, a.Terms.Nonce[:], a.StateAt(m.now), a.EndedBy))
		return true
	})
	var inModel []string
	for _, a := range m.agreements {
		h := sha256.Sum256([]byte(a.name))
		inModel = append(inModel, fmt.Sprintf("%s %s %x %s by %s", a.dataset, a.consumer, h[:16], a.at(m.now), a.endedBy))
	}
	slices.Sort(inState)
	slices.Sort(inModel)
	if !slices.Equal(inState, inModel) {
		return fmt.Sprintf("agreements %q, not %q", inState, inModel)
	}
	for party, log := range m.logs {
		var head cityid.AnchorHead
		newWork(r, Block{}, nil, nil).load(cityid.AnchorHeadKey(cityid.MustParse(party), "main"), &head)
		if head.Sequence != uint64(len(log)) || head.Root != sha256.Sum256([]byte(log[len(log)-1])) {
			return fmt.Sprintf("the log of %s ends with batch %d, not %d", party, head.Sequence, len(log))
		}
	}
	return ""
}
