// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"

	"cityid"
)

// Holding is a place of a key in a record's policy.
type Holding struct {
	Code   cityid.Code
	Kind   cityid.Kind
	Status cityid.Status
	Names  cityid.Names
	Member int          // index among the policy's members
	Roles  cityid.Roles // what the key may do
	From   cityid.Time  // first moment it counts; zero: always
	Until  cityid.Time  // first moment it no longer counts, because it ends or is compromised; zero: never ends
}

// Holdings lists in which records' policies a key stands now, whether it counts
// at the moment or not, by kind, depth and order of appearance.
func (x *Index) Holdings(ctx context.Context, key cityid.PublicKey) ([]Holding, error) {
	tx, end, err := x.reader(ctx)
	if err != nil {
		return nil, err
	}
	var out []Holding
	err = func() error {
		rows, err := tx.QueryContext(ctx, "SELECT id, member, roles, since, until FROM keys WHERE key = ? ORDER BY id, member", []byte(key))
		if err != nil {
			return err
		}
		var ids []int64
		for rows.Next() {
			var h Holding
			var id int64
			if err := rows.Scan(&id, &h.Member, &h.Roles, &h.From, &h.Until); err != nil {
				rows.Close()
				return err
			}
			ids, out = append(ids, id), append(out, h)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for i, id := range ids {
			err := eachDoc(ctx, tx, func(d *doc) (bool, error) {
				out[i].Code, out[i].Kind, out[i].Status, out[i].Names = d.code, idKind(d.id), d.status, d.names
				return false, nil
			}, "SELECT "+columns+" FROM docs d WHERE d.id = ?", id)
			if err != nil {
				return err
			}
		}
		return nil
	}()
	if err = end(err); err != nil {
		return nil, err
	}
	return out, nil
}

// Counts returns how many records of each kind there are below a code, whatever
// their status; below the zero code, all there are. It reads counters, not
// records.
func (x *Index) Counts(ctx context.Context, below cityid.Code) (map[cityid.Kind]uint64, error) {
	tx, end, err := x.reader(ctx)
	if err != nil {
		return nil, err
	}
	out := map[cityid.Kind]uint64{}
	err = func() error {
		id := int64(0)
		if !below.IsZero() {
			var ok bool
			var err error
			if id, _, ok, err = lookup(ctx, tx, below); err != nil || !ok {
				return err
			}
		}
		rows, err := tx.QueryContext(ctx, "SELECT kind, n FROM counts WHERE below = ?", id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind cityid.Kind
			var n uint64
			if err := rows.Scan(&kind, &n); err != nil {
				return err
			}
			out[kind] = n
		}
		return rows.Err()
	}()
	if err = end(err); err != nil {
		return nil, err
	}
	return out, nil
}
