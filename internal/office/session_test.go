// SPDX-License-Identifier: Apache-2.0

package office

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

func TestSessions(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	_, key := privateKey(t, keys.Ed25519, 1)
	visitor := ok(o.NewSession(ctx, ""))(t)
	bag := map[string]string{"draft": "K7QW-secret-of-somebody"}
	do(t, o.SetBag(ctx, visitor, bag))
	want(t, "a heavy bag", o.SetBag(ctx, visitor, map[string]string{"x": strings.Repeat("y", MaxBag)}), ErrTooLarge)
	s := ok(o.Session(ctx, visitor))(t)
	if s.Key != "" || !maps.Equal(s.Bag, bag) || !s.Created.Equal(c.now()) || !s.Expires.Equal(c.now().Add(2*time.Hour)) {
		t.Errorf("session %+v", s)
	}
	scan(t, o.dir, visitor, "K7QW", "secret-of-somebody")

	// Signing in makes another token; the one that may have been planted is dead.
	c.pass(time.Minute)
	signed := ok(o.Rotate(ctx, visitor, key))(t)
	if signed == visitor {
		t.Error("the token is the same")
	}
	_, err := o.Session(ctx, visitor)
	want(t, "the old token", err, ErrNotFound)
	_, err = o.Rotate(ctx, visitor, key)
	want(t, "rotating the old token", err, ErrNotFound)
	want(t, "the old token's bag", o.SetBag(ctx, visitor, nil), ErrNotFound)
	s = ok(o.Session(ctx, signed))(t)
	if s.Key != key || !maps.Equal(s.Bag, bag) || !s.Created.Equal(c.now()) {
		t.Errorf("session after signing in %+v", s)
	}
	for _, bad := range []string{"", "x", signed[1:], signed + "A", strings.ToLower(signed)} {
		_, err := o.Session(ctx, bad)
		want(t, "token "+bad, err, ErrNotFound)
	}

	// Lists, and ending from them.
	other := ok(o.NewSession(ctx, key))(t)
	list := ok(o.Sessions(ctx, key))(t)
	if len(list) != 2 || len(list[0].Bag) != 0 {
		t.Fatalf("sessions %+v", list)
	}
	otherID := ok(o.Session(ctx, other))(t).ID
	if n := ok(o.EndSessions(ctx, "\x01stranger", otherID))(t); n != 0 {
		t.Error("a stranger ended a session")
	}
	if n := ok(o.EndSessions(ctx, key, otherID))(t); n != 1 {
		t.Errorf("ended %d", n)
	}
	ok(o.Session(ctx, signed))(t)
	ok(o.NewSession(ctx, key))(t)
	if n := ok(o.EndSessions(ctx, key))(t); n != 2 {
		t.Errorf("ended %d of all", n)
	}
	_, err = o.Session(ctx, signed)
	want(t, "an ended session", err, ErrNotFound)
	do(t, o.EndSession(ctx, signed))
	_, err = o.Sessions(ctx, "")
	want(t, "visitors", err, ErrInvalid)
	_, err = o.EndSessions(ctx, "")
	want(t, "visitors", err, ErrInvalid)
}

func TestSessionExpiry(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	_, key := privateKey(t, keys.Ed25519, 1)
	idle, busy := ok(o.NewSession(ctx, key))(t), ok(o.NewSession(ctx, key))(t)
	for range 11 { // used every hour, eleven times
		c.pass(time.Hour)
		ok(o.Session(ctx, busy))(t)
	}
	_, err := o.Session(ctx, idle)
	want(t, "idle", err, ErrExpired)
	_, err = o.Rotate(ctx, idle, key)
	want(t, "rotating an idle one", err, ErrExpired)
	if list := ok(o.Sessions(ctx, key))(t); len(list) != 1 {
		t.Errorf("listed %d", len(list))
	}
	c.pass(time.Hour - time.Millisecond)
	ok(o.Session(ctx, busy))(t)
	c.pass(time.Millisecond)
	_, err = o.Session(ctx, busy)
	want(t, "after twelve hours", err, ErrExpired)
	if s := ok(o.Sweep(ctx))(t); s.Rows != 2 {
		t.Errorf("swept %+v", s)
	}
	_, err = o.Session(ctx, busy)
	want(t, "swept", err, ErrNotFound)
}

// TestRotateOnce lets several requests with one token sign in at once.
func TestRotateOnce(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	token := ok(o.NewSession(ctx, ""))(t)
	var wg sync.WaitGroup
	var done atomic.Int32
	for range 8 {
		wg.Go(func() {
			if _, err := o.Rotate(ctx, token, "\x01key"); err == nil {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 {
		t.Errorf("%d sessions came of one", done.Load())
	}
}

func TestChallenges(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	mine, other := ok(o.NewSession(ctx, ""))(t), ok(o.NewSession(ctx, ""))(t)
	ch := ok(o.NewChallenge(ctx, mine, "sign-in"))(t)
	scan(t, o.dir, string(ch[:]))
	want(t, "another session", o.UseChallenge(ctx, other, "sign-in", ch[:]), ErrNotFound)
	want(t, "another purpose", o.UseChallenge(ctx, mine, "register", ch[:]), ErrNotFound)
	want(t, "no session", o.UseChallenge(ctx, "", "sign-in", ch[:]), ErrNotFound)
	want(t, "another challenge", o.UseChallenge(ctx, mine, "sign-in", ch[:31]), ErrNotFound)

	var wg sync.WaitGroup
	var done atomic.Int32
	for range 8 {
		wg.Go(func() {
			if o.UseChallenge(ctx, mine, "sign-in", ch[:]) == nil {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 {
		t.Errorf("one challenge was used %d times", done.Load())
	}

	ch = ok(o.NewChallenge(ctx, mine, "sign-in"))(t)
	c.pass(challengeLife)
	want(t, "too late", o.UseChallenge(ctx, mine, "sign-in", ch[:]), ErrExpired)
	want(t, "again", o.UseChallenge(ctx, mine, "sign-in", ch[:]), ErrNotFound)

	// Rotation takes challenges with it, and a session has few.
	ch = ok(o.NewChallenge(ctx, mine, "sign-in"))(t)
	fresh := ok(o.Rotate(ctx, mine, "\x01key"))(t)
	want(t, "the session after", o.UseChallenge(ctx, fresh, "sign-in", ch[:]), ErrNotFound)
	first := ok(o.NewChallenge(ctx, fresh, "x"))(t)
	for range maxChallenges {
		c.pass(time.Second)
		ok(o.NewChallenge(ctx, fresh, "x"))(t)
	}
	want(t, "the oldest of too many", o.UseChallenge(ctx, fresh, "x", first[:]), ErrNotFound)
	var n int
	do(t, o.reads.QueryRow(`SELECT count(*) FROM challenge`).Scan(&n))
	if n != maxChallenges {
		t.Errorf("%d challenges", n)
	}
}

func passkeyOf(t *testing.T, n byte, rp, origin string) cityid.PublicKey {
	_, p256 := privateKey(t, keys.P256, n)
	raw := "\x03" + string(p256[1:]) + string([]byte{byte(len(rp))}) + rp + string([]byte{byte(len(origin) >> 8), byte(len(origin))}) + origin
	return cityid.PublicKey(ok(keys.ParsePublic([]byte(raw)))(t).Raw())
}

func TestPasskeys(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	wang, li := NewPerson(), NewPerson()
	a := Passkey{Credential: []byte("a"), Key: passkeyOf(t, 1, "id.example", "https://id.example"), Person: wang, Name: "王的手机"}
	b := Passkey{Credential: []byte("b"), Key: passkeyOf(t, 2, "localhost", "http://localhost:8080"), Person: wang}
	do(t, o.AddPasskey(ctx, a))
	c.pass(time.Second)
	do(t, o.AddPasskey(ctx, b))
	got := ok(o.PasskeyByCredential(ctx, []byte("a")))(t)
	if got.Key != a.Key || got.RPID != "id.example" || got.Name != a.Name || !got.Used.IsZero() || string(got.Person) != string(wang) {
		t.Errorf("passkey %+v", got)
	}
	got = ok(o.PasskeyByKey(ctx, b.Key))(t)
	if string(got.Credential) != "b" || got.RPID != "localhost" {
		t.Errorf("passkey %+v", got)
	}
	if list := ok(o.PasskeysOf(ctx, wang))(t); len(list) != 2 || string(list[0].Credential) != "a" {
		t.Errorf("passkeys %+v", list)
	}
	_, err := o.PasskeyByCredential(ctx, []byte("c"))
	want(t, "unknown", err, ErrNotFound)

	again := a
	again.Key = passkeyOf(t, 3, "id.example", "https://id.example")
	want(t, "credential twice", o.AddPasskey(ctx, again), ErrConflict)
	again = a
	again.Credential = []byte("z")
	want(t, "key twice", o.AddPasskey(ctx, again), ErrConflict)
	_, plain := privateKey(t, keys.Ed25519, 1)
	for what, p := range map[string]Passkey{
		"no passkey": {Credential: []byte("c"), Key: plain, Person: li}, "no key": {Credential: []byte("c"), Person: li},
		"no credential": {Key: again.Key, Person: li}, "no person": {Credential: []byte("c"), Key: again.Key},
		"control characters": {Credential: []byte("c"), Key: again.Key, Person: li, Name: "a\nb"},
	} {
		want(t, what, o.AddPasskey(ctx, p), ErrInvalid)
	}

	do(t, o.TouchPasskey(ctx, []byte("a")))
	do(t, o.RenamePasskey(ctx, wang, []byte("a"), "phone"))
	want(t, "renamed by another", o.RenamePasskey(ctx, li, []byte("a"), "mine"), ErrNotFound)
	want(t, "removed by another", o.RemovePasskey(ctx, li, []byte("a")), ErrNotFound)
	if got := ok(o.PasskeyByCredential(ctx, []byte("a")))(t); got.Name != "phone" || !got.Used.Equal(c.now()) {
		t.Errorf("passkey %+v", got)
	}
	do(t, o.RemovePasskey(ctx, wang, []byte("a")))
	want(t, "removed", o.TouchPasskey(ctx, []byte("a")), ErrNotFound)
	for i := byte(10); i < 10+MaxPasskeys-1; i++ {
		do(t, o.AddPasskey(ctx, Passkey{Credential: []byte{i}, Key: passkeyOf(t, i, "id.example", "https://id.example"), Person: wang}))
	}
	want(t, "one too many", o.AddPasskey(ctx, Passkey{Credential: []byte("x"), Key: passkeyOf(t, 99, "id.example", "https://id.example"), Person: wang}), ErrTooLarge)
}
