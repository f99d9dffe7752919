package repo

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// purePackages decide what replicas must agree on.
var purePackages = []string{"coordinator/state", "coordinator/schedule", "exact", "internal/counter"}

var impureImports = []string{
	"os", "os/exec", "os/signal", "net", "net/http", "io/fs", "io/ioutil", "syscall", "runtime", "log", "log/slog",
	"math/rand", "math/rand/v2", "crypto/rand", "sync", "sync/atomic", "context", "unique", "maphash", "hash/maphash",
}

var clockFunctions = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

func pure(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		if !slices.Contains(purePackages, p.Dir) {
			continue
		}
		for _, f := range p.Code {
			for _, imported := range slices.Sorted(maps.Keys(f.imports())) {
				if slices.Contains(impureImports, imported) {
					found = append(found, fmt.Sprintf("%s: imports %s", f.Path, imported))
				}
			}
			for _, n := range f.uses("time", clockFunctions...) {
				found = append(found, f.at(n)+": reads the clock")
			}
			for _, n := range f.starts() {
				found = append(found, f.at(n)+": starts a goroutine")
			}
		}
	}
	return found
}

var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "lib"}

func names(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		for part := range strings.SplitSeq(p.Dir, "/") {
			if slices.Contains(emptyNames, part) {
				found = append(found, fmt.Sprintf("%s: a package named %s can hold anything", p.Dir, part))
			}
		}
	}
	return found
}

func inits(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		for _, f := range slices.Concat(p.Code, p.Tests) {
			for _, d := range f.Syntax.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && !f.Generated && fn.Recv == nil && fn.Name.Name == "init" {
					found = append(found, f.at(d)+": init function")
				}
			}
		}
	}
	return found
}

func environment(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		if within(p.Dir, "cmd") || within(p.Dir, "e2e") {
			continue
		}
		for _, f := range p.Code {
			for _, imported := range []string{"os", "syscall"} {
				for _, n := range f.uses(imported, "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv") {
					found = append(found, f.at(n)+": uses the environment below cmd")
				}
			}
		}
	}
	return found
}

// sleeps: no time.Sleep in tests, nor in packages that are tests of others (storetest). A file on fake time
// may: there, sleeping is how it passes.
func sleeps(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		files := p.Tests
		if p.suite() || within(p.Dir, "e2e") {
			files = slices.Concat(p.Code, p.Tests)
		}
		for _, f := range files {
			if f.fakesTime() {
				continue
			}
			for _, n := range f.uses("time", "Sleep") {
				found = append(found, f.at(n)+": sleeps")
			}
		}
	}
	return found
}

// fakesTime tells whether the file runs tests on fake time, or helps those that do.
func (f *File) fakesTime() bool {
	for _, imported := range []string{"testing/synctest", path.Join(Module, bubbles)} {
		if _, ok := f.imports()[imported]; ok {
			return true
		}
	}
	return false
}

// bubbles is the package that begins all tests on fake time.
const bubbles = "internal/faketime"

// fakeTime: bubbles are begun in one place, which keeps them on one processor.
func fakeTime(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		for _, f := range slices.Concat(p.Code, p.Tests) {
			if p.Dir == bubbles {
				continue
			}
			for _, n := range f.uses("testing/synctest", "Test", "Run") {
				found = append(found, f.at(n)+": begins a bubble outside "+bubbles)
			}
		}
	}
	return found
}

// suite tells whether a package is tests of others: storetest.
func (p *Package) suite() bool { return strings.HasSuffix(path.Base(p.Dir), "test") }
