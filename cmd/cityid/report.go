// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
)

func reportCommand() *command {
	return &command{
		name: "report", short: "say what is wrong with a coded thing, check the receipt, and deal with what was reported",
		sub: []*command{
			{
				name: "send", args: "CODE", short: "report something, and take the signed receipt",
				long: "The report goes to the portal at --node, which finds the department responsible, also after a\nmerger. Nothing of it reaches the chain. The receipt's file also holds what was reported.",
				examples: []string{
					"cityid report send MA.156.1301.02/20.010501/000045 --category broken --text 'it does not shine' --node https://id.example.cn",
					"cityid report send MA.156.1301.02/20.010501/000045 --category damaged --photo lamp.jpg --receipt lamp.receipt",
				},
				setup: reportSend,
			},
			{
				name: "status", args: "LINK", short: "say what became of a report, by the link that came with its receipt",
				long:  "Whoever has the link sees what was reported. - reads it from standard input.",
				setup: reportStatus,
			},
			{
				name: "check", args: "FILE", short: "check a receipt: valid (0), invalid (5) or undecided (6)",
				long: "FILE is a receipt as it was downloaded, or a photograph of the symbol on a printed one. The key that\nsigned it must have stood, with the role intake, in the institution's policy at the receipt's time.\nThat comes from a node, proven by your trust root, or from bundles on disk (kind history).",
				examples: []string{
					"cityid report check receipt-17.cbor --trust trust.json --node https://id.example.cn",
					"cityid bundle get MA.156.9001 --kind history -o institute.cityid && cityid report check receipt-17.cbor --bundle institute.cityid",
					"cityid report check paper.jpg --lang zh",
				},
				setup: reportCheck,
			},
			{name: "who", args: "CODE", short: "say who is responsible for what a code stands for, and how that was found", setup: reportWho},
			{
				name: "list", args: "CODE", short: "list what people reported about what a code, or one below it, is responsible for",
				examples: []string{"cityid report list MA.156.1301.02 --open --key officer", "cityid report list MA.156.1301 --format csv --key officer"},
				setup:    reportList,
			},
			{name: "show", args: "NUMBER", short: "show one report, with whom to answer", setup: reportShow},
			{
				name: "assign", args: "NUMBER", short: "take a report on, or pass it on to another department of the city",
				examples: []string{"cityid report assign 17 --to MA.156.1301.01 --key officer"},
				setup:    reportAssign,
			},
			{
				name: "close", args: "NUMBER", short: "close a report as fixed, or as declined, with a public note",
				examples: []string{"cityid report close 17 --fixed --note 'the bulb was replaced' --key officer"},
				setup:    reportClose,
			},
		},
	}
}

func reportSend(f *flags) func(context.Context, []string) error {
	var r cityid.ReportRequest
	category := f.String("category", "", "what is wrong: broken, damaged, dirty, dangerous, wrong-information or other")
	f.StringVar(&r.Text, "text", "", "what you saw, at most 2000 characters")
	f.StringVar(&r.Contact, "contact", "", "your e-mail address or telephone number, if you may be asked something")
	f.StringVar(&r.ID, "id", "", "32 hexadecimal digits of your own: sent again with the same, it is the same report")
	photo := f.String("photo", "", "a photograph (JPEG or PNG `file`, at most 8 MB)")
	receipt := f.String("receipt", "", "write the receipt to this `file`; receipt-NUMBER.cbor without it")
	return func(ctx context.Context, args []string) error {
		code, err := codeArg(args)
		if err != nil {
			return err
		}
		if err := r.Category.UnmarshalText([]byte(*category)); err != nil {
			return usagef("--category: %w", err)
		}
		r.Code = code
		if *photo != "" {
			if r.Photo, err = readBounded(ctx, *photo, 8<<20); err != nil {
				return err
			}
		}
		c, err := f.portal()
		if err != nil {
			return err
		}
		sent, err := c.SendReport(ctx, r)
		if err != nil {
			return err
		}
		path := *receipt
		if path == "" {
			path = fmt.Sprintf("receipt-%d.cbor", sent.Number)
		}
		if err := writeFile(path, sent.Receipt, 0o600); err != nil {
			f.talk("report %d was received, but its receipt could not be kept: download it from its page", sent.Number)
			return errors.Join(err, f.print(sentTable(f.lang, sent, "")))
		}
		f.talk("the receipt is in %s; cityid report check %s checks it", path, path)
		f.talk("keep the link to yourself: whoever has it sees the report")
		return f.print(sentTable(f.lang, sent, path))
	}
}

func sentTable(lang string, s *cityid.ReportSent, receipt string) *table {
	t := fields(s, "number", fmt.Sprint(s.Number), "given to", s.Department.String())
	for _, l := range describe.Duty(lang, s.Way) {
		t.rows = append(t.rows, []string{"way", l.Text})
	}
	t.rows = append(t.rows, []string{"link", s.Page})
	if receipt != "" {
		t.rows = append(t.rows, []string{"receipt", receipt})
	}
	return t
}

// portal is connect for portals, whose links are in the language of the command.
func (f *flags) portal() (*client.Client, error) {
	return f.clientOf(f.node, 0, client.WithLanguage(f.lang))
}

var receiptPath = regexp.MustCompile(`^(.*)/(?:zh|en)/receipt/([1-9][0-9]{0,18})$`)

func reportStatus(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the link that came with the receipt, or - for standard input")
		}
		link := args[0]
		if link == "-" {
			b, err := readBounded(ctx, "-", 4<<10)
			if err != nil {
				return err
			}
			link = strings.TrimSpace(string(b))
		}
		u, err := url.Parse(link)
		if err != nil || u.Host == "" || !receiptPath.MatchString(u.Path) || u.Query().Get("token") == "" {
			return usagef("the link is not whole: want one such as https://id.example/en/receipt/17?token=…")
		}
		m := receiptPath.FindStringSubmatch(u.Path)
		number, err := strconv.ParseUint(m[2], 10, 63)
		if err != nil {
			return usagef("the link is not whole: there is no report %s", m[2])
		}
		c, err := f.clientOf(u.Scheme+"://"+u.Host+m[1], 0)
		if err != nil {
			return err
		}
		s, err := c.ReportStatus(ctx, number, u.Query().Get("token"))
		if err != nil {
			return err
		}
		return f.print(statusTable(f.lang, s, s))
	}
}

// statusTable shows a report; value is what JSON shows of it.
func statusTable(lang string, s *cityid.ReportStatus, value any) *table {
	text := s.Text
	if s.Erased {
		text = "(erased)"
	}
	photo := ""
	if s.Photo {
		photo = "there is one"
	}
	responsible := ""
	if s.Responsible != s.Department {
		responsible = s.Responsible.String()
	}
	t := fields(value, "number", fmt.Sprint(s.Number), "state", describe.ReportState(lang, s.State), "code", s.Code.String(), "category", describe.ReportCategory(lang, s.Category),
		"text", strings.ReplaceAll(text, "\n", " / "), "photograph", photo, "given to", s.Department.String(), "now with", responsible, "received", s.Received.String(), "closed", s.Closed.String())
	for _, x := range s.Steps {
		line := x.Time.String() + " " + describe.ReportState(lang, x.State)
		if !x.Department.IsZero() {
			line += " → " + x.Department.String()
		}
		if x.Note != "" {
			line += ": " + x.Note
		}
		t.rows = append(t.rows, []string{"step", line})
	}
	return t
}

func reportWho(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		way, err := cityid.Responsible(ctx, code, func(ctx context.Context, at cityid.Code) (*cityid.Record, error) {
			a, err := c.Record(ctx, at)
			if err != nil {
				return nil, err
			}
			return &a.Record, nil
		})
		if err != nil {
			return err
		}
		t := &table{head: []string{"code", "kind", "status", "way"}}
		lines := describe.Duty(f.lang, way)
		for i := range way {
			t.add(&way[i], way[i].Code.String(), describe.Kind(f.lang, way[i].Kind), describe.Status(f.lang, way[i].Status), lines[i].Text)
		}
		return f.print(t)
	}
}

// deskUser signs in at a portal's desk.
type deskUser struct {
	*flags
	secrets
	key, origin string
}

func (d *deskUser) setup(f *flags) {
	d.flags = f
	d.secrets.flags(f)
	f.StringVar(&d.key, "key", "", "sign in with this `key`, which has a voice in the policy of whoever is responsible, or above it")
	f.StringVar(&d.origin, "origin", "", "the portal's address for browsers, where --node names another one")
}

// at runs work at the desk of the portal that --node names.
func (d *deskUser) at(ctx context.Context, work func(*client.Desk) error) (err error) {
	if d.key == "" {
		return usagef("name your key with --key")
	}
	k, err := d.openKey(ctx, d.key, &d.secrets)
	if err != nil {
		return err
	}
	c, err := d.portal()
	if err != nil {
		return err
	}
	desk, err := c.SignIn(ctx, d.origin, signerOf(k))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := desk.Close(context.WithoutCancel(ctx)); err == nil {
			err = cerr
		}
	}()
	return work(desk)
}

func reportList(f *flags) func(context.Context, []string) error {
	var d deskUser
	d.setup(f)
	open := f.Bool("open", false, "only those still to be done")
	state := f.String("state", "", "only received, assigned, fixed or declined ones")
	category := f.String("category", "", "only those of this `category`")
	limit := f.Int("limit", 50, "how many at most")
	return func(ctx context.Context, args []string) error {
		code, err := codeArg(args)
		if err != nil {
			return err
		}
		q := cityid.ReportQuery{At: code, Open: *open}
		if *state != "" {
			if err := q.State.UnmarshalText([]byte(*state)); err != nil {
				return usageError{err}
			}
		}
		if *category != "" {
			if err := q.Category.UnmarshalText([]byte(*category)); err != nil {
				return usageError{err}
			}
		}
		if *limit < 1 {
			return usagef("--limit %d: want 1 or more", *limit)
		}
		t := &table{head: []string{"number", "state", "category", "code", "given to", "received", "text"}}
		err = d.at(ctx, func(desk *client.Desk) error {
			for len(t.rows) < *limit {
				q.Limit = min(200, *limit-len(t.rows))
				page, err := desk.Reports(ctx, q)
				if err != nil {
					return err
				}
				for i := range page.Reports {
					e := &page.Reports[i]
					t.add(e, fmt.Sprint(e.Number), describe.ReportState(f.lang, e.State), describe.ReportCategory(f.lang, e.Category), e.Code.String(), e.Department.String(), e.Received.String(), strings.ReplaceAll(e.Text, "\n", " / "))
				}
				if q.Before = page.Next; page.Next == 0 {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return f.print(t)
	}
}

// reportNumber parses the single argument of a command about one report.
func reportNumber(args []string) (uint64, error) {
	if len(args) != 1 {
		return 0, usagef("want the number of one report")
	}
	n, err := strconv.ParseUint(args[0], 10, 62)
	if err != nil || n == 0 {
		return 0, usagef("report %q: want a number", args[0])
	}
	return n, nil
}

func entryTable(lang string, e *cityid.ReportEntry) *table {
	t := statusTable(lang, &e.ReportStatus, e)
	if e.Contact != "" {
		t.rows = append(t.rows, []string{"contact", e.Contact})
	}
	return t
}

func reportShow(f *flags) func(context.Context, []string) error {
	var d deskUser
	d.setup(f)
	photo := f.String("photo", "", "write the photograph to this `file`")
	return func(ctx context.Context, args []string) error {
		number, err := reportNumber(args)
		if err != nil {
			return err
		}
		return d.at(ctx, func(desk *client.Desk) error {
			e, err := desk.Report(ctx, number)
			if err != nil {
				return err
			}
			if *photo != "" {
				b, err := desk.ReportPhoto(ctx, number)
				if err != nil {
					return err
				}
				if err := writeFile(*photo, b, 0o600); err != nil {
					return err
				}
			}
			return f.print(entryTable(f.lang, e))
		})
	}
}

// change does something about a report as it is now.
func (d *deskUser) change(ctx context.Context, args []string, c cityid.ReportChange) error {
	number, err := reportNumber(args)
	if err != nil {
		return err
	}
	return d.at(ctx, func(desk *client.Desk) error {
		e, err := desk.Report(ctx, number)
		if err != nil {
			return err
		}
		c.From = e.State
		if e, err = desk.ChangeReport(ctx, number, c); err != nil {
			return err
		}
		return d.print(entryTable(d.lang, e))
	})
}

func reportAssign(f *flags) func(context.Context, []string) error {
	var d deskUser
	d.setup(f)
	to := f.String("to", "", "pass it on to this department (`code`)")
	note := f.String("note", "", "what whoever reported it may read")
	return func(ctx context.Context, args []string) error {
		c := cityid.ReportChange{To: cityid.ReportAssigned, Note: *note}
		if *to != "" {
			var err error
			if c.Department, err = parseCode(*to); err != nil {
				return err
			}
		}
		return d.change(ctx, args, c)
	}
}

func reportClose(f *flags) func(context.Context, []string) error {
	var d deskUser
	d.setup(f)
	fixed := f.Bool("fixed", false, "it is fixed")
	declined := f.Bool("declined", false, "nothing will be done")
	note := f.String("note", "", "what was done, or why nothing will be; public")
	return func(ctx context.Context, args []string) error {
		if *fixed == *declined || *note == "" {
			return usagef("say --fixed or --declined, and in --note what was done or why nothing will be")
		}
		c := cityid.ReportChange{To: cityid.ReportFixed, Note: *note}
		if *declined {
			c.To = cityid.ReportDeclined
		}
		return d.change(ctx, args, c)
	}
}
