// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cityid"
	"cityid/internal/registry"
	"cityid/keys"
	"cityid/verify"
)

// Defaults of a [Relay].
const (
	DefaultRelayInterval = 10 * time.Minute
	DefaultRelayChanges  = 1000
)

// relayPatience bounds one round of a relay.
const relayPatience = 30 * time.Second

// Above is a node of the zone above, as far as a [Relay] asks it: a client has
// these methods.
type Above interface {
	Submitter
	Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error)
}

// Submitter takes transactions, as [Local.Submit] does.
type Submitter interface {
	Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error)
}

// Relay keeps a zone and the one above in step: it brings the zone's latest
// header up as a checkpoint, and what the zone above says of the apex down. Both
// prove themselves, so that a relay needs no right and no trust; several for the
// same zone do no harm, and one that can reach nobody stops nothing.
//
// A checkpoint is brought when Interval has passed since the last one, or after
// Changes transactions, or when the validators have changed. The zone above
// refuses those that come too soon.
type Relay struct {
	Local    *Local
	Above    []Above       // asked in turn until one answers
	Interval time.Duration // 0: DefaultRelayInterval
	Changes  uint64        // blocks with transactions; 0: DefaultRelayChanges
	Logger   *slog.Logger  // nil: slog.Default()
	// Own takes the zone's own transactions; nil: Local. An [Engine] makes a
	// block of them.
	Own Submitter

	mu     sync.Mutex
	status RelayStatus
	signer *cityid.Signer
	warned time.Time
}

// RelayStatus says how a relay is doing.
type RelayStatus struct {
	Zone       cityid.Code        `json:"zone"`       // the one above
	Checkpoint *cityid.Checkpoint `json:"checkpoint"` // the zone's last one, as the zone above has it; nil: not known
	Followed   uint32             `json:"followed"`   // revision of the apex's record up there
	Frozen     bool               `json:"frozen"`
	Tried      time.Time          `json:"tried"` // when a round last ended
	Done       time.Time          `json:"done"`  // when one last ended well
	Err        string             `json:"error,omitempty"`
}

// Late reports whether a third of the trusting period has passed since the last
// checkpoint. When all of it has, nobody can prove anything of the zone until it
// is anchored again.
func (s *RelayStatus) Late(now time.Time) bool {
	return s.Checkpoint != nil && now.Sub(s.Checkpoint.Time.Std()) > verify.DefaultTrustingPeriod/3
}

// Status says how the relay is doing. It is safe for concurrent use.
func (r *Relay) Status() RelayStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *Relay) log() *slog.Logger {
	if r.Logger != nil {
		return r.Logger
	}
	return slog.Default()
}

func (r *Relay) interval() time.Duration {
	if r.Interval > 0 {
		return r.Interval
	}
	return DefaultRelayInterval
}

// Run relays until ctx ends. It looks six times in an interval whether there is
// something to do, and comes again sooner after a failure.
func (r *Relay) Run(ctx context.Context) {
	said, failed := "", 0
	for ctx.Err() == nil {
		pause := r.interval() / 6
		err := r.Round(ctx)
		if failed++; err == nil {
			said, failed = "", 0
		} else {
			pause = min(pause, time.Second<<min(failed, 5))
		}
		// What fails at the start is mostly that there is no block yet, on either side.
		if err != nil && failed > 2 && err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			r.log().Warn("this zone and the one above could not be brought up to date; trying again and again", "error", err)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
		case <-t.C:
		}
	}
}

// Round looks once at both zones and brings to each what it lacks. The error
// says what could not be done; the next round tries again.
func (r *Relay) Round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, relayPatience)
	defer cancel()
	now, err := time.Now(), errors.New("no node of the zone above is given")
	for _, above := range r.Above {
		if err = r.round(ctx, above); err == nil {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Tried, r.status.Err = now, ""
	if err != nil {
		r.status.Err = err.Error()
	} else {
		r.status.Done = now
	}
	if r.status.Late(now) && now.Sub(r.warned) > time.Hour {
		r.warned = now
		r.log().Error("a third of the trusting period has passed since the last checkpoint: when all of it has, nobody can prove anything of this zone until it is anchored again",
			"checkpoint", r.status.Checkpoint.Time.String(), "height", r.status.Checkpoint.Height)
	}
	return err
}

// round does what there is to do through one node of the zone above.
func (r *Relay) round(ctx context.Context, above Above) error {
	up, apex, err := r.Local.upstream()
	if err != nil {
		return err
	}
	record, known, b, err := r.ask(ctx, above, up, apex)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.status.Zone, r.status.Checkpoint, r.status.Followed, r.status.Frozen = up.Zone, &known.Checkpoint, up.Revision, known.Fork != nil
	r.mu.Unlock()
	return errors.Join(r.follow(ctx, up, record, b), r.checkpoint(ctx, above, up, record, known))
}

// ask returns what the zone above says of this one, proven by the header of it
// that was followed last.
func (r *Relay) ask(ctx context.Context, above Above, up *cityid.Upstream, apex cityid.Code) (*cityid.Record, *cityid.Zone, *verify.Bundle, error) {
	ks := [][]byte{cityid.RecordKey(apex), cityid.ZoneKey(apex)}
	data, err := above.Bundle(ctx, cityid.BundleQuery{Code: apex, Kind: cityid.AnswerEntries, Keys: ks, Anchor: &up.Checkpoint.Height})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("ask the zone above: %w", err)
	}
	b, err := verify.Decode(data)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("the zone above answers: %w", err)
	}
	res := verify.CheckUpstream(up, b, verify.Options{Now: r.Local.app.clock(), Kind: cityid.AnswerEntries, Keys: ks, MaxAge: verify.DefaultMaxAgeParents, TrustingPeriod: 100 * verify.DefaultTrustingPeriod})
	if res.Verdict != verify.Valid {
		return nil, nil, nil, fmt.Errorf("the answer of the zone above is %s: %s", res.Verdict, res.Message)
	}
	record, known := new(cityid.Record), new(cityid.Zone)
	for i, v := range []any{record, known} {
		if there, err := res.Entry(ks[i], v); err != nil || !there {
			return nil, nil, nil, errors.Join(cityid.Errorf(cityid.ErrNotFound, "the zone of %s does not delegate %s to chain %s yet: cityid zone delegate", up.Zone, apex, r.Local.app.genesis.Chain), err)
		}
	}
	return record, known, b, nil
}

// follow brings down what the zone above says of the apex, if that is new or was
// heard last a day ago.
func (r *Relay) follow(ctx context.Context, up *cityid.Upstream, record *cityid.Record, b *verify.Bundle) error {
	step := &b.Steps[0]
	var proofs []cityid.Bytes
	if err := cityid.Unmarshal(step.Proof, &proofs); err != nil || len(proofs) != 2 {
		return fmt.Errorf("the answer of the zone above: %w", err)
	}
	if record.Revision <= up.Revision && r.Local.app.clock().Sub(up.Checkpoint.Time.Std()) < 24*time.Hour {
		return nil
	}
	op := cityid.Operation{Follow: &cityid.Follow{
		Descent: cityid.Descent{Validators: step.Validators, Transitions: step.Transitions, Head: step.Head},
		Record:  b.Values[0], Proof: proofs[0],
	}}
	raw, err := r.sign(r.Local.app.genesis.Chain, r.Local.app.clock(), op)
	if err != nil {
		return err
	}
	own := r.Own
	if own == nil {
		own = r.Local
	}
	receipt, err := own.Submit(ctx, raw, true)
	if err == nil {
		err = receipt.Err()
	}
	if late(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("follow revision %d of %s: %w", record.Revision, record.Code, err)
	}
	r.log().Info("followed the zone above", "revision", record.Revision, "status", record.Status.String())
	return nil
}

// checkpoint brings the latest header up, if it is time.
func (r *Relay) checkpoint(ctx context.Context, above Above, up *cityid.Upstream, record *cityid.Record, known *cityid.Zone) error {
	if known.Chain != r.Local.app.genesis.Chain || known.Fork != nil || record.Status == cityid.StatusRetired {
		return nil
	}
	next, op, err := r.Local.Checkpoint(ctx, known.Checkpoint)
	if err != nil || op == nil {
		return err
	}
	last := &known.Checkpoint
	due := next.Time.Std().Sub(last.Time.Std()) >= r.interval() || next.Validators != last.Next || next.Next != last.Next
	if !due {
		n, err := r.Local.busySince(last.Height, r.changes())
		if err != nil || n < r.changes() {
			return err
		}
	}
	raw, err := r.sign(up.Chain, r.Local.app.clock(), cityid.Operation{Checkpoint: op})
	if err != nil {
		return err
	}
	receipt, err := above.Submit(ctx, raw, true)
	if err == nil {
		err = receipt.Err()
	}
	if late(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint of height %d: %w", next.Height, err)
	}
	r.mu.Lock()
	r.status.Checkpoint = next
	r.mu.Unlock()
	r.log().Info("the zone above has a new checkpoint", "height", next.Height)
	return nil
}

func (r *Relay) changes() uint64 {
	if r.Changes > 0 {
		return r.Changes
	}
	return DefaultRelayChanges
}

// late reports whether another relay was first, or this one too soon.
func late(err error) bool {
	switch cityid.CodeOf(err) {
	case cityid.ErrConflict, cityid.ErrRetry, cityid.ErrDelay, cityid.ErrReplayed:
		return true
	}
	return false
}

// sign signs an operation that needs nobody's consent, with a key of the moment.
func (r *Relay) sign(chain string, now time.Time, op cityid.Operation) ([]byte, error) {
	if r.signer == nil {
		k, err := keys.Generate(keys.Ed25519, nil)
		if err != nil {
			return nil, err
		}
		r.signer = &cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
	}
	tx, err := cityid.SignTx(cityid.Body{Chain: chain, Expires: cityid.TimeOf(now.Add(10 * time.Minute)), Operations: []cityid.Operation{op}}, *r.signer)
	if err != nil {
		return nil, err
	}
	return cityid.Marshal(tx)
}

// upstream returns what this zone knows of the one above, and its apex.
func (l *Local) upstream() (up *cityid.Upstream, apex cityid.Code, err error) {
	defer l.app.guardRead(&err)
	v, _, err := l.snapshot()
	if err != nil {
		return nil, apex, err
	}
	defer v.Close()
	if up = registry.Upstream(reader{v}); up == nil {
		return nil, apex, cityid.Errorf(cityid.ErrUnsupported, "this zone has none above: its genesis names none")
	}
	apex, err = apexOf(v)
	return up, apex, err
}

// busySince counts the blocks with transactions after a height, but no further
// than most.
func (l *Local) busySince(height, most uint64) (n uint64, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	for at := h.Height; at > height && n < most; at-- {
		if meta := l.blocks.LoadBlockMeta(int64(at)); meta != nil && meta.NumTxs > 0 {
			n++
		}
	}
	return n, nil
}
