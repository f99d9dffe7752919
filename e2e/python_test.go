package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// listTensors prints the names, shapes and types of the tensors in safetensors files.
const listTensors = `
import json, sys
from safetensors import safe_open
tensors = {}
for path in sys.argv[1:]:
    with safe_open(path, framework="np") as f:
        for name in f.keys():
            x = f.get_tensor(name)
            tensors[name] = [str(list(x.shape)), str(x.dtype)]
print(json.dumps(tensors))
`

// shownTensor is a line of checkpoint show: name, shape, type.
var shownTensor = regexp.MustCompile(`(?m)^tensor +(\S+) +(\[[0-9 ]*\]) +(\S+)$`)

// TestPythonReadsTheModel: what training leaves is what the ecosystem's own reader finds.
func TestPythonReadsTheModel(t *testing.T) {
	python := os.Getenv("RINGLEADER_PYTHON")
	if python == "" {
		t.Skip("RINGLEADER_PYTHON does not name a Python with safetensors and numpy; scripts/python-venv.sh makes one")
	}
	dir, _ := local(t, jobFile(t, 5), "--workers", "2")
	steps, err := filepath.Glob(filepath.Join(dir, "store", "step-00000005-*"))
	if err != nil || len(steps) != 1 {
		t.Fatalf("checkpoints %v, %v: want one", steps, err)
	}
	files, err := filepath.Glob(filepath.Join(steps[0], "model-*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files of the model: %v, %v", files, err)
	}
	want := map[string][2]string{}
	for _, m := range shownTensor.FindAllStringSubmatch(output(t, "checkpoint", "show", dir), -1) {
		want[m[1]] = [2]string{strings.ReplaceAll(m[2], " ", ", "), m[3]}
	}
	if len(want) == 0 {
		t.Fatal("checkpoint show names no tensor")
	}
	var have map[string][2]string
	out, err := exec.Command(python, append([]string{"-c", listTensors}, files...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &have); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("Python reads %v\ncheckpoint show says %v", have, want)
	}
	checkIndex(t, steps[0], want)
}

// checkIndex checks that index.json names the file of every tensor, and no other tensor.
func checkIndex(t *testing.T, step string, tensors map[string][2]string) {
	t.Helper()
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(step, "index.json"))), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.WeightMap) != len(tensors) {
		t.Errorf("index.json names %d tensors, want %d", len(index.WeightMap), len(tensors))
	}
	for name := range tensors {
		file := index.WeightMap[name]
		if _, err := os.Stat(filepath.Join(step, file)); file == "" || err != nil {
			t.Errorf("index.json: tensor %s is in %q: %v", name, file, err)
		}
	}
}
