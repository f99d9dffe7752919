package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// Store is a bucket, or the part of one below a prefix.
type Store struct {
	core      minio.Core
	transport *http.Transport
	bucket    string
	prefix    string // empty, or with a slash at its end
	partSize  int64
	parallel  int
}

var (
	_ checkpoints.Store   = (*Store)(nil)
	_ checkpoints.Sweeper = (*Store)(nil)
)

// Open prepares the use of a bucket. It finds the credentials (ErrDenied if there are none) and does not talk to the server: whether the
// bucket is there, the first operation tells.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	host, secure, err := c.server()
	if err != nil {
		return nil, err
	}
	transport := newTransport(c.Stall)
	options := c.options(transport, secure)
	found, err := options.Creds.GetWithContext(&credentials.CredContext{Context: ctx, Client: &http.Client{Timeout: roleTimeout}})
	if err != nil {
		return nil, fmt.Errorf("open s3://%s: %w: find credentials: %w", c.Bucket, checkpoints.ErrDenied, err)
	}
	if found.AccessKeyID == "" {
		return nil, fmt.Errorf("open s3://%s: %w: no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, the shared credentials file has none, "+
			"and this machine has no role", c.Bucket, checkpoints.ErrDenied)
	}
	client, err := minio.New(host, options)
	if err != nil {
		return nil, fmt.Errorf("open s3://%s: %w", c.Bucket, mapped(err))
	}
	s := &Store{core: minio.Core{Client: client}, transport: transport, bucket: c.Bucket, partSize: c.PartSize, parallel: c.Parallel}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	return s, nil
}

// Close implements checkpoints.Store: it gives idle connections back. Calls under way go on.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// URL implements checkpoints.Store.
func (s *Store) URL() string {
	return (&url.URL{Scheme: "s3", Host: s.bucket, Path: strings.TrimSuffix("/"+s.prefix, "/")}).String()
}

func (s *Store) key(name string) string { return s.prefix + name }

func check(ctx context.Context, name string) error {
	if err := checkpoints.CheckName(name); err != nil {
		return err
	}
	return ctx.Err()
}

// Open implements checkpoints.Store.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	err := check(ctx, name)
	var body io.ReadCloser
	if err == nil {
		body, _, _, err = s.core.GetObject(ctx, s.bucket, s.key(name), minio.GetObjectOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, mapped(err))
	}
	return &reader{body, ctx, name}, nil
}

// reader maps the errors of a body. One that ends early is an error of the connection: the length was announced.
type reader struct {
	io.ReadCloser
	ctx  context.Context
	name string
}

func (r *reader) Read(p []byte) (int, error) {
	// The client ends a connection a little after its context: what has arrived by then would still be read, perhaps to its end.
	n, err := 0, r.ctx.Err()
	if err == nil {
		n, err = r.ReadCloser.Read(p)
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s: %w", r.name, mapped(err))
	}
	return n, err
}

// Stat implements checkpoints.Store.
func (s *Store) Stat(ctx context.Context, name string) (checkpoints.Info, error) {
	err := check(ctx, name)
	var info minio.ObjectInfo
	if err == nil {
		info, err = s.core.StatObject(ctx, s.bucket, s.key(name), minio.StatObjectOptions{})
	}
	if err != nil {
		return checkpoints.Info{}, fmt.Errorf("stat %s: %w", name, mapped(err))
	}
	return checkpoints.Info{Name: name, Size: info.Size, Modified: info.LastModified}, nil
}

// List implements checkpoints.Store. Objects whose names no store may hold (placeholders for folders) are left out.
func (s *Store) List(ctx context.Context, prefix string) ([]checkpoints.Info, error) {
	err := errors.Join(checkpoints.CheckPrefix(prefix), ctx.Err())
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, mapped(err))
	}
	var list []checkpoints.Info
	for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.key(prefix), Recursive: true}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, mapped(o.Err))
		}
		if name := strings.TrimPrefix(o.Key, s.prefix); checkpoints.CheckName(name) == nil {
			list = append(list, checkpoints.Info{Name: name, Size: o.Size, Modified: o.LastModified})
		}
	}
	// The listing just ends when the context does.
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, mapped(err))
	}
	slices.SortFunc(list, func(a, b checkpoints.Info) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// Delete implements checkpoints.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := check(ctx, name)
	if err == nil {
		err = s.core.RemoveObject(ctx, s.bucket, s.key(name), minio.RemoveObjectOptions{})
	}
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchKey {
		return fmt.Errorf("delete %s: %w", name, mapped(err))
	}
	return nil
}

// Sweep implements checkpoints.Sweeper: it gives up the uploads in parts that nobody completed, whose parts cost and are seen by nobody.
// MinIO lists the uploads of one name only, and forgets what is old by itself.
func (s *Store) Sweep(ctx context.Context, prefix string, before time.Time) (n int, err error) {
	if err := errors.Join(checkpoints.CheckPrefix(prefix), ctx.Err()); err != nil {
		return 0, fmt.Errorf("sweep %s: %w", prefix, mapped(err))
	}
	key, id := "", ""
	for more := true; more; {
		page, err := s.core.ListMultipartUploads(ctx, s.bucket, s.key(prefix), key, id, "", 1000)
		if err != nil {
			return n, fmt.Errorf("sweep %s: %w", prefix, mapped(err))
		}
		for _, u := range page.Uploads {
			if !u.Initiated.Before(before) {
				continue
			}
			if err := s.core.AbortMultipartUpload(ctx, s.bucket, u.Key, u.UploadID); err != nil && minio.ToErrorResponse(err).Code != "NoSuchUpload" {
				return n, fmt.Errorf("sweep %s: %w", u.Key, mapped(err))
			}
			n++
		}
		more, key, id = page.IsTruncated, page.NextKeyMarker, page.NextUploadIDMarker
	}
	return n, nil
}
