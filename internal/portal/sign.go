// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
	"cityid/keys"
)

// Whatever changes the registry goes over one page, which shows in words what
// will be signed, with its digest, and offers the ways to sign: with the key the
// visitor has signed in with, or elsewhere, by a file for "cityid tx sign". The
// words come from package describe, and the digest from the transaction itself,
// so every portal and the command show the same.

// txTime is how long a transaction made here may wait for its block.
const txTime = 10 * time.Minute

// sign sends the visitor on to sign operations, and afterwards to next, a path
// on this host.
func (pg *page) sign(w http.ResponseWriter, r *http.Request, title, next string, ops ...cityid.Operation) error {
	var signers []cityid.PublicKey
	if pg.Key() != "" {
		signers = append(signers, pg.Key())
	}
	return pg.signBy(w, r, title, next, signers, ops...)
}

// signBy is sign for several keys, which all have to sign; none leaves it to the
// visitor to say whose.
func (pg *page) signBy(w http.ResponseWriter, r *http.Request, title, next string, signers []cityid.PublicKey, ops ...cityid.Operation) error {
	if pg.Office == nil {
		return errNoOffice
	}
	if err := pg.Limits.Visit(r); err != nil { // each is kept for days
		return err
	}
	node, err := pg.Source.Status(r.Context())
	if err != nil {
		return err
	}
	if len(title) > 180 {
		title = strings.ToValidUTF8(title[:180], "") + "…"
	}
	id, err := pg.Office.NewSigning(r.Context(), office.SigningRequest{
		Chain: node.Chain, Operations: ops, Title: title, Next: next, Creator: pg.Key(),
	})
	if errors.Is(err, office.ErrInvalid) || errors.Is(err, office.ErrTooLarge) {
		return cityid.Errorf(cityid.ErrInvalid, "%v", err)
	}
	if err != nil {
		return err
	}
	if len(signers) > 0 {
		if err := pg.fixBody(id, node, ops, signers...); err != nil {
			return err
		}
	}
	http.Redirect(w, r, pg.URL("/sign/", id), http.StatusSeeOther)
	return nil
}

// fixBody makes the body of a signing request for the keys that will sign it.
func (pg *page) fixBody(id string, node *cityid.NodeStatus, ops []cityid.Operation, signers ...cityid.PublicKey) error {
	slices.Sort(signers)
	body := cityid.Body{Chain: node.Chain, Signers: slices.Compact(signers), Operations: ops, Expires: expiry(node)}
	if err := body.Check(); err != nil {
		return err
	}
	return pg.Office.SetBody(pg.ctx, id, cityid.MustMarshal(&body))
}

// expiry returns when a transaction made now lapses. A block's time may run
// ahead of the last one by the heartbeat.
func expiry(node *cityid.NodeStatus) cityid.Time {
	now := time.Now()
	if node.Time.After(now) {
		now = node.Time
	}
	return cityid.TimeOf(now.Add(txTime))
}

// direct reports whether the visitor's key alone meets the policy that governs
// a code now.
func (pg *page) direct(code cityid.Code) (bool, error) {
	a, err := pg.Source.Record(pg.ctx, code)
	if err != nil {
		return false, err
	}
	holder, err := pg.Source.Record(pg.ctx, a.Holder)
	if err != nil {
		return false, err
	}
	policy, now := holder.Record.Policy, cityid.TimeOf(a.AsOf.Time)
	if policy == nil || policy.Threshold != 1 {
		return false, nil
	}
	return slices.ContainsFunc(policy.Members, func(m cityid.Member) bool {
		return slices.ContainsFunc(m.Keys, func(k cityid.Key) bool { return k.Public == pg.Key() && k.Holds(cityid.RoleControl, now) })
	}), nil
}

// decide returns the operations as the visitor should sign them: as they are if
// the visitor's key alone decides for the code, else as a proposal to those who
// decide together.
func (pg *page) decide(code cityid.Code, note string, ops ...cityid.Operation) ([]cityid.Operation, error) {
	alone, err := pg.direct(code)
	if err != nil || alone {
		return ops, err
	}
	return []cityid.Operation{{Propose: &cityid.Propose{Operations: ops, Note: note}}}, nil
}

// signData is what the page for signing shows.
type signData struct {
	*office.Signing
	Words    []describe.Line
	Summary  string
	Digest   string // what is signed; "" until the signers are known
	TxID     string
	Signers  []signerView
	Mine     bool // the visitor's key is among those that still have to sign
	Passkey  bool
	TestKey  string // name of the test key the visitor has signed in with
	RPID     string
	Lapsed   bool // the body's time is over: it has to be made again
	Expires  cityid.Time
	Refused  string
	Receipt  *cityid.Receipt
	TestKeys []TestKey
	Several  bool

	Agreements []agreementView // that the operations are about
}

type signerView struct {
	Key    cityid.PublicKey
	Text   string
	Signed bool
	You    bool
}

// signing loads the request that the address names.
func (pg *page) signing(r *http.Request) (*office.Signing, error) {
	if pg.Office == nil {
		return nil, errNoOffice
	}
	pg.Private = true
	s, err := pg.Office.Signing(r.Context(), r.PathValue("id"))
	if errors.Is(err, office.ErrNotFound) || errors.Is(err, office.ErrExpired) {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is nothing to sign under this address, or its time is over")
	}
	return &s, err
}

// signPage shows what is to be signed and what became of it.
func (p *portal) signPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.signing(r)
	if err != nil {
		return err
	}
	if err := pg.settle(s); err != nil {
		return err
	}
	return pg.showSigning(w, r, http.StatusOK, s, nil)
}

func (pg *page) showSigning(w http.ResponseWriter, r *http.Request, status int, s *office.Signing, refused error) error {
	data := &signData{
		Signing: s, Words: describe.Operations(pg.Lang, s.Operations), Summary: describe.Summary(pg.Lang, s.Operations),
		RPID: pg.rpID(), TestKeys: pg.testKeys(), Agreements: pg.agreementsIn(s.Operations),
	}
	if refused != nil {
		data.Refused = pg.refusal(refused)
	}
	if len(s.Receipt) > 0 {
		data.Receipt = new(cityid.Receipt)
		if err := json.Unmarshal(s.Receipt, data.Receipt); err != nil {
			return err
		}
		if err := data.Receipt.Err(); err != nil {
			data.Refused = pg.refusal(err)
		}
	}
	if len(s.Body) > 0 {
		body, err := cityid.DecodeBody(s.Body)
		if err != nil {
			return err
		}
		tx := cityid.Tx{Body: s.Body}
		data.Digest, data.TxID, data.Expires = cityid.SigningDigest(s.Body).String(), tx.ID().String(), body.Expires
		data.Lapsed = s.State == office.SigningOpen && body.Expires <= cityid.TimeOf(time.Now())
		data.Several = len(body.Signers) > 1
		for _, k := range body.Signers {
			signed := slices.ContainsFunc(s.Signatures, func(x cityid.KeySignature) bool { return x.Key == k })
			data.Signers = append(data.Signers, signerView{k, describe.Key(pg.Lang, k), signed, k == pg.Key()})
			if k == pg.Key() && !signed && s.State == office.SigningOpen {
				data.Mine, data.Passkey, data.TestKey = true, k.RPID() != "", pg.testKeyName(k)
			}
		}
	}
	pg.Title = pg.T("sign.title")
	return pg.render(w, r, status, "sign", data)
}

// signBody names the keys that will sign, or makes the body anew after its time
// was over.
func (p *portal) signBody(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.signing(r)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	var signers []cityid.PublicKey
	for line := range strings.FieldsSeq(r.PostForm.Get("signers")) {
		var k cityid.PublicKey
		err := k.UnmarshalText([]byte(line))
		if err == nil {
			_, err = keys.ParsePublic([]byte(k))
		}
		if err != nil || !k.Signs() {
			pg.refuseField("signers", pg.T("sign.elsewhere.bad", fmt.Sprintf("%.60s", line)))
			return pg.showSigning(w, r, http.StatusUnprocessableEntity, s, nil)
		}
		signers = append(signers, k)
	}
	if len(signers) == 0 && pg.Key() != "" {
		signers = append(signers, pg.Key())
	}
	if len(signers) == 0 || len(signers) > cityid.MaxSigners {
		pg.refuseField("signers", pg.T("sign.elsewhere.none"))
		return pg.showSigning(w, r, http.StatusUnprocessableEntity, s, nil)
	}
	node, err := p.Source.Status(r.Context())
	if err != nil {
		return err
	}
	if err := pg.fixBody(s.ID, node, s.Operations, signers...); err != nil {
		return signingError(err)
	}
	http.Redirect(w, r, pg.URL("/sign/", s.ID), http.StatusSeeOther)
	return nil
}

func signingError(err error) error {
	switch {
	case errors.Is(err, office.ErrConflict):
		return cityid.Errorf(cityid.ErrConflict, "this was signed or decided meanwhile: load the page again")
	case errors.Is(err, office.ErrInvalid):
		return cityid.Errorf(cityid.ErrSignature, "%v", err)
	}
	return err
}

// txFile is a transaction on its way round the signers, as "cityid tx" reads and
// writes it.
type txFile struct {
	Version    int                   `json:"version"` // 1
	Body       cityid.Bytes          `json:"body"`
	Signatures []cityid.KeySignature `json:"signatures"`
}

// signFile hands out the transaction as a file, to be signed elsewhere.
func (p *portal) signFile(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.signing(r)
	if err != nil {
		return err
	}
	if len(s.Body) == 0 {
		return cityid.Errorf(cityid.ErrConflict, "say first whose keys will sign")
	}
	f := txFile{Version: 1, Body: s.Body, Signatures: append([]cityid.KeySignature{}, s.Signatures...)}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	tx := cityid.Tx{Body: s.Body}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "cityid-"+tx.ID().String()[:12]+".tx"))
	h.Set("Cache-Control", "no-store")
	_, err = w.Write(append(b, '\n'))
	return ignoreWrite(err)
}

// signUpload takes a transaction file back with the signatures it has.
func (p *portal) signUpload(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.signing(r)
	if err != nil {
		return err
	}
	file, _, err := spooledFile(r, "file")
	if err != nil {
		pg.refuseField("file", pg.T("sign.elsewhere.nofile"))
		return pg.showSigning(w, r, http.StatusUnprocessableEntity, s, nil)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, 2*cityid.MaxTx))
	if err != nil {
		return err
	}
	var f txFile
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || f.Version != 1 {
		pg.refuseField("file", pg.T("sign.elsewhere.notfile"))
		return pg.showSigning(w, r, http.StatusUnprocessableEntity, s, nil)
	}
	if string(f.Body) != string(s.Body) {
		pg.refuseField("file", pg.T("sign.elsewhere.other"))
		return pg.showSigning(w, r, http.StatusUnprocessableEntity, s, nil)
	}
	complete := false
	for _, sig := range f.Signatures {
		if complete, err = p.Office.AddSignature(r.Context(), s.ID, sig); err != nil && !errors.Is(err, office.ErrConflict) {
			return signingError(err)
		}
	}
	if complete {
		return pg.finish(w, r, s.ID, false)
	}
	http.Redirect(w, r, pg.URL("/sign/", s.ID), http.StatusSeeOther)
	return nil
}

// signReply takes a signature made in the browser.
func (p *portal) signReply(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.signing(r)
	if err != nil {
		return err
	}
	if len(s.Body) == 0 {
		return cityid.Errorf(cityid.ErrConflict, "say first whose keys will sign")
	}
	var x reply
	if err := readJSON(w, r, maxReply, &x); err != nil {
		return err
	}
	sig, err := pg.signature(&x, cityid.SigningDigest(s.Body))
	if err != nil {
		return err
	}
	complete, err := p.Office.AddSignature(r.Context(), s.ID, sig)
	if err != nil {
		return signingError(err)
	}
	if complete {
		return pg.finish(w, r, s.ID, true)
	}
	return pg.json(w, r, map[string]string{"next": pg.URL("/sign/", s.ID)})
}

// finish submits a transaction that everybody has signed, and sends the visitor
// on, or back to the page with the refusal.
func (pg *page) finish(w http.ResponseWriter, r *http.Request, id string, script bool) error {
	tx, err := pg.Office.Submit(r.Context(), id)
	if err != nil {
		return signingError(err)
	}
	receipt, err := pg.Source.Submit(r.Context(), cityid.MustMarshal(tx), true)
	s, lerr := pg.Office.Signing(r.Context(), id)
	if lerr != nil {
		return lerr
	}
	if err := pg.conclude(&s, receipt, err); err != nil {
		return err
	}
	next := pg.URL("/sign/", id)
	if s.State == office.SigningDone && s.Next != "" {
		next = s.Next
		sep := "?"
		if strings.Contains(next, "?") {
			sep = "&"
		}
		path, fragment, _ := strings.Cut(next, "#")
		next = path + sep + "done=" + id
		if fragment != "" {
			next += "#" + fragment
		}
	}
	if script {
		return pg.json(w, r, map[string]string{"next": next})
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// conclude notes what became of a submitted transaction. An error that says
// nothing about the transaction itself leaves it submitted: the next look at the
// page asks again.
func (pg *page) conclude(s *office.Signing, receipt *cityid.Receipt, err error) error {
	state := office.SigningDone
	switch {
	case err != nil:
		var refusal *cityid.Error
		if !errors.As(err, &refusal) || transient(refusal.Code) {
			return nil
		}
		state = office.SigningRefused
		receipt = &cityid.Receipt{Code: refusal.Code, Operation: refusal.Operation, Message: refusal.Message}
	case receipt.Height == 0:
		return nil
	case receipt.Code != cityid.OK:
		state = office.SigningRefused
	}
	b, err := json.Marshal(receipt)
	if err != nil {
		return err
	}
	if err := pg.Office.Finish(pg.ctx, s.ID, state, b); err != nil && !errors.Is(err, office.ErrConflict) {
		return err
	}
	s.State, s.Receipt = state, b
	return nil
}

// transient reports whether a refusal is of the moment.
func transient(c cityid.ErrorCode) bool {
	switch c {
	case cityid.ErrFull, cityid.ErrRetry, cityid.ErrUnavailable, cityid.ErrReplayed, cityid.ErrInternal:
		return true
	}
	return false
}

// settle asks what became of a transaction that was submitted, here or with the
// command, since the page was last looked at.
func (pg *page) settle(s *office.Signing) error {
	if len(s.Body) == 0 || s.State != office.SigningOpen && s.State != office.SigningSubmitted {
		return nil
	}
	tx := cityid.Tx{Body: s.Body}
	receipt, err := pg.Source.Transaction(pg.ctx, tx.ID())
	if err == nil {
		return pg.conclude(s, receipt, nil)
	}
	if !errors.Is(err, cityid.ErrNotFound) {
		return err
	}
	body, err := cityid.DecodeBody(s.Body)
	if err != nil {
		return err
	}
	if s.State == office.SigningSubmitted && body.Expires < cityid.TimeOf(time.Now()) {
		if err := pg.Office.Reopen(pg.ctx, s.ID); err != nil && !errors.Is(err, office.ErrConflict) {
			return err
		}
		s.State = office.SigningOpen
	}
	return nil
}

// Done returns the receipt of what the visitor has just had recorded, if the
// address says so.
func (pg *page) Done() *cityid.Receipt {
	if pg.done == "" || pg.Office == nil {
		return nil
	}
	s, err := pg.Office.Signing(pg.ctx, pg.done)
	if err != nil || s.State != office.SigningDone || !pg.leadsHere(s.Next) {
		return nil
	}
	receipt := new(cityid.Receipt)
	if json.Unmarshal(s.Receipt, receipt) != nil {
		return nil
	}
	return receipt
}

// leadsHere reports whether an address is this page's, in either language and
// whatever its query says: nobody can make a link to another page that says
// something was done there.
func (pg *page) leadsHere(next string) bool {
	where := func(s string) string {
		s, _, _ = strings.Cut(s, "#")
		s, _, _ = strings.Cut(s, "?")
		return strings.TrimSuffix(s, "/")
	}
	for _, lang := range languages {
		if rest, ok := strings.CutPrefix(next, "/"+lang+"/"); ok {
			return where("/"+rest) == where(pg.Path)
		}
	}
	return false
}
