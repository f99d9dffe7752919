package checkpoints

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
)

// MaxPart is how many bytes of tensors one file holds at most, unless a single tensor is larger. It is part of the format: with another
// value the same state would give other files.
const MaxPart = 1 << 30

// Names inside a step directory.
const (
	ManifestName = "manifest.json"
	IndexName    = "index.json"
	JobName      = "job.json"
)

// What the tensors of the optimizer's files are called: those of a parameter as in the ecosystem's optimizers.
const (
	moment1Suffix = ".exp_avg"
	moment2Suffix = ".exp_avg_sq"
	beta1Name     = "beta1_power"
	beta2Name     = "beta2_power"
	ledgerName    = "ledger"
	usersName     = "users"
	tokensName    = "tokens"
	stepName      = "step"
	exponentsName = "gradient_exponents"
)

// Part is one file of a checkpoint before it is written. Its bytes are made from the state as they are read, so the state must not change while
// the part is in use. Methods may be called from several goroutines.
type Part struct {
	Name string
	Size int64

	content io.ReaderAt
	sum     func() ([32]byte, error)
}

func newPart(name string, content io.ReaderAt, size int64) *Part {
	p := &Part{Name: name, Size: size, content: content}
	p.sum = sync.OnceValues(func() (sum [32]byte, err error) {
		h := sha256.New()
		if _, err := io.CopyBuffer(struct{ io.Writer }{h}, p.Reader(), make([]byte, min(size+1, 1<<18))); err != nil {
			return sum, fmt.Errorf("hash %s: %w", name, err)
		}
		return [32]byte(h.Sum(nil)), nil
	})
	return p
}

// Reader reads the part from its start.
func (p *Part) Reader() io.ReadSeeker { return io.NewSectionReader(p.content, 0, p.Size) }

// Info hashes the part (once; it is read for that) and describes it.
func (p *Part) Info() (FileInfo, error) {
	sum, err := p.sum()
	return FileInfo{Name: p.Name, Size: p.Size, SHA256: hex.EncodeToString(sum[:])}, err
}

// Plan cuts a state into the files of a checkpoint: model and optimizer parts of at most maxPart bytes of tensors (0 means MaxPart), the index,
// and the job's spec, canonical JSON. Names, order and bytes depend on the arguments alone, so ranks that plan the same state may each
// write some of the parts.
func Plan(st *State, spec []byte, maxPart int64) ([]*Part, error) {
	if err := st.Check(); err != nil {
		return nil, err
	}
	if !json.Valid(spec) {
		return nil, fmt.Errorf("plan checkpoint of step %d: the job's spec is not JSON", st.Step)
	}
	if maxPart == 0 {
		maxPart = MaxPart
	}
	model := cut(st.modelTensors(), maxPart)
	parts, err := layOut(modelFile, model)
	if err != nil {
		return nil, fmt.Errorf("plan checkpoint of step %d: %w", st.Step, err)
	}
	optimizer, err := layOut(optimizerFile, cut(st.optimizerTensors(), maxPart))
	if err != nil {
		return nil, fmt.Errorf("plan checkpoint of step %d: %w", st.Step, err)
	}
	index, err := encodeIndex(model)
	if err != nil {
		return nil, fmt.Errorf("plan checkpoint of step %d: %w", st.Step, err)
	}
	parts = append(parts, optimizer...)
	return append(parts,
		newPart(IndexName, bytes.NewReader(index), int64(len(index))),
		newPart(JobName, bytes.NewReader(spec), int64(len(spec)))), nil
}

func modelFile(i, n int) string     { return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n) }
func optimizerFile(i, n int) string { return fmt.Sprintf("optimizer-%05d-of-%05d.safetensors", i+1, n) }

// Dir is the name of the directory of a checkpoint.
func Dir(step ringleader.Step, digest ringleader.Digest) string {
	return fmt.Sprintf("step-%08d-%s", step, digest.String()[:8])
}

func (s *State) modelTensors() []safetensors.Tensor {
	list := make([]safetensors.Tensor, 0, len(s.Params))
	for _, p := range s.Params {
		list = append(list, safetensors.Tensor{Name: p.Name, Shape: p.Shape, Data: safetensors.Float32s(p.Data)})
	}
	return list
}

// optimizerTensors begins with the scalars, so that they are in the first part, and keeps both moments of a parameter together.
func (s *State) optimizerTensors() []safetensors.Tensor {
	x := s.Scalars
	list := []safetensors.Tensor{
		{Name: stepName, Data: safetensors.Int64s{int64(s.Step)}},
		{Name: beta1Name, Data: safetensors.Float64s{x.Beta1Power}},
		{Name: beta2Name, Data: safetensors.Float64s{x.Beta2Power}},
		{Name: ledgerName, Data: safetensors.Uint64s{x.Ledger}},
		{Name: usersName, Data: safetensors.Uint64s{x.Users}},
		{Name: tokensName, Data: safetensors.Uint64s{x.Tokens}},
	}
	for i, p := range s.Params {
		list = append(list,
			safetensors.Tensor{Name: p.Name + moment1Suffix, Shape: p.Shape, Data: safetensors.Float32s(s.Moment1[i].Data)},
			safetensors.Tensor{Name: p.Name + moment2Suffix, Shape: p.Shape, Data: safetensors.Float32s(s.Moment2[i].Data)})
	}
	if len(s.Exponents) > 0 {
		list = append(list, safetensors.Tensor{Name: exponentsName, Shape: []int{len(s.Exponents)}, Data: safetensors.Int8s(s.Exponents)})
	}
	return list
}

func bytesOf(t safetensors.Tensor) int64 { return int64(t.Data.Len()) * int64(t.Data.Type().Size()) }

// cut fills parts in order: a tensor that does not fit any more begins the next. There is always one part.
func cut(tensors []safetensors.Tensor, maxPart int64) [][]safetensors.Tensor {
	parts := [][]safetensors.Tensor{nil}
	size := int64(0)
	for _, t := range tensors {
		last := len(parts) - 1
		if n := bytesOf(t); len(parts[last]) > 0 && size+n > maxPart {
			parts, size = append(parts, nil), 0
			last++
		}
		parts[last] = append(parts[last], t)
		size += bytesOf(t)
	}
	return parts
}

// layOut makes the files of parts. The metadata is what PyTorch's loaders ask for.
func layOut(name func(i, n int) string, cuts [][]safetensors.Tensor) ([]*Part, error) {
	parts := make([]*Part, 0, len(cuts))
	for i, tensors := range cuts {
		f, err := safetensors.NewFile(map[string]string{"format": "pt"}, tensors...)
		if err != nil {
			return nil, fmt.Errorf("lay out %s: %w", name(i, len(cuts)), err)
		}
		parts = append(parts, newPart(name(i, len(cuts)), f, f.Size()))
	}
	return parts, nil
}

// index is the ecosystem's convention for a model in several files.
type index struct {
	Metadata struct {
		TotalSize int64 `json:"total_size"`
	} `json:"metadata"`
	WeightMap map[string]string `json:"weight_map"`
}

func encodeIndex(model [][]safetensors.Tensor) ([]byte, error) {
	x := index{WeightMap: map[string]string{}}
	for i, tensors := range model {
		for _, t := range tensors {
			x.Metadata.TotalSize += bytesOf(t)
			x.WeightMap[t.Name] = modelFile(i, len(model))
		}
	}
	b, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	return append(b, '\n'), nil
}
