// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

func TestOperationCodes(t *testing.T) {
	code := func(s string) Code { return MustParse(s) }
	policy := func(member string) *Policy { return &Policy{Threshold: 1, Members: []Member{{}, {Code: code(member)}}} }
	table := []struct {
		op       Operation
		want     []string
		proposal uint64
	}{
		{Operation{Apply: &Apply{Allocation: Allocation{Code: code("MA.156.1301"), Parent: code("MA.156"), Policy: policy("MA.156.9001")}}},
			[]string{"MA.156.1301", "MA.156", "MA.156.9001"}, 0},
		{Operation{Revise: &Revise{Proposal: 3, Apply: &Apply{Allocation: Allocation{Code: code("MA.156.1301")}}}}, []string{"MA.156.1301"}, 3},
		{Operation{Revise: &Revise{Proposal: 4, Operations: []Operation{{Veto: &Veto{Code: code("MA.156.1302")}}}}}, []string{"MA.156.1302"}, 4},
		{Operation{Return: &Return{Proposal: 5}}, nil, 5},
		{Operation{Propose: &Propose{Operations: []Operation{
			{Amend: &Amend{Code: code("MA.156.1302")}}, {Seal: &Seal{Code: code("MA.156.1301")}}, {Veto: &Veto{Code: code("MA.156.1302")}},
		}}}, []string{"MA.156.1302", "MA.156.1301"}, 0},
		{Operation{Approve: &Approve{Proposal: 6}}, nil, 6},
		{Operation{Reject: &Reject{Proposal: 7}}, nil, 7},
		{Operation{Withdraw: &Withdraw{Proposal: 8}}, nil, 8},
		{Operation{Withdraw: &Withdraw{Source: code("MA.156.1301.01")}}, []string{"MA.156.1301.01"}, 0},
		{Operation{Allocate: &Allocate{Items: []Allocation{
			{Code: code("MA.156.1301.02"), Recovery: policy("MA.156.9002")}, {Code: code("MA.156.1301.01"), Parent: code("MA.156.1301.02")},
		}}}, []string{"MA.156.1301.02", "MA.156.9002", "MA.156.1301.01"}, 0},
		{Operation{Amend: &Amend{Code: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{SetStatus: &SetStatus{Code: code("MA.156.1303"), Heir: code("MA.156.1302"), Successors: []Code{code("MA.156.1301"), code("MA.156.1302")}}},
			[]string{"MA.156.1303", "MA.156.1302", "MA.156.1301"}, 0},
		{Operation{Rekey: &Rekey{Code: code("MA.156"), Policy: policy("MA.156.9002"), Recovery: policy("MA.156.9001")}},
			[]string{"MA.156", "MA.156.9002", "MA.156.9001"}, 0},
		{Operation{Veto: &Veto{Code: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{Map: &Map{Code: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{Attest: &Attest{Source: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{Seal: &Seal{Code: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{Unseal: &Unseal{Code: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{AgreementRequest: &AgreementRequest{Terms: Terms{Dataset: code("MA.156.1301"), Consumer: code("MA.156.1302")}}}, []string{"MA.156.1301", "MA.156.1302"}, 0},
		{Operation{AgreementGrant: &AgreementDecision{Dataset: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{AgreementRefuse: &AgreementDecision{Dataset: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{AgreementRevoke: &AgreementDecision{Dataset: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{AnchorReceipts: &AnchorReceipts{Party: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{SetParams: &SetParams{Schemes: []Scheme{{}, {Owner: code("MA.156")}}}}, []string{"MA.156"}, 0},
		{Operation{SetValidators: &SetValidators{Validators: []Validator{{Owner: code("MA.156.9002")}, {Owner: code("MA.156.9001")}}}},
			[]string{"MA.156.9002", "MA.156.9001"}, 0},
		{Operation{SetTrust: &SetTrust{Trust: Trust{Statement: TrustStatement{Zone: code("MA.156"), Quorum: Quorum{Members: []QuorumMember{
			{Code: code("MA.156.9001"), Quorum: &Quorum{Members: []QuorumMember{{Code: code("MA.156.9002")}}}},
		}}}}}}, []string{"MA.156", "MA.156.9001", "MA.156.9002"}, 0},
		{Operation{SetUpgrade: &SetUpgrade{Plan: &Upgrade{Version: 2}}}, nil, 0},
		{Operation{Delegate: &Delegate{Code: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{Checkpoint: &PostCheckpoint{Zone: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{ReportFork: &ReportFork{Zone: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{Unfreeze: &Unfreeze{Zone: code("MA.156.1301")}}, []string{"MA.156.1301"}, 0},
		{Operation{Follow: &Follow{}}, nil, 0},
		{Operation{}, nil, 0},
	}
	covered := map[string]bool{}
	for _, c := range table {
		covered[c.op.Name()] = true
		var got []string
		for _, x := range c.op.Codes() {
			got = append(got, x.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s names %v, want %v", c.op.Name(), got, c.want)
		}
		if n := c.op.Proposal(); n != c.proposal {
			t.Errorf("%s is about proposal %d, want %d", c.op.Name(), n, c.proposal)
		}
	}
	for i := range reflect.TypeFor[Operation]().NumField() {
		if op := operationAt(i); !covered[op.Name()] {
			t.Errorf("the table lacks %s", op.Name())
		}
	}
}

// operationAt returns an operation whose i-th field is set.
func operationAt(i int) Operation {
	var op Operation
	f := reflect.ValueOf(&op).Elem().Field(i)
	f.Set(reflect.New(f.Type().Elem()))
	return op
}

// TestOperationCodesMissesNone sets every code and proposal number there is
// room for in each operation, so that a new field can not be forgotten.
func TestOperationCodesMissesNone(t *testing.T) {
	for i := range reflect.TypeFor[Operation]().NumField() {
		op := operationAt(i)
		var want []Code
		number := false
		fill(reflect.ValueOf(&op).Elem().Field(i), 0, &want, &number)
		if got := op.Codes(); !slices.Equal(got, want) {
			t.Errorf("%s names %v, want %v", op.Name(), got, want)
		}
		if got := op.Proposal(); number != (got == 99) {
			t.Errorf("%s is about proposal %d", op.Name(), got)
		}
	}
}

// fill gives every Code in v another value, in order, and every field named
// Proposal the value 99. Pointers and slices get one element each; operations in
// operations are amendments.
func fill(v reflect.Value, depth int, codes *[]Code, number *bool) {
	if depth > 12 {
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *Code:
		*x = MustParse(fmt.Sprintf("MA.156.%04d", 1000+len(*codes)))
		*codes = append(*codes, *x)
		return
	case *Operation:
		x.Amend = &Amend{}
		fill(reflect.ValueOf(x).Elem().FieldByName("Amend"), depth+1, codes, number)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem() == reflect.TypeFor[Quorum]() && depth > 8 {
			return // it holds others of itself
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), depth+1, codes, number)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1, codes, number)
	case reflect.Struct:
		for i := range v.NumField() {
			switch f := v.Type().Field(i); {
			case f.Name == "Proposal":
				v.Field(i).SetUint(99)
				*number = true
			case f.IsExported():
				fill(v.Field(i), depth+1, codes, number)
			}
		}
	}
}
