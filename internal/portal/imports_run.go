// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// An import is carried out by a goroutine of the portal that holds no key: for
// each batch it makes the transaction, and waits until the browser of the
// officer who began it has brought the signature. Nobody asking for a while ends
// it, as does closing the portal; it goes on from its checkpoint when the officer
// presses the button again.
const (
	importPatience = 3 * time.Minute  // how long a batch waits for a browser that no longer asks
	importBodyLife = txTime / 2       // how long a batch waits before it is made anew
	importSave     = 20 * time.Second // how long keeping the outcome may take
)

// importRun is an import under way.
type importRun struct {
	id     string
	key    cityid.PublicKey
	stop   context.CancelCauseFunc
	done   chan struct{}
	total  int // batches
	settle func() (settled int)

	mu       sync.Mutex
	pending  *pendingBatch
	progress bulk.Progress
	asked    time.Time // when a browser last asked
}

// pendingBatch waits for its signature.
type pendingBatch struct {
	body   []byte
	digest cityid.Digest
	id     cityid.Digest // of the transaction
	ops    []cityid.Operation
	signed chan cityid.KeySignature // of one
	taken  bool
}

var (
	errImportStopped = errors.New("stopped by the officer")
	errImportLeft    = errors.New("nobody was there to sign")
	errImportClosed  = errors.New("the portal was closed")
)

// running returns the run of an import, or nil.
func (d *importDesk) running(id string) *importRun {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runs[id]
}

// stopAll ends all imports under way and waits until they have kept how far they
// are.
func (d *importDesk) stopAll() {
	d.mu.Lock()
	runs := slices.Collect(maps.Values(d.runs))
	d.mu.Unlock()
	for _, run := range runs {
		run.stop(errImportClosed)
	}
	for _, run := range runs {
		<-run.done
	}
}

// sign makes the transaction of a batch and waits for its signature.
func (run *importRun) sign(ctx context.Context, source Source, chain string, ops []cityid.Operation) (*cityid.Tx, error) {
	for {
		node, err := source.Status(ctx)
		if err != nil {
			return nil, err
		}
		body := cityid.Body{Chain: chain, Signers: []cityid.PublicKey{run.key}, Operations: ops, Expires: expiry(node)}
		if err := body.Check(); err != nil {
			return nil, err
		}
		raw := cityid.MustMarshal(&body)
		tx := cityid.Tx{Body: raw}
		p := &pendingBatch{body: raw, digest: cityid.SigningDigest(raw), id: tx.ID(), ops: ops, signed: make(chan cityid.KeySignature, 1)}
		run.mu.Lock()
		run.pending = p
		run.mu.Unlock()
		sig, err := run.await(ctx, p)
		run.mu.Lock()
		run.pending = nil
		run.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if len(sig.Signature) > 0 {
			tx.Signatures = []cityid.Bytes{sig.Signature}
			return &tx, nil
		}
	}
}

// await waits for the signature of a batch. It returns none when the batch has
// to be made anew.
func (run *importRun) await(ctx context.Context, p *pendingBatch) (cityid.KeySignature, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	made := time.Now()
	for {
		select {
		case sig := <-p.signed:
			return sig, nil
		case <-ctx.Done():
			return cityid.KeySignature{}, context.Cause(ctx)
		case <-tick.C:
		}
		run.mu.Lock()
		left, old := time.Since(run.asked) > importPatience, time.Since(made) > importBodyLife
		if old && !p.taken {
			p.taken = true // so that no signature comes for it any more
			run.mu.Unlock()
			return cityid.KeySignature{}, nil
		}
		run.mu.Unlock()
		if left {
			return cityid.KeySignature{}, errImportLeft
		}
	}
}

// importRunData is what the page for signing shows.
type importRunData struct {
	*importView
	Running     bool
	Foreign     bool // another key's
	First, Last cityid.Code
	Words       []string
	CLI, CSV    string
	TestKey     string
	Passkey     bool
	Settled     int
	Batches     int
	Rows        int
	Done        int
	Failure     string
}

// importRunPage shows what will be signed, or how far it is.
func (p *portal) importRunPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importJob(r)
	if err != nil {
		return err
	}
	switch {
	case j.Phase == office.ImportDone:
		http.Redirect(w, r, pg.importURL(j.ID, "done"), http.StatusSeeOther)
		return nil
	case j.plan == nil || !j.State.Confirmed:
		http.Redirect(w, r, pg.importURL(j.ID, "rows"), http.StatusSeeOther)
		return nil
	}
	v, err := pg.importView(j, "run")
	if err != nil {
		return err
	}
	d := &importRunData{
		importView: v, Running: j.run != nil, Foreign: j.run != nil && j.run.key != pg.Key(), CLI: j.command(p.Origin), CSV: j.csvName(),
		TestKey: pg.testKeyName(pg.Key()), Passkey: pg.Key().RPID() != "", Batches: len(j.plan.Batches), Rows: j.plan.Rows,
	}
	d.First, d.Last = planEnds(j.plan)
	if d.Words, err = pg.planWords(j); err != nil {
		return err
	}
	if j.State.Result != nil {
		d.Done = j.State.Result.Allocated + j.State.Result.Existing + j.State.Result.Refused
	}
	return pg.render(w, r, http.StatusOK, "imports_run", d)
}

// planWords says what the batches do.
func (pg *page) planWords(j *importJob) ([]string, error) {
	kinds := map[cityid.Kind]int{}
	reserved, located, aliases := 0, 0, 0
	for _, b := range j.plan.Batches {
		for i := range b.Items {
			a := &b.Items[i].Allocation
			if b.Items[i].Line == 0 {
				continue
			}
			kinds[a.Kind]++
			if a.Reserved {
				reserved++
			}
			if a.Content.Location != nil {
				located++
			}
			aliases += len(a.Aliases)
		}
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, pg.N("imports.words.kind", kinds[k], pg.Kind(k), j.Parent))
	}
	first, last := planEnds(j.plan)
	out = append(out, pg.T("imports.words.ends", first, last))
	missing, err := pg.missingClasses(j.plan)
	if err != nil {
		return nil, err
	}
	if n := len(missing); n > 0 {
		out = append(out, pg.N("imports.words.classes", n, joinCodes(missing)))
	}
	for _, x := range []struct {
		key string
		n   int
	}{
		{"imports.words.located", located}, {"imports.words.aliases", aliases}, {"imports.words.reserved", reserved}, {"imports.words.sealed", len(j.plan.Sealed)},
	} {
		if x.n > 0 {
			out = append(out, pg.N(x.key, x.n))
		}
	}
	return out, nil
}

// missingClasses returns the classes a plan adds that are not allocated yet.
func (pg *page) missingClasses(p *bulk.Plan) ([]cityid.Code, error) {
	var out []cityid.Code
	for _, c := range p.Classes {
		there, err := pg.allocated(c)
		if err != nil {
			return nil, err
		}
		if !there {
			out = append(out, c)
		}
	}
	return out, nil
}

func joinCodes(list []cityid.Code) string {
	text := ""
	for i, c := range list {
		if i > 0 {
			text += ", "
		}
		if i == 10 {
			return text + "…"
		}
		text += c.String()
	}
	return text
}

// importStart begins or resumes an import for the key that is signed in.
func (p *portal) importStart(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importJob(r)
	if err != nil {
		return err
	}
	var x struct {
		Plan cityid.Digest `json:"plan"`
	}
	if err := readJSON(w, r, maxReply, &x); err != nil {
		return err
	}
	switch {
	case j.Phase == office.ImportDone:
		return pg.json(w, r, map[string]string{"next": pg.importURL(j.ID, "done")})
	case j.plan == nil || !j.State.Confirmed:
		return cityid.Errorf(cityid.ErrConflict, "the table has problems: nothing can be allocated yet")
	case x.Plan != j.plan.Digest:
		return cityid.Errorf(cityid.ErrConflict, "the table was changed meanwhile: load the page again and look at it once more")
	case j.Phase == office.ImportRunning && j.State.Plan != j.plan.Digest:
		return cityid.Errorf(cityid.ErrConflict, "the import began with another plan, since the registry's rule has changed: stop here, and hand in the rest as a new table")
	}
	node, err := p.Source.Status(r.Context())
	if err != nil {
		return err
	}
	if err := pg.keepSealed(j.plan); err != nil {
		return err
	}
	folder, err := p.Office.ImportFolder(j.ID)
	if err != nil {
		return err
	}
	p.imports.mu.Lock()
	defer p.imports.mu.Unlock()
	if run := p.imports.runs[j.ID]; run != nil {
		if run.key != pg.Key() {
			return cityid.Errorf(cityid.ErrConflict, "another officer is signing this import now")
		}
		return pg.json(w, r, map[string]string{})
	}
	cp, err := bulk.OpenCheckpoint(filepath.Join(folder, "checkpoint"), j.plan, node.Chain)
	if err != nil {
		return err
	}
	j.State.Plan, j.State.Signer = j.plan.Digest, pg.Key()
	if err := pg.saveImport(j, office.ImportRunning); err != nil {
		return errors.Join(err, cp.Close())
	}
	p.imports.keepLocked(cachedImport{j.ID, j.Revision, j.importWork})
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	run := &importRun{id: j.ID, key: pg.Key(), stop: cancel, done: make(chan struct{}), total: len(j.plan.Batches), asked: time.Now()}
	run.progress.Total = j.plan.Rows
	plan := j.plan
	run.settle = func() int {
		n := 0
		for i := range plan.Batches {
			if _, settled := cp.Batch(i); settled != nil {
				n++
			}
		}
		return n
	}
	p.imports.runs[j.ID] = run
	delete(p.imports.failed, j.ID)
	go p.carryOut(ctx, run, j, cp, node.Chain)
	return pg.json(w, r, map[string]string{})
}

// keepLocked is keep for a caller who holds mu.
func (d *importDesk) keepLocked(c cachedImport) {
	for i := range d.recent {
		if d.recent[i].id == c.id {
			d.recent[i] = c
			return
		}
	}
}

// keepSealed keeps the contents of sealed rows before the chain holds only their
// digests.
func (pg *page) keepSealed(plan *bulk.Plan) error {
	for some := range slices.Chunk(plan.Sealed, 500) {
		if err := pg.Office.PutSealed(pg.ctx, some...); err != nil {
			return err
		}
	}
	return nil
}

// carryOut runs an import to its end, and keeps what became of it.
func (p *portal) carryOut(ctx context.Context, run *importRun, j *importJob, cp *bulk.Checkpoint, chain string) {
	defer close(run.done)
	sign := func(ops []cityid.Operation) (*cityid.Tx, error) { return run.sign(ctx, p.Source, chain, ops) }
	result, err := bulk.Run(ctx, j.plan, cp, p.Source, sign, bulk.RunOptions{InFlight: 1, Progress: func(x bulk.Progress) {
		run.mu.Lock()
		run.progress = x
		run.mu.Unlock()
	}})
	err = errors.Join(err, cp.Close())
	run.stop(nil)
	phase := office.ImportRunning
	res := &importResult{Rows: result.Rows, Allocated: result.Allocated, Existing: result.Existing, Refused: len(result.Failed), Complete: err == nil && result.Complete()}
	res.First, res.Last = planEnds(j.plan)
	res.Failed = append(result.Classes, result.Failed...)
	if len(res.Failed) > importsKept {
		res.Failed = res.Failed[:importsKept]
	}
	if res.Complete {
		phase = office.ImportDone
	}
	j.State.Result = res
	if err != nil {
		p.Log.Info("import stopped", "import", j.ID, "error", err)
	}
	b, merr := json.Marshal(&j.State)
	if merr == nil {
		save, cancel := context.WithTimeout(context.WithoutCancel(ctx), importSave)
		_, merr = p.Office.SaveImport(save, j.ID, j.Revision, phase, b)
		cancel()
	}
	if merr != nil && !errors.Is(merr, office.ErrNotFound) {
		p.Log.Error("the outcome of an import was not kept; run it again", "import", j.ID, "error", merr)
	}
	p.imports.mu.Lock()
	delete(p.imports.runs, j.ID)
	if err != nil {
		p.imports.failed[j.ID] = err
	}
	p.imports.mu.Unlock()
}

// importNext is how far an import is, and what is to be signed next.
type importNext struct {
	State  string        `json:"state"` // "sign", "work", "stopped", "done"
	Digest cityid.Digest `json:"digest,omitzero"`
	Words  string        `json:"words,omitempty"`
	TxID   string        `json:"id,omitempty"`
	Batch  int           `json:"batch"`
	Total  int           `json:"batches"`
	Done   int           `json:"done"`
	Rows   int           `json:"rows"`
	Failed int           `json:"failed"`
	Text   string        `json:"text"`
	Next   string        `json:"next,omitempty"`
}

// importAsk tells the browser what is next. It waits a moment for something to
// tell.
func (p *portal) importAsk(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importHead(r.PathValue("id"))
	if err != nil {
		return err
	}
	if j.run == nil {
		return pg.json(w, r, pg.importIdle(j))
	}
	if j.run.key != pg.Key() {
		return cityid.Errorf(cityid.ErrConflict, "another officer is signing this import now")
	}
	deadline := time.After(1500 * time.Millisecond)
	for {
		j.run.mu.Lock()
		j.run.asked = time.Now()
		pending, progress := j.run.pending, j.run.progress
		if pending != nil && pending.taken {
			pending = nil
		}
		j.run.mu.Unlock()
		n := importNext{State: "work", Total: j.run.total, Done: progress.Done, Rows: progress.Total, Failed: progress.Failed}
		n.Batch = min(j.run.settle()+1, n.Total)
		n.Text = pg.T("imports.run.progress", grouped(n.Done), grouped(n.Rows), n.Batch, n.Total)
		if pending != nil {
			n.State, n.Digest, n.TxID = "sign", pending.digest, pending.id.String()
			n.Words = describe.Summary(pg.Lang, pending.ops)
			return pg.json(w, r, n)
		}
		select {
		case <-j.run.done:
			if j, err = pg.importHead(r.PathValue("id")); err != nil {
				return err
			}
			return pg.json(w, r, pg.importIdle(j))
		case <-deadline:
			return pg.json(w, r, n)
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(40 * time.Millisecond):
		}
	}
}

// importIdle is how far an import is that is not under way.
func (pg *page) importIdle(j *importJob) importNext {
	n := importNext{State: "stopped"}
	if res := j.State.Result; res != nil {
		n.Done, n.Rows, n.Failed = res.Allocated+res.Existing+res.Refused, res.Rows, res.Refused
	}
	if j.Phase == office.ImportDone {
		n.State, n.Next = "done", pg.importURL(j.ID, "done")
		return n
	}
	pg.imports.mu.Lock()
	err := pg.imports.failed[j.ID]
	pg.imports.mu.Unlock()
	n.Text = pg.T("imports.run.stopped")
	switch {
	case errors.Is(err, errImportStopped), err == nil:
	case errors.Is(err, errImportLeft):
		n.Text = pg.T("imports.run.left")
	default:
		n.Text = pg.T("imports.run.failed", pg.refusal(err))
	}
	return n
}

// importSignature takes the signature of the batch that waits for it.
func (p *portal) importSignature(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importHead(r.PathValue("id"))
	if err != nil {
		return err
	}
	var x struct {
		reply
		Digest cityid.Digest `json:"digest"`
	}
	if err := readJSON(w, r, maxReply, &x); err != nil {
		return err
	}
	if j.run == nil || j.run.key != pg.Key() {
		return cityid.Errorf(cityid.ErrConflict, "this import is not under way for your key")
	}
	sig, err := pg.signature(&x.reply, x.Digest)
	if err != nil {
		return err
	}
	if sig.Key != j.run.key {
		return cityid.Errorf(cityid.ErrSignature, "this was signed by another key than the one you have signed in with")
	}
	j.run.mu.Lock()
	defer j.run.mu.Unlock()
	if b := j.run.pending; b == nil || b.taken || b.digest != x.Digest {
		return cityid.Errorf(cityid.ErrConflict, "this batch does not wait for a signature any more")
	}
	j.run.pending.taken = true
	j.run.pending.signed <- sig
	return pg.json(w, r, map[string]string{})
}

// importStop stops an import after what is under way.
func (p *portal) importStop(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importHead(r.PathValue("id"))
	if err != nil {
		return err
	}
	if j.run != nil {
		j.run.stop(errImportStopped)
		select {
		case <-j.run.done:
		case <-r.Context().Done():
		}
	}
	http.Redirect(w, r, pg.importURL(j.ID, "run"), http.StatusSeeOther)
	return nil
}
