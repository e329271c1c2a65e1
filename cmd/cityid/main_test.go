// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cityid"
	"cityid/keys"
	"cityid/label"
)

// TestMain lets the test binary be the cityid command, so that scripts run the
// real main.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cityid": main})
}

// TestScripts runs the scripts in testdata/script against the real command and
// real nodes on loopback.
func TestScripts(t *testing.T) {
	p := testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("CITYID_HOME", e.WorkDir+"/home")
			return os.WriteFile(e.WorkDir+"/pass", []byte("correct horse\n"), 0o600)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "zbar" {
				_, err := exec.LookPath("zbarimg")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort, "await": await, "exits": exits, "awaitoutput": awaitOutput, "flipbytes": flipBytes, "rows": rows, "awaitsize": awaitSize, "extract": extract, "swap": swap,
			"reportlink": reportLink, "flipreceipt": flipReceipt, "forgereceipt": forgeReceipt, "fetch": fetch, "policy": writePolicy, "field": field, "vector": vector,
		},
	}
	testscript.Run(t, p)
}

// swap replaces the first place of one text in a file by another.
func swap(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: swap FILE OLD NEW")
	}
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	if !strings.Contains(string(b), args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(name, []byte(strings.Replace(string(b), args[1], args[2], 1)), 0o644))
}

// freePort sets each variable named to a free port on loopback.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
}

// await waits until the URL answers.
func await(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		r, err := http.Get(args[0])
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not answer: %v", args[0], err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// awaitOutput runs a command until it succeeds and prints what matches a regular
// expression, on either stream, which can then be looked at with stdout and stderr:
// awaitoutput PATTERN COMMAND...
func awaitOutput(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && (want.MatchString(ts.ReadFile("stdout")) || want.MatchString(ts.ReadFile("stderr"))) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never: %v\n%s\n%s", err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// writePolicy writes a policy of which so many members must sign, each with one
// key of the user's folder, behind whose name roles may stand: policy FILE
// THRESHOLD NAME[/ROLE]... Keys joined by "|" are one member.
func writePolicy(ts *testscript.TestScript, _ bool, args []string) {
	threshold, err := strconv.Atoi(args[1])
	ts.Check(err)
	p := cityid.Policy{Threshold: uint8(threshold)}
	for _, member := range args[2:] {
		var m cityid.Member
		for spec := range strings.SplitSeq(member, "|") {
			name, role, _ := strings.Cut(spec, "/")
			public, err := keys.ReadPublicFile(ts.MkAbs("home/keys/" + name + ".key"))
			ts.Check(err)
			k := cityid.Key{Public: cityid.PublicKey(public.Raw()), Roles: cityid.RoleControl}
			if role != "" {
				ts.Check(k.Roles.UnmarshalText([]byte(role)))
			}
			m.Keys = append(m.Keys, k)
		}
		p.Members = append(p.Members, m)
	}
	b, err := json.Marshal(&p)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// field sets a variable to a member of a JSON object in a file, given by its path:
// field VARIABLE FILE NAME...
func field(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	for _, name := range args[2:] {
		object, ok := v.(map[string]any)
		if !ok || object[name] == nil {
			ts.Fatalf("%s has no %s", args[1], name)
		}
		v = object[name]
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// fetch writes what an address answers with a status into a file: fetch STATUS URL
// FILE.
func fetch(ts *testscript.TestScript, _ bool, args []string) {
	r, err := http.Get(args[1])
	ts.Check(err)
	defer r.Body.Close()
	if strconv.Itoa(r.StatusCode) != args[0] {
		ts.Fatalf("%s answers with %s", args[1], r.Status)
	}
	b, err := io.ReadAll(r.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
}

// exits runs a command and demands an exit code; its output can be looked at
// with stdout and stderr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s", got, want, ts.ReadFile("stderr"))
	}
}

// extract unpacks a ZIP file into a new folder: extract FILE FOLDER.
func extract(ts *testscript.TestScript, _ bool, args []string) {
	z, err := zip.OpenReader(ts.MkAbs(args[0]))
	ts.Check(err)
	defer z.Close()
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), z))
}

// flipBytes changes each byte of a file in turn and demands that verify never
// calls the result valid: flipbytes FILE TRUST.
func flipBytes(ts *testscript.TestScript, _ bool, args []string) {
	file, trust := ts.MkAbs(args[0]), ts.MkAbs(args[1])
	b, err := os.ReadFile(file)
	ts.Check(err)
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1 << (i % 8)
		path := file + ".changed"
		ts.Check(os.WriteFile(path, changed, 0o600))
		var out, talk bytes.Buffer
		code := run(context.Background(), []string{"verify", path, "--trust", trust}, &terminal{out: &out, err: &talk})
		if code == exitDone {
			ts.Fatalf("byte %d of %d changed, and still: %s", i, len(b), out.String())
		}
	}
}

// reportLink writes the link of a report that was sent: reportlink JSON FILE.
func reportLink(ts *testscript.TestScript, _ bool, args []string) {
	var sent cityid.ReportSent
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &sent))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(sent.Page+"\n"), 0o600))
}

// forgeReceipt draws the symbol of a receipt, and signs the same receipt with a
// key of its own: forgereceipt FILE PNG FORGED.
func forgeReceipt(ts *testscript.TestScript, _ bool, args []string) {
	f, err := cityid.DecodeReportFile([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	symbol, err := label.TextSymbol(f.Symbol())
	ts.Check(err)
	png, err := symbol.PNG(6)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), png, 0o600))
	k, err := keys.Generate(keys.P256, nil)
	ts.Check(err)
	forged, err := cityid.SignReport(f.Receipt, signerOf(k))
	ts.Check(err)
	forged.Opening = f.Opening
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), cityid.MustMarshal(forged), 0o600))
}

// flipReceipt changes each byte of a receipt in turn and demands that none is
// found valid: flipreceipt FILE TRUST BUNDLE.
func flipReceipt(ts *testscript.TestScript, _ bool, args []string) {
	file, trust, bundle := ts.MkAbs(args[0]), ts.MkAbs(args[1]), ts.MkAbs(args[2])
	b, err := os.ReadFile(file)
	ts.Check(err)
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1 << (i % 8)
		path := file + ".changed"
		ts.Check(os.WriteFile(path, changed, 0o600))
		var out, talk bytes.Buffer
		if code := run(context.Background(), []string{"report", "check", path, "--trust", trust, "--bundle", bundle}, &terminal{out: &out, err: &talk}); code == exitDone {
			ts.Fatalf("byte %d of %d changed, and still: %s", i, len(b), out.String())
		}
	}
}

// rows writes a CSV file of n lamp posts: rows FILE N.
func rows(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	b.WriteString("class,serial,name:zh,lat,lon,alias:asset\r\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "20.010501,%06d,路灯%d号,38.%07d,114.5,LD-%06d\r\n", i, i, i, i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// awaitSize waits until a file has so many bytes: awaitsize FILE BYTES.
func awaitSize(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	deadline := time.Now().Add(60 * time.Second)
	for {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() >= size {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never had %d bytes", args[0], size)
		}
		time.Sleep(time.Millisecond)
	}
}
