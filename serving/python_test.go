package serving

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints/file"
)

// readEmbeddings reads both formats, memory-mapped, wants that they agree, and prints what is in them.
const readEmbeddings = `
import glob, json, sys
import numpy, pyarrow.parquet
from safetensors import safe_open
root = sys.argv[1]
m = json.load(open(root + "/embeddings.json"))
dir = root + "/" + m["generation"] + "/"
def read(pattern, matrix, rows):
    table = pyarrow.parquet.read_table(sorted(glob.glob(dir + pattern)), memory_map=True)
    vectors = numpy.stack(table["vector"].to_numpy())
    with safe_open(dir + matrix, framework="np") as f:
        assert list(f.keys()) == ["vectors"], f.keys()
        mapped = f.get_tensor("vectors")
    assert mapped.dtype == vectors.dtype == numpy.float16, (mapped.dtype, vectors.dtype)
    assert mapped.shape == (rows, m["dim"]) and (mapped.view("u2") == vectors.view("u2")).all()
    # The header has a multiple of 8 bytes: numpy maps the tensor without a copy.
    raw = numpy.memmap(dir + matrix, mode="r")
    start = 8 + int(raw[:8].view("<u8")[0])
    assert (raw[start:].view("<f2").reshape(rows, -1) == vectors).all()
    assert abs(numpy.linalg.norm(vectors.astype("f4"), axis=1) - 1).max() < 1e-3
    return table, vectors
users, uv = read("users-part-*.parquet", "users.safetensors", m["users"])
items, _ = read("items.parquet", "items.safetensors", m["items"])
print(json.dumps({
    "users": users["user"].to_pylist(), "as_of_ms": users["as_of_ms"].to_pylist(), "input_hash": users["input_hash"].to_pylist(),
    "vectors": uv.view("u2").ravel().tolist(), "items": items["item"].to_pylist(),
}))
`

// What Python's readers find is what was written.
func TestPython(t *testing.T) {
	python := os.Getenv("RINGLEADER_PYTHON")
	if python == "" {
		t.Skip("RINGLEADER_PYTHON does not name a Python with pyarrow, safetensors and numpy; scripts/python-venv.sh makes one")
	}
	dir := filepath.Join(t.TempDir(), "out")
	out, err := file.Open(dir)
	check(t, err)
	d := small(t)
	r := mustRun(t, untrained(t, d, out))
	text, err := exec.CommandContext(t.Context(), python, "-c", readEmbeddings, dir).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var have struct {
		Users   []string
		AsOfMS  []int64  `json:"as_of_ms"`
		Inputs  []uint64 `json:"input_hash"`
		Vectors []uint16
		Items   []string
	}
	check(t, json.Unmarshal(text, &have))
	want := users(t, out, &r.Manifest)
	if !slices.Equal(have.Users, want.ids) || !slices.Equal(have.AsOfMS, want.asOfMS) || !slices.Equal(have.Inputs, want.inputs) || !slices.Equal(have.Vectors, want.vectors) {
		t.Errorf("Python reads %+v\nwant %+v", have, want)
	}
	for i := range d.Meta().Items {
		if id, _, _ := d.Item(i); have.Items[i] != id {
			t.Errorf("item %d is %s, want %s", i, have.Items[i], id)
		}
	}
}
