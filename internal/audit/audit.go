// SPDX-License-Identifier: Apache-2.0

// Package audit exports what changed at and below a code in a period, as an
// archive that can be checked without a network, years later.
//
// # The archive
//
// It is a ZIP file with
//
//	README.txt       what it is and how to check it, in Chinese and English
//	trust.json       the trust root that the proofs are checked against
//	changes.jsonl    one [Change] a line: each revision of a record in the period
//	changes.csv      the same for spreadsheets
//	proposals.jsonl  one [Decision] a line: each proposal decided in the period
//	proposals.csv    the same for spreadsheets
//	proofs.tsv       file, code and time of each proof, between tabs
//	proofs/          a bundle with the whole history of each record that changed
//	verify.sh        checks all proofs with "cityid verify"
//
// The period is from its first moment up to, and without, its last. What is
// recorded while the export runs is left out. A change is in the order of code
// and revision. Lists prove themselves as far as the proofs go: every revision in
// changes.jsonl has its hash in the bundle of its code. That no record is missing
// the proofs do not show; a bundle of all descendants does.
//
// # Memory
//
// The registry is read a page at a time, and the archive is written as it is
// read. The lines of changes wait in a temporary file until the proofs are
// written; only the names of the proofs, about 200 octets each, stay in memory.
package audit

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
)

// Source is what an export reads from: a node, or a client of one.
type Source interface {
	Status(ctx context.Context) (*cityid.NodeStatus, error)
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
	Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error)
	History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error)
	Proposal(ctx context.Context, number uint64) (*cityid.ProposalAnswer, error)
	Proposals(ctx context.Context, q cityid.ProposalQuery) (*cityid.ProposalPage, error)
	Block(ctx context.Context, height uint64) (*cityid.Block, error)
	Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error)
}

// Options say what to export, and how what other packages define is written.
type Options struct {
	Code     cityid.Code
	From, To time.Time // To is the first moment that no longer counts

	// Trust is the trust file of the archive, and Question what bundles are asked
	// with: the version and height that file has. Code and kind are filled in.
	Trust    []byte
	Question cityid.BundleQuery

	CSV        func(w io.Writer, header []string, rows iter.Seq[[]string]) error
	BundleTime func(bundle []byte) (time.Time, error) // of the block it answers from
	NoProofs   bool                                   // leave proofs out
	MaxProofs  int                                    // fail when there are more; 0: no limit
	Progress   func(Summary)                          // called now and then, from one goroutine; may be nil
}

// Summary says how much was exported.
type Summary struct {
	Looked    int // records looked at
	Records   int // that changed
	Changes   int // revisions
	Unnamed   int // of them, those whose transactions the node no longer keeps
	Decisions int // proposals decided
	Proofs    int
}

// Change is a revision of a record: what it became.
type Change struct {
	Time         cityid.Time     `json:"time"`
	Chain        string          `json:"chain"`
	Height       uint64          `json:"height"`
	Transactions []cityid.Digest `json:"transactions"` // that changed the code in that block; null if the node no longer keeps what is in it
	Code         cityid.Code     `json:"code"`
	Parent       cityid.Code     `json:"parent,omitzero"`
	Kind         cityid.Kind     `json:"kind"`
	Status       cityid.Status   `json:"status"`
	Revision     uint32          `json:"revision"`
	Changed      []string        `json:"changed"` // "allocated", or the parts that differ from the revision before
	Names        cityid.Names    `json:"names,omitempty"`
	Reason       cityid.Reason   `json:"reason,omitempty"`
	Note         string          `json:"note,omitempty"`
	Heir         cityid.Code     `json:"heir,omitzero"`
	Successors   []cityid.Code   `json:"successors,omitempty"`
	Hash         cityid.Digest   `json:"hash"`
	Prev         cityid.Digest   `json:"prev,omitzero"`
	Proof        string          `json:"proof,omitempty"` // file in the archive
}

// Decision is a proposal that was decided.
type Decision struct {
	Number     uint64               `json:"number"`
	State      cityid.ProposalState `json:"state"`
	Decided    cityid.Time          `json:"decided"`
	Created    cityid.Time          `json:"created"`
	Operations []cityid.Operation   `json:"operations"`
	Targets    []cityid.Target      `json:"targets"`
	Approvals  []cityid.Vote        `json:"approvals"`
	Rejections []cityid.Vote        `json:"rejections"`
	Note       string               `json:"note,omitempty"`
}

// pageSize is how many records are read at once.
const pageSize = 200

// exporter is an export under way.
type exporter struct {
	Options
	ctx      context.Context
	source   Source
	zip      *zip.Writer
	from, to cityid.Time
	lines    *bufio.Writer // of changes, in the spool
	proofs   strings.Builder
	blocks   blockCache
	sum      Summary
}

// Export writes the archive to w. If it returns an error, what was written is no
// archive.
func Export(ctx context.Context, w io.Writer, s Source, o Options) (Summary, error) {
	if !o.From.Before(o.To) {
		return Summary{}, cityid.Errorf(cityid.ErrInvalid, "the period has to end after it begins")
	}
	status, err := s.Status(ctx)
	if err != nil {
		return Summary{}, err
	}
	if now := status.Time.Add(time.Second); o.To.After(now) {
		o.To = now
	}
	e := &exporter{Options: o, ctx: ctx, source: s, zip: zip.NewWriter(w), from: cityid.TimeOf(o.From), to: cityid.TimeOf(o.To), blocks: blockCache{source: s}}
	spool, err := os.CreateTemp("", "cityid-audit-*")
	if err != nil {
		return Summary{}, err
	}
	defer os.Remove(spool.Name())
	defer spool.Close()
	e.lines = bufio.NewWriter(spool)
	if err := e.all(spool, status); err != nil {
		return e.sum, err
	}
	return e.sum, e.zip.Close()
}

// all writes the parts one after the other, as a ZIP file has to be.
func (e *exporter) all(spool *os.File, status *cityid.NodeStatus) error {
	if err := e.put("trust.json", e.Trust); err != nil {
		return err
	}
	if err := e.records(); err != nil {
		return err
	}
	if err := e.lines.Flush(); err != nil {
		return err
	}
	if err := e.fromSpool(spool, "changes.jsonl", func(w io.Writer) error {
		_, err := io.Copy(w, spool)
		return err
	}); err != nil {
		return err
	}
	if err := e.fromSpool(spool, "changes.csv", func(w io.Writer) error { return e.changesCSV(w, spool) }); err != nil {
		return err
	}
	if err := e.decisions(); err != nil {
		return err
	}
	if !e.NoProofs {
		if err := e.put("proofs.tsv", []byte(e.proofs.String())); err != nil {
			return err
		}
		if err := e.put("verify.sh", []byte(verifyScript)); err != nil {
			return err
		}
	}
	return e.put("README.txt", []byte(readme(e, status)))
}

func (e *exporter) put(name string, b []byte) error {
	w, err := e.create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func (e *exporter) create(name string) (io.Writer, error) {
	method := zip.Deflate
	if strings.HasPrefix(name, "proofs/") {
		method = zip.Store // hashes do not get shorter
	}
	return e.zip.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: e.To.UTC()})
}

func (e *exporter) fromSpool(spool *os.File, name string, write func(io.Writer) error) error {
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w, err := e.create(name)
	if err != nil {
		return err
	}
	return write(w)
}

// records goes through the code and all below it.
func (e *exporter) records() error {
	a, err := e.source.Record(e.ctx, e.Code)
	if err != nil {
		return err
	}
	if err := e.record(&a.Record); err != nil {
		return err
	}
	q := cityid.ChildrenQuery{Code: e.Code, Deep: true, Limit: pageSize}
	for {
		page, err := e.source.Children(e.ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Records {
			if err := e.record(&page.Records[i]); err != nil {
				return err
			}
		}
		if q.After = page.Next; q.After.IsZero() {
			return nil
		}
	}
}

// record exports the revisions of a record in the period. The latest one that is
// older than the period tells that there are none.
func (e *exporter) record(r *cityid.Record) error {
	e.sum.Looked++
	if e.Progress != nil && e.sum.Looked%pageSize == 0 {
		e.Progress(e.sum)
	}
	if r.Changed.Time < e.from {
		return nil
	}
	revisions := []cityid.Record{*r}
	if r.Revision > 1 {
		h, err := e.source.History(e.ctx, r.Code)
		if err != nil {
			return err
		}
		revisions = h.Revisions
	}
	slices.Reverse(revisions)
	proof, written := "", false
	for i := range revisions {
		x := &revisions[i]
		if x.Changed.Time < e.from || x.Changed.Time >= e.to {
			continue
		}
		if !written && !e.NoProofs {
			var err error
			if proof, err = e.proof(x.Code); err != nil {
				return err
			}
		}
		if !written {
			e.sum.Records++
		}
		written = true
		var before *cityid.Record
		if i > 0 {
			before = &revisions[i-1]
		}
		if err := e.change(before, x, proof); err != nil {
			return err
		}
	}
	return nil
}

// proof writes the bundle with a record's history, and returns its file.
func (e *exporter) proof(code cityid.Code) (string, error) {
	if e.sum.Proofs++; e.MaxProofs > 0 && e.sum.Proofs > e.MaxProofs {
		return "", cityid.Errorf(cityid.ErrTooLarge, "more than %d records changed: choose a shorter period, or leave the proofs out", e.MaxProofs)
	}
	q := e.Question
	q.Code, q.Kind = code, cityid.AnswerHistory
	b, err := e.source.Bundle(e.ctx, q)
	if err != nil {
		return "", fmt.Errorf("proof of %s: %w", code, err)
	}
	at, err := e.BundleTime(b)
	if err != nil {
		return "", fmt.Errorf("proof of %s: %w", code, err)
	}
	name := fmt.Sprintf("proofs/%06d-%s.cityid", e.sum.Proofs, strings.ReplaceAll(code.String(), "/", "_"))
	fmt.Fprintf(&e.proofs, "%s\t%s\t%s\n", name, code, at.UTC().Format(time.RFC3339Nano))
	return name, e.put(name, b)
}

func (e *exporter) change(before, x *cityid.Record, proof string) error {
	txs, err := e.blocks.changed(e.ctx, x.Changed.Height, x.Code)
	if err != nil {
		return err
	}
	if txs == nil {
		e.sum.Unnamed++
	}
	c := Change{
		Time: x.Changed.Time, Chain: x.Changed.Chain, Height: x.Changed.Height, Transactions: txs,
		Code: x.Code, Parent: x.Parent, Kind: x.Kind, Status: x.Status, Revision: x.Revision, Changed: differs(before, x),
		Names: x.Content.Names, Reason: x.Reason, Note: x.Note, Heir: x.Heir, Successors: x.Successors, Hash: x.Hash(), Prev: x.Prev, Proof: proof,
	}
	e.sum.Changes++
	return json.NewEncoder(e.lines).Encode(&c)
}

// differs names the parts in which a revision differs from the one before.
func differs(before, x *cityid.Record) []string {
	if before == nil {
		return []string{"allocated"}
	}
	out := []string{}
	for _, part := range []struct {
		name string
		a, b any
	}{
		{"status", before.Status, x.Status}, {"names", before.Content.Names, x.Content.Names}, {"links", before.Content.Links, x.Content.Links},
		{"hosts", before.Content.Hosts, x.Content.Hosts}, {"location", before.Content.Location, x.Content.Location},
		{"documents", before.Content.Documents, x.Content.Documents}, {"sealed", before.Sealed, x.Sealed}, {"aliases", before.Aliases, x.Aliases},
		{"policy", before.Policy, x.Policy}, {"recovery", before.Recovery, x.Recovery},
	} {
		if string(cityid.MustMarshal(part.a)) != string(cityid.MustMarshal(part.b)) {
			out = append(out, part.name)
		}
	}
	return out
}

// changesCSV writes the changes in the spool as a table.
func (e *exporter) changesCSV(w io.Writer, spool io.Reader) error {
	d := json.NewDecoder(bufio.NewReader(spool))
	var failed error
	err := e.CSV(w, []string{
		"time", "height", "transactions", "code", "kind", "status", "revision", "changed", "name_zh", "name_en",
		"reason", "note", "heir", "successors", "record_hash", "previous_hash", "proof",
	}, func(yield func([]string) bool) {
		for d.More() {
			var c Change
			if failed = d.Decode(&c); failed != nil {
				return
			}
			zh, en := "", ""
			for _, n := range c.Names {
				switch n.Lang {
				case "zh":
					zh = n.Text
				case "en":
					en = n.Text
				}
			}
			prev := ""
			if !c.Prev.IsZero() {
				prev = c.Prev.String()
			}
			if !yield([]string{
				c.Time.String(), strconv.FormatUint(c.Height, 10), joined(c.Transactions), c.Code.String(), c.Kind.String(), c.Status.String(),
				strconv.FormatUint(uint64(c.Revision), 10), strings.Join(c.Changed, " "), zh, en, c.Reason.String(), c.Note, c.Heir.String(),
				joined(c.Successors), c.Hash.String(), prev, c.Proof,
			}) {
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

func joined[T fmt.Stringer](list []T) string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.String()
	}
	return strings.Join(out, " ")
}
