//go:build cuda

package blaslt

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "plan.h"
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// files are the versions whose binary interface abi.h has, in order of preference.
var files = []string{"libcublasLt.so.13", "libcublasLt.so.12"}

// Library is an opened cuBLASLt, with what it needs of one GPU.
type Library struct {
	file   string
	calls  *C.struct_lt_calls
	handle unsafe.Pointer
}

// Open opens the first version that is there and can use the GPU whose context is current. The error says of each why not.
func Open() (*Library, error) {
	var whyNot []string
	for _, file := range files {
		l, err := open(file)
		if err == nil {
			if err = l.status("create a handle", C.lt_create(l.calls, &l.handle)); err == nil {
				return l, nil
			}
			C.free(unsafe.Pointer(l.calls))
		}
		whyNot = append(whyNot, err.Error())
	}
	return nil, errors.New(strings.Join(whyNot, "; "))
}

// open finds the calls of a library. They stay in memory of C, where plans keep their address.
func open(file string) (*Library, error) {
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	calls := (*C.struct_lt_calls)(C.calloc(1, C.sizeof_struct_lt_calls))
	if why := C.lt_open(name, calls); why != nil {
		C.free(unsafe.Pointer(calls))
		return nil, fmt.Errorf("open %s: %s", file, strings.TrimPrefix(C.GoString(why), file+": "))
	}
	return &Library{file: file, calls: calls}, nil
}

// File is the name that it was found by.
func (l *Library) File() string { return l.file }

// Version is, for example, "13.1.0".
func (l *Library) Version() string {
	v := int(C.lt_version(l.calls))
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// Close gives back the handle, with the context current. Plans must be closed before.
func (l *Library) Close() error {
	err := l.status("destroy a handle", C.lt_destroy(l.calls, l.handle))
	C.free(unsafe.Pointer(l.calls))
	return err
}

func (l *Library) status(what string, status C.int) error {
	if status == C.LT_SUCCESS {
		return nil
	}
	return fmt.Errorf("%s with %s: it says %d, %s", what, l.file, int(status), C.GoString(C.lt_status_name(l.calls, status)))
}
