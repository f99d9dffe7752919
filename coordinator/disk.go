package coordinator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// disk is what a node keeps: one directory, one owner.
type disk struct {
	id        string
	lock      *os.File
	meta      *metadb.BoltMetaDB // the log's table of contents: the log does not close it
	log       *wal.WAL
	snapshots *raft.FileSnapshotStore
}

const (
	segmentSize   = 8 << 20 // segments are allocated whole
	keptSnapshots = 2
)

var keyID = []byte("ringleader-id")

// openDisk opens a directory, or makes it. The id is random and lives in the log's own store: whoever loses the log loses the
// id with it, and is a new node.
func openDisk(dir string, logger hclog.Logger) (d *disk, err error) {
	d = &disk{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open coordinator directory %s: %w", dir, errors.Join(err, d.close()))
			d = nil
		}
	}()
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o700); err != nil {
		return d, err
	}
	if d.lock, err = lockFile(filepath.Join(dir, "lock")); err != nil {
		return d, err
	}
	d.meta = &metadb.BoltMetaDB{}
	if d.log, err = wal.Open(filepath.Join(dir, "log"), wal.WithMetaStore(d.meta), wal.WithSegmentSize(segmentSize), wal.WithLogger(logger)); err != nil {
		return d, err
	}
	if d.snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, keptSnapshots, logger); err != nil {
		return d, err
	}
	return d, d.identify()
}

func (d *disk) identify() error {
	id, err := d.log.Get(keyID)
	if err != nil {
		return fmt.Errorf("read node id: %w", err)
	}
	if len(id) == 0 {
		snaps, err := d.snapshots.List()
		if err != nil {
			return err
		}
		if len(snaps) > 0 {
			return errors.New("there are snapshots but no log: part of the directory was lost; empty it, and the node joins as a new one")
		}
		id = []byte(rand.Text())
		if err := d.log.Set(keyID, id); err != nil {
			return fmt.Errorf("store node id: %w", err)
		}
	}
	d.id = string(id)
	return nil
}

func (d *disk) close() error {
	var errs []error
	for _, c := range []io.Closer{closer(d.log), closer(d.meta), closer(d.lock)} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// closer is nil for a nil pointer.
func closer[T any, P interface {
	*T
	io.Closer
}](p P) io.Closer {
	if p == nil {
		return nil
	}
	return p
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: another coordinator uses the directory: %w", path, err)
	}
	return f, nil
}
