// SPDX-License-Identifier: Apache-2.0

package describe_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"cityid"
	"cityid/internal/describe"
)

var languages = []string{"en", "zh"}

// filler makes values in which every field says something, no two alike.
type filler struct{ n int }

func (f *filler) next() int { f.n++; return f.n }

// fill sets every field of v. Operations within operations are filled to the
// given depth.
func (f *filler) fill(v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *cityid.Code:
		*x = cityid.MustParse(fmt.Sprintf("MA.156.%d", 1000+f.next()))
		return
	case *cityid.Digest:
		*x = cityid.Digest{byte(f.next()), byte(f.next() >> 8), 7}
		return
	case *cityid.PublicKey:
		*x = cityid.PublicKey(fmt.Sprintf("\x01key-%d", f.next()))
		return
	case *cityid.Time:
		*x = cityid.Time(1_700_000_000 + f.next())
		return
	case *cityid.Kind:
		*x = cityid.Kind(1 + f.next()%11)
		return
	case *cityid.Status:
		*x = cityid.Status(1 + f.next()%4)
		return
	case *cityid.Reason:
		*x = cityid.Reason(1 + f.next()%12)
		return
	case *cityid.Roles:
		*x = cityid.Roles(1 + f.next()%63)
		return
	case *cityid.Disclosure:
		*x = cityid.Disclosure(1 + f.next()%3)
		return
	case *cityid.DatasetClass:
		*x = cityid.DatasetClass(1 + f.next()%3)
		return
	case *cityid.Operation:
		if depth <= 0 {
			*x = cityid.Operation{Veto: &cityid.Veto{Code: cityid.MustParse(fmt.Sprintf("MA.156.%d", 1000+f.next()))}}
			return
		}
		depth--
	case *cityid.Quorum:
		if depth -= 1; depth < 0 {
			*x = cityid.Quorum{Threshold: 1, Members: []cityid.QuorumMember{{Code: cityid.MustParse("MA.156.77")}}}
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[cityid.Bytes]() {
			v.SetBytes(fmt.Appendf(nil, "octets %d", f.next()))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			f.fill(v.Index(i), depth)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i), depth)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(1 + f.next()%200))
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.next()))
	case reflect.Uint8:
		v.SetUint(uint64(1 + f.next()%200))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.next()))
	default:
		panic("nothing fills " + v.Type().String())
	}
}

// mutate changes one thing after another in v, calls check with its path, and
// puts it back.
func mutate(v reflect.Value, path string, check func(path string)) {
	if v.Kind() != reflect.Pointer && v.Kind() != reflect.Slice && v.Kind() != reflect.Struct || leaf(v) {
		change(v, path, check)
		return
	}
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		v.SetZero()
		check(path + " = nil")
		v.Set(old)
		mutate(v.Elem(), path, check)
	case reflect.Slice:
		for i := range v.Len() {
			mutate(v.Index(i), fmt.Sprintf("%s[%d]", path, i), check)
		}
		if v.Len() == 0 {
			return
		}
		v.Set(v.Slice(0, v.Len()-1))
		check(path + " without the last")
		v.Set(old)
		if v.Len() == 2 {
			swapped := reflect.MakeSlice(v.Type(), 2, 2)
			swapped.Index(0).Set(old.Index(1))
			swapped.Index(1).Set(old.Index(0))
			v.Set(swapped)
			check(path + " swapped")
			v.Set(old)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				mutate(v.Field(i), path+"."+f.Name, check)
			}
		}
	}
}

func leaf(v reflect.Value) bool {
	switch v.Interface().(type) {
	case cityid.Code, cityid.Digest, cityid.Bytes:
		return true
	}
	return false
}

// change replaces a leaf by another value and by none.
func change(v reflect.Value, path string, check func(string)) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	f := filler{n: 50_000}
	for range 3 { // enumerations are short: one of these differs
		f.fill(v, 0)
		if !reflect.DeepEqual(v.Interface(), old.Interface()) {
			break
		}
	}
	if v.Kind() == reflect.Bool {
		v.SetBool(!old.Bool())
	}
	check(path + " = another")
	if !old.IsZero() {
		v.SetZero()
		check(path + " = zero")
	}
	v.Set(old)
}

// parts returns one operation of each sort, every field of it filled.
func parts(t *testing.T) []cityid.Operation {
	t.Helper()
	var out []cityid.Operation
	kind := reflect.TypeFor[cityid.Operation]()
	for i := range kind.NumField() {
		var op cityid.Operation
		f := filler{n: 1000 * i}
		depth := 0
		if kind.Field(i).Name == "SetTrust" {
			depth = 1 // a quorum within a quorum; operations within operations are described by the same code
		}
		f.fill(reflect.ValueOf(&op).Elem().Field(i), depth)
		out = append(out, op)
	}
	return out
}

func joined(lines []describe.Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}

// TestComplete changes every field of every operation: the words change, in
// both languages.
func TestComplete(t *testing.T) {
	for _, op := range parts(t) {
		before := map[string]string{}
		for _, lang := range languages {
			before[lang] = joined(describe.Operation(lang, &op))
		}
		raw := string(cityid.MustMarshal(&op))
		n := 0
		mutate(reflect.ValueOf(&op).Elem(), op.Name(), func(path string) {
			if string(cityid.MustMarshal(&op)) == raw {
				t.Errorf("%s: the test changes nothing", path)
			}
			n++
			for _, lang := range languages {
				if joined(describe.Operation(lang, &op)) == before[lang] {
					t.Errorf("%s in %s: not in the words:\n%s", path, lang, before[lang])
				}
			}
		})
		if n < 2 {
			t.Errorf("%s: only %d changes", op.Name(), n)
		}
	}
}

// TestCompleteAlone sets every field of an otherwise empty operation: a field
// that is set says so, whatever the others are.
func TestCompleteAlone(t *testing.T) {
	kind := reflect.TypeFor[cityid.Operation]()
	for i := range kind.NumField() {
		var op cityid.Operation
		v := reflect.ValueOf(&op).Elem().Field(i)
		v.Set(reflect.New(v.Type().Elem()))
		for j := range v.Elem().NumField() {
			f := v.Elem().Field(j)
			for _, lang := range languages {
				before := joined(describe.Operation(lang, &op))
				fill := filler{n: 500}
				fill.fill(f, 1)
				if joined(describe.Operation(lang, &op)) == before {
					t.Errorf("%s.%s in %s: not in the words:\n%s", op.Name(), v.Elem().Type().Field(j).Name, lang, before)
				}
				f.SetZero()
			}
		}
	}
}

// TestProposal holds the words to saying all that the digest of a proposal covers.
func TestProposal(t *testing.T) {
	p := cityid.Proposal{Operations: []cityid.Operation{{Veto: &cityid.Veto{Code: cityid.MustParse("MA.156.1301")}}}}
	f := filler{}
	for _, field := range []any{&p.Number, &p.Revision, &p.Targets, &p.Policies, &p.Expires, &p.Evidence, &p.Proposer, &p.Note} {
		f.fill(reflect.ValueOf(field).Elem(), 0)
	}
	p.State = cityid.ProposalPending
	show := func(lang string) string {
		a := cityid.ProposalAnswer{Proposal: p, State: p.State, Digest: p.Digest(), Needs: []cityid.Need{{
			Code: cityid.MustParse("MA.156"), Threshold: 2, Members: []cityid.MemberVote{{Code: cityid.MustParse("MA.156.M0"), Approved: true}},
		}}}
		text := joined(describe.Proposal(lang, &a))
		if !strings.Contains(text, a.Digest.String()) || strings.Contains(text, "WARNING") || strings.Contains(text, "警告") {
			t.Errorf("%s:\n%s", lang, text)
		}
		return strings.ReplaceAll(text, a.Digest.String(), "")
	}
	before := map[string]string{}
	for _, lang := range languages {
		before[lang] = show(lang)
	}
	for _, field := range []any{&p.Number, &p.Revision, &p.Operations, &p.Targets, &p.Policies, &p.Expires, &p.Evidence} {
		mutate(reflect.ValueOf(field).Elem(), fmt.Sprintf("%T", field), func(path string) {
			for _, lang := range languages {
				if show(lang) == before[lang] {
					t.Errorf("%s in %s: not in the words", path, lang)
				}
			}
		})
	}
	lying := cityid.ProposalAnswer{Proposal: p, State: p.State, Digest: cityid.Digest{1}}
	if first := describe.Proposal("en", &lying)[0].Text; !strings.HasPrefix(first, "WARNING") {
		t.Errorf("a wrong digest goes unnoticed: %s", first)
	}
}

// TestNoForeignWords finds English words left in Chinese sentences, apart from
// what is written alike in both.
func TestNoForeignWords(t *testing.T) {
	for _, op := range parts(t) {
		for _, l := range describe.Operation("zh", &op) {
			rest := l.Text
			for _, alike := range []string{"ed25519", "text", "MA", "key", "Z", "T"} {
				rest = strings.ReplaceAll(rest, alike, "")
			}
			for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return !unicode.IsLetter(r) || r > 0x7f }) {
				if len(word) > 3 && strings.ContainsAny(word, "ghijklmnopqrstuvwxyz") {
					t.Errorf("%s: %q in %q", op.Name(), word, l.Text)
				}
			}
		}
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"石家庄市 Shijiazhuang", "石家庄市 Shijiazhuang"},
		{"井盖　东", "井盖　东"},
		{"a\u202eb", `a\u{202E}b`},
		{"a\nb\tc", `a\u{000A}b\u{0009}c`},
		{`a\nb`, `a\\nb`},
		{"a\u200bb\u00a0c\ufe0fd", `a\u{200B}b\u{00A0}c\u{FE0F}d`},
		{"\u3164\u2800\U000e0041", `\u{3164}\u{2800}\u{E0041}`},
		{"a\xffb\ufffd", `a\xffb\u{FFFD}`},
		{"\x1b[31m", `\u{001B}[31m`},
		{"é", "é"},
	} {
		if got := describe.Text(tt.in); got != tt.want {
			t.Errorf("Text(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

// TestTextEverywhere puts a character that reverses text into every text that
// others write: it never reaches the words.
func TestTextEverywhere(t *testing.T) {
	const bad = "x\u202ey\nz"
	for _, op := range parts(t) {
		var spoil func(v reflect.Value)
		spoil = func(v reflect.Value) {
			switch {
			case v.Kind() == reflect.Struct && !leaf(v):
				for i := range v.NumField() {
					if v.Type().Field(i).IsExported() {
						spoil(v.Field(i))
					}
				}
			case v.Kind() == reflect.Pointer && !v.IsNil():
				spoil(v.Elem())
			case v.Kind() == reflect.Slice && !leaf(v):
				for i := range v.Len() {
					spoil(v.Index(i))
				}
			case v.Kind() == reflect.String:
				v.SetString(bad)
			}
		}
		spoil(reflect.ValueOf(&op).Elem())
		for _, lang := range languages {
			text := joined(describe.Operation(lang, &op)) + describe.Summary(lang, []cityid.Operation{op})
			if strings.Contains(text, "\u202e") || strings.Contains(text, "y\nz") {
				t.Errorf("%s in %s: %q", op.Name(), lang, text)
			}
		}
	}
}

func TestSummary(t *testing.T) {
	city := cityid.Allocation{Code: cityid.MustParse("MA.156.1301"), Kind: cityid.KindCity, Content: cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": "石家庄市", "en": "Shijiazhuang"})}}
	other := city
	other.Code = cityid.MustParse("MA.156.1302")
	for _, tt := range []struct {
		lang, want string
		ops        []cityid.Operation
	}{
		{"en", "allocate MA.156.1301, city Shijiazhuang", []cityid.Operation{{Allocate: &cityid.Allocate{Items: []cityid.Allocation{city}}}}},
		{"zh-CN", "分配 MA.156.1301，城市 石家庄市 等，另有 2 项", []cityid.Operation{{Allocate: &cityid.Allocate{Items: []cityid.Allocation{city, other}}}, {Veto: &cityid.Veto{Code: city.Code}}}},
		{"en", "approve proposal 17", []cityid.Operation{{Approve: &cityid.Approve{Proposal: 17}}}},
		{"zh", "同意第 17 号提案", []cityid.Operation{{Approve: &cityid.Approve{Proposal: 17}}}},
		{"en", "amend MA.156.1301 (revision 3) so that it says", []cityid.Operation{{Amend: &cityid.Amend{Code: city.Code, Revision: 3}}}},
		{"zh", "无内容", nil},
	} {
		if got := describe.Summary(tt.lang, tt.ops); got != tt.want {
			t.Errorf("Summary in %s: %q, want %q", tt.lang, got, tt.want)
		}
	}
	for _, op := range parts(t) {
		for _, lang := range languages {
			if s := describe.Summary(lang, []cityid.Operation{op}); s == "" || strings.ContainsRune(s, '\n') {
				t.Errorf("%s in %s: %q", op.Name(), lang, s)
			}
		}
	}
}

func TestDifference(t *testing.T) {
	old := cityid.Allocation{
		Code: cityid.MustParse("MA.156.1301"), Kind: cityid.KindCity,
		Content: cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": "石家庄", "en": "Shijiazhuang"})},
	}
	new := old
	new.Content.Names = cityid.NamesOf(map[string]string{"zh": "石家庄市", "en": "Shijiazhuang"})
	new.Content.Hosts = []string{"sjz.example.cn"}
	difference := func(lang string, old, new cityid.Allocation) []describe.Change {
		of := func(a cityid.Allocation) []cityid.Operation {
			return []cityid.Operation{{Apply: &cityid.Apply{Allocation: a}}}
		}
		return describe.Difference(lang, of(old), of(new))
	}
	got := difference("en", old, new)
	want := []describe.Change{
		{Within: "apply for MA.156.1301:", Old: "name (zh): 石家庄", New: "name (zh): 石家庄市"},
		{Within: "apply for MA.156.1301:", New: `links below may use: "sjz.example.cn"`},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if d := difference("zh", old, old); len(d) != 0 {
		t.Errorf("no difference: %+v", d)
	}
	for _, op := range parts(t) {
		same := op
		before := []cityid.Operation{op}
		if d := describe.Difference("zh", before, []cityid.Operation{same}); len(d) != 0 {
			t.Errorf("%s: %+v", op.Name(), d)
		}
		if d := describe.Difference("en", before, nil); len(d) == 0 {
			t.Errorf("%s: nothing is gone", op.Name())
		}
	}
}

func TestRefusal(t *testing.T) {
	for _, tt := range []struct {
		lang string
		err  error
		want string
	}{
		{"en", nil, ""},
		{"zh", errors.New("disk\u202e full"), `disk\u{202E} full`},
		{"zh", fmt.Errorf("ask: %w", context.DeadlineExceeded), "未在时限内得到答复。如果已经提交，请先查看是否已记录，再决定是否重新提交。"},
		{"zh", &cityid.Error{Code: cityid.ErrRule, Operation: 2, Message: "numbers are given in sequence: 07 comes first"}, "操作 2 未被接受：不符合分配规则（原文：numbers are given in sequence: 07 comes first）。请对照分配规则改正。"},
		{"en", fmt.Errorf("submit: %w", cityid.Errorf(cityid.ErrClosed, "proposal 3 is executed")), "Refused: it is no longer open (proposal 3 is executed). Look at the outcome; if needed, begin anew."},
		{"zh", cityid.ErrFull, "未被接受：该节点排队过多。请几秒后重新提交。"},
	} {
		if got := describe.Refusal(tt.lang, tt.err); got != tt.want {
			t.Errorf("Refusal(%s, %v) = %q, want %q", tt.lang, tt.err, got, tt.want)
		}
	}
}
