package serving

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

func table(t *testing.T) []byte {
	t.Helper()
	p := part{dim: 2, ids: []string{"a", "b"}, asOfMS: []int64{1, 2}, inputs: []uint64{3, 4}, vectors: []uint16{5, 6, 7, 8}}
	var file bytes.Buffer
	check(t, p.writeTo(&file))
	return file.Bytes()
}

// TestMalformedTable: a table may be what its hash says and malformed all the same, if its writer was. The error names it.
func TestMalformedTable(t *testing.T) {
	good := table(t)
	if p, err := readPart("x", good, 2); err != nil || !slices.Equal(p.ids, []string{"a", "b"}) || !slices.Equal(p.vectors, []uint16{5, 6, 7, 8}) {
		t.Fatalf("%+v, %v", p, err)
	}
	absurd := slices.Clone(good)
	binary.LittleEndian.PutUint32(absurd[len(absurd)-8:], 1<<32-1)
	var narrow bytes.Buffer
	w := parquet.NewGenericWriter[any](&narrow, usersOf(parquet.FixedLenByteArrayType(1)))
	check(t, w.Close())
	for _, c := range []struct {
		file []byte
		dim  int
		want string
	}{
		{nil, 2, "no Parquet file"},
		{absurd, 2, "footer of 4294967295 bytes"},
		{narrow.Bytes(), 2, "are not those of users"},
		{good, 3, "row 0 has 5 values: want 6,"},
	} {
		if _, err := readPart("users-7", c.file, c.dim); !namesCorrupt(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
}

func namesCorrupt(err error) bool {
	return errors.Is(err, checkpoints.ErrCorrupt) && strings.HasPrefix(err.Error(), "users-7: ")
}

// TestTableOfAnyBytes changes each byte of a table: some lead the library to places that are not there.
func TestTableOfAnyBytes(t *testing.T) {
	good := table(t)
	malformed := false
	for at := range good {
		file := slices.Clone(good)
		file[at] ^= 0x80
		_, err := readPart("users-7", file, 2)
		if err != nil && !namesCorrupt(err) {
			t.Errorf("byte %d: %v", at, err)
		}
		malformed = malformed || err != nil && strings.Contains(err.Error(), "malformed")
	}
	if !malformed {
		t.Error("no byte made the library panic: this shows nothing")
	}
}
