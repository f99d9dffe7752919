package checkpoints

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
)

// WriteParts writes parts, one after the other, into dir and describes them. Writing a part again, also at the same time and from elsewhere,
// is harmless: its content follows from its directory and name.
func WriteParts(ctx context.Context, store Store, dir string, parts []*Part) ([]FileInfo, error) {
	infos := make([]FileInfo, 0, len(parts))
	for _, p := range parts {
		body := &hashing{ReadSeeker: p.Reader(), hash: sha256.New()}
		if err := store.Put(ctx, join(dir, p.Name), body, p.Size, nil, false); err != nil {
			return infos, fmt.Errorf("write checkpoint: %w", err)
		}
		infos = append(infos, FileInfo{Name: p.Name, Size: p.Size, SHA256: hex.EncodeToString(body.hash.Sum(nil))})
	}
	return infos, nil
}

// hashing hashes what is read, from the last time on that reading began at the start: a part is read once for its hash and its way into the
// store.
type hashing struct {
	io.ReadSeeker
	hash hash.Hash
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.ReadSeeker.Read(p)
	h.hash.Write(p[:n])
	return n, err
}

func (h *hashing) Seek(offset int64, whence int) (int64, error) {
	at, err := h.ReadSeeker.Seek(offset, whence)
	if err == nil && at != 0 {
		err = fmt.Errorf("seek part to %d: it is read from its start", at)
	}
	h.hash.Reset()
	return at, err
}

// WriteManifest completes the checkpoint in dir, whose parts must all be in the store, and returns the SHA-256 (hex) of the manifest that is
// there then. One that is there already and means the same (Manifest.Same) is kept: that is success, too. One of the same state that differs
// otherwise (Manifest.SameState) is replaced: an earlier run stored it, and this one's job.json has taken the place of its. So is one that
// is damaged. Another one is ErrExist.
func WriteManifest(ctx context.Context, store Store, dir string, m *Manifest) (string, error) {
	if path.Base(dir) != m.Dir() {
		return "", fmt.Errorf("write manifest into %q: the state belongs into %q", dir, m.Dir())
	}
	b, err := m.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	err = store.Put(ctx, join(dir, ManifestName), bytes.NewReader(b), int64(len(b)), sum[:], true)
	if errors.Is(err, ErrExist) {
		there, thereSum, readErr := ReadManifest(ctx, store, dir)
		switch {
		case errors.Is(readErr, ErrCorrupt): // worth nothing to anybody
		case readErr != nil:
			return "", fmt.Errorf("write manifest: %w; reading it: %w", err, readErr)
		case there.Same(m):
			return thereSum, nil
		case !there.SameState(m):
			return "", fmt.Errorf("write manifest: %w, with other content", err)
		}
		err = store.Put(ctx, join(dir, ManifestName), bytes.NewReader(b), int64(len(b)), sum[:], false)
	}
	if err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	return hex.EncodeToString(sum[:]), nil
}

// maxSmall bounds the files that are read into memory as a whole: manifest, index and job.
const maxSmall = 64 << 20

// ReadManifest reads and checks the manifest in dir and returns it with its SHA-256 (hex).
func ReadManifest(ctx context.Context, store Store, dir string) (*Manifest, string, error) {
	b, err := readSmall(ctx, store, join(dir, ManifestName))
	if err != nil {
		return nil, "", fmt.Errorf("read manifest: %w", err)
	}
	m, err := DecodeManifest(b)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", join(dir, ManifestName), err)
	}
	// A directory of another name is a copy that somebody made; one that is named like another checkpoint is a mistake.
	if base := path.Base(dir); stepDir.MatchString(base) && base != m.Dir() {
		return nil, "", fmt.Errorf("read %s: %w: it belongs into %q", join(dir, ManifestName), ErrCorrupt, m.Dir())
	}
	return m, hexSum(b), nil
}

// ReadJob reads the job's spec, canonical JSON, from a checkpoint.
func ReadJob(ctx context.Context, store Store, dir string, m *Manifest) ([]byte, error) {
	for _, f := range m.Files {
		if f.Name != JobName {
			continue
		}
		b, err := readSmall(ctx, store, join(dir, JobName))
		if err != nil {
			return nil, fmt.Errorf("read job of checkpoint: %w", err)
		}
		if hexSum(b) != f.SHA256 {
			return nil, fmt.Errorf("read job of checkpoint: %w", wrongHash(join(dir, JobName), f.SHA256))
		}
		return b, nil
	}
	return nil, fmt.Errorf("read job of checkpoint: %w: the manifest does not list %s", ErrCorrupt, JobName)
}

func readSmall(ctx context.Context, store Store, name string) (b []byte, err error) {
	r, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err = io.ReadAll(io.LimitReader(r, maxSmall+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxSmall {
		return nil, fmt.Errorf("read %s: %w: more than %d bytes", name, ErrCorrupt, maxSmall)
	}
	return b, nil
}

func wrongHash(name, want string) error {
	return fmt.Errorf("%s: %w: its SHA-256 is not %s, which the manifest gives", name, ErrCorrupt, want)
}
