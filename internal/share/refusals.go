// SPDX-License-Identifier: Apache-2.0

package share

import (
	"sync"
	"time"

	"cityid"
)

// Refusals under a signature leave an entry each. So that nobody fills a provider's
// log with them, one agreement has so many at once, and one more every so often.
const (
	refusalBurst = 100
	refusalEvery = 10 * time.Second
	maxRefusals  = 4096 // agreements that are counted
)

// refusals counts them. Only agreements whose consumer's key signed come here.
type refusals struct {
	mu   sync.Mutex
	full map[cityid.Digest]time.Time // when each agreement will have all of them again
}

// take takes one, and reports whether there was one.
func (r *refusals) take(id cityid.Digest, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full == nil {
		r.full = map[cityid.Digest]time.Time{}
	}
	full, known := r.full[id]
	if !known && len(r.full) >= maxRefusals {
		for k, t := range r.full {
			if !t.After(now) {
				delete(r.full, k)
			}
		}
		if len(r.full) >= maxRefusals {
			return false
		}
	}
	// A clock that was put back does not make a debt of it.
	if full.Before(now) || full.Sub(now) > refusalBurst*refusalEvery {
		full = now
	}
	if full.Sub(now) > (refusalBurst-1)*refusalEvery {
		return false
	}
	r.full[id] = full.Add(refusalEvery)
	return true
}
