package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBenchAllreduce runs rings of this test's own program, which verify what they sum.
func TestBenchAllreduce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	for _, path := range []string{pathTCP, pathUnix, pathMemory} {
		out, err := command(t, "bench", "allreduce", "--workers", "1,3", "--mib", "5", "--codec", strings.Join(codecNames(), ","), "--rounds", "1", "--path", path, "--json", file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r ringReport
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		if want := 2 * len(codecNames()); len(r.Rows) != want {
			t.Fatalf("%d rows, want %d", len(r.Rows), want)
		}
		for _, row := range r.Rows {
			want := path
			if row.Workers == 1 {
				want = "none"
			}
			if row.Path != want || !slices.Contains(codecNames(), row.Codec) || row.Rounds != 1 || !strings.Contains(out, row.Codec) {
				t.Errorf("row %+v: want path %s", row, want)
			}
			if !(row.Min > 0 && row.Min <= row.Median && row.Median <= row.Max && row.CPU >= 0) {
				t.Errorf("row %+v", row)
			}
		}
	}
}

// TestBenchVerifies: what a ring is checked with finds a wrong sum.
func TestBenchVerifies(t *testing.T) {
	const n, size = 1000, 3
	x := make([]float32, n)
	for i := range x {
		for rank := range size {
			x[i] += element(rank, i)
		}
	}
	if worst := worstOf(x, size); worst != 0 {
		t.Errorf("true sums are off by %v", worst)
	}
	x[n/2] += 0x1p-12
	if worst := worstOf(x, size); worst != 0x1p-12 {
		t.Errorf("an element that is off by 2^-12 counts as %v", worst)
	}
	x[n-1] = float32(math.NaN())
	if worst := worstOf(x, size); !math.IsInf(worst, 1) {
		t.Errorf("NaN counts as %v", worst)
	}
}

func TestBenchAllreduceRefuses(t *testing.T) {
	for want, args := range map[string]string{
		"--workers 0: allowed: 1 to 64":       "--workers 2,0",
		"--mib 5000: allowed: 1 to 4096":      "--mib 5000",
		`--codec "float8": allowed: float32,`: "--codec float8",
		`--path "udp": allowed`:               "--path udp",
		"--rounds 0: allowed":                 "--rounds 0",
	} {
		_, err := command(t, append([]string{"bench", "allreduce"}, strings.Fields(args)...)...)
		if code := exitCode(t.Context(), err); err == nil || code != exitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("bench allreduce %s: %v, exit code %d; want %q and %d", args, err, code, want, exitUsage)
		}
	}
}
