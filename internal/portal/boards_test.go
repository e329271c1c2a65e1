// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
)

func testBoards(t *testing.T) *boards {
	return newBoards(answering(t, func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler))
}

// TestRemember asks once for all who want to know, and again when it is time.
func TestRemember(t *testing.T) {
	b := testBoards(t)
	asked, release := 0, make(chan struct{})
	ask := func(keep time.Duration, err error) (int, error) {
		return remember(t.Context(), b, gatewayCity, "question", func(context.Context) (int, int, time.Duration, error) {
			<-release
			asked++
			return asked, 0, keep, err
		})
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if v, err := ask(time.Hour, nil); v != 1 || err != nil {
				t.Errorf("%d %v", v, err)
			}
		})
	}
	close(release)
	all.Wait()
	if v, err := ask(time.Hour, nil); v != 1 || err != nil || asked != 1 {
		t.Errorf("%d %v, asked %d times", v, err, asked)
	}
	b.mu.Lock()
	b.answers[gatewayCity.String()+" question"].until = time.Now().Add(-time.Second)
	b.mu.Unlock()
	failure := errors.New("no")
	if _, err := ask(time.Hour, failure); !errors.Is(err, failure) || asked != 2 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	if _, err := ask(time.Hour, nil); !errors.Is(err, failure) || asked != 2 {
		t.Errorf("a gateway that fails is asked again at once: %v", err)
	}
	// Whoever does not wait gets nothing, and the others their answer.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := remember(ctx, b, gatewayCity, "slow", func(ctx context.Context) (int, int, time.Duration, error) { return 7, 0, time.Hour, ctx.Err() })
	if v, err2 := remember(t.Context(), b, gatewayCity, "slow", func(context.Context) (int, int, time.Duration, error) { return 8, 0, time.Hour, nil }); v != 7 || err2 != nil {
		t.Errorf("%d %v after %v", v, err2, err)
	}
}

// TestRememberBounds keeps no more than it may, and lets no more wait.
func TestRememberBounds(t *testing.T) {
	b := testBoards(t)
	for i := range 3 * maxAnswers {
		size := 0
		if i%5 == 0 {
			size = maxRemembered / 10
		}
		if v, err := remember(t.Context(), b, gatewayCity, fmt.Sprint(i), func(context.Context) (int, int, time.Duration, error) { return i, size, time.Hour, nil }); v != i || err != nil {
			t.Fatal(v, err)
		}
		sum := 0
		b.mu.Lock()
		for _, a := range b.answers {
			sum += a.size
		}
		if b.size != sum || sum > maxRemembered || len(b.answers) > maxAnswers {
			t.Fatalf("%d answers of %d octets, counted %d", len(b.answers), sum, b.size)
		}
		b.mu.Unlock()
	}
	if v, err := remember(t.Context(), b, gatewayCity, "huge", func(context.Context) (int, int, time.Duration, error) { return 1, maxRemembered / 2, time.Hour, nil }); v != 1 || err != nil {
		t.Error(v, err)
	}
	b.mu.Lock()
	if n := len(b.answers); n < 5 || b.answers[gatewayCity.String()+" huge"] != nil {
		t.Errorf("a huge answer is kept instead of others: %d are left", n)
	}
	b.mu.Unlock()
	release := make(chan struct{})
	var all sync.WaitGroup
	for i := range askedWaiting {
		all.Go(func() {
			_, _ = remember(t.Context(), b, gatewayCity, fmt.Sprint("w", i), func(context.Context) (int, int, time.Duration, error) { <-release; return 1, 0, time.Hour, nil })
		})
	}
	for waiting := 0; waiting < askedWaiting; {
		b.mu.Lock()
		waiting = b.asked[gatewayCity].waiting
		b.mu.Unlock()
	}
	if _, err := remember(t.Context(), b, gatewayCity, "one more", func(context.Context) (int, int, time.Duration, error) { return 1, 0, time.Hour, nil }); !errors.Is(err, cityid.ErrFull) {
		t.Errorf("%v", err)
	}
	close(release)
	all.Wait()
}

func TestAggregate(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   aggregate
	}{
		{nil, aggregate{}},
		{[]string{"1.5"}, aggregate{1, "1.5", "1.5", "1.5"}},
		{[]string{"1", "2.50", "-3"}, aggregate{3, "0.17", "-3.00", "2.50"}},
		{[]string{"0.1", "-0.1"}, aggregate{2, "0.0", "-0.1", "0.1"}},
		{[]string{"-0.1", "0.0", "0.0", "0.0"}, aggregate{4, "0.0", "-0.1", "0.0"}},
		{[]string{"1", strings.Repeat("9", 40)}, aggregate{2, "5.000e+39", "1", "1.000e+40"}},
		{[]string{"1.123456789", "1.123456789"}, aggregate{2, "1.123457", "1.123457", "1.123457"}},
	} {
		if got := aggregateOf(c.values); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.values, got, c.want)
		}
	}
}

func TestCompareNumbers(t *testing.T) {
	list := []string{"37122:2019:5.1", "37120:2018:8.10", "37120:2018:8.2", "37120:2018:23.4", "37120:2018:8", "x"}
	slices.SortFunc(list, compareNumbers)
	if got := strings.Join(list, " "); got != "x 37120:2018:8 37120:2018:8.2 37120:2018:8.10 37120:2018:23.4 37122:2019:5.1" {
		t.Error(got)
	}
}

func TestCityOf(t *testing.T) {
	for code, want := range map[string]string{
		"MA.156.1301.02/30.990101/LAMPS": "MA.156.1301", "MA.156.1301.02.03": "MA.156.1301", "MA.156.12": "MA.156.12", "MA.156": "MA.156", "MA": "MA",
	} {
		if got := cityOf(cityid.MustParse(code)); got.String() != want {
			t.Errorf("%s lies in %s, want %s", code, got, want)
		}
	}
}

// TestStation lets the first station that is not late stand for a stream.
func TestStation(t *testing.T) {
	code := func(n int) cityid.Code { return cityid.MustParse(fmt.Sprintf("MA.156.1301/30.080001/%06d", n)) }
	s := &stream{Words: indicatorWords{Period: 60}, Latest: []*Observed{
		{Source: code(1), Time: 1000}, {Source: code(2), Time: 1900}, {Source: code(3), Time: 1960}, {Source: code(4), Time: 1200},
	}}
	for _, c := range []struct {
		source cityid.Code
		now    cityid.Time
		want   int
	}{{cityid.Code{}, 2000, 2}, {cityid.Code{}, 1100, 1}, {cityid.Code{}, 9000, 3}, {code(4), 2000, 4}, {code(9), 2000, 2}} {
		if got := s.station(c.source, c.now); got.Source != code(c.want) {
			t.Errorf("%s at %d: %s", c.source, c.now, got.Source)
		}
	}
}

// TestLineOf breaks lines where something is missing, whatever the width of a point.
func TestLineOf(t *testing.T) {
	line := func(count int, times ...cityid.Time) *Line {
		l := &Line{}
		for _, at := range times {
			l.Points = append(l.Points, LinePoint{Time: at, Count: count})
		}
		return l
	}
	for _, c := range []struct {
		line          *Line
		period, width cityid.Time
		runs          int
	}{
		{line(1, 60, 120, 180), 60, 300, 1},
		{line(1, 60, 180, 240), 60, 300, 2},             // one is missing
		{line(5, 290, 600, 890, 1200), 60, 300, 1},      // stretches of five
		{line(5, 290, 600, 1200, 1500), 60, 300, 2},     // a stretch is missing
		{line(1, 86400, 172800, 345600), 86400, 300, 2}, // days
		{line(3), 60, 300, 0},
	} {
		l := lineOf(c.line, c.period, c.width)
		if got := len(l.runs()); got != c.runs {
			t.Errorf("%+v: %d runs, want %d", c.line.Points, got, c.runs)
		}
	}
	if got := usualInterval(line(5, 0, 300, 600, 900)); got != 900/19 {
		t.Errorf("usual interval %d", got)
	}
	if got := usualInterval(line(1, 60)); got != 86400 {
		t.Errorf("usual interval of one %d", got)
	}
}
