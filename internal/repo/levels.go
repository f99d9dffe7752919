package repo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// floors gives every package its level. "x/..." is every package below x that is not named itself.
var floors = map[string]int{
	".":                       0,
	"job":                     0,
	"exact":                   0,
	"proto/...":               0,
	"internal/...":            0,
	"checkpoints/safetensors": 0, // a file format, which data sets use too

	"device":             1,
	"allreduce":          1,
	"checkpoints":        1,
	"dataset":            1,
	"coordinator/state":  1,
	"device/cuda/blaslt": 1, // a library's calls

	"model":                    2,
	"coordinator/schedule":     2,
	"coordinator/client":       2,
	"allreduce/memlink":        2,
	"allreduce/grpclink":       2,
	"allreduce/linktest":       2,
	"checkpoints/file":         2,
	"checkpoints/s3":           2,
	"checkpoints/s3/miniotest": 2,
	"checkpoints/mem":          2,
	"checkpoints/storetest":    2,
	"device/cpu":               2,
	"device/cuda":              2,
	"device/cuda/...":          2,
	"device/devicetest":        2,
	"device/timed":             2,
	"evaluation/reproduction":  2,
	"dataset/importer":         3,
	"dataset/importer/standin": 2,
	"dataset/synth":            2,

	"worker":      3,
	"coordinator": 3,
	"serving":     3,
	"evaluation":  3,

	"cmd/...":      4,
	"e2e":          4,
	"e2e/...":      4,
	"examples":     0, // embedded sample data
	"examples/...": 4,
}

// floor is the level of a package.
func floor(dir string) (int, bool) {
	if n, ok := floors[dir]; ok {
		return n, true
	}
	for _, pattern := range slices.Sorted(maps.Keys(floors)) {
		if prefix, ok := strings.CutSuffix(pattern, "..."); ok && strings.HasPrefix(dir, prefix) {
			return floors[pattern], true
		}
	}
	return 0, false
}

// testFloor is the highest level that the tests of a package may use: its own, or where the backends and conformance
// suites are.
func testFloor(own int) int { return max(own, 2) }

// levels: code imports lower levels, and at level 0 its own; the root package imports the standard library alone;
// tests may also use their own level and backends.
func levels(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		own, ok := floor(p.Dir)
		if !ok {
			found = append(found, fmt.Sprintf("%s: has no level; give it one in internal/repo/levels.go", p.Dir))
			continue
		}
		for _, f := range p.Code {
			for _, to := range inside(f) {
				if high, ok := floor(to); ok && (high > own || high == own && own > 0 || p.Dir == ".") {
					found = append(found, fmt.Sprintf("%s: level %d imports %s of level %d", f.Path, own, to, high))
				}
			}
		}
		for _, f := range p.Tests {
			for _, to := range inside(f) {
				if high, ok := floor(to); ok && high > testFloor(own) {
					found = append(found, fmt.Sprintf("%s: a test of level %d imports %s of level %d", f.Path, own, to, high))
				}
			}
		}
	}
	return found
}

// inside are the folders of the packages of this module that a file imports.
func inside(f *File) []string {
	var dirs []string
	for p := range f.imports() {
		if p == Module {
			dirs = append(dirs, ".")
		} else if dir, ok := strings.CutPrefix(p, Module+"/"); ok {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// A wall says what a room must not reach, not even through others, and not in its tests.
type wall struct {
	from   string   // folder, with what is below it
	never  []string // folders or module paths, with what is below them
	except []string
}

var walls = []wall{
	{from: "coordinator", never: []string{"worker", "model", "device"}},
	{from: "worker", never: []string{"coordinator", "github.com/hashicorp/raft", "github.com/hashicorp/raft-wal"}, except: []string{"coordinator/client"}},
}

func reach(t *Tree) []string {
	arrows := map[string][]string{}
	for _, p := range t.Packages {
		arrows[p.Dir] = targets(p.Code)
	}
	var found []string
	for _, w := range walls {
		for _, p := range t.Packages {
			if !within(p.Dir, w.from) {
				continue
			}
			starts := append(targets(p.Tests), arrows[p.Dir]...)
			for _, way := range ways(p.Dir, starts, arrows) {
				if w.forbids(way[len(way)-1]) {
					found = append(found, strings.Join(way, " -> "))
				}
			}
		}
	}
	return found
}

func (w wall) forbids(to string) bool {
	in := func(dir string) bool { return within(to, dir) }
	return slices.ContainsFunc(w.never, in) && !slices.ContainsFunc(w.except, in)
}

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// targets are what files import: folders of this module, import paths of others.
func targets(files []*File) []string {
	var to []string
	for _, f := range files {
		to = append(to, inside(f)...)
		for p := range f.imports() {
			if !within(p, Module) {
				to = append(to, p)
			}
		}
	}
	slices.Sort(to)
	return slices.Compact(to)
}

// ways are the shortest chains of imports to everything that can be reached.
func ways(from string, starts []string, arrows map[string][]string) [][]string {
	var done [][]string
	seen := map[string]bool{from: true}
	next := [][]string{}
	visit := func(way []string, to []string) {
		for _, x := range to {
			if !seen[x] {
				seen[x] = true
				next = append(next, append(slices.Clone(way), x))
			}
		}
	}
	visit([]string{from}, starts)
	for len(next) > 0 {
		way := next[0]
		next = next[1:]
		done = append(done, way)
		visit(way, arrows[way[len(way)-1]])
	}
	return done
}
