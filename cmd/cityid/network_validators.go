// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

func networkValidators(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	var add, remove list
	f.Var(&add, "add", "`KEY=POWER@CODE`: a validator's public key, its power and its owner; for one that is there, its new power; several times")
	f.Var(&remove, "remove", "take the validator with this public `key` out; several times")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if len(add)+len(remove) == 0 {
			return usagef("want --add KEY=POWER@CODE or --remove KEY; cityid chain validators lists them")
		}
		c, err := w.connect()
		if err != nil {
			return err
		}
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		set, err := w.changedValidators(s.Validators.Validators, add, remove)
		if err != nil {
			return err
		}
		if err := w.warnOfPower(s.Validators.Validators, set); err != nil {
			return err
		}
		return w.submit(ctx, cityid.Operation{SetValidators: &cityid.SetValidators{Revision: s.Validators.Revision, Validators: set}})
	}
}

// changedValidators returns a set with validators added, changed and taken away,
// in byte order of their keys.
func (f *flags) changedValidators(old []cityid.Validator, add, remove list) ([]cityid.Validator, error) {
	set := slices.Clone(old)
	find := func(k cityid.PublicKey) int {
		return slices.IndexFunc(set, func(v cityid.Validator) bool { return v.Key == k })
	}
	for _, text := range remove {
		k, err := f.publicKey(text)
		if err != nil {
			return nil, err
		}
		i := find(k)
		if i < 0 {
			return nil, usagef("--remove %s: there is no such validator", text)
		}
		set = slices.Delete(set, i, i+1)
	}
	for _, text := range add {
		name, rest, ok := strings.Cut(text, "=")
		number, owner, owned := strings.Cut(rest, "@")
		power, err := strconv.ParseInt(number, 10, 64)
		if !ok || !owned || err != nil || power < 1 || power > cityid.MaxPower {
			return nil, usagef("--add %q: want KEY=POWER@CODE with a power of 1 to %d", text, cityid.MaxPower)
		}
		v := cityid.Validator{Power: power}
		if v.Key, err = f.publicKey(name); err != nil {
			return nil, err
		}
		if v.Owner, err = parseCode(owner); err != nil {
			return nil, err
		}
		if i := find(v.Key); i >= 0 {
			set[i] = v
		} else {
			set = append(set, v)
		}
	}
	slices.SortFunc(set, func(a, b cityid.Validator) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return set, nil
}

// warnOfPower tells what a new validator set means, and refuses what the chain
// would refuse, before anybody signs.
func (f *flags) warnOfPower(old, set []cityid.Validator) error {
	var total, before, removed int64
	owned := map[cityid.Code]int64{}
	for _, v := range set {
		total += v.Power
		owned[v.Owner] += v.Power
	}
	for _, v := range old {
		before += v.Power
		i := slices.IndexFunc(set, func(x cityid.Validator) bool { return x.Key == v.Key })
		switch {
		case i < 0:
			removed += v.Power
		case set[i].Power < v.Power:
			removed += v.Power - set[i].Power
		}
	}
	if 3*removed >= before {
		return hint(exitError{exitNotPermitted, fmt.Errorf("the change would take %d of %d power away: less than a third may go at once", removed, before)}, "go in steps, and let a block pass between them")
	}
	var owners []string
	for code, power := range owned {
		if 3*power >= total {
			owners = append(owners, fmt.Sprintf("%s will hold %d of %d power, a third or more, and can stop the network by itself", code, power, total))
		}
	}
	slices.Sort(owners)
	for _, text := range owners {
		f.talk("warning: %s", text)
	}
	if len(owned) < 4 {
		f.talk("warning: fewer than four owners will have validators: the network stops when one of them is away")
	}
	return nil
}
