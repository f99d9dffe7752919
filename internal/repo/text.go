package repo

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// comments: every package has a package comment, in one of its files.
func comments(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		if len(p.Code) == 0 {
			continue
		}
		name := p.Code[0].Syntax.Name.Name
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + path.Base(p.Dir) + " "
		}
		ok := slices.ContainsFunc(p.Code, func(f *File) bool {
			return strings.HasPrefix(f.Syntax.Doc.Text(), want) || f.Generated
		})
		if !ok {
			found = append(found, fmt.Sprintf("%s: no package comment that begins with %q", p.Dir, want))
		}
	}
	return found
}

const maxLines = 500

// hand are the endings of files that people write and read as code.
var hand = []string{".go", ".c", ".h", ".cu", ".cuh", ".proto", ".sh", ".sql", ".py", ".js", ".css", ".html"}

func sizes(t *Tree) []string {
	var found []string
	for _, f := range t.Files {
		n := bytes.Count(f.Text, []byte("\n"))
		if n > maxLines && !f.Generated && slices.Contains(hand, path.Ext(f.Path)) {
			found = append(found, fmt.Sprintf("%s: %d lines, want at most %d", f.Path, n, maxLines))
		}
	}
	return found
}

// headers: *.pb.go files say that they are generated, and only what a generator wrote says so, or the other rules
// would not see it.
func headers(t *Tree) []string {
	var found []string
	for _, f := range t.Files {
		if byName := strings.HasSuffix(f.Path, ".pb.go"); byName && !f.Generated {
			found = append(found, f.Path+": no line that says that it is generated")
		} else if !byName && f.Generated && path.Ext(f.Path) == ".go" {
			found = append(found, f.Path+": says that it is generated, but no known generator writes it")
		}
	}
	return found
}

// A ban is a text that must not stand anywhere.
type ban struct {
	hint  string // a lower-case part of every match: searching it first is a hundred times faster
	match *regexp.Regexp
	what  string
}

const (
	registry = "the host of a package registry; name the module or package, and let the client find it"
	machine  = "a path of one machine"
	making   = "how the project was made; the history tells"
)

// bans are put together from parts so that this file does not break the rule.
var bans = []ban{
	{"golang" + ".org", regexp.MustCompile(`\b(proxy|sum)\.golang` + `\.org`), registry},
	{"pypi" + ".org", regexp.MustCompile(`\bpypi` + `\.org`), registry},
	{"pythonhosted", regexp.MustCompile(`\bpythonhosted` + `\.org`), registry},
	{"npmjs", regexp.MustCompile(`\bregistry\.npmjs` + `\.org`), registry},
	{"crates", regexp.MustCompile(`\bcrates` + `\.io`), registry},
	{"debian" + ".org", regexp.MustCompile(`\bdeb\.debian` + `\.org`), registry},
	{"/home/", regexp.MustCompile(`/home/` + `[a-z]+/`), machine},
	{"this " + "session", regexp.MustCompile(`(?i)\bthis ` + `session\b`), making},
	{"issue #", regexp.MustCompile(`(?i)\bissue ` + `#[0-9]`), making},
	{" #", regexp.MustCompile(`(?i)\b(fix(es|ed)?|closes?d?|resolves?d?) ` + `#[0-9]`), making},
}

func texts(t *Tree) []string {
	var found []string
	for _, f := range t.Files {
		if f.Generated {
			continue
		}
		lower := bytes.ToLower(f.Text)
		for _, b := range bans {
			if !bytes.Contains(lower, []byte(b.hint)) {
				continue
			}
			for _, at := range b.match.FindAllIndex(f.Text, -1) {
				found = append(found, fmt.Sprintf("%s: %q: %s", place(f, at[0]), f.Text[at[0]:at[1]], b.what))
			}
		}
	}
	return found
}

func place(f *File, offset int) string {
	return fmt.Sprintf("%s:%d", f.Path, 1+bytes.Count(f.Text[:offset], []byte("\n")))
}

var (
	document = regexp.MustCompile(`[A-Za-z0-9_./-]*[A-Za-z0-9_-]\.md\b`)
	link     = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	prose    = []string{".go", ".c", ".h", ".cu", ".proto", ".sh", ".md", ".yaml"}
)

// references: documents that are mentioned exist somewhere in the tree, and relative links of documents lead to a file or folder.
func references(t *Tree) []string {
	documents := map[string]bool{}
	exists := map[string]bool{}
	for _, f := range t.Files {
		documents[path.Base(f.Path)] = true
		for p := f.Path; p != "."; p = path.Dir(p) {
			exists[p] = true
		}
	}
	var found []string
	for _, f := range t.Files {
		if !slices.Contains(prose, path.Ext(f.Path)) || f.Generated || strings.HasSuffix(f.Path, "_test.go") {
			continue // tests may make up documents
		}
		for _, at := range mentions(f) {
			mention := string(f.Text[at[0]:at[1]])
			name := path.Base(mention)
			if !documents[name] && !strings.HasPrefix(mention, "//") { // what follows a URL's colon is elsewhere
				found = append(found, fmt.Sprintf("%s: mentions %s, which is not here", place(f, at[0]), name))
			}
		}
		if path.Ext(f.Path) != ".md" {
			continue
		}
		for _, at := range link.FindAllSubmatchIndex(f.Text, -1) {
			to := string(f.Text[at[2]:at[3]])
			if !exists[path.Join(path.Dir(f.Path), to)] {
				found = append(found, fmt.Sprintf("%s: links to %s, which is not here", place(f, at[2]), to))
			}
		}
	}
	return found
}

func mentions(f *File) [][]int {
	if !bytes.Contains(f.Text, []byte(".md")) {
		return nil
	}
	return document.FindAllIndex(f.Text, -1)
}
