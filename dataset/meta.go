package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of a data set's files.
const (
	MetaName     = "dataset.json"
	ItemsName    = "items.parquet"
	VectorsName  = "item_vectors.safetensors"
	SequencesDir = "sequences"
)

// Version is the layout that this package reads and writes.
const Version = 1

// maxCount bounds users and items: both are indexed by int32.
const maxCount = math.MaxInt32

// Times are bounded so that sums of times and horizons cannot overflow.
const (
	minTime = -62135596800000 // 0001-01-01
	maxTime = 253402300799999 // 9999-12-31
)

const dayMS = 24 * 60 * 60 * 1000

// EvalEndMS is the end of the evaluation window: targets are later than CutMS and not later than this.
func (m *Meta) EvalEndMS() int64 { return m.CutMS + days(m.EvalDays) }

// days converts to milliseconds.
func days(d float64) int64 { return int64(math.Round(d * dayMS)) }

// ComputeDigest is what Digest must be: the SHA-256, as 64 hex digits, of the document's other fields but for Name and Source, which
// say where the content came from. The files take part with their size and SHA-256.
func (m Meta) ComputeDigest() (string, error) {
	m.Digest, m.Name, m.Source = "", "", nil
	text, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("compute digest: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// ReadMeta reads and validates dataset.json.
func ReadMeta(ctx context.Context, src Source) (Meta, error) {
	var m Meta
	body, err := src.Open(ctx, MetaName)
	if err != nil {
		return m, fmt.Errorf("open %s: %w", MetaName, err)
	}
	defer body.Close()
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("parse %s: %w", MetaName, err)
	}
	if err := m.Validate(); err != nil {
		return m, fmt.Errorf("check %s: %w", MetaName, err)
	}
	return m, nil
}

// Validate checks the document alone, its digest included.
func (m *Meta) Validate() error {
	switch {
	case m.Version != Version:
		return fmt.Errorf("version %d: this program reads version %d", m.Version, Version)
	case m.Users < 1 || m.Users > maxCount:
		return fmt.Errorf("users %d: want 1 to %d", m.Users, maxCount)
	case m.Items < 1 || m.Items > maxCount:
		return fmt.Errorf("items %d: want 1 to %d", m.Items, maxCount)
	case m.Actions < int64(m.Users):
		return fmt.Errorf("actions %d: want at least one for each of the %d users", m.Actions, m.Users)
	case m.FirstMS > m.LastMS:
		return fmt.Errorf("first_ms %d: later than last_ms %d", m.FirstMS, m.LastMS)
	case m.FirstMS < minTime || m.LastMS > maxTime || m.CutMS < minTime || m.CutMS > maxTime:
		return fmt.Errorf("first_ms %d, last_ms %d, cut_ms %d: want unix milliseconds of the years 1 to 9999", m.FirstMS, m.LastMS, m.CutMS)
	case !(m.EvalDays > 0 && m.EvalDays <= 3660):
		return fmt.Errorf("eval_days %g: want more than 0, at most 3660", m.EvalDays)
	case !(m.Holdout >= 0 && m.Holdout < 1):
		return fmt.Errorf("holdout %g: want at least 0, below 1", m.Holdout)
	case len(m.Types) == 0:
		return fmt.Errorf("actions_vocabulary is empty: want at least one action type")
	case len(m.Positive) != len(m.Types):
		return fmt.Errorf("positive has %d entries: want %d, one for each of actions_vocabulary", len(m.Positive), len(m.Types))
	case !slices.Contains(m.Positive, true):
		return fmt.Errorf("positive has no true entry: without a positive action type nothing can be learned")
	case m.VectorDim < 1 || m.VectorDim > 1<<16:
		return fmt.Errorf("vector_dim %d: want 1 to %d", m.VectorDim, 1<<16)
	}
	if err := m.validateFiles(); err != nil {
		return err
	}
	digest, err := m.ComputeDigest()
	if err == nil && digest != m.Digest {
		err = fmt.Errorf("digest %q: the document's own is %s; it was changed after it was written", m.Digest, digest)
	}
	return err
}

func (m *Meta) validateFiles() error {
	have := map[string]bool{}
	for _, f := range m.Files {
		known := f.Name == ItemsName || f.Name == VectorsName || isPart(f.Name)
		if !known {
			return fmt.Errorf("files: %q: want %s/part-*.parquet, %s or %s", f.Name, SequencesDir, ItemsName, VectorsName)
		}
		if have[f.Name] {
			return fmt.Errorf("files: %q is listed twice", f.Name)
		}
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("files: %s: sha256 %q: want 64 hex digits", f.Name, f.SHA256)
		}
		have[f.Name] = true
	}
	for _, name := range []string{ItemsName, VectorsName} {
		if !have[name] {
			return fmt.Errorf("files: %s is missing", name)
		}
	}
	if len(m.parts()) == 0 {
		return fmt.Errorf("files: %s/part-*.parquet is missing", SequencesDir)
	}
	return nil
}

func isPart(name string) bool {
	base, ok := strings.CutPrefix(name, SequencesDir+"/part-")
	return ok && strings.HasSuffix(base, ".parquet") && !strings.Contains(base, "/")
}

// parts are the files of sequences in the order of their names, which is the order of their users.
func (m *Meta) parts() []File {
	var parts []File
	for _, f := range m.Files {
		if isPart(f.Name) {
			parts = append(parts, f)
		}
	}
	slices.SortFunc(parts, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return parts
}

func (m *Meta) file(name string) File {
	i := slices.IndexFunc(m.Files, func(f File) bool { return f.Name == name })
	return m.Files[i] // Validate saw it
}

// Seal completes a folder whose other files are written: it fills in Version, Files and Digest and writes dataset.json.
func Seal(dir string, m Meta) (Meta, error) {
	parts, err := filepath.Glob(filepath.Join(dir, SequencesDir, "part-*.parquet"))
	if err != nil {
		return m, fmt.Errorf("list %s: %w", SequencesDir, err)
	}
	slices.Sort(parts)
	m.Version, m.Files = Version, nil
	for _, path := range append(parts, filepath.Join(dir, ItemsName), filepath.Join(dir, VectorsName)) {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return m, fmt.Errorf("name %s: %w", path, err)
		}
		f, err := describeFile(path, filepath.ToSlash(name))
		if err != nil {
			return m, err
		}
		m.Files = append(m.Files, f)
	}
	if m.Digest, err = m.ComputeDigest(); err != nil {
		return m, err
	}
	if err := m.Validate(); err != nil {
		return m, fmt.Errorf("check %s: %w", MetaName, err)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, fmt.Errorf("write %s: %w", MetaName, err)
	}
	if err := os.WriteFile(filepath.Join(dir, MetaName), append(text, '\n'), 0o644); err != nil {
		return m, fmt.Errorf("write %s: %w", MetaName, err)
	}
	return m, nil
}

func describeFile(path, name string) (File, error) {
	body, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("hash %s: %w", name, err)
	}
	defer body.Close()
	h := sha256.New()
	size, err := io.Copy(h, body)
	if err != nil {
		return File{}, fmt.Errorf("hash %s: %w", name, err)
	}
	return File{Name: name, Size: size, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}
