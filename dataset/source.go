package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Dir is a Source in a local folder.
type Dir string

// URL is file:// and the folder's path.
func (d Dir) URL() string { return "file://" + filepath.ToSlash(string(d)) }

// Open opens a file of the folder.
func (d Dir) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("file %q: want a name inside the folder", name)
	}
	return os.Open(filepath.Join(string(d), filepath.FromSlash(name)))
}

// spool copies a file of the data set into a temporary one in dir, verifies it on the way, and hands it to use. Parquet is read
// from its end, which an object of a store cannot be.
func spool(ctx context.Context, src Source, f File, dir string, use func(*os.File) error) (err error) {
	tmp, err := os.CreateTemp(dir, ".spool-*")
	if err != nil {
		return fmt.Errorf("fetch %s: %w", f.Name, err)
	}
	defer func() { err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name())) }()
	if err := fetch(ctx, src, f, tmp); err != nil {
		return fmt.Errorf("fetch %s: %w", f.Name, err)
	}
	return use(tmp)
}

// fetch copies a file and compares its size and checksum with dataset.json.
func fetch(ctx context.Context, src Source, f File, to io.Writer) error {
	body, err := src.Open(ctx, f.Name)
	if err != nil {
		return err
	}
	defer body.Close()
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(to, h), &contextReader{ctx, io.LimitReader(body, f.Size+1)})
	switch sum := hex.EncodeToString(h.Sum(nil)); {
	case err != nil:
		return err
	case size < f.Size:
		return fmt.Errorf("truncated: %d bytes, %s says %d", size, MetaName, f.Size)
	case size > f.Size:
		return fmt.Errorf("more than the %d bytes that %s says", f.Size, MetaName)
	case sum != f.SHA256:
		return fmt.Errorf("sha256 %s, %s says %s: the file was changed or damaged", sum, MetaName, f.SHA256)
	}
	return nil
}

// contextReader ends a long copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
