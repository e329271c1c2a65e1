// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/keys"
)

const crashFolder = "CITYID_OFFICE_CRASH" // in the environment of the process that is killed

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashFolder); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeUntilKilled hands in one draft after another, and says what is done.
func writeUntilKilled(dir string) error {
	ctx := context.Background()
	o, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	k, err := keys.NewPrivate(keys.Ed25519, bytes.Repeat([]byte{9}, 32))
	if err != nil {
		return err
	}
	signer := cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
	sign := func(number uint64, at time.Time, digest cityid.Digest) (*cityid.ReportFile, error) {
		return cityid.SignReport(cityid.ReportReceipt{Institution: trafficDesk, Number: number, Code: reportedLamp, Department: trafficDesk, Digest: digest, Time: cityid.TimeOf(at)}, signer)
	}
	fmt.Println("open")
	for i := 0; ; i++ {
		if err := addReportUntilKilled(ctx, o, hex.EncodeToString(random(16)), sign); err != nil {
			return err
		}
		if err := prepareUntilKilled(ctx, o); err != nil {
			return err
		}
		code, err := o.NewDraft(ctx, []byte("content"))
		if err != nil {
			return err
		}
		if _, err := o.Attach(ctx, code, EvidenceDocument{Name: "a.pdf", Document: samplePDF(code)}); err != nil {
			return err
		}
		file, err := o.PutBytes(ctx, []byte(code))
		if err != nil {
			return err
		}
		digest := cityid.Digest(hashOf([]byte(code)))
		reference, err := o.Receive(ctx, Submission{
			Apply: applyFor("MA.156.1301", digest), Evidence: []EvidenceFile{{digest, file}}, Draft: code, Revision: 1,
			Deliveries: []NewDelivery{{Destination: "https://b.example/", File: file}},
		})
		if err != nil {
			return err
		}
		fmt.Println(code, reference)
		if _, err := o.Sweep(ctx); err != nil {
			return err
		}
	}
}

// TestKill kills a writing process at random moments, again and again on one
// folder: it opens each time, and what was acknowledged is there, whole.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "office")
	total := 0
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashFolder+"="+dir)
		out := ok(cmd.StdoutPipe())(t)
		do(t, cmd.Start())
		lines := make(chan string, 10000)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(out); s.Scan(); {
				lines <- s.Text()
			}
		}()
		first := <-lines // it is open
		time.Sleep(time.Duration(20+37*round) * time.Millisecond)
		do(t, cmd.Process.Kill())
		acknowledged := []string{first}
		for l := range lines {
			acknowledged = append(acknowledged, l)
		}
		_ = cmd.Wait() // it was killed

		o, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, l := range acknowledged[1:] {
			f := strings.Fields(l)
			if len(f) == 3 && f[0] == "report" {
				number := ok(strconv.ParseUint(f[1], 10, 64))(t)
				if _, err := o.ReportByToken(t.Context(), number, f[2]); err != nil {
					t.Errorf("round %d: %s: %v", round, l, err)
				}
				continue
			}
			if len(f) == 3 && f[0] == "request" {
				checkPrepared(t, o, f[1], f[2])
				continue
			}
			if len(f) != 2 {
				t.Fatalf("round %d: %q", round, l)
			}
			d, err := o.Draft(t.Context(), f[0])
			if err != nil || d.Reference != f[1] {
				t.Errorf("round %d: draft %s, acknowledged as %s: %+v, %v", round, f[0], f[1], d, err)
			}
			if _, err := o.Application(t.Context(), f[1]); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		total += len(acknowledged) - 1
		checkWhole(t, o)
		checkReports(t, o)
		do(t, o.Close())
	}
	if total == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

// checkWhole checks what must hold at any time: each application that was a draft
// is led to by it, has its delivery and its evidence, and every file is what it is
// called.
func checkWhole(t *testing.T, o *Office) {
	t.Helper()
	ctx := t.Context()
	count := func(query string) (n int) {
		t.Helper()
		do(t, o.reads.QueryRow(query).Scan(&n))
		return n
	}
	applications := count(`SELECT count(*) FROM waiting`)
	if n := count(`SELECT count(*) FROM draft JOIN waiting USING (reference)`); n != applications {
		t.Errorf("%d applications, %d of them were drafts", applications, n)
	}
	if n := count(`SELECT count(*) FROM delivery`); n != applications {
		t.Errorf("%d applications, %d deliveries", applications, n)
	}
	files := ok(folder.Collect(ctx, o.reads, scanDigest, `SELECT digest FROM file`))(t)
	for _, d := range files {
		if _, err := o.ReadFile(ctx, d, MaxEnvelope); err != nil {
			t.Error(err)
		}
	}
	for _, d := range ok(folder.Collect(ctx, o.reads, scanDigest, `SELECT digest FROM evidence`))(t) {
		list, err := o.EvidenceByDigest(ctx, d)
		if err != nil || len(list) != 1 {
			t.Errorf("evidence %v: %+v, %v", d, list, err)
		}
	}
}
