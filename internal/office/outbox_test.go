// SPDX-License-Identifier: Apache-2.0

package office

import (
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
)

func TestOutbox(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	file := ok(o.PutBytes(ctx, []byte("payload")))(t)
	to := NewDelivery{Destination: "https://b.example/in", File: file, Headers: map[string]string{"Content-Type": "application/cbor"}}
	ids := ok(o.Enqueue(ctx, to, to))(t)
	for what, d := range map[string]NewDelivery{
		"no URL": {Destination: "b.example", File: file}, "another scheme": {Destination: "file:///etc/passwd", File: file},
		"a password in it": {Destination: "https://a:b@b.example/", File: file}, "no host": {Destination: "https:///x", File: file},
	} {
		_, err := o.Enqueue(ctx, to, d)
		want(t, what, err, ErrInvalid)
	}
	_, err := o.Enqueue(ctx, to, NewDelivery{Destination: to.Destination, File: cityid.Digest{1}})
	want(t, "no such file", err, ErrNotFound)
	_, err = o.Enqueue(ctx, NewDelivery{Destination: to.Destination, File: file, Headers: map[string]string{"x": strings.Repeat("y", maxHeaders)}})
	want(t, "long headers", err, ErrTooLarge)
	if list := ok(o.Deliveries(ctx, 0, 0, 10))(t); len(list) != 2 || list[0].ID != ids[1] {
		t.Fatalf("all or none was not kept: %+v", list)
	}

	claimed := ok(o.ClaimDeliveries(ctx, 1, 5*time.Minute))(t)
	if len(claimed) != 1 || claimed[0].ID != ids[0] || claimed[0].Tries != 1 || claimed[0].Headers["Content-Type"] != "application/cbor" {
		t.Fatalf("claimed %+v", claimed)
	}
	if list := ok(o.ClaimDeliveries(ctx, 9, 5*time.Minute))(t); len(list) != 1 || list[0].ID != ids[1] {
		t.Fatalf("claimed by another %+v", list)
	}
	do(t, o.Delivered(ctx, ids[1]))
	do(t, o.Delivered(ctx, ids[1]))
	want(t, "retrying what is done", o.RetryDelivery(ctx, ids[1]), ErrConflict)
	want(t, "an unknown one", o.Delivered(ctx, 99), ErrNotFound)

	// The worker dies: its claim lapses, also over a crash of the machine.
	o = crash(t, o, c)
	if next := ok(o.NextDelivery(ctx))(t); !next.Equal(c.now().Add(5 * time.Minute)) {
		t.Errorf("next at %v", next)
	}
	c.pass(5*time.Minute - time.Millisecond)
	if list := ok(o.ClaimDeliveries(ctx, 9, time.Minute))(t); len(list) != 0 {
		t.Errorf("claimed twice: %+v", list)
	}
	c.pass(time.Millisecond)
	if list := ok(o.ClaimDeliveries(ctx, 9, time.Minute))(t); len(list) != 1 || list[0].Tries != 2 {
		t.Errorf("not claimed again: %+v", list)
	}
	want(t, "the dead worker's word", o.DeliveryError(ctx, ids[0], 1, "timeout", true), ErrConflict)
	do(t, o.DeliveryError(ctx, ids[0], 2, strings.Repeat("no route ", 1000), false))
	d := ok(o.Deliveries(ctx, DeliveryWaiting, 0, 10))(t)
	if len(d) != 1 || len(d[0].Error) != maxError || !d[0].Next.Equal(c.now().Add(time.Minute)) {
		t.Errorf("after an error: %+v", d)
	}
	do(t, o.RetryDelivery(ctx, ids[0]))
	if list := ok(o.ClaimDeliveries(ctx, 9, time.Minute))(t); len(list) != 1 {
		t.Errorf("not due at once: %+v", list)
	}
	do(t, o.DeliveryError(ctx, ids[0], 3, "refused", true))
	if list := ok(o.Deliveries(ctx, DeliveryFailed, 0, 10))(t); len(list) != 1 || list[0].Error != "refused" || list[0].Ended.IsZero() {
		t.Errorf("failed: %+v", list)
	}
	if next := ok(o.NextDelivery(ctx))(t); !next.IsZero() {
		t.Errorf("something is due at %v", next)
	}
	do(t, o.RetryDelivery(ctx, ids[0]))
	c.pass(deliveryGiveUp)
	list := ok(o.ClaimDeliveries(ctx, 9, time.Minute))(t)
	do(t, o.DeliveryError(ctx, ids[0], list[0].Tries, "still nobody", false))
	if list := ok(o.Deliveries(ctx, DeliveryFailed, 0, 10))(t); len(list) != 1 {
		t.Errorf("not given up: %+v", list)
	}
	if s := ok(o.Sweep(ctx))(t); s.Rows != 0 || s.Files != 0 {
		t.Errorf("swept too early: %+v", s)
	}
	c.pass(deliveryKept)
	if s := ok(o.Sweep(ctx))(t); s.Rows != 2 || s.Files != 1 {
		t.Errorf("swept %+v", s)
	}
}

func TestBackOff(t *testing.T) {
	for tries, want := range map[int]time.Duration{1: 30 * time.Second, 2: time.Minute, 5: 8 * time.Minute, 10: 256 * time.Minute, 11: 6 * time.Hour, 1 << 30: 6 * time.Hour} {
		if got := backOff(tries); got != want {
			t.Errorf("after %d tries %v, want %v", tries, got, want)
		}
	}
}

// TestClaimConcurrently has workers that race for deliveries: each gets its own.
func TestClaimConcurrently(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	file := ok(o.PutBytes(ctx, nil))(t)
	for range 50 {
		ok(o.Enqueue(ctx, NewDelivery{Destination: "http://b.example/", File: file}))(t)
	}
	var mu sync.Mutex
	got := map[int64]int{}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			for {
				list, err := o.ClaimDeliveries(ctx, 3, time.Hour)
				if err != nil {
					t.Error(err)
				}
				if len(list) == 0 {
					return
				}
				mu.Lock()
				for _, d := range list {
					got[d.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range got {
		if n != 1 {
			t.Errorf("delivery %d was claimed %d times", id, n)
		}
	}
	if len(got) != 50 {
		t.Errorf("%d were claimed", len(got))
	}
}
