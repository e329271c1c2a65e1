// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// Scan is that a label was seen.
type Scan struct {
	Code     cityid.Code
	Seen     time.Time
	Location *cityid.Location // nil: not known
}

// ScanLog is a file of scans as a handheld wrote it.
type ScanLog struct {
	ID         int64
	Holder     cityid.Code
	Creator    cityid.PublicKey
	Created    time.Time
	Name       string        // of the file
	File       cityid.Digest // put before
	Rows       int           // of the file
	Duplicates int           // rows that were known, from this or an earlier file
	Foreign    int           // rows about codes of other holders
	Unknown    []string      // codes that are not allocated, each once
}

// AddScanLog stores what a log says about the holder's codes, all or nothing, and
// returns its number. What was known before is counted and not stored again. ID,
// Created and Duplicates are not the caller's.
func (o *Office) AddScanLog(ctx context.Context, l ScanLog, scans []Scan) (id int64, err error) {
	if l.Holder.IsZero() || l.Creator == "" || l.Rows < len(scans) {
		return 0, fmt.Errorf("a scan log has a holder, a creator and no more scans than rows: %w", ErrInvalid)
	}
	if err := checkName("the name of a scan log", l.Name); err != nil {
		return 0, err
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO scan_log (holder, creator, created, name, file, rows, duplicates, foreigners, unknown) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)`,
			l.Holder.String(), []byte(l.Creator), ms(o.now()), l.Name, l.File[:], l.Rows, l.Foreign, strings.Join(l.Unknown, "\n"))
		if err != nil {
			return stored(err, "the scan log")
		}
		if id, err = r.LastInsertId(); err != nil {
			return err
		}
		insert, err := tx.PrepareContext(ctx, `INSERT INTO scan (holder, code, seen, log, located, lat, lon) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		defer insert.Close()
		duplicates := 0
		for _, s := range scans {
			located, where := 0, cityid.Location{}
			if s.Location != nil {
				located, where = 1, *s.Location
			}
			n, err := folder.Count(insert.ExecContext(ctx, l.Holder.String(), s.Code.String(), ms(s.Seen), id, located, where.Lat, where.Lon))
			if err != nil {
				return err
			}
			duplicates += 1 - n
		}
		_, err = tx.ExecContext(ctx, `UPDATE scan_log SET duplicates = ? WHERE id = ?`, duplicates, id)
		return err
	})
	return id, err
}

const scanLogColumns = `id, holder, creator, created, name, file, rows, duplicates, foreigners, unknown`

func scanScanLog(row interface{ Scan(...any) error }) (l ScanLog, err error) {
	var holder, unknown string
	var creator, file []byte
	var created int64
	if err := row.Scan(&l.ID, &holder, &creator, &created, &l.Name, &file, &l.Rows, &l.Duplicates, &l.Foreign, &unknown); err != nil {
		return l, err
	}
	copy(l.File[:], file)
	l.Creator, l.Created = cityid.PublicKey(creator), at(created)
	if unknown != "" {
		l.Unknown = strings.Split(unknown, "\n")
	}
	if l.Holder, err = cityid.Parse(holder); err != nil {
		return l, fmt.Errorf("scan log %d: %w: %w", l.ID, ErrDamaged, err)
	}
	return l, nil
}

// ScanLog returns a log, or [ErrNotFound].
func (o *Office) ScanLog(ctx context.Context, id int64) (ScanLog, error) {
	l, err := scanScanLog(o.reads.QueryRowContext(ctx, `SELECT `+scanLogColumns+` FROM scan_log WHERE id = ?`, id))
	return l, found(err, "scan log")
}

// ScanLogs lists a holder's logs, the latest first.
func (o *Office) ScanLogs(ctx context.Context, holder cityid.Code, limit int) ([]ScanLog, error) {
	return folder.Collect(ctx, o.reads, scanScanLog, `SELECT `+scanLogColumns+` FROM scan_log WHERE holder = ? ORDER BY id DESC LIMIT ?`, holder.String(), limit)
}

// ScansOf lists what a log was the first to say, in order of code and time, from
// after a code (zero: from the first), with all scans of each code; about limit.
func (o *Office) ScansOf(ctx context.Context, log int64, after cityid.Code, limit int) ([]Scan, error) {
	text := ""
	if !after.IsZero() {
		text = after.String()
	}
	return folder.Collect(ctx, o.reads, func(row interface{ Scan(...any) error }) (s Scan, err error) {
		var code string
		var seen int64
		var located bool
		var l cityid.Location
		if err := row.Scan(&code, &seen, &located, &l.Lat, &l.Lon); err != nil {
			return s, err
		}
		if located {
			s.Location = &l
		}
		s.Seen = at(seen)
		s.Code, err = cityid.Parse(code)
		return s, err
	}, `SELECT code, seen, located, lat, lon FROM scan WHERE log = ?1 AND code > ?2 AND code <=
		coalesce((SELECT code FROM scan WHERE log = ?1 AND code > ?2 ORDER BY code, seen LIMIT 1 OFFSET ?3), (SELECT max(code) FROM scan WHERE log = ?1))
		ORDER BY code, seen`, log, text, max(limit, 1)-1)
}

// LastSeen returns, for those of the codes that were scanned, when last, in
// milliseconds since 1970.
func (o *Office) LastSeen(ctx context.Context, codes []cityid.Code) (map[cityid.Code]int64, error) {
	return o.latest(ctx, codes, `SELECT code, max(seen) FROM scan WHERE code IN (SELECT value FROM json_each(?)) GROUP BY code`)
}
