// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/verify"
)

// ServerError is why a server's answer did not do.
type ServerError struct {
	Address string
	Err     error // a [*Rejected] for one that was not found valid
}

// ZoneError says that no server of a zone gave an answer that proves itself.
type ZoneError struct {
	Zone    cityid.Code // its apex
	Chain   string
	Code    cityid.ErrorCode
	Servers []ServerError // those that were asked, in order of their answers
	Reason  string        // where none was: why
}

// Error names the zone, and each server with what it said.
func (e *ZoneError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "zone of %s (chain %s): ", e.Zone, e.Chain)
	if len(e.Servers) == 0 {
		b.WriteString(e.Reason)
	}
	for i, s := range e.Servers {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %s", s.Address, brief(s.Err))
	}
	return b.String()
}

// Unwrap returns the code and what each server said.
func (e *ZoneError) Unwrap() []error {
	list := []error{e.Code}
	for _, s := range e.Servers {
		list = append(list, s.Err)
	}
	return list
}

// brief cuts what a server may have written.
func brief(err error) string {
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if r := []rune(text); len(r) > 300 {
		text = string(r[:300]) + "…"
	}
	return text
}

// outcome is what came of asking one server.
type outcome struct {
	server *server
	proven *proven
	err    error
	final  bool // err is proven: no other server would answer otherwise
}

// ask asks the servers of a zone until one gives a proven answer, or referral to
// a zone below. The next one is asked when one has failed, or has taken long.
func (z *Zones) ask(ctx context.Context, at *zone, q cityid.BundleQuery) (*proven, error) {
	if err := at.state.limit.enter(ctx); err != nil {
		return nil, &ZoneError{Zone: at.apex, Chain: at.chain, Code: cityid.CodeOf(err), Reason: err.Error()}
	}
	defer at.state.limit.leave()
	if !at.state.down(z.c.Now()) {
		return z.askAll(ctx, at, q)
	}
	// All have failed lately. One question finds out how they are; the others wait for it.
	mine := false
	p, err := at.state.probes.do(ctx, "", func(ctx context.Context) (*proven, error) {
		mine = true
		ctx, cancel := context.WithTimeout(ctx, walkPatience)
		defer cancel()
		return z.askAll(ctx, at, q)
	})
	if err != nil && cityid.CodeOf(err) == cityid.ErrUnavailable || mine {
		return p, err
	}
	return z.askAll(ctx, at, q)
}

func (z *Zones) askAll(ctx context.Context, at *zone, q cityid.BundleQuery) (*proven, error) {
	list := at.state.order(z.c.Now())
	if len(list) == 0 {
		return nil, &ZoneError{Zone: at.apex, Chain: at.chain, Code: cityid.ErrUnavailable, Reason: at.state.reason()}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan outcome, len(list))
	asked, running := 0, 0
	begin := func() {
		if asked == len(list) {
			return
		}
		s := list[asked]
		asked, running = asked+1, running+1
		go func() { results <- z.askOne(ctx, at, s, q) }()
	}
	begin()
	hedge := time.NewTicker(z.c.Hedge)
	defer hedge.Stop()
	failure := &ZoneError{Zone: at.apex, Chain: at.chain}
	var late *proven // good, but older than what is known
	for running > 0 {
		select {
		case <-ctx.Done():
			failure.Code, failure.Servers = cityid.ErrUnavailable, append(failure.Servers, ServerError{"after " + fmt.Sprint(asked) + " servers", ctx.Err()})
			return nil, failure
		case <-hedge.C:
			if asked == len(list) && late != nil {
				return late, nil
			}
			begin()
		case o := <-results:
			running--
			switch {
			case o.err == nil && at.state.recent(o.proven, z.c.Lag):
				return o.proven, nil
			case o.err == nil:
				if late == nil || o.proven.result.AsOf.Height > late.result.AsOf.Height {
					late = o.proven
				}
			case o.final:
				return nil, &ZoneError{Zone: at.apex, Chain: at.chain, Code: cityid.ErrRetry, Servers: []ServerError{{o.server.address, o.err}}}
			default:
				failure.Servers = append(failure.Servers, ServerError{o.server.address, o.err})
			}
			begin()
		}
	}
	if late != nil {
		return late, nil
	}
	failure.Code = failure.code()
	return nil, failure
}

// code is what the failures of all servers come to: what those that answered
// said if all of them refused the question itself.
func (e *ZoneError) code() cityid.ErrorCode {
	code := cityid.ErrUnavailable
	for _, s := range e.Servers {
		switch c := refusal(s.Err); {
		case c != cityid.OK:
			code = c
		case !errors.Is(s.Err, ErrUnreachable):
			return cityid.ErrUnavailable
		}
	}
	return code
}

// refusal returns the code of a server's refusal of the question itself, not of
// this moment; else [cityid.OK].
func refusal(err error) cityid.ErrorCode {
	var e *cityid.Error
	if errors.As(err, &e) {
		switch e.Code {
		case cityid.ErrMalformed, cityid.ErrTooLarge, cityid.ErrNotFound, cityid.ErrInvalid, cityid.ErrUnsupported:
			return e.Code
		}
	}
	return cityid.OK
}

// askOne asks one server, and for a referral if it says that it is not the one
// to ask.
func (z *Zones) askOne(ctx context.Context, at *zone, s *server, q cityid.BundleQuery) outcome {
	begun := time.Now()
	requests, cancel := context.WithTimeout(ctx, z.c.Timeout)
	defer cancel()
	z.counts.requests.Add(1)
	data, err := s.bundle(requests, z.question(at, q))
	if err != nil && cityid.CodeOf(err) == cityid.ErrDelegated && q.Kind != cityid.AnswerReferral {
		q = cityid.BundleQuery{Code: q.Code, Kind: cityid.AnswerReferral}
		z.counts.requests.Add(1)
		if data, err = s.bundle(requests, z.question(at, q)); err != nil {
			err = fmt.Errorf("says that another zone answers, but gives no referral: %w", detached{err})
		}
	}
	o := outcome{server: s, err: err}
	if err == nil {
		o.proven, o.err = z.judge(at, q, data)
	}
	var r *Rejected
	o.final = errors.As(o.err, &r) && frozen(&r.Result)
	if ctx.Err() != nil && o.err != nil { // given up: another one was quicker
		s.slow(time.Since(begun))
		return o
	}
	lied := o.err != nil && err == nil && !o.final
	if o.err != nil && !o.final && refusal(o.err) == cityid.OK {
		z.counts.failures.Add(1)
		s.failed(z.c.Now(), o.err, lied)
	} else {
		s.answered(time.Since(begun))
	}
	return o
}

// detached hides the code of an error: it is no answer to the question asked.
type detached struct{ err error }

// Error returns what the error says.
func (d detached) Error() string { return d.err.Error() }

// Is knows that nobody was reached, and no code.
func (d detached) Is(target error) bool { return target == ErrUnreachable && errors.Is(d.err, target) }

// question is q as it is put to a zone's servers.
func (z *Zones) question(at *zone, q cityid.BundleQuery) cityid.BundleQuery {
	if at.way != nil {
		q.Anchor = &at.anchor
		return q
	}
	s := &z.latest().Statement
	q.From, q.Base = s.Version, s.Height
	return q
}

// frozen reports whether all that keeps a result from being valid is that a zone
// is frozen.
func frozen(r *verify.Result) bool {
	n := 0
	for _, c := range r.Checks {
		if c.Verdict != verify.Valid {
			n++
		}
	}
	return n == 1 && r.Verdict == verify.Undecided && r.Reason == verify.ReasonFrozen
}

// bundle asks the server for a bundle.
func (s *server) bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
	bounded := *s.client
	bounded.maxAnswer = verify.MaxBundle
	if slices.Contains([]cityid.AnswerKind{cityid.AnswerRecord, cityid.AnswerReferral}, q.Kind) {
		bounded.maxAnswer = maxSmall
	}
	return bounded.Bundle(ctx, q)
}
