package repo

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHouse applies every rule to this repository.
func TestHouse(t *testing.T) {
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 10 || len(tree.Files) < 50 {
		t.Fatalf("%d packages and %d files: this is not the repository", len(tree.Packages), len(tree.Files))
	}
	for _, r := range Rules() {
		t.Run(r.Name, func(t *testing.T) {
			for _, problem := range r.Check(tree) {
				t.Error(problem)
			}
			if t.Failed() {
				t.Logf("the rule is there because %s", r.Why)
			}
		})
	}
}

// files is a small tree in memory: paths and texts in turn.
func files(t *testing.T, pathsAndTexts ...string) *Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for pair := range slices.Chunk(pathsAndTexts, 2) {
		fsys[pair[0]] = &fstest.MapFile{Data: []byte(pair[1])}
	}
	tree, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// imports is the text of a Go file of package p that imports things; those that begin with a slash are of this module.
func imports(paths ...string) string {
	var b strings.Builder
	b.WriteString("package p\n")
	for _, p := range paths {
		if strings.HasPrefix(p, "/") {
			p = strings.TrimSuffix(Module+p, "/")
		}
		b.WriteString("import _ \"" + p + "\"\n")
	}
	return b.String()
}

// TestRules applies each rule to trees that keep it and to trees that break it. want is a part of the only message;
// an empty one stands for none.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule string
		name string
		tree []string
		want string
	}{
		{"levels", "down", []string{"worker/a.go", imports("/", "/device", "/model", "/coordinator/client")}, ""},
		{"levels", "up", []string{"device/a.go", imports("/model")}, "device/a.go: level 1 imports model of level 2"},
		{"levels", "sideways", []string{"allreduce/a.go", imports("/checkpoints")}, "level 1 imports checkpoints of level 1"},
		{"levels", "sideways at the bottom", []string{"job/a.go", imports("/internal/counter")}, ""},
		{"levels", "root imports the standard library alone", []string{"a.go", imports("fmt", "/job")}, "a.go: level 0 imports job"},
		{"levels", "behind a build tag", []string{"device/a.go", "//go:build cuda\n\n" + imports("/model")}, "level 1 imports model"},
		{"levels", "unknown room", []string{"attic/a.go", imports()}, "attic: has no level"},
		{"levels", "unknown room in a known one", []string{"dataset/attic/a.go", imports()}, "dataset/attic: has no level"},
		{"levels", "test uses a backend", []string{"model/a_test.go", imports("/device/cpu")}, ""},
		{"levels", "test uses what is far above", []string{"model/a_test.go", imports("/worker")}, "a test of level 2 imports worker"},
		{"levels", "another module", []string{"tools/go.mod", "module x", "tools/a.go", imports("/worker")}, ""},
		{"levels", "test data", []string{"attic/testdata/a.go", imports("/worker")}, ""},

		{"reach", "allowed", []string{"worker/a.go", imports("/coordinator/client"), "coordinator/a.go", imports("github.com/hashicorp/raft")}, ""},
		{"reach", "at once", []string{"worker/a.go", imports("/coordinator")}, "worker -> coordinator"},
		{"reach", "through another", []string{
			"worker/a.go", imports("/coordinator/client"),
			"coordinator/client/a.go", imports("/evaluation"),
			"evaluation/a.go", imports("github.com/hashicorp/raft-wal"),
		}, "worker -> coordinator/client -> evaluation -> github.com/hashicorp/raft-wal"},
		{"reach", "in a test", []string{"worker/a_test.go", imports("/coordinator")}, "worker -> coordinator"},
		{"reach", "device", []string{"coordinator/schedule/a.go", imports("/device/cpu")}, "coordinator/schedule -> device/cpu"},
		{"reach", "same beginning of a name", []string{"coordinator/a.go", imports("/modelling")}, ""},
		{"reach", "import cycle", []string{"worker/a.go", imports("/job"), "job/a.go", imports("/worker")}, ""},

		{"homes", "at home", []string{"coordinator/a.go", imports("github.com/hashicorp/raft"), "cmd/ringleader/a.go", imports("github.com/spf13/cobra")}, ""},
		{"homes", "package of a module", []string{"worker/a.go", imports("google.golang.org/grpc/codes")}, ""},
		{"homes", "away", []string{"worker/a.go", imports("github.com/minio/minio-go/v7/pkg/credentials")}, "which lives in checkpoints/s3"},
		{"homes", "away in a test", []string{"job/a_test.go", imports("gorgonia.org/cu")}, "which lives in device/cuda"},
		{"homes", "home of tests", []string{"allreduce/a_test.go", imports("google.golang.org/grpc")}, ""},
		{"homes", "home of tests alone", []string{"allreduce/a.go", imports("google.golang.org/grpc")}, "allreduce/a.go: imports google.golang.org/grpc"},
		{"homes", "longer name", []string{"worker/a.go", imports("github.com/hashicorp/raft-wal")}, "which lives in coordinator"},
		{"homes", "below a home", []string{"dataset/cache/a.go", imports("github.com/parquet-go/parquet-go")}, "which lives in dataset, dataset/synth"},
		{"homes", "homeless", []string{"job/a.go", imports("example.com/leftpad")}, "example.com/leftpad has no home"},

		{"cgo", "backend", []string{"device/cpu/a.go", imports("C")}, ""},
		{"cgo", "elsewhere", []string{"dataset/a.go", imports("C")}, "dataset/a.go:2: cgo"},

		{"pure", "pure", []string{"coordinator/state/a.go", "package state\nimport \"time\"\nvar d = time.Second"}, ""},
		{"pure", "clock", []string{"coordinator/schedule/a.go", "package schedule\nimport \"time\"\nvar now = time.Now()"}, "a.go:3: reads the clock"},
		{"pure", "clock under another name", []string{"coordinator/state/a.go", "package state\nimport t \"time\"\nvar now = t.Now"}, "a.go:3: reads the clock"},
		{"pure", "randomness", []string{"exact/a.go", imports("math/rand/v2")}, "imports math/rand/v2"},
		{"pure", "goroutine", []string{"coordinator/state/a.go", "package state\nfunc f() { go f() }"}, "a.go:2: starts a goroutine"},
		{"pure", "not in tests", []string{"coordinator/state/a_test.go", imports("math/rand/v2", "os")}, ""},

		{"names", "noun", []string{"worker/a.go", imports()}, ""},
		{"names", "util", []string{"internal/util/a.go", imports()}, "internal/util: a package named util"},

		{"init", "none", []string{"job/a.go", "package job\ntype t struct{}\nfunc (t) init() {}"}, ""},
		{"init", "one", []string{"job/a.go", "package job\nfunc init() {}"}, "job/a.go:2: init function"},

		{"environment", "in cmd", []string{"cmd/ringleader/a.go", "package main\nimport \"os\"\nvar x = os.Getenv(\"X\")"}, ""},
		{"environment", "in a test", []string{"job/a_test.go", "package job\nimport \"os\"\nvar x = os.Getenv(\"X\")"}, ""},
		{"environment", "called", []string{"job/a.go", "package job\nimport \"os\"\nvar x = os.Getenv(\"X\")"}, "job/a.go:3"},
		{"environment", "passed on", []string{"job/a.go", "package job\nimport \"os\"\nvar x = os.LookupEnv"}, "job/a.go:3"},

		{"sleep", "code", []string{"job/a.go", sleepy}, ""},
		{"sleep", "test", []string{"job/a_test.go", sleepy}, "job/a_test.go:3: sleeps"},
		{"sleep", "conformance suite", []string{"checkpoints/storetest/a.go", sleepy}, "storetest/a.go:3: sleeps"},
		{"sleep", "fake time", []string{"job/a_test.go", strings.Replace(sleepy, "\n", "\nimport _ \"testing/synctest\"\n", 1)}, ""},

		{"fake time", "begun", []string{"job/a_test.go", "package job\nimport \"testing/synctest\"\nvar x = synctest.Test"}, "job/a_test.go:3: begins a bubble"},
		{"fake time", "waited", []string{"job/a_test.go", "package job\nimport \"testing/synctest\"\nvar x = synctest.Wait"}, ""},
		{"fake time", "at home", []string{"internal/faketime/a.go", "package faketime\nimport \"testing/synctest\"\nvar x = synctest.Test"}, ""},

		{"goleak", "no goroutine", []string{"job/a.go", imports()}, ""},
		{"goleak", "without", []string{"job/a.go", "package job\nfunc f() { go f() }", "job/a_test.go", imports("testing")}, "job/a.go:2: starts"},
		{"goleak", "wait group", []string{"job/a.go", "package job\nimport \"sync\"\nfunc f() { var w sync.WaitGroup; w.Go(f) }"}, "job/a.go:3: starts"},
		{"goleak", "conformance suite", []string{"checkpoints/storetest/a.go", "package storetest\nfunc f() { go f() }"}, ""},
		{"goleak", "with", []string{"job/a.go", "package job\nfunc f() { go f() }", "job/a_test.go", leakless}, ""},
		{"goleak", "imported only", []string{"job/a.go", "package job\nfunc f() { go f() }", "job/a_test.go", imports("go.uber.org/goleak")}, "job/a.go:2: starts"},
		{"goleak", "in a test", []string{"job/a.go", imports(), "job/a_test.go", "package job\nfunc f() { go f() }"}, "job/a_test.go:2: starts"},
		{"goleak", "server", []string{"worker/a.go", "package worker\nimport \"google.golang.org/grpc\"\nvar s = grpc.NewServer()"}, "worker/a.go:3: starts"},
		{"goleak", "runs a suite", []string{"checkpoints/file/a_test.go", imports("/checkpoints/storetest")}, "a_test.go:2: runs a conformance suite"},
		{"goleak", "runs a suite, with", []string{"checkpoints/file/a_test.go", imports("/checkpoints/storetest"), "checkpoints/file/b_test.go", leakless}, ""},

		{"comments", "in one of the files", []string{"job/a.go", "package job", "job/b.go", "// Package job is a job.\npackage job"}, ""},
		{"comments", "command", []string{"cmd/x/a.go", "// Command x is a command.\npackage main"}, ""},
		{"comments", "none", []string{"job/a.go", "package job\n// Package job is late."}, `no package comment that begins with "Package job "`},
		{"comments", "tests alone", []string{"e2e/a_test.go", "package e2e"}, ""},

		{"size", "at the limit", []string{"a.c", strings.Repeat("\n", maxLines)}, ""},
		{"size", "over", []string{"a.c", strings.Repeat("\n", maxLines+1)}, "a.c: 501 lines"},
		{"size", "generated", []string{"a.pb.go", generatedLine + "package a\n" + strings.Repeat("\n", maxLines)}, ""},
		{"size", "prose", []string{"a.md", strings.Repeat("\n", maxLines+1)}, ""},

		{"generated", "both", []string{"a.pb.go", generatedLine + "package a", "b.go", "package a"}, ""},
		{"generated", "no header", []string{"a.pb.go", "package a"}, "a.pb.go: no line"},
		{"generated", "false header", []string{"a.go", generatedLine + "package a"}, "a.go: says that"},

		{"texts", "registry", []string{"a.md", "\nfrom pypi" + ".org"}, "a.md:2: \"pypi" + ".org\""},
		{"texts", "machine", []string{"a.sh", "cd /home/" + "someone/tree"}, "a path of one machine"},
		{"texts", "way of making", []string{"a.go", "package a\n// Fixes " + "#12."}, "a.go:2"},
		{"texts", "ordinary", []string{"a.md", "a user session; a colour #123456; PyPI; the home folder"}, ""},

		{"references", "there", []string{"a.md", "see docs/README.md, [b](docs/README.md#x), [d](docs), [u](https://x.org/CONTRIBUTING.md)", "docs/README.md", ""}, ""},
		{"references", "document", []string{"a.go", "package a\n// See gone" + ".md."}, "a.go:2: mentions gone" + ".md"},
		{"references", "link", []string{"docs/a.md", "[b](b.svg)"}, "docs/a.md:1: links to b.svg"},
	} {
		t.Run(c.rule+"/"+c.name, func(t *testing.T) {
			got := rule(t, c.rule).Check(files(t, c.tree...))
			if c.want == "" && len(got) > 0 {
				t.Errorf("found %q, want nothing", got)
			}
			if c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("found %q, want one that says %q", got, c.want)
			}
		})
	}
}

const (
	leakless      = "package p\nimport \"go.uber.org/goleak\"\nfunc TestMain(m *testing.M) { goleak.VerifyTestMain(m) }"
	sleepy        = "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }"
	generatedLine = "// Code generated " + "by x. DO NOT EDIT.\n"
)

func rule(t *testing.T, name string) Rule {
	t.Helper()
	i := slices.IndexFunc(Rules(), func(r Rule) bool { return r.Name == name })
	if i < 0 {
		t.Fatalf("no rule %q", name)
	}
	return Rules()[i]
}

// TestEveryRuleCanFire keeps TestRules complete: a rule that was never seen to fail may not be able to.
func TestEveryRuleCanFire(t *testing.T) {
	text, err := os.ReadFile("repo_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Rules() {
		if n := strings.Count(string(text), "{\""+r.Name+"\", "); n < 2 {
			t.Errorf("rule %q: %d cases in TestRules, want one that keeps it and one that breaks it", r.Name, n)
		}
		if r.Why == "" {
			t.Errorf("rule %q does not say why", r.Name)
		}
	}
}

func TestLoad(t *testing.T) {
	tree := files(t,
		"a.go", "package a",
		"bin/x.go", "not Go",
		".cache/x.go", "not Go",
		"b/testdata/x.go", "not Go",
		"image.png", "\x00\x01",
	)
	if len(tree.Packages) != 1 || len(tree.Files) != 2 {
		t.Errorf("%d packages, %d files, want 1 and 2", len(tree.Packages), len(tree.Files))
	}
	_, err := Load(fstest.MapFS{"a/b.go": {Data: []byte("package")}})
	if err == nil || !strings.Contains(err.Error(), "a/b.go") {
		t.Errorf("error %v, want one that names the file that does not parse", err)
	}
}

// TestTablesNameEachOther catches a home or a wall for a room that has no level, which could never apply.
func TestTablesNameEachOther(t *testing.T) {
	known := func(dir string) bool {
		_, exact := floors[dir]
		_, below := floor(dir)
		return exact || below
	}
	for module, dirs := range modules {
		for _, dir := range dirs {
			if dir != "..." && !known(dir) {
				t.Errorf("home of %s: %s has no level", module, dir)
			}
		}
	}
	for _, w := range walls {
		for _, dir := range slices.Concat([]string{w.from}, w.except) {
			if !known(dir) {
				t.Errorf("wall: %s has no level", dir)
			}
		}
	}
	for _, dir := range purePackages {
		if !known(dir) {
			t.Errorf("pure package %s has no level", dir)
		}
	}
}
