package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

const (
	checksumHeader    = "X-Amz-Checksum-Sha256"
	partHeader        = "X-Amz-Checksum-Crc32c" // of a part
	algorithmHeader   = "X-Amz-Checksum-Algorithm"
	maxParts          = 10_000 // the protocol's limit
	abortTimeout      = 10 * time.Second
	checksumAlgorithm = "CRC32C" // of parts
)

// Put implements checkpoints.Store. The body is hashed here as a whole, unless the caller does; the server checks the SHA-256 of an object that
// is sent in one request, and the CRC32C of every part of another one.
func (s *Store) Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum []byte, ifAbsent bool) error {
	if err := s.put(ctx, name, body, size, sum, ifAbsent); err != nil {
		return fmt.Errorf("put %s: %w", name, mapped(err))
	}
	return nil
}

func (s *Store) put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum []byte, ifAbsent bool) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("seek body: %w", err)
	}
	u := &upload{s: s, key: s.key(name), body: body, size: size, want: sum, hash: sha256.New()}
	if ifAbsent {
		u.options.SetMatchETagExcept("*")
	}
	if size <= s.partSize {
		return s.resolve(ctx, name, ifAbsent, u.whole(ctx))
	}
	// Only the last of the requests is conditional: do not send it all for nothing.
	if ifAbsent {
		if _, err := s.Stat(ctx, name); err == nil {
			return checkpoints.ErrExist
		} else if !errors.Is(err, checkpoints.ErrNotExist) {
			return err
		}
	}
	return s.resolve(ctx, name, ifAbsent, u.parts(ctx))
}

// resolve finds out what became of a write that met another one.
func (s *Store) resolve(ctx context.Context, name string, ifAbsent bool, err error) error {
	if !ifAbsent || !conflicted(err) {
		return err
	}
	if _, statErr := s.Stat(ctx, name); statErr == nil {
		return fmt.Errorf("%w: %w", checkpoints.ErrExist, err)
	}
	return fmt.Errorf("%w: %w", checkpoints.ErrUnavailable, err)
}

// upload is one object on its way.
type upload struct {
	s       *Store
	key     string
	body    io.Reader
	size    int64
	want    []byte // SHA-256 of the body, or nil
	hash    hash.Hash
	options minio.PutObjectOptions // of the request that makes the object visible
}

// next reads n bytes of the body; fewer are ErrCorrupt.
func (u *upload) next(p []byte) error {
	_, err := io.ReadFull(u.body, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: the body has less than the %d bytes that were announced", checkpoints.ErrCorrupt, u.size)
	} else if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if u.want != nil {
		u.hash.Write(p)
	}
	return nil
}

// verify is called behind the last byte and before the object becomes visible.
func (u *upload) verify() error {
	if n, err := io.ReadFull(u.body, make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w: the body has more than the %d bytes that were announced", checkpoints.ErrCorrupt, u.size)
	} else if err != io.EOF {
		return fmt.Errorf("read body: %w", err)
	}
	if have := u.hash.Sum(nil); u.want != nil && !bytes.Equal(have, u.want) {
		return fmt.Errorf("%w: the body has the SHA-256 %x, announced was %x", checkpoints.ErrCorrupt, have, u.want)
	}
	return nil
}

// whole sends the object in one request.
func (u *upload) whole(ctx context.Context) error {
	buffer := make([]byte, u.size)
	if err := u.next(buffer); err != nil {
		return err
	}
	if err := u.verify(); err != nil {
		return err
	}
	sum := u.want
	if sum == nil {
		sent := sha256.Sum256(buffer)
		sum = sent[:]
	}
	o := u.options
	o.DisableContentSha256 = true // not the streaming signature: the hash is signed up front
	o.UserMetadata = map[string]string{checksumHeader: base64.StdEncoding.EncodeToString(sum)}
	body := newRepeatable(buffer)
	defer body.end()
	_, err := u.s.core.PutObject(ctx, u.s.bucket, u.key, body, u.size, "", hex.EncodeToString(sum), o)
	return err
}

// parts sends the object in pieces, which become visible together.
func (u *upload) parts(ctx context.Context) (err error) {
	id, err := u.s.core.NewMultipartUpload(ctx, u.s.bucket, u.key, minio.PutObjectOptions{
		UserMetadata: map[string]string{algorithmHeader: checksumAlgorithm}})
	if err != nil {
		return fmt.Errorf("begin upload: %w", err)
	}
	defer func() {
		if err != nil {
			// What was sent costs until it is given up; also when the caller has no time left.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
			defer cancel()
			if abortErr := u.s.core.AbortMultipartUpload(ctx, u.s.bucket, u.key, id); abortErr != nil {
				err = fmt.Errorf("%w (its parts remain: %w)", err, abortErr)
			}
		}
	}()
	done, err := u.send(ctx, id)
	if err != nil {
		return err
	}
	if err := u.verify(); err != nil {
		return err
	}
	if _, err := u.s.core.CompleteMultipartUpload(ctx, u.s.bucket, u.key, id, done, u.options); err != nil {
		return fmt.Errorf("complete upload: %w", err)
	}
	return nil
}

// send reads the body part by part, and sends some at the same time: while one is hashed, others are on the wire.
func (u *upload) send(ctx context.Context, id string) ([]minio.CompletePart, error) {
	size := max(u.s.partSize, (u.size+maxParts-1)/maxParts) // rounded up so that the parts are never too many
	done := make([]minio.CompletePart, (u.size+size-1)/size)
	free := make(chan []byte, min(u.s.parallel, len(done)))
	for range cap(free) {
		free <- nil // a buffer is made when it is needed
	}
	sending, sendCtx := errgroup.WithContext(ctx)
	for i := range done {
		var buffer []byte
		select {
		case buffer = <-free:
		case <-sendCtx.Done():
		}
		if sendCtx.Err() != nil {
			break
		}
		if buffer == nil {
			buffer = make([]byte, size)
		}
		p := buffer[:min(size, u.size-int64(i)*size)]
		if err := u.next(p); err != nil {
			sending.Go(func() error { return err })
			break
		}
		sending.Go(func() error {
			part, err := u.part(sendCtx, id, i+1, p)
			if err != nil {
				return fmt.Errorf("send part %d: %w", i+1, err)
			}
			done[i] = minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag, ChecksumCRC32C: part.ChecksumCRC32C}
			free <- buffer
			return nil
		})
	}
	if err := sending.Wait(); err != nil {
		return nil, err
	}
	return done, ctx.Err()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// part sends a part. It is not signed, only checked on the way: its SHA-256 is in the manifest of the checkpoint, which is.
func (u *upload) part(ctx context.Context, id string, number int, p []byte) (minio.ObjectPart, error) {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(p, castagnoli))
	body := newRepeatable(p)
	defer body.end()
	return u.s.core.PutObjectPart(ctx, u.s.bucket, u.key, id, number, body, int64(len(p)), minio.PutObjectPartOptions{
		CustomHeader:         http.Header{partHeader: {base64.StdEncoding.EncodeToString(sum)}},
		DisableContentSha256: true,
	})
}

// PutPlain stores an object as the client library does by itself, without a hash of the whole: what benchmarks compare Put with.
func (s *Store) PutPlain(ctx context.Context, name string, body io.Reader, size int64) error {
	if err := check(ctx, name); err != nil {
		return fmt.Errorf("put %s: %w", name, mapped(err))
	}
	if _, err := s.core.Client.PutObject(ctx, s.bucket, s.key(name), body, size, minio.PutObjectOptions{}); err != nil {
		return fmt.Errorf("put %s: %w", name, mapped(err))
	}
	return nil
}
