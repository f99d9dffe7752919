package parquetfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/ringleader-dev/ringleader/internal/parquetfile"
)

type row struct {
	Name  string  `parquet:"name,dict"`
	Times []int64 `parquet:"times,list"`
}

func table(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := parquet.Write(&b, []row{{"a", []int64{1, 2}}, {"b", nil}, {"a", []int64{3}}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads all rows of a table.
func read(content []byte) (rows int, err error) {
	f, err := parquetfile.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return 0, err
	}
	err = parquetfile.Shielded(func() error {
		for _, g := range f.RowGroups() {
			r := g.Rows()
			defer r.Close()
			for buf := make([]parquet.Row, 8); ; {
				n, err := r.ReadRows(buf)
				rows += n
				if errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					return err
				}
			}
		}
		return nil
	})
	return rows, err
}

func TestOpen(t *testing.T) {
	good := table(t)
	if n, err := read(good); n != 3 || err != nil {
		t.Fatalf("%d rows, %v; want 3", n, err)
	}
	absurd := slices.Clone(good)
	binary.LittleEndian.PutUint32(absurd[len(absurd)-8:], 0xfffffff0)
	for want, content := range map[string][]byte{
		"11 bytes: no Parquet file": good[:11],
		fmt.Sprintf("footer of 4294967280 bytes in a file of %d", len(good)): absurd,
		"invalid magic": append(good[:len(good)-1:len(good)-1], 'X'),
	} {
		if _, err := read(content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// TestNoPanic changes every byte of a table: some changes lead the library astray, and none leads it further than here.
func TestNoPanic(t *testing.T) {
	good := table(t)
	malformed := 0
	for at := range good {
		for _, flip := range []byte{1, 0x80, 0xff} {
			content := slices.Clone(good)
			content[at] ^= flip
			if _, err := read(content); err != nil && strings.Contains(err.Error(), "the file is malformed") {
				malformed++
			}
		}
	}
	if malformed == 0 {
		t.Error("no change of a byte made the library panic: this shows nothing")
	}
	t.Logf("the library panicked for %d of %d changes", malformed, 3*len(good))
}
