package job

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// FieldError is one thing that is wrong with a job: the field as it is written in dots, and what is wrong with its value.
type FieldError struct {
	Field string // what.optimizer.lr
	Text  string // is -1; want more than 0, at most 1
}

// Error is "what.optimizer.lr is -1; want more than 0, at most 1".
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Text
	}
	return e.Field + " " + e.Text
}

// clip keeps messages readable when the value at fault is long.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// unknown is the message for a key that does not exist: the nearest one that does, and all of them.
func unknown(field, key string, allowed []string) error {
	hint := ""
	if near := nearest(key, allowed); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	where := "at the top"
	if field != "" {
		where = "under " + field
	}
	return &FieldError{Text: fmt.Sprintf("unknown key %q %s%s (allowed: %s)", clip(key), where, hint, strings.Join(allowed, ", "))}
}

// nearest is the allowed key that needs the fewest edits, or nothing if all need more than half of the key.
func nearest(key string, allowed []string) string {
	if len(key) > 40 {
		return ""
	}
	best, name := len(key)/2+1, ""
	for _, a := range allowed {
		if d := edits(strings.ToLower(key), a); d < best {
			best, name = d, a
		}
	}
	return name
}

// edits is the Levenshtein distance of two short strings.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
