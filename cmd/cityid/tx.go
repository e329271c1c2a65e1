// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
	"cityid/keys"
)

func txCommand() *command {
	return &command{
		name: "tx", short: "transactions as files: for signing on other machines",
		long: "Any command that writes can --save its transaction to a file instead of submitting it.\nThe file is then signed by each signer where their key is, combined, and submitted.",
		sub: []*command{
			{
				name: "new", args: "OPERATIONS.json", short: "make a transaction from operations written in JSON",
				examples: []string{`echo '[{"veto":{"code":"MA.156.1301"}}]' > ops.json`, "cityid tx new ops.json --key officer"},
				setup:    txNew,
			},
			{name: "show", args: "FILE", short: "say in words what a transaction does and who has signed it", setup: txShow},
			{
				name: "sign", args: "FILE", short: "add your signature to a transaction file",
				examples: []string{"cityid tx sign change.tx --key officer"},
				setup:    txSign,
			},
			{name: "combine", args: "FILE...", short: "join the signatures of several copies of one transaction", setup: txCombine},
			{name: "submit", args: "FILE", short: "submit a signed transaction and wait until its effect can be proved", setup: txSubmit},
			{name: "status", args: "ID", short: "say what became of a transaction that was submitted, and what it does", setup: txStatus},
		},
	}
}

// txFile is a transaction on its way round the signers.
type txFile struct {
	Version    int          `json:"version"` // 1
	Body       cityid.Bytes `json:"body"`    // what is signed
	Signatures signatures   `json:"signatures"`
}

// maxTxFile bounds a transaction file in octets: the text form of the largest
// transaction.
const maxTxFile = 2 * cityid.MaxTx

func readTxFile(ctx context.Context, path string) (*txFile, *cityid.Body, error) {
	b, err := readBounded(ctx, path, maxTxFile)
	if err != nil {
		return nil, nil, err
	}
	var t txFile
	if err := strictJSON(b, &t); err != nil {
		return nil, nil, fmt.Errorf("%s is not a transaction file: %w", path, err)
	}
	if t.Version != 1 {
		return nil, nil, fmt.Errorf("%s: version %d of the transaction file is unknown", path, t.Version)
	}
	body, err := cityid.DecodeBody(t.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, s := range t.Signatures {
		if !slices.Contains(body.Signers, s.Key) {
			return nil, nil, fmt.Errorf("%s: %s has signed, but is not among the signers", path, s.Key)
		}
	}
	if err := t.Signatures.check(cityid.SigningDigest(t.Body)); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return &t, body, nil
}

func (t *txFile) encode() []byte {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		panic(err) // the type always encodes
	}
	return append(b, '\n')
}

// assemble returns the transaction once everybody has signed.
func (t *txFile) assemble(body *cityid.Body) (*cityid.Tx, error) {
	tx := &cityid.Tx{Body: t.Body}
	var missing []string
	for _, k := range body.Signers {
		if i, ok := t.Signatures.find(k); ok {
			tx.Signatures = append(tx.Signatures, t.Signatures[i].Signature)
		} else {
			missing = append(missing, k.String())
		}
	}
	if len(missing) > 0 {
		return nil, exitError{exitNotPermitted, fmt.Errorf("not signed yet by %s", strings.Join(missing, ", "))}
	}
	return tx, nil
}

// signatures are in byte order of their keys, each of which stands once.
type signatures []cityid.KeySignature

// find returns where the signature by a key stands, or should stand.
func (l signatures) find(k cityid.PublicKey) (int, bool) {
	return slices.BinarySearchFunc(l, k, func(s cityid.KeySignature, k cityid.PublicKey) int {
		return strings.Compare(string(s.Key), string(k))
	})
}

// add puts a signature in its place, unless the key has signed.
func (l *signatures) add(s cityid.KeySignature) {
	if i, ok := l.find(s.Key); !ok {
		*l = slices.Insert(*l, i, s)
	}
}

// sign adds the signatures of signers over a digest.
func (l *signatures) sign(d cityid.Digest, signers ...cityid.Signer) error {
	for _, s := range signers {
		sig, err := s.Sign(d[:])
		if err != nil {
			return err
		}
		l.add(cityid.KeySignature{Key: s.Key, Signature: sig})
	}
	return nil
}

// check refuses signatures that are out of order, or do not hold over a digest.
func (l signatures) check(d cityid.Digest) error {
	for i, s := range l {
		if i > 0 && l[i-1].Key >= s.Key {
			return fmt.Errorf("the signature by %s is out of order", s.Key)
		}
		if err := keys.Verify([]byte(s.Key), d[:], s.Signature); err != nil {
			return exitError{exitNotPermitted, fmt.Errorf("signature by %s: %w", s.Key, err)}
		}
	}
	return nil
}

// writing is what all commands that write share.
type writing struct {
	*flags
	secrets
	keys     list
	others   list
	memo     string
	note     string
	save     string
	chain    string
	propose  bool
	why      string
	lifetime time.Duration
}

// signing defines the flags of all that is signed here.
func (w *writing) signing(f *flags) {
	w.flags = f
	w.secrets.flags(f)
	f.Var(&w.keys, "key", "sign with this key (`name` or file); several times for several signers")
	f.StringVar(&w.memo, "memo", "", "a remark that is published with the transaction")
	f.DurationVar(&w.lifetime, "lifetime", 10*time.Minute, "how long the transaction may wait to be recorded, at most 1h")
}

// setup adds those of a transaction that others may sign elsewhere.
func (w *writing) setup(f *flags) {
	w.signing(f)
	f.Var(&w.others, "signer", "with --save: the `public key` of somebody who will sign elsewhere")
	f.StringVar(&w.save, "save", "", "write the transaction to this `file` instead of submitting it")
	f.StringVar(&w.chain, "chain", "", "chain `id`, when no node can be asked")
}

// setupProposable adds those of operations that may be proposed.
func (w *writing) setupProposable(f *flags) {
	w.setup(f)
	f.BoolVar(&w.propose, "propose", false, "put it before the policies it needs as a proposal")
	f.StringVar(&w.why, "why", "", "with --propose: a remark for those who decide; it is published")
}

// maxLifetime is how long a transaction may wait.
const maxLifetime = time.Hour

// submit makes a transaction of ops, signs it, and submits it or saves it. It
// prints the receipt.
func (w *writing) submit(ctx context.Context, ops ...cityid.Operation) error {
	r, err := w.send(ctx, ops...)
	if err != nil || r == nil {
		return err
	}
	return w.print(receiptTable(r))
}

// send is submit without printing. The receipt is nil if the transaction was
// saved.
func (w *writing) send(ctx context.Context, ops ...cityid.Operation) (*cityid.Receipt, error) {
	if w.propose {
		ops = []cityid.Operation{{Propose: &cityid.Propose{Operations: ops, Note: w.why}}}
	}
	if len(w.keys) == 0 && (w.save == "" || len(w.others) == 0) {
		return nil, usagef("who signs? give --key NAME, or --save FILE and --signer PUBLIC-KEY")
	}
	if w.lifetime <= 0 || w.lifetime > maxLifetime {
		return nil, usagef("--lifetime %s: want at most %s", w.lifetime, maxLifetime)
	}
	body := cityid.Body{Chain: w.chain, Memo: w.memo, Operations: ops}
	c, err := w.base(ctx, &body)
	if err != nil {
		return nil, err
	}
	if w.save != "" {
		return nil, w.saveTx(ctx, body)
	}
	signers, err := w.flags.signers(ctx, w.keys, &w.secrets)
	if err != nil {
		return nil, err
	}
	tx, err := cityid.SignTx(body, signers...)
	if err != nil {
		return nil, err
	}
	return submitTx(ctx, c, tx)
}

// submitTx submits a transaction and waits until its effect can be proved. A
// refusal is an error.
func submitTx(ctx context.Context, c *client.Client, tx *cityid.Tx) (*cityid.Receipt, error) {
	r, err := c.SubmitTx(ctx, tx, true)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// base asks the node for its chain and time, or takes this machine's time when
// --chain makes asking needless.
func (w *writing) base(ctx context.Context, body *cityid.Body) (*client.Client, error) {
	if w.chain != "" && w.save != "" {
		body.Expires = cityid.TimeOf(time.Now().Add(w.lifetime))
		return nil, nil
	}
	c, err := w.connect()
	if err != nil {
		return nil, err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	if w.chain != "" && w.chain != s.Chain {
		return nil, exitError{exitConflict, fmt.Errorf("the node keeps chain %s, not %s", s.Chain, w.chain)}
	}
	body.Chain = s.Chain
	// A block's time may run ahead of the last one by the heartbeat.
	body.Expires = cityid.TimeOf(latest(s.Time, time.Now()).Add(w.lifetime))
	if limit := cityid.TimeOf(s.Time.Add(maxLifetime)); body.Expires > limit {
		body.Expires = limit
	}
	return c, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// saveTx writes the transaction with the signatures of --key, open for those of
// --signer.
func (w *writing) saveTx(ctx context.Context, body cityid.Body) error {
	t := &txFile{Version: 1}
	mine, err := w.flags.signers(ctx, w.keys, &w.secrets)
	if err != nil {
		return err
	}
	for _, s := range mine {
		body.Signers = append(body.Signers, s.Key)
	}
	for _, text := range w.others {
		k, err := w.publicKey(text)
		if err != nil {
			return err
		}
		body.Signers = append(body.Signers, k)
	}
	slices.Sort(body.Signers)
	body.Signers = slices.Compact(body.Signers)
	if err := body.Check(); err != nil {
		return err
	}
	t.Body = cityid.MustMarshal(&body)
	if err := t.Signatures.sign(cityid.SigningDigest(t.Body), mine...); err != nil {
		return err
	}
	if err := w.writeTo(w.save, t.encode()); err != nil {
		return err
	}
	w.talk("transaction saved to %s, signed by %d of %d; it can be recorded until %s", w.save, len(t.Signatures), len(body.Signers), body.Expires)
	w.talk("  each signer: cityid tx sign %s --key NAME; then: cityid tx submit %s", w.save, w.save)
	return nil
}

func receiptTable(r *cityid.Receipt) *table {
	var proposals []string
	for _, n := range r.Proposals {
		proposals = append(proposals, fmt.Sprint(n))
	}
	return fields(r, "transaction", r.ID.String(), "result", r.Code.String(), "height", fmt.Sprint(r.Height),
		"time", r.Time.String(), "proposal", strings.Join(proposals, ", "), "provable", yesNo(r.Provable))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "not yet"
}

func txNew(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one file of operations, or - for standard input")
		}
		b, err := readBounded(ctx, args[0], maxTxFile)
		if err != nil {
			return err
		}
		var ops []cityid.Operation
		if err := strictJSON(b, &ops); err != nil {
			return fmt.Errorf("%s: want a JSON array of operations: %w", args[0], err)
		}
		return w.submit(ctx, ops...)
	}
}

func txShow(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one transaction file")
		}
		t, body, err := readTxFile(ctx, args[0])
		if err != nil {
			return err
		}
		d := cityid.SigningDigest(t.Body)
		id := (&cityid.Tx{Body: t.Body}).ID()
		if f.format == "json" || f.format == "jsonl" {
			return f.print(fields(struct {
				ID     cityid.Digest `json:"id"`
				Digest cityid.Digest `json:"digest"`
				Body   *cityid.Body  `json:"body"`
				Signed int           `json:"signed"`
			}{id, d, body, len(t.Signatures)}))
		}
		out := fields(body, "transaction", id.String(), "to sign", d.String(), "chain", body.Chain, "until", body.Expires.String(), "memo", body.Memo)
		for i := range body.Operations {
			for _, line := range describe.Operation(f.lang, &body.Operations[i]) {
				out.rows = append(out.rows, []string{fmt.Sprintf("operation %d", i), line.String()})
			}
		}
		for _, k := range body.Signers {
			state := "has not signed"
			if _, ok := t.Signatures.find(k); ok {
				state = "has signed"
			}
			out.rows = append(out.rows, []string{"signer", k.String() + " " + state}, []string{"", describe.Key(f.lang, k)})
		}
		return f.print(out)
	}
}

func txSign(f *flags) func(context.Context, []string) error {
	var s secrets
	s.flags(f)
	var names list
	f.Var(&names, "key", "sign with this key (`name` or file)")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || len(names) == 0 {
			return usagef("want one transaction file and --key NAME")
		}
		t, body, err := readTxFile(ctx, args[0])
		if err != nil {
			return err
		}
		signers, err := f.signers(ctx, names, &s)
		if err != nil {
			return err
		}
		for i, k := range signers {
			if !slices.Contains(body.Signers, k.Key) {
				return exitError{exitNotPermitted, fmt.Errorf("key %s is not among the signers of this transaction", names[i])}
			}
		}
		if err := t.Signatures.sign(cityid.SigningDigest(t.Body), signers...); err != nil {
			return err
		}
		if f.out == "" {
			f.out = args[0]
		}
		if err := f.write(t.encode()); err != nil {
			return err
		}
		f.talk("%s is signed by %d of %d", f.out, len(t.Signatures), len(body.Signers))
		return nil
	}
}

func txCombine(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) < 2 {
			return usagef("want two or more copies of one transaction file")
		}
		all, body, err := readTxFile(ctx, args[0])
		if err != nil {
			return err
		}
		for _, path := range args[1:] {
			t, _, err := readTxFile(ctx, path)
			if err != nil {
				return err
			}
			if string(t.Body) != string(all.Body) {
				return exitError{exitConflict, fmt.Errorf("%s and %s are different transactions", args[0], path)}
			}
			for _, s := range t.Signatures {
				all.Signatures.add(s)
			}
		}
		f.talk("signed by %d of %d", len(all.Signatures), len(body.Signers))
		return f.write(all.encode())
	}
}

func txSubmit(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one transaction file")
		}
		t, body, err := readTxFile(ctx, args[0])
		if err != nil {
			return err
		}
		tx, err := t.assemble(body)
		if err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		r, err := submitTx(ctx, c, tx)
		if err != nil {
			return err
		}
		return f.print(receiptTable(r))
	}
}
