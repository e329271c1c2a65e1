// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
	"cityid/keys"
	"cityid/label"
	"cityid/verify"
)

// receiptView is what a check of a receipt found.
type receiptView struct {
	Verdict string             `json:"verdict"`
	Message string             `json:"message"`
	Receipt *cityid.ReportFile `json:"receipt,omitempty"`
	Holder  cityid.Code        `json:"holder,omitzero"` // whose policy named the key
	Says    []describe.Line    `json:"says,omitempty"`  // what it proves, if it is valid, and what not
}

func reportCheck(f *flags) func(context.Context, []string) error {
	h := &historySource{}
	h.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one receipt, or - for standard input")
		}
		file, err := readReceipt(ctx, args[0])
		if err != nil {
			return err
		}
		v := &receiptView{Receipt: file}
		failure := judgeReceipt(ctx, h, file, v)
		var exit exitError
		if failure != nil && !errors.As(failure, &exit) {
			return failure // nothing was found out
		}
		if failure == nil {
			v.Says = describe.Receipt(f.lang, file)
		}
		if err := f.print(receiptReport(v)); err != nil {
			return err
		}
		return failure
	}
}

// readReceipt reads a receipt from its file, from a text, or off a photograph of
// its symbol.
func readReceipt(ctx context.Context, path string) (*cityid.ReportFile, error) {
	b, err := readBounded(ctx, path, 32<<20)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(b[:min(len(b), 4*cityid.MaxReportFile)]))
	if bytes.HasPrefix(b, []byte("\xff\xd8\xff")) || bytes.HasPrefix(b, []byte("\x89PNG")) {
		if text, err = label.Decode(ctx, bytes.NewReader(b), label.Limits{}); err != nil {
			if errors.Is(err, label.ErrNoSymbol) {
				err = hint(exitError{exitNotFound, err}, "take the photo from straight ahead, with the whole symbol of the signed receipt and its white border in the picture")
			}
			return nil, err
		}
	}
	var file *cityid.ReportFile
	if cityid.IsReportSymbol(text) {
		file, err = cityid.ParseReportSymbol(text)
	} else {
		file, err = cityid.DecodeReportFile(b)
	}
	switch {
	case err == nil:
		return file, nil
	case cityid.CodeOf(err) == cityid.ErrUnsupported:
		return nil, hint(exitError{exitUndecided, fmt.Errorf("%s: %w", path, err)}, "a later version of cityid can read it")
	}
	return nil, exitError{exitInvalid, fmt.Errorf("%s: %w", path, err)}
}

// futureReceipts is how far ahead of this machine's clock a receipt may be dated.
const futureReceipts = 5 * time.Minute

// judgeReceipt says whether a receipt holds. The error has the exit code, or
// tells why nothing could be found out.
func judgeReceipt(ctx context.Context, h *historySource, file *cityid.ReportFile, v *receiptView) error {
	r := &file.Receipt
	verdict := func(code int, word, format string, args ...any) error {
		v.Verdict, v.Message = word, fmt.Sprintf(format, args...)
		if code == exitDone {
			return nil
		}
		return exitError{code, fmt.Errorf("%s: %s", word, v.Message)}
	}
	if err := file.Verify(keys.Verify); err != nil {
		return verdict(exitInvalid, "invalid", "the signature does not hold, so the receipt was changed or never signed")
	}
	if now := time.Now(); r.Time.Std().After(now.Add(futureReceipts)) {
		return verdict(exitUndecided, "undecided", "it is dated %s, which this machine's clock has not reached", r.Time)
	}
	s, err := h.stood(ctx, r)
	switch code := cityid.CodeOf(err); {
	case code == cityid.ErrUnavailable && err != nil:
		return verdict(exitUndecided, "undecided", "%v", err)
	case code == cityid.ErrNotFound:
		return verdict(exitInvalid, "invalid", "%s was never allocated", r.Institution)
	case err != nil:
		return err
	case s.Holder.IsZero():
		return verdict(exitInvalid, "invalid", "key %s did not stand in the policy of %s with the role intake at %s", describe.Fingerprint(r.Key), r.Institution, r.Time)
	case s.Compromised != 0:
		v.Holder = s.Holder
		return verdict(exitUndecided, "undecided", "key %s is known to be compromised since %s: a thief can write any date", describe.Fingerprint(r.Key), s.Compromised)
	}
	v.Holder = s.Holder
	word := "valid"
	if !h.proven {
		word = "valid, as the node says"
	}
	return verdict(exitDone, word, "signed by a key that %s had for it at %s", s.Holder, r.Time)
}

func receiptReport(v *receiptView) *table {
	r := &v.Receipt.Receipt
	t := fields(v, "verdict", v.Verdict, "says", v.Message, "institution", r.Institution.String(), "number", fmt.Sprint(r.Number), "code", r.Code.String(),
		"given to", r.Department.String(), "time", r.Time.String(), "digest", r.Digest.String(), "key", describe.Fingerprint(r.Key))
	for _, l := range v.Says {
		name := ""
		if l.Depth == 0 {
			name = "meaning"
		}
		t.rows = append(t.rows, []string{name, strings.Repeat("  ", l.Depth) + l.Text})
	}
	return t
}

// historySource finds the revisions of records: in bundles on disk, or by asking
// a node; proven wherever a trust root is pinned.
type historySource struct {
	flags   *flags
	trust   trustFlag
	bundles list
	offline bool

	proven bool // what it found was
}

func (h *historySource) setup(f *flags) {
	h.flags = f
	h.trust.setup(f)
	f.Var(&h.bundles, "bundle", "take the institution's history from this bundle (`file`) and ask no node; several times")
	f.BoolVar(&h.offline, "offline", false, "ask no node")
}

// stood finds out how the key of a receipt stood to its institution then. The
// error is [cityid.ErrUnavailable] if that can not be told.
func (h *historySource) stood(ctx context.Context, r *cityid.ReportReceipt) (cityid.Standing, error) {
	trust, err := h.trust.load(ctx)
	if err != nil {
		return cityid.Standing{}, err
	}
	var history func(context.Context, cityid.Code) ([]cityid.Record, error)
	if h.offline || len(h.bundles) > 0 {
		if history, err = h.fromBundles(ctx, trust, r.Time); err != nil {
			return cityid.Standing{}, err
		}
	} else {
		c, err := h.flags.connect()
		if err != nil {
			return cityid.Standing{}, err
		}
		if h.proven = trust != nil; !h.proven {
			h.flags.talk("warning: no trust root is pinned, so the keys are only the node's word; cityid trust pin pins one")
		}
		history = h.fromNode(c, trust)
	}
	return cityid.Stood(ctx, r.Institution, r.Key, cityid.RoleIntake, r.Time, history)
}

// fromNode asks a node for histories.
func (h *historySource) fromNode(c *client.Client, trust *verify.TrustFile) func(context.Context, cityid.Code) ([]cityid.Record, error) {
	return func(ctx context.Context, code cityid.Code) ([]cityid.Record, error) {
		if trust == nil {
			a, err := c.History(ctx, code)
			if err != nil {
				return nil, err
			}
			return a.Revisions, nil
		}
		b, err := c.Bundle(ctx, question(trust, code, cityid.AnswerHistory))
		if err != nil {
			return nil, err
		}
		return provenHistory(verify.CheckEncoded(trust.Latest(), b, verify.Options{Now: time.Now(), Code: code, Kind: cityid.AnswerHistory}))
	}
}

// provenHistory returns the revisions of a history, or of a record the latest.
func provenHistory(r verify.Result) ([]cityid.Record, error) {
	switch {
	case r.Verdict == verify.Undecided:
		return nil, cityid.Errorf(cityid.ErrUnavailable, "the history of %s is undecided: %s (%s)", r.Code, r.Message, r.Reason)
	case r.Verdict != verify.Valid:
		return nil, verdictError(r)
	case r.Kind == cityid.AnswerRecord && r.Record != nil:
		return []cityid.Record{*r.Record}, nil
	}
	return r.Records, nil
}

// fromBundles reads histories and records from bundles, each of which must be
// valid as of a time, or since.
func (h *historySource) fromBundles(ctx context.Context, trust *verify.TrustFile, at cityid.Time) (func(context.Context, cityid.Code) ([]cityid.Record, error), error) {
	if trust == nil {
		_, err := h.trust.required(ctx)
		return nil, err
	}
	h.proven = true
	found := map[cityid.Code][]cityid.Record{}
	for _, path := range h.bundles {
		b, err := readBounded(ctx, path, verify.MaxBundle)
		if err != nil {
			return nil, err
		}
		base := trust.Latest()
		if d, err := verify.Decode(b); err == nil {
			base = trust.For(d)
		}
		r := verify.CheckEncoded(base, b, verify.Options{Now: time.Now(), At: at.Std()})
		if r.Kind != cityid.AnswerHistory && r.Kind != cityid.AnswerRecord && r.Verdict == verify.Valid {
			return nil, usagef("%s lists codes: want the history of an institution (cityid bundle get --kind history)", path)
		}
		list, err := provenHistory(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(list) > len(found[r.Code]) {
			found[r.Code] = list
		}
	}
	return func(_ context.Context, code cityid.Code) ([]cityid.Record, error) {
		if list, ok := found[code]; ok {
			return list, nil
		}
		return nil, cityid.Errorf(cityid.ErrUnavailable, "no bundle tells of %s: cityid bundle get %s --kind history gets one", code, code)
	}, nil
}
