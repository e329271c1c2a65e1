// SPDX-License-Identifier: Apache-2.0

package share

import (
	"errors"
	"net/http"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Replay is what is known of one minute of a feed: its observations, and the
// fetches that brought them, each of which has evidence.
type Replay struct {
	Minute       time.Time     `json:"minute"`
	Observations []Observed    `json:"observations"`   // first those that stand
	More         bool          `json:"more,omitempty"` // there are others: ask for one indicator or source
	Fetches      []ReplayFetch `json:"fetches"`
	Now          time.Time     `json:"now"`
}

// ReplayFetch is a fetch that brought some of the minute.
type ReplayFetch struct {
	Entry        cityid.Digest  `json:"entry"`
	Agreement    cityid.Digest  `json:"agreement"`
	Provider     cityid.Code    `json:"provider"`
	Receipt      ledger.Receipt `json:"receipt"`
	Acknowledged bool           `json:"acknowledged"`
	Anchored     cityid.Time    `json:"anchored,omitzero"`  // by this side
	Batch        uint64         `json:"batch,omitempty"`    // of this side's log; 0: none yet
	PeerLog      string         `json:"peer_log,omitempty"` // where the other side has shown to have anchored it; "": not asked, or not yet
	PeerBatch    uint64         `json:"peer_batch,omitempty"`
}

// localReplay answers about a minute: ?minute=RFC3339 &dataset=CODE &indicator=ID &source=CODE.
func (g *Gateway) localReplay(w http.ResponseWriter, r *http.Request) error {
	ctx, values := r.Context(), r.URL.Query()
	minute, err := time.Parse(time.RFC3339, values.Get("minute"))
	if err != nil || len(values["minute"]) != 1 {
		return cityid.Errorf(cityid.ErrMalformed, "query: minute=%.40q: want one time such as 2026-11-24T08:15:00Z", values.Get("minute"))
	}
	values.Del("minute")
	q, err := seriesQuery(values)
	if err != nil {
		return err
	}
	minute = minute.UTC().Truncate(time.Minute)
	q.From, q.To = cityid.TimeOf(minute), cityid.TimeOf(minute)+60
	out := Replay{Minute: minute, Observations: []Observed{}, Fetches: []ReplayFetch{}, Now: g.now().UTC()}
	seen := map[uint64]bool{}
	for _, replaced := range []bool{false, true} {
		read := g.ledger.Observations
		if replaced {
			read = g.ledger.Replaced
		}
		list, err := read(ctx, q, maxReplayed+1)
		if err != nil {
			return err
		}
		if len(list) > maxReplayed {
			list, out.More = list[:maxReplayed], true
		}
		observed, err := g.observed(ctx, list, replaced)
		if err != nil {
			return err
		}
		out.Observations = append(out.Observations, observed...)
		for _, o := range list {
			if seen[o.Entry] {
				continue
			}
			seen[o.Entry] = true
			d, err := g.ledger.Entry(ctx, o.Entry)
			if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			out.Fetches = append(out.Fetches, replayFetch(&d))
		}
	}
	return web.WriteJSON(w, r, http.StatusOK, out)
}

// maxReplayed bounds the observations of a replay, and the replaced ones apart.
const maxReplayed = 5000

func replayFetch(d *ledger.Detail) ReplayFetch {
	f := ReplayFetch{
		Entry: d.Hash, Agreement: d.Agreement, Provider: d.Peer, Receipt: d.Receipt, Acknowledged: d.Acknowledged, Anchored: d.Anchored, Batch: d.Batch,
	}
	if p, _, _, err := ledger.DecodeLeafProof(d.PeerProof); err == nil {
		f.PeerLog, f.PeerBatch = p.Log, p.Sequence
	}
	return f
}
