package safetensors

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func sample(t testing.TB) *File {
	t.Helper()
	f, err := NewFile(map[string]string{"format": "pt", "a": "<b>"},
		Tensor{"byte", []int{3}, Int8s{-128, 127, -1}},
		Tensor{"half", []int{3}, Float16s{0x3c00, 0xfc00, 0x7e01}},
		Tensor{"f.32", []int{2, 3}, Float32s{1, -2, float32(math.Inf(1)), math.Float32frombits(0x7fa00001), 0, 5e-45}},
		Tensor{"scalar", nil, Float64s{math.Pi}},
		Tensor{"empty", []int{0, 7}, Float32s{}},
		Tensor{"unicode é \"\\\n", []int{1, 2}, Uint64s{1 << 63, 3}},
		Tensor{"signed", []int{2}, Int64s{-1, math.MinInt64}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t testing.TB, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := f.WriteTo(&b); err != nil || n != f.Size() || int64(b.Len()) != n {
		t.Fatalf("wrote %d of %d bytes: %v", n, f.Size(), err)
	}
	return b.Bytes()
}

// TestGolden holds the format fixed, byte by byte. The header was checked against the format's specification by hand.
func TestGolden(t *testing.T) {
	f, err := NewFile(map[string]string{"format": "pt"},
		Tensor{"w", []int{2}, Float32s{1, 2}}, Tensor{"step", []int{}, Int64s{258}})
	if err != nil {
		t.Fatal(err)
	}
	header := `{"__metadata__":{"format":"pt"},"step":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	want := fmt.Sprintf("%02x00000000000000", len(header)) + hex.EncodeToString([]byte(header)) + "0201000000000000" + "0000803f" + "00000040"
	if have := hex.EncodeToString(content(t, f)); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}

func TestRoundTrip(t *testing.T) {
	f := sample(t)
	b := content(t, f)
	r, err := NewReader(iotest.OneByteReader(bytes.NewReader(b)), f.Size())
	if err != nil {
		t.Fatal(err)
	}
	if r.Metadata()["a"] != "<b>" || r.DataOffset()%8 != 0 {
		t.Errorf("metadata %v, data at %d", r.Metadata(), r.DataOffset())
	}
	var names []string
	for _, e := range r.Entries() {
		names = append(names, e.Name)
		if e.Begin%int64(e.Type.Size()) != 0 {
			t.Errorf("%s is not aligned", e.Name)
		}
	}
	// Wide elements first, otherwise in the order given.
	if want := []string{"scalar", "unicode é \"\\\n", "signed", "f.32", "empty", "half", "byte"}; !sameSet(names, want) || names[0] != "scalar" || names[5] != "half" || names[6] != "byte" {
		t.Fatalf("order %q, want %q", names, want)
	}
	have := map[string]Data{"byte": make(Int8s, 3), "half": make(Float16s, 3), "f.32": make(Float32s, 6), "scalar": make(Float64s, 1), "empty": Float32s{},
		"unicode é \"\\\n": make(Uint64s, 2), "signed": make(Int64s, 2)}
	var tensors []Tensor
	for _, e := range r.Entries() {
		if err := r.Read(have[e.Name]); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, Tensor{e.Name, e.Shape, have[e.Name]})
	}
	if err := r.Read(Float32s{}); err == nil {
		t.Error("read a tensor behind the last")
	}
	again, err := NewFile(r.Metadata(), tensors...)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, again), b) {
		t.Error("what was read is not what was written, bit by bit")
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestReadAt reads every range: also from and to the middle of an element.
func TestReadAt(t *testing.T) {
	f := sample(t)
	b := content(t, f)
	for from := range len(b) + 1 {
		for to := from; to <= len(b)+3; to++ {
			p := make([]byte, to-from)
			n, err := f.ReadAt(p, int64(from))
			if want := b[from:min(to, len(b))]; !bytes.Equal(p[:n], want) || (n < len(p)) != (err == io.EOF) {
				t.Fatalf("bytes %d to %d: %x, %v; want %x", from, to, p[:n], err, want)
			}
		}
	}
	if _, err := f.ReadAt(nil, -1); err == nil {
		t.Error("a negative offset was accepted")
	}
}

// A header and the elements' bytes behind it are the file.
func TestHeader(t *testing.T) {
	meta := map[string]string{"format": "pt"}
	f, err := NewFile(meta, Tensor{Name: "vectors", Shape: []int{2, 3}, Data: Float16s{1, 2, 3, 4, 5, 0xABCD}})
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if _, err := f.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	header, err := Header(meta, "vectors", F16, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got := append(header, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0xCD, 0xAB); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%q, want %q", got, want.Bytes())
	}
	if _, err := Header(nil, "vectors", F16, -1, 3); err == nil {
		t.Error("a negative dimension is no error")
	}
}

func TestNewFileRefuses(t *testing.T) {
	for what, tensors := range map[string][]Tensor{
		"shape":    {{"a", []int{2}, Float32s{1}}},
		"negative": {{"a", []int{-1, -1}, Float32s{1}}},
		"taken":    {{"a", nil, Float32s{1}}, {"a", nil, Float32s{1}}},
		"metadata": {{metadataKey, nil, Float32s{1}}},
		"empty":    {{"", nil, Float32s{1}}},
		"UTF-8":    {{"\xff", nil, Float32s{1}}},
		"large":    {{"a", []int{1 << 40, 1 << 40}, Float32s{1}}},
	} {
		if _, err := NewFile(nil, tensors...); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// file is a file with this header and n bytes of data.
func file(header string, n int) []byte {
	b := little.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func TestStrict(t *testing.T) {
	for _, good := range []struct {
		header string
		n      int
	}{
		{`{}`, 0}, {`{}   `, 0}, {`{"__metadata__":{}}`, 0},
		{`{"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"a":{"shape":[1,1],"data_offsets":[0,4],"dtype":"F32"}}`, 8},
		{`{"z":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4},
	} {
		b := file(good.header, good.n)
		if _, err := NewReader(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Errorf("%s: %v", good.header, err)
		}
	}
	one := `"dtype":"F32","shape":[1],"data_offsets":[0,4]`
	for what, bad := range map[string]struct {
		header string
		n      int
	}{
		"empty":             {``, 0},
		"no object":         {`[]`, 0},
		"space first":       {` {}`, 0},
		"cut":               {`{"a":`, 0},
		"rest":              {`{}{}`, 0},
		"tab":               {"{}\t", 0},
		"not UTF-8":         {"{\"\xff\":{" + one + "}}", 4},
		"twice":             {`{"a":{` + one + `},"a":{` + one + `}}`, 4},
		"twice by escape":   {`{"a":{` + one + `},"\u0061":{` + one + `}}`, 4},
		"twice inside":      {`{"a":{"dtype":"F16",` + one + `}}`, 4},
		"metadata twice":    {`{"__metadata__":{},"__metadata__":{}}`, 0},
		"metadata number":   {`{"__metadata__":{"a":1}}`, 0},
		"unknown key":       {`{"a":{` + one + `,"x":1}}`, 4},
		"unknown type":      {`{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}`, 4},
		"no type":           {`{"a":{"shape":[1],"data_offsets":[0,4]}}`, 4},
		"no shape":          {`{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4},
		"null shape":        {`{"a":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}`, 4},
		"no offsets":        {`{"a":{"dtype":"F32","shape":[1]}}`, 4},
		"one offset":        {`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0]}}`, 0},
		"three offsets":     {`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}`, 4},
		"negative":          {`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4},
		"fraction":          {`{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}`, 4},
		"exponent":          {`{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}`, 4},
		"text as number":    {`{"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}`, 4},
		"overflow":          {`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0},
		"overflow of bytes": {`{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}`, 0},
		"too large number":  {`{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}}`, 4},
		"size":              {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4},
		"backwards":         {`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4},
		"gap before":        {`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8},
		"gap behind":        {`{"a":{` + one + `}}`, 8},
		"outside":           {`{"a":{` + one + `}}`, 3},
		"overlap":           {`{"a":{` + one + `},"b":{` + one + `}}`, 4},
		"data without name": {`{}`, 1},
	} {
		b := file(bad.header, bad.n)
		if _, err := NewReader(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", what, err)
		}
	}
}

func TestLengths(t *testing.T) {
	for what, b := range map[string][]byte{
		"nothing":      {},
		"7 bytes":      make([]byte, 7),
		"beyond file":  little.AppendUint64(nil, 1),
		"beyond limit": little.AppendUint64(nil, maxHeader+1),
		"huge":         little.AppendUint64(nil, math.MaxUint64),
	} {
		if _, err := NewReader(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", what, err)
		}
	}
	b := content(t, sample(t))
	for n := range b { // the size promises more than comes
		r, err := NewReader(bytes.NewReader(b[:n]), int64(len(b)))
		for i := 0; err == nil && i < len(r.Entries()); i++ {
			e := r.Entries()[i]
			err = r.Read(map[DType]Data{I8: make(Int8s, e.Len()), F16: make(Float16s, e.Len()), F32: make(Float32s, e.Len()), F64: make(Float64s, e.Len()),
				I64: make(Int64s, e.Len()), U64: make(Uint64s, e.Len())}[e.Type])
		}
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("%d of %d bytes: %v, want ErrFormat", n, len(b), err)
		}
	}
}

// The end of a connection is no fault of the file.
func TestReadErrorIsNotFormat(t *testing.T) {
	b := content(t, sample(t))
	broken := fmt.Errorf("connection lost: %w", io.ErrUnexpectedEOF)
	for _, n := range []int{3, 20} {
		_, err := NewReader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)), int64(len(b)))
		if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Errorf("after %d bytes: %v, want the connection's error", n, err)
		}
	}
}

func TestReadWrongKind(t *testing.T) {
	f := sample(t)
	r, err := NewReader(bytes.NewReader(content(t, f)), f.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []Data{make(Float32s, 1), make(Float64s, 2)} {
		if err := r.Read(x); err == nil || !strings.Contains(err.Error(), "scalar") {
			t.Errorf("%v, want an error that names the tensor", err)
		}
	}
}

// FuzzReader: whatever the bytes are, the reader neither panics nor accepts tensors that do not cover the data exactly, and what it accepts
// can be written again.
func FuzzReader(f *testing.F) {
	f.Add(content(f, sample(f)))
	f.Add(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}`, 8))
	f.Add(file(`{}`, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		at := int64(0)
		var tensors []Tensor
		for _, e := range r.Entries() {
			if e.Begin != at || e.End-e.Begin != int64(e.Len()*e.Type.Size()) {
				t.Fatalf("%+v begins at %d", e, at)
			}
			at = e.End
			x := map[DType]func(int) Data{
				I8:  func(n int) Data { return make(Int8s, n) },
				F16: func(n int) Data { return make(Float16s, n) }, F32: func(n int) Data { return make(Float32s, n) },
				F64: func(n int) Data { return make(Float64s, n) }, I64: func(n int) Data { return make(Int64s, n) },
				U64: func(n int) Data { return make(Uint64s, n) },
			}[e.Type](e.Len())
			if err := r.Read(x); err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, Tensor{e.Name, e.Shape, x})
		}
		if r.DataOffset()+at != int64(len(b)) {
			t.Fatalf("the tensors end at %d of %d", r.DataOffset()+at, len(b))
		}
		if slices.ContainsFunc(tensors, func(x Tensor) bool { return x.Name == "" }) {
			return
		}
		if _, err := NewFile(r.Metadata(), tensors...); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}
