// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"

	"cityid"
)

// An access log says who fetched what under one agreement. A gateway answers with
// an [AccessPage] in JSON, and is asked by the query that [AccessQuery.Values]
// writes:
//
//	agreement=64 hexadecimal digits   required
//	direction=served or fetched       both without it
//	from=, to=                        RFC 3339; logged at or after, and before
//	after=CURSOR                      of the page before
//	limit=1 to 500                    100 without it

// AccessQuery asks for part of an access log.
type AccessQuery struct {
	Agreement cityid.Digest
	Direction Direction // 0: both
	From, To  time.Time // logged at or after, and before; zero: no bound
	After     Cursor
	Limit     int // 1 to MaxPage; 0: 100
}

// AccessEntry is one fetch, with data or refused.
type AccessEntry struct {
	Entry        cityid.Digest `json:"entry"` // hash of the entry, by which evidence is asked for
	Direction    Direction     `json:"direction"`
	Time         time.Time     `json:"time"`          // by the clock of the gateway that is asked
	Peer         cityid.Code   `json:"peer,omitzero"` // the other party
	Path         string        `json:"path"`          // with the query
	Status       uint32        `json:"status"`
	Octets       uint64        `json:"octets"`
	Provider     cityid.Code   `json:"provider"` // of the receipt: its log and number there
	Log          string        `json:"log"`
	Number       uint64        `json:"number"`
	Awaits       bool          `json:"awaits,omitzero"` // an acknowledgement
	Acknowledged bool          `json:"acknowledged,omitzero"`
	Batch        uint64        `json:"batch,omitzero"`    // of the log that is asked; 0: in none yet
	Anchored     cityid.Time   `json:"anchored,omitzero"` // block time; 0: not yet
	Height       uint64        `json:"height,omitzero"`   // of the block
}

// AccessUsage is what a day's limits are counted against.
type AccessUsage struct {
	Requests uint64 `json:"requests"` // answered with data
	Octets   uint64 `json:"octets"`
	Refused  uint64 `json:"refused"`
}

// AccessPage is part of an access log, the latest fetch first.
type AccessPage struct {
	Party   cityid.Code   `json:"party"` // whose gateway it is
	Entries []AccessEntry `json:"entries"`
	Next    string        `json:"next,omitzero"` // cursor of the next page; "": complete
	Day     string        `json:"day"`           // of the usage: the present one, UTC, YYYY-MM-DD
	Served  AccessUsage   `json:"served"`
	Fetched AccessUsage   `json:"fetched"`
}

const defaultAccess = 100

// Values returns the query as a request for an access log has it.
func (q *AccessQuery) Values() url.Values {
	v := url.Values{"agreement": {q.Agreement.String()}}
	if q.Direction != 0 {
		v.Set("direction", q.Direction.String())
	}
	for name, t := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339))
		}
	}
	if s := q.After.String(); s != "" {
		v.Set("after", s)
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// ParseAccessQuery is the inverse of [AccessQuery.Values]. The error matches
// [ErrInvalid] and names the parameter: one that is unknown, stands there twice,
// or is empty or malformed.
func ParseAccessQuery(v url.Values) (q AccessQuery, err error) {
	bad := func(name, want string) (AccessQuery, error) {
		return AccessQuery{}, fmt.Errorf("%s %.80q: %w: want %s", name, v[name], ErrInvalid, want)
	}
	for name, values := range v {
		if !slices.Contains([]string{"agreement", "direction", "from", "to", "after", "limit"}, name) {
			return bad(name, "agreement, direction, from, to, after or limit")
		}
		if len(values) != 1 || values[0] == "" {
			return bad(name, "it once, with a value")
		}
	}
	if err := q.Agreement.UnmarshalText([]byte(v.Get("agreement"))); err != nil || q.Agreement.IsZero() {
		return bad("agreement", "the id of an agreement")
	}
	if text := v.Get("direction"); text != "" && q.Direction.UnmarshalText([]byte(text)) != nil {
		return bad("direction", "served or fetched")
	}
	for name, t := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		if *t, err = time.Parse(time.RFC3339, text); err != nil || t.Year() < 1970 || t.Nanosecond() != 0 {
			return bad(name, "a time such as 2026-11-20T08:00:00Z")
		}
		*t = t.UTC()
	}
	if q.After, err = ParseCursor(v.Get("after")); err != nil {
		return bad("after", "the cursor of the page before")
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n < 1 || n > MaxPage || strconv.FormatUint(n, 10) != text {
			return bad("limit", fmt.Sprintf("1 to %d", MaxPage))
		}
		q.Limit = int(n)
	}
	return q, nil
}

// Access returns part of the access log of an agreement. The error matches
// [ErrInvalid] if the query is outside its bounds.
func (l *Ledger) Access(ctx context.Context, q AccessQuery) (*AccessPage, error) {
	if q.Agreement.IsZero() || q.Limit < 0 || q.Limit > MaxPage {
		return nil, fmt.Errorf("access log: %w: want an agreement, and a limit of at most %d", ErrInvalid, MaxPage)
	}
	if q.Limit == 0 {
		q.Limit = defaultAccess
	}
	list, next, err := l.Entries(ctx, Filter{Agreement: q.Agreement, Direction: q.Direction, From: q.From, To: q.To, After: q.After, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	now := cityid.TimeOf(l.now())
	page := &AccessPage{Party: l.opts.Party, Entries: []AccessEntry{}, Next: next.String(), Day: now.Std().UTC().Format(time.DateOnly)}
	for i := range list {
		e, err := l.accessEntry(ctx, &list[i])
		if errors.Is(err, ErrErased) || errors.Is(err, ErrNotFound) {
			continue // it was erased meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("access log: entry %d: %w", list[i].ID, err)
		}
		page.Entries = append(page.Entries, e)
	}
	for direction, to := range map[Direction]*AccessUsage{DirectionServed: &page.Served, DirectionFetched: &page.Fetched} {
		u, err := l.Usage(ctx, q.Agreement, direction, dayOf(now))
		if err != nil {
			return nil, err
		}
		*to = AccessUsage(u)
	}
	return page, nil
}

// accessEntry completes an entry of a list.
func (l *Ledger) accessEntry(ctx context.Context, s *Summary) (e AccessEntry, err error) {
	e = AccessEntry{
		Entry: s.Hash, Direction: s.Direction, Time: s.Stored, Peer: s.Peer, Path: s.Path, Status: s.Status, Octets: s.Size,
		Awaits: s.Awaits, Acknowledged: s.Acknowledged, Batch: s.Batch, Anchored: s.Anchored,
	}
	var encoded []byte
	var height sql.Null[uint64]
	err = l.reads.QueryRowContext(ctx, `SELECT c.encoded, (SELECT height FROM batch WHERE last >= c.entry ORDER BY last LIMIT 1)
		FROM content AS c WHERE c.entry = ?`, position(s.ID)).Scan(&encoded, &height)
	if err != nil {
		return e, found(err, "its content")
	}
	_, r, err := DecodeEntry(encoded)
	if err != nil || EntryHash(encoded) != s.Hash {
		return e, errors.Join(ErrDamaged, err)
	}
	if e.Anchored != 0 {
		e.Height = height.V
	}
	e.Provider, e.Log, e.Number = r.Provider, r.Log, r.Number
	return e, nil
}

// MaxAccessPage bounds an encoded [AccessPage], in octets.
const MaxAccessPage = 8 << 20

// DecodeAccessPage reads what a gateway answers. The error matches [ErrInvalid] for
// anything but one page in JSON within the bounds.
func DecodeAccessPage(b []byte) (*AccessPage, error) {
	if len(b) > MaxAccessPage {
		return nil, fmt.Errorf("access log of %d octets, at most %d: %w", len(b), MaxAccessPage, ErrInvalid)
	}
	p := new(AccessPage)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("access log: %w: %w", ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("access log: %w: something follows it", ErrInvalid)
	}
	if _, err := ParseCursor(p.Next); err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	if _, err := time.Parse(time.DateOnly, p.Day); err != nil || p.Party.IsZero() || len(p.Entries) > MaxPage {
		return nil, fmt.Errorf("access log: %w: want a party, a day, and at most %d entries", ErrInvalid, MaxPage)
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Entry.IsZero() || e.Provider.IsZero() || e.Direction != DirectionServed && e.Direction != DirectionFetched || e.Status > 999 || checkLog(e.Log) != nil {
			return nil, fmt.Errorf("access log: entry %d: %w: want its hash, direction, status, provider and log", i, ErrInvalid)
		}
	}
	return p, nil
}

// UnmarshalText parses a direction's name.
func (d *Direction) UnmarshalText(text []byte) error {
	for _, known := range []Direction{DirectionServed, DirectionFetched} {
		if string(text) == known.String() {
			*d = known
			return nil
		}
	}
	return fmt.Errorf("direction %.40q: %w: want served or fetched", text, ErrInvalid)
}
