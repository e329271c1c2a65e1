// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
)

// onForeign carries out what another chain does, apart from this zone:
//
//	chain NAME founds KEY...           begins at the block's time, with these validators
//	chain NAME empty N                 blocks without transactions, 10s apart
//	chain NAME writes TEXT [KEY...]    a block with a transaction, after which the keys are the validators
//	chain NAME waits DURATION
//	chain NAME copies OTHER            goes its own way from here, with the same keys
func (n *notation) onForeign(words []string) (string, error) {
	name, what, rest := words[0], words[1], words[2:]
	if n.chains == nil {
		n.chains = map[string]*foreign{}
	}
	f := n.chains[name]
	switch what {
	case "founds":
		n.chains[name] = newForeign(n.tb, "cn-"+name, n.block.Time, validatorsNamed(strings.Join(rest, " ")))
		return "ok\n", nil
	case "copies":
		n.chains[name] = n.chains[rest[0]].clone()
		return "ok\n", nil
	case "empty":
		var count int
		if _, err := fmt.Sscan(rest[0], &count); err != nil {
			return "", err
		}
		f.empty(count)
	case "writes":
		var next powers
		if len(rest) > 1 {
			next = validatorsNamed(strings.Join(rest[1:], " "))
		}
		f.block(10, next, note(rest[0]))
	case "waits":
		d, err := time.ParseDuration(rest[0])
		if err != nil {
			return "", err
		}
		f.now += cityid.Time(d / time.Second)
	}
	return fmt.Sprintf("height %d at %s, log of %d\n", len(f.blocks), showTime(f.now), f.stored.Size), nil
}

// onZones parses the operations on zones of their own.
func (n *notation) onZones(verb string, o *options) (op cityid.Operation, err error) {
	f, name := n.chains[o.value("chain")], o.value("chain")
	if f == nil {
		return op, fmt.Errorf("no chain %q", name)
	}
	code, err := cityid.ParseCanonical(o.word(0))
	if err != nil {
		return op, err
	}
	last := cityid.Checkpoint{}
	trusted := powers{}
	if z := Zone(n.state, code); z != nil {
		last = z.Checkpoint
		trusted = f.named(last.Next)
	}
	height := o.number("height", uint64(len(f.blocks)))
	switch verb {
	case "delegate":
		d := &cityid.Delegate{Code: code, Delegation: cityid.Delegation{
			Chain: f.id, Genesis: cityid.Digest{1}, Places: o.has("places"), Endpoints: o.values["at"],
		}}
		if r := Record(n.state, code); r != nil {
			d.Revision = r.Revision
		}
		if !o.has("goes-on") {
			c := f.checkpoint(o.number("height", 0))
			d.Checkpoint = &c
		}
		op.Delegate = d
	case "checkpoint":
		op.Checkpoint = f.post(code.String(), last, trusted, height)
	case "fork":
		op.ReportFork = fork(code.String(), f, n.chains[o.value("and")], last, trusted, height)
	case "unfreeze":
		op.Unfreeze = &cityid.Unfreeze{Zone: code, Fork: o.number("fork", 0), Checkpoint: f.checkpoint(height)}
	}
	return op, nil
}

// named returns the validators of a hash, as some block or the next one has them.
func (f *foreign) named(hash cityid.Digest) powers {
	sets := []powers{f.set}
	for _, b := range f.blocks {
		sets = append(sets, b.set)
	}
	if i := slices.IndexFunc(sets, func(p powers) bool { return cityid.Digest(p.validators().Hash()) == hash }); i >= 0 {
		return sets[i]
	}
	return f.set
}

// delegation prints what is known of a code's zone.
func (s *scenario) delegation(code cityid.Code) string {
	z, r := Zone(s.state, code), Record(s.state, code)
	if z == nil {
		return "no zone of its own\n"
	}
	c := &z.Checkpoint
	text := fmt.Sprintf("%s on %s, at %s\n  height %d at %s, log of %d, anchored %d times, last %s\n", code, z.Chain, strings.Join(r.Delegation.Endpoints, " "),
		c.Height, showTime(c.Time), c.Log.Size, z.Anchors, showTime(z.Anchored))
	if z.Fork != nil {
		text += fmt.Sprintf("  frozen for two headers %d\n", z.Fork.Height)
	}
	return text
}
