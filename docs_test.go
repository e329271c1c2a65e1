// SPDX-License-Identifier: Apache-2.0

package cityid_test

// The documents are held against the code. In docs/formats.md, every vector is
// computed anew, every table of fields is compared with the struct it describes,
// and so are the enumerations, the tags that separate digests, and the name
// spaces of the state. Elsewhere, every command line must name a command and
// flags that exist, every link a file, and the lists of packages and modules
// must be whole.
//
// After a change of format, "go test -run TestDocVectors -update-docs ." writes
// the vectors anew. Read the difference before believing it.

import (
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/founding"
	"cityid/internal/ledger"
	"cityid/internal/office"
	"cityid/internal/share"
	"cityid/keys"
	"cityid/verify"
)

var updateDocs = flag.Bool("update-docs", false, "write the vectors in docs/formats.md anew")

const formats = "docs/formats.md"

// documents are all documents that people read.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/design/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// line is one line of a vector.
type line struct{ name, value string }

func hexLine(name string, b []byte) line { return line{name, hex.EncodeToString(b)} }

var vectorBlock = regexp.MustCompile("(?s)```vector ([a-z0-9-]+)\n(.*?)```")

func TestDocVectors(t *testing.T) {
	doc := readDoc(t, formats)
	seen := map[string]bool{}
	updated := vectorBlock.ReplaceAllStringFunc(doc, func(block string) string {
		m := vectorBlock.FindStringSubmatch(block)
		name := m[1]
		compute := docVectors[name]
		if compute == nil || seen[name] {
			t.Errorf("%s: vector %s is unknown or stands there twice", formats, name)
			return block
		}
		seen[name] = true
		var want strings.Builder
		for _, l := range compute(t) {
			fmt.Fprintf(&want, "%s: %s\n", l.name, l.value)
		}
		if m[2] != want.String() && !*updateDocs {
			t.Errorf("%s: vector %s is\n%swant\n%s", formats, name, m[2], want.String())
		}
		return "```vector " + name + "\n" + want.String() + "```"
	})
	for name := range docVectors {
		if !seen[name] {
			t.Errorf("%s has no vector %s", formats, name)
		}
	}
	if *updateDocs && !t.Failed() && updated != doc {
		if err := os.WriteFile(formats, []byte(updated), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// row matches a row of a table whose first cell is given by a pattern.
func tableRows(section string) [][]string {
	var out [][]string
	for l := range strings.Lines(section) {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "|") {
			if len(out) > 0 {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(l, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		out = append(out, cells)
	}
	if len(out) < 2 {
		return nil
	}
	return out[2:] // without heading and rule
}

// after returns what follows a marker, an HTML comment that readers do not see.
func after(t *testing.T, doc, marker string) string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, "<!-- "+marker+" -->")
	if !ok {
		t.Fatalf("%s has no <!-- %s -->", formats, marker)
	}
	return rest
}

// encoded are the values that are hashed, signed, stored or sent; whatever they
// hold has a table of its fields as well.
var encoded = []any{
	cityid.Tx{}, cityid.Body{}, cityid.Record{}, cityid.Proposal{}, cityid.Waiting{}, cityid.Attestation{},
	cityid.Trust{}, cityid.Params{}, cityid.Rule{}, cityid.Scheme{}, cityid.Counters{}, cityid.ValidatorSet{},
	cityid.BlockLog{}, cityid.Ruleset{}, cityid.Recent{}, cityid.Agreement{}, cityid.Anchor{}, cityid.AnchorHead{}, cityid.Zone{}, cityid.Upstream{}, verify.Bundle{}, verify.Link{}, office.EvidenceDocument{}, office.Purpose{}, cityid.ReportFile{},
	founding.PartContent{}, ledger.Receipt{}, ledger.Entry{}, ledger.Acknowledgement{}, ledger.LeafProof{}, share.Evidence{},
}

// fieldTypes are the names that the tables use for types that have no table.
var fieldTypes = map[reflect.Type]string{
	reflect.TypeFor[cityid.Code](): "code", reflect.TypeFor[cityid.Digest](): "digest", reflect.TypeFor[cityid.Time](): "time",
	reflect.TypeFor[cityid.PublicKey](): "key", reflect.TypeFor[cityid.Bytes](): "bytes", reflect.TypeFor[verify.Tag](): "tag",
	reflect.TypeFor[cityid.Kind](): "kind", reflect.TypeFor[cityid.Status](): "status", reflect.TypeFor[cityid.Reason](): "reason",
	reflect.TypeFor[cityid.Disclosure](): "disclosure", reflect.TypeFor[cityid.ProposalState](): "state",
	reflect.TypeFor[cityid.DatasetClass](): "class", reflect.TypeFor[cityid.AgreementState](): "agreement state", reflect.TypeFor[cityid.Nonce](): "bytes",
	reflect.TypeFor[cityid.AnswerKind](): "answer", reflect.TypeFor[cityid.Roles](): "roles",
	reflect.TypeFor[cityid.ReportCategory](): "category",
	reflect.TypeFor[string]():                "text", reflect.TypeFor[bool](): "bool", reflect.TypeFor[uint8](): "u8", reflect.TypeFor[uint32](): "u32",
	reflect.TypeFor[uint64](): "u64", reflect.TypeFor[int32](): "i32", reflect.TypeFor[int64](): "i64",
}

// structName is what the tables call a struct. Two have the name Link.
func structName(t reflect.Type) string {
	if t == reflect.TypeFor[verify.Link]() {
		return "BundleLink"
	}
	return t.Name()
}

// docType names a type as the tables do, and returns the structs it leads to.
func docType(t reflect.Type) (string, []reflect.Type) {
	if name := fieldTypes[t]; name != "" {
		return name, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return docType(t.Elem())
	case reflect.Slice, reflect.Array:
		name, leads := docType(t.Elem())
		return "[" + name + "]", leads
	case reflect.Struct:
		return structName(t), []reflect.Type{t}
	}
	return "unknown " + t.String(), nil
}

// fieldsOf returns what the table of a struct must say, and the structs its
// fields lead to.
func fieldsOf(s reflect.Type) (rows [][]string, leads []reflect.Type) {
	position := 0
	for i := range s.NumField() {
		f := s.Field(i)
		if f.Name == "_" {
			continue
		}
		number, options, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		if number == "" {
			number = strconv.Itoa(position)
		}
		position++
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			name = strings.ToLower(f.Name)
		}
		kind, next := docType(f.Type)
		if strings.Contains(options, "omit") {
			kind += "?"
		}
		rows, leads = append(rows, []string{number, name, kind}), append(leads, next...)
	}
	slices.SortFunc(rows, func(a, b []string) int {
		x, _ := strconv.Atoi(a[0])
		y, _ := strconv.Atoi(b[0])
		return x - y
	})
	return rows, leads
}

func TestDocFields(t *testing.T) {
	doc := readDoc(t, formats)
	var queue []reflect.Type
	for _, v := range encoded {
		queue = append(queue, reflect.TypeOf(v))
	}
	done := map[string]bool{}
	for ; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		name := structName(s)
		if done[name] {
			continue
		}
		done[name] = true
		want, leads := fieldsOf(s)
		queue = append(queue, leads...)
		got := tableRows(after(t, doc, "fields: "+name))
		if len(got) != len(want) {
			t.Errorf("%s has %d fields, its table %d", name, len(want), len(got))
			continue
		}
		for i := range want {
			if len(got[i]) != 4 || !slices.Equal(got[i][:3], want[i]) || got[i][3] == "" {
				t.Errorf("%s: the table has %q, want %q and its meaning", name, got[i], want[i])
			}
		}
	}
	for _, m := range regexp.MustCompile(`<!-- fields: (\w+) -->`).FindAllStringSubmatch(doc, -1) {
		if !done[m[1]] {
			t.Errorf("the table of %s describes nothing that is encoded", m[1])
		}
	}
}

// enumerations name the numbers of closed lists.
var enumerations = map[string]func(n int) string{
	"kind":            func(n int) string { return cityid.Kind(n).String() },
	"status":          func(n int) string { return cityid.Status(n).String() },
	"reason":          func(n int) string { return cityid.Reason(n).String() },
	"disclosure":      func(n int) string { return cityid.Disclosure(n).String() },
	"class":           func(n int) string { return cityid.DatasetClass(n).String() },
	"agreement state": func(n int) string { return cityid.AgreementState(n).String() },
	"state":           func(n int) string { return cityid.ProposalState(n).String() },
	"answer":          func(n int) string { return cityid.AnswerKind(n).String() },
	"category":        func(n int) string { return cityid.ReportCategory(n).String() },
	"report state":    func(n int) string { return cityid.ReportState(n).String() },
	"roles":           func(n int) string { return cityid.Roles(n).String() },
	"algorithm":       func(n int) string { return keys.Algorithm(n).String() },
	"error":           func(n int) string { return cityid.ErrorCode(n).String() },
}

func TestDocEnumerations(t *testing.T) {
	rows := tableRows(after(t, readDoc(t, formats), "enumerations"))
	seen := map[string]bool{}
	for _, r := range rows {
		name := strings.Trim(r[0], "`")
		nameOf := enumerations[name]
		if nameOf == nil || len(r) != 2 {
			t.Errorf("enumeration %q is unknown", name)
			continue
		}
		seen[name] = true
		last := 0
		for item := range strings.SplitSeq(r[1], ", ") {
			number, text, _ := strings.Cut(item, " ")
			n, err := strconv.Atoi(number)
			if err != nil || nameOf(n) != text {
				t.Errorf("%s %s is %q, the document says %q", name, number, nameOf(n), text)
			}
			step := last + 1
			if name == "roles" {
				step = max(1, 2*last)
			}
			if n != step && (name != "error" || n != 0) {
				t.Errorf("%s: %d does not follow %d", name, n, last)
			}
			last = n
		}
		next := last + 1
		if name == "roles" {
			next = 2 * last
		}
		// Beyond its end a list has numbers for names, or none.
		if more := nameOf(next); more != "" && !strings.HasSuffix(more, strconv.Itoa(next)) && !strings.Contains(more, "("+strconv.Itoa(next)+")") {
			t.Errorf("%s: %d %s is missing", name, next, more)
		}
	}
	for name := range enumerations {
		if !seen[name] {
			t.Errorf("enumeration %s is missing", name)
		}
	}
}

// TestDocTags compares the tags that separate digests with those in the code.
func TestDocTags(t *testing.T) {
	tag := regexp.MustCompile(`"(cityid/[a-z/-]+/[0-9]+)(?:\\x00)?"`)
	inCode := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range tag.FindAllSubmatch(b, -1) {
			inCode[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	inDoc := map[string]bool{}
	for _, r := range tableRows(after(t, readDoc(t, formats), "tags")) {
		inDoc[strings.Trim(r[0], "`")] = true
	}
	if !maps.Equal(inCode, inDoc) {
		t.Errorf("tags in the code: %v\nin %s: %v", slices.Sorted(maps.Keys(inCode)), formats, slices.Sorted(maps.Keys(inDoc)))
	}
}

// TestDocNamespaces compares the name spaces of the state with state.go.
func TestDocNamespaces(t *testing.T) {
	var inCode, inDoc []string
	for _, m := range regexp.MustCompile(`ns\w+\s+= '(.)'`).FindAllStringSubmatch(readDoc(t, "state.go"), -1) {
		inCode = append(inCode, m[1])
	}
	for _, r := range tableRows(after(t, readDoc(t, formats), "namespaces")) {
		inDoc = append(inDoc, strings.Trim(r[0], "`"))
	}
	slices.Sort(inCode)
	slices.Sort(inDoc)
	if len(inCode) == 0 || !slices.Equal(inCode, slices.Compact(inDoc)) {
		t.Errorf("name spaces in state.go: %q, in %s: %q", inCode, formats, inDoc)
	}
}

// TestDocDependencies compares docs/dependencies.md with what go.mod requires
// directly.
func TestDocDependencies(t *testing.T) {
	modules := func(name, pattern string) []string {
		var out []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(readDoc(t, name), -1) {
			out = append(out, m[1])
		}
		return out
	}
	want := modules("go.mod", `(?m)^\t(\S+) v\S+$`)
	got := modules("docs/dependencies.md", "(?m)^\\| `([^`]+)` \\|")
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("docs/dependencies.md speaks of %q,\ngo.mod requires %q", got, want)
	}
}

// TestDocPackages compares the map in README.md with the packages there are.
func TestDocPackages(t *testing.T) {
	_, section, _ := strings.Cut(readDoc(t, "README.md"), "## Packages")
	listed := map[string]bool{}
	for _, r := range tableRows(section) {
		name := strings.TrimSuffix(strings.Trim(r[0], "`"), "/")
		if name == "." {
			name = ""
		}
		listed[strings.TrimSuffix("cityid/"+name, "/")] = true
	}
	if want := slices.Sorted(maps.Keys(floors)); !slices.Equal(slices.Sorted(maps.Keys(listed)), want) {
		t.Errorf("README.md lists %v, want %v", slices.Sorted(maps.Keys(listed)), want)
	}
}

// TestDocLinks follows links within the repository.
func TestDocLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, name := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(readDoc(t, name), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(readDoc(t, target)), anchor) {
				t.Errorf("%s links to %s, but no heading is called so", name, m[1])
			}
		}
	}
}

// anchors returns the names by which a document's headings can be linked to.
func anchors(doc string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(doc, -1) {
		var b strings.Builder
		for _, c := range strings.ToLower(m[1]) {
			switch {
			case c == ' ':
				b.WriteByte('-')
			case c == '-' || c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c > 0x7f:
				b.WriteRune(c)
			}
		}
		out = append(out, b.String())
	}
	return out
}
