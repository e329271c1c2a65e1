// SPDX-License-Identifier: Apache-2.0

// Package chaintest is for tests: a small zone to found, keys and transactions
// for it, and networks of several validators in one process, which can be
// stopped and started one by one.
//
// The zone's apex is MA.156; Key(0) alone governs it. Under it the distribution
// rule lets provinces, cities, counties, departments, classes, objects, datasets
// and sources be allocated without further conditions.
package chaintest

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/registry"
	"cityid/keys"
)

// Apex is the zone's top code.
var Apex = cityid.MustParse("MA.156")

// Scheme is a crosswalk scheme that the apex owns.
const Scheme = "test"

// Epoch is a genesis time for engines, whose clocks are manual.
const Epoch cityid.Time = 1_800_000_000

// Key returns a signer with the n-th of a fixed list of ed25519 keys.
func Key(n int) cityid.Signer {
	secret := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("chaintest key "), uint64(n)))
	k, err := keys.NewPrivate(keys.Ed25519, secret[:])
	if err != nil {
		panic(err)
	}
	return cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
}

// Policy returns a policy of one member with one key, which has every role but that of a gateway.
func Policy(s cityid.Signer) *cityid.Policy {
	roles := cityid.RoleControl | cityid.RoleAssert | cityid.RoleField | cityid.RoleIntake
	return &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: s.Key, Roles: roles}}}}}
}

// Genesis founds the zone. Validators come in any order.
func Genesis(name string, at cityid.Time, validators ...cityid.Validator) *chain.Genesis {
	sorted := append([]cityid.Validator(nil), validators...)
	for i := range sorted {
		for j := i; j > 0 && sorted[j].Key < sorted[j-1].Key; j-- {
			sorted[j], sorted[j-1] = sorted[j-1], sorted[j]
		}
	}
	above := []cityid.Kind{
		cityid.KindAuthority, cityid.KindProvince, cityid.KindCity, cityid.KindCounty, cityid.KindDepartment,
		cityid.KindClass, cityid.KindObject,
	}
	var rule cityid.Rule
	for _, k := range []cityid.Kind{
		cityid.KindProvince, cityid.KindCity, cityid.KindCounty, cityid.KindDepartment, cityid.KindClass, cityid.KindObject, cityid.KindDataset, cityid.KindSource,
	} {
		rule.Kinds = append(rule.Kinds, cityid.KindRule{Kind: k, Parents: above})
	}
	return &chain.Genesis{
		Chain: name, Time: at,
		State: registry.Genesis{
			Params: cityid.DefaultParams, Rule: rule, Validators: sorted,
			Schemes: []cityid.Scheme{{Name: Scheme, Owner: Apex, Titles: cityid.Names{{Lang: "en", Text: "Test scheme"}}}},
			Records: []cityid.Allocation{{
				Code: Apex, Kind: cityid.KindAuthority, Policy: Policy(Key(0)), Recovery: Policy(Key(1)),
				Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: "Test apex"}}},
			}},
		},
	}
}

// Allocation allocates a code with an English name.
func Allocation(code string, kind cityid.Kind) cityid.Allocation {
	return cityid.Allocation{
		Code: cityid.MustParse(code), Kind: kind,
		Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: "Test " + kind.String()}}},
	}
}

// Allocate is the operation for some allocations.
func Allocate(items ...cityid.Allocation) cityid.Operation {
	return cityid.Operation{Allocate: &cityid.Allocate{Items: items}}
}

// Tx returns an encoded transaction by Key(0) that expires ten minutes after
// now.
func Tx(name string, now time.Time, ops ...cityid.Operation) []byte {
	return TxBy(name, now, []cityid.Signer{Key(0)}, ops...)
}

// TxBy is Tx by other signers.
func TxBy(name string, now time.Time, signers []cityid.Signer, ops ...cityid.Operation) []byte {
	tx, err := cityid.SignTx(cityid.Body{Chain: name, Expires: cityid.TimeOf(now).Add(10 * time.Minute), Operations: ops}, signers...)
	if err != nil {
		panic(err)
	}
	return cityid.MustMarshal(tx)
}
