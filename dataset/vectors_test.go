package dataset

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// tensorFile is a safetensors file by hand.
func tensorFile(header string, data ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func TestReadVectors(t *testing.T) {
	v, err := ReadVectors(bytes.NewReader(tensorFile(`{"__metadata__":{"a":"b"},"embeddings":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]}}`, 0, 0x3C, 0, 0xC0)))
	if err != nil || v.Rows != 2 || v.Cols != 1 || v.Data[0] != 1 || v.Data[1] != -2 {
		t.Errorf("half: %v, %v", v, err)
	}
	// "vectors" is taken among several, wherever it lies.
	two := `{"x":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"vectors":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]}}`
	v, err = ReadVectors(bytes.NewReader(tensorFile(two, 9, 9, 9, 9, 0, 0, 0x80, 0x3F, 0, 0, 0, 0x40)))
	if err != nil || v.Cols != 2 || v.Data[0] != 1 || v.Data[1] != 2 || v.Row(0)[1] != 2 {
		t.Errorf("second: %v, %v", v, err)
	}
	for want, raw := range map[string][]byte{
		"header: truncated":                 {1, 2, 3},
		"this is no safetensors file":       []byte("\x93NUMPY\x01\x00"),
		"invalid character":                 tensorFile(`nothing`),
		`tensor "vectors" is missing`:       tensorFile(`{"a":{},"b":{}}`),
		`dtype "I8"`:                        tensorFile(`{"a":{"dtype":"I8","shape":[1,1],"data_offsets":[0,1]}}`),
		"want [items, dimension]":           tensorFile(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`),
		"do not span":                       tensorFile(`{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,15]}}`),
		"truncated after 0 of 4000000":      tensorFile(`{"a":{"dtype":"F32","shape":[2000,2000],"data_offsets":[0,16000000]}}`),
		"header of 4774451407313060418 byt": bytes.Repeat([]byte("BBBBBBBB"), 3),
	} {
		if _, err := ReadVectors(bytes.NewReader(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if WriteVectors(&bytes.Buffer{}, Vectors{2, 2, make([]float32, 3)}) == nil {
		t.Error("3 numbers for 2 x 2: no error")
	}
}
