// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cityid"
	"cityid/internal/office"
)

// An application that was handed in waits in the office until an intake key
// brings it onto the chain: the institution's own (Config.Intake), or one that a
// clerk signs with. The transaction is kept before it is submitted, so that a
// crash between the two never makes two proposals of one application.

// bringIn brings a waiting application onto the chain with an intake key and
// returns the number of the proposal it became. A refusal that is not of the
// moment leaves it waiting, to be declined or brought again. Calling it again is
// safe at any time.
func (p *portal) bringIn(ctx context.Context, a office.Application, signer cityid.Signer) (uint64, error) {
	if a.State == office.ApplicationBrought {
		return a.Proposal, nil
	}
	node, err := p.Source.Status(ctx)
	if err != nil {
		return 0, err
	}
	raw := []byte(a.Prepared)
	if len(raw) > 0 {
		receipt, lapsed, err := p.preparedReceipt(ctx, raw, node)
		if err != nil {
			return 0, err
		}
		if receipt != nil {
			return p.brought(ctx, a.Reference, receipt, nil)
		}
		if lapsed {
			raw = nil
		}
	}
	if len(raw) == 0 {
		tx, err := cityid.SignTx(cityid.Body{
			Chain: node.Chain, Expires: expiry(node), Operations: []cityid.Operation{{Apply: &a.Apply}},
		}, signer)
		if err != nil {
			return 0, err
		}
		raw = cityid.MustMarshal(tx)
		if err := p.Office.Prepare(ctx, a.Reference, raw); err != nil {
			return 0, officeError(err)
		}
	}
	receipt, err := p.Source.Submit(ctx, raw, true)
	return p.brought(ctx, a.Reference, receipt, err)
}

// bringPause is how long the portal waits before it tries by itself to bring an
// application again that was refused or could not be brought.
const bringPause = 5 * time.Minute

// attempts remembers for a while how bringing applications went.
type attempts struct {
	mu   sync.Mutex
	last map[string]attempt // by reference
}

type attempt struct {
	at  time.Time
	err error
}

// maxAttempts bounds what is remembered.
const maxAttempts = 10_000

// recent returns how the last attempt went, if it was within the pause.
func (x *attempts) recent(reference string) (error, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a, ok := x.last[reference]
	return a.err, ok && time.Since(a.at) < bringPause
}

func (x *attempts) note(reference string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last == nil || len(x.last) >= maxAttempts {
		x.last = map[string]attempt{}
	}
	x.last[reference] = attempt{time.Now(), err}
}

// bringNow brings an application onto the chain if this institution has an
// intake key for that, and returns why it could not. What is prepared already is
// looked after every time; what was refused is left alone for a while, or to a
// clerk.
func (p *portal) bringNow(ctx context.Context, a *office.Application) error {
	if p.Intake == nil || a.State != office.ApplicationWaiting {
		return nil
	}
	if err, tried := p.attempts.recent(a.Reference); tried && len(a.Prepared) == 0 {
		return err
	}
	_, err := p.bringIn(ctx, *a, *p.Intake)
	p.attempts.note(a.Reference, err)
	if err != nil {
		p.Log.Warn("an application was not brought onto the chain", "reference", a.Reference, "error", err)
	}
	return err
}

// preparedReceipt looks what became of a transaction that was prepared: its
// receipt if a block has it, and whether none can have it any more.
func (p *portal) preparedReceipt(ctx context.Context, raw []byte, node *cityid.NodeStatus) (receipt *cityid.Receipt, lapsed bool, err error) {
	tx, body, err := cityid.DecodeTx(raw)
	if err != nil {
		return nil, false, err
	}
	receipt, err = p.Source.Transaction(ctx, tx.ID())
	switch {
	case errors.Is(err, cityid.ErrNotFound):
		return nil, body.Expires <= cityid.TimeOf(node.Time), nil
	case err != nil:
		return nil, false, err
	case receipt.Height == 0:
		return nil, false, nil
	}
	return receipt, false, nil
}

// brought notes what became of the transaction that brings an application: the
// proposal it made, or that it was refused.
func (p *portal) brought(ctx context.Context, reference string, receipt *cityid.Receipt, err error) (uint64, error) {
	if err == nil && receipt.Height == 0 {
		return 0, cityid.Errorf(cityid.ErrUnavailable, "the application is on its way into a block: look again in a moment")
	}
	if err == nil {
		err = receipt.Err()
	}
	if err != nil {
		var refusal *cityid.Error
		if errors.As(err, &refusal) && !transient(refusal.Code) {
			if uerr := p.Office.Unprepare(ctx, reference); uerr != nil {
				return 0, errors.Join(err, officeError(uerr))
			}
		}
		return 0, err
	}
	if len(receipt.Proposals) == 0 {
		return 0, fmt.Errorf("transaction %s brings application %s and made no proposal", receipt.ID, reference)
	}
	if err := p.Office.Bring(ctx, reference, receipt.Proposals[0]); err != nil {
		return 0, officeError(err)
	}
	return receipt.Proposals[0], nil
}

// officeError says an office's refusal as the pages do.
func officeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, office.ErrNotFound), errors.Is(err, office.ErrExpired):
		return cityid.Errorf(cityid.ErrNotFound, "%v", err)
	case errors.Is(err, office.ErrConflict):
		return cityid.Errorf(cityid.ErrConflict, "%v", err)
	case errors.Is(err, office.ErrTooLarge):
		return cityid.Errorf(cityid.ErrTooLarge, "%v", err)
	case errors.Is(err, office.ErrFull):
		return cityid.Errorf(cityid.ErrFull, "this portal keeps as many unfinished applications as it may: try again later, apply at another institution's portal, or with cityid application")
	case errors.Is(err, office.ErrInvalid):
		return cityid.Errorf(cityid.ErrInvalid, "%v", err)
	}
	return err
}

// applicantContact is what an institution keeps off the chain of who applied. It
// is the Contact of an office's application, in JSON.
type applicantContact struct {
	Name      string         `json:"name"`
	Phone     string         `json:"phone,omitempty"`
	Email     string         `json:"email,omitempty"`
	Officers  []officerName  `json:"officers,omitempty"`  // in the order of the policy's members
	Documents []documentName `json:"documents,omitempty"` // in the order of the application's evidence, as far as known
}

// officerName is who stands behind a member of the policy applied for.
type officerName struct {
	Name  string `json:"name"`
	Staff string `json:"staff,omitempty"`
}

// documentName is what a document is called, which the chain does not say.
type documentName struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

// contactOf reads the contact of an application. One from elsewhere may have
// none.
func contactOf(a *office.Application) applicantContact {
	var c applicantContact
	if len(a.Contact) > 0 && json.Unmarshal(a.Contact, &c) != nil {
		return applicantContact{}
	}
	return c
}

// seat is a voice in the decision over an application, with the keys that
// documents are encrypted to.
type seat struct {
	Code cityid.Code
	Keys []cityid.PublicKey // x25519; none: this seat can not be given documents
}

// reviewing says who decides an application.
type reviewing struct {
	Decider cityid.Code // whose policy
	Seats   []seat      // its members, and who must approve before
	Intake  bool        // somebody can bring an application onto the chain
}

// keys returns the keys of all seats, each once.
func (v *reviewing) keys() []cityid.PublicKey {
	var out []cityid.PublicKey
	for _, s := range v.Seats {
		out = append(out, s.Keys...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reviewing finds out who decides an application for a code below parent.
func (p *portal) reviewing(ctx context.Context, rule *cityid.KindRule, code, parent cityid.Code) (*reviewing, error) {
	node, err := p.Source.Status(ctx)
	if err != nil {
		return nil, err
	}
	v := &reviewing{Decider: parent}
	if rule != nil && rule.Apex {
		v.Decider = node.Zone
	}
	now := cityid.TimeOf(node.Time)
	if err := p.addSeats(ctx, v, v.Decider, now, true, 0); err != nil {
		return nil, err
	}
	if rule != nil && rule.PreApprover > 0 && int(rule.PreApprover) < len(code.Place()) {
		c, err := cityid.ParseCanonical(code.IAC() + "." + code.Country() + "." + code.Place()[:rule.PreApprover])
		if err == nil {
			if err := p.addSeats(ctx, v, c, now, false, 0); err != nil && !errors.Is(err, cityid.ErrNotFound) {
				return nil, err
			}
		}
	}
	return v, nil
}

// addSeats adds the members of the policy that governs a code.
func (p *portal) addSeats(ctx context.Context, v *reviewing, code cityid.Code, now cityid.Time, intake bool, depth int) error {
	policy, holder, err := p.governing(ctx, code)
	if err != nil || policy == nil || depth > cityid.MaxPolicyDepth {
		return err
	}
	for i := range policy.Members {
		m := &policy.Members[i]
		if !m.Code.IsZero() {
			if err := p.addSeats(ctx, v, m.Code, now, intake, depth+1); err != nil {
				return err
			}
			continue
		}
		at := slices.IndexFunc(v.Seats, func(s seat) bool { return s.Code == holder })
		if at < 0 {
			at = len(v.Seats)
			v.Seats = append(v.Seats, seat{Code: holder})
		}
		for j := range m.Keys {
			k := &m.Keys[j]
			if k.Holds(cityid.RoleEncrypt, now) && !slices.Contains(v.Seats[at].Keys, k.Public) {
				v.Seats[at].Keys = append(v.Seats[at].Keys, k.Public)
			}
			v.Intake = v.Intake || intake && k.Holds(cityid.RoleIntake, now)
		}
	}
	return nil
}

// governing returns the policy that governs a code, and whose it is.
func (p *portal) governing(ctx context.Context, code cityid.Code) (*cityid.Policy, cityid.Code, error) {
	a, err := p.Source.Record(ctx, code)
	if err != nil {
		return nil, code, err
	}
	if a.Holder != code {
		if a, err = p.Source.Record(ctx, a.Holder); err != nil {
			return nil, code, err
		}
	}
	return a.Record.Policy, a.Record.Code, nil
}
