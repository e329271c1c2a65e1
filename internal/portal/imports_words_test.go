// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"cityid/internal/bulk"
)

// passedOn are formats that pass on a reason which has a text of its own, or
// none but the registry's.
var passedOn = map[string]bool{"%v": true, "%v%s": true, "%s": true}

// TestProblemTexts holds the texts for problems against the formats in package
// bulk: each has one, in both languages, and none is left over.
func TestProblemTexts(t *testing.T) {
	texts, err := loadCatalogues()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../bulk/*.go")
	if err != nil {
		t.Fatal(err)
	}
	formats := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		add := func(e ast.Expr) {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && text != "" {
					formats[text] = true
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				called := ""
				switch f := x.Fun.(type) {
				case *ast.Ident:
					called = f.Name
				case *ast.SelectorExpr:
					called = f.Sel.Name
				}
				if at := map[string]int{"problemf": 1, "report": len(x.Args)}[called]; called == "report" && len(x.Args) >= 2 {
					for _, a := range x.Args[:min(3, len(x.Args))] {
						add(a)
					}
				} else if called == "problemf" && len(x.Args) > at {
					add(x.Args[at])
				}
			case *ast.FuncDecl:
				if x.Name.Name == "checkTogether" {
					ast.Inspect(x, func(n ast.Node) bool {
						if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) == 2 {
							add(r.Results[0])
						}
						return true
					})
				}
			case *ast.AssignStmt:
				if id, ok := x.Lhs[0].(*ast.Ident); ok && id.Name == "format" {
					add(x.Rhs[0])
				}
			}
			return true
		})
	}
	if len(formats) < 30 {
		t.Fatalf("found only %d formats", len(formats))
	}
	for f := range formats {
		if problemKeys[f] == "" && !passedOn[f] {
			t.Errorf("no text for the problem %q", f)
		}
	}
	for f, key := range problemKeys {
		if !formats[f] {
			t.Errorf("package bulk has no problem %q", f)
		}
		args := strings.Count(f, "%")
		for lang, c := range texts {
			text := c["imports.problem."+key]
			if text == "" {
				t.Errorf("%s: no text imports.problem.%s", lang, key)
			}
			for i := args; i < 10; i++ {
				if strings.Contains(text, "{"+strconv.Itoa(i)+"}") {
					t.Errorf("%s: imports.problem.%s has {%d}, and the problem %d arguments", lang, key, i, args)
				}
			}
		}
	}
	for reason, key := range reasonKeys {
		if texts["zh"]["imports.problem."+key] == "" {
			t.Errorf("no text for the reason %q", reason)
		}
	}
	for _, f := range []string{bulk.FoundHeader, bulk.FoundValues, bulk.FoundUnknown, bulk.FoundRowNumbers, bulk.FoundCRS, bulk.FoundForeignCRS, bulk.FoundNoCRS, bulk.FoundExchanged, bulk.FoundNoClass, bulk.FoundNoName} {
		if texts["zh"]["imports.found."+f] == "" {
			t.Errorf("no text for the finding %q", f)
		}
	}
}
