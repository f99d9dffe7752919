package grpclink

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// memory is what the two ends of a link share if they are on one machine: a slot for each frame of the window, which one end writes and the
// other reads: in a ring the dialler writes, elsewhere it reads; and a board on which both say how far they are (queue.go).
//
// It is unmapped when nobody refers to it any more, and not when the link ends: somebody may still be reading.
type memory struct {
	*board
	payloads []byte
}

// board begins the memory. Both ends write to it, each to counters of its own.
type board struct {
	sent  counter // frames that are there, by the end that writes
	taken counter // of them those whose slot is free again, by the end that reads
	heads [window][64]byte
	nonce [nonceBytes]byte
}

// counter is alone in its line of a cache: what one end writes does not hold up the other.
type counter struct {
	n      atomic.Uint64
	awaits atomic.Uint32 // the other end waits for the next one, and wants to be roused
	_      [64 - 12]byte
}

const (
	nonceBytes  = 16
	boardBytes  = 64 << 10 // pages, of any size that systems have
	memoryBytes = boardBytes + window*allreduce.MaxPayload
	seals       = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW // a file that shrank under a reader would kill it
)

func (m *memory) slot(i int) []byte {
	return m.payloads[i*allreduce.MaxPayload : (i+1)*allreduce.MaxPayload : (i+1)*allreduce.MaxPayload]
}

// mapMemory maps payloads to be read, or written as well.
func mapMemory(fd, protection int) (*memory, error) {
	m := new(memory)
	pages, err := unix.Mmap(fd, 0, boardBytes, toWrite, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	runtime.AddCleanup(m, unmap, pages)
	m.board = (*board)(unsafe.Pointer(unsafe.SliceData(pages)))
	if m.payloads, err = unix.Mmap(fd, boardBytes, memoryBytes-boardBytes, protection, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	runtime.AddCleanup(m, unmap, m.payloads)
	return m, nil
}

func unmap(pages []byte) { _ = unix.Munmap(pages) } // it has no way to fail

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
		copy(m.nonce[:], nonce)
	}
	return m, err
}

// What an end may do with payloads.
const (
	toRead  = unix.PROT_READ
	toWrite = unix.PROT_READ | unix.PROT_WRITE
)

// openMemory finds another process's memory. It fails if that is in another namespace, or of another user.
func openMemory(name memoryName, protection int) (*memory, error) {
	file, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", name.pid, name.fd), os.O_RDWR, 0)
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
	if !bytes.Equal(m.nonce[:], name.nonce) {
		return nil, errors.New("open shared memory: it is another's")
	}
	return m, nil
}
