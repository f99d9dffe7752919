package serving

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
)

// ManifestName is the manifest of a generation, and of the current one at the root.
const ManifestName = "embeddings.json"

// Version is the layout that this package reads and writes.
const Version = 1

// ErrOther: what is there belongs to another model.
var ErrOther = errors.New("another model's embeddings")

// Identity is what the bytes of a generation follow from.
type Identity struct {
	State     string          `json:"state"` // digest of the state whose parameters were used
	Job       string          `json:"job"`   // digest of the job's "what"
	Step      ringleader.Step `json:"step"`
	Data      string          `json:"data"` // content digest of the data set
	Numerics  string          `json:"numerics"`
	AsOfMS    int64           `json:"as_of_ms"`
	Dim       int             `json:"dim"`
	PartUsers int             `json:"part_users"`
	Actions   []string        `json:"actions_vocabulary"`
	Surfaces  []string        `json:"surfaces_vocabulary"`
}

// Generation is the directory's name: names in order are as-of times in order.
func (id *Identity) Generation() string {
	text, err := json.Marshal(id)
	if err != nil {
		panic(err) // strings and integers
	}
	sum := sha256.Sum256(text)
	return "as-of-" + time.UnixMilli(id.AsOfMS).UTC().Format(generationTime) + "-" + hex.EncodeToString(sum[:8])
}

const generationTime = "20060102T150405.000Z"

var generationDir = regexp.MustCompile(`^as-of-(\d{8}T\d{6}\.\d{3}Z)-[0-9a-f]{16}$`)

// Manifest says what a generation contains.
type Manifest struct {
	Version    int    `json:"version"` // 1
	Generation string `json:"generation"`
	Identity
	Users    int                    `json:"users"`
	Items    int                    `json:"items"`
	Files    []checkpoints.FileInfo `json:"files"` // in the generation's directory
	Volatile Volatile               `json:"volatile"`
}

// Volatile is what may differ between two manifests of the same generation: how it was made.
type Volatile struct {
	Time     time.Time `json:"time"`
	Program  string    `json:"program"`
	Previous string    `json:"previous,omitempty"` // generation that vectors were taken from
	Found    int       `json:"found"`              // as in Report
	Kept     int       `json:"kept"`
	Made     int       `json:"made"`
}

func (m *Manifest) encode() ([]byte, error) {
	m.Version = Version
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", ManifestName, err)
	}
	return append(text, '\n'), nil
}

// decode reads a manifest. What is not one is checkpoints.ErrCorrupt.
func decode(text []byte) (*Manifest, error) {
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: %w", checkpoints.ErrCorrupt, err)
	}
	if m.Version != Version {
		return nil, fmt.Errorf("version %d: this program reads version %d", m.Version, Version)
	}
	if want := m.Identity.Generation(); m.Generation != want {
		return nil, fmt.Errorf("%w: generation %q; what it was made from gives %s", checkpoints.ErrCorrupt, m.Generation, want)
	}
	for _, f := range m.Files {
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size || checkpoints.CheckName(f.Name) != nil {
			return nil, fmt.Errorf("%w: file %q with sha256 %q: want a name and 64 hex digits", checkpoints.ErrCorrupt, f.Name, f.SHA256)
		}
	}
	return &m, nil
}

// maxManifest bounds what is read into memory: ten million parts.
const maxManifest = 1 << 30

// ReadManifest reads the manifest of a generation, or the current one if generation is empty.
func ReadManifest(ctx context.Context, store checkpoints.Store, generation string) (*Manifest, error) {
	name := ManifestName
	if generation != "" {
		name = generation + "/" + ManifestName
	}
	text, err := readAll(ctx, store, name, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := decode(text)
	if err == nil && generation != "" && m.Generation != generation {
		err = fmt.Errorf("%w: it is that of %s", checkpoints.ErrCorrupt, m.Generation)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", store.URL(), name, err)
	}
	return m, nil
}

func readAll(ctx context.Context, store checkpoints.Store, name string, most int64) (text []byte, err error) {
	body, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	text, err = io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%w: more than %d bytes", checkpoints.ErrCorrupt, most)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// AsOf finds the newest generation that knows nothing later than a time (unix milliseconds), of the same model as the current one. Training of a ranker that
// reads embeddings must ask for the time of its example. Without one the error is checkpoints.ErrNotExist.
func AsOf(ctx context.Context, store checkpoints.Store, ms int64) (*Manifest, error) {
	current, err := ReadManifest(ctx, store, "")
	if err != nil {
		return nil, err
	}
	objects, err := store.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range objects {
		dir, isManifest := strings.CutSuffix(o.Name, "/"+ManifestName)
		match := generationDir.FindStringSubmatch(dir)
		if !isManifest || match == nil {
			continue
		}
		if t, err := time.Parse(generationTime, match[1]); err == nil && t.UnixMilli() <= ms {
			names = append(names, dir)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(b, a) })
	for _, name := range names {
		m, err := ReadManifest(ctx, store, name)
		if err != nil {
			return nil, err
		}
		if current.differs(&m.Identity) == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("find a generation as of %s in %s: %w", timeText(ms), store.URL(), checkpoints.ErrNotExist)
}

// differs says why vectors of two generations are not comparable; the error wraps ErrOther.
func (m *Manifest) differs(id *Identity) error {
	switch {
	case m.State != id.State || m.Job != id.Job:
		return fmt.Errorf("%w: state %s of job %s, this is state %s of job %s", ErrOther, m.State, m.Job, id.State, id.Job)
	case m.Dim != id.Dim:
		return fmt.Errorf("%w: dimension %d, this is %d", ErrOther, m.Dim, id.Dim)
	case m.Numerics != id.Numerics:
		return fmt.Errorf("%w: numerics class %s, this is %s", ErrOther, m.Numerics, id.Numerics)
	case !slices.Equal(m.Actions, id.Actions):
		return fmt.Errorf("%w: action types %q, this data set has %q", ErrOther, m.Actions, id.Actions)
	case !slices.Equal(m.Surfaces, id.Surfaces):
		return fmt.Errorf("%w: surfaces %q, this data set has %q", ErrOther, m.Surfaces, id.Surfaces)
	}
	return nil
}
