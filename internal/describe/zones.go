// SPDX-License-Identifier: Apache-2.0

package describe

import "cityid"

// zoning describes what concerns zones and what they prove to each other. Of
// proofs it shows digests, for nobody judges them by eye.
func (s *speech) zoning(op *cityid.Operation) {
	if d := op.Delegate; d != nil {
		s.under(func() { s.delegation(&d.Delegation, d.Checkpoint) }, "delegate", d.Code, d.Revision)
	}
	if c := op.Checkpoint; c != nil {
		s.under(func() {
			s.descent(&c.Descent)
			s.log(&c.Log)
			s.octets("log-consistency", c.Consistency)
		}, "checkpoint", c.Zone)
	}
	if f := op.ReportFork; f != nil {
		s.under(func() {
			s.under(func() { s.descent(&f.One) }, "fork-one")
			if f.Other == nil {
				s.say("fork-checkpoint")
				return
			}
			s.under(func() { s.descent(f.Other) }, "fork-other")
		}, "report-fork", f.Zone)
	}
	if u := op.Unfreeze; u != nil {
		s.under(func() { s.checkpoint(&u.Checkpoint) }, "unfreeze", u.Zone, u.Fork)
	}
	if f := op.Follow; f != nil {
		s.under(func() {
			s.descent(&f.Descent)
			s.octets("followed-record", f.Record)
			s.octets("log-proof", f.Proof)
		}, "follow")
	}
}

func (s *speech) delegation(d *cityid.Delegation, c *cityid.Checkpoint) {
	s.say("zone-chain", d.Chain, d.Genesis)
	s.flag("zone-places", d.Places)
	for _, e := range d.Endpoints {
		s.say("zone-endpoint", e)
	}
	if c == nil {
		s.say("zone-goes-on")
		return
	}
	s.under(func() { s.checkpoint(c) }, "zone-anchor")
}

func (s *speech) checkpoint(c *cityid.Checkpoint) {
	s.say("checkpoint-at", c.Height, c.Time, c.Header)
	s.say("checkpoint-sets", c.Validators, c.Next)
	s.say("checkpoint-log", c.Log.Size, c.Log.First, c.Log.Root)
}

func (s *speech) log(l *cityid.LogDescent) {
	s.say("log-descent", l.Size, l.First)
	s.digest("log-root", l.Root)
	s.octets("log-proof", l.Proof)
	s.octets("log-path", l.Path)
}

func (s *speech) descent(d *cityid.Descent) {
	s.octets("descent-validators", d.Validators)
	for i := range d.Transitions {
		s.under(func() { s.block(&d.Transitions[i]) }, "descent-transition")
	}
	s.under(func() { s.block(&d.Head) }, "descent-head")
}

func (s *speech) block(b *cityid.LightBlock) {
	s.octets("light-header", b.Header)
	s.octets("descent-validators", b.Validators)
	s.octets("light-commit", b.Commit)
}

// octets adds a line with the SHA-256 of some octets, unless there are none.
func (s *speech) octets(key string, b cityid.Bytes) {
	if len(b) > 0 {
		s.say(key, b)
	}
}
