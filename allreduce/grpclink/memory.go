package grpclink

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// memory is what the two ends of a link share if they are on one machine: a slot for each frame of the window, which one end writes and the
// other reads: in a ring the dialler writes, elsewhere it reads. A frame of the stream then only says in which slot its payload is.
//
// It is unmapped when nobody refers to it any more, and not when the link ends: somebody may still be reading.
type memory struct{ all []byte }

const (
	nonceBytes  = 16
	memoryBytes = window*allreduce.MaxPayload + nonceBytes
	seals       = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW // a file that shrank under a reader would kill it
)

func (m *memory) slot(i int) []byte {
	return m.all[i*allreduce.MaxPayload : (i+1)*allreduce.MaxPayload : (i+1)*allreduce.MaxPayload]
}

func mapMemory(fd, protection int) (*memory, error) {
	all, err := unix.Mmap(fd, 0, memoryBytes, protection, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	m := &memory{all}
	runtime.AddCleanup(m, func(all []byte) { _ = unix.Munmap(all) }, all) // it has no way to fail
	return m, nil
}

// memoryName finds a memory on this machine: the process that made it, its descriptor there, and a secret that is in it, so that nothing else
// can be taken for it.
type memoryName struct {
	pid, fd int
	nonce   []byte
}

func (n memoryName) String() string { return fmt.Sprintf("%d/%d/%x", n.pid, n.fd, n.nonce) }

func parseMemoryName(s string) (n memoryName, err error) {
	var nonce string
	if _, err := fmt.Sscanf(s, "%d/%d/%s", &n.pid, &n.fd, &nonce); err != nil {
		return n, fmt.Errorf("name of shared memory %q: %w", s, err)
	}
	n.nonce, err = hex.DecodeString(nonce)
	if err == nil && len(n.nonce) != nonceBytes {
		err = fmt.Errorf("name of shared memory %q: secret of %d bytes, want %d", s, len(n.nonce), nonceBytes)
	}
	return n, err
}

// newMemory makes memory that others can find for as long as the file is open. Pages are taken as slots are used.
func newMemory() (*memory, *os.File, memoryName, error) {
	name := memoryName{pid: os.Getpid(), nonce: make([]byte, nonceBytes)}
	_, _ = rand.Read(name.nonce) // it never fails
	fd, err := unix.MemfdCreate("ringleader", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, name, fmt.Errorf("make shared memory: %w", err)
	}
	name.fd = fd
	file := os.NewFile(uintptr(fd), "shared memory of a link")
	m, err := fillMemory(fd, name.nonce)
	if err != nil {
		return nil, nil, name, errors.Join(fmt.Errorf("make shared memory: %w", err), file.Close())
	}
	return m, file, name, nil
}

func fillMemory(fd int, nonce []byte) (*memory, error) {
	if err := unix.Ftruncate(fd, memoryBytes); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, err
	}
	m, err := mapMemory(fd, toWrite)
	if err == nil {
		copy(m.all[len(m.all)-nonceBytes:], nonce)
	}
	return m, err
}

// What the end that opens a memory may do with it.
const (
	toRead  = unix.PROT_READ
	toWrite = unix.PROT_READ | unix.PROT_WRITE
)

// openMemory finds another process's memory. It fails if that is in another namespace, or of another user.
func openMemory(name memoryName, protection int) (*memory, error) {
	flag := os.O_RDONLY
	if protection == toWrite {
		flag = os.O_RDWR
	}
	file, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", name.pid, name.fd), flag, 0)
	if err != nil {
		return nil, fmt.Errorf("open shared memory: %w", err)
	}
	defer file.Close() // the mapping stays
	if got, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0); err != nil || got&seals != seals {
		return nil, fmt.Errorf("open shared memory: seals %#x (%v), want %#x", got, err, seals)
	}
	info, err := file.Stat()
	if err != nil || info.Size() != memoryBytes {
		return nil, fmt.Errorf("open shared memory: size is not %d (%v)", memoryBytes, err)
	}
	m, err := mapMemory(int(file.Fd()), protection)
	if err != nil {
		return nil, fmt.Errorf("open shared memory: %w", err)
	}
	if !bytes.Equal(m.all[len(m.all)-nonceBytes:], name.nonce) {
		return nil, errors.New("open shared memory: it is another's")
	}
	return m, nil
}
