// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/verify"
)

const crashSpec = "CITYID_SHARE_CRASH" // in the environment of the gateway that is killed

// TestMain lets the test binary be a gateway that is killed.
func TestMain(m *testing.M) {
	if spec := os.Getenv(crashSpec); spec != "" {
		fmt.Println("error:", serveUntilKilled(spec))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// spec says which gateway a process is, and when it kills itself.
type spec struct {
	Config share.Config
	Secret []byte // of its key
	Trust  []byte // a cityid.Trust
	Node   string
	Now    time.Time // at its start
	Kill   string
}

// serveUntilKilled is a whole gateway in a process of its own.
func serveUntilKilled(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	var trust cityid.Trust
	if err := cityid.Unmarshal(s.Trust, &trust); err != nil {
		return err
	}
	pinned, err := verify.NewTrustFile(trust)
	if err != nil {
		return err
	}
	key, err := keys.NewPrivate(keys.Ed25519, s.Secret)
	if err != nil {
		return err
	}
	node, err := client.New(s.Node)
	if err != nil {
		return err
	}
	peers, began := web.NewOutward(true, nil), time.Now()
	peers.Transport = &dying{peers.Transport, s.Kill}
	g, err := share.Open(context.Background(), s.Config, share.Parts{
		Trust: pinned, Nodes: []share.Node{node}, Key: key, Peers: peers, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return s.Now.Add(time.Since(began)) },
	})
	if err != nil {
		return err
	}
	for _, side := range []struct {
		name string
		h    http.Handler
	}{{"peer", g.Peer()}, {"local", g.Local()}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		h := web.Wrap(side.h, web.WrapConfig{})
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.Kill == "POST "+r.URL.Path {
				die()
			}
			h.ServeHTTP(&mortal{ResponseWriter: w, kill: s.Kill, path: side.name + " " + r.Method}, r)
		}))
		fmt.Println(l.Addr())
	}
	g.Run(context.Background())
	return errors.New("it came to an end")
}

// die kills the process as nothing else would.
func die() {
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

// mortal kills the process before the header of an answer leaves, or after a part of
// its body has.
type mortal struct {
	http.ResponseWriter
	kill, path string
	wrote      int
}

// Unwrap lets the server's own methods be found.
func (m *mortal) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func (m *mortal) WriteHeader(status int) {
	if m.kill == "header of "+m.path {
		die()
	}
	m.ResponseWriter.WriteHeader(status)
}

func (m *mortal) Write(p []byte) (int, error) {
	if m.wrote++; m.kill == "body of "+m.path && m.wrote == 2 {
		http.NewResponseController(m.ResponseWriter).Flush()
		die()
	}
	return m.ResponseWriter.Write(p)
}

// dying kills the process when it is about to send something to another gateway, when
// that has answered, or when a part of the answer's body has come.
type dying struct {
	to   http.RoundTripper
	kill string
}

func (d *dying) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.kill == "sending "+r.Method {
		die()
	}
	resp, err := d.to.RoundTrip(r)
	if d.kill == "answer to "+r.Method {
		die()
	}
	if d.kill == "body for "+r.Method && err == nil {
		io.CopyN(io.Discard, resp.Body, 1000)
		die()
	}
	return resp, err
}

// separate stops a city's gateway and runs it in a process of its own, until that kills
// itself as told. It returns the addresses of its two sides, and what waits for its end.
func (w *world) separate(c *city, kill string) (peer, local string, ended func()) {
	w.t.Helper()
	c.stop()
	trusts, err := w.engine.Trust(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	node := httptest.NewServer(api.Handler(api.Config{Source: w.engine}))
	w.t.Cleanup(node.Close)
	w.engine.Advance(time.Second)
	n := map[cityid.Code]int{provider: 10, consumer: 20}[c.code]
	secret := sha256.Sum256(fmt.Appendf(nil, "gateway %d", n))
	text, err := json.Marshal(spec{Config: c.cfg, Secret: secret[:], Trust: cityid.MustMarshal(&trusts[0]), Node: node.URL, Now: w.engine.Now(), Kill: kill})
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashSpec+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, to := range []*string{&peer, &local} {
		if lines.Scan(); !strings.HasPrefix(lines.Text(), "127.0.0.1:") {
			w.t.Fatalf("the gateway says %q", lines.Text())
		}
		*to = "http://" + lines.Text()
	}
	w.engine.Advance(2 * time.Second)
	return peer, local, func() {
		w.t.Helper()
		if lines.Scan() {
			w.t.Errorf("the gateway says %q", lines.Text())
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			w.t.Errorf("the gateway ended by %v", err)
		}
	}
}

// large is the body of the answers that are cut off by a death.
var large = strings.Repeat("0123456789abcdef", 32<<10) // 512 KiB

// TestKillProvider kills a provider's gateway around an answer. What it has signed is
// on its disk, once; what left, or could have, and is not acknowledged, counts.
func TestKillProvider(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kill    string
		arrives bool // the answer
	}{
		{"header of peer GET", false},    // the receipt is on the disk, and nothing has left
		{"body of peer GET", false},      // part of it has left
		{"POST /acknowledgements", true}, // it has left, and is not acknowledged
		{"header of peer POST", true},    // the acknowledgement is on the disk, and nobody knows
	} {
		t.Run(c.kill, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w *world) { w.give.cfg.Unacknowledged = 1 })
			w.backend = func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, large) }
			id := w.agree(nil)
			w.fetched(id)
			peer, _, ended := w.separate(w.give, c.kill)
			w.give.front.put(&between{to: &httptest.Server{URL: peer}})
			status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest")
			if c.arrives && (status != 200 || body != large) || !c.arrives && (status != http.StatusBadGateway || strings.Contains(body, "0123456789abcdef")) {
				t.Errorf("%d %.200s", status, body)
			}
			ended()
			w.engine.Advance(5 * time.Second)
			if !c.arrives {
				w.give.front.put(http.HandlerFunc(gone))
			}
			w.open(w.give)
			w.engine.Advance(time.Second)
			if s := w.give.Ledger().Stats(); s.Entries != 2 {
				t.Errorf("after the restart: %+v", s)
			}
			if !c.arrives {
				w.counts(id)
				return
			}
			w.await("the acknowledgement", func() bool {
				return w.give.Ledger().Stats().Unacknowledged == 0 && w.take.Ledger().Stats().Unacknowledged == 0
			})
			w.follows(id, 3)
		})
	}
}

// counts checks that the last answer counts as served and not acknowledged, for the
// limit and in evidence, and does not once it is acknowledged.
func (w *world) counts(id cityid.Digest) {
	w.t.Helper()
	waiting := w.give.Ledger().AwaitingAcknowledgement(id, ledger.DirectionServed, 10)
	if len(waiting) != 1 {
		w.t.Fatalf("%d answers wait", len(waiting))
	}
	if status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest"); status != exhausted || !strings.Contains(body, "acknowledged") {
		w.t.Errorf("the next fetch: %d %.200s", status, body)
	}
	w.anchored()
	e, err := w.give.Evidence(w.t.Context(), waiting[0])
	if err != nil {
		w.t.Fatal(err)
	}
	if r := share.CheckEvidence(e, w.trust(), w.engine.Now()); r.Verdict != verify.Valid || r.Facts.Outcome != share.Unacknowledged || r.Facts.Number != 2 {
		w.t.Errorf("%s %s: %s", r.Verdict, r.Facts.Outcome, r.Message)
	}
	if got := w.ordered(w.acknowledgement(id, waiting...)); got.status != http.StatusNoContent {
		w.t.Error(got)
	}
	w.follows(id, 4) // 3 is the refusal
}

// follows makes one more fetch, which has to have a number.
func (w *world) follows(id cityid.Digest, number uint64) {
	w.t.Helper()
	f, err := w.take.Fetch(w.t.Context(), id, "/latest", "")
	if err != nil {
		w.t.Fatal(err)
	}
	f.Body.Close()
	if f.Status != 200 || f.Receipt.Number != number {
		w.t.Errorf("the next fetch: status %d, number %d, want %d", f.Status, f.Receipt.Number, number)
	}
}

// TestKillConsumer kills a consumer's gateway around an answer. What it wrote down it
// has, once, and acknowledges after its restart; of what it did not, the provider knows.
func TestKillConsumer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kill string
		has  bool // the entry
	}{
		{"sending GET", false},        // nothing was asked for
		{"body for GET", false},       // the answer is under way
		{"header of local GET", true}, // the entry is on the disk, and the application has nothing
		{"sending POST", true},        // it is not acknowledged
		{"answer to POST", true},      // it is, and nobody knows
	} {
		t.Run(c.kill, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.backend = func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, large) }
			id := w.agree(nil)
			w.fetched(id)
			_, local, ended := w.separate(w.take, c.kill)
			resp, err := http.Get(local + "/fetch/" + id.String() + "/latest")
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			ended()
			w.engine.Advance(5 * time.Second)
			w.open(w.take)
			served, fetched, lost := uint64(2), uint64(1), 0
			if c.has {
				fetched = 2
			} else if c.kill != "sending GET" {
				lost = 1
			} else {
				served = 1
			}
			w.await("the acknowledgement of what the consumer has", func() bool {
				return w.give.Ledger().Stats().Unacknowledged == lost && w.take.Ledger().Stats().Unacknowledged == 0
			})
			if give, take := w.give.Ledger().Stats(), w.take.Ledger().Stats(); give.Entries != served || take.Entries != fetched {
				t.Errorf("%d served, want %d; %d fetched, want %d", give.Entries, served, take.Entries, fetched)
			}
			w.follows(id, served+1)
		})
	}
}
