// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"cityid"
	"cityid/internal/share"
	"cityid/verify"
)

func evidenceCommand() *command {
	return &command{
		name: "evidence", short: "show later who fetched what under which agreement",
		sub: []*command{
			{
				name: "export", args: "ENTRY", short: "take the evidence of one fetch out of a gateway",
				long:     "ENTRY is the hash that a fetch names in the header Cityid-Entry and the access log lists. The\ngateway asks the other side for its proof too. Until both have anchored, export again later.",
				examples: []string{"cityid evidence export 5f3a… --gateway http://127.0.0.1:9102 -o fetch.evidence"},
				setup:    evidenceExport,
			},
			{
				name: "verify", args: "FILE [FILE]", short: "check evidence without a network; two files are compared",
				long: "What valid evidence proves: a key of the provider signed this answer to this request, a key of the\nconsumer had signed the request, the agreement was in force, and all this was on the chain no later\nthan the time shown. If it was anchored more than a day after the time that the receipt claims, that\ntime proves nothing, and the evidence says so. What it does not: that what the data say is true. Without\nthe consumer's acknowledgement it does not show that the answer arrived either.",
				examples: []string{
					"cityid evidence verify fetch.evidence --trust trust.json --body data.json",
					"cityid evidence verify ours.evidence theirs.evidence --trust trust.json",
				},
				setup: evidenceVerify,
			},
		},
	}
}

func evidenceExport(f *flags) func(context.Context, []string) error {
	gateway := f.String("gateway", "http://127.0.0.1:9102", "`address` of the gateway for applications")
	return func(ctx context.Context, args []string) error {
		var entry cityid.Digest
		if len(args) != 1 || entry.UnmarshalText([]byte(args[0])) != nil || entry.IsZero() {
			return usagef("want the hash of an entry, 64 hexadecimal digits")
		}
		b, err := f.askGateway(ctx, *gateway, "/v1/evidence/"+entry.String(), share.MaxEvidence)
		if err != nil {
			return err
		}
		return f.writeBinary("evidence", b)
	}
}

// askGateway reads a resource of a gateway's local side.
func (f *flags) askGateway(ctx context.Context, gateway, path string, most int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(gateway, "/")+path, nil)
	if err != nil {
		return nil, usagef("--gateway %q: want an address such as http://127.0.0.1:9102", gateway)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, exitError{exitUnreachable, fmt.Errorf("gateway: %w", err)}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil || int64(len(b)) > most {
		return nil, fmt.Errorf("gateway %s: its answer breaks off or has more than %d octets", gateway, most)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, gatewayRefusal(b, resp.Status)
	}
	return b, nil
}

func evidenceVerify(f *flags) func(context.Context, []string) error {
	var trust trustFlag
	trust.setup(f)
	body := f.String("body", "", "`file` with the data, to compare with the digest in the evidence")
	at := f.String("now", "", "judge as of this `time` instead of the clock's, RFC 3339")
	return func(ctx context.Context, args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return usagef("want one or two files")
		}
		t, err := trust.required(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if *at != "" {
			if now, err = time.Parse(time.RFC3339, *at); err != nil {
				return usagef("--now %q: want a time such as 2026-11-24T08:00:00Z", *at)
			}
		}
		var list []*share.Evidence
		for _, path := range args {
			b, err := readBounded(ctx, path, share.MaxEvidence)
			if err != nil {
				return err
			}
			e, err := share.DecodeEvidence(b)
			if err != nil {
				return exitError{exitInvalid, fmt.Errorf("%s: %w", path, err)}
			}
			list = append(list, e)
		}
		if len(list) == 2 {
			return f.compareEvidence(list, t, now)
		}
		r := share.CheckEvidence(list[0], t, now)
		if err := f.print(evidenceTable(&r)); err != nil {
			return err
		}
		if r.Verdict == verify.Valid && *body != "" {
			d, _, err := digestFile(ctx, *body)
			if err != nil {
				return err
			}
			if d != r.Facts.Content {
				return exitError{exitInvalid, fmt.Errorf("%s has digest %s: it is not what was fetched", *body, d)}
			}
			f.talk("%s is what was fetched", *body)
		}
		return evidenceVerdict(r.Verdict, r.Message)
	}
}

// verdictError returns the error by which a command ends with a verdict.
func evidenceVerdict(v verify.Verdict, message string) error {
	switch v {
	case verify.Valid:
		return nil
	case verify.Invalid:
		return exitError{exitInvalid, errors.New(message)}
	}
	return exitError{exitUndecided, errors.New(message)}
}

func (f *flags) compareEvidence(list []*share.Evidence, t *verify.TrustFile, now time.Time) error {
	a, b, outcome, err := share.Compare(list[0], list[1], t, now)
	if err != nil {
		return err
	}
	for _, r := range []*share.EvidenceResult{&a, &b} {
		if err := f.print(evidenceTable(r)); err != nil {
			return err
		}
	}
	switch {
	case a.Verdict != verify.Valid:
		return evidenceVerdict(a.Verdict, a.Message)
	case b.Verdict != verify.Valid:
		return evidenceVerdict(b.Verdict, b.Message)
	case outcome == "":
		return evidenceVerdict(verify.Undecided, "the two sides name different answers, and their time to anchor is not over")
	case outcome == share.Repeated:
		return evidenceVerdict(verify.Invalid, fmt.Sprintf("the provider gave number %d of its log %s to two answers", a.Facts.Number, a.Facts.Log))
	case outcome == share.Disputed:
		return evidenceVerdict(verify.Invalid, "the two sides have anchored different answers to one request")
	}
	f.talk("both sides say the same: %s", outcome)
	return nil
}

func evidenceTable(r *share.EvidenceResult) *table {
	x := &r.Facts
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	pairs := []string{"verdict", r.Verdict.String(), "says", r.Message}
	if r.Verdict != verify.Invalid {
		pairs = append(pairs, "agreement", x.Agreement.String(), "consumer", x.Consumer.String(), "provider", x.Provider.String(),
			"dataset", x.Dataset.String(), "asked", x.Method+" "+x.Target, "status", fmt.Sprint(x.Status), "octets", fmt.Sprint(x.Size),
			"content", x.Content.String(), "receipt", fmt.Sprintf("%s %d", x.Log, x.Number), "time", x.Time.String(),
			"no later than", stamp(x.NotLater), "provider anchored", stamp(x.Provided), "consumer anchored", stamp(x.Consumed),
			"outcome", string(x.Outcome), "remark", x.Remark)
	}
	if x.Late {
		pairs = append(pairs, "anchored late", "yes")
	}
	for _, c := range r.Checks {
		pairs = append(pairs, "check "+c.Name, c.Verdict.String()+": "+c.Detail)
	}
	return fields(r, pairs...)
}
