package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	metadataKey = "__metadata__"
	maxHeader   = 100_000_000 // the limit of the reference implementation
)

// ErrFormat is wrapped by every error about the content of a file, as opposed to trouble with reading it.
var ErrFormat = errors.New("not a valid safetensors file")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Entry describes one tensor of a file.
type Entry struct {
	Name       string
	Type       DType
	Shape      []int
	Begin, End int64 // its bytes, counted from the start of the data
}

// Len is the number of elements.
func (e Entry) Len() int { return int(e.End-e.Begin) / e.Type.Size() }

// elements is the number of elements of a shape.
func elements(shape []int) (int64, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if d > 0 && n > math.MaxInt64/16/int64(d) {
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		}
		n *= int64(d)
	}
	return n, nil
}

// parseHeader reads the JSON of a header of a file with size bytes of data. The entries come ordered by place; they cover
// the data exactly.
func parseHeader(text []byte, size int64) (map[string]string, []Entry, error) {
	if !utf8.Valid(text) || len(text) == 0 || text[0] != '{' {
		return nil, nil, bad("the header is not a JSON object in UTF-8")
	}
	p := parser{json.NewDecoder(bytes.NewReader(text))}
	p.UseNumber()
	var metadata map[string]string
	var entries []Entry
	err := p.object(func(name string) (err error) {
		if name == metadataKey {
			metadata, err = p.metadata()
			return err
		}
		e, err := p.entry(name)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if rest := bytes.TrimLeft(text[p.InputOffset():], " "); len(rest) > 0 {
		return nil, nil, bad("%d bytes follow the header's object", len(rest))
	}
	return metadata, entries, checkCover(entries, size)
}

// checkCover orders entries by place and refuses overlaps, gaps and ends outside the data.
func checkCover(entries []Entry, size int64) error {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End), cmp.Compare(a.Name, b.Name))
	})
	at := int64(0)
	for _, e := range entries {
		if e.Begin != at {
			return bad("tensor %q begins at byte %d of the data, the one before ends at %d", e.Name, e.Begin, at)
		}
		at = e.End
	}
	if at != size {
		return bad("the tensors have %d bytes, the data %d", at, size)
	}
	return nil
}

// parser walks tokens, because encoding/json's structs let duplicate and unknown keys pass.
type parser struct{ *json.Decoder }

func (p parser) token() (json.Token, error) {
	t, err := p.Token()
	if err == io.EOF {
		return nil, bad("the header ends early")
	} else if err != nil {
		return nil, bad("%v", err)
	}
	return t, nil
}

func (p parser) delim(want json.Delim) error {
	t, err := p.token()
	if err == nil && t != want {
		err = bad("%v where %v belongs", t, want)
	}
	return err
}

func (p parser) text() (string, error) {
	t, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", bad("%v where a string belongs", t)
	}
	return s, nil
}

// object reads an object whose keys differ; value reads the value of one.
func (p parser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return bad("the key %q is there twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// numbers reads an array of integers that are not negative and fit int64.
func (p parser) numbers() ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	list := []int64{}
	for p.More() {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		number, ok := t.(json.Number)
		if !ok {
			return nil, bad("%v where a number belongs", t)
		}
		n, err := strconv.ParseUint(number.String(), 10, 63)
		if err != nil {
			return nil, bad("the number %s is not an integer of 0 to 2^63-1", number)
		}
		list = append(list, int64(n))
	}
	return list, p.delim(']')
}

func (p parser) metadata() (map[string]string, error) {
	m := map[string]string{}
	return m, p.object(func(key string) (err error) {
		m[key], err = p.text()
		return err
	})
}

func (p parser) entry(name string) (Entry, error) {
	e := Entry{Name: name}
	var shape, offsets []int64
	err := p.object(func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = p.text()
			e.Type = DType(s)
		case "shape":
			shape, err = p.numbers()
		case "data_offsets":
			offsets, err = p.numbers()
		default:
			err = bad("tensor %q has the unknown key %q", name, key)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if e.Type.Size() == 0 {
		return e, bad("tensor %q has elements of type %q; known are F16, F32, F64, I64, U64", name, e.Type)
	}
	if shape == nil || len(offsets) != 2 {
		return e, bad("tensor %q needs a shape and two data_offsets", name)
	}
	e.Begin, e.End = offsets[0], offsets[1]
	e.Shape = make([]int, len(shape))
	for i, d := range shape {
		e.Shape[i] = int(d)
	}
	n, err := elements(e.Shape)
	if err != nil {
		return e, bad("tensor %q: %v", name, err)
	}
	if size := n * int64(e.Type.Size()); e.End < e.Begin || e.End-e.Begin != size {
		return e, bad("tensor %q: bytes %d to %d for %d bytes of shape %v", name, e.Begin, e.End, size, e.Shape)
	}
	return e, nil
}
