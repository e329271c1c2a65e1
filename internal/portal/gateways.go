// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/internal/ledger"
)

// Gateways is where pages read what cities share, by the code of the party for
// which a gateway acts. Its methods may be called from several goroutines at once;
// the callers own what they return. A gateway that does not answer, or answers what
// can not be, is a [*GatewayError]; other refusals have a [cityid.ErrorCode] in their
// chain, [cityid.ErrNotFound] where no gateway of the party is known.
//
// Whatever is returned has been checked: it is within bounds, in order, and numbers
// are numbers. It need not be true.
type Gateways interface {
	Parties() []cityid.Code // whose gateways are known, in order
	Status(ctx context.Context, party cityid.Code) (*GatewayStatus, error)
	Latest(ctx context.Context, party cityid.Code, q LineQuery) (*Latest, error)
	Series(ctx context.Context, party cityid.Code, q LineQuery) (*Series, error)
	Replay(ctx context.Context, party cityid.Code, minute cityid.Time, q LineQuery) (*Replay, error)
	Evidence(ctx context.Context, party cityid.Code, entry cityid.Digest) ([]byte, error)

	// EvidenceUnder is Evidence of a fetch under an agreement;
	// [cityid.ErrNotFound] if it was under another.
	EvidenceUnder(ctx context.Context, party cityid.Code, agreement, entry cityid.Digest) ([]byte, error)
	// Log returns part of the access log of an agreement.
	Log(ctx context.Context, party cityid.Code, q ledger.AccessQuery) (*ledger.AccessPage, error)
	// Purpose returns the age file that came with a request;
	// [cityid.ErrNotFound] if none did.
	Purpose(ctx context.Context, party cityid.Code, agreement cityid.Digest) ([]byte, error)
	// SendPurpose hands an age file over for the gateway of whoever holds the
	// dataset of a request that waits. Sending one again does no harm: the first
	// counts.
	SendPurpose(ctx context.Context, party cityid.Code, agreement cityid.Digest, envelope []byte) error
}

// gatewayOf returns the first of some codes whose gateway is known.
func (p *portal) gatewayOf(codes ...cityid.Code) (cityid.Code, bool) {
	if p.Gateways == nil {
		return cityid.Code{}, false
	}
	known := p.Gateways.Parties()
	i := slices.IndexFunc(codes, func(c cityid.Code) bool { return slices.Contains(known, c) })
	if i < 0 {
		return cityid.Code{}, false
	}
	return codes[i], true
}

// GatewayError says that a city's gateway is of no use now.
type GatewayError struct {
	Party cityid.Code
	Lies  bool  // it answers, but not what can be
	Cause error // may name addresses inside: for the log, unless it lies
}

// Error says which gateway it is, and what is wrong with its answer. Why it does not
// answer is left to the log.
func (e *GatewayError) Error() string {
	if e.Lies {
		return fmt.Sprintf("the gateway of %s answers something that can not be: %v", e.Party, e.Cause)
	}
	return fmt.Sprintf("the gateway of %s does not answer", e.Party)
}

// Unwrap returns [cityid.ErrUnavailable] and the cause.
func (e *GatewayError) Unwrap() []error { return []error{cityid.ErrUnavailable, e.Cause} }

// GatewayStatus says how a gateway is.
type GatewayStatus struct {
	Party    cityid.Code      `json:"party"`
	Log      string           `json:"log"`
	URL      string           `json:"url"`
	Key      cityid.PublicKey `json:"key"`
	Datasets []cityid.Code    `json:"datasets"`
	Counts   ledger.Stats     `json:"counts"`
	Public   bool             `json:"public"` // everybody may read what its feeds bring
}

// LineQuery chooses series. Zero fields choose all.
type LineQuery struct {
	Dataset   cityid.Code
	Indicator string
	Source    cityid.Code
	From, To  cityid.Time // To is excluded; both 0: all
	Points    int         // of each line at most, 1 to 2000
	Combine   bool        // one line of all sources of an indicator and unit
}

// Series is a number of lines, and how far the feeds were followed that bring them.
type Series struct {
	Lines []Line        `json:"lines"`
	Feeds []GatewayFeed `json:"feeds"`
	Now   time.Time     `json:"now"` // by the gateway's clock
}

// Line is a series of observations in order of time.
type Line struct {
	Dataset   cityid.Code `json:"dataset"`
	Indicator string      `json:"indicator"`
	Source    cityid.Code `json:"source,omitzero"` // zero: not said, or several
	Sources   int         `json:"sources"`
	Unit      string      `json:"unit,omitempty"` // UCUM
	First     cityid.Time `json:"first"`
	Last      cityid.Time `json:"last"`
	Points    []LinePoint `json:"points"`
}

// LinePoint is an observation, or what several come to.
type LinePoint struct {
	Time  cityid.Time   `json:"time"`            // of the last of them
	Value string        `json:"value,omitempty"` // of the last of them, a decimal as it came; "": of several sources
	Mean  float64       `json:"mean"`
	Min   float64       `json:"min"`
	Max   float64       `json:"max"`
	Count int           `json:"count"`          // 1: one observation
	Entry cityid.Digest `json:"entry,omitzero"` // of the fetch that brought the last of them
}

// GatewayFeed is how far a feed was followed.
type GatewayFeed struct {
	Agreement cityid.Digest `json:"agreement"`
	Dataset   cityid.Code   `json:"dataset,omitzero"` // zero: not known yet
	Path      string        `json:"path"`
	Events    uint64        `json:"events"`
	Changed   time.Time     `json:"changed,omitzero"` // when it last brought something
	Every     string        `json:"every"`
	Failed    string        `json:"failed,omitempty"` // why the last fetch brought nothing
	Since     time.Time     `json:"since,omitzero"`   // when that began
}

// Latest is the latest observation of each series.
type Latest struct {
	Observations []Observed    `json:"observations"`
	Feeds        []GatewayFeed `json:"feeds"`
	Now          time.Time     `json:"now"`
}

// Observed is one observation.
type Observed struct {
	Dataset   cityid.Code   `json:"dataset"`
	Indicator string        `json:"indicator"`
	Source    cityid.Code   `json:"source,omitzero"`
	Unit      string        `json:"unit,omitempty"`
	Time      cityid.Time   `json:"time"`
	Value     string        `json:"value"`              // a decimal as it came
	Entry     cityid.Digest `json:"entry,omitzero"`     // of the fetch that brought it; zero: erased
	Replaced  bool          `json:"replaced,omitempty"` // by a later correction
}

// Replay is one minute of what feeds brought, with the fetches that did.
type Replay struct {
	Minute       time.Time       `json:"minute"`
	Observations []Observed      `json:"observations"`
	More         bool            `json:"more,omitempty"` // there are others
	Fetches      []ReplayedFetch `json:"fetches"`
	Now          time.Time       `json:"now"`
}

// ReplayedFetch is a fetch with its receipt, and where either side has anchored it.
type ReplayedFetch struct {
	Entry        cityid.Digest  `json:"entry"`
	Agreement    cityid.Digest  `json:"agreement"`
	Provider     cityid.Code    `json:"provider"`
	Receipt      ledger.Receipt `json:"receipt"`
	Acknowledged bool           `json:"acknowledged"`
	Anchored     cityid.Time    `json:"anchored,omitzero"`    // by the consumer; 0: not yet
	Batch        uint64         `json:"batch,omitempty"`      // of the consumer's log
	PeerLog      string         `json:"peer_log,omitempty"`   // of the provider; "": it was not asked, or had not anchored it yet
	PeerBatch    uint64         `json:"peer_batch,omitempty"` // of that log
}

// Bounds of what a gateway may answer.
const (
	maxGatewayAnswer = 16 << 20 // octets
	maxEvidence      = 8 << 20
	maxLines         = 10_000
	maxLinePoints    = 2000
	maxFeeds         = 1000
	maxReplayed      = 10_000
	maxIndicator     = 64
	maxUnit          = 64
	maxDecimal       = 40
)

var (
	decimalText   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)
	indicatorText = regexp.MustCompile(`^[A-Za-z0-9:.-]{1,64}$`)
	unitText      = regexp.MustCompile(`^[!-~]{0,64}$`)
)

// checkSubject checks what a series is of.
func checkSubject(dataset cityid.Code, indicator, unit string) error {
	switch {
	case dataset.IsZero():
		return errors.New("no dataset is named")
	case !indicatorText.MatchString(indicator):
		return fmt.Errorf("indicator %.80q: want 1 to %d letters, digits, colons, points and hyphens", indicator, maxIndicator)
	case !unitText.MatchString(unit):
		return fmt.Errorf("unit %.80q: want at most %d visible ASCII characters", unit, maxUnit)
	}
	return nil
}

func checkDecimal(s string) error {
	if len(s) > maxDecimal || !decimalText.MatchString(s) {
		return fmt.Errorf("value %.60q: want a decimal number of at most %d characters", s, maxDecimal)
	}
	return nil
}

func checkTime(t cityid.Time) error {
	if t <= 0 || !t.Valid() {
		return fmt.Errorf("time %d: want a second of the years 1970 to 9999", int64(t))
	}
	return nil
}

func (o *Observed) check() error {
	return errors.Join(checkSubject(o.Dataset, o.Indicator, o.Unit), checkTime(o.Time), checkDecimal(o.Value))
}

func (f *GatewayFeed) check() error {
	_, err := time.ParseDuration(f.Every)
	switch {
	case f.Agreement.IsZero() || !strings.HasPrefix(f.Path, "/") || len(f.Path) > 2048 || len(f.Failed) > 8192 || err != nil:
		return errors.New("a feed without an agreement, path or period, or with too long a text")
	case f.Failed != "" && f.Since.IsZero():
		return errors.New("a feed that fails since no time")
	}
	return nil
}

func checkFeeds(feeds []GatewayFeed) error {
	if len(feeds) > maxFeeds {
		return fmt.Errorf("%d feeds: at most %d", len(feeds), maxFeeds)
	}
	for i := range feeds {
		if err := feeds[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *GatewayStatus) check(party cityid.Code) error {
	if s.Party != party {
		return fmt.Errorf("it acts for %.130q", s.Party)
	}
	return nil
}

// chosen checks that an answer is about what was asked for.
func (q *LineQuery) chosen(dataset cityid.Code, indicator string, source cityid.Code) error {
	if !q.Dataset.IsZero() && dataset != q.Dataset || q.Indicator != "" && indicator != q.Indicator || !q.Source.IsZero() && !q.Combine && source != q.Source {
		return fmt.Errorf("%s %s of %s was not asked for", dataset, indicator, source)
	}
	return nil
}

// subject names a series.
type subject struct {
	dataset         cityid.Code
	indicator, unit string
	source          cityid.Code
}

func (l *Latest) check(q *LineQuery) error {
	if len(l.Observations) > maxLines {
		return fmt.Errorf("%d series: at most %d", len(l.Observations), maxLines)
	}
	seen := map[subject]bool{}
	for i := range l.Observations {
		o := &l.Observations[i]
		k := subject{o.Dataset, o.Indicator, o.Unit, o.Source}
		if seen[k] {
			return fmt.Errorf("%s of %s stands twice", o.Indicator, o.Source)
		}
		seen[k] = true
		if err := errors.Join(o.check(), q.chosen(o.Dataset, o.Indicator, o.Source)); err != nil {
			return err
		}
	}
	return checkFeeds(l.Feeds)
}

func (s *Series) check(q *LineQuery) error {
	if len(s.Lines) > maxLines {
		return fmt.Errorf("%d lines: at most %d", len(s.Lines), maxLines)
	}
	seen := map[subject]bool{}
	for i := range s.Lines {
		l := &s.Lines[i]
		k := subject{l.Dataset, l.Indicator, l.Unit, l.Source}
		if seen[k] {
			return fmt.Errorf("%s of %s stands twice", l.Indicator, l.Source)
		}
		seen[k] = true
		if err := errors.Join(l.check(q), q.chosen(l.Dataset, l.Indicator, l.Source)); err != nil {
			return err
		}
	}
	return checkFeeds(s.Feeds)
}

func (l *Line) check(q *LineQuery) error {
	if err := checkSubject(l.Dataset, l.Indicator, l.Unit); err != nil {
		return err
	}
	if len(l.Points) > q.Points || l.Sources < 1 || l.Sources > 1 && (!q.Combine || !l.Source.IsZero()) {
		return fmt.Errorf("a line of %d sources with %d points: at most %d points were asked for", l.Sources, len(l.Points), q.Points)
	}
	for i := range l.Points {
		p := &l.Points[i]
		switch err := p.check(); {
		case err != nil:
			return err
		case p.Time < q.From || q.To != 0 && p.Time >= q.To || i > 0 && p.Time <= l.Points[i-1].Time:
			return fmt.Errorf("a point of %s is out of order, or of a time that was not asked for", p.Time)
		case (p.Value == "") != (q.Combine):
			return errors.New("a point with a value where several sources are combined, or without one")
		}
	}
	return nil
}

func (p *LinePoint) check() error {
	if err := checkTime(p.Time); err != nil {
		return err
	}
	if p.Value != "" {
		if err := checkDecimal(p.Value); err != nil {
			return err
		}
	}
	slack := math.Max(math.Abs(p.Min), math.Abs(p.Max)) * 1e-9 // what rounding a mean may add
	if p.Count < 1 || math.IsInf(p.Mean, 0) || !(p.Min <= p.Max) || p.Mean < p.Min-slack || p.Mean > p.Max+slack {
		return fmt.Errorf("a point of %d observations with the mean %g between %g and %g", p.Count, p.Mean, p.Min, p.Max)
	}
	return nil
}

func (r *Replay) check(minute cityid.Time, q *LineQuery) error {
	if cityid.TimeOf(r.Minute) != minute || len(r.Observations) > maxReplayed || len(r.Fetches) > maxReplayed {
		return errors.New("it is of another minute, or of too much")
	}
	known := map[cityid.Digest]bool{}
	for i := range r.Fetches {
		f := &r.Fetches[i]
		if err := f.Receipt.Check(); err != nil {
			return err
		}
		if f.Entry.IsZero() || known[f.Entry] || len(f.PeerLog) > cityid.MaxLogName || !f.Anchored.Valid() {
			return errors.New("a fetch without an entry, or twice")
		}
		known[f.Entry] = true
	}
	for i := range r.Observations {
		o := &r.Observations[i]
		if err := errors.Join(o.check(), q.chosen(o.Dataset, o.Indicator, o.Source)); err != nil {
			return err
		}
		if o.Time < minute || o.Time >= minute+60 {
			return fmt.Errorf("an observation of %s", o.Time)
		}
	}
	return nil
}
