package job

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ringleader-dev/ringleader"
)

// Canonical is the whole job as JSON with every field in its fixed place: what travels to workers, and what checkpoints keep. Equal jobs
// give equal bytes.
func Canonical(s Spec) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write canonical job: %w", err) // NaN or infinity: it was never validated
	}
	return text, nil
}

// FromCanonical reads what Canonical wrote, and validates it. Unknown fields are refused: they would mean something to the writer that
// this build does not do.
func FromCanonical(text []byte) (Spec, error) {
	var s Spec
	s.What.Loss.NewestWeight = "one" // what jobs did before they could say so
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return Spec{}, fmt.Errorf("read canonical job: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Spec{}, errors.New("read canonical job: more follows the job")
	}
	if err := s.Validate(); err != nil {
		return Spec{}, fmt.Errorf("read canonical job: %w", err)
	}
	return s, nil
}

// draws is the version of how users are dealt to shards and steps, and of everything that is drawn at random. Whoever changes that must raise it: the same
// job then gives other bits, so that checkpoints of the version before must not be resumed, nor gangs be of both.
const draws = 2

// Digest is the job digest: the first 8 bytes, big-endian, of the SHA-256 of w's canonical JSON and the version of draws. Where the data lies is not part of it, nor by which
// preset the sizes came about; which data it is (DataDigest) and the sizes are.
func (w What) Digest() ringleader.Digest {
	w.Data, w.Model.Preset = "", ""
	text, err := json.Marshal(w)
	if err != nil {
		// Only NaN and infinities cannot be written; their %v names them, so that even a job which was never validated has a digest.
		text = fmt.Appendf(nil, "%v", w)
	}
	sum := sha256.Sum256(fmt.Appendf(text, "draws %d", draws))
	return ringleader.Digest(binary.BigEndian.Uint64(sum[:8]))
}
