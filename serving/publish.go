package serving

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// seal writes the manifest of a generation whose files are all there. One that is there and lists the same files stays.
func (x *export) seal(ctx context.Context, m *Manifest) (*Manifest, error) {
	err := x.putManifest(ctx, m.Generation+"/"+ManifestName, m, true)
	if !errors.Is(err, checkpoints.ErrExist) {
		return m, err
	}
	there, err := ReadManifest(ctx, x.Out, m.Generation)
	if err == nil && slices.Equal(there.Files, m.Files) {
		return there, nil
	}
	if err != nil && !errors.Is(err, checkpoints.ErrCorrupt) {
		return nil, err
	}
	return m, x.putManifest(ctx, m.Generation+"/"+ManifestName, m, false)
}

func (x *export) putManifest(ctx context.Context, name string, m *Manifest, ifAbsent bool) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	return x.Out.Put(ctx, name, bytes.NewReader(text), int64(len(text)), sum[:], ifAbsent)
}

// publish makes a whole generation the current one, unless a later one of the same model is.
func (x *export) publish(ctx context.Context, m *Manifest) (bool, error) {
	current, err := ReadManifest(ctx, x.Out, "")
	switch {
	case errors.Is(err, checkpoints.ErrNotExist) || errors.Is(err, checkpoints.ErrCorrupt):
	case err != nil:
		return false, err
	case current.differs(&m.Identity) == nil && current.AsOfMS > m.AsOfMS:
		x.Note(fmt.Sprintf("%s goes on naming the later generation %s", ManifestName, current.Generation))
		return false, nil
	}
	return true, x.putManifest(ctx, ManifestName, m, false)
}
