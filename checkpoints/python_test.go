package checkpoints_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints/file"
)

const describe = `
import json, sys
import numpy
from safetensors import safe_open
tensors = {}
for path in sys.argv[1:]:
    with safe_open(path, framework="np") as f:
        assert f.metadata() == {"format": "pt"}, f.metadata()
        for name in f.keys():
            x = f.get_tensor(name)
            tensors[name] = {"dtype": str(x.dtype), "shape": list(x.shape), "bits": x.tobytes().hex()}
print(json.dumps(tensors))
`

// TestPython opens a checkpoint with the ecosystem's own reader.
func TestPython(t *testing.T) {
	python := os.Getenv("RINGLEADER_PYTHON")
	if python == "" {
		t.Skip("RINGLEADER_PYTHON does not name a Python with safetensors and numpy; scripts/python-venv.sh makes one")
	}
	dir := t.TempDir()
	store, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	st := narrow(3)
	base := dir + "/" + mustSave(t, store, "", st)
	files, err := filepath.Glob(base + "/*.safetensors")
	if err != nil || len(files) < 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	out, err := exec.Command(python, append([]string{"-c", describe}, files...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	type tensor struct {
		DType string
		Shape []int
		Bits  string
	}
	var have map[string]tensor
	if err := json.Unmarshal(out, &have); err != nil {
		t.Fatal(err)
	}
	want := map[string]tensor{}
	bits := func(data any) string {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, data); err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(b.Bytes())
	}
	for i, p := range st.Params {
		want[p.Name] = tensor{"float32", p.Shape, bits(p.Data)}
		want[p.Name+".exp_avg"] = tensor{"float32", p.Shape, bits(st.Moment1[i].Data)}
		want[p.Name+".exp_avg_sq"] = tensor{"float32", p.Shape, bits(st.Moment2[i].Data)}
	}
	s := st.Scalars
	want["step"] = tensor{"int64", []int{}, bits(int64(st.Step))}
	want["beta1_power"] = tensor{"float64", []int{}, bits(s.Beta1Power)}
	want["beta2_power"] = tensor{"float64", []int{}, bits(s.Beta2Power)}
	want["ledger"] = tensor{"uint64", []int{}, bits(s.Ledger)}
	want["users"] = tensor{"uint64", []int{}, bits(s.Users)}
	want["tokens"] = tensor{"uint64", []int{}, bits(s.Tokens)}
	want["gradient_exponents"] = tensor{"int8", []int{1}, bits(st.Exponents)}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("Python reads %v\nwant %v", have, want)
	}
}
