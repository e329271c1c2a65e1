// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/internal/dcat"
)

var (
	parking = cityid.MustParse("MA.156.1301.02/20.020301/PARKING")
	buses   = cityid.MustParse("MA.156.1301.02/20.020301/BUSES")
	air     = cityid.MustParse("MA.156.12/20.030101/AIR")
)

func TestHarvest(t *testing.T) {
	w := newWorld(t)
	g, other := newGateway(t), newGateway(t)
	w.links(sjz, g.URL+"/")
	w.links(tj, other.URL)
	body := w.publish(g, dataset(t, parking, "停车场空余车位", "Free places in car parks"))
	w.publish(other, dataset(t, air, "空气质量", "Air quality"))
	a := w.state(parking, cityid.DatasetCurrent)
	w.state(air, cityid.DatasetCurrent)
	e := &a.Dataset
	if e.Title.Get("en") != "Free places in car parks" || e.Held != dcat.Digest(body) || e.Held != e.Published.Document || e.City.Code != sjz ||
		e.Department.Code != traffic || e.Publisher.Names.Get("en") != "Traffic bureau" || e.Gateway != g.URL || e.Points == 0 || e.Quality == 0 ||
		e.Frequency == "" || !slices.Equal(e.Formats, []string{"JSON"}) || e.Place.Code != traffic {
		t.Errorf("entry: %+v", e)
	}
	if len(a.Documents) != 3 || len(a.Dimensions) != 5 || len(a.Terms) != 2 || len(a.Findings) == 0 || a.AsOf.Height < 14 {
		t.Errorf("answer: %+v", a)
	}
	if len(a.Crosswalk) != 1 || a.Crosswalk[0].Aliases[0].Value != "0107" {
		t.Errorf("crosswalk: %+v", a.Crosswalk)
	}
	for kind, want := range map[cityid.DatasetPart][]byte{cityid.PartDescription: body, cityid.PartSchema: schemaFile} {
		got, err := w.DatasetDocument(t.Context(), parking, kind)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v %s", kind, err, got)
		}
	}
	if _, err := w.Dataset(t.Context(), sjz); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Errorf("a city is no dataset: %v", err)
	}
}

// TestIncremental counts what is asked of a gateway: each document once, after a
// restart nothing, and after a change only what changed.
func TestIncremental(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(sjz, g.URL)
	d := dataset(t, parking, "停车场", "Car parks")
	w.publish(g, d)
	w.publish(g, dataset(t, buses, "公交车", "Buses"))
	w.state(parking, cityid.DatasetCurrent)
	w.state(buses, cityid.DatasetCurrent)
	w.settled()
	if diff := cmp.Diff([]string{
		"/datasets/MA.156.1301.02~20.020301~BUSES", "/datasets/MA.156.1301.02~20.020301~PARKING",
		"/policies/MA.156.1301.02~20.020301~BUSES", "/policies/MA.156.1301.02~20.020301~PARKING",
		"/schemas/MA.156.1301.02~20.020301~BUSES", "/schemas/MA.156.1301.02~20.020301~PARKING",
	}, g.asked()); diff != "" {
		t.Error(diff)
	}
	w.restart()
	w.settled()
	if got := g.asked(); len(got) > 0 {
		t.Errorf("after a restart: %v", got)
	}
	w.registry.edit(traffic, func(r *cityid.Record) { r.Content.Names = names("交通局", "Traffic") })
	w.until("the new name", func() bool {
		a, err := w.Dataset(t.Context(), parking)
		return err == nil && a.Dataset.Department.Names.Get("en") == "Traffic"
	})
	d.Title = names("停车场二", "Car parks two")
	w.publish(g, d)
	w.until("the new title", func() bool {
		a, err := w.Dataset(t.Context(), parking)
		return err == nil && a.Dataset.Title.Get("en") == "Car parks two"
	})
	w.settled()
	for _, path := range g.asked() {
		if !strings.Contains(path, "PARKING") {
			t.Errorf("asked for %s, which did not change", path)
		}
	}
	// What changed while nobody looked, and the registry no longer tells.
	w.stop()
	d.Title = names("停车场三", "Car parks three")
	w.publish(g, d)
	w.registry.edit(buses, func(r *cityid.Record) { r.Status = cityid.StatusRetired })
	w.registry.mu.Lock()
	w.registry.from = w.registry.height
	w.registry.mu.Unlock()
	w.start()
	w.until("the title after a gap", func() bool {
		a, err := w.Dataset(t.Context(), parking)
		return err == nil && a.Dataset.Title.Get("en") == "Car parks three"
	})
	if _, err := w.Dataset(t.Context(), buses); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Errorf("a retired dataset: %v", err)
	}
}

// TestRecheck sees that a gateway is asked again, and what it no longer serves.
func TestRecheck(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Recheck = 10 * time.Millisecond })
	g := newGateway(t)
	w.links(sjz, g.URL)
	d := dataset(t, parking, "停车场", "Car parks")
	body := w.publish(g, d)
	w.state(parking, cityid.DatasetCurrent)
	before := w.state(parking, cityid.DatasetCurrent).Dataset
	w.until("it was asked again", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.requests) > 9
	})
	g.serve(cityid.PartDescription, parking, append(bytes.Clone(body), ' '))
	a := w.state(parking, cityid.DatasetRefused)
	if a.Dataset.Held != before.Held || a.Dataset.Title.Get("en") != "Car parks" || !strings.Contains(a.Dataset.Detail, "the registry names "+before.Held.String()) {
		t.Errorf("what was held: %+v", a.Dataset)
	}
	g.serve(cityid.PartDescription, parking, nil)
	w.state(parking, cityid.DatasetMissing)
	g.serve(cityid.PartDescription, parking, body)
	w.state(parking, cityid.DatasetCurrent)
}

// TestHostile has gateways that answer for the description in some bad way.
func TestHostile(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	good := newGateway(t)
	w.links(tj, good.URL)
	elsewhere := newGateway(t)
	var body []byte
	for i, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		state  cityid.DatasetState
		detail string
	}{
		{"another document", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`{"@type":"Dataset"}`)) }, cityid.DatasetRefused, "serves a document with digest"},
		{"nothing", func(w http.ResponseWriter, r *http.Request) {}, cityid.DatasetRefused, "serves a document with digest"},
		{"too large", func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("x"), maxPart+1)) }, cityid.DatasetRefused, "more than 262144 octets"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
					return
				}
			}
		}, cityid.DatasetRefused, "more than"},
		{"compressed", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(body)
		}, cityid.DatasetRefused, "content encoding"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
		}, cityid.DatasetUnreachable, "redirect (302), which is not followed"},
		{"silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, cityid.DatasetUnreachable, "took too long"},
		{"dripping", func(w http.ResponseWriter, r *http.Request) {
			for _, b := range body {
				if _, err := w.Write([]byte{b}); err != nil || r.Context().Err() != nil {
					return
				}
				http.NewResponseController(w).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		}, cityid.DatasetUnreachable, "took too long"},
		{"breaking off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body[:100])
			panic(http.ErrAbortHandler)
		}, cityid.DatasetUnreachable, "connection broke"},
		{"failing", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, cityid.DatasetUnreachable, "status 500"},
		{"refusing", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }, cityid.DatasetUnreachable, "status 403"},
		{"lost", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, cityid.DatasetMissing, "no such document"},
		{"unasked 304", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }, cityid.DatasetUnreachable, "redirect (304)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t)
			code := cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/BAD%d", i))
			d := dataset(t, code, "坏", "Bad")
			rec := w.serve(g, d)
			rec.Content.Links = []cityid.Link{{Rel: RelGateway, Href: g.URL}}
			body = g.files["/datasets/"+strings.ReplaceAll(code.String(), "/", "~")]
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/datasets/") {
					c.answer(w, r)
				}
				return strings.HasPrefix(r.URL.Path, "/datasets/")
			})
			w.registry.set(rec)
			a := w.state(code, c.state)
			if !strings.Contains(a.Dataset.Detail, c.detail) || !a.Dataset.Held.IsZero() {
				t.Errorf("held %s, detail %q: want %q", a.Dataset.Held, a.Dataset.Detail, c.detail)
			}
			if _, err := w.DatasetDocument(t.Context(), code, cityid.PartDescription); cityid.CodeOf(err) != cityid.ErrNotFound {
				t.Errorf("document: %v", err)
			}
			if got := elsewhere.asked(); len(got) > 0 {
				t.Errorf("a redirect was followed: %v", got)
			}
			g.answer(nil) // it mends its ways
			w.state(code, cityid.DatasetCurrent)
		})
	}
	w.publish(good, dataset(t, air, "空气", "Air"))
	w.state(air, cityid.DatasetCurrent)
}

// TestInvalid lets the registry name documents that have the digest it says, and
// are nothing all the same.
func TestInvalid(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(sjz, g.URL)
	loaded := 0
	context := newGateway(t)
	context.answer(func(rw http.ResponseWriter, r *http.Request) bool { loaded++; return false })
	for i, c := range []struct {
		name   string
		change func(body []byte, rec *cityid.Record) []byte
		detail string
	}{
		{"no JSON", func([]byte, *cityid.Record) []byte { return []byte("{") }, "not JSON"},
		{"remote context", func(b []byte, _ *cityid.Record) []byte {
			return bytes.Replace(b, dcat.DatasetContext(), []byte(`"`+context.URL+`/context.jsonld"`), 1)
		}, "/@context"},
		{"not canonical", func(b []byte, _ *cityid.Record) []byte { return append(b, '\n') }, "canonical form"},
		{"of another code", func(b []byte, _ *cityid.Record) []byte {
			other, err := dataset(t, parking, "停车", "Parking").Encode()
			if err != nil {
				t.Fatal(err)
			}
			return other
		}, "it describes MA.156.1301.02/20.020301/PARKING"},
		{"of another class", func(b []byte, r *cityid.Record) []byte { r.Content.Dataset.Class = cityid.DatasetOpen; return b }, "it says conditional, and the registry says open"},
		{"of another schema", func(b []byte, r *cityid.Record) []byte { r.Content.Dataset.Schema = cityid.Digest{1}; return b }, "another schema"},
		{"of another policy", func(b []byte, r *cityid.Record) []byte { r.Content.Dataset.Policy = cityid.Digest{1}; return b }, "another usage policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code := cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/INVALID%d", i))
			rec := w.serve(g, dataset(t, code, "错", "Wrong"))
			path := "/datasets/" + strings.ReplaceAll(code.String(), "/", "~")
			g.mu.Lock()
			body := c.change(bytes.Clone(g.files[path]), &rec)
			g.files[path] = body
			g.mu.Unlock()
			rec.Content.Dataset.Document = dcat.Digest(body)
			w.registry.set(rec)
			a := w.state(code, cityid.DatasetInvalid)
			if !strings.Contains(a.Dataset.Detail, c.detail) || !a.Dataset.Held.IsZero() {
				t.Errorf("held %s, detail %q: want %q", a.Dataset.Held, a.Dataset.Detail, c.detail)
			}
		})
	}
	if loaded > 0 {
		t.Errorf("a remote context was loaded %d times", loaded)
	}
}

func TestAddresses(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Private = false })
	g := newGateway(t)
	for i, c := range []struct {
		href   string
		state  cityid.DatasetState
		detail string
	}{
		{g.URL, cityid.DatasetNoGateway, "may be asked"}, // not HTTPS
		{strings.Replace(g.URL, "http:", "https:", 1), cityid.DatasetUnreachable, "not one on the public network"},
		{"https://127.0.0.1", cityid.DatasetUnreachable, "not one on the public network"},
		{"https://[::1]", cityid.DatasetUnreachable, "not one on the public network"},
		{"https://192.168.1.1", cityid.DatasetUnreachable, "not one on the public network"},
		{"https://169.254.169.254", cityid.DatasetUnreachable, "not one on the public network"},
		{"https://localhost:1", cityid.DatasetUnreachable, "not one on the public network"},
		{"https://gateway.example/path", cityid.DatasetNoGateway, "may be asked"},
		{"https://user@gateway.example", cityid.DatasetNoGateway, "may be asked"},
	} {
		code := cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/PRIVATE%d", i))
		rec := w.serve(g, dataset(t, code, "内", "Inside"))
		rec.Content.Links = []cityid.Link{{Rel: RelGateway, Href: c.href}}
		w.registry.set(rec)
		if a := w.state(code, c.state); !strings.Contains(a.Dataset.Detail, c.detail) {
			t.Errorf("%s: %q", c.href, a.Dataset.Detail)
		}
	}
	if got := g.asked(); len(got) > 0 {
		t.Errorf("a private gateway was asked: %v", got)
	}
}

// TestSilentGateways holds a catalogue of few visitors against many gateways that
// never answer: the others are harvested all the same.
func TestSilentGateways(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Visitors, o.Suspects, o.Timeout, o.Pause = 4, 1, 200*time.Millisecond, time.Hour })
	for i := range 12 {
		bad := newGateway(t)
		bad.answer(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		for k := range 20 {
			rec := w.serve(bad, dataset(t, cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/S%dX%d", i, k)), "静", "Silent"))
			rec.Content.Links = []cityid.Link{{Rel: RelGateway, Href: bad.URL}}
			w.registry.set(rec)
		}
	}
	good := newGateway(t)
	w.links(tj, good.URL)
	for k := range 20 {
		w.publish(good, dataset(t, cityid.MustParse(fmt.Sprintf("MA.156.12/20.030101/A%d", k)), "好", "Good"))
	}
	for k := range 20 {
		w.state(cityid.MustParse(fmt.Sprintf("MA.156.12/20.030101/A%d", k)), cityid.DatasetCurrent)
	}
	for i := range 12 { // and all of a silent gateway's datasets say so, asked for or not
		for k := range 20 {
			w.state(cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/S%dX%d", i, k)), cityid.DatasetUnreachable)
		}
	}
	page, err := w.Datasets(t.Context(), cityid.DatasetQuery{States: []cityid.DatasetState{cityid.DatasetUnreachable}})
	if err != nil || page.Total != 240 {
		t.Errorf("%v: %d unreachable", err, page.Total)
	}
}

// TestOneBadDocument has a document at which the gateway hangs: the others come
// all the same.
func TestOneBadDocument(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Timeout = 200 * time.Millisecond })
	g := newGateway(t)
	w.links(sjz, g.URL)
	g.answer(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "PARKING") {
			<-r.Context().Done()
			return true
		}
		return false
	})
	w.publish(g, dataset(t, parking, "停车", "Parking"))
	for k := range 10 {
		w.publish(g, dataset(t, cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/Z%d", k)), "好", "Good"))
	}
	for k := range 10 {
		w.state(cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/Z%d", k)), cityid.DatasetCurrent)
	}
	w.state(parking, cityid.DatasetUnreachable)
}

// TestSecondGateway asks the next gateway when the first does not answer.
func TestSecondGateway(t *testing.T) {
	w := newWorld(t)
	dead, g := newGateway(t), newGateway(t)
	dead.Close()
	rec := w.serve(g, dataset(t, parking, "停车", "Parking"))
	rec.Content.Links = []cityid.Link{{Rel: RelGateway, Href: dead.URL}, {Rel: RelGateway, Href: g.URL}}
	w.registry.set(rec)
	w.state(parking, cityid.DatasetCurrent)
}

func TestRoom(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxGateway = 25_000 })
	g, other := newGateway(t), newGateway(t)
	w.links(sjz, g.URL)
	w.links(tj, other.URL)
	for k := range 4 {
		w.publish(g, dataset(t, cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/R%d", k)), "满", "Full"))
	}
	w.publish(other, dataset(t, air, "空气", "Air"))
	w.state(air, cityid.DatasetCurrent)
	w.until("two are beyond the bound", func() bool {
		p, err := w.Datasets(t.Context(), cityid.DatasetQuery{States: []cityid.DatasetState{cityid.DatasetFull}})
		return err == nil && p.Total >= 1 && strings.Contains(p.Datasets[0].Detail, "as much room as there is")
	})
	if g := w.plan.gateways[g.URL]; g.octets > 25_000 || g.octets == 0 {
		t.Errorf("the gateway's documents take %d octets", g.octets)
	}
}

// TestStates goes through what a record may say or not.
func TestStates(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	rec := w.serve(g, dataset(t, parking, "停车", "Parking"))
	w.registry.set(rec)
	a := w.state(parking, cityid.DatasetNoGateway)
	if a.Dataset.Title.Get("en") != "Parking" { // the record's name
		t.Errorf("title %v", a.Dataset.Title)
	}
	w.links(apex, g.URL)
	w.state(parking, cityid.DatasetCurrent)
	w.registry.edit(parking, func(r *cityid.Record) { r.Content.Dataset = nil })
	a = w.state(parking, cityid.DatasetUndescribed)
	if !a.Dataset.Held.IsZero() || a.Documents != nil || len(a.Dataset.Formats) > 0 || a.Dataset.City == nil {
		t.Errorf("%+v", a)
	}
	var left int
	if err := w.store.read.QueryRow("SELECT count(*) FROM documents").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d documents are left: %v", left, err)
	}
	w.registry.set(rec)
	w.state(parking, cityid.DatasetCurrent)
	w.links(traffic, "http://127.0.0.1:1")
	w.state(parking, cityid.DatasetUnreachable)
	w.registry.edit(parking, func(r *cityid.Record) { r.Status = cityid.StatusRetired })
	w.until("it is gone", func() bool {
		_, err := w.Dataset(t.Context(), parking)
		return cityid.CodeOf(err) == cityid.ErrNotFound
	})
}

// TestCrash copies the file while the harvest runs, as a crash would leave it, and
// goes on from each copy.
func TestCrash(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(sjz, g.URL)
	var copies []string
	const n = 60
	for k := range n {
		w.publish(g, dataset(t, cityid.MustParse(fmt.Sprintf("MA.156.1301.02/20.020301/C%d", k)), "数据", "Data"))
		if k%12 == 0 {
			copies = append(copies, w.copyFile(t))
		}
	}
	copies = append(copies, w.copyFile(t))
	w.settled()
	want := w.find(cityid.DatasetQuery{States: []cityid.DatasetState{cityid.DatasetCurrent}})
	if len(want) != n {
		t.Fatalf("%d datasets", len(want))
	}
	for i, path := range copies {
		again := &world{TB: t, registry: w.registry, path: path, options: w.options}
		again.start()
		again.until("all are there", func() bool {
			p, err := again.Datasets(context.Background(), cityid.DatasetQuery{States: []cityid.DatasetState{cityid.DatasetCurrent}})
			return err == nil && p.Total == n
		})
		if got := again.find(cityid.DatasetQuery{States: []cityid.DatasetState{cityid.DatasetCurrent}}); !slices.Equal(got, want) {
			t.Errorf("copy %d: %v", i, got)
		}
		again.stop()
	}
	if len(w.find(cityid.DatasetQuery{Text: "数据"})) != n {
		t.Error("the full text is not complete")
	}
}

// copyFile copies the database and its log as they are.
func (w *world) copyFile(t *testing.T) string {
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(w.path + suffix)
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "catalogue.sqlite"+suffix), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "catalogue.sqlite")
}

// TestForeignFile throws away what is no catalogue of this registry.
func TestForeignFile(t *testing.T) {
	for name, content := range map[string]string{"no database": strings.Repeat("rubbish", 1000), "empty": ""} {
		path := filepath.Join(t.TempDir(), "catalogue.sqlite")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		w := &world{TB: t, registry: newRegistry(), path: path, options: Options{Base: "https://id.example", Private: true}}
		w.start()
		g := newGateway(t)
		w.links(sjz, g.URL)
		w.publish(g, dataset(t, parking, "停车", "Parking"))
		w.state(parking, cityid.DatasetCurrent)
		w.stop()
		other := newRegistry()
		other.chain = "test-2"
		w.registry = other
		w.start()
		w.until(name+": the other chain's dataset is gone", func() bool {
			_, err := w.Dataset(t.Context(), parking)
			return cityid.CodeOf(err) == cityid.ErrNotFound
		})
		w.stop()
	}
}

// TestRegistryAway answers while the registry does not, and goes on afterwards.
func TestRegistryAway(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(sjz, g.URL)
	w.publish(g, dataset(t, parking, "停车", "Parking"))
	w.state(parking, cityid.DatasetCurrent)
	w.registry.mu.Lock()
	w.registry.down = true
	w.registry.mu.Unlock()
	if got := w.find(cityid.DatasetQuery{}); len(got) != 1 {
		t.Errorf("%v", got)
	}
	w.registry.mu.Lock()
	w.registry.down = false
	w.registry.mu.Unlock()
	w.publish(g, dataset(t, buses, "公交", "Buses"))
	w.state(buses, cityid.DatasetCurrent)
}
