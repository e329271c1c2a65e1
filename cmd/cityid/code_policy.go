// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"

	"cityid"
)

// officerFlags make a policy of keys, for whoever has no file of one.
type officerFlags struct {
	officers, more list
	threshold      int
	file           string
}

func (o *officerFlags) setup(f *flags) {
	f.StringVar(&o.file, "policy", "", "JSON `file` of a policy; without one and without --officer the code is governed from above")
	f.Var(&o.officers, "officer", "make a policy in which this `key` signs; several times for several officers")
	f.IntVar(&o.threshold, "threshold", 1, "with --officer: how many officers must sign together")
	f.Var(&o.more, "add", "with --officer: a key for something else as `role=key`, in the first officer's hands")
}

// policy returns the policy that the flags describe; nil if they describe none.
func (o *officerFlags) policy(ctx context.Context, f *flags) (*cityid.Policy, error) {
	switch {
	case o.file != "" && len(o.officers) > 0:
		return nil, usagef("give either --policy or --officer")
	case o.file != "":
		return readPolicy(ctx, o.file)
	case len(o.officers) == 0 && (len(o.more) > 0 || isSet(f.FlagSet, "threshold")):
		return nil, usagef("--threshold and --add go with --officer")
	case len(o.officers) == 0:
		return nil, nil
	case o.threshold < 1 || o.threshold > len(o.officers):
		return nil, usagef("--threshold %d: want 1 to %d, the number of officers", o.threshold, len(o.officers))
	}
	p := &cityid.Policy{Threshold: uint8(o.threshold)}
	for _, name := range o.officers {
		k, err := f.publicKey(name)
		if err != nil {
			return nil, err
		}
		p.Members = append(p.Members, cityid.Member{Keys: []cityid.Key{{Public: k, Roles: cityid.RoleControl}}})
	}
	return p, f.changeKeys(p, o.more, nil, 0)
}

// changeKeys adds keys, each given as role=key, to the hands of one member of a
// policy, and takes others away wherever they stand.
func (f *flags) changeKeys(p *cityid.Policy, add, remove list, member int) error {
	for _, name := range remove {
		k, err := f.publicKey(name)
		if err != nil {
			return err
		}
		if _, ok := holderOf(p, k); !ok {
			return usagef("--remove %s: the policy has no such key", name)
		}
		for i := range p.Members {
			m := &p.Members[i]
			m.Keys = slices.DeleteFunc(slices.Clone(m.Keys), func(x cityid.Key) bool { return x.Public == k })
		}
	}
	for _, text := range add {
		role, name, ok := strings.Cut(text, "=")
		k := cityid.Key{}
		if !ok || name == "" {
			return usagef("--add %q: want role=key, such as gateway=gw", text)
		}
		if err := k.Roles.UnmarshalText([]byte(role)); err != nil {
			return usageError{err}
		}
		var err error
		if k.Public, err = f.publicKey(name); err != nil {
			return err
		}
		m := &p.Members[member]
		m.Keys = append(slices.Clone(m.Keys), k)
	}
	if err := p.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// holderOf returns the number of the member who has a key.
func holderOf(p *cityid.Policy, k cityid.PublicKey) (int, bool) {
	i := slices.IndexFunc(p.Members, func(m cityid.Member) bool {
		return slices.ContainsFunc(m.Keys, func(x cityid.Key) bool { return x.Public == k })
	})
	return i, i >= 0
}

func codeRekey(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	recovery := f.String("recovery", "", "for an apex: JSON `file` of its recovery policy")
	var add, remove list
	f.Var(&add, "add", "instead of a file: add a key to the policy as it stands, as `role=key`; several times")
	f.Var(&remove, "remove", "instead of a file: take this `key` out of the policy as it stands; several times")
	beside := f.String("beside", "", "with --add: put the keys into the hands of the member who has this `key`; the first member without it")
	return func(ctx context.Context, args []string) error {
		change := len(add)+len(remove) > 0
		if !change && *beside != "" || change && len(args) == 2 {
			return usagef("give either the file of a policy, or --add and --remove")
		}
		want := 2
		if change {
			want = 1
		}
		r, err := w.current(ctx, args, want)
		if err != nil {
			return err
		}
		op := &cityid.Rekey{Code: r.Code, Revision: r.Revision}
		if change {
			op.Policy, err = f.changedPolicy(r, add, remove, *beside)
		} else {
			op.Policy, err = readPolicy(ctx, args[1])
		}
		if err != nil {
			return err
		}
		if *recovery != "" {
			if op.Recovery, err = readPolicy(ctx, *recovery); err != nil {
				return err
			}
		}
		return w.submit(ctx, cityid.Operation{Rekey: op})
	}
}

// changedPolicy returns a record's policy with keys added and taken away.
func (f *flags) changedPolicy(r *cityid.Record, add, remove list, beside string) (*cityid.Policy, error) {
	if r.Policy == nil {
		return nil, hint(usagef("%s has no policy of its own that keys could be added to", r.Code), "change the policy of the code that governs it, or give %s one from a file", r.Code)
	}
	p := &cityid.Policy{Threshold: r.Policy.Threshold, Members: slices.Clone(r.Policy.Members)}
	member := 0
	if beside != "" {
		k, err := f.publicKey(beside)
		if err != nil {
			return nil, err
		}
		var ok bool
		if member, ok = holderOf(p, k); !ok {
			return nil, usagef("--beside %s: the policy has no such key", beside)
		}
	} else if len(add) > 0 {
		// A member is keys or a code; new keys go to one who has keys.
		if member = slices.IndexFunc(p.Members, func(m cityid.Member) bool { return len(m.Keys) > 0 }); member < 0 {
			return nil, usagef("all members of the policy of %s are codes, so no member can hold a key: give a policy from a file", r.Code)
		}
	}
	return p, f.changeKeys(p, add, remove, member)
}
