// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"cityid"
)

// TestDoctorOffenders looks at what the doctor says of validators that signed two
// histories.
func TestDoctorOffenders(t *testing.T) {
	key := cityid.PublicKey("\x01" + strings.Repeat("k", 32))
	owner := cityid.MustParse("MA.156.9003")
	for _, c := range []struct {
		list  []cityid.Offender
		state string
		says  []string
	}{
		{nil, "good", []string{"no block has evidence"}},
		{[]cityid.Offender{{Address: "ce35", Key: key, Owner: owner, Validates: true, Times: 2, Voted: 6, Recorded: 8}}, "bad", []string{key.String() + " of MA.156.9003", "2 pieces", "in block 8", "for block 6", "votes still count"}},
		{[]cityid.Offender{{Address: "ce35", Times: 1, Voted: 6, Recorded: 8}}, "warning", []string{"validator ce35 signed", "count no more"}},
	} {
		d := new(doctor)
		d.offenders(&cityid.NodeStatus{Offenders: c.list})
		if len(d.found) != 1 || d.found[0].State != c.state || c.state != "good" && d.found[0].Remedy == "" {
			t.Fatalf("%+v: %+v", c.list, d.found)
		}
		for _, s := range c.says {
			if !strings.Contains(d.found[0].Detail, s) {
				t.Errorf("%q lacks %q", d.found[0].Detail, s)
			}
		}
	}
}
