// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/keys"
	"cityid/verify"
)

// EvidenceType is the media type of encoded evidence.
const EvidenceType = "application/vnd.cityid.evidence+cbor"

// Bounds of evidence.
const (
	MaxEvidence     = 8 << 20 // octets of the encoding
	evidenceVersion = 1
)

// AnchorDeadline is by when both sides have anchored a receipt, counted from its
// time: that one is missing means nothing before.
const AnchorDeadline = 24 * time.Hour

// Evidence is what shows of one fetch who got what under which agreement, no
// later than when. It needs nothing but a trust root to be checked, not even the
// data. docs/formats.md has its encoding.
type Evidence struct {
	Version         uint32                 `cbor:"1,keyasint"` // 1
	Agreement       cityid.Digest          `cbor:"2,keyasint"`
	Request         ledger.Message         `cbor:"3,keyasint"`           // of the consumer
	Response        ledger.Message         `cbor:"4,keyasint"`           // of the provider
	Entry           cityid.Bytes           `cbor:"5,keyasint"`           // an encoded ledger.Entry, with the receipt
	Standing        cityid.Bytes           `cbor:"6,keyasint"`           // bundle of entries: the agreement, and the parties' records at the receipt's time
	Sides           []Side                 `cbor:"7,keyasint,omitempty"` // the provider's, then the consumer's
	Acknowledgement *SignedAcknowledgement `cbor:"8,keyasint,omitempty"`
}

// Side is how one party anchored the receipt.
type Side struct {
	Proof  cityid.Bytes `cbor:"1,keyasint"` // an encoded ledger.LeafProof
	Anchor cityid.Bytes `cbor:"2,keyasint"` // bundle of entries: the anchor
}

// SignedAcknowledgement is the consumer's message that it has the answer.
type SignedAcknowledgement struct {
	Body    cityid.Bytes   `cbor:"1,keyasint"` // an encoded ledger.Acknowledgement
	Message ledger.Message `cbor:"2,keyasint"`
}

// Encode returns the encoding of e.
func (e *Evidence) Encode() ([]byte, error) {
	b, err := cityid.Marshal(e)
	if err == nil && len(b) > MaxEvidence {
		err = fmt.Errorf("evidence of %d octets: at most %d", len(b), MaxEvidence)
	}
	return b, err
}

// DecodeEvidence reads the one encoding of evidence.
func DecodeEvidence(b []byte) (*Evidence, error) {
	if len(b) > MaxEvidence {
		return nil, fmt.Errorf("evidence of %d octets: at most %d", len(b), MaxEvidence)
	}
	e := new(Evidence)
	if err := cityid.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	switch {
	case e.Version != evidenceVersion:
		return nil, fmt.Errorf("evidence of version %d: this program knows version %d", e.Version, evidenceVersion)
	case e.Agreement.IsZero() || len(e.Sides) > 2:
		return nil, fmt.Errorf("evidence: want an agreement, and at most two sides")
	}
	return e, nil
}

// Outcome is what evidence shows beyond the answer itself.
type Outcome string

// The outcomes.
const (
	Acknowledged   Outcome = "acknowledged"   // the consumer signed that it has the answer
	Unacknowledged Outcome = "unacknowledged" // it did not, or the file does not show it
	Disputed       Outcome = "disputed"       // the two sides anchored different entries for one request
	Repeated       Outcome = "repeated"       // the provider gave one number of its log to two answers
)

// Facts is what evidence says. Nothing supports it unless the verdict is valid.
type Facts struct {
	Agreement cityid.Digest `json:"agreement"`
	Dataset   cityid.Code   `json:"dataset"`
	Provider  cityid.Code   `json:"provider"`
	Consumer  cityid.Code   `json:"consumer"`
	Method    string        `json:"method"`
	Target    string        `json:"target"` // path and query that were asked for
	Authority string        `json:"authority"`
	Status    uint32        `json:"status"`
	Size      uint64        `json:"size"`
	Content   cityid.Digest `json:"content"` // SHA-256 of the body
	Time      cityid.Time   `json:"time"`    // that the provider claims
	Log       string        `json:"log"`
	Number    uint64        `json:"number"`

	Outcome   Outcome       `json:"outcome"`
	NotLater  time.Time     `json:"not_later,omitzero"` // the header by which the first side's anchor is proven; zero: none is
	Late      bool          `json:"late,omitzero"`      // no side anchored it in time: nothing but NotLater shows when it was made
	Provided  time.Time     `json:"provider_anchored,omitzero"`
	Consumed  time.Time     `json:"consumer_anchored,omitzero"`
	Remark    string        `json:"remark,omitempty"` // what is missing, and whether it could be there yet
	RequestID cityid.Digest `json:"request"`          // hash of the signed request
}

// EvidenceResult is the judgement of evidence.
type EvidenceResult struct {
	Verdict verify.Verdict   `json:"verdict"`
	Message string           `json:"message"`
	Facts   Facts            `json:"facts"`
	Checks  []verify.Finding `json:"checks"`
}

// evidenceCheck is one judgement in progress.
type evidenceCheck struct {
	e     *Evidence
	trust *verify.TrustFile
	now   time.Time
	res   EvidenceResult

	request, response *httpsig.Signed
	receipt           ledger.Receipt
	states            *verify.Result  // what the chain says about the agreement and the parties, and said
	revisions         []cityid.Record // of the records among them
	standing          *Standing       // by which the provider may have judged
	anchors           []anchored
}

// CheckEvidence judges evidence by a pinned trust root at the time now. It uses
// no network, disk or clock. As with bundles, a contradiction is invalid; what is
// consistent but not connected to the trust root is undecided; invalid wins.
func CheckEvidence(e *Evidence, trust *verify.TrustFile, now time.Time) EvidenceResult {
	c := &evidenceCheck{e: e, trust: trust, now: now}
	c.res.Verdict = verify.Valid
	for _, step := range []struct {
		name string
		do   func() (string, error)
	}{
		{"request", c.checkRequest}, {"answer", c.checkResponse}, {"receipt", c.checkEntry}, {"agreement", c.checkStanding},
		{"anchors", c.checkSides}, {"time", c.checkTime}, {"acknowledgement", c.checkAcknowledgement},
	} {
		detail, err := step.do()
		f := verify.Finding{Name: step.name, Verdict: verify.Valid, Detail: detail}
		if err != nil {
			f.Verdict, f.Detail = verify.Invalid, err.Error()
			if u, ok := err.(notShown); ok {
				f.Verdict, f.Detail = verify.Undecided, u.Error()
			}
		}
		c.res.Checks = append(c.res.Checks, f)
		if f.Verdict == verify.Invalid || f.Verdict == verify.Undecided && c.res.Verdict == verify.Valid {
			c.res.Verdict, c.res.Message = f.Verdict, f.Name+": "+f.Detail
		}
		if f.Verdict == verify.Invalid {
			break
		}
	}
	if c.res.Verdict == verify.Valid {
		c.res.Message = c.says()
	}
	if c.res.Verdict == verify.Invalid {
		c.res.Facts = Facts{}
	}
	return c.res
}

// notShown is why something is consistent but not shown to hold.
type notShown string

func (n notShown) Error() string { return string(n) }

// anyKey returns the ed25519 key that an id names, whoever holds it.
func anyKey(keyID string) (httpsig.Key, error) {
	k, err := keys.ParsePublicText(keyID)
	if err != nil {
		return nil, err
	}
	if k.Algorithm() != keys.Ed25519 {
		return nil, fmt.Errorf("gateways sign with ed25519 keys alone")
	}
	return k, nil
}

func (c *evidenceCheck) checkRequest() (string, error) {
	m := c.e.Request
	s, err := fetchProfile.VerifyBase(string(m.Base), m.Signature, anyKey)
	if err != nil {
		return "", err
	}
	if s.Value("data-agreement") != formatAgreement(c.e.Agreement) {
		return "", fmt.Errorf("the request is for another agreement")
	}
	c.request = s
	f := &c.res.Facts
	f.Agreement, f.Method, f.Authority, f.RequestID = c.e.Agreement, s.Value("@method"), s.Value("@authority"), m.Hash()
	f.Target = s.Value("@path")
	if q := s.Value("@query"); q != "?" {
		f.Target += q
	}
	return fmt.Sprintf("%s %s at %s, signed %s", f.Method, f.Target, f.Authority, s.Created.UTC().Format(time.RFC3339)), nil
}

func (c *evidenceCheck) checkResponse() (string, error) {
	m := c.e.Response
	s, err := answerProfile.VerifyBase(string(m.Base), m.Signature, anyKey)
	if err != nil {
		return "", err
	}
	if err := s.Answers(c.request); err != nil {
		return "", err
	}
	c.response = s
	return "status " + s.Value("@status") + ", to this request and no other", nil
}

func (c *evidenceCheck) checkEntry() (string, error) {
	entry, receipt, err := ledger.DecodeEntry(c.e.Entry)
	if err != nil {
		return "", err
	}
	covered, encoded, err := receiptOf(c.response)
	if err != nil {
		return "", err
	}
	switch {
	case entry.Response != c.e.Response.Hash():
		return "", fmt.Errorf("the entry is for another answer")
	case !bytes.Equal(entry.Receipt, encoded) || *covered != receipt:
		return "", fmt.Errorf("the entry has another receipt than the answer")
	case receipt.Request != c.e.Request.Hash():
		return "", fmt.Errorf("the receipt is for another request")
	case receipt.Agreement != c.e.Agreement:
		return "", fmt.Errorf("the receipt is for another agreement")
	case strconv.FormatUint(uint64(receipt.Status), 10) != c.response.Value("@status") || receipt.Content != c.response.Digest:
		return "", fmt.Errorf("the receipt names another status or content than the answer")
	}
	c.receipt = receipt
	f := &c.res.Facts
	f.Dataset, f.Provider, f.Status, f.Size, f.Content, f.Time = receipt.Dataset, receipt.Provider, receipt.Status, receipt.Size, receipt.Content, receipt.Time
	f.Log, f.Number = receipt.Log, receipt.Number
	return fmt.Sprintf("number %d of log %s of %s: %d octets with digest %s", receipt.Number, receipt.Log, receipt.Provider, receipt.Size, receipt.Content), nil
}

// bundle judges one of the bundles as of the time of its header.
func (c *evidenceCheck) bundle(data []byte) (*verify.Result, error) {
	b, err := verify.Decode(data)
	if err != nil {
		return nil, err
	}
	at, err := verify.AnsweredAt(data)
	if err != nil {
		return nil, err
	}
	r := verify.Check(c.trust.For(b), b, verify.Options{Now: c.now, At: at, Kind: cityid.AnswerEntries})
	switch r.Verdict {
	case verify.Invalid:
		return nil, fmt.Errorf("%s", r.Message)
	case verify.Undecided:
		return &r, notShown(r.Message)
	}
	return &r, nil
}

// checkStanding checks that the agreement was in force and the keys stood when
// the fetch took place.
func (c *evidenceCheck) checkStanding() (string, error) {
	r, undecided := c.bundle(c.e.Standing)
	if r == nil {
		return "", undecided
	}
	c.states, c.revisions = r, revisionsIn(r)
	at := c.receipt.Time
	s, err := c.judgedAt(at)
	if err != nil {
		return "", err
	}
	if who, since := c.compromised(at); since != 0 {
		return "", fmt.Errorf("the key that signed the %s is known to be compromised since %s", who, since)
	}
	// The service behind the provider may have taken its time for the answer.
	if d := at.Std().Sub(c.request.Created); d < -time.Minute-clockDifference || d > time.Minute+serveTime+clockDifference {
		return "", fmt.Errorf("request and receipt are further apart than clocks may differ and an answer may take")
	}
	c.standing = s
	t := &s.Agreement.Terms
	c.res.Facts.Consumer = t.Consumer
	return fmt.Sprintf("%s could fetch from %s, granted %s", t.Consumer, t.Dataset, s.Agreement.Decided.Time), undecided
}

// compromised returns which message's key is known to be compromised at a time, and
// since when; 0: neither is.
func (c *evidenceCheck) compromised(at cityid.Time) (who string, since cityid.Time) {
	for _, m := range []struct{ who, key string }{{"request", c.request.KeyID}, {"answer", c.response.KeyID}} {
		if t := compromised(c.revisions, m.key); t != 0 && t <= at {
			return m.who, t
		}
	}
	return "", 0
}

// compromised returns since when records know a key to be compromised; 0: they
// do not.
func compromised(records []cityid.Record, keyID string) (since cityid.Time) {
	for i := range records {
		if records[i].Policy == nil {
			continue
		}
		for _, m := range records[i].Policy.Members {
			for _, k := range m.Keys {
				if k.Public.String() == keyID && k.Compromised != 0 && (since == 0 || k.Compromised < since) {
					since = k.Compromised
				}
			}
		}
	}
	return since
}

// checkSides checks where each side anchored the receipt.
func (c *evidenceCheck) checkSides() (string, error) {
	f := &c.res.Facts
	var open error
	for i := range c.e.Sides {
		p, _, _, err := ledger.DecodeLeafProof(c.e.Sides[i].Proof)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(p.Entry, c.e.Entry) {
			return "", fmt.Errorf("the proof of %s is of another entry", p.Party)
		}
		x, err := c.anchoredAt(&p, c.e.Sides[i].Anchor)
		if _, undecided := err.(notShown); undecided {
			open = err
		} else if err != nil {
			return "", err
		}
		at := x.header
		switch {
		case p.Party == f.Provider && f.Provided.IsZero():
			f.Provided = at
		case c.standing != nil && p.Party == c.standing.Consumer.Holder && f.Consumed.IsZero():
			f.Consumed = at
		case c.standing == nil:
			open = notShown("whose log the receipt was anchored in is not shown")
			continue
		default:
			return "", fmt.Errorf("%s, which anchored the receipt, is neither of the parties, or is there twice", p.Party)
		}
		if f.NotLater.IsZero() || at.Before(f.NotLater) {
			f.NotLater = at
		}
		if err == nil {
			c.anchors = append(c.anchors, x)
		}
	}
	f.Remark = c.missing()
	if c.states != nil {
		if text := c.unseenPolicies(); text != "" {
			f.Remark = strings.TrimPrefix(f.Remark+"; "+text, "; ")
		}
	}
	if open != nil {
		return "", open
	}
	if f.NotLater.IsZero() {
		return "", notShown("neither side has anchored the receipt in this file: nothing shows when it was made")
	}
	return "on the chain no later than " + f.NotLater.UTC().Format(time.RFC3339), nil
}

// missing says which side has not anchored, and whether it could have.
func (c *evidenceCheck) missing() string {
	f, due := &c.res.Facts, c.receipt.Time.Std().Add(AnchorDeadline)
	side := ""
	switch {
	case f.Provided.IsZero() && f.Consumed.IsZero():
		side = "either side"
	case f.Provided.IsZero():
		side = "the provider"
	case f.Consumed.IsZero():
		side = "the consumer"
	default:
		return ""
	}
	if c.now.Before(due) {
		return fmt.Sprintf("no anchor of %s is shown; it has time until %s", side, due.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("no anchor of %s is shown, though its time was over at %s", side, due.UTC().Format(time.RFC3339))
}

// anchored is where one side's anchor stands.
type anchored struct {
	party  cityid.Code
	header time.Time // which proves it: the side had the entry no later than then
	block  time.Time // of the block with the anchor
	next   bool      // the header is that of the very next block
}

func (c *evidenceCheck) anchoredAt(p *ledger.LeafProof, bundle []byte) (x anchored, err error) {
	r, undecided := c.bundle(bundle)
	if r == nil {
		return x, undecided
	}
	var a cityid.Anchor
	found, err := r.Entry(cityid.AnchorKey(p.Party, p.Log, p.Sequence), &a)
	if err != nil {
		return x, err
	}
	if !found {
		return x, fmt.Errorf("%s has not anchored batch %d of log %s", p.Party, p.Sequence, p.Log)
	}
	if err := ledger.CheckAnchor(p, &a); err != nil {
		return x, err
	}
	return anchored{p.Party, r.AsOf.Time, a.Changed.Time.Std(), r.AsOf.Height == a.Changed.Height}, undecided
}

func (c *evidenceCheck) checkAcknowledgement() (string, error) {
	c.res.Facts.Outcome = Unacknowledged
	if c.e.Acknowledgement == nil {
		return "none is shown", nil
	}
	m := c.e.Acknowledgement.Message
	s, err := ackProfile.VerifyBase(string(m.Base), m.Signature, anyKey)
	if err != nil {
		return "", err
	}
	if err := httpsig.CheckDigest(s.Digest, c.e.Acknowledgement.Body); err != nil {
		return "", err
	}
	a, err := ledger.DecodeAcknowledgement(c.e.Acknowledgement.Body)
	if err != nil {
		return "", err
	}
	hash, names := ledger.EntryHash(c.e.Entry), false
	for _, h := range a.Entries {
		names = names || h == hash
	}
	switch {
	case a.Agreement != c.e.Agreement || s.Value("data-agreement") != formatAgreement(c.e.Agreement) || !names:
		return "", fmt.Errorf("the acknowledgement is for other answers")
	case c.standing == nil:
		return "", notShown("whose key signed it is not shown")
	}
	// The key may be another one than the request's.
	if err := c.consumerKey(s.KeyID, cityid.TimeOf(s.Created)); err != nil {
		return "", notShown(fmt.Sprintf("the key that signed it: %v", err))
	}
	c.res.Facts.Outcome = Acknowledged
	return "signed by the consumer " + s.Created.UTC().Format(time.RFC3339), nil
}

// says words what valid evidence shows.
func (c *evidenceCheck) says() string {
	f := &c.res.Facts
	what := "fetched"
	if !c.receipt.Served() {
		what = "was refused"
	}
	late := ""
	if f.Late {
		late = fmt.Sprintf(" (that it was at %s nothing shows: it was anchored too late for that)", f.Time)
	}
	return fmt.Sprintf("%s %s %s from %s of %s (status %d, %d octets), no later than %s%s; %s", f.Consumer, what, f.Target, f.Dataset, f.Provider,
		f.Status, f.Size, f.NotLater.UTC().Format(time.RFC3339), late, f.Outcome)
}

// Compare judges the evidence of both sides about one request. It tells of a
// dispute only where both are valid by themselves and both anchoring deadlines
// are over: two different answers to one request, each anchored. Of evidence about two
// requests it tells only that the provider gave both answers one number of its log.
func Compare(a, b *Evidence, trust *verify.TrustFile, now time.Time) (first, second EvidenceResult, outcome Outcome, err error) {
	first, second = CheckEvidence(a, trust, now), CheckEvidence(b, trust, now)
	if a.Agreement != b.Agreement || a.Request.Hash() != b.Request.Hash() {
		// A log has each number once, whoever asked for what: who counts twice hides one of the two.
		if x, y := &first.Facts, &second.Facts; first.Verdict == verify.Valid && second.Verdict == verify.Valid &&
			x.Provider == y.Provider && x.Log == y.Log && x.Number == y.Number {
			return first, second, Repeated, nil
		}
		return first, second, "", fmt.Errorf("the two files are about different requests")
	}
	if bytes.Equal(a.Entry, b.Entry) {
		outcome = Unacknowledged
		if first.Facts.Outcome == Acknowledged || second.Facts.Outcome == Acknowledged {
			outcome = Acknowledged
		}
		return first, second, outcome, nil
	}
	due := max(first.Facts.Time, second.Facts.Time).Std().Add(AnchorDeadline)
	if first.Verdict != verify.Valid || second.Verdict != verify.Valid || now.Before(due) {
		return first, second, "", nil
	}
	return first, second, Disputed, nil
}
