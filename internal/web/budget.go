// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"sync/atomic"

	"cityid"
)

// What a server holds in memory of large answers while clients read them, who
// may take their time.
const (
	largeAnswer  = 64 << 10  // octets from which an answer counts
	largeAnswers = 256 << 20 // octets of all of them
)

// budget counts the octets of large answers that are being written.
type budget struct{ used atomic.Int64 }

// take takes n octets until done is called; done is nil if they are not there.
func (b *budget) take(n int) (done func()) {
	if b == nil || n < largeAnswer {
		return func() {}
	}
	size := int64(n)
	if b.used.Add(size) > largeAnswers {
		b.used.Add(-size)
		return nil
	}
	return func() { b.used.Add(-size) }
}

// budgetOf returns the budget of the server that ctx's request came to, or nil.
func budgetOf(ctx context.Context) *budget {
	if i := infoOf(ctx); i != nil {
		return i.large
	}
	return nil
}

func errBusy() error {
	return cityid.Errorf(cityid.ErrUnavailable, "too many large answers are being sent: try again")
}
