// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"

	"cityid"
)

// A cursor says where a page ended: in which tier, or at what distance, and
// after which code. It also holds a hash of the query, so that it can not be
// taken for one of another. In base64url: version (1), hash (8), tier (1),
// millimetres (8), code.
type cursor struct {
	tier     int
	distance int64
	code     cityid.Code // zero: before the first of the tier
}

const cursorVersion = 1

var errCursor = cityid.Errorf(cityid.ErrMalformed, "cursor: it is not of this query, or the index was made anew since: ask for the first page again")

// queryHash is the hash of all of a query that its pages share.
func queryHash(q *cityid.SearchQuery) [8]byte {
	same := *q
	same.After, same.Limit, same.MinHeight = "", 0, 0
	b, err := json.Marshal(same)
	if err != nil {
		b = nil // a kind or status without a name can not come here
	}
	h := sha256.Sum256(b)
	return [8]byte(h[:8])
}

func (c *cursor) String(q *cityid.SearchQuery) string {
	h := queryHash(q)
	b := append([]byte{cursorVersion}, h[:]...)
	b = append(b, byte(c.tier))
	b = binary.BigEndian.AppendUint64(b, uint64(c.distance))
	return base64.RawURLEncoding.EncodeToString(append(b, c.code.String()...))
}

// parseCursor returns the query's cursor, or nil if it asks for the first page.
func parseCursor(q *cityid.SearchQuery) (*cursor, error) {
	if q.After == "" {
		return nil, nil
	}
	const head = 1 + 8 + 1 + 8
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.After)
	if err != nil || len(b) < head || b[0] != cursorVersion || [8]byte(b[1:9]) != queryHash(q) {
		return nil, errCursor
	}
	c := &cursor{tier: int(b[9]), distance: int64(binary.BigEndian.Uint64(b[10:head]))}
	near := q.Near != nil
	if len(b) > head || near {
		if c.code, err = cityid.ParseCanonical(string(b[head:])); err != nil {
			return nil, errCursor
		}
	}
	if near != (c.tier == 0) || c.tier > tierAll || c.distance < 0 || !near && c.distance != 0 || c.distance > halfway*1000 {
		return nil, errCursor
	}
	return c, nil
}

// next is the cursor of the page after a row of a tier.
func (c *condition) next(tier int, last *doc) string {
	cur := cursor{tier: tier}
	if last != nil {
		cur.code = last.code
	}
	return cur.String(&c.q)
}
