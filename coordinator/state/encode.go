package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// ErrCorrupt: bytes on disk are not what was written.
var ErrCorrupt = errors.New("checksum differs")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode is a command as the log holds it: CRC32C (4 bytes, little-endian) of the rest, then the message.
func Encode(cmd *logpb.Command) ([]byte, error) {
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(make([]byte, 4), cmd)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	binary.LittleEndian.PutUint32(out, crc32.Checksum(out[4:], castagnoli))
	return out, nil
}

// Decode is the inverse of Encode.
func Decode(entry []byte) (*logpb.Command, error) {
	if len(entry) < 4 || binary.LittleEndian.Uint32(entry) != crc32.Checksum(entry[4:], castagnoli) {
		return nil, fmt.Errorf("decode command of %d bytes: %w", len(entry), ErrCorrupt)
	}
	cmd := new(logpb.Command)
	if err := proto.Unmarshal(entry[4:], cmd); err != nil {
		return nil, fmt.Errorf("decode command: %w", err)
	}
	return cmd, nil
}

// The snapshot's frame: magic, length of the message (8 bytes, little-endian), message, CRC32C of all before.
const (
	magic       = "RLSNAP1\n"
	maxSnapshot = 4 << 30
)

// WriteSnapshot writes the view; ReadSnapshot reads it back.
func (v View) WriteSnapshot(w io.Writer) error {
	body, err := v.marshal()
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	head := binary.LittleEndian.AppendUint64([]byte(magic), uint64(len(body)))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, body)
	for _, b := range [][]byte{head, body, binary.LittleEndian.AppendUint32(nil, sum)} {
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
	}
	return nil
}

// ReadSnapshot returns the state that was written, after checking its checksum and invariants.
func ReadSnapshot(r io.Reader) (*State, error) {
	head := make([]byte, len(magic)+8)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	size := binary.LittleEndian.Uint64(head[len(magic):])
	if string(head[:len(magic)]) != magic || size > maxSnapshot {
		return nil, fmt.Errorf("read snapshot: %w: no header", ErrCorrupt)
	}
	// Read as it comes, so that a wrong length cannot ask for the memory.
	var body bytes.Buffer
	if n, err := io.Copy(&body, io.LimitReader(r, int64(size)+4)); err != nil || n != int64(size)+4 {
		return nil, fmt.Errorf("read snapshot: %w: %d of %d bytes", errors.Join(ErrCorrupt, err), n, size+4)
	}
	msg, tail := body.Bytes()[:size], body.Bytes()[size:]
	if crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, msg) != binary.LittleEndian.Uint32(tail) {
		return nil, fmt.Errorf("read snapshot: %w", ErrCorrupt)
	}
	snap := new(logpb.Snapshot)
	if err := proto.Unmarshal(msg, snap); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	s := &State{View{Index: snap.Index, Jobs: snap.Jobs, Workers: snap.Workers}}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return s, nil
}

// Hash is equal for equal states: replicas of one build compare it.
func (v View) Hash() (string, error) {
	body, err := v.marshal()
	if err != nil {
		return "", fmt.Errorf("hash state: %w", err)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

func (v View) marshal() ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(&logpb.Snapshot{Index: v.Index, Jobs: v.Jobs, Workers: v.Workers})
}
