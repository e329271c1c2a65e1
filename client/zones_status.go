// SPDX-License-Identifier: Apache-2.0

package client

import (
	"slices"
	"time"

	"cityid"
)

// ZonesStatus says how [Zones] are doing.
type ZonesStatus struct {
	Trust     uint32        `json:"trust"` // latest version of the trust root
	TrustHash cityid.Digest `json:"trust_hash"`
	KeepError string        `json:"keep_error,omitempty"` // why the trust file could not be kept
	Answers   int           `json:"answers"`              // kept
	Octets    int64         `json:"octets"`               // of all that is kept
	Hits      uint64        `json:"hits"`                 // questions answered from what is kept
	Stale     uint64        `json:"stale"`                // of what is kept, while it was fetched anew
	Misses    uint64        `json:"misses"`               // for which somebody had to be asked
	Waiting   int           `json:"waiting"`              // who wait for an answer now
	Fallbacks uint64        `json:"fallbacks"`            // answered from what is kept since nobody answered
	Requests  uint64        `json:"requests"`             // to servers
	Failures  uint64        `json:"failures"`             // of those
	Zones     []ZoneStatus  `json:"zones"`                // the trust root's, and those asked last
}

// ZoneStatus says what is known of a zone.
type ZoneStatus struct {
	Zone    cityid.Code    `json:"zone"` // its apex
	Chain   string         `json:"chain"`
	Status  cityid.Status  `json:"status,omitempty"` // of the apex, in the zone above
	Height  uint64         `json:"checkpoint"`       // height of the checkpoint from which answers lead on
	Known   time.Time      `json:"known,omitzero"`   // when it was asked for
	Until   time.Time      `json:"until,omitzero"`   // when that is no longer valid
	Frozen  string         `json:"frozen,omitempty"` // why nothing of it can be proven now
	Newest  time.Time      `json:"newest,omitzero"`  // time of the latest header seen
	Servers []ServerStatus `json:"servers"`
}

// ServerStatus says how one server of a zone has been.
type ServerStatus struct {
	Address string        `json:"address"`
	Good    uint64        `json:"good"` // answers that were proven
	Bad     uint64        `json:"bad"`
	Failing int           `json:"failing,omitempty"` // failures since the last good answer
	Until   time.Time     `json:"until,omitzero"`    // others are asked first until then
	Took    time.Duration `json:"took"`              // an answer of late, nanoseconds
	Last    string        `json:"last,omitempty"`    // the last failure
	LastAt  time.Time     `json:"last_at,omitzero"`
}

// Status says how the zones and their servers are.
func (z *Zones) Status() ZonesStatus {
	n, octets := z.answers.count()
	known, more := z.zones.all()
	out := ZonesStatus{
		Answers: n, Octets: octets + more, Hits: z.counts.hits.Load(), Stale: z.counts.stale.Load(), Misses: z.counts.misses.Load(),
		Fallbacks: z.counts.fallbacks.Load(), Requests: z.counts.requests.Load(), Failures: z.counts.failures.Load(),
	}
	out.Waiting = z.flights.waiting()
	z.trustMu.Lock()
	s := &z.trust.Latest().Statement
	out.Trust, out.TrustHash = s.Version, s.Hash()
	if z.kept != nil {
		out.KeepError = z.kept.Error()
	}
	z.trustMu.Unlock()
	for _, at := range slices.Concat([]*zone{z.root}, known) {
		out.Zones = append(out.Zones, at.tell())
	}
	return out
}

func (at *zone) tell() ZoneStatus {
	out := ZoneStatus{Zone: at.apex, Chain: at.chain, Status: at.status, Height: at.anchor, Known: at.taken, Until: at.until, Servers: []ServerStatus{}}
	if at.frozen != nil {
		out.Frozen = brief(at.frozen)
	}
	at.state.mu.Lock()
	out.Newest = at.state.newest
	at.state.mu.Unlock()
	for _, s := range at.state.servers() {
		s.mu.Lock()
		out.Servers = append(out.Servers, ServerStatus{s.address, s.good, s.bad, s.fails, s.until, s.took, s.last, s.lastAt})
		s.mu.Unlock()
	}
	return out
}
