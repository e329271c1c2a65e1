// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"

	"cityid"
)

const (
	maxSuggest = 5
	maxTyped   = 121 // a code, and one character too many
)

// alphabet has the characters of codes.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ./-"

// slips returns the codes that differ from what was typed by one wrong, missing
// or extra character, or by two neighbours that changed places, by depth.
func slips(typed string) map[int][]string {
	seen := map[string]bool{typed: true}
	out := map[int][]string{}
	add := func(s string) {
		if seen[s] {
			return
		}
		seen[s] = true
		if c, err := cityid.ParseCanonical(s); err == nil {
			out[c.Depth()] = append(out[c.Depth()], s)
		}
	}
	for i := 0; i <= len(typed); i++ {
		head, tail := typed[:i], typed[i:]
		if tail != "" {
			add(head + tail[1:])
		}
		if len(tail) > 1 {
			add(head + tail[1:2] + tail[:1] + tail[2:])
		}
		for j := range len(alphabet) {
			add(head + alphabet[j:j+1] + tail)
			if tail != "" {
				add(head + alphabet[j:j+1] + tail[1:])
			}
		}
	}
	return out
}

// suggest returns codes that exist and that were probably meant: those a slip
// away whose check characters are the ones typed, or if none has these all that
// are a slip away. Where what was typed is itself a code and only its check
// characters do not fit, it comes last: then they may be the slip.
func suggest(ctx context.Context, tx *sql.Tx, c *condition) ([]cityid.Code, error) {
	if len(c.typed) > maxTyped {
		return nil, nil
	}
	var self []cityid.Code
	if code, err := cityid.ParseCanonical(c.typed); err == nil {
		switch _, _, ok, err := lookup(ctx, tx, code); {
		case err != nil:
			return nil, err
		case ok && (c.check == "" || !c.code.IsZero()):
			return nil, nil // it is there, and something else kept it from being a hit
		case ok:
			self = append(self, code)
		}
	}
	var fit, other []cityid.Code
	for depth, texts := range slips(c.typed) {
		found, err := existing(ctx, tx, depth, texts)
		if err != nil {
			return nil, err
		}
		for _, code := range found {
			if c.check != "" && "*"+code.CheckCharacters() == c.check {
				fit = append(fit, code)
			} else {
				other = append(other, code)
			}
		}
	}
	if len(fit) > 0 {
		other = nil
	}
	slices.SortFunc(fit, cityid.Code.Compare)
	slices.SortFunc(other, cityid.Code.Compare)
	room := maxSuggest - len(self)
	out := append(fit, other...)
	return append(out[:min(len(out), room)], self...), nil
}

// existing returns those of the codes of one depth that exist.
func existing(ctx context.Context, tx *sql.Tx, depth int, texts []string) ([]cityid.Code, error) {
	list, err := json.Marshal(texts)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT d.code FROM groups g CROSS JOIN json_each(?1) j CROSS JOIN docs d ON d.grp = g.grp AND d.code = j.value WHERE g.grp & 31 = ?2", string(list), depth)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []cityid.Code
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		code, err := cityid.ParseCanonical(s)
		if err != nil {
			return nil, err
		}
		out = append(out, code)
	}
	return out, rows.Err()
}
