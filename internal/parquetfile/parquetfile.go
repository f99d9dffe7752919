// Package parquetfile opens Parquet files that may be anything: cut off, damaged, or made up by somebody. The library trusts what a file says of itself;
// here, a file that lies gives an error.
package parquetfile

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// Open reads the footer of a file of size bytes. Pages are not read: whoever reads them does so within Shielded.
func Open(f io.ReaderAt, size int64, options ...parquet.FileOption) (file *parquet.File, err error) {
	if err := checkFooter(f, size); err != nil {
		return nil, err
	}
	err = Shielded(func() (err error) {
		file, err = parquet.OpenFile(f, size, options...)
		return err
	})
	return file, err
}

// checkFooter compares the footer's length with the file's: the library asks for the memory before it looks.
func checkFooter(f io.ReaderAt, size int64) error {
	const ends = 12 // "PAR1" at both, and the length
	var tail [8]byte
	if size < ends {
		return fmt.Errorf("%d bytes: no Parquet file", size)
	}
	if _, err := f.ReadAt(tail[:], size-int64(len(tail))); err != nil {
		return err
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); n > size-ends {
		return fmt.Errorf("footer of %d bytes in a file of %d: the file is cut off, or no Parquet", n, size)
	}
	return nil
}

// Shielded calls into the Parquet library, which panics where a malformed file leads it to places that are not there. Only that library and what it
// hands values to runs within.
func Shielded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file is malformed: %v", r)
		}
	}()
	return f()
}
