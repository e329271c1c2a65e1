// SPDX-License-Identifier: Apache-2.0

package cityid_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors says on which floor of the house each package lives. A package
// imports only from lower floors, never sideways; a package inside another
// one's folder may import that one.
var floors = map[string]int{
	"cityid": 1, "cityid/merkle": 1, "cityid/keys": 1, "cityid/header": 1, "cityid/internal/durable": 1,
	"cityid/internal/durable/folder": 1, "cityid/internal/httpsig": 1,

	"cityid/internal/registry": 2, "cityid/internal/store": 2, "cityid/internal/bulk": 2, "cityid/internal/web": 2,
	"cityid/internal/index": 2, "cityid/internal/office": 2, "cityid/internal/ledger": 2, "cityid/internal/feed": 2, "cityid/internal/audit": 2, "cityid/internal/describe": 2,
	"cityid/internal/dcat": 2, "cityid/internal/founding": 2,
	"cityid/verify": 2, "cityid/verify/js": 2, "cityid/label": 2,

	"cityid/internal/chain": 3, "cityid/internal/chain/chaintest": 3, "cityid/internal/api": 3, "cityid/internal/resolve": 3,
	"cityid/internal/portal": 3, "cityid/internal/share": 3, "cityid/internal/catalogue": 3, "cityid/client": 3,

	"cityid/cmd/cityid": 4,
}

// pure packages reach no network, disk, clock or randomness.
var pure = []string{"cityid", "cityid/merkle", "cityid/header", "cityid/verify", "cityid/internal/registry"}

// impureImports are what pure packages must not import, impureCalls what they
// must not call.
var (
	impureImports = []string{"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "syscall", "io/fs", "path/filepath"}
	impureCalls   = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.Tick"}
)

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
	GoFiles    []string
	Standard   bool
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps=false", "-json=ImportPath,Dir,Imports,Deps,GoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func ours(path string) bool { return path == "cityid" || strings.HasPrefix(path, "cityid/") }

func TestFloors(t *testing.T) {
	for _, p := range packages(t) {
		floor, ok := floors[p.ImportPath]
		if !ok {
			t.Errorf("%s has no floor: give it one in floors", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if !ours(imp) || strings.HasPrefix(p.ImportPath, imp+"/") && imp != "cityid" {
				continue
			}
			if below := floors[imp]; below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, floor, imp, below)
			}
		}
	}
}

func TestBans(t *testing.T) {
	const comet = "github.com/cometbft/"
	for _, p := range packages(t) {
		public := !strings.Contains(p.ImportPath, "/internal/") && !strings.HasPrefix(p.ImportPath, "cityid/cmd/")
		for _, imp := range p.Imports {
			if public && strings.Contains(imp, "/internal/") && ours(imp) {
				t.Errorf("public package %s imports %s", p.ImportPath, imp)
			}
			if strings.HasPrefix(imp, comet) && !strings.HasPrefix(p.ImportPath, "cityid/internal/chain") {
				t.Errorf("%s imports %s: only internal/chain knows the consensus engine", p.ImportPath, imp)
			}
			if slices.Contains([]string{"cityid/internal/api", "cityid/internal/resolve", "cityid/internal/portal", "cityid/internal/share", "cityid/internal/catalogue"}, p.ImportPath) &&
				slices.Contains([]string{"cityid/internal/chain", "cityid/internal/store", "cityid/internal/registry"}, imp) {
				t.Errorf("%s imports %s: it reads from a source that it declares", p.ImportPath, imp)
			}
			if p.ImportPath == "cityid/merkle" && strings.Contains(imp, ".") {
				t.Errorf("merkle imports %s: it lives on the standard library alone", imp)
			}
		}
		if p.ImportPath == "cityid/verify" || p.ImportPath == "cityid/label" {
			for _, dep := range p.Deps {
				if dep == "net" || dep == "net/http" || strings.HasPrefix(dep, comet) || strings.Contains(dep, "pebble") {
					t.Errorf("%s depends on %s: an offline check must not weigh that", p.ImportPath, dep)
				}
			}
		}
	}
}

func TestPure(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(pure, p.ImportPath) {
			continue
		}
		for _, imp := range p.Imports {
			if slices.Contains(impureImports, imp) {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
		for _, file := range p.GoFiles {
			for _, call := range callsIn(t, filepath.Join(p.Dir, file)) {
				t.Errorf("%s: %s calls %s", p.ImportPath, file, call)
			}
		}
	}
}

// callsIn returns which of the impure calls a file contains.
func callsIn(t *testing.T, path string) []string {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	imported := map[string]bool{}
	for _, i := range f.Imports {
		name, _ := strconv.Unquote(i.Path.Value) // the parser has checked it
		imported[name] = true
	}
	var found []string
	for _, call := range impureCalls {
		name, fn, _ := strings.Cut(call, ".")
		if imported[name] && selects(f, name, fn) {
			found = append(found, call)
		}
	}
	return found
}

// selects reports whether a file uses name.fn.
func selects(f *ast.File, name, fn string) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == fn {
			id, ok := s.X.(*ast.Ident)
			found = found || ok && id.Name == name
		}
		return !found
	})
	return found
}
