// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/label"
	"cityid/verify"
)

// Files among the labels.
const (
	demoLampSVG        = "lamp-000001.svg"
	demoLampPNG        = "lamp-000001.png"
	demoCertificatePNG = "sjz-01-certificate.png"
)

// tour looks at the network from outside: it asks over HTTP, and checks what it
// gets by the pinned trust root alone.
func (d *demo) tour(ctx context.Context) error {
	v := &visitor{demo: d}
	for _, s := range []struct {
		title string
		do    func(context.Context) (string, error)
	}{
		{"A code is resolved over HTTP", v.resolve},
		{"Its department is verified offline", v.record},
		{"Any changed octet is noticed", v.tampering},
		{demoNever.String() + " was never allocated", v.absence},
		{"The list of departments is complete", v.listing},
		{"An official number leads to the code", v.crosswalk},
		{"A lamp post gets a label", v.fieldLabel},
		{"A department signs a certificate", v.certificate},
		{"Tianjin fetches Shijiazhuang's air", v.fetched},
		{"The fetch leaves evidence", v.evidence},
		{"The first trust root still suffices", v.oldTrust},
	} {
		if err := d.say.step(s.title, func(*stepTalk) (string, error) { return s.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// visitor is the stranger who makes the tour.
type visitor struct {
	*demo
	department *cityid.Record // as proven
	bundle     []byte         // that proved it
	entry      cityid.Digest  // of a fetch in the receipt log of the one who fetched
}

// resolve asks for a code as a browser or any program would.
func (v *visitor) resolve(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.local.String()+"/"+demoCity.String(), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "application/json")
	response, err := (&http.Client{Transport: v.http, Timeout: time.Minute}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	var a cityid.RecordAnswer
	if err := json.Unmarshal(b, &a); err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %.200s", request.URL, response.Status, b)
	}
	r := &a.Record
	if r.Code != demoCity || r.Status != cityid.StatusActive || !r.Content.Names.Has("zh") {
		return "", fmt.Errorf("the record of %s is %s %s, with %d names", demoCity, r.Code, r.Status, len(r.Content.Names))
	}
	return fmt.Sprintf("%s/%s is %s %s\nwith check characters: %s", v.address, demoCity, r.Content.Names.Get("zh"), r.Content.Names.Get("en"), a.Display), nil
}

// ask fetches a bundle and judges it by the pinned trust root.
func (v *visitor) ask(ctx context.Context, code cityid.Code, kind cityid.AnswerKind) ([]byte, verify.Result, error) {
	b, err := v.local.Bundle(ctx, question(v.trust, code, kind))
	if err != nil {
		return nil, verify.Result{}, err
	}
	r := v.judge(b, code, kind)
	if r.Verdict != verify.Valid {
		return nil, r, verdictError(r)
	}
	return b, r, nil
}

func (v *visitor) judge(b []byte, code cityid.Code, kind cityid.AnswerKind) verify.Result {
	return verify.CheckEncoded(v.trust.Latest(), b, verify.Options{Now: time.Now(), Code: code, Kind: kind})
}

// record fetches a department's bundle, keeps it, and verifies the file.
func (v *visitor) record(ctx context.Context) (string, error) {
	b, _, err := v.ask(ctx, demoUrban, cityid.AnswerRecord)
	if err != nil {
		return "", err
	}
	path := v.folder.file(demoBundleFile)
	if err := writeFile(path, b, 0o644); err != nil {
		return "", err
	}
	if v.bundle, err = readBounded(ctx, path, verify.MaxBundle); err != nil {
		return "", err
	}
	r := v.judge(v.bundle, demoUrban, cityid.AnswerRecord)
	if r.Verdict != verify.Valid {
		return "", verdictError(r)
	}
	if !r.Allocated || r.Record.Content.Names.Get("zh") == "" {
		return "", fmt.Errorf("the bundle proves no named record of %s", demoUrban)
	}
	v.department = r.Record
	return fmt.Sprintf("%s, %s octets, %s: %s\nproven by %s and nothing else",
		demoBundleFile, grouped(len(v.bundle)), r.Verdict, r.Record.Content.Names.Get("zh"), demoTrustFile), nil
}

// tampering changes each octet of the bundle in turn.
func (v *visitor) tampering(ctx context.Context) (string, error) {
	seen := map[verify.Verdict]int{}
	for i := range v.bundle {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		b := bytes.Clone(v.bundle)
		b[i] ^= 1
		verdict := v.judge(b, demoUrban, cityid.AnswerRecord).Verdict
		if verdict == verify.Valid {
			return "", exitError{exitInvalid, fmt.Errorf("the bundle is valid with octet %d changed", i)}
		}
		seen[verdict]++
	}
	if seen[verify.Invalid] == 0 {
		return "", errors.New("no change made the bundle invalid")
	}
	return fmt.Sprintf("each of %s changed in turn: %s invalid, %s undecided, none valid",
		grouped(len(v.bundle)), grouped(seen[verify.Invalid]), grouped(seen[verify.Undecided])), nil
}

// absence proves that a code was never allocated.
func (v *visitor) absence(ctx context.Context) (string, error) {
	b, r, err := v.ask(ctx, demoNever, cityid.AnswerRecord)
	if err != nil {
		return "", err
	}
	if r.Allocated {
		return "", fmt.Errorf("%s is allocated", demoNever)
	}
	return fmt.Sprintf("%s: not allocated, as of %s; the proof has %s octets", r.Verdict, r.AsOf.Time.Format(time.RFC3339), grouped(len(b))), nil
}

// listing proves which departments a city has, and that there are no others.
func (v *visitor) listing(ctx context.Context) (string, error) {
	b, r, err := v.ask(ctx, demoCity, cityid.AnswerChildren)
	if err != nil {
		return "", err
	}
	var codes []string
	for i := range r.Records {
		if r.Records[i].Kind == cityid.KindDepartment {
			codes = append(codes, "."+r.Records[i].Code.LastNode())
		}
	}
	if !slices.Contains(codes, ".01") || !slices.Contains(codes, ".02") {
		return "", fmt.Errorf("the list below %s has %s and not both departments", demoCity, strings.Join(codes, " "))
	}
	return fmt.Sprintf("%s: %s and no other, beside %s; %s octets\nthe %s objects below were not opened for it",
		r.Verdict, strings.Join(codes, " and "), count(len(r.Records)-len(codes), "other code"), grouped(len(b)), grouped(v.objects)), nil
}

// crosswalk finds a code by the number it has in GB/T 2260, and an object by
// the one its department gave it before.
func (v *visitor) crosswalk(ctx context.Context) (string, error) {
	var out []string
	for _, x := range []struct {
		scheme, value string
		want          cityid.Code
	}{
		{"gb2260", "130100", demoCity},
		{"asset", demoLamps.asset + "70000", demoLamps.item(1)},
	} {
		a, err := v.local.Lookup(ctx, x.scheme, x.value)
		if err != nil {
			return "", err
		}
		if len(a.Entries) != 1 || a.Entries[0].Code != x.want {
			return "", fmt.Errorf("%s %s leads to %v, not to %s", x.scheme, x.value, a.Entries, x.want)
		}
		out = append(out, fmt.Sprintf("%s %s is %s", x.scheme, x.value, x.want))
	}
	return strings.Join(out, "\n"), nil
}

// fieldLabel draws the label of a lamp post and reads it back from the image.
func (v *visitor) fieldLabel(ctx context.Context) (string, error) {
	code := demoLamps.item(1)
	s, err := label.FieldSymbol(v.public, code)
	if err != nil {
		return "", err
	}
	holder, err := holderName(ctx, v.local, code)
	if err != nil {
		return "", err
	}
	a, err := v.local.Record(ctx, code)
	if err != nil {
		return "", err
	}
	svg, err := s.SVG(label.SVGOptions{SideMM: 30, Caption: &label.Caption{Holder: holder, Name: a.Record.Content.Names.Get("zh")}})
	if err != nil {
		return "", err
	}
	png, err := s.PNG(8)
	if err != nil {
		return "", err
	}
	if err := errors.Join(v.keep(demoLampSVG, svg), v.keep(demoLampPNG, png)); err != nil {
		return "", err
	}
	p, err := v.scan(ctx, demoLampPNG)
	if err != nil {
		return "", err
	}
	if p.Kind != label.KindField || p.Code != code {
		return "", fmt.Errorf("the label of %s reads %s", code, p)
	}
	return fmt.Sprintf("%s/%s, read back as\n%s", demoLabels, demoLampSVG, p), nil
}

// certificate signs a certificate with the department's assert key, prints it,
// reads it back, and checks it against the key in the proven record.
func (v *visitor) certificate(ctx context.Context) (string, error) {
	now := time.Now()
	if p, err := v.scan(ctx, demoCertificatePNG); err != nil || v.check(p, now).Verdict != label.Valid {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := v.certify(now); err != nil {
			return "", err
		}
	}
	p, err := v.scan(ctx, demoCertificatePNG)
	if err != nil {
		return "", err
	}
	found := v.check(p, now)
	if p.Kind != label.KindCertificate || p.Code != demoUrban || found.Verdict != label.Valid {
		return "", exitError{exitInvalid, fmt.Errorf("the certificate of %s is %s", p.Code, found.Verdict)}
	}
	return fmt.Sprintf("%s/%s: %s until %s,\nsigned by a key that the proven record of %s names", demoLabels, demoCertificatePNG,
		found.Verdict, p.Certificate.Expires, found.Holder), nil
}

// certify writes the department's certificate, good for a year.
func (v *visitor) certify(now time.Time) error {
	key, err := v.folder.signer("urban-assert")
	if err != nil {
		return err
	}
	first, err := label.DayOf(cityid.TimeOf(now))
	if err != nil {
		return err
	}
	last, err := label.DayOf(cityid.TimeOf(now.AddDate(1, 0, 0)))
	if err != nil {
		return err
	}
	c, err := label.Sign(demoUrban, first, last, key.Key, key.Sign)
	if err != nil {
		return err
	}
	s, err := label.CertificateSymbol(v.public, c)
	if err != nil {
		return err
	}
	png, err := s.PNG(8)
	if err != nil {
		return err
	}
	return v.keep(demoCertificatePNG, png)
}

// check judges a certificate by the assert keys of the proven record.
func (v *visitor) check(p label.Payload, now time.Time) label.Finding {
	var candidates []label.Candidate
	for _, m := range v.department.Policy.Members {
		for _, k := range m.Keys {
			if k.Roles&cityid.RoleAssert != 0 {
				candidates = append(candidates, label.Candidate{Holder: v.department.Code, Key: k.Public, NotBefore: k.From, NotAfter: k.Until, CompromisedSince: k.Compromised})
			}
		}
	}
	return label.Check(p.Certificate, candidates, cityid.TimeOf(now))
}

// keep writes a file among the labels, unless it is there just so.
func (v *visitor) keep(name string, b []byte) error {
	path := v.folder.file(demoLabels, name)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, b) {
		return nil
	}
	return writeFile(path, b, 0o644)
}

// scan reads a label from its image.
func (v *visitor) scan(ctx context.Context, name string) (label.Payload, error) {
	f, err := os.Open(v.folder.file(demoLabels, name))
	if err != nil {
		return label.Payload{}, err
	}
	defer f.Close()
	text, err := label.Decode(ctx, f, label.Limits{})
	if err != nil {
		return label.Payload{}, fmt.Errorf("read the label %s: %w", name, err)
	}
	return label.ParsePayload(text)
}

// oldTrust shows that whoever pinned version 1 of the trust root follows to the
// latest by what a bundle carries.
func (v *visitor) oldTrust(ctx context.Context) (string, error) {
	_, r, err := v.ask(ctx, demoApex, cityid.AnswerRecord)
	if err != nil {
		return "", err
	}
	now := r.Trust.Statement.Version
	if len(r.Learned) == 0 || now < 2 {
		return "", fmt.Errorf("the bundle carries no newer version of the trust root than %d", now)
	}
	return fmt.Sprintf("%s pins version 1; the bundle carries version %d, signed by\ntwo institutes of version %d: %s", demoTrustFile, now, now-1, r.Verdict), nil
}

// demoTrustAge is how old the latest version of the trust root may grow before
// the institutes sign another: half of what verifiers allow.
const demoTrustAge = verify.DefaultTrustingPeriod / 2

// renewTrust has two institutes sign the next version of the trust root, if
// there is none after the first or the latest is getting old.
func (d *demo) renewTrust(ctx context.Context, _ *stepTalk) (string, error) {
	versions, err := d.local.Trust(ctx)
	if err != nil {
		return "", err
	}
	if s := &versions[len(versions)-1].Statement; s.Version > 1 && time.Since(s.Time.Std()) < demoTrustAge {
		return fmt.Sprintf("version %d, as of height %s, there already", s.Version, grouped(int(s.Height))), nil
	}
	// Each institute takes the statement from its own node.
	s, err := d.network.nodes[0].NextTrust(ctx)
	if err != nil {
		return "", err
	}
	next := cityid.Trust{Statement: *s}
	digest := s.SigningDigest()
	var bringer cityid.Signer
	for i := range 2 {
		if bringer, err = d.folder.signer(institute(i, "1")); err != nil {
			return "", err
		}
		sig, err := bringer.Sign(digest[:])
		if err != nil {
			return "", err
		}
		next.Signatures = append(next.Signatures, cityid.KeySignature{Key: bringer.Key, Signature: sig})
	}
	slices.SortFunc(next.Signatures, func(a, b cityid.KeySignature) int { return strings.Compare(string(a.Key), string(b.Key)) })
	// Anybody may bring it: it proves itself.
	if _, err := d.submit(ctx, []cityid.Operation{{SetTrust: &cityid.SetTrust{Trust: next}}}, bringer); err != nil {
		return "", err
	}
	return fmt.Sprintf("version %d: height %s, header %s…", s.Version, grouped(int(s.Height)), s.Header.String()[:16]), nil
}
