//go:build cuda

package blaslt

import (
	"strings"
	"testing"
)

// A library is told all of a product without a GPU: it refuses attributes that it does not know, or of another size. Those that are not there are passed over;
// make test-cuda has one.
func TestDescribe(t *testing.T) {
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			l, err := open(file)
			if err != nil {
				t.Skip(err)
			}
			if version, major := l.Version(), strings.TrimPrefix(file, "libcublasLt.so."); !strings.HasPrefix(version, major+".") {
				t.Errorf("version %s: want %s.x.y", version, major)
			}
			for i := range 8 {
				s := Shape{Rows: 24, Cols: 40, Inner: 56, StrideA: 64, StrideB: 64, StrideC: 43, TransA: i&1 != 0, TransB: i&2 != 0, BFloat16: i&4 != 0}
				p, err := l.describe(s)
				if err != nil {
					t.Errorf("%+v: %v", s, err)
					continue
				}
				p.Close()
			}
		})
	}
}

// What is wrong with a product is an error that names the library and what it says.
func TestStatus(t *testing.T) {
	for _, file := range files {
		l, err := open(file)
		if err != nil {
			continue
		}
		if err := l.status("multiply", 15); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "NOT_SUPPORTED") {
			t.Errorf("status 15 of %s is %v", file, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	for _, s := range []Shape{
		{Rows: 1 << 21, Cols: 1, Inner: 1, StrideA: 1 << 10, StrideB: 1, StrideC: 1},
		{Rows: 1, Cols: 1 << 21, Inner: 1, StrideA: 1, StrideB: 1 << 10, StrideC: 1, TransB: true},
		{Rows: 1 << 21, Cols: 1, Inner: 1, StrideA: 1, StrideB: 1, StrideC: 1 << 10},
	} {
		if p, err := new(Library).Plan(s); p != nil || err != nil {
			t.Errorf("%+v: a plan %v, error %v: want none", s, p, err)
		}
	}
	if n := (Shape{Rows: 3, Cols: 5, Inner: 7, StrideA: 8, StrideB: 16, StrideC: 6, TransA: true}).spans(); n != 7*16 {
		t.Errorf("spans %d elements, want %d", n, 7*16)
	}
}
