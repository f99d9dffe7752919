package e2e

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// TestChaos: one cluster of the harness, with a store that hangs, a network that loses messages, and bits flipped in memory and files. `make chaos` plays as many as one wants.
func TestChaos(t *testing.T) {
	out := output(t, "chaos", "--seed", "8", "--round", "3", "--store", "directory", "--dir", filepath.Join(t.TempDir(), "chaos"), "--json", "-")
	var r struct {
		Faults      int            `json:"faults"`
		Missed      int            `json:"missed"`
		ByKind      map[string]int `json:"by_kind"`
		Differences int            `json:"differences"`
		Rounds      []struct {
			Generations int `json:"generations"`
		} `json:"rounds"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("report of ringleader chaos: %v\n%s", err, out)
	}
	if r.Faults+r.Missed != 5 || r.Faults < 3 || r.Differences != 0 || len(r.Rounds) != 1 {
		t.Errorf("report %+v: want a round of 5 faults, most of which struck, and no difference", r)
	}
}
