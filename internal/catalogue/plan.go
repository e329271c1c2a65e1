// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"cityid"
)

// plan says which gateway is asked for what, and when. It is safe for concurrent
// use.
type plan struct {
	o *Options

	mu       sync.Mutex
	jobs     map[int64]*job
	waiting  jobHeap // jobs that no visit has, the soonest first
	gateways map[string]*gateway
	ready    map[*gateway]bool // those with a queue
	prompt   int               // visits under way
	suspect  int               // of gateways that failed or were slow
	total    int64             // octets held of all documents
	woken    chan struct{}     // holds one when something may be due
}

// job is a dataset that is to be asked for.
type job struct {
	id       int64
	gateways []*gateway
	next     time.Time // zero: never
	octets   int64     // held of its documents
	at       int       // in the heap; -1: it is not there
	held     bool      // a queue or a visit has it
	gone     bool
}

// gateway is an address that documents come from.
type gateway struct {
	address string
	down    atomic.Pointer[string] // why it does not answer; nil: it does, or was not asked

	// under plan.mu
	queue  []*job
	busy   bool
	slow   bool      // it took long the last time
	since  time.Time // of the first of visits in a row that failed; zero: it answers
	next   time.Time
	octets int64 // held of its documents
}

func newPlan(o *Options) *plan {
	return &plan{o: o, jobs: map[int64]*job{}, gateways: map[string]*gateway{}, ready: map[*gateway]bool{}, woken: make(chan struct{}, 1)}
}

func (p *plan) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (p *plan) gateway(address string) *gateway {
	g := p.gateways[address]
	if g == nil {
		g = &gateway{address: address}
		p.gateways[address] = g
	}
	return g
}

// restore takes over what is remembered of a gateway.
func (p *plan) restore(address string, s gatewayState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.gateway(address)
	g.since, g.next = s.Since.Std(), s.Next.Std()
	g.down.Store(&s.Detail)
}

// put takes over what a row says, and returns its first gateway, nil if it has
// none.
func (p *plan) put(r *row) *gateway {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[r.ID]
	if j == nil {
		j = &job{id: r.ID, at: -1}
		p.jobs[r.ID] = j
	}
	p.count(j, -j.octets)
	j.gateways = j.gateways[:0:0]
	for _, a := range r.Gateways {
		j.gateways = append(j.gateways, p.gateway(a))
	}
	j.octets = 0
	for i := range r.Parts {
		j.octets += int64(r.Parts[i].Size)
	}
	p.count(j, j.octets)
	j.next = time.Time{}
	if r.Next != 0 {
		j.next = r.Next.Std()
	}
	p.wait(j)
	p.wake()
	if len(j.gateways) == 0 {
		return nil
	}
	return j.gateways[0]
}

func (p *plan) count(j *job, octets int64) {
	p.total += octets
	if len(j.gateways) > 0 {
		j.gateways[0].octets += octets
	}
}

// wait puts a job where its time says, unless a queue or a visit has it. The
// caller holds mu.
func (p *plan) wait(j *job) {
	switch {
	case j.held:
	case j.next.IsZero() && j.at >= 0:
		heap.Remove(&p.waiting, j.at)
		j.at = -1
	case j.next.IsZero():
	case j.at >= 0:
		heap.Fix(&p.waiting, j.at)
	default:
		heap.Push(&p.waiting, j)
	}
}

func (p *plan) remove(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[id]
	if j == nil {
		return
	}
	p.count(j, -j.octets)
	j.gone, j.next = true, time.Time{}
	p.wait(j)
	delete(p.jobs, id)
}

// reserve reports whether documents of a job may take so many more octets, and if
// so counts them until the row is put.
func (p *plan) reserve(j *job, octets int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.gone || len(j.gateways) == 0 {
		return true // what comes is not kept
	}
	if j.gateways[0].octets+octets > p.o.MaxGateway || p.total+octets > p.o.MaxTotal {
		return false
	}
	j.octets += octets
	p.count(j, octets)
	return true
}

// visit is a gateway that is to be asked now.
type visit struct {
	gateway *gateway
	suspect bool
}

// next returns a gateway to visit, or how long there is none; 0 for not before
// something changes.
func (p *plan) next(now time.Time) (*visit, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) > 0 && !p.waiting[0].next.After(now) {
		j := heap.Pop(&p.waiting).(*job)
		j.held = true
		g := j.choose()
		g.queue = append(g.queue, j)
		p.ready[g] = true
	}
	var soonest time.Time
	sooner := func(t time.Time) {
		if soonest.IsZero() || t.Before(soonest) {
			soonest = t
		}
	}
	if len(p.waiting) > 0 {
		sooner(p.waiting[0].next)
	}
	for g := range p.ready {
		suspect := !g.since.IsZero() || g.slow
		switch {
		case g.busy:
		case g.next.After(now):
			sooner(g.next)
		case suspect && p.suspect < p.o.Suspects:
			g.busy = true
			p.suspect++
			return &visit{g, true}, 0
		case !suspect && p.prompt < p.o.Visitors:
			g.busy = true
			p.prompt++
			return &visit{g, false}, 0
		}
	}
	if soonest.IsZero() {
		return nil, 0
	}
	return nil, max(soonest.Sub(now), time.Millisecond)
}

// choose returns the gateway to ask for a job: the first that answers, or the one
// that may be asked soonest.
func (j *job) choose() *gateway {
	best := j.gateways[0]
	for _, g := range j.gateways {
		if g.since.IsZero() {
			return g
		}
		if g.next.Before(best.next) {
			best = g
		}
	}
	return best
}

// take hands the visitor a job of the gateway's queue, nil if there is none.
func (p *plan) take(g *gateway) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(g.queue) > 0 {
		j := g.queue[0]
		g.queue[0] = nil
		g.queue = g.queue[1:]
		if !j.gone && len(j.gateways) > 0 {
			return j
		}
		j.held = false
	}
	g.queue = nil
	delete(p.ready, g)
	return nil
}

// giveBack ends a visitor's work on a job.
func (p *plan) giveBack(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.held = false; !j.gone {
		p.wait(j)
	}
	p.wake()
}

// leave ends a visit, which brought an answer or failed as why says.
func (p *plan) leave(v *visit, answered bool, slow bool, why string, now time.Time) (state gatewayState, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := v.gateway
	g.busy = false
	if v.suspect {
		p.suspect--
	} else {
		p.prompt--
	}
	switch {
	case why != "":
		if g.since.IsZero() {
			g.since = now
		}
		g.next = now.Add(backoff(p.o.Pause, now.Sub(g.since)))
		g.down.Store(&why)
		changed = true
		p.reroute(g)
	case answered:
		changed = !g.since.IsZero()
		g.since, g.next = time.Time{}, time.Time{}
		g.down.Store(nil)
	}
	g.slow = slow
	p.wake()
	if !g.since.IsZero() {
		state = gatewayState{unix(g.since), unix(g.next), why}
	}
	return state, changed
}

// reroute lets the jobs that wait for a gateway look for another.
func (p *plan) reroute(g *gateway) {
	var stay []*job
	for _, j := range g.queue {
		if len(j.gateways) == 0 || j.gone {
			j.held = false
			continue
		}
		if other := j.choose(); other != g {
			other.queue = append(other.queue, j)
			p.ready[other] = true
			continue
		}
		stay = append(stay, j)
	}
	if g.queue = stay; len(stay) == 0 {
		delete(p.ready, g)
	}
}

// backoff returns how long to wait after something has failed for a while: a
// quarter of that, from first up to 720 times first, and a fifth more or less. So
// what works again is noticed soon, by the measure of how long it did not.
func backoff(first, failing time.Duration) time.Duration {
	return around(min(max(failing/4, first), 720*first))
}

// around spreads what would fall together.
func around(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

// idle reports whether nothing is due and nothing under way.
func (p *plan) idle(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for g := range p.ready {
		if g.busy || !g.next.After(now) {
			return false
		}
	}
	return p.prompt+p.suspect == 0 && (len(p.waiting) == 0 || p.waiting[0].next.After(now))
}

// jobHeap orders jobs by time.
type jobHeap []*job

// Len, Less, Swap, Push and Pop are for container/heap.
func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, k int) bool { return h[i].next.Before(h[k].next) }
func (h jobHeap) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].at, h[k].at = i, k
}

// Push adds a job.
func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.at = len(*h)
	*h = append(*h, j)
}

// Pop takes the last away.
func (h *jobHeap) Pop() any {
	old := *h
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	j.at = -1
	return j
}

// nextAfter returns when to ask again after an attempt of something that has been
// failing since a time, 0 for not at all.
func (c *Catalogue) nextAfter(since cityid.Time) cityid.Time {
	d := around(c.o.Recheck)
	if now := c.o.Now(); since != 0 {
		d = backoff(c.o.Retry, now.Sub(since.Std()))
	}
	return unix(c.o.Now().Add(d))
}
