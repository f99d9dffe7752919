package job

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a job file; a real one has a few kilobytes.
const maxFile = 1 << 20

// decoder copies a YAML tree into a Spec. It is stricter than the library's own decoding, and reports all that is wrong at once: keys that do
// not exist, keys given twice, numbers that would be rounded, aliases.
type decoder struct {
	label string         // "--set what.seed=x", or empty for the file, whose errors have lines
	given map[string]int // fields that have a value, and the line it is on
	errs  []error
}

// readTree parses one YAML document; an empty one is nil.
func readTree(doc []byte) (*yaml.Node, error) {
	if len(doc) > maxFile {
		return nil, fmt.Errorf("parse job file: %d bytes; want at most %d", len(doc), maxFile)
	}
	d := yaml.NewDecoder(bytes.NewReader(doc))
	var root, more yaml.Node
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("parse job file: %w", err)
	}
	if err := d.Decode(&more); err == nil {
		return nil, fmt.Errorf("parse job file: line %d: a second document; want one job", more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("parse job file: %w", err)
	}
	return root.Content[0], nil
}

func (d *decoder) fail(n *yaml.Node, err error) { d.errs = append(d.errs, d.at(n.Line, err)) }

func (d *decoder) at(line int, err error) error {
	switch {
	case d.label != "":
		return fmt.Errorf("%s: %w", d.label, err)
	case line > 0:
		return fmt.Errorf("line %d: %w", line, err)
	}
	return err
}

// mapping decodes n into the struct v.
func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "how:" with nothing below it
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, &FieldError{path, fmt.Sprintf("is %s; want keys: %s", describe(n), strings.Join(keys(v.Type()), ", "))})
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f := slices.Index(keys(v.Type()), key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || f < 0:
			d.fail(key, unknown(path, key.Value, keys(v.Type())))
		case seen[key.Value]:
			d.fail(key, &FieldError{dotted(path, key.Value), "is given twice"})
		default:
			d.field(dotted(path, key.Value), value, v.Field(f))
		}
		seen[key.Value] = true
	}
}

func (d *decoder) field(path string, n *yaml.Node, v reflect.Value) {
	if v.Kind() == reflect.Struct {
		d.mapping(path, n, v)
		return
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.fail(n, &FieldError{path, "is " + describe(n) + "; want one value"})
		return
	}
	if err := scalar(n.Value, v); err != nil {
		d.fail(n, &FieldError{path, fmt.Sprintf("is %q; want %v", clip(n.Value), err)})
		return
	}
	d.given[path] = n.Line
}

// scalar converts text; the error says what was wanted.
func scalar(text string, v reflect.Value) error {
	if _, ok := v.Interface().(Duration); ok {
		var d Duration
		if d.UnmarshalText([]byte(text)) != nil {
			return errors.New("a number and a unit, as in 500ms, 2s, 1m30s")
		}
		v.SetInt(int64(d))
		return nil
	}
	digits := strings.ReplaceAll(text, "_", "")
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return errors.New("true or false")
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		x, err := strconv.ParseInt(digits, 10, v.Type().Bits())
		if err != nil {
			return errors.New("a whole number")
		}
		v.SetInt(x)
	case reflect.Uint64:
		x, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return errors.New("a whole number, 0 to 18446744073709551615")
		}
		v.SetUint(x)
	case reflect.Float64:
		x, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			return errors.New("a number")
		}
		v.SetFloat(x + 0) // -0 becomes 0: one number, one digest
	default:
		return fmt.Errorf("no value: fields of kind %s cannot be written in a job file", v.Kind())
	}
	return nil
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.AliasNode:
		return "an alias, which job files do not have"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a group of keys"
	case n.Tag == "!!null":
		return "empty"
	}
	return strconv.Quote(clip(n.Value))
}

// keys are the YAML names of a struct's fields, in order.
func keys(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

func dotted(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
