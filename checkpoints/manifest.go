package checkpoints

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader"
)

// ManifestVersion is the version of the layout that this package writes and the only one that it reads.
const ManifestVersion = 2

// ErrVersion: a checkpoint of a version that this program does not read. It is not damaged, so nothing falls back from it to an older one.
var ErrVersion = errors.New("unknown version of the manifest")

// FileInfo describes one file of a checkpoint.
type FileInfo struct {
	Name   string `json:"name"` // without the directory
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // 64 hex digits
}

// Manifest says what a checkpoint must contain. It is written last: a directory without one is no checkpoint.
type Manifest struct {
	Job       ringleader.Digest // digest of the job's "what"
	Step      ringleader.Step
	State     ringleader.Digest // State.Digest of what the files hold
	Numerics  string            // numerics class that computed the gradients
	Libraries map[string]string // versions of the libraries that they depend on
	Files     []FileInfo        // in any order; sorted by name when read
	Volatile  Volatile
}

// Volatile is what may differ between two manifests of the same checkpoint.
type Volatile struct {
	Host       string                `json:"host"`
	Time       time.Time             `json:"time"`
	Generation ringleader.Generation `json:"generation"`
	Program    string                `json:"program"` // version that wrote it
}

// Dir is the name of the directory that the manifest belongs into.
func (m *Manifest) Dir() string { return Dir(m.Step, m.State) }

// Same says whether two manifests mean the same checkpoint: all is equal but what is volatile.
func (m *Manifest) Same(o *Manifest) bool {
	return m.Job == o.Job && m.Step == o.Step && m.State == o.State && m.Numerics == o.Numerics &&
		maps.Equal(m.Libraries, o.Libraries) && slices.Equal(sorted(m.Files), sorted(o.Files))
}

// SameState says whether two manifests are about the same state of the same job, whatever computed it, and stored it under which "how".
func (m *Manifest) SameState(o *Manifest) bool {
	return m.Job == o.Job && m.Step == o.Step && m.State == o.State && slices.Equal(m.stateFiles(), o.stateFiles())
}

// stateFiles are the files that follow from the state alone.
func (m *Manifest) stateFiles() []FileInfo {
	return slices.DeleteFunc(sorted(m.Files), func(f FileInfo) bool { return f.Name == JobName })
}

func sorted(files []FileInfo) []FileInfo {
	return slices.SortedFunc(slices.Values(files), func(a, b FileInfo) int { return cmp.Compare(a.Name, b.Name) })
}

// manifestJSON is a manifest on disk.
type manifestJSON struct {
	Version   int               `json:"version"`
	Job       string            `json:"job"`
	Step      int64             `json:"step"`
	State     string            `json:"state"`
	Numerics  string            `json:"numerics"`
	Libraries map[string]string `json:"libraries,omitempty"`
	Files     []FileInfo        `json:"files"`
	Volatile  Volatile          `json:"volatile"`
	// Sum is the SHA-256 of this JSON with an empty sum: also what no other hash covers must not change unnoticed.
	Sum string `json:"sum"`
}

func (j manifestJSON) bytes() ([]byte, error) {
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return append(b, '\n'), nil
}

// seal fills in the sum.
func (j *manifestJSON) seal() ([]byte, error) {
	j.Sum = ""
	b, err := j.bytes()
	if err != nil {
		return nil, err
	}
	j.Sum = hexSum(b)
	return j.bytes()
}

// manifestEnd is the end of a manifest of any version.
var manifestEnd = regexp.MustCompile(`"sum": "([0-9a-f]{64})"\n}\n$`)

// sealed checks the sum without understanding the rest.
func sealed(b []byte) bool {
	at := manifestEnd.FindSubmatchIndex(b)
	if at == nil {
		return false
	}
	return hexSum(slices.Concat(b[:at[2]], b[at[3]:])) == string(b[at[2]:at[3]])
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Encode gives the manifest's only valid bytes. It refuses a manifest that does not list the files of a checkpoint.
func (m *Manifest) Encode() ([]byte, error) {
	files := sorted(m.Files)
	if err := checkFiles(files); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	v := m.Volatile
	v.Time = v.Time.UTC().Round(0)
	v.Host, v.Program = strings.ToValidUTF8(v.Host, "?"), strings.ToValidUTF8(v.Program, "?")
	j := manifestJSON{ManifestVersion, m.Job.String(), int64(m.Step), m.State.String(), m.Numerics, m.Libraries, files, v, ""}
	b, err := j.seal()
	if err != nil {
		return nil, err
	}
	// What could not be read back (text that is not UTF-8) must not be written.
	if _, err := DecodeManifest(b); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return b, nil
}

// DecodeManifest reads what Encode wrote, and nothing else: a manifest is valid only byte by byte. Errors wrap ErrCorrupt, or ErrVersion
// for a whole manifest of another version.
func DecodeManifest(b []byte) (*Manifest, error) {
	if !sealed(b) {
		return nil, fmt.Errorf("decode manifest: %w: its bytes do not match its own checksum", ErrCorrupt)
	}
	var v struct{ Version int }
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("decode manifest: %w: %w", ErrCorrupt, err)
	}
	if v.Version != ManifestVersion {
		return nil, fmt.Errorf("decode manifest: %w: %d, this program reads %d", ErrVersion, v.Version, ManifestVersion)
	}
	var j manifestJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("decode manifest: %w: %w", ErrCorrupt, err)
	}
	// Two spellings of one manifest would have two hashes.
	if again, err := j.seal(); err != nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("decode manifest: %w: its bytes are not those that its content has", ErrCorrupt)
	}
	m := &Manifest{Step: ringleader.Step(j.Step), Numerics: j.Numerics, Libraries: j.Libraries, Files: j.Files, Volatile: j.Volatile}
	var errJob, errState error
	m.Job, errJob = ringleader.ParseDigest(j.Job)
	m.State, errState = ringleader.ParseDigest(j.State)
	if err := errors.Join(errJob, errState, checkFiles(m.Files)); err != nil {
		return nil, fmt.Errorf("decode manifest: %w: %w", ErrCorrupt, err)
	}
	return m, nil
}

// checkFiles wants the files of Plan, each once, with sizes and hashes that could be true.
func checkFiles(files []FileInfo) error {
	names := map[string]bool{}
	for i, f := range files {
		if CheckName(f.Name) != nil || path.Base(f.Name) != f.Name || f.Name == ManifestName || names[f.Name] {
			return fmt.Errorf("files[%d].name %q: want the name of another file of the directory", i, f.Name)
		}
		names[f.Name] = true
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size || f.Size < 0 {
			return fmt.Errorf("files[%d] %s: size %d, sha256 %q: want a size of at least 0 and 64 hex digits", i, f.Name, f.Size, f.SHA256)
		}
	}
	want := 2
	for _, name := range []func(i, n int) string{modelFile, optimizerFile} {
		n := countParts(files, name)
		for i := range n {
			if !names[name(i, n)] {
				return fmt.Errorf("files: %s is missing", name(i, n))
			}
		}
		want += n
	}
	if !names[IndexName] || !names[JobName] || len(files) != want {
		return fmt.Errorf("files: %d files; want %s, %s and the %d others that go with them", len(files), IndexName, JobName, want-2)
	}
	return nil
}

// countParts is the N of "-of-N" in the files that the naming function gives, at least 1.
func countParts(files []FileInfo, name func(i, n int) string) int {
	for n := 1; n <= len(files); n++ {
		if slices.ContainsFunc(files, func(f FileInfo) bool { return f.Name == name(0, n) }) {
			return n
		}
	}
	return 1
}
