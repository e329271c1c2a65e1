// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/web"
)

// Limits bound how often one client address may do what costs others something.
// A nil Limits limits nothing.
type Limits struct {
	visits, attempts, uploads, drafts, applications, deliveries, frames, reports *web.Limiter
}

// NewLimits returns the usual limits: 120 visits of pages that begin something
// in a minute, 20 attempts to sign in or open a draft, 120 deliveries from other
// offices, 300 frames of a camera, and 60 uploads, 30 new drafts, 30 reports and
// 10 applications in an hour; each may come at once.
func NewLimits() *Limits {
	of := func(n int, in time.Duration) *web.Limiter {
		return web.NewLimiter(web.LimiterConfig{Every: in / time.Duration(n), Burst: n, Clients: 100_000})
	}
	return &Limits{
		visits: of(120, time.Minute), attempts: of(20, time.Minute), uploads: of(60, time.Hour), applications: of(10, time.Hour),
		deliveries: of(120, time.Minute), frames: of(300, time.Minute), drafts: of(30, time.Hour), reports: of(30, time.Hour),
	}
}

func take(l *web.Limiter, r *http.Request) error {
	if wait := l.Take(web.ClientAddr(r)); wait > 0 {
		return cityid.Errorf(cityid.ErrFull, "too often from your address: try again in %s seconds", strconv.FormatInt(int64(wait/time.Second)+1, 10))
	}
	return nil
}

// Visit counts a visit. Like the other methods it refuses one that comes too
// early, with [cityid.ErrFull].
func (l *Limits) Visit(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.visits, r)
}

// Attempt counts an attempt at a secret.
func (l *Limits) Attempt(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.attempts, r)
}

// Upload counts a file.
func (l *Limits) Upload(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.uploads, r)
}

// Application counts an application that is handed in.
func (l *Limits) Application(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.applications, r)
}

// Delivery counts an envelope that another office sends.
func (l *Limits) Delivery(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.deliveries, r)
}

// Frame counts a frame of a camera that is read here.
func (l *Limits) Frame(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.frames, r)
}

// Draft counts a draft that is begun.
func (l *Limits) Draft(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.drafts, r)
}

// Report counts a report that is handed in.
func (l *Limits) Report(r *http.Request) error {
	if l == nil {
		return nil
	}
	return take(l.reports, r)
}
