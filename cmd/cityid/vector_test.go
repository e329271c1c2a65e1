// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cityid"
	"cityid/verify"
)

// vector writes the bundle of a vector and its trust root, as NAME.cityid and
// NAME.trust, and sets AT to the time at which it is judged: vector NAME
func vector(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: vector NAME")
	}
	data, err := os.ReadFile(filepath.Join(vectors, "bundle-"+args[0]+".json"))
	ts.Check(err)
	var v struct {
		Trust  cityid.Trust `json:"trust"`
		Bundle cityid.Bytes `json:"bundle"`
		Now    time.Time    `json:"now"`
	}
	ts.Check(json.Unmarshal(data, &v))
	trust, err := verify.NewTrustFile(v.Trust)
	ts.Check(err)
	file, err := verify.FormatTrustFile(trust)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".trust"), file, 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".cityid"), v.Bundle, 0o644))
	ts.Setenv("AT", v.Now.Format(time.RFC3339))
}

// vectors is the folder of the vectors, from wherever scripts run.
var vectors = func() string {
	path, err := filepath.Abs("../../testdata/vectors")
	if err != nil {
		panic(err)
	}
	return path
}()
