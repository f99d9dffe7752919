// Package repo holds the rules of the house, as checks of the source tree. Its tests apply them to this repository,
// and each rule to small trees that break it.
//
// Files are parsed, not listed with the go command: so files behind build tags (device/cuda) are checked too, and a
// tree can be made up in memory.
package repo

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Module is the import path of this repository.
const Module = "github.com/ringleader-dev/ringleader"

// Folders that hold what is built or fetched, not source.
var notSource = []string{".git", ".cache", "bin", "demo-run", "node_modules"}

// maxText is the size above which a file is data, not text.
const maxText = 1 << 20

// Tree is the source of a repository.
type Tree struct {
	Files    []*File    // all text files, by path
	Packages []*Package // of the root module, by folder
}

// File is one text file.
type File struct {
	Path      string // slash-separated, from the root
	Text      []byte
	Generated bool // says so itself, as https://go.dev/s/generatedcode has it

	Syntax *ast.File // nil unless it is Go of the root module outside of testdata
	fset   *token.FileSet
}

// Package is the Go files of one folder, of all build tags, with its tests.
type Package struct {
	Dir   string // from the root; "." is the root package
	Code  []*File
	Tests []*File
}

var generated = regexp.MustCompile(`(?m)^(//|#) Code generated .* DO NOT EDIT\.$`)

// Load reads a tree. The error names the file that could not be read or parsed.
func Load(root fs.FS) (*Tree, error) {
	t := &Tree{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // went away meanwhile: an editor's temporary file
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(notSource, name):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		return t.add(root, name)
	})
	if err != nil {
		return nil, fmt.Errorf("load source tree: %w", err)
	}
	return t, t.parse()
}

func (t *Tree) add(root fs.FS, name string) error {
	text, err := fs.ReadFile(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(text) <= maxText && !bytes.Contains(text, []byte{0}) {
		t.Files = append(t.Files, &File{Path: name, Text: text, Generated: isGenerated(text)})
	}
	return nil
}

func isGenerated(text []byte) bool {
	return bytes.Contains(text, []byte("Code generated")) && generated.Match(text)
}

// parse parses the Go files and groups them into packages.
func (t *Tree) parse() error {
	fset := token.NewFileSet()
	packages := map[string]*Package{}
	for _, f := range t.Files {
		if path.Ext(f.Path) != ".go" || t.foreign(f.Path) {
			continue
		}
		syntax, err := parser.ParseFile(fset, f.Path, f.Text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse source tree: %w", err)
		}
		f.Syntax, f.fset = syntax, fset
		dir := path.Dir(f.Path)
		p := packages[dir]
		if p == nil {
			p = &Package{Dir: dir}
			packages[dir] = p
			t.Packages = append(t.Packages, p)
		}
		if strings.HasSuffix(f.Path, "_test.go") {
			p.Tests = append(p.Tests, f)
		} else {
			p.Code = append(p.Code, f)
		}
	}
	return nil
}

// foreign tells whether a file belongs to another module or to test data, where other rules hold.
func (t *Tree) foreign(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == "testdata" || t.has(dir+"/go.mod") {
			return true
		}
	}
	return false
}

func (t *Tree) has(name string) bool {
	return slices.ContainsFunc(t.Files, func(f *File) bool { return f.Path == name })
}

// at is the place of a node for a message.
func (f *File) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.Path, f.fset.Position(n.Pos()).Line)
}

// imports are the import paths of a file and where they stand.
func (f *File) imports() map[string]*ast.ImportSpec {
	specs := map[string]*ast.ImportSpec{}
	for _, s := range f.Syntax.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			specs[p] = s
		}
	}
	return specs
}

// uses finds mentions of names of an imported package: time.Sleep, called or passed on.
func (f *File) uses(importPath string, names ...string) []ast.Node {
	spec, ok := f.imports()[importPath]
	if !ok {
		return nil
	}
	local := path.Base(importPath)
	if spec.Name != nil {
		local = spec.Name.Name
	}
	var found []ast.Node
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, sel.Sel.Name) {
			found = append(found, n)
		}
		return true
	})
	return found
}
