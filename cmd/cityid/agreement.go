// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
	"cityid/verify"
)

func agreementCommand() *command {
	return &command{
		name: "agreement", short: "ask for the use of data of others, and decide who may use yours",
		long: "An agreement is known by the digest of its terms, which both sides sign. Who shares what with whom is\npublic, so that everybody's gateway can judge; the purpose is told to the holder of the data alone.",
		sub: []*command{
			{
				name: "list", short: "list the agreements about datasets, or of a consumer",
				examples: []string{"cityid agreement list --dataset MA.156.1301 --state requested", "cityid agreement list --consumer MA.156.1302"},
				setup:    agreementList,
			},
			{
				name: "show", args: "ID", short: "show what an agreement says and how it stands, checked against your trust root if you have one",
				examples: []string{"cityid agreement show 3b0c…", "cityid agreement show 3b0c… --lang zh"},
				setup:    agreementShow,
			},
			requestCommand(), purposeCommand(),
			decisionCommand("grant", "let the consumer use the dataset under these very terms", func(d *cityid.AgreementDecision) cityid.Operation {
				return cityid.Operation{AgreementGrant: d}
			}),
			decisionCommand("refuse", "refuse a request", func(d *cityid.AgreementDecision) cityid.Operation {
				return cityid.Operation{AgreementRefuse: d}
			}),
			decisionCommand("revoke", "end an agreement, by either side; or take your request back", func(d *cityid.AgreementDecision) cityid.Operation {
				return cityid.Operation{AgreementRevoke: d}
			}),
		},
	}
}

func agreementList(f *flags) func(context.Context, []string) error {
	dataset := f.String("dataset", "", "about this `code` or one below it")
	consumer := f.String("consumer", "", "of this `code` or one below it")
	state := f.String("state", "", "only `requested`, granted, refused, revoked, lapsed or expired ones")
	limit := f.Int("limit", 0, "how many at most; 0 for all")
	ids := f.Bool("ids", false, "print the ids alone, one a line")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		q := cityid.AgreementQuery{Limit: 200}
		var err error
		switch {
		case (*dataset == "") == (*consumer == ""):
			return usagef("want either --dataset CODE or --consumer CODE")
		case *limit < 0:
			return usagef("--limit %d: want 0 or more", *limit)
		case *dataset != "":
			q.Dataset, err = parseCode(*dataset)
		default:
			q.Consumer, err = parseCode(*consumer)
		}
		if err != nil {
			return err
		}
		if *state != "" {
			if err := q.State.UnmarshalText([]byte(*state)); err != nil {
				return usageError{err}
			}
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		t := &table{head: []string{"id", "state", "in force", "dataset", "consumer", "from", "until", "answer by"}}
		for *limit == 0 || len(t.rows) < *limit {
			if *limit > 0 {
				q.Limit = min(200, *limit-len(t.rows))
			}
			page, err := c.Agreements(ctx, q)
			if err != nil {
				return err
			}
			for _, a := range page.Agreements {
				x := &a.Agreement.Terms
				force := ""
				if a.InForce {
					force = "yes"
				}
				t.add(a, a.ID.String(), describe.AgreementState(f.lang, a.State), force, x.Dataset.String(), x.Consumer.String(), x.From.String(), x.Until.String(), x.Respond.String())
			}
			if q.After = page.Next; q.After == "" {
				break
			}
		}
		if *ids {
			var b strings.Builder
			for _, row := range t.rows {
				b.WriteString(row[0] + "\n")
			}
			return f.write([]byte(b.String()))
		}
		return f.print(t)
	}
}

// idArg parses the single argument of a command as the id of an agreement.
func idArg(args []string) (cityid.Digest, error) {
	if len(args) != 1 {
		return cityid.Digest{}, usagef("want the id of one agreement, not %d arguments", len(args))
	}
	id, err := cityid.ParseDigest(args[0])
	if err != nil || id.IsZero() {
		return id, usagef("%.80q: want the id of an agreement, 64 hexadecimal digits; cityid agreement list shows them", args[0])
	}
	return id, nil
}

func agreementShow(f *flags) func(context.Context, []string) error {
	var t trustFlag
	t.setup(f)
	return func(ctx context.Context, args []string) error {
		id, err := idArg(args)
		if err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		trust, err := t.load(ctx)
		if err != nil {
			return err
		}
		a, err := provenAgreement(ctx, f, c, trust, id)
		if err != nil {
			return err
		}
		return f.print(agreementTable(f.lang, a))
	}
}

// provenAgreement asks a node for an agreement and, with a trust root, checks the
// proof.
func provenAgreement(ctx context.Context, f *flags, c *client.Client, trust *verify.TrustFile, id cityid.Digest) (*cityid.AgreementAnswer, error) {
	a, err := c.Agreement(ctx, id)
	if err != nil {
		return nil, err
	}
	if trust == nil {
		f.talk("not verified: you have pinned no trust root; cityid trust pin does")
		return a, nil
	}
	key := cityid.AgreementKey(a.Agreement.Terms.Dataset, id)
	r, _, err := c.Entries(ctx, trust.Latest(), [][]byte{key}, time.Now())
	if err != nil {
		return nil, err
	}
	if r.Verdict != verify.Valid {
		return nil, verdictError(r)
	}
	f.talk("%s: %s", r.Verdict, r.Message)
	proven := &cityid.AgreementAnswer{ID: id, AsOf: r.AsOf}
	if there, err := r.Entry(key, &proven.Agreement); err != nil || !there {
		return nil, exitError{exitInvalid, errors.Join(fmt.Errorf("the node shows the agreement %s, which the state does not hold", id), err)}
	}
	now := cityid.TimeOf(r.AsOf.Time)
	proven.State, proven.InForce = proven.Agreement.StateAt(now), proven.Agreement.InForce(now)
	return proven, nil
}

func agreementTable(lang string, a *cityid.AgreementAnswer) *table {
	t := fields(a, "agreement", a.ID.String(), "state", describe.AgreementState(lang, a.State))
	for _, l := range describe.Agreement(lang, &a.Agreement, cityid.TimeOf(a.AsOf.Time)) {
		t.rows = append(t.rows, []string{"", l.String()})
	}
	t.rows = append(t.rows, []string{"as of", asOf(a.AsOf)})
	return t
}

// decisionCommand is granting, refusing or revoking.
func decisionCommand(name, short string, operation func(*cityid.AgreementDecision) cityid.Operation) *command {
	return &command{
		name: name, args: "ID", short: short,
		examples: []string{"cityid agreement " + name + " 3b0c… --key officer", "cityid agreement " + name + " 3b0c… --propose --key officer"},
		setup: func(f *flags) func(context.Context, []string) error {
			w := &writing{}
			w.setupProposable(f)
			note := f.String("note", "", "a remark for the other side; it is published")
			dataset := f.String("dataset", "", "`code` of the dataset, when no node can be asked what is decided")
			return func(ctx context.Context, args []string) error {
				id, err := idArg(args)
				if err != nil {
					return err
				}
				d := &cityid.AgreementDecision{Agreement: id, Note: *note}
				if *dataset != "" {
					if d.Dataset, err = parseCode(*dataset); err != nil {
						return err
					}
					return w.submit(ctx, operation(d))
				}
				if w.chain != "" && w.save != "" {
					return usagef("without a node, name the dataset with --dataset CODE")
				}
				if d.Dataset, err = showBeforeDeciding(ctx, f, id); err != nil {
					return err
				}
				return w.submit(ctx, operation(d))
			}
		},
	}
}

// showBeforeDeciding says what is about to be decided. The id is the digest of
// the terms shown: a node can not show others.
func showBeforeDeciding(ctx context.Context, f *flags, id cityid.Digest) (cityid.Code, error) {
	c, err := f.connect()
	if err != nil {
		return cityid.Code{}, err
	}
	a, err := c.Agreement(ctx, id)
	if err != nil {
		return cityid.Code{}, err
	}
	for _, l := range describe.Agreement(f.lang, &a.Agreement, cityid.TimeOf(a.AsOf.Time)) {
		f.talk("%s", l)
	}
	return a.Agreement.Terms.Dataset, nil
}
