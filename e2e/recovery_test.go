package e2e

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestBenchRecovery: every kind of fault is survived in real processes, and its report is one of the fault.
func TestBenchRecovery(t *testing.T) {
	small := []string{"--set", "what.model.init=normal", "--set", "what.model.width=32", "--set", "what.model.layers=1", "--set", "what.model.heads=2", "--set", "what.model.dim=32", "--set", "how.deadlines.hang=1s"}
	for _, fault := range []string{"kill", "hang", "partition", "leader", "join", "drain"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			out := output(t, append([]string{"bench", "recovery", "--fault", fault, "--trials", "2", "--json", "-"}, small...)...)
			var r struct {
				Fault   string    `json:"fault"`
				Trials  int       `json:"trials"`
				Step    float64   `json:"step_s"`
				Min     float64   `json:"min_s"`
				Median  float64   `json:"median_s"`
				Max     float64   `json:"max_s"`
				Samples []float64 `json:"samples_s"`
				Parts   *struct {
					Detection float64 `json:"detection_s"`
				} `json:"parts"`
			}
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if r.Fault != fault || r.Trials != 2 || len(r.Samples) != 2 || r.Min != slices.Min(r.Samples) || r.Max != slices.Max(r.Samples) ||
				r.Median < r.Min || r.Median > r.Max || !(r.Min > 0) || !(r.Step > 0) {
				t.Errorf("report %+v", r)
			}
			if (r.Parts == nil) != (fault == "leader") {
				t.Errorf("parts %+v", r.Parts)
			}
			// Nobody is given up before the deadline.
			if stalled := fault == "hang" || fault == "partition"; stalled && r.Parts != nil && r.Parts.Detection < .9 {
				t.Errorf("noticed after %v s, with a deadline of 1 s", r.Parts.Detection)
			}
		})
	}
}
