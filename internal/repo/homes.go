package repo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// anywhere is the home of small modules that are as good as the standard library.
var anywhere = []string{"..."}

// edges are where gRPC may be seen: services, their clients, and what carries the token.
var edges = []string{
	"proto/...", "internal/rpcauth", "allreduce/grpclink", "coordinator", "coordinator/client", "worker", "serving", "cmd/...", "e2e", "e2e/...", "internal/memnet",
}

// modules gives every third-party module that is imported its home, tests included. "x/..." is everything below x.
var modules = map[string][]string{
	"github.com/hashicorp/raft":         {"coordinator"},
	"github.com/hashicorp/raft-wal":     {"coordinator"},
	"github.com/hashicorp/go-hclog":     {"coordinator"}, // Raft's logger
	"github.com/anishathalye/porcupine": {"coordinator"}, // in tests: is a history linearizable
	"github.com/minio/minio-go/v7":      {"checkpoints/s3", "checkpoints/s3/miniotest"},
	"github.com/johannesboyne/gofakes3": {"checkpoints/s3"},
	"github.com/parquet-go/parquet-go":  {"dataset", "dataset/synth", "dataset/importer", "serving", "internal/parquetfile"},
	"github.com/duckdb/duckdb-go/v2":    {"dataset/importer"},
	"gonum.org/v1/gonum":                {"dataset/importer/standin"},
	"gorgonia.org/cu":                   {"device/cuda", "device/cuda/emulation/planted"},
	"go.yaml.in/yaml/v3":                {"job"},
	"github.com/spf13/cobra":            {"cmd/..."},
	"github.com/spf13/pflag":            {"cmd/..."},
	"golang.org/x/term":                 {"internal/progress", "cmd/..."},
	"google.golang.org/grpc":            edges,
	"google.golang.org/protobuf":        append([]string{"coordinator/state"}, edges...),
	"google.golang.org/genproto":        {"proto/..."},
	"github.com/cespare/xxhash/v2":      anywhere,
	"github.com/google/go-cmp":          anywhere,
	"go.uber.org/goleak":                anywhere,
	"golang.org/x/sync":                 anywhere,
	"golang.org/x/sys":                  anywhere,
}

// testHomes are more places where tests alone may import a module.
var testHomes = map[string][]string{
	"google.golang.org/grpc": {"allreduce"}, // rings over real connections
}

// homes: imports of third-party modules stay at home, and every module has one.
func homes(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		for _, f := range slices.Concat(p.Code, p.Tests) {
			for _, imported := range slices.Sorted(maps.Keys(f.imports())) {
				if !thirdParty(imported) {
					continue
				}
				module, ok := moduleOf(imported)
				in := modules[module]
				if slices.Contains(p.Tests, f) {
					in = slices.Concat(in, testHomes[module])
				}
				if !ok {
					found = append(found, fmt.Sprintf("%s: %s has no home; give it one in internal/repo/homes.go", f.Path, imported))
				} else if !lives(p.Dir, in) {
					found = append(found, fmt.Sprintf("%s: imports %s, which lives in %s", f.Path, imported, strings.Join(in, ", ")))
				}
			}
		}
	}
	return found
}

// thirdParty tells import paths of others, which begin with a host name, from ours and the standard library's.
func thirdParty(imported string) bool {
	host, _, _ := strings.Cut(imported, "/")
	return strings.Contains(host, ".") && !within(imported, Module)
}

func moduleOf(imported string) (string, bool) {
	for _, m := range slices.Backward(slices.Sorted(maps.Keys(modules))) { // longest first among those of one prefix
		if within(imported, m) {
			return m, true
		}
	}
	return "", false
}

func lives(dir string, in []string) bool {
	return slices.ContainsFunc(in, func(home string) bool {
		prefix, below := strings.CutSuffix(home, "...")
		return dir == home || below && strings.HasPrefix(dir, prefix)
	})
}

// foreignCalls are the packages that call C.
var foreignCalls = []string{"device/cpu", "device/cuda", "device/cuda/blaslt"}

// cgo: import "C" in device backends only.
func cgo(t *Tree) []string {
	var found []string
	for _, p := range t.Packages {
		if slices.Contains(foreignCalls, p.Dir) {
			continue
		}
		for _, f := range slices.Concat(p.Code, p.Tests) {
			if spec, ok := f.imports()["C"]; ok {
				found = append(found, f.at(spec)+": cgo outside of "+strings.Join(foreignCalls, ", "))
			}
		}
	}
	return found
}
