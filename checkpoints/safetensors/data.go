// Package safetensors writes and reads the safetensors format: an 8-byte little-endian length, a JSON header of that length that
// gives every tensor's element type, shape and place, and then the tensors' bytes, without gaps.
//
// Writing is deterministic (the same tensors give the same bytes) and needs no second copy of the tensors; reading is strict and
// streams.
package safetensors

import (
	"encoding/binary"
	"math"
)

// DType is the type of a tensor's elements, as the format spells it.
type DType string

// The element types that this package knows.
const (
	I8  DType = "I8"
	F16 DType = "F16" // IEEE half precision, kept as its bits
	F32 DType = "F32"
	F64 DType = "F64"
	I64 DType = "I64"
	U64 DType = "U64"
)

// Size is the number of bytes of one element; 0 for a type that this package does not know.
func (d DType) Size() int {
	switch d {
	case I8:
		return 1
	case F16:
		return 2
	case F32:
		return 4
	case F64, I64, U64:
		return 8
	}
	return 0
}

// Data is the elements of a tensor, row-major: one of Int8s, Float16s, Float32s, Float64s, Int64s and Uint64s.
type Data interface {
	Type() DType
	Len() int
	// put encodes the elements from first on into p, get decodes them from p; p holds a whole number of elements.
	put(p []byte, first int)
	get(p []byte, first int)
}

// The kinds of Data.
type (
	Int8s    []int8
	Float16s []uint16 // bits of IEEE half precision
	Float32s []float32
	Float64s []float64
	Int64s   []int64
	Uint64s  []uint64
)

var little = binary.LittleEndian

func (Int8s) Type() DType    { return I8 }
func (Float16s) Type() DType { return F16 }
func (Float32s) Type() DType { return F32 }
func (Float64s) Type() DType { return F64 }
func (Int64s) Type() DType   { return I64 }
func (Uint64s) Type() DType  { return U64 }

func (x Int8s) Len() int    { return len(x) }
func (x Float16s) Len() int { return len(x) }
func (x Float32s) Len() int { return len(x) }
func (x Float64s) Len() int { return len(x) }
func (x Int64s) Len() int   { return len(x) }
func (x Uint64s) Len() int  { return len(x) }

func (x Int8s) put(p []byte, first int) {
	for i, v := range x[first : first+len(p)] {
		p[i] = byte(v)
	}
}

func (x Float16s) put(p []byte, first int) {
	for i, v := range x[first : first+len(p)/2] {
		little.PutUint16(p[2*i:], v)
	}
}

func (x Float32s) put(p []byte, first int) {
	for i, v := range x[first : first+len(p)/4] {
		little.PutUint32(p[4*i:], math.Float32bits(v))
	}
}

func (x Float64s) put(p []byte, first int) {
	for i, v := range x[first : first+len(p)/8] {
		little.PutUint64(p[8*i:], math.Float64bits(v))
	}
}

func (x Int64s) put(p []byte, first int) {
	for i, v := range x[first : first+len(p)/8] {
		little.PutUint64(p[8*i:], uint64(v))
	}
}

func (x Uint64s) put(p []byte, first int) {
	for i, v := range x[first : first+len(p)/8] {
		little.PutUint64(p[8*i:], v)
	}
}

func (x Int8s) get(p []byte, first int) {
	for i := range x[first : first+len(p)] {
		x[first+i] = int8(p[i])
	}
}

func (x Float16s) get(p []byte, first int) {
	for i := range x[first : first+len(p)/2] {
		x[first+i] = little.Uint16(p[2*i:])
	}
}

func (x Float32s) get(p []byte, first int) {
	for i := range x[first : first+len(p)/4] {
		x[first+i] = math.Float32frombits(little.Uint32(p[4*i:]))
	}
}

func (x Float64s) get(p []byte, first int) {
	for i := range x[first : first+len(p)/8] {
		x[first+i] = math.Float64frombits(little.Uint64(p[8*i:]))
	}
}

func (x Int64s) get(p []byte, first int) {
	for i := range x[first : first+len(p)/8] {
		x[first+i] = int64(little.Uint64(p[8*i:]))
	}
}

func (x Uint64s) get(p []byte, first int) {
	for i := range x[first : first+len(p)/8] {
		x[first+i] = little.Uint64(p[8*i:])
	}
}
