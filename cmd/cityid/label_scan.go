// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"cityid"
	"cityid/client"
	"cityid/label"
	"cityid/verify"
)

// scanView is what a scan found.
type scanView struct {
	Text        string      `json:"text"`
	Kind        string      `json:"kind"`
	Code        cityid.Code `json:"code"`
	Display     string      `json:"display"`
	Host        string      `json:"host,omitempty"`
	Certificate string      `json:"certificate,omitempty"` // the verdict
	Holder      cityid.Code `json:"holder,omitzero"`       // whose key signed it
	Issued      string      `json:"issued,omitempty"`
	Expires     string      `json:"expires,omitempty"`

	Source    string        `json:"source,omitempty"` // the verdict on a source mark
	Digest    cityid.Digest `json:"digest,omitzero"`  // of the bytes it is about
	Signed    cityid.Time   `json:"signed,omitzero"`  // by the signer's word
	Anchored  *anchored     `json:"anchored,omitempty"`
	Proves    string        `json:"proves,omitempty"`
	NotProven string        `json:"does_not_prove,omitempty"`
}

func labelScan(f *flags) func(context.Context, []string) error {
	k := &keySource{}
	k.setup(f)
	file := f.String("file", "", "the report that a source mark is about")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one image, or - for standard input")
		}
		text, err := withInput(ctx, args[0], func(r io.Reader) (string, error) { return label.Decode(ctx, r, label.Limits{}) })
		if errors.Is(err, label.ErrNoSymbol) {
			return hint(exitError{exitNotFound, err}, "take the photo from straight ahead, with the whole symbol and its white border in the picture")
		}
		if err != nil {
			return err
		}
		p, err := label.ParsePayload(text)
		if err == nil && *file != "" && p.Kind != label.KindSource {
			return exitError{exitInvalid, fmt.Errorf("the symbol is of kind %s: only a source mark is about a file", p.Kind)}
		}
		if err != nil {
			return exitError{exitInvalid, fmt.Errorf("the symbol reads %.200q, which is no label of this system: %w", text, err)}
		}
		v := scanView{Text: text, Kind: p.Kind.String(), Code: p.Code, Display: p.Code.Display()}
		if !p.Public.IsZero() {
			v.Host = p.Public.Host()
		}
		if p.Kind == label.KindCertificate {
			return scanCertificate(ctx, k, p.Certificate, v)
		}
		if p.Kind == label.KindSource {
			return scanSource(ctx, k, *file, p.Source, v)
		}
		return f.print(scanTable(v))
	}
}

func scanTable(v scanView) *table {
	anchor := ""
	if a := v.Anchored; a != nil {
		anchor = fmt.Sprintf("%s, block %d", a.Time, a.Height)
	}
	return fields(v, "reads", v.Text, "kind", v.Kind, "code", v.Display, "host", v.Host,
		"certificate", v.Certificate, "source mark", v.Source, "digest", digestText(v.Digest), "signed for", v.Holder.String(),
		"signed at", v.Signed.String(), "from", v.Issued, "until", v.Expires, "anchored", anchor, "proves", v.Proves, "does not prove", v.NotProven)
}

// digestText is empty for no digest.
func digestText(d cityid.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// scanCertificate checks a certificate against the assert keys on the code's
// own line of ancestors.
func scanCertificate(ctx context.Context, k *keySource, c label.Certificate, v scanView) error {
	candidates, err := k.assertKeys(ctx, c.Code)
	if err != nil {
		return err
	}
	found := label.Check(c, candidates, cityid.TimeOf(time.Now()))
	v.Certificate, v.Holder = found.Verdict.String(), found.Holder
	v.Issued, v.Expires = c.Issued.String(), c.Expires.String()
	if err := k.flags.print(scanTable(v)); err != nil {
		return err
	}
	switch {
	case found.Verdict == label.Valid:
		return nil
	case found.Verdict.Undecided():
		return exitError{exitUndecided, fmt.Errorf("whether the certificate holds can not be told: %s", found.Verdict)}
	}
	return exitError{exitInvalid, fmt.Errorf("the certificate does not hold: %s", found.Verdict)}
}

// keySource finds the assert keys that may have signed a certificate: in
// bundles on disk, or by asking a node; proven wherever a trust root is pinned.
type keySource struct {
	flags   *flags
	trust   trustFlag
	bundles list
	offline bool
}

func (k *keySource) setup(f *flags) {
	k.flags = f
	k.trust.setup(f)
	f.Var(&k.bundles, "bundle", "take the keys from this verified bundle (`file`) and ask no node; several times")
	f.BoolVar(&k.offline, "offline", false, "ask no node")
}

// assertKeys returns the assert keys of code and its ancestors.
func (k *keySource) assertKeys(ctx context.Context, code cityid.Code) ([]label.Candidate, error) {
	trust, err := k.trust.load(ctx)
	if err != nil {
		return nil, err
	}
	if k.offline || len(k.bundles) > 0 {
		return k.fromBundles(ctx, trust)
	}
	node, err := k.flags.connect()
	if err != nil {
		return nil, err
	}
	if trust == nil {
		k.flags.talk("warning: no trust root is pinned, so the keys are only the node's word; cityid trust pin pins one")
	}
	var out []label.Candidate
	for c := code; !c.IsZero(); c = c.Parent() {
		r, err := k.record(ctx, node, trust, c)
		if err != nil {
			return nil, err
		}
		out = append(out, label.CandidatesOf(r)...)
	}
	return out, nil
}

// record returns the record of code, proven if trust is not nil; nil if there
// is none, or none that this zone could tell of.
func (k *keySource) record(ctx context.Context, node *client.Client, trust *verify.TrustFile, code cityid.Code) (*cityid.Record, error) {
	if trust == nil {
		a, err := node.Record(ctx, code)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &a.Record, nil
	}
	r, err := k.trust.check(ctx, node, trust, code)
	if err != nil {
		return nil, err
	}
	if r.Reason == verify.ReasonZone {
		return nil, nil
	}
	return r.Record, verdictError(r)
}

// fromBundles takes keys from bundles of records, each of which must be valid.
func (k *keySource) fromBundles(ctx context.Context, trust *verify.TrustFile) ([]label.Candidate, error) {
	if len(k.bundles) > 0 && trust == nil {
		_, err := k.trust.required(ctx)
		return nil, err
	}
	var out []label.Candidate
	for _, path := range k.bundles {
		r, err := k.readBundle(ctx, trust, path, cityid.AnswerRecord)
		if err != nil {
			return nil, err
		}
		out = append(out, label.CandidatesOf(r.Record)...)
	}
	return out, nil
}

// readBundle returns what a bundle proves; kind may be zero for any.
func (k *keySource) readBundle(ctx context.Context, trust *verify.TrustFile, path string, kind cityid.AnswerKind) (verify.Result, error) {
	b, err := readBounded(ctx, path, verify.MaxBundle)
	if err != nil {
		return verify.Result{}, err
	}
	base := trust.Latest()
	if d, err := verify.Decode(b); err == nil {
		base = trust.For(d)
	}
	r := verify.CheckEncoded(base, b, verify.Options{Now: time.Now(), Kind: kind})
	if err := verdictError(r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
