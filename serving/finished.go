package serving

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// sumSuffix is that of the file beside a part that says that it is finished, and what it must be.
const sumSuffix = ".sha256"

// maxPart bounds a part that is read into memory.
const maxPart = 4 << 30

// finish says beside a stored part that it is whole.
func (x *export) finish(ctx context.Context, info checkpoints.FileInfo) error {
	text := fmt.Sprintf("%s  %s\n", info.SHA256, info.Name)
	sum := sha256.Sum256([]byte(text))
	return x.Out.Put(ctx, x.id.Generation()+"/"+info.Name+sumSuffix, strings.NewReader(text), int64(len(text)), sum[:], false)
}

// finished reads a part that an earlier run of the same generation has finished; nil if there is none that is what it must be.
func (x *export) finished(ctx context.Context, name string) (*part, checkpoints.FileInfo, error) {
	dir := x.id.Generation() + "/"
	text, err := readAll(ctx, x.Out, dir+name+sumSuffix, 1<<10)
	if errors.Is(err, checkpoints.ErrNotExist) {
		return nil, checkpoints.FileInfo{}, nil
	}
	info := checkpoints.FileInfo{Name: name}
	var p *part
	if err == nil {
		info.SHA256, _, _ = strings.Cut(string(text), " ")
		p, info.Size, err = fetch(ctx, x.Out, dir+name, info.SHA256, x.id.Dim)
	}
	if damaged(err) {
		x.Note(fmt.Sprintf("%s%s is made anew: %v", dir, name, err))
		return nil, checkpoints.FileInfo{}, nil
	}
	return p, info, err
}

// fetch reads a part whose hash is known.
func fetch(ctx context.Context, store checkpoints.Store, name, sum string, dim int) (*part, int64, error) {
	file, err := readAll(ctx, store, name, maxPart)
	if err != nil {
		return nil, 0, err
	}
	if have := sha256.Sum256(file); hex.EncodeToString(have[:]) != sum {
		return nil, 0, fmt.Errorf("%s: %w: its SHA-256 is %x, want %s", name, checkpoints.ErrCorrupt, have, sum)
	}
	p, err := readPart(name, file, dim)
	return p, int64(len(file)), err
}

// damaged tells what is wrong with files from what is wrong with the store or the call.
func damaged(err error) bool {
	return (errors.Is(err, checkpoints.ErrCorrupt) || errors.Is(err, checkpoints.ErrNotExist)) && !errors.Is(err, checkpoints.ErrUnavailable)
}

// done finds the whole generation, from an earlier run; nil if it is not there, or not whole.
func (x *export) done(ctx context.Context) (*Manifest, error) {
	m, err := ReadManifest(ctx, x.Out, x.id.Generation())
	if errors.Is(err, checkpoints.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = m.verify(ctx, x.Out)
	}
	if damaged(err) {
		x.Note(fmt.Sprintf("generation %s is completed anew: %v", x.id.Generation(), err))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x.report.Found = m.Users
	x.Progress(Progress{Done: m.Users, Found: m.Users, Total: m.Users})
	return m, nil
}

// verify reads every file of a generation and compares it with the manifest.
func (m *Manifest) verify(ctx context.Context, store checkpoints.Store) error {
	for _, f := range m.Files {
		name := m.Generation + "/" + f.Name
		body, err := store.Open(ctx, name)
		if err != nil {
			return err
		}
		h := sha256.New()
		size, err := io.Copy(h, body)
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if have := hex.EncodeToString(h.Sum(nil)); have != f.SHA256 || size != f.Size {
			return fmt.Errorf("%s: %w: %d bytes with SHA-256 %s, the manifest says %d with %s", name, checkpoints.ErrCorrupt, size, have, f.Size, f.SHA256)
		}
	}
	return nil
}
