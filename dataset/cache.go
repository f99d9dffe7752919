package dataset

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

// The decoded data set is one flat file in the machine's own byte order, mapped by all workers of a machine and so held in memory
// once. It is a cache: named by the content digest, checked when it is opened, rebuilt when it is damaged.
//
//	magic, byte order, xxhash64 of all that follows, then (offset, length) of each section, then the sections
const (
	cacheMagic  = "RINGDAT1"
	cacheOrder  = 0x0102030405060708
	cacheHeader = 24 + sectionCount*16
	cacheAlign  = 64
)

// Sections, in the file's order.
const (
	secOffset     = iota // int64[users+1]: where a user's actions begin
	secHash              // uint64[users]: xxhash64 of the id
	secTime              // int64[actions]
	secItem              // int32[actions]
	secAction            // int32[actions]
	secSurface           // int32[actions] or nothing
	secDuration          // float32[actions] or nothing
	secVectors           // float32[items*dimension]
	secIDOffset          // int64[users+1]
	secTextOffset        // int64[3*items+1]
	secID                // bytes; from here on lengths are only known at the end
	secText              // bytes
	sectionCount
)

type section struct{ offset, length int64 }

// layout places the sections whose lengths dataset.json fixes.
func layout(m *Meta) (s [sectionCount]section) {
	users, items, actions := int64(m.Users), int64(m.Items), m.Actions
	s[secOffset].length = 8 * (users + 1)
	s[secHash].length = 8 * users
	s[secTime].length = 8 * actions
	s[secItem].length = 4 * actions
	s[secAction].length = 4 * actions
	if len(m.Surfaces) > 0 {
		s[secSurface].length = 4 * actions
	}
	if m.Durations {
		s[secDuration].length = 4 * actions
	}
	s[secVectors].length = 4 * items * int64(m.VectorDim)
	s[secIDOffset].length = 8 * (users + 1)
	s[secTextOffset].length = 8 * (3*items + 1)
	place(&s)
	return s
}

func place(s *[sectionCount]section) {
	at := int64(cacheHeader)
	for i := range s {
		at = (at + cacheAlign - 1) / cacheAlign * cacheAlign
		s[i].offset = at
		at += s[i].length
	}
}

// builder is the sink that writes the flat file.
type builder struct {
	file     *os.File
	sections [sectionCount]section
	users    int64
	actions  int64
	ids      []byte
}

func write[T any](b *builder, section int, at int64, data []T) error {
	raw := bytesOf(data)
	s := b.sections[section]
	at *= int64(unsafe.Sizeof(*new(T)))
	if len(raw) == 0 {
		return nil // a column that the data set does not have: its section is empty wherever the others have come to
	}
	if at+int64(len(raw)) > s.length {
		return fmt.Errorf("write cache: %d bytes at %d of section %d, which has %d", len(raw), at, section, s.length)
	}
	if _, err := b.file.WriteAt(raw, s.offset+at); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

func bytesOf[T any](data []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), len(data)*int(unsafe.Sizeof(*new(T))))
}

func (b *builder) sequences(k *block) error {
	n := len(k.id)
	if b.users+int64(n) > b.sections[secHash].length/8 || b.actions+int64(len(k.time)) > b.sections[secTime].length/8 {
		return nil // more than dataset.json says: the scan's own error names both counts
	}
	offset, idOffset, hash := make([]int64, n+1), make([]int64, n+1), make([]uint64, n)
	for u, id := range k.id {
		offset[u], idOffset[u], hash[u] = b.actions+k.offset[u], int64(len(b.ids)), xxhash.Sum64String(id)
		b.ids = append(b.ids, id...)
	}
	offset[n], idOffset[n] = b.actions+k.offset[n], int64(len(b.ids))
	err := errors.Join(
		write(b, secOffset, b.users, offset), write(b, secIDOffset, b.users, idOffset), write(b, secHash, b.users, hash),
		write(b, secTime, b.actions, k.time), write(b, secItem, b.actions, k.item), write(b, secAction, b.actions, k.action),
		write(b, secSurface, b.actions, k.surface), write(b, secDuration, b.actions, k.duration))
	b.users += int64(n)
	b.actions += int64(len(k.time))
	return err
}

func (b *builder) items(t *texts) error {
	b.sections[secID].length = int64(len(b.ids))
	b.sections[secText].length = int64(len(t.bytes))
	place(&b.sections)
	return errors.Join(write(b, secTextOffset, 0, t.offset), write(b, secID, 0, b.ids), write(b, secText, 0, t.bytes))
}

func (b *builder) vectors(v Vectors) error { return write(b, secVectors, 0, v.Data) }

// finish writes the header, last, and makes the file durable.
func (b *builder) finish() error {
	size := b.sections[sectionCount-1].offset + b.sections[sectionCount-1].length
	if err := b.file.Truncate(size); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	head := make([]byte, 0, cacheHeader)
	head = append(head, cacheMagic...)
	head = binary.NativeEndian.AppendUint64(head, cacheOrder)
	head = binary.NativeEndian.AppendUint64(head, 0)
	for _, s := range b.sections {
		head = binary.NativeEndian.AppendUint64(head, uint64(s.offset))
		head = binary.NativeEndian.AppendUint64(head, uint64(s.length))
	}
	if _, err := b.file.WriteAt(head, 0); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	h := xxhash.New()
	if _, err := io.Copy(h, io.NewSectionReader(b.file, 24, size-24)); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	if _, err := b.file.WriteAt(binary.NativeEndian.AppendUint64(nil, h.Sum64()), 16); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	if err := b.file.Sync(); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

// build decodes the data set into dir/name. Several processes may do so at once: each writes its own file, and the first one to
// finish gives it the name, so that all of them map the same one.
func build(ctx context.Context, src Source, m *Meta, dir, name string) (err error) {
	tmp, err := os.CreateTemp(dir, ".build-*")
	if err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	defer func() { err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name())) }()
	b := &builder{file: tmp, sections: layout(m)}
	bad := &problems{max: 1}
	if err := scan(ctx, src, m, dir, bad, b); err != nil && !errors.Is(err, errTooMany) {
		return err
	}
	if err := bad.first(); err != nil {
		return err
	}
	if err := b.finish(); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

// mapping is the flat file in memory.
type mapping struct {
	raw      []byte
	sections [sectionCount]section
}

// errDamaged is a flat file that is not what this package wrote.
var errDamaged = errors.New("damaged cache file")

// openMapping maps a flat file and verifies it.
func openMapping(path string, m *Meta) (*mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	if info.Size() < cacheHeader {
		return nil, fmt.Errorf("open cache %s: %w: %d bytes", path, errDamaged, info.Size())
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map cache %s: %w", path, err)
	}
	mp := &mapping{raw: raw}
	if err := mp.verify(m); err != nil {
		return nil, errors.Join(fmt.Errorf("open cache %s: %w: %w", path, errDamaged, err), mp.close())
	}
	return mp, nil
}

func (mp *mapping) verify(m *Meta) error {
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(mp.raw[8*i:]) }
	if string(mp.raw[:8]) != cacheMagic || word(1) != cacheOrder {
		return errors.New("unknown format")
	}
	if sum := xxhash.Sum64(mp.raw[24:]); sum != word(2) {
		return fmt.Errorf("checksum %016x, want %016x", sum, word(2))
	}
	want := layout(m)
	want[secID].length, want[secText].length = int64(word(3+2*secID+1)), int64(word(3+2*secText+1))
	place(&want)
	for i := range want {
		if got := (section{int64(word(3 + 2*i)), int64(word(3 + 2*i + 1))}); got != want[i] || got.offset+got.length > int64(len(mp.raw)) {
			return fmt.Errorf("section %d at %v: want %v", i, got, want[i])
		}
	}
	mp.sections = want
	return nil
}

func (mp *mapping) close() error {
	if mp.raw == nil {
		return nil
	}
	raw := mp.raw
	mp.raw = nil
	if err := unix.Munmap(raw); err != nil {
		return fmt.Errorf("unmap cache: %w", err)
	}
	return nil
}

// view is a section as numbers; nil if it is empty.
func view[T any](mp *mapping, i int) []T {
	s := mp.sections[i]
	if s.length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&mp.raw[s.offset])), s.length/int64(unsafe.Sizeof(*new(T))))
}
