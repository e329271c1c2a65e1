// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
	"cityid/verify"
)

// entryFlags name keys of the state: by what stands there, or as they are.
type entryFlags struct {
	keys, records, lineages, agreements, attestations, anchors list
	dataset, source                                            string
}

func (e *entryFlags) setup(f *flags) {
	f.Var(&e.agreements, "agreement", "the agreement with this `id`")
	f.StringVar(&e.dataset, "dataset", "", "with --agreement: `code` of its dataset; the node is asked without it")
	f.Var(&e.attestations, "attestation", "the attestation of the bytes or batch with this `digest`, by --source")
	f.StringVar(&e.source, "source", "", "with --attestation: `code` of the source")
	f.Var(&e.anchors, "anchor", "a batch of receipts, as `code:log:sequence`")
	f.Var(&e.records, "record", "the record of this `code`")
	f.Var(&e.lineages, "lineage", "the records of this `code` and of all that stands above it")
	f.Var(&e.keys, "key", "a key of the state, in `hexadecimal`")
}

// given reports whether any entry was asked for.
func (e *entryFlags) given() bool {
	return len(e.keys)+len(e.records)+len(e.lineages)+len(e.agreements)+len(e.attestations)+len(e.anchors) > 0
}

// list returns the keys asked for, in byte order, each once.
func (e *entryFlags) list(ctx context.Context, c *client.Client) ([][]byte, error) {
	keys, err := e.exact()
	if err != nil {
		return nil, err
	}
	for _, text := range e.agreements {
		id, err := cityid.ParseDigest(text)
		if err != nil {
			return nil, usagef("--agreement %.80q: want the id of an agreement, 64 hexadecimal digits", text)
		}
		var dataset cityid.Code
		if e.dataset != "" {
			if dataset, err = parseCode(e.dataset); err != nil {
				return nil, err
			}
		} else if a, err := c.Agreement(ctx, id); err != nil {
			return nil, err
		} else {
			dataset = a.Agreement.Terms.Dataset
		}
		keys = append(keys, cityid.AgreementKey(dataset, id))
	}
	for _, text := range e.lineages {
		code, err := parseCode(text)
		if err != nil {
			return nil, err
		}
		above, err := lineage(ctx, c, code)
		if err != nil {
			return nil, err
		}
		keys = append(keys, above...)
	}
	return sortKeys(keys)
}

// exact returns the keys that can be told without a node.
func (e *entryFlags) exact() (keys [][]byte, err error) {
	for _, text := range e.keys {
		key, err := hex.DecodeString(text)
		if _, ok := cityid.CodeOfEntryKey(key); err != nil || !ok {
			return nil, usagef("--key %.80q: want the key of a record, attestation, agreement or anchor in hexadecimal", text)
		}
		keys = append(keys, key)
	}
	for _, text := range e.records {
		code, err := parseCode(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, cityid.RecordKey(code))
	}
	if len(e.attestations) > 0 && e.source == "" {
		return nil, usagef("--attestation goes with --source CODE")
	}
	for _, text := range e.attestations {
		source, err := parseCode(e.source)
		if err != nil {
			return nil, err
		}
		d, err := cityid.ParseDigest(text)
		if err != nil {
			return nil, usagef("--attestation %.80q: want a digest, 64 hexadecimal digits", text)
		}
		keys = append(keys, cityid.AttestationKey(source, d))
	}
	for _, text := range e.anchors {
		parts := strings.Split(text, ":")
		var n uint64
		if len(parts) == 3 {
			n, err = strconv.ParseUint(parts[2], 10, 64)
		}
		if len(parts) != 3 || err != nil || !cityid.ValidLogName(parts[1]) {
			return nil, usagef("--anchor %.80q: want code:log:sequence, such as MA.156.1301:main:17", text)
		}
		party, err := parseCode(parts[0])
		if err != nil {
			return nil, err
		}
		keys = append(keys, cityid.AnchorKey(party, parts[1], n))
	}
	return keys, nil
}

func sortKeys(keys [][]byte) ([][]byte, error) {
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	if len(keys) > verify.MaxEntries {
		return nil, usagef("%d entries: one bundle has at most %d", len(keys), verify.MaxEntries)
	}
	return keys, nil
}

// maxLineage bounds the records from a code to its apex.
const maxLineage = 48

// lineage returns the keys of the records of a code and of all that stands above
// it: the parents, and for those retired also their heirs.
func lineage(ctx context.Context, c *client.Client, code cityid.Code) ([][]byte, error) {
	var keys [][]byte
	for !code.IsZero() {
		if keys = append(keys, cityid.RecordKey(code)); len(keys) > maxLineage {
			return nil, fmt.Errorf("more than %d records stand above the code", maxLineage)
		}
		a, err := c.Record(ctx, code)
		if err != nil {
			return nil, err
		}
		next := a.Record.Parent
		if a.Record.Status == cityid.StatusRetired && len(keys) > 1 && !a.Record.Heir.IsZero() {
			next = a.Record.Heir
		}
		code = next
	}
	return keys, nil
}

// entriesQuestion asks for entries that lead on from what the trust file has.
func entriesQuestion(trust *verify.TrustFile, keys [][]byte) cityid.BundleQuery {
	q := question(trust, cityid.Code{}, cityid.AnswerEntries)
	q.Keys = keys
	return q
}

// entryRows says what stands at each key of a bundle.
func entryRows(lang string, r *verify.Result) (rows [][]string) {
	row := func(name string, lines ...describe.Line) {
		for i, l := range lines {
			if i > 0 {
				name = ""
			}
			rows = append(rows, []string{name, l.String()})
		}
	}
	for _, e := range r.Entries {
		code, _ := cityid.CodeOfEntryKey(e.Key)
		name, lines, err := entryWords(lang, r, e)
		switch {
		case err != nil:
			row(name, describe.Line{Text: fmt.Sprintf("can not be read: %v", err)})
		case lines == nil:
			row(name, describe.Line{Text: fmt.Sprintf("%s: there is none (key %x)", code, []byte(e.Key))})
		default:
			row(name, lines...)
		}
	}
	return rows
}

// entryWords names what a key stands for and says what stands there; nil if
// nothing does.
func entryWords(lang string, r *verify.Result, e verify.Entry) (string, []describe.Line, error) {
	name, v, err := readEntry(r, e)
	if err != nil {
		return name, nil, err
	}
	switch v := v.(type) {
	case *cityid.Agreement:
		return name, describe.Agreement(lang, v, cityid.TimeOf(r.AsOf.Time)), nil
	case *cityid.Attestation:
		return name, describe.Attestation(lang, v), nil
	case *cityid.Anchor:
		return name, describe.Anchor(lang, v), nil
	case *cityid.Record:
		return name, recordLines(lang, v), nil
	}
	return name, nil, nil
}

// readEntry names what a key stands for and decodes what stands there; nil if
// nothing does.
func readEntry(r *verify.Result, e verify.Entry) (name string, v any, err error) {
	switch e.Key[0] {
	case 'g':
		name, v = "agreement", new(cityid.Agreement)
	case 'a':
		name, v = "attestation", new(cityid.Attestation)
	case 'l':
		name, v = "anchor", new(cityid.Anchor)
	case 'h':
		name, v = "revision", new(cityid.Record)
	default:
		name, v = "record", new(cityid.Record)
	}
	there, err := r.Entry(e.Key, v)
	if err != nil || !there {
		return name, nil, err
	}
	return name, v, nil
}

// shownResult is a result in JSON, its entries readable.
type shownResult struct {
	*verify.Result
	Read []shownEntry `json:"read,omitempty"` // the entries, in their order
}

type shownEntry struct {
	Stands string      `json:"stands"` // for what the key stands
	Code   cityid.Code `json:"code"`
	Value  any         `json:"value,omitempty"`
}

func shown(r *verify.Result) any {
	out := shownResult{Result: r}
	for _, e := range r.Entries {
		name, v, _ := readEntry(r, e) // what can not be read is in entries
		code, _ := cityid.CodeOfEntryKey(e.Key)
		out.Read = append(out.Read, shownEntry{name, code, v})
	}
	return out
}

// recordLines is a record in short: what it is, its dataset, and who controls it.
func recordLines(lang string, r *cityid.Record) []describe.Line {
	out := []describe.Line{{Text: fmt.Sprintf("%s, %s, %s, revision %d", r.Code, describe.Kind(lang, r.Kind), describe.Status(lang, r.Status), r.Revision)}}
	for _, n := range r.Content.Names {
		out = append(out, describe.Line{Depth: 1, Text: "name (" + n.Lang + "): " + describe.Text(n.Text)})
	}
	if d := r.Content.Dataset; d != nil {
		out = append(out, describe.Line{Depth: 1, Text: describe.DatasetClass(lang, d.Class) + ", description " + d.Document.String()})
	}
	if r.Policy != nil {
		for _, l := range describe.Policy(lang, r.Policy) {
			out = append(out, describe.Line{Depth: l.Depth + 1, Text: l.Text})
		}
	}
	return out
}

// stampOf is a time as people read it.
func stampOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }
