package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/job"
)

const drawInPython = `
import json, sys
sys.path.insert(0, "../../scripts/bench")
import dataset
data = dataset.Dataset(sys.argv[1])
draw = dataset.Windows(data, int(sys.argv[2]), float(sys.argv[3]))
windows = draw.draw(len(draw.users) * int(sys.argv[4]))
row, at, chosen = draw.targets(windows, 4)
first = data.time[[windows[r][0] + a for r, a in zip(row, at)]]
assert (data.time[chosen] > first).all() and (data.time[chosen] <= first + draw.horizon).all(), "a target is outside of its horizon"
print(json.dumps({"users": len(draw.users), "tokens": int(sum(e - f for f, e, _ in windows)), "positives": sum(len(p) for _, _, p in windows)}))
`

// TestPeerDrawsAlike: what PyTorch is measured on are windows of the same users, as long, and with as many positives.
func TestPeerDrawsAlike(t *testing.T) {
	python := os.Getenv("RINGLEADER_PYTHON")
	if python == "" {
		t.Skip("RINGLEADER_PYTHON does not name a Python with pyarrow, safetensors and numpy; scripts/python-venv.sh makes one")
	}
	const window, horizon, epochs = "20", "9.5", 40
	data := filepath.Join(t.TempDir(), "data")
	if _, err := synth.Write(data, synth.Options{Users: 150, Items: 60, Actions: 40, Holdout: -1}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", drawInPython, data, window, horizon, "40").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var there struct{ Users, Tokens, Positives int }
	if err := json.Unmarshal(out, &there); err != nil {
		t.Fatal(err)
	}

	spec, err := job.Parse([]byte("name: x\nwhat: {data: x, epochs: 1, shards: 1, users_per_shard: 1000, model: {window: "+window+"}, loss: {horizon_days: "+horizon+"}}"), ".")
	if err != nil {
		t.Fatal(err)
	}
	spec.What.Negatives = job.Negatives{InBatch: 10, Random: 10}
	ds, closeData, err := openData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closeData(); err != nil {
			t.Error(err)
		}
	}()
	sampler, err := dataset.NewSampler(ds, spec.What)
	if err != nil {
		t.Fatal(err)
	}
	var b dataset.Batch
	tokens, positives := 0, 0
	for step := range ringleader.Step(epochs) {
		sampler.Batch(&b, step, 0)
		tokens, positives = tokens+len(b.Item), positives+len(b.PosItem)
	}
	if there.Users != len(b.User) {
		t.Errorf("%d users, want %d", there.Users, len(b.User))
	}
	near := func(name string, got, want int) {
		if math.Abs(float64(got)/float64(want)-1) > .03 {
			t.Errorf("%d %s in %d epochs, want about %d", got, name, epochs, want)
		}
	}
	near("tokens", there.Tokens, tokens)
	near("positives", there.Positives, positives)
}
