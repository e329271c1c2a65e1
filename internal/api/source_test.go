// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
)

// A client is a source like a node.
var _ api.Source = (*client.Client)(nil)

var asOf = cityid.AsOf{Chain: "test-1", Height: 7, Time: time.Unix(1_700_000_000, 0).UTC()}

var (
	city   = cityid.MustParse("MA.156.1301")
	lamp   = cityid.MustParse("MA.156.1301.01/20.010203/000123")
	digest = cityid.Digest{1, 2, 3}
)

// source is a registry over maps. Records are in order of code.
type source struct {
	records      []cityid.Record
	proposals    []cityid.ProposalAnswer // latest first
	attestations map[cityid.Code]cityid.Attestation
	trust        []cityid.Trust
	agreements   []cityid.AgreementAnswer
	anchors      []cityid.Anchor // of one log, "main"
	fail         error           // what every method returns, if set

	mu       sync.Mutex
	receipts map[cityid.Digest]cityid.Receipt
	children cityid.ChildrenQuery // as asked last
	asked    cityid.ProposalQuery
	bundle   cityid.BundleQuery
	agreed   cityid.AgreementQuery
	anchored cityid.AnchorQuery
	blocks   cityid.BlockQuery
	found    map[cityid.Digest]cityid.TransactionAnswer
	link     [2]uint64 // height and from
	submit   func(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error)
}

func newSource() *source {
	s := &source{receipts: map[cityid.Digest]cityid.Receipt{}, attestations: map[cityid.Code]cityid.Attestation{}}
	for _, r := range []cityid.Record{
		{Code: cityid.MustParse("MA.156"), Kind: cityid.KindAuthority},
		{Code: city, Kind: cityid.KindCity, Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: "Shijiazhuang <&>"}, {Lang: "zh", Text: "石家庄市"}}}},
		{Code: cityid.MustParse("MA.156.1301.01"), Kind: cityid.KindDepartment},
		{Code: lamp, Kind: cityid.KindObject, Content: cityid.Content{Location: &cityid.Location{Lat: 380454740, Lon: -5}}},
		{Code: cityid.MustParse("MA.156.1301.02"), Kind: cityid.KindDepartment},
		{Code: cityid.MustParse("MA.156.1301.03"), Kind: cityid.KindDepartment, Status: cityid.StatusRetired, Reason: cityid.ReasonMerged},
	} {
		r.Parent, r.Revision = r.Code.Parent(), 1
		r.Status = max(r.Status, cityid.StatusActive)
		r.Changed = cityid.Change{Chain: "test-1", Height: 3, Time: 1_699_999_999}
		s.records = append(s.records, r)
	}
	for n := uint64(5); n > 0; n-- {
		s.proposals = append(s.proposals, cityid.ProposalAnswer{
			Proposal: cityid.Proposal{Number: n, Revision: 1, State: cityid.ProposalPending, Operations: []cityid.Operation{{Approve: &cityid.Approve{Proposal: 1}}}},
			State:    cityid.ProposalPending, Digest: digest, AsOf: asOf, Competing: []uint64{n + 100},
		})
	}
	for v := uint32(1); v <= 2; v++ {
		s.trust = append(s.trust, cityid.Trust{Statement: cityid.TrustStatement{Version: v, Zone: cityid.MustParse("MA.156"), Chain: "test-1", Time: 5}})
	}
	for i := range byte(3) {
		a := cityid.Agreement{
			Terms: cityid.Terms{Dataset: lamp, Consumer: city, Document: digest, From: 5, Until: 9, Staleness: 30, Purpose: digest, Respond: 6, Nonce: cityid.Nonce{i + 1}},
			State: cityid.AgreementGranted, Provider: city, Requested: cityid.Change{Chain: "test-1", Height: 3, Time: 4},
		}
		s.agreements = append(s.agreements, cityid.AgreementAnswer{ID: a.Terms.ID(), Agreement: a, State: cityid.AgreementExpired, AsOf: asOf})
	}
	for n := uint64(1); n <= 3; n++ {
		s.anchors = append(s.anchors, cityid.Anchor{Party: city, Log: "main", Sequence: n, Root: digest, Bucket: 7, Key: "\x01key"})
	}
	s.attestations[city] = cityid.Attestation{Source: city, Digest: digest, Size: 42, Label: "map", Key: cityid.PublicKey("\x01key")}
	return s
}

func (s *source) Record(_ context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	for _, r := range s.records {
		if r.Code == code {
			return &cityid.RecordAnswer{Record: r, Display: code.Display(), Holder: code, AsOf: asOf}, nil
		}
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
}

func (s *source) Children(_ context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.children = q
	page := &cityid.RecordPage{AsOf: asOf}
	for _, r := range s.records {
		below := r.Parent == q.Code || q.Deep && q.Code.Covers(r.Code)
		if !below || q.Kind != 0 && r.Kind != q.Kind || r.Code.Compare(q.After) <= 0 {
			continue
		}
		if len(page.Records) == q.Limit {
			page.Next = page.Records[q.Limit-1].Code
			break
		}
		page.Records = append(page.Records, r)
	}
	return page, s.fail
}

func (s *source) History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error) {
	a, err := s.Record(ctx, code)
	if err != nil {
		return nil, err
	}
	return &cityid.HistoryAnswer{Revisions: []cityid.Record{a.Record}, AsOf: asOf}, nil
}

func (s *source) Attestation(_ context.Context, source cityid.Code, d cityid.Digest) (*cityid.Attestation, error) {
	a, ok := s.attestations[source]
	if !ok || a.Digest != d {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s has not attested %s", source, d)
	}
	return &a, s.fail
}

// Attestations has one for each source, and names a next page when only one is
// asked for.
func (s *source) Attestations(_ context.Context, q cityid.AttestationQuery) (*cityid.AttestationPage, error) {
	page := &cityid.AttestationPage{AsOf: asOf}
	if a, ok := s.attestations[q.Source]; ok && q.After.IsZero() {
		page.Attestations = []cityid.Attestation{a}
		if q.Limit == 1 {
			page.Next = a.Digest
		}
	}
	return page, s.fail
}

func (s *source) Agreement(_ context.Context, id cityid.Digest) (*cityid.AgreementAnswer, error) {
	for i := range s.agreements {
		if s.agreements[i].ID == id {
			return &s.agreements[i], s.fail
		}
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "there is no agreement %s", id)
}

// Agreements pages by the index as cursor.
func (s *source) Agreements(_ context.Context, q cityid.AgreementQuery) (*cityid.AgreementPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agreed = q
	page := &cityid.AgreementPage{AsOf: asOf}
	start, _ := strconv.Atoi(q.After)
	for i := start; i < len(s.agreements); i++ {
		a := s.agreements[i]
		if !q.Dataset.IsZero() && a.Agreement.Terms.Dataset != q.Dataset || !q.Consumer.IsZero() && a.Agreement.Terms.Consumer != q.Consumer || q.State != 0 && q.State != a.State {
			continue
		}
		if len(page.Agreements) == q.Limit {
			page.Next = strconv.Itoa(i)
			break
		}
		page.Agreements = append(page.Agreements, a)
	}
	return page, s.fail
}

func (s *source) Anchors(_ context.Context, q cityid.AnchorQuery) (*cityid.AnchorPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anchored = q
	page := &cityid.AnchorPage{AsOf: asOf}
	if q.Log == "" {
		for _, name := range []string{"main", "spare"} {
			if name <= q.AfterLog {
				continue
			}
			if len(page.Logs) == q.Limit {
				page.NextLog = page.Logs[q.Limit-1].Log
				break
			}
			page.Logs = append(page.Logs, cityid.LogHead{Log: name, Sequence: 3, Root: digest})
		}
		return page, s.fail
	}
	for _, a := range s.anchors {
		if a.Log != q.Log || a.Sequence <= q.After {
			continue
		}
		if len(page.Anchors) == q.Limit {
			page.Next = page.Anchors[q.Limit-1].Sequence
			break
		}
		page.Anchors = append(page.Anchors, a)
	}
	return page, s.fail
}

func (s *source) Lookup(_ context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error) {
	if scheme != "gbt2260" {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no scheme %s", scheme)
	}
	a := &cityid.CrosswalkAnswer{Scheme: cityid.Scheme{Name: scheme}, Value: value, AsOf: asOf}
	if value == "130100" {
		a.Entries = []cityid.CrosswalkEntry{{Code: city, Alias: cityid.Alias{Scheme: scheme, Value: value}, Holds: true}}
	}
	return a, s.fail
}

func (s *source) Proposal(_ context.Context, number uint64) (*cityid.ProposalAnswer, error) {
	for i := range s.proposals {
		if s.proposals[i].Proposal.Number == number {
			return &s.proposals[i], s.fail
		}
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "no proposal %d", number)
}

func (s *source) Proposals(_ context.Context, q cityid.ProposalQuery) (*cityid.ProposalPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = q
	page := &cityid.ProposalPage{AsOf: asOf}
	for _, p := range s.proposals {
		if q.Before != 0 && p.Proposal.Number >= q.Before || q.State != 0 && p.State != q.State {
			continue
		}
		if len(page.Proposals) == q.Limit {
			page.Next = page.Proposals[q.Limit-1].Proposal.Number
			break
		}
		page.Proposals = append(page.Proposals, p)
	}
	return page, s.fail
}

func (s *source) Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	if s.submit != nil {
		return s.submit(ctx, raw, wait)
	}
	tx, _, err := cityid.DecodeTx(raw)
	if err != nil {
		return nil, err
	}
	r := cityid.Receipt{ID: tx.ID(), Operation: -1}
	if wait {
		r = cityid.Receipt{ID: tx.ID(), Operation: -1, Height: 9, Time: 1_700_000_001, Proposals: []uint64{6}, Provable: true}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receipts[r.ID] = r
	return &r, nil
}

func (s *source) Transaction(_ context.Context, id cityid.Digest) (*cityid.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.receipts[id]; ok {
		return &r, nil
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "transaction %s is not known here", id)
}

func (s *source) Bundle(_ context.Context, q cityid.BundleQuery) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundle = q
	return []byte("bundle of " + q.Code.String()), s.fail
}

func (s *source) Link(_ context.Context, height uint64, from uint32) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = [2]uint64{height, uint64(from)}
	return []byte("link to " + strconv.FormatUint(height, 10)), s.fail
}

func (s *source) SignedHeader(_ context.Context, height uint64) ([]byte, error) {
	return []byte("header " + strconv.FormatUint(height, 10)), s.fail
}

func (s *source) Trust(context.Context) ([]cityid.Trust, error) {
	return slices.Clone(s.trust), s.fail
}

func (s *source) NextTrust(context.Context) (*cityid.TrustStatement, error) {
	next := s.trust[len(s.trust)-1].Statement
	next.Version++
	return &next, s.fail
}

func (s *source) Status(context.Context) (*cityid.NodeStatus, error) {
	return &cityid.NodeStatus{Version: "1", Zone: cityid.MustParse("MA.156"), Chain: "test-1", Height: 7, Trust: 2}, s.fail
}

func (s *source) Zones(_ context.Context, q cityid.ZoneQuery) (*cityid.ZonePage, error) {
	page := &cityid.ZonePage{Apex: cityid.MustParse("MA.156"), Chain: "test-1", Checkpoint: &cityid.Checkpoint{Height: 8, Time: 1_700_000_000, Header: digest, Validators: digest, Next: digest}, AsOf: asOf}
	for _, c := range []cityid.Code{city, cityid.MustParse("MA.156.1302")} {
		if c.Compare(q.After) > 0 && len(page.Zones) < q.Limit {
			page.Zones = append(page.Zones, cityid.ZoneAnswer{Code: c, Status: cityid.StatusActive, Delegation: &cityid.Delegation{Chain: "city-2", Genesis: digest}, Zone: cityid.Zone{Chain: "city-2"}})
		}
	}
	if page.Zones == nil {
		page.Zones = []cityid.ZoneAnswer{}
	} else if last := page.Zones[len(page.Zones)-1].Code; last == city {
		page.Next = last
	}
	return page, s.fail
}

func (s *source) Settings(context.Context) (*cityid.Settings, error) {
	return &cityid.Settings{Params: cityid.DefaultParams, Schemes: []cityid.Scheme{{Name: "gbt2260"}}, AsOf: asOf}, s.fail
}

func (s *source) Blocks(_ context.Context, q cityid.BlockQuery) (*cityid.BlockPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks = q
	page := &cityid.BlockPage{}
	for h := uint64(7); h > 0; h-- {
		if q.Before != 0 && h >= q.Before {
			continue
		}
		if len(page.Blocks) == q.Limit {
			page.Next = h + 1
			break
		}
		page.Blocks = append(page.Blocks, cityid.Block{Height: h, Time: asOf.Time, Hash: digest, Validators: 4, Signed: 3})
	}
	return page, s.fail
}

func (s *source) Block(_ context.Context, height uint64) (*cityid.Block, error) {
	if height < 1 || height > 7 {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no block %d", height)
	}
	return &cityid.Block{
		Height: height, Time: asOf.Time, Hash: digest, Proposer: "\x01key", Transactions: 2, Changed: []cityid.Code{city},
		Txs: []cityid.BlockTx{
			{Receipt: cityid.Receipt{ID: digest, Height: height, Proposals: []uint64{9}}, Body: &cityid.Body{Chain: "test-1", Expires: 5, Operations: []cityid.Operation{{Approve: &cityid.Approve{Proposal: 8}}}}},
			{Receipt: cityid.Receipt{Height: height, Code: cityid.ErrMalformed, Operation: -1, Message: "no transaction"}},
		},
	}, s.fail
}

func (s *source) FindTransaction(_ context.Context, id cityid.Digest) (*cityid.TransactionAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.found[id]; ok {
		return &a, s.fail
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "transaction %s is not known here", id)
}

func (s *source) Await(ctx context.Context, after uint64) (uint64, error) {
	if s.fail != nil || after < 7 {
		return 7, s.fail
	}
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

func (s *source) Changes(_ context.Context, after uint64) (*cityid.Changes, error) {
	c := &cityid.Changes{Height: 7, Gap: after < 3}
	if after >= 3 && after < 7 {
		c.Codes = []cityid.Code{city, lamp}
	}
	return c, s.fail
}
