// SPDX-License-Identifier: Apache-2.0

package dcat_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/internal/dcat"
)

func ref(t testing.TB, code string) dcat.Ref {
	t.Helper()
	r, err := dcat.NewRef("id.example", cityid.MustParse(code))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func policyBytes(t testing.TB, p *dcat.Policy) []byte {
	t.Helper()
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fullPolicy has every term.
func fullPolicy(t testing.TB) *dcat.Policy {
	return &dcat.Policy{
		ID: "https://gateway.example/policies/1", Assigner: ref(t, "MA.156.1301"), From: 1_800_000_000, Until: 1_900_000_000,
		Purposes: []dcat.Concept{
			{ID: "https://purposes.example/health", Label: cityid.NamesOf(map[string]string{"en": "health", "zh": "卫生"})},
			{ID: "urn:cityid:scheme:purposes:2", Label: cityid.NamesOf(map[string]string{"zh-CN": "研究"})},
		},
		Recipients: []dcat.Ref{ref(t, "MA.156.1302"), ref(t, "MA.156.13")}, Requests: 1000, Octets: 1 << 40,
		NoDistribution: true, AttributeTo: ref(t, "MA.156.1301"), DeleteBy: 2_000_000_000,
	}
}

// TestPolicyRoundTrip reads back what it wrote, with each term left out in turn.
func TestPolicyRoundTrip(t *testing.T) {
	for name, change := range map[string]func(p *dcat.Policy){
		"all":        func(*dcat.Policy) {},
		"nothing":    func(p *dcat.Policy) { *p = dcat.Policy{ID: "urn:x:1", Assigner: p.Assigner} },
		"from":       func(p *dcat.Policy) { p.From = 0 },
		"until":      func(p *dcat.Policy) { p.Until = 0 },
		"purposes":   func(p *dcat.Policy) { p.Purposes = nil },
		"recipients": func(p *dcat.Policy) { p.Recipients = nil },
		"requests":   func(p *dcat.Policy) { p.Requests = 0 },
		"octets":     func(p *dcat.Policy) { p.Octets = 1<<63 - 1 },
		"distribute": func(p *dcat.Policy) { p.NoDistribution = false },
		"attribute":  func(p *dcat.Policy) { p.AttributeTo = dcat.Ref{} },
		"delete":     func(p *dcat.Policy) { p.DeleteBy = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			p := fullPolicy(t)
			change(p)
			b := policyBytes(t, p)
			back, err := dcat.ParsePublishedPolicy(b)
			if err != nil {
				t.Fatalf("%v in %s", err, b)
			}
			if diff := cmp.Diff(p, back, compareRefs); diff != "" {
				t.Error(diff)
			}
			if _, err := dcat.ParsePublishedPolicy(append(b, ' ')); err == nil {
				t.Error("a blank at the end was read")
			}
		})
	}
}

// TestPolicyDigest pins the bytes of a policy with every term.
func TestPolicyDigest(t *testing.T) {
	const want = "c4b4635cdf42ca9655e9b892f6dd44d3b1c0beb97294bea04ff1f3df2467650a"
	if got := dcat.Digest(policyBytes(t, fullPolicy(t))).String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestPolicyInDataset checks that a dataset commits to the policy's own bytes.
func TestPolicyInDataset(t *testing.T) {
	d := airQuality(t)
	digest := dcat.Digest(policyBytes(t, d.Policy()))
	if !bytes.Contains(encoded(t, d), []byte(`"checksumValue":"`+digest.String()+`"`)) {
		t.Error("the policy's digest does not stand in the dataset")
	}
}

const smallPolicy = `{"@id": "https://x.example/p", "@type": "Offer", "profile": "urn:cityid:odrl:1",
 "assigner": "https://id.example/MA.156.1301", "permission": [{"action": "use", "constraint": [
  {"leftOperand": "dateTime", "operator": "gteq", "rightOperand": {"@type": "xsd:dateTime", "@value": "2027-01-01T00:00:00Z"}},
  {"leftOperand": "count", "operator": "lteq", "rightOperand": {"@type": "xsd:integer", "@value": "10"}, "unit": "urn:cityid:unit:requests-per-day"}],
  "duty": [{"action": "attribute", "attributedParty": "https://id.example/MA.156.1301"}]}],
 "prohibition": [{"action": "distribute"}]}`

// TestParsePolicyRefuses changes one thing in a policy: what ODRL allows and the
// profile does not is refused, not ignored.
func TestParsePolicyRefuses(t *testing.T) {
	if _, err := dcat.ParsePolicy([]byte(smallPolicy)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"set", `"Offer"`, `"Set"`, `want "Offer"`},
		{"no profile", `"profile": "urn:cityid:odrl:1",`, ``, "/profile is missing"},
		{"other profile", `urn:cityid:odrl:1`, `urn:cityid:odrl:2`, `want "urn:cityid:odrl:1"`},
		{"no assigner", `"assigner": "https://id.example/MA.156.1301",`, ``, "/assigner: is missing"},
		{"no id", `"@id": "https://x.example/p",`, ``, "/@id: is missing"},
		{"target", `"profile"`, `"target": "https://x.example/a", "profile"`, "/target is not known"},
		{"obligation", `"profile"`, `"obligation": [{"action": "pay"}], "profile"`, "/obligation is not known"},
		{"inheritance", `"profile"`, `"inheritFrom": "https://x.example", "profile"`, "/inheritFrom is not known"},
		{"other action", `"action": "use"`, `"action": "read"`, "with the action use"},
		{"two permissions", `"permission": [`, `"permission": [{"action": "use"},`, "one permission"},
		{"no permission", `"permission": [`, `"permissions": [`, "one permission"},
		{"other prohibition", `{"action": "distribute"}`, `{"action": "sell"}`, "action distribute"},
		{"prohibition with constraint", `{"action": "distribute"}`, `{"action": "distribute", "constraint": []}`, "/prohibition/0/constraint"},
		{"other operand", `"leftOperand": "dateTime"`, `"leftOperand": "spatial"`, "no constraint of the profile"},
		{"other operator", `"operator": "gteq"`, `"operator": "gt"`, "no constraint of the profile"},
		{"logical", `{"leftOperand": "dateTime", "operator": "gteq",`, `{"or": [], "operator": "gteq",`, "no constraint of the profile"},
		{"other unit", `unit:requests-per-day`, `unit:requests-per-hour`, "no constraint of the profile"},
		{"unit on a time", `"2027-01-01T00:00:00Z"}`, `"2027-01-01T00:00:00Z"}, "unit": "urn:cityid:unit:requests-per-day"`, "no constraint of the profile"},
		{"refinement", `"operator": "gteq",`, `"operator": "gteq", "refinement": [],`, "refinement"},
		{"order", `"operator": "gteq", "rightOperand": {"@type": "xsd:dateTime", "@value": "2027-01-01T00:00:00Z"}},`,
			`"operator": "lt", "rightOperand": {"@type": "xsd:dateTime", "@value": "2027-01-01T00:00:00Z"}}, {"leftOperand": "dateTime", "operator": "gteq", "rightOperand": {"@type": "xsd:dateTime", "@value": "2026-01-01T00:00:00Z"}},`, "in the order"},
		{"date", `"@type": "xsd:dateTime"`, `"@type": "xsd:date"`, "/permission/0/constraint/0/rightOperand"},
		{"bare time", `{"@type": "xsd:dateTime", "@value": "2027-01-01T00:00:00Z"}`, `"2027-01-01T00:00:00Z"`, "rightOperand"},
		{"time in a zone", `2027-01-01T00:00:00Z`, `2027-01-01T00:00:00+08:00`, "where only"},
		{"number", `"@value": "10"`, `"@value": 10`, "rightOperand"},
		{"zero", `"@value": "10"`, `"@value": "0"`, "from 1"},
		{"leading zero", `"@value": "10"`, `"@value": "010"`, "from 1"},
		{"huge", `"@value": "10"`, `"@value": "18446744073709551615"`, "from 1"},
		{"value with language", `"@value": "10"`, `"@language": "en", "@value": "10"`, "/@language is not known"},
		{"duty twice", `"duty": [`, `"duty": [{"action": "attribute", "attributedParty": "https://id.example/MA"},`, "each once"},
		{"other duty", `"action": "attribute", "attributedParty": "https://id.example/MA.156.1301"`, `"action": "compensate"`, "want attribute"},
		{"attribution to nobody", `, "attributedParty": "https://id.example/MA.156.1301"`, ``, "want attribute"},
		{"context", `{"@id"`, `{"@context": "http://www.w3.org/ns/odrl.jsonld", "@id"`, "/@context is not the fixed one"},
		{"repeated", `"profile"`, `"@id": "https://x.example/p", "profile"`, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(smallPolicy, c.old) {
				t.Fatalf("%q does not occur", c.old)
			}
			_, err := dcat.ParsePolicy([]byte(strings.Replace(smallPolicy, c.old, c.new, 1)))
			if err == nil {
				t.Fatal("was read")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

func TestPolicyTerms(t *testing.T) {
	var got []string
	for _, x := range fullPolicy(t).Terms() {
		if x.Words.ZH == "" || x.Words.EN == "" || x.Words.In("zh-CN") != x.Words.ZH || x.Words.In("fr") != x.Words.EN || x.Marks().EN == "" {
			t.Errorf("%+v", x)
		}
		got = append(got, x.ID+" "+x.Marks().EN+": "+x.Words.EN)
	}
	want := []string{
		"from enforced: use begins at 2027-01-15T08:00:00Z",
		"until enforced: use ends at 2030-03-17T17:46:40Z",
		"recipient enforced: only for these parties and what lies below them: MA.156.1302, MA.156.13",
		"requests enforced: at most 1000 requests a day (UTC)",
		"octets enforced: at most 1099511627776 octets a day (UTC)",
		"purpose declared: only for: health, 研究",
		"distribute declared: not to be passed on to others",
		"attribute declared: MA.156.1301 is to be named as the source",
		"delete declared: to be deleted by 2033-05-18T03:33:20Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if terms := (*dcat.Policy)(nil).Terms(); terms != nil {
		t.Error(terms)
	}
}

func TestPolicyAdmits(t *testing.T) {
	p := fullPolicy(t)
	within := func(change func(a *cityid.Terms)) *cityid.Terms {
		a := &cityid.Terms{Consumer: cityid.MustParse("MA.156.1302"), From: p.From, Until: p.Until, Requests: 1000, Octets: 1 << 40}
		change(a)
		return a
	}
	for _, c := range []struct {
		name string
		a    *cityid.Terms
		want string
	}{
		{"all", within(func(*cityid.Terms) {}), ""},
		{"a department", within(func(a *cityid.Terms) { a.Consumer = cityid.MustParse("MA.156.1302.01") }), ""},
		{"a city of the province", within(func(a *cityid.Terms) { a.Consumer = cityid.MustParse("MA.156.1305") }), ""},
		{"another province", within(func(a *cityid.Terms) { a.Consumer = cityid.MustParse("MA.156.1401") }), "none of them"},
		{"above", within(func(a *cityid.Terms) { a.Consumer = cityid.MustParse("MA.156") }), "none of them"},
		{"early", within(func(a *cityid.Terms) { a.From-- }), "use from"},
		{"late", within(func(a *cityid.Terms) { a.Until++ }), "use until"},
		{"without end", within(func(a *cityid.Terms) { a.Until = 0 }), "use until"},
		{"more requests", within(func(a *cityid.Terms) { a.Requests++ }), "1000 requests"},
		{"any requests", within(func(a *cityid.Terms) { a.Requests = 0 }), "1000 requests"},
		{"more octets", within(func(a *cityid.Terms) { a.Octets++ }), "octets a day"},
		{"any octets", within(func(a *cityid.Terms) { a.Octets = 0 }), "octets a day"},
	} {
		err := p.Admits(c.a)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := (&dcat.Policy{}).Admits(&cityid.Terms{Consumer: cityid.MustParse("MA.156.1401"), From: 1}); err != nil {
		t.Error(err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(smallPolicy))
	f.Add(policyBytes(f, fullPolicy(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := dcat.ParsePolicy(b)
		if err != nil {
			return
		}
		published := policyBytes(t, p)
		back, err := dcat.ParsePublishedPolicy(published)
		if err != nil {
			t.Fatalf("%v in %s", err, published)
		}
		if again := policyBytes(t, back); !bytes.Equal(again, published) {
			t.Fatalf("%s, then %s", published, again)
		}
		p.Terms()
	})
}
