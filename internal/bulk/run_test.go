// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
)

const chain = "test-1"

// registry is a small real registry: codes, parents, replays, expiry.
type registry struct {
	mu        sync.Mutex
	now       cityid.Time
	height    uint64
	records   map[cityid.Code]cityid.Record
	ids       map[cityid.Digest]cityid.Receipt
	refused   map[string]cityid.ErrorCode // serials that are refused, and why
	quota     int                         // codes there may be; 0: any number
	anonymous bool                        // refusals do not name the code
	submits   int

	// step is called at every step of a call: "submit", "applied" and "record".
	// An error it returns is the call's.
	step func(name string) error
}

func newRegistry() *registry {
	return &registry{
		now: 1000, height: 1, step: func(string) error { return nil },
		records: map[cityid.Code]cityid.Record{parent: {Code: parent, Kind: cityid.KindDepartment, Status: cityid.StatusActive, Revision: 1}},
		ids:     map[cityid.Digest]cityid.Receipt{},
		refused: map[string]cityid.ErrorCode{},
	}
}

func (r *registry) Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.submits++
	if err := r.step("submit"); err != nil {
		return nil, err
	}
	receipt, err := r.apply(raw)
	if err != nil {
		return nil, err
	}
	if err := r.step("applied"); err != nil {
		return nil, err
	}
	return receipt, nil
}

func (r *registry) apply(raw []byte) (*cityid.Receipt, error) {
	tx, body, err := cityid.DecodeTx(raw)
	if err != nil {
		return nil, err
	}
	id := tx.ID()
	switch _, seen := r.ids[id]; {
	case body.Expires <= r.now:
		return nil, cityid.Errorf(cityid.ErrExpired, "the transaction expired")
	case seen:
		return nil, cityid.Errorf(cityid.ErrReplayed, "already recorded")
	}
	r.height++
	var made []cityid.Record
	here := map[cityid.Code]bool{}
	for _, a := range body.Operations[0].Allocate.Items {
		refuse := func(code cityid.ErrorCode, why string) (*cityid.Receipt, error) {
			if !r.anonymous {
				why = a.Code.String() + ": " + why
			}
			return &cityid.Receipt{ID: id, Height: r.height, Code: code, Message: why}, nil
		}
		if _, exists := r.records[a.Code]; exists {
			return refuse(cityid.ErrExists, "the code is already allocated")
		}
		if _, exists := r.records[a.Code.Parent()]; !exists && !here[a.Code.Parent()] {
			return refuse(cityid.ErrParent, "the parent is not allocated")
		}
		if code := r.refused[a.Code.LastNode()]; code != cityid.OK {
			return refuse(code, "a reason")
		}
		if r.quota > 0 && a.Kind == cityid.KindObject && len(r.records)+len(made) >= r.quota {
			return refuse(cityid.ErrQuota, "too many")
		}
		here[a.Code] = true
		made = append(made, cityid.Record{Code: a.Code, Kind: a.Kind, Status: cityid.StatusActive, Revision: 1, Content: a.Content, Aliases: a.Aliases, Sealed: a.Sealed})
	}
	for _, m := range made {
		r.records[m.Code] = m
	}
	r.ids[id] = cityid.Receipt{ID: id, Height: r.height}
	receipt := r.ids[id]
	return &receipt, nil
}

func (r *registry) Transaction(ctx context.Context, id cityid.Digest) (*cityid.Receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	receipt, found := r.ids[id]
	if !found {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no such transaction")
	}
	return &receipt, nil
}

func (r *registry) Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := r.step("record"); err != nil {
		return nil, err
	}
	record, found := r.records[code]
	if !found {
		return nil, cityid.Errorf(cityid.ErrNotFound, "not allocated")
	}
	return &cityid.RecordAnswer{Record: record}, nil
}

// expire lets all transactions signed so far expire.
func (r *registry) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now += 1000
}

// sign signs as a client would, with a signature that the registry above does
// not look at; each transaction differs by its memo.
func (r *registry) sign(ops []cityid.Operation) (*cityid.Tx, error) {
	r.mu.Lock()
	expires := r.now + 600
	r.mu.Unlock()
	key := cityid.PublicKey("\x01" + strings.Repeat("k", 32))
	body := cityid.Body{Chain: chain, Signers: []cityid.PublicKey{key}, Expires: expires, Operations: ops, Memo: fmt.Sprint(rand.Uint64())}
	return &cityid.Tx{Body: cityid.MustMarshal(&body), Signatures: []cityid.Bytes{make([]byte, 64)}}, nil
}

var quick = RunOptions{Backoff: time.Microsecond, Attempts: 3}

// run opens the checkpoint, runs the plan and closes it again.
func run(t testing.TB, ctx context.Context, plan *Plan, path string, r *registry, o RunOptions) (*Result, error) {
	t.Helper()
	cp, err := OpenCheckpoint(path, plan, chain)
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	return Run(ctx, plan, cp, r, r.sign, o)
}

func smallPlan(t testing.TB, rows int) *Plan {
	o := options()
	o.BatchSize = 5
	return mustPlan(t, readText(t, lamps(rows)), o)
}

func failedLines(r *Result) []int {
	var lines []int
	for _, p := range r.Failed {
		lines = append(lines, p.Line)
	}
	return lines
}

func TestRun(t *testing.T) {
	r, path := newRegistry(), filepath.Join(t.TempDir(), "cp")
	plan := smallPlan(t, 23)
	var seen []int
	o := quick
	o.Progress = func(p Progress) {
		if p.Total != 23 {
			t.Errorf("total %d", p.Total)
		}
		seen = append(seen, p.Done)
	}
	result, err := run(t, t.Context(), plan, path, r, o)
	if err != nil {
		t.Fatal(err)
	}
	if result.Allocated != 23 || !result.Complete() || len(r.records) != 25 {
		t.Errorf("%+v, %d records", result, len(r.records))
	}
	if len(seen) != 6 || seen[5] != 23 {
		t.Errorf("progress %v", seen)
	}
	submits := r.submits
	if result, err = run(t, t.Context(), plan, path, r, quick); err != nil || result.Allocated != 23 || r.submits != submits {
		t.Errorf("run again: %+v, %v, %d submissions", result, err, r.submits-submits)
	}
	cp, err := OpenCheckpoint(path, plan, chain)
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
	// The same table once more, without the checkpoint, finds all rows there.
	if result, err = run(t, t.Context(), plan, path, r, quick); err != nil || result.Existing != 23 || !result.Complete() {
		t.Errorf("import again: %+v, %v", result, err)
	}
}

func TestRunReportsRefusedRows(t *testing.T) {
	for _, anonymous := range []bool{false, true} {
		r := newRegistry()
		r.anonymous = anonymous
		r.refused["000007"], r.refused["000008"], r.refused["000022"] = cityid.ErrRule, cityid.ErrCrosswalk, cityid.ErrRule
		other := cityid.MustParse("MA.156.1301.01/20.010203/000011")
		r.records[other] = cityid.Record{Code: other, Kind: cityid.KindObject, Status: cityid.StatusActive, Revision: 3}
		result, err := run(t, t.Context(), smallPlan(t, 23), filepath.Join(t.TempDir(), "cp"), r, quick)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{9, 10, 13, 24}, failedLines(result)); diff != "" || result.Allocated+result.Existing != 19 || !result.Complete() {
			t.Errorf("%+v: %s", result, diff)
		}
		if p := result.Failed[0]; p.Value != "MA.156.1301.01/20.010203/000007" || p.Reason != "a reason (rule)" {
			t.Errorf("%+v", p)
		}
		if p := result.Failed[2]; !strings.Contains(p.Reason, "another content (revision 3)") {
			t.Errorf("%+v", p)
		}
	}
}

func TestRunQuota(t *testing.T) {
	r := newRegistry()
	r.quota = 14 // the parent, the class and twelve lamps
	o := quick
	o.InFlight = 1
	result, err := run(t, t.Context(), smallPlan(t, 40), filepath.Join(t.TempDir(), "cp"), r, o)
	if err != nil || result.Allocated != 12 || len(result.Failed) != 28 {
		t.Errorf("%+v, %v", result, err)
	}
	if r.submits > 1+8+1 {
		t.Errorf("%d submissions", r.submits)
	}
}

func TestRunClassRefused(t *testing.T) {
	r := newRegistry()
	r.refused["010203"] = cityid.ErrRule
	result, err := run(t, t.Context(), smallPlan(t, 7), filepath.Join(t.TempDir(), "cp"), r, quick)
	if err != nil || len(result.Failed) != 7 || len(result.Classes) != 1 || result.Classes[0].Value != "MA.156.1301.01/20.010203" {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestRunStops(t *testing.T) {
	for _, test := range []struct {
		err  error
		want error
	}{
		{cityid.Errorf(cityid.ErrNotPermitted, "no"), cityid.ErrNotPermitted},
		{cityid.Errorf(cityid.ErrSignature, "no"), cityid.ErrSignature},
		{cityid.Errorf(cityid.ErrFull, "later"), cityid.ErrFull},
		{errors.New("connection refused"), nil},
	} {
		r, path, plan := newRegistry(), filepath.Join(t.TempDir(), "cp"), smallPlan(t, 23)
		n := 0
		r.step = func(name string) error {
			if n++; name == "submit" && n > 6 {
				return test.err
			}
			return nil
		}
		result, err := run(t, t.Context(), plan, path, r, quick)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || result.Complete() || len(result.Failed) > 0 {
			t.Errorf("%v: ended with %v, %+v", test.err, err, result)
		}
		r.step = func(string) error { return nil }
		if result, err = run(t, t.Context(), plan, path, r, quick); err != nil || result.Allocated+result.Existing != 23 {
			t.Errorf("%v: resumed with %v, %+v", test.err, err, result)
		}
	}
}

// TestRunRetries lets every second call fail, in ways that leave the caller in
// the dark about what happened.
func TestRunRetries(t *testing.T) {
	r, n := newRegistry(), 0
	r.step = func(name string) error {
		if n++; n%2 == 0 {
			return []error{cityid.ErrFull, cityid.ErrUnavailable, errors.New("connection reset")}[n/2%3]
		}
		return nil
	}
	o := quick
	o.Attempts = 20
	result, err := run(t, t.Context(), smallPlan(t, 50), filepath.Join(t.TempDir(), "cp"), r, o)
	if err != nil || result.Allocated != 50 {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestRunSurvivesKills kills the run at its n-th step, for all n, in the
// variants that the checkpoint's last line is lost, that all transactions have
// expired before it goes on, and that one row is refused.
func TestRunSurvivesKills(t *testing.T) {
	plan := smallPlan(t, 12)
	for variant := range 8 {
		torn, expired, refused := variant&1 != 0, variant&2 != 0, variant&4 != 0
		var want []int
		if refused {
			want = []int{9}
		}
		for kill := 1; ; kill++ {
			r, path := newRegistry(), filepath.Join(t.TempDir(), "cp")
			if refused {
				r.refused["000007"] = cityid.ErrRule
			}
			ctx, cancel := context.WithCancel(t.Context())
			steps := 0
			r.step = func(string) error {
				if steps++; steps >= kill {
					cancel()
					return context.Canceled
				}
				return nil
			}
			_, err := run(t, ctx, plan, path, r, quick)
			cancel()
			if torn {
				tear(t, path, kill)
			}
			if expired {
				r.expire()
			}
			r.step = func(string) error { return nil }
			result, errAgain := run(t, t.Context(), plan, path, r, quick)
			if errAgain != nil {
				t.Fatalf("killed at step %d (variant %d): %v", kill, variant, errAgain)
			}
			good := 12 - len(want)
			if diff := cmp.Diff(want, failedLines(result)); diff != "" || result.Allocated+result.Existing != good || len(r.records) != 2+good {
				t.Fatalf("killed at step %d (variant %d): %+v, %d records: %s", kill, variant, result, len(r.records), diff)
			}
			if variant == 0 && result.Existing > 0 {
				t.Fatalf("killed at step %d: %d rows are not known as this import's own", kill, result.Existing)
			}
			if err == nil {
				break // it was over before this step
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("killed at step %d: %v", kill, err)
			}
		}
	}
}

// tear cuts into the last line of the file.
func tear(t *testing.T, path string, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := len(b) - 1
	for last > 0 && b[last-1] != '\n' {
		last--
	}
	if err := os.WriteFile(path, b[:last+n*37%(len(b)-last)], 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunReplacesExpired(t *testing.T) {
	r, n := newRegistry(), 0
	r.step = func(name string) error {
		if n++; name == "submit" && n%3 == 0 {
			r.now += 1000
		}
		return nil
	}
	o := quick
	o.InFlight = 1
	result, err := run(t, t.Context(), smallPlan(t, 20), filepath.Join(t.TempDir(), "cp"), r, o)
	if err != nil || result.Allocated != 20 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestCheckpointRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cp")
	plan := smallPlan(t, 7)
	cp, err := OpenCheckpoint(path, plan, chain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(path, plan, chain); err == nil || !strings.Contains(err.Error(), "another import") {
		t.Errorf("open twice: %v", err)
	}
	if err := cp.Remove(); err == nil {
		t.Error("an unfinished checkpoint was removed")
	}
	if err := cp.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(path, smallPlan(t, 8), chain); err == nil || !strings.Contains(err.Error(), "another table") {
		t.Errorf("another table: %v", err)
	}
	if _, err := OpenCheckpoint(path, plan, "other-1"); err == nil || !strings.Contains(err.Error(), "chain test-1, not other-1") {
		t.Errorf("another chain: %v", err)
	}
	elsewhere := *plan
	elsewhere.Parent = cityid.MustParse("MA.156.1302")
	if _, err := OpenCheckpoint(path, &elsewhere, chain); err == nil || !strings.Contains(err.Error(), "below MA.156.1301.01") {
		t.Errorf("another parent: %v", err)
	}
	header, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		`{"batch":99,"settled":{"allocated":1,"existing":0}}`,
		`{"batch":-1,"settled":{"allocated":1,"existing":0}}`,
		`{"batch":0}`,
		`{"batch":0,"more":1}`,
		`{"batch":0,"settled":{"allocated":1,"existing":0}} {}`,
		`nonsense`,
	} {
		if err := os.WriteFile(path, append(header[:len(header):len(header)], bad+"\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCheckpoint(path, plan, chain); err == nil || !strings.Contains(err.Error(), "line 2: damaged") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := os.WriteFile(path, header[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	if cp, err := OpenCheckpoint(path, plan, chain); err != nil || cp.Close() != nil {
		t.Errorf("a header that was cut off: %v", err)
	}
	for _, other := range []string{"code,name\n1,a\n", "code"} {
		if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCheckpoint(path, plan, chain); err == nil || !strings.Contains(err.Error(), "not a checkpoint") {
			t.Errorf("a table as checkpoint: %v", err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != other {
			t.Errorf("what is not a checkpoint was changed: %q, %v", b, err)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	plan := &Plan{Parent: parent, Batches: make([]Batch, 3)}
	path := filepath.Join(f.TempDir(), "cp")
	cp, err := OpenCheckpoint(path, plan, chain)
	if err == nil {
		err = errors.Join(cp.Prepare(0, Prepared{Items: 5, Raw: []byte("raw")}), cp.Settle(0, Settled{Height: 3, Allocated: 5}), cp.Prepare(2, Prepared{Items: 1}), cp.Close())
	}
	if err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-7])
	header := checkpointHeader{checkpointFormat, chain, parent, plan.Digest, 3}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Checkpoint{batches: make([]batchState, 3)}
		end, err := c.read(bytes.NewReader(data), header)
		if err != nil {
			return
		}
		if end > int64(len(data)) || end > 0 && data[end-1] != '\n' || bytes.IndexByte(data[end:], '\n') >= 0 {
			t.Fatalf("the last whole line of %q does not end at %d", data, end)
		}
		for i := range c.batches {
			if p, s := c.Batch(i); p != nil && s != nil && s.Allocated < 0 {
				t.Fatalf("batch %d: %v, %v", i, p, s)
			}
		}
	})
}
