package repo

import (
	"go/ast"
	"maps"
	"path"
	"slices"
)

// leaks: a package whose code or tests start goroutines looks, when its tests have run, whether all have ended. So does one whose tests run a
// conformance suite; the suite itself leaves that to them.
func leaks(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		if p.suite() || slices.ContainsFunc(p.Tests, (*File).looksForLeaks) {
			continue
		}
		for _, f := range slices.Concat(p.Code, p.Tests) {
			if why := f.mayLeak(); why != "" && !f.Generated {
				found = append(found, why+", but no test of the package uses goleak")
				break
			}
		}
	}
	return found
}

func (f *File) looksForLeaks() bool {
	return len(f.uses("go.uber.org/goleak", "VerifyTestMain", "VerifyNone")) > 0
}

// starters are functions that leave goroutines running until what they return is closed, stopped or fired.
var starters = map[string][]string{
	"time":                   {"AfterFunc"},
	"context":                {"AfterFunc"},
	"database/sql":           {"Open", "OpenDB"},
	"net/http/httptest":      {"NewServer", "NewTLSServer", "NewUnstartedServer"},
	"google.golang.org/grpc": {"NewServer", "NewClient"},
}

// mayLeak is the first place of a file where goroutines are started, or "".
func (f *File) mayLeak() string {
	for _, n := range f.starts() {
		return f.at(n) + ": starts a goroutine"
	}
	for _, imported := range slices.Sorted(maps.Keys(starters)) {
		for _, n := range f.uses(imported, starters[imported]...) {
			return f.at(n) + ": starts goroutines"
		}
	}
	for _, dir := range inside(f) {
		if p := (&Package{Dir: dir}); p.suite() {
			return f.at(f.imports()[path.Join(Module, dir)]) + ": runs a conformance suite"
		}
	}
	return ""
}

// starts finds where goroutines are started: go statements, and Go methods of wait groups and error groups.
func (f *File) starts() []ast.Node {
	var found []ast.Node
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, n)
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" && len(n.Args) == 1 {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}
