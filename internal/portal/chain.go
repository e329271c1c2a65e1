// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"cityid"
	"cityid/internal/describe"
	"cityid/verify"
)

// blocksShown is how many blocks a list shows, and its chart.
const blocksShown = 30

// chainData is what the explorer's first page shows.
type chainData struct {
	Node       *cityid.NodeStatus
	Blocks     []blockRow
	Chart      *chart
	Next       string
	All        bool // blocks without transactions too
	Validators []validatorRow
	Building   bool
	Done, Of   uint64 // of the search index, while it is being built
	Indexed    uint64
	TrustUntil cityid.Time // when verifiers will want a newer trust root
	TrustLate  bool
	Pending    int
	More       bool            // there are more pending proposals
	Upgrade    []describe.Line // what is planned
	Ahead      uint64          // blocks until then
	Unready    bool            // this node's program lacks what is planned
}

type blockRow struct {
	*cityid.Block
	Signers string
}

type validatorRow struct {
	Key   string
	Owner place
	Power int64
	Share string
}

// chainPage shows how the chain is and what happened last.
func (p *portal) chainPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	data := &chainData{All: r.URL.Query().Get("all") != ""}
	var err error
	if data.Node, err = p.Source.Status(r.Context()); err != nil {
		return err
	}
	pg.node = data.Node
	if u := data.Node.Rules.Plan; u != nil {
		data.Upgrade, data.Ahead = describe.Upgrade(pg.Lang, u), u.Height-min(data.Node.Height, u.Height)
		data.Unready = !slices.Contains(data.Node.RulesKnown, u.Version)
	}
	if err := pg.blocks(r, data); err != nil {
		return err
	}
	if data.Validators, err = pg.validators(data.Node); err != nil {
		return err
	}
	data.Building, data.Done, data.Of, data.Indexed = p.Index.Progress()
	trusts, err := p.Source.Trust(r.Context())
	if err != nil {
		return err
	}
	if n := len(trusts); n > 0 {
		data.TrustUntil = cityid.TimeOf(trusts[n-1].Statement.Time.Std().Add(verify.DefaultTrustingPeriod))
		left := data.TrustUntil.Std().Sub(data.Node.Time)
		data.TrustLate = left < verify.DefaultTrustingPeriod/3
	}
	pending, err := p.Source.Proposals(r.Context(), cityid.ProposalQuery{State: cityid.ProposalPending, Limit: 100})
	if err != nil {
		return err
	}
	data.Pending, data.More = len(pending.Proposals), pending.Next != 0
	pg.Title = pg.T("chain.title")
	return pg.render(w, r, http.StatusOK, "chain", data)
}

// blocks lists blocks from where the address says, the latest first.
func (pg *page) blocks(r *http.Request, data *chainData) error {
	q := cityid.BlockQuery{Busy: !data.All, Limit: blocksShown}
	if s := r.URL.Query().Get("before"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "height %.40q: want a number", s)
		}
		q.Before = n
	}
	got, err := pg.Source.Blocks(pg.ctx, q)
	if err != nil {
		return err
	}
	var bars []bar
	for i := range got.Blocks {
		b := &got.Blocks[i]
		row := blockRow{Block: b, Signers: "–"}
		if b.Signed > 0 {
			row.Signers = fmt.Sprintf("%d / %d", b.Signed, b.Validators)
		}
		data.Blocks = append(data.Blocks, row)
		bars = append(bars, bar{Label: grouped(b.Height), Value: uint64(b.Transactions)})
	}
	if got.Next != 0 {
		data.Next = address(r, "before", strconv.FormatUint(got.Next, 10))
	}
	slices.Reverse(bars)
	if len(bars) > 1 {
		data.Chart = newChart("blocks", pg.T("chain.chart"), pg.T("chain.height"), pg.T("chain.transactions"), bars)
	}
	return nil
}

// validators lists the machines that sign blocks.
func (pg *page) validators(node *cityid.NodeStatus) ([]validatorRow, error) {
	var total int64
	for _, v := range node.Validators.Validators {
		total += v.Power
	}
	var out []validatorRow
	for _, v := range node.Validators.Validators {
		row := validatorRow{Key: describe.Fingerprint(v.Key), Power: v.Power, Share: fmt.Sprintf("%.1f %%", 100*float64(v.Power)/float64(max(1, total)))}
		if !v.Owner.IsZero() {
			var err error
			if row.Owner, err = pg.placeAt(v.Owner); err != nil {
				return nil, err
			}
		}
		out = append(out, row)
	}
	return out, nil
}

// blockData is what the page of a block shows.
type blockData struct {
	*cityid.Block
	Txs            []txRow
	Signers        string
	Before, Behind string // addresses of its neighbours
	Proposer       string
}

type txRow struct {
	ID      cityid.Digest
	Summary string
	Refused string
	Tag     tag
	Signers int
}

// blockPage shows one block and the transactions in it.
func (p *portal) blockPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	height, err := strconv.ParseUint(r.PathValue("height"), 10, 64)
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "the address is no height of a block")
	}
	b, err := p.Source.Block(r.Context(), height)
	if errors.Is(err, cityid.ErrNotFound) {
		b, err = p.prunedBlock(r.Context(), height, err)
	}
	if err != nil {
		return err
	}
	data := &blockData{Block: b, Signers: pg.T("chain.unsigned")}
	if b.Signed > 0 {
		data.Signers = pg.T("chain.signed", b.Signed, b.Validators)
		data.Behind = pg.URL("/chain/block/", strconv.FormatUint(height+1, 10))
	}
	if height > 1 {
		data.Before = pg.URL("/chain/block/", strconv.FormatUint(height-1, 10))
	}
	if b.Proposer != "" {
		data.Proposer = describe.Fingerprint(b.Proposer)
	}
	for i := range b.Txs {
		data.Txs = append(data.Txs, pg.txRow(&b.Txs[i]))
	}
	pg.Title = pg.T("chain.block.title", grouped(height))
	return pg.render(w, r, http.StatusOK, "chain_block", data)
}

// prunedBlock returns what is still known about a block whose transactions the node
// let go; otherwise why there is nothing.
func (p *portal) prunedBlock(ctx context.Context, height uint64, why error) (*cityid.Block, error) {
	got, err := p.Source.Blocks(ctx, cityid.BlockQuery{Before: height + 1, Limit: 1})
	if err != nil || len(got.Blocks) == 0 || got.Blocks[0].Height != height || !got.Blocks[0].Pruned {
		return nil, why
	}
	return &got.Blocks[0], nil
}

func (pg *page) txRow(t *cityid.BlockTx) txRow {
	row := txRow{ID: t.Receipt.ID, Summary: pg.T("chain.tx.unreadable"), Tag: tag{pg.T("chain.tx.applied"), "good", "✓"}}
	if t.Body != nil {
		row.Summary, row.Signers = describe.Summary(pg.Lang, t.Body.Operations), len(t.Body.Signers)
	}
	if err := t.Receipt.Err(); err != nil {
		row.Tag, row.Refused = tag{pg.T("chain.tx.refused"), "bad", "✕"}, describe.Refusal(pg.Lang, err)
	}
	return row
}

// txData is what the page of a transaction shows.
type txData struct {
	Receipt *cityid.Receipt
	Body    *cityid.Body
	Words   []describe.Line
	Signers []string
	Tag     tag
	Refused string
	Digest  string
	Raw     bool

	Agreements []agreementView // that it is about
}

// txPage shows one transaction in words.
func (p *portal) txPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	id, err := cityid.ParseDigest(r.PathValue("id"))
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "the address is no transaction id")
	}
	t, err := p.Source.FindTransaction(r.Context(), id)
	if err != nil {
		return err
	}
	row := pg.txRow(&cityid.BlockTx{Receipt: t.Receipt, Body: t.Body})
	data := &txData{Receipt: &t.Receipt, Body: t.Body, Tag: row.Tag, Refused: row.Refused, Raw: len(t.Raw) > 0}
	if t.Body != nil {
		data.Words, data.Agreements = describe.Operations(pg.Lang, t.Body.Operations), pg.agreementsIn(t.Body.Operations)
		for _, k := range t.Body.Signers {
			data.Signers = append(data.Signers, describe.Key(pg.Lang, k))
		}
		data.Digest = cityid.SigningDigest(cityid.MustMarshal(t.Body)).String()
	}
	pg.Title = pg.T("chain.tx.title")
	return pg.render(w, r, http.StatusOK, "chain_tx", data)
}

// rulesPage shows the rules that all nodes keep.
func (p *portal) rulesPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	data := struct {
		*cityid.Settings
		Words []describe.Line
		Kinds []kindRule
	}{Settings: s, Words: describe.Settings(pg.Lang, &s.Params, &s.Rule, s.Schemes)}
	for i := range s.Rule.Kinds {
		data.Kinds = append(data.Kinds, pg.kindRule(&s.Rule.Kinds[i]))
	}
	pg.Title = pg.T("chain.rules.title")
	return pg.render(w, r, http.StatusOK, "chain_rules", data)
}

// kindRule is a rule for one kind as a row.
type kindRule struct {
	Kind, Parents, Pattern, Schemes, Languages, Decides string
}

func (pg *page) kindRule(k *cityid.KindRule) kindRule {
	out := kindRule{Kind: pg.Kind(k.Kind), Decides: pg.T("chain.rules.parent")}
	join := func(list []string) string {
		s := ""
		for i, x := range list {
			if i > 0 {
				s += pg.T("chain.rules.comma")
			}
			s += x
		}
		return s
	}
	var parents []string
	for _, x := range k.Parents {
		parents = append(parents, pg.Kind(x))
	}
	out.Parents, out.Pattern, out.Schemes, out.Languages = join(parents), join(k.Patterns), join(k.Schemes), join(k.Languages)
	if k.Sequence {
		out.Pattern = pg.T("chain.rules.sequence", out.Pattern)
	}
	if k.Apex {
		out.Decides = pg.T("chain.rules.apex")
	}
	return out
}

// chainFind goes to the block, transaction or code that somebody names.
func (p *portal) chainFind(w http.ResponseWriter, r *http.Request, pg *page) error {
	text := r.URL.Query().Get("q")
	to := pg.URL("/search?q=", url.QueryEscape(text))
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		to = pg.URL("/chain/block/", strconv.FormatUint(n, 10))
	} else if id, err := cityid.ParseDigest(text); err == nil {
		_, err := p.Source.FindTransaction(r.Context(), id)
		if errors.Is(err, cityid.ErrNotFound) {
			return cityid.Errorf(cityid.ErrNotFound, "no block holds a transaction with this id")
		}
		if err != nil {
			return err
		}
		to = pg.URL("/chain/tx/", id.String())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// chainScreens are the pages about the chain.
func (p *portal) chainScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /chain":                p.chainPage,
		"GET /chain/block/{height}": p.blockPage,
		"GET /chain/tx/{id}":        p.txPage,
		"GET /chain/rules":          p.rulesPage,
		"GET /chain/find":           p.chainFind,
	}
}
