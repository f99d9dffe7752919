package checkpoints

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/ringleader-dev/ringleader/internal/atomicfile"
)

// CheckName says whether a store may hold an object of this name: elements separated by slashes, none of them empty, "." or "..", in UTF-8,
// without control characters and backslashes, at most 255 bytes each and 900 in all, none beginning with atomicfile.TempPrefix. So a name means
// the same in a directory and in a bucket, and escapes neither. The error wraps ErrDenied.
func CheckName(name string) error {
	if name == "." || !fs.ValidPath(name) || len(name) > 900 {
		return fmt.Errorf("%w: object name %q: want slash-separated elements, none empty, \".\" or \"..\"", ErrDenied, name)
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > 255 || strings.HasPrefix(element, atomicfile.TempPrefix) {
			return fmt.Errorf("%w: object name %q: elements have at most 255 bytes and do not begin with %s", ErrDenied, name, atomicfile.TempPrefix)
		}
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return fmt.Errorf("%w: object name %q: no control characters, no backslashes", ErrDenied, name)
	}
	return nil
}

// CheckPrefix says whether a store may be asked for the names that begin with prefix: nothing, a name, or a name and a slash.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckName(strings.TrimSuffix(prefix, "/"))
}

// join puts a directory in front of a file name; the directory may be empty.
func join(dir, name string) string {
	dir = strings.Trim(dir, "/")
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
