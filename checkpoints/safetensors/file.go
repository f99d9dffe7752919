package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"unicode/utf8"
)

// Tensor is one tensor to be written.
type Tensor struct {
	Name  string
	Shape []int
	Data  Data // not copied: it must not change while the File is in use
}

// File is the bytes of a safetensors file that is not in memory: they are made from the tensors as they are read. Its methods may be
// called from several goroutines.
type File struct {
	header []byte // with the length in front
	data   []Data
	starts []int64 // file offset of each tensor, and the file's size at the end
}

// NewFile lays out a file. Tensors keep their order, except that those with wider elements come first: so each one is aligned to
// its elements, and the first to 8 bytes. The header, and with it the file, is a function of the arguments alone.
func NewFile(metadata map[string]string, tensors ...Tensor) (*File, error) {
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, func(a, b Tensor) int { return b.Data.Type().Size() - a.Data.Type().Size() })
	var head bytes.Buffer
	head.Write(make([]byte, 8))
	head.WriteByte('{')
	if len(metadata) > 0 {
		head.WriteString(`"` + metadataKey + `":`)
		if err := encode(&head, metadata); err != nil {
			return nil, fmt.Errorf("encode metadata: %w", err)
		}
	}
	f := &File{starts: []int64{0}}
	seen := map[string]bool{metadataKey: true}
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return nil, err
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("lay out tensor %q: the name is taken", t.Name)
		}
		seen[t.Name] = true
		if head.Len() > 9 {
			head.WriteByte(',')
		}
		begin := f.starts[len(f.starts)-1]
		end := begin + int64(t.Data.Len())*int64(t.Data.Type().Size())
		if err := encode(&head, t.Name); err != nil {
			return nil, fmt.Errorf("encode name %q: %w", t.Name, err)
		}
		head.WriteByte(':')
		shape := append([]int{}, t.Shape...) // never null
		if err := encode(&head, entryJSON{t.Data.Type(), shape, [2]int64{begin, end}}); err != nil {
			return nil, fmt.Errorf("encode tensor %q: %w", t.Name, err)
		}
		f.data = append(f.data, t.Data)
		f.starts = append(f.starts, end)
	}
	head.WriteByte('}')
	for head.Len()%8 != 0 {
		head.WriteByte(' ')
	}
	f.header = head.Bytes()
	if n := len(f.header) - 8; n > maxHeader {
		return nil, fmt.Errorf("lay out file: header of %d bytes, the format allows %d", n, maxHeader)
	}
	little.PutUint64(f.header, uint64(len(f.header)-8))
	for i := range f.starts {
		f.starts[i] += int64(len(f.header))
	}
	return f, nil
}

// Header is the beginning of a file with one tensor, up to the first byte of its elements, for a writer that has them elsewhere: they follow in
// row-major order and little-endian.
func Header(metadata map[string]string, name string, dtype DType, shape ...int) ([]byte, error) {
	n, err := elements(shape)
	if err != nil {
		return nil, fmt.Errorf("lay out tensor %q: %w", name, err)
	}
	f, err := NewFile(metadata, Tensor{Name: name, Shape: shape, Data: elsewhere{dtype, int(n)}})
	if err != nil {
		return nil, err
	}
	return f.header, nil
}

// elsewhere is data of which only the size is known.
type elsewhere struct {
	dtype DType
	n     int
}

func (e elsewhere) Type() DType   { return e.dtype }
func (e elsewhere) Len() int      { return e.n }
func (elsewhere) put([]byte, int) {}
func (elsewhere) get([]byte, int) {}

// entryJSON is a tensor's value in the header, in the order of fields that everybody writes.
type entryJSON struct {
	Type    DType    `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// encode writes v as JSON without the line end and without escaping <, > and &.
func encode(w *bytes.Buffer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	w.Truncate(w.Len() - 1)
	return nil
}

func (t Tensor) check() error {
	if t.Name == "" || !utf8.ValidString(t.Name) {
		return fmt.Errorf("lay out tensor %q: the name must be UTF-8 and not empty", t.Name)
	}
	n, err := elements(t.Shape)
	if err != nil {
		return fmt.Errorf("lay out tensor %q: %w", t.Name, err)
	}
	if n != int64(t.Data.Len()) {
		return fmt.Errorf("lay out tensor %q: shape %v has %d elements, the data %d", t.Name, t.Shape, n, t.Data.Len())
	}
	return nil
}

// Size is the file's length in bytes.
func (f *File) Size() int64 { return f.starts[len(f.starts)-1] }

// ReadAt implements io.ReaderAt over the file's bytes.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read file: offset %d is negative", off)
	}
	n := 0
	if off < int64(len(f.header)) {
		n = copy(p, f.header[off:])
	}
	// The first tensor that ends behind the place.
	i := sort.Search(len(f.data), func(i int) bool { return f.starts[i+1] > off+int64(n) })
	for ; i < len(f.data) && n < len(p); i++ {
		n += readData(p[n:], f.data[i], off+int64(n)-f.starts[i])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readData copies the bytes of x from off on into p and returns how many there were. off need not be at an element.
func readData(p []byte, x Data, off int64) int {
	size := int64(x.Type().Size())
	p = p[:min(int64(len(p)), int64(x.Len())*size-off)]
	n := 0
	for n < len(p) {
		first, skip := (off+int64(n))/size, (off+int64(n))%size
		if whole := int64(len(p)-n) / size * size; skip == 0 && whole > 0 {
			x.put(p[n:n+int(whole)], int(first))
			n += int(whole)
			continue
		}
		var one [8]byte
		x.put(one[:size], int(first))
		n += copy(p[n:], one[skip:size])
	}
	return n
}

// WriteTo writes the file.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return n, fmt.Errorf("write file: %w", err)
	}
	return n, nil
}
