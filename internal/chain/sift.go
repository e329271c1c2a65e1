// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"sync"
	"time"

	"cityid"
	"cityid/internal/registry"
)

// What strangers may put into blocks: 256 transactions at once after a pause,
// and 1 KiB a second, some 86 MB a day, in the long run.
const (
	strangersBurst = 1 << 20 // octets
	strangersRate  = 1 << 10 // octets a second
	// blockCost is what a transaction weighs besides its own octets: it may
	// cause a block, and one more to prove it.
	blockCost = 4 << 10
)

// allowance is how many octets of transactions that would be refused as things
// stand may yet enter the mempool. It is safe for concurrent use.
type allowance struct {
	mu   sync.Mutex
	full time.Time // when all of it will be there again
}

// take takes n octets, if they are there.
func (a *allowance) take(n int, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	full := a.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Duration(n) * time.Second / strangersRate)
	if full.Sub(now) > strangersBurst*time.Second/strangersRate {
		return false
	}
	a.full = full
	return true
}

// sift keeps transactions out of the mempool that would fill blocks with
// refusals. A signature alone costs nobody anything, and what stands in a block
// stays on the disks of all nodes. So it asks whether the signers may do
// anything at all, which only whoever holds a key of some policy can:
//
//   - Whose transactions were applied lately may submit.
//   - Of others, the first step is tried on the latest state. If it applies, so
//     may they; but a new version of the trust root, which proves itself, brings
//     nothing in besides itself.
//   - If not, the transaction may still be a good one, which follows others that
//     wait. Such transactions share an allowance. When it is used up they are
//     refused with [cityid.ErrFull]: when the others are recorded, they pass.
//   - What a block has refused must apply as a whole, or anybody could have it
//     refused again and again until it expires.
//
// Each node sifts for its own mempool. Blocks are not judged by it. refused is the
// receipt of the transaction, if it has one.
func (a *Application) sift(r reader, block registry.Block, tx *cityid.Tx, body *cityid.Body, refused *cityid.Receipt) error {
	if refused != nil && refused.Code != cityid.OK {
		return a.try(r, block, tx, body)
	}
	if a.track.stands(body.Signers) {
		return nil
	}
	if (authorizes(body.Operations[0]) || len(body.Operations) == 1) && a.try(r, block, tx, firstStep(body)) == nil {
		return nil
	}
	if !a.strangers.take(blockCost+len(tx.Body), a.clock()) {
		return cityid.Errorf(cityid.ErrFull, "the signers may not do this as things stand, and many such transactions have come: if it follows others that wait, submit it again when they are recorded")
	}
	return nil
}

// authorizes reports whether who signs a transaction with the operation needs
// a key of some policy. A new version of the trust root proves itself.
func authorizes(op cityid.Operation) bool { return op.SetTrust == nil }

// firstStep returns the body cut down to its first operation, and that to its
// first item.
func firstStep(body *cityid.Body) *cityid.Body {
	first := *body
	first.Operations = []cityid.Operation{body.Operations[0]}
	if op := first.Operations[0].Allocate; op != nil && len(op.Items) > 1 {
		first.Operations[0].Allocate = &cityid.Allocate{Items: op.Items[:1]}
	}
	return &first
}

// try carries out a transaction, or a part of it, without effect.
func (a *Application) try(r reader, block registry.Block, tx *cityid.Tx, part *cityid.Body) error {
	never := func(cityid.Digest) bool { return false }
	_, err := registry.NewExecutor(unwritten{r}, block, never, a.cache.verify).Apply(tx, part)
	return err
}

// unwritten is a state that forgets what is written.
type unwritten struct{ reader }

func (unwritten) Set(_, _ []byte) {}
func (unwritten) Delete(_ []byte) {}
