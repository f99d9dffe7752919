package dataset

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
)

// VectorsTensor is the name of the tensor in item_vectors.safetensors.
const VectorsTensor = "vectors"

// Vectors are the frozen content vectors of the items, row major: row i is item i.
type Vectors struct {
	Rows, Cols int
	Data       []float32
}

// Row is the vector of one item.
func (v Vectors) Row(i int) []float32 { return v.Data[i*v.Cols : (i+1)*v.Cols : (i+1)*v.Cols] }

type tensorHeader struct {
	Dtype   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// maxHeader bounds the JSON at the head of a safetensors file.
const maxHeader = 1 << 20

// WriteVectors writes a safetensors file with one float32 tensor, "vectors".
func WriteVectors(w io.Writer, v Vectors) error {
	if len(v.Data) != v.Rows*v.Cols {
		return fmt.Errorf("write vectors: %d numbers for %d x %d", len(v.Data), v.Rows, v.Cols)
	}
	text, err := json.Marshal(map[string]tensorHeader{VectorsTensor: {"F32", []int{v.Rows, v.Cols}, [2]int64{0, int64(len(v.Data)) * 4}}})
	if err != nil {
		return fmt.Errorf("write vectors: %w", err)
	}
	// The data begins at a multiple of 8, as the format's own writers do it.
	text = append(text, strings.Repeat(" ", (8-len(text)%8)%8)...)
	b := bufio.NewWriterSize(w, 1<<16)
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	if _, err := b.Write(append(head, text...)); err != nil {
		return fmt.Errorf("write vectors: %w", err)
	}
	var word [4]byte
	for _, x := range v.Data {
		binary.LittleEndian.PutUint32(word[:], math.Float32bits(x))
		if _, err := b.Write(word[:]); err != nil {
			return fmt.Errorf("write vectors: %w", err)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write vectors: %w", err)
	}
	return nil
}

// ReadVectors reads the matrix of a safetensors file: the tensor "vectors", or the only one there is; float32 or float16.
func ReadVectors(r io.Reader) (Vectors, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	h, skip, err := readTensorHeader(b)
	if err != nil {
		return Vectors{}, fmt.Errorf("read vectors: %w", err)
	}
	if _, err := io.CopyN(io.Discard, b, skip); err != nil {
		return Vectors{}, fmt.Errorf("read vectors: truncated: %w", err)
	}
	v := Vectors{Rows: h.Shape[0], Cols: h.Shape[1]}
	if v.Data, err = readFloats(b, v.Rows*v.Cols, h.Dtype); err != nil {
		return Vectors{}, fmt.Errorf("read vectors: %w", err)
	}
	return v, nil
}

// readTensorHeader returns the matrix's entry and the number of bytes between the header and its data.
func readTensorHeader(r io.Reader) (h tensorHeader, skip int64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return h, 0, fmt.Errorf("header: truncated: %w", err)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > maxHeader {
		return h, 0, fmt.Errorf("header of %d bytes: want at most %d; this is no safetensors file of one matrix", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, 0, fmt.Errorf("header: truncated: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return h, 0, fmt.Errorf("header: %w", err)
	}
	delete(all, "__metadata__")
	raw, ok := all[VectorsTensor]
	if !ok && len(all) == 1 {
		for _, raw = range all {
		}
		ok = true
	}
	if !ok {
		return h, 0, fmt.Errorf("tensor %q is missing, and there is more or less than one other", VectorsTensor)
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, 0, fmt.Errorf("header: %w", err)
	}
	return h, h.Offsets[0], h.validate()
}

func (h *tensorHeader) validate() error {
	width := map[string]int64{"F32": 4, "F16": 2}[h.Dtype]
	switch {
	case width == 0:
		return fmt.Errorf("dtype %q: want F32 or F16", h.Dtype)
	case len(h.Shape) != 2 || h.Shape[0] < 1 || h.Shape[0] > maxCount || h.Shape[1] < 1 || h.Shape[1] > 1<<16:
		return fmt.Errorf("shape %v: want [items, dimension]", h.Shape)
	case h.Offsets[0] < 0 || h.Offsets[1]-h.Offsets[0] != int64(h.Shape[0])*int64(h.Shape[1])*width:
		return fmt.Errorf("data_offsets %v: do not span shape %v of %s", h.Offsets, h.Shape, h.Dtype)
	}
	return nil
}

// readFloats grows its result as data arrives: a header that promises more than the file holds must not reserve memory.
func readFloats(r io.Reader, n int, dtype string) ([]float32, error) {
	width := 4
	if dtype == "F16" {
		width = 2
	}
	var data []float32
	block := make([]byte, 1<<16)
	for len(data) < n {
		part := block[:min(len(block), (n-len(data))*width)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, fmt.Errorf("truncated after %d of %d numbers: %w", len(data), n, err)
		}
		for i := 0; i < len(part); i += width {
			if width == 2 {
				data = append(data, safetensors.FromHalf(binary.LittleEndian.Uint16(part[i:])))
			} else {
				data = append(data, math.Float32frombits(binary.LittleEndian.Uint32(part[i:])))
			}
		}
	}
	return data, nil
}
