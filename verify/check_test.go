// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/header"
	"cityid/verify"
)

// TestTimes moves the clock and the time wanted over one record, changed at
// height 9, and one head at height 11.
func TestTimes(t *testing.T) {
	c := story()
	w, s := c.way(t, 1, 1, 11), c.before(11)
	rec, hist, none := record(t, w, s, city), history(t, w, s, city), record(t, w, s, nowhere)
	head, genesis := c.at(11).header.Time, c.genesis
	changed := cityid.TimeOf(c.at(9).header.Time).Std()
	const period, hour = verify.DefaultTrustingPeriod, time.Hour
	var zero time.Time
	for _, x := range []struct {
		name    string
		b       *verify.Bundle
		now, at time.Time
		opts    verify.Options
		verdict verify.Verdict
		reason  verify.Reason
	}{
		{"at once", rec, head, zero, verify.Options{}, verify.Valid, ""},
		{"clock behind, within the drift", rec, head.Add(-20*time.Second + 1), zero, verify.Options{}, verify.Valid, ""},
		{"clock behind by the drift", rec, head.Add(-20 * time.Second), zero, verify.Options{}, verify.Undecided, verify.ReasonClock},
		{"clock behind by a wider drift", rec, head.Add(-20 * time.Second), zero, verify.Options{ClockDrift: time.Minute}, verify.Valid, ""},
		{"no clock", rec, zero, zero, verify.Options{}, verify.Undecided, verify.ReasonClock},
		{"an hour old", rec, head.Add(hour), zero, verify.Options{}, verify.Valid, ""},
		{"older", rec, head.Add(hour + 1), zero, verify.Options{}, verify.Undecided, verify.ReasonStale},
		{"older, allowed", rec, head.Add(hour + 1), zero, verify.Options{MaxAge: 2 * hour}, verify.Valid, ""},
		{"absence an hour old", none, head.Add(hour), zero, verify.Options{}, verify.Valid, ""},
		{"absence older", none, head.Add(hour + 1), zero, verify.Options{}, verify.Undecided, verify.ReasonStale},
		{"end of the trusting period", rec, genesis.Add(period - 1), zero, verify.Options{MaxAge: 2 * period}, verify.Valid, ""},
		{"after the trusting period", rec, genesis.Add(period), zero, verify.Options{MaxAge: 2 * period}, verify.Undecided, verify.ReasonTrustExpired},
		{"a longer period", rec, genesis.Add(period), zero, verify.Options{MaxAge: 2 * period, TrustingPeriod: 2 * period}, verify.Valid, ""},

		{"years later, at the head", rec, head.AddDate(9, 0, 0), head, verify.Options{}, verify.Valid, ""},
		{"years later, an hour after", rec, head.AddDate(9, 0, 0), head.Add(hour), verify.Options{}, verify.Valid, ""},
		{"years later, more after", rec, head.AddDate(9, 0, 0), head.Add(hour + 1), verify.Options{}, verify.Undecided, verify.ReasonStale},
		{"before the head", rec, head.Add(hour), head.Add(-time.Second), verify.Options{}, verify.Valid, ""},
		{"at the change", rec, head.Add(hour), changed, verify.Options{}, verify.Valid, ""},
		{"before the change", rec, head.Add(hour), changed.Add(-1), verify.Options{}, verify.Undecided, verify.ReasonChangedSince},
		{"history at the change", hist, head.Add(hour), changed, verify.Options{}, verify.Valid, ""},
		{"history before the change", hist, head.Add(hour), changed.Add(-1), verify.Options{}, verify.Valid, ""},
		{"history at genesis", hist, head.Add(hour), genesis, verify.Options{}, verify.Valid, ""},
		{"history before genesis", hist, head.Add(hour), genesis.Add(-1), verify.Options{}, verify.Valid, ""},
		{"absence before the head", none, head.Add(hour), genesis, verify.Options{}, verify.Valid, ""},
		{"a time to come", rec, head, head.Add(20 * time.Second), verify.Options{}, verify.Undecided, verify.ReasonClock},
	} {
		o := x.opts
		o.Now, o.At = x.now, x.at
		r := verify.Check(&c.trusts[0], x.b, o)
		if r.Verdict != x.verdict || r.Reason != x.reason {
			t.Errorf("%s: %s %q (%s), want %s %q", x.name, r.Verdict, r.Reason, r.Message, x.verdict, x.reason)
		}
	}
}

// TestClockBehindTrust has a clock that the trust root itself shows to be wrong.
func TestClockBehindTrust(t *testing.T) {
	c := story()
	b := record(t, c.way(t, 2, 2, 13), c.before(13), city)
	for drift, want := range map[time.Duration]verify.Reason{30 * time.Second: "", time.Second: verify.ReasonClock} {
		r := verify.Check(&c.trusts[1], b, verify.Options{Now: c.at(13).header.Time, ClockDrift: drift})
		if r.Reason != want {
			t.Errorf("drift %s: %s", drift, r.Message)
		}
	}
}

func TestInForce(t *testing.T) {
	c := story()
	hist := history(t, c.way(t, 1, 1, 11), c.before(11), city)
	at := func(height int) time.Time { return cityid.TimeOf(c.at(height).header.Time).Std() }
	for _, x := range []struct {
		at   time.Time
		want uint32 // revision; 0: not allocated
	}{
		{c.genesis.Add(-1), 0}, {c.genesis, 1}, {at(5).Add(-1), 1}, {at(5), 2}, {at(9).Add(-1), 2}, {at(9), 3}, {at(12), 3},
	} {
		r := verify.Check(&c.trusts[0], hist, verify.Options{Now: c.at(14).header.Time, At: x.at})
		var got uint32
		if r.Record != nil {
			got = r.Record.Revision
		}
		if r.Verdict != verify.Valid || got != x.want || r.Allocated != (x.want > 0) || len(r.Records) != 3 {
			t.Errorf("at %s: %s, revision %d, allocated %t; want revision %d", x.at, r.Message, got, r.Allocated, x.want)
		}
	}
}

func TestResult(t *testing.T) {
	c := story()
	b := listing(t, c.way(t, 1, 3, 27), c.before(27), city, cityid.AnswerDescendants)
	r := verify.Check(&c.trusts[0], b, verify.Options{Now: c.at(27).header.Time})
	if r.Verdict != verify.Valid {
		t.Fatal(r.Message)
	}
	var codes []string
	for _, x := range r.Records {
		codes = append(codes, x.Code.String())
	}
	want := []string{department, department + "/20.010203"}
	for i := 1; i < 9; i++ {
		want = append(want, fmt.Sprintf("%s/20.010203/%06d", department, i))
	}
	for i := 2; i < 7; i++ {
		want = append(want, fmt.Sprintf("%s.%02d", city, i))
	}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff)
	}
	if want := (cityid.AsOf{Chain: c.id, Height: 26, Time: c.at(27).header.Time}); r.AsOf != want {
		t.Errorf("as of %+v, want %+v", r.AsOf, want)
	}
	if r.Trust.Statement.Version != 3 || len(r.Learned) != 2 {
		t.Errorf("judged by version %d, %d learned", r.Trust.Statement.Version, len(r.Learned))
	}
	f := must(verify.NewTrustFile(c.trusts[0]))
	if err := f.Add(r.Learned...); err != nil || f.Latest().Statement.Version != 3 {
		t.Errorf("what was learned can not be kept: %v", err)
	}
	for _, x := range r.Checks {
		if x.Verdict != verify.Valid || x.Detail == "" {
			t.Errorf("check %+v", x)
		}
	}
	if want := "MA.156.1301 has 15 codes below it, as of 2026-11-05T00:04:23Z (height 26 of cityid-7Kq2)"; r.Message != want {
		t.Errorf("message %q, want %q", r.Message, want)
	}
}

func TestPlaceZone(t *testing.T) {
	c := newChain("hebei-1", cityid.MustParse("MA.156.13"), names("a b c d"))
	c.put("MA.156.13", cityid.KindProvince, "河北")
	c.put("MA.156.1301", cityid.KindCity, "石家庄")
	c.put("MA.156.1301.01", cityid.KindDepartment, "部门")
	c.quiet(3)
	for code, want := range map[string]verify.Reason{
		"MA.156.13": "", "MA.156.1301": "", "MA.156.1301.01": "", "MA.156.1302": "", "MA.156.130102.07": "", "MA.156.13.01": "",
		"MA.156": verify.ReasonZone, "MA.156.14": verify.ReasonZone, "MA.156.1": verify.ReasonZone, "MA.157.1301": verify.ReasonZone,
	} {
		r := verify.Check(&c.trusts[0], record(t, c.way(t, 1, 1, 3), c.before(3), code), verify.Options{Now: c.at(3).header.Time})
		if r.Reason != want {
			t.Errorf("%s: %s %q", code, r.Verdict, r.Reason)
		}
	}
}

// TestTransitions has the prover find its way over chains whose validators
// change all the time.
func TestTransitions(t *testing.T) {
	most := 0
	for seed := range uint64(30) {
		c := randomChain(rand.New(rand.NewPCG(seed, 5)), 24)
		for j := 1; j <= 24; j++ {
			w := c.way(t, 1, 1, j)
			most = max(most, len(w.Transitions))
			b := record(t, w, c.before(j), "MA.156")
			r := verify.CheckEncoded(&c.trusts[0], encode(t, b), verify.Options{Now: c.at(j).header.Time, TrustingPeriod: 1000 * time.Hour * 24})
			if r.Verdict != verify.Valid {
				t.Fatalf("seed %d, height %d, %d transitions: %s", seed, j, len(w.Transitions), r.Message)
			}
		}
	}
	if most < 2 {
		t.Errorf("at most %d transitions occurred", most)
	}
}

func TestTransitionsOfAnotherChain(t *testing.T) {
	c, f := story(), foreign()
	_, err := verify.Transitions(&c.trusts[0], f.at(8).signed(), func(h int64) (verify.SignedHeader, error) { return f.at(int(h)).signed(), nil })
	if !errors.Is(err, header.ErrNotConnected) {
		t.Errorf("got %v", err)
	}
	lost := errors.New("pruned")
	_, err = verify.Transitions(&c.trusts[0], c.at(30).signed(), func(int64) (verify.SignedHeader, error) { return verify.SignedHeader{}, lost })
	if !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
}

func TestTrustFile(t *testing.T) {
	c := story()
	f := must(verify.NewTrustFile(c.trusts[0]))
	if err := f.Add(c.trusts[1:]...); err != nil {
		t.Fatal(err)
	}
	data := must(verify.FormatTrustFile(f))
	again := must(verify.ParseTrustFile(data))
	if diff := cmp.Diff(string(data), string(must(verify.FormatTrustFile(again)))); diff != "" || again.Pinned() != c.trusts[0].Statement.Hash() {
		t.Errorf("a trust file does not survive: %s", diff)
	}
	if err := again.Add(c.trusts[1]); err == nil || again.Latest().Statement.Version != 4 {
		t.Error("a version that does not follow was added")
	}
	for name, change := range map[string]func([]byte) []byte{
		"pinned hash":   func(b []byte) []byte { return flip(b, f.Pinned().String()) },
		"other time":    func(b []byte) []byte { return flip(b, "2026-11-05T00:00:00Z") },
		"signature":     func(b []byte) []byte { return flip(b, string(must(c.trusts[2].Signatures[0].Signature.MarshalText()))) },
		"unknown field": func(b []byte) []byte { return bytes.Replace(b, []byte(`"pinned"`), []byte(`"x":1,"pinned"`), 1) },
		"repeated field": func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"version": 1`), []byte(`"version": 9,"version": 1`), 1)
		},
		"other case":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"version": 1`), []byte(`"Version": 1`), 1) },
		"trailing":    func(b []byte) []byte { return append(b, "{}"...) },
		"cut":         func(b []byte) []byte { return b[:len(b)-9] },
		"empty":       func([]byte) []byte { return []byte(`{}`) },
		"no versions": func([]byte) []byte { return []byte(`{"pinned":"","versions":[]}`) },
		"too large":   func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), verify.MaxTrustFile)...) },
	} {
		changed := change(bytes.Clone(data))
		if bytes.Equal(changed, data) {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := verify.ParseTrustFile(changed); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := verify.ParseTrustFile(bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))); err != nil {
		t.Errorf("other blanks: %v", err)
	}
}

// flip replaces the first character of the first occurrence of what.
func flip(data []byte, what string) []byte {
	i := bytes.Index(data, []byte(what))
	if data[i]++; data[i] == ':' {
		data[i] = 'a'
	}
	return data
}

func TestTrustFileFor(t *testing.T) {
	c := story()
	f := must(verify.NewTrustFile(c.trusts[0]))
	if err := f.Add(c.trusts[1:]...); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ from, to, head int }{{1, 1, 11}, {1, 3, 27}, {2, 2, 17}, {2, 3, 26}, {4, 4, 34}} {
		b := record(t, c.way(t, x.from, x.to, x.head), c.before(x.head), city)
		trust := f.For(b)
		if got := trust.Statement.Version; got != uint32(x.from) {
			t.Errorf("version %d for a bundle that leads on from %d", got, x.from)
		}
		if r := verify.Check(trust, b, verify.Options{Now: c.at(x.head).header.Time}); r.Verdict != verify.Valid {
			t.Errorf("from version %d: %s", x.from, r.Message)
		}
	}
	alien := foreign()
	if got := f.For(record(t, alien.way(t, 1, 1, 8), alien.before(8), city)).Statement.Version; got != 4 {
		t.Errorf("version %d for a foreign bundle", got)
	}
}

func FuzzParseTrustFile(f *testing.F) {
	c := story()
	file := must(verify.NewTrustFile(c.trusts[0]))
	f.Add(must(verify.FormatTrustFile(file)))
	if err := file.Add(c.trusts[1:]...); err != nil {
		f.Fatal(err)
	}
	f.Add(must(verify.FormatTrustFile(file)))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := verify.ParseTrustFile(data)
		if err != nil {
			return
		}
		if again, err := verify.ParseTrustFile(must(verify.FormatTrustFile(file))); err != nil || again.Pinned() != file.Pinned() {
			t.Errorf("a trust file does not survive: %v", err)
		}
	})
}

// TestSize keeps a bundle of one zone with four validators small. A path among
// a million records has some 22 steps of 34 octets more than one has here.
func TestSize(t *testing.T) {
	c := story()
	for _, code := range []string{city, nowhere} {
		if n := len(encode(t, record(t, c.way(t, 1, 1, 11), c.before(11), code))) + 22*34; n > 2600 {
			t.Errorf("the bundle of %s would have %d octets", code, n)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	c := story()
	for _, x := range []struct {
		name string
		b    *verify.Bundle
	}{
		{"record", record(b, c.way(b, 1, 1, 11), c.before(11), city)},
		{"absence", record(b, c.way(b, 1, 1, 11), c.before(11), nowhere)},
		{"transition", record(b, c.way(b, 1, 1, 24), c.before(24), city)},
	} {
		data, err := x.b.Encode()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(x.name, func(b *testing.B) {
			opts := verify.Options{Now: c.at(24).header.Time}
			for b.Loop() {
				if r := verify.CheckEncoded(&c.trusts[0], data, opts); r.Verdict != verify.Valid {
					b.Fatal(r.Message)
				}
			}
			b.ReportMetric(float64(len(data)), "B/bundle")
		})
	}
}
