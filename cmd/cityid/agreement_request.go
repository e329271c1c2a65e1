// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/durable"
	"cityid/internal/office"
)

func requestCommand() *command {
	return &command{
		name: "request", args: "DATASET", short: "ask for the use of a dataset",
		long: "The holder is asked to answer in time: --respond is a moment, or a number of working days such as 10d,\ncounted from tomorrow, Monday to Friday, to the end of the last by this machine's time zone; public\nholidays are not known here. What the data are for is told to the holder alone: it stands in a file\nthat is written before anything is submitted, and the terms hold a salted digest of it.",
		examples: []string{
			"cityid agreement request MA.156.1301.01/40.010101/1 --consumer MA.156.1302 --until 2027-12-31 --purpose-file why.txt --key officer",
			"cityid agreement request --again agreement-3b0c7d51.json --key officer",
		},
		setup: agreementRequest,
	}
}

// requestFile is a request for an agreement as the consumer keeps it: the terms,
// and the purpose, which must not become public. docs/formats.md describes it.
type requestFile struct {
	Version   int            `json:"version"`   // 1
	Agreement cityid.Digest  `json:"agreement"` // the digest of the terms
	Terms     cityid.Terms   `json:"terms"`
	Purpose   office.Purpose `json:"purpose"`
}

// maxRequestFile bounds a request file in octets.
const maxRequestFile = 64 << 10

func readRequestFile(ctx context.Context, path string) (*requestFile, error) {
	b, err := readBounded(ctx, path, maxRequestFile)
	if err != nil {
		return nil, err
	}
	r, err := parseRequestFile(b)
	if err != nil {
		return nil, fmt.Errorf("%s is not the file of a request: %w", path, err)
	}
	return r, nil
}

// parseRequestFile reads a request file and checks that its parts belong
// together.
func parseRequestFile(b []byte) (*requestFile, error) {
	r := new(requestFile)
	if err := strictJSON(b, r); err != nil {
		return nil, err
	}
	if r.Version != 1 {
		return nil, fmt.Errorf("version %d is unknown", r.Version)
	}
	if err := r.Terms.Check(); err != nil {
		return nil, err
	}
	if err := r.Purpose.Check(); err != nil {
		return nil, err
	}
	switch {
	case r.Terms.ID() != r.Agreement:
		return nil, fmt.Errorf("its terms have the digest %s, not %s", r.Terms.ID(), r.Agreement)
	case r.Purpose.Digest() != r.Terms.Purpose:
		return nil, fmt.Errorf("its purpose has the digest %s, the terms name %s", r.Purpose.Digest(), r.Terms.Purpose)
	}
	return r, nil
}

// termsFlags build terms.
type termsFlags struct {
	consumer, from, until, respond string
	document, policy               string
	purpose, basis                 string
	staleness                      time.Duration
	requests, octets               uint64
}

func (t *termsFlags) setup(f *flags) {
	f.StringVar(&t.consumer, "consumer", "", "`code` on whose behalf you ask, and whose gateway will fetch")
	f.StringVar(&t.from, "from", "", "`time` from which on the data are used; now without it")
	f.StringVar(&t.until, "until", "", "`time` until which")
	f.DurationVar(&t.staleness, "staleness", cityid.MinStaleness*time.Second, "how old the state may be by which a gateway judges, 30s to 4h: so long a revocation may take")
	f.Uint64Var(&t.requests, "requests-per-day", 0, "most requests a day; 0 for no limit")
	f.Uint64Var(&t.octets, "octets-per-day", 0, "most octets a day; 0 for no limit")
	f.StringVar(&t.respond, "respond", "10d", "`when` the holder is asked to answer: working days such as 2d, 5d or 10d, or a moment")
	f.StringVar(&t.purpose, "purpose-file", "", "text `file` that says what the data are for; for the holder alone")
	f.StringVar(&t.basis, "basis", "", "the legal basis, in one line; for the holder alone")
	f.StringVar(&t.document, "document", "", "the description you have read (`file`): another one is not asked for")
	f.StringVar(&t.policy, "policy", "", "the usage policy you have read (`file`)")
}

// terms returns the terms and the purpose they name. What the dataset's record
// says is asked of the node unless both documents are at hand.
func (t *termsFlags) terms(ctx context.Context, f *flags, dataset cityid.Code) (*requestFile, error) {
	r := &requestFile{Version: 1, Terms: cityid.Terms{Dataset: dataset, Requests: t.requests, Octets: t.octets}}
	x := &r.Terms
	var err error
	if t.consumer == "" || t.until == "" || t.purpose == "" {
		return nil, usagef("want --consumer CODE, --until TIME and --purpose-file FILE")
	}
	if x.Consumer, err = parseCode(t.consumer); err != nil {
		return nil, err
	}
	if t.staleness%time.Second != 0 || t.staleness < 0 || t.staleness > cityid.MaxStaleness*time.Second {
		return nil, usagef("--staleness %s: want 30s to 4h, in whole seconds", t.staleness)
	}
	x.Staleness = uint32(t.staleness / time.Second)
	if x.From, err = timeFlag(t.from); err != nil {
		return nil, err
	}
	if x.Until, err = timeFlag(t.until); err != nil {
		return nil, err
	}
	now := time.Now()
	if x.From == 0 {
		x.From = cityid.TimeOf(now)
	}
	if x.Respond, err = respondBy(t.respond, now); err != nil {
		return nil, err
	}
	if x.Respond > x.Until && t.respond == "10d" {
		x.Respond = x.Until
	}
	if x.Document, x.Policy, err = t.described(ctx, f, dataset); err != nil {
		return nil, err
	}
	text, err := readBounded(ctx, t.purpose, maxRequestFile)
	if err != nil {
		return nil, err
	}
	if r.Purpose, err = office.NewPurpose(office.FoldPurpose(string(text)), office.FoldPurpose(t.basis)); err != nil {
		return nil, usageError{err}
	}
	x.Purpose = r.Purpose.Digest()
	if _, err := rand.Read(x.Nonce[:]); err != nil {
		return nil, err
	}
	if err := x.Check(); err != nil {
		return nil, usageError{err}
	}
	r.Agreement = x.ID()
	return r, nil
}

// described returns the digests of a dataset's description and policy: those of
// the files given, compared with the record's where a node can be asked.
func (t *termsFlags) described(ctx context.Context, f *flags, dataset cityid.Code) (document, policy cityid.Digest, err error) {
	if t.document != "" {
		if document, _, err = digestFile(ctx, t.document); err != nil {
			return document, policy, err
		}
	}
	if t.policy != "" {
		if policy, _, err = digestFile(ctx, t.policy); err != nil {
			return document, policy, err
		}
	}
	c, err := f.connect()
	if err != nil {
		return document, policy, err
	}
	a, err := c.Record(ctx, dataset)
	if t.document != "" && exitCode(err) == exitUnreachable {
		return document, policy, nil // the chain compares
	}
	if err != nil {
		return document, policy, err
	}
	d := a.Record.Content.Dataset
	switch {
	case d == nil:
		return document, policy, cityid.Errorf(cityid.ErrStatus, "%s does not say yet what it shares", dataset)
	case t.document != "" && document != d.Document:
		return document, policy, exitError{exitConflict, fmt.Errorf("%s is not the description of %s: that has the digest %s", t.document, dataset, d.Document)}
	case t.policy != "" && policy != d.Policy:
		return document, policy, exitError{exitConflict, fmt.Errorf("%s is not the usage policy of %s: that has the digest %s", t.policy, dataset, d.Policy)}
	}
	return d.Document, d.Policy, nil
}

var workingDays = regexp.MustCompile(`^([1-9][0-9]?)d$`)

// respondBy returns the moment by which an answer is asked for: so many working
// days from tomorrow on, to the end of the last in the time zone of now, or the
// time that the text names.
func respondBy(text string, now time.Time) (cityid.Time, error) {
	m := workingDays.FindStringSubmatch(text)
	if m == nil {
		t, err := timeFlag(text)
		if err == nil && t == 0 || err != nil {
			return 0, usagef("--respond %q: want working days such as 10d, or a time such as 2026-03-01T17:00:00+08:00", text)
		}
		return t, nil
	}
	left, _ := strconv.Atoi(m[1])
	day := now
	for left > 0 {
		day = day.AddDate(0, 0, 1)
		if d := day.Weekday(); d != time.Saturday && d != time.Sunday {
			left--
		}
	}
	return cityid.TimeOf(time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, day.Location())), nil
}

func agreementRequest(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	var t termsFlags
	t.setup(f)
	keep := f.String("keep", "", "`file` for terms and purpose; agreement-ID.json without it")
	again := f.String("again", "", "submit the request in this `file`, which an earlier command wrote")
	return func(ctx context.Context, args []string) error {
		var r *requestFile
		path := *again
		if path != "" {
			if err := noArgs(args); err != nil {
				return err
			}
			var err error
			if r, err = readRequestFile(ctx, path); err != nil {
				return err
			}
		} else {
			dataset, err := codeArg(args)
			if err != nil {
				return err
			}
			if r, err = t.terms(ctx, f, dataset); err != nil {
				return err
			}
			if path = *keep; path == "" {
				path = "agreement-" + r.Agreement.String()[:12] + ".json"
			}
			if err := keepRequest(path, r); err != nil {
				return err
			}
		}
		for _, l := range describe.Terms(f.lang, &r.Terms) {
			f.talk("%s", l)
		}
		receipt, err := w.send(ctx, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: r.Terms}})
		if err != nil {
			f.talk("the request is kept in %s; to submit the same terms: cityid agreement request --again %s", path, path)
			return err
		}
		f.talk("terms and purpose are kept in %s, for yourself and for the holder of the data alone", path)
		out := fields(struct {
			Agreement cityid.Digest   `json:"agreement"`
			File      string          `json:"file"`
			Terms     cityid.Terms    `json:"terms"`
			Receipt   *cityid.Receipt `json:"receipt,omitempty"`
		}{r.Agreement, path, r.Terms, receipt}, "agreement", r.Agreement.String(), "answer by", r.Terms.Respond.String(), "kept in", path)
		if receipt != nil {
			out.rows = append(out.rows, receiptTable(receipt).rows...)
		}
		return f.print(out)
	}
}

// keepRequest writes a new request file that nobody else can read.
func keepRequest(path string, r *requestFile) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	err = durable.WriteNew(path, append(b, '\n'))
	if errors.Is(err, fs.ErrExist) {
		return hint(exitError{exitConflict, fmt.Errorf("there is a file %s already", path)}, "name another one with --keep, or submit that request with --again %s", path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
