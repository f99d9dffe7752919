package checkpoints

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
)

// Load reads the checkpoint in dir. It verifies the manifest, every file's size and hash, and that the state has the digest that the manifest
// gives: what it returns is the state that was saved, bit by bit. Damage is ErrCorrupt or ErrNotExist; other errors are the store's.
func Load(ctx context.Context, store Store, dir string) (*State, *Manifest, error) {
	m, _, err := ReadManifest(ctx, store, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("load checkpoint: %w", err)
	}
	l := newLoader(ctx, store, dir, m)
	for _, f := range l.files() {
		if err := l.read(f); err != nil {
			return nil, nil, fmt.Errorf("load checkpoint: %w", err)
		}
	}
	st, err := l.state()
	if err != nil {
		return nil, nil, fmt.Errorf("load checkpoint %s: %w", dir, err)
	}
	return st, m, nil
}

// Verify reads the checkpoint in dir like Load, does not stop at the first problem, and returns all; none if the checkpoint is good.
func Verify(ctx context.Context, store Store, dir string) []error {
	m, _, err := ReadManifest(ctx, store, dir)
	if err != nil {
		return []error{err}
	}
	var problems []error
	l := newLoader(ctx, store, dir, m)
	for _, f := range l.files() {
		if err := l.read(f); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == 0 {
		if _, err := l.state(); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", dir, err))
		}
	}
	return problems
}

// loader puts a state together from files.
type loader struct {
	ctx     context.Context
	store   Store
	dir     string
	m       *Manifest
	st      *State
	moments map[string]Tensor // by name with suffix
	scalars map[string]safetensors.Data
}

func newLoader(ctx context.Context, store Store, dir string, m *Manifest) *loader {
	return &loader{ctx: ctx, store: store, dir: dir, m: m, st: &State{Job: m.Job, Step: m.Step},
		moments: map[string]Tensor{}, scalars: map[string]safetensors.Data{}}
}

// files are those of the manifest with the model's parts in their numbers' order, which is that of the tensors.
func (l *loader) files() []FileInfo {
	byName := map[string]FileInfo{}
	for _, f := range l.m.Files {
		byName[f.Name] = f
	}
	files := make([]FileInfo, 0, len(byName))
	for _, name := range []func(i, n int) string{modelFile, optimizerFile} {
		n := countParts(l.m.Files, name)
		for i := range n {
			files = append(files, byName[name(i, n)])
		}
	}
	return append(files, byName[IndexName], byName[JobName])
}

// read reads and verifies one file and takes its tensors. A file whose hash is wrong is reported as that, whatever else is wrong with it.
func (l *loader) read(f FileInfo) (err error) {
	name := join(l.dir, f.Name)
	info, err := l.store.Stat(l.ctx, name)
	if err != nil {
		return err
	}
	if info.Size != f.Size {
		return fmt.Errorf("%s: %w: %d bytes, the manifest gives %d", name, ErrCorrupt, info.Size, f.Size)
	}
	body, err := l.store.Open(l.ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	hash := sha256.New()
	r := io.TeeReader(body, hash)
	contentErr := l.take(f, r)
	if contentErr != nil && !errors.Is(contentErr, ErrCorrupt) {
		return fmt.Errorf("%s: %w", name, contentErr)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		return wrongHash(name, f.SHA256)
	}
	if contentErr != nil {
		return fmt.Errorf("%s: %w", name, contentErr)
	}
	return nil
}

// take reads the tensors of a file. Errors about the content wrap ErrCorrupt.
func (l *loader) take(f FileInfo, r io.Reader) error {
	model := strings.HasPrefix(f.Name, "model-")
	if !model && !strings.HasPrefix(f.Name, "optimizer-") {
		return nil
	}
	tensors, err := safetensors.NewReader(r, f.Size)
	if errors.Is(err, safetensors.ErrFormat) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	} else if err != nil {
		return err
	}
	for _, e := range tensors.Entries() {
		switch {
		case e.Type == safetensors.I8 && e.Name == exponentsName && !model:
			l.st.Exponents = make([]int8, e.Len())
			err = tensors.Read(safetensors.Int8s(l.st.Exponents))
		case e.Type != safetensors.F32:
			err = l.takeScalar(tensors, e, model)
		default:
			t := Tensor{Name: e.Name, Shape: e.Shape, Data: make([]float32, e.Len())}
			if err = tensors.Read(safetensors.Float32s(t.Data)); model {
				l.st.Params = append(l.st.Params, t)
			} else {
				l.moments[t.Name] = t
			}
		}
		if errors.Is(err, safetensors.ErrFormat) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeScalar reads one of the optimizer's scalars.
func (l *loader) takeScalar(tensors *safetensors.Reader, e safetensors.Entry, model bool) error {
	var x safetensors.Data
	switch {
	case model || len(e.Shape) != 0:
		return fmt.Errorf("%w: tensor %q is %s %v, want F32", ErrCorrupt, e.Name, e.Type, e.Shape)
	case e.Type == safetensors.F64:
		x = make(safetensors.Float64s, 1)
	case e.Type == safetensors.U64:
		x = make(safetensors.Uint64s, 1)
	case e.Type == safetensors.I64:
		x = make(safetensors.Int64s, 1)
	default:
		return fmt.Errorf("%w: scalar %q is %s, want F64, U64 or I64", ErrCorrupt, e.Name, e.Type)
	}
	l.scalars[e.Name] = x
	return tensors.Read(x)
}

// state hands out what was read if it is complete and has the manifest's digest.
func (l *loader) state() (*State, error) {
	st := l.st
	for _, p := range st.Params {
		st.Moment1 = append(st.Moment1, l.moment(p.Name, moment1Suffix))
		st.Moment2 = append(st.Moment2, l.moment(p.Name, moment2Suffix))
	}
	if err := st.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(l.moments) > 0 {
		return nil, fmt.Errorf("%w: %d moments belong to no parameter", ErrCorrupt, len(l.moments))
	}
	var step int64
	for _, err := range []error{
		scalar(l, stepName, func(x safetensors.Int64s) { step = x[0] }),
		scalar(l, beta1Name, func(x safetensors.Float64s) { st.Scalars.Beta1Power = x[0] }),
		scalar(l, beta2Name, func(x safetensors.Float64s) { st.Scalars.Beta2Power = x[0] }),
		scalar(l, ledgerName, func(x safetensors.Uint64s) { st.Scalars.Ledger = x[0] }),
		scalar(l, usersName, func(x safetensors.Uint64s) { st.Scalars.Users = x[0] }),
		scalar(l, tokensName, func(x safetensors.Uint64s) { st.Scalars.Tokens = x[0] }),
	} {
		if err != nil {
			return nil, err
		}
	}
	if ringleader.Step(step) != st.Step {
		return nil, fmt.Errorf("%w: the optimizer is at step %d, the manifest at %d", ErrCorrupt, step, st.Step)
	}
	if d := st.Digest(); d != l.m.State {
		return nil, fmt.Errorf("%w: the files hold state %s, the manifest says %s", ErrCorrupt, d, l.m.State)
	}
	return st, nil
}

// moment takes a moment out of the map; without one, the state will not check. It gets its parameter's name back.
func (l *loader) moment(param, suffix string) Tensor {
	t := l.moments[param+suffix]
	delete(l.moments, param+suffix)
	if t.Name != "" {
		t.Name = param
	}
	return t
}

func scalar[T safetensors.Data](l *loader, name string, set func(T)) error {
	x, ok := l.scalars[name].(T)
	if !ok {
		return fmt.Errorf("%w: the optimizer's scalar %q is missing or of another type", ErrCorrupt, name)
	}
	set(x)
	return nil
}
