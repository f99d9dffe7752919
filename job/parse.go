package job

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads a job file, strictly, and fills in the preset and the defaults; values that are given are never replaced. dir is the folder of
// the file: relative paths (what.data, how.store) are below it; pass an absolute one if the job will travel. Assignments ("what.seed=7") count as if the file had said so.
//
// The error joins everything that is wrong, each with its line, field, value, and what is allowed.
func Parse(doc []byte, dir string, assignments ...string) (Spec, error) {
	root, err := readTree(doc)
	if err != nil {
		return Spec{}, err
	}
	layers := []layer{{"", root}}
	var errs []error
	for _, a := range assignments {
		tree, err := assignment(a)
		errs = append(errs, err)
		layers = append(layers, layer{"--set " + clip(a), tree})
	}
	preset := presetOf(layers)
	spec, err := Default(preset)
	if err != nil { // go on with some preset, to find the other mistakes too
		errs = append(errs, err)
		spec, _ = Default(DefaultPreset)
	}
	given, more := spec.decode(layers)
	errs = append(errs, more...)
	if !presetKnown(preset) {
		spec.What.Model.Preset = DefaultPreset // said already
	}
	if len(more) > 0 {
		return Spec{}, errors.Join(errs...) // what could not be read has a default now, and would be found fault with
	}
	spec.complete(given)
	spec.What.Data, spec.How.Store = resolve(dir, spec.What.Data), resolve(dir, spec.How.Store)
	if errs = append(errs, spec.check(given)...); errors.Join(errs...) != nil {
		return Spec{}, errors.Join(errs...)
	}
	return spec, nil
}

// Set changes single fields of a complete job ("how.workers.max=8") and validates the result; spec is as it was if there is an error. The preset cannot be changed:
// its sizes are filled in already.
func Set(spec *Spec, assignments ...string) error {
	changed := *spec
	var layers []layer
	var errs []error
	for _, a := range assignments {
		tree, err := assignment(a)
		errs = append(errs, err)
		layers = append(layers, layer{"--set " + clip(a), tree})
	}
	given, more := changed.decode(layers)
	errs = append(errs, more...)
	if _, ok := given["what.model.preset"]; ok && changed.What.Model.Preset != spec.What.Model.Preset {
		errs = append(errs, &FieldError{"what.model.preset", fmt.Sprintf("is %q and its sizes are filled in; want the single sizes set", spec.What.Model.Preset)})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := changed.Validate(); err != nil {
		return err
	}
	*spec = changed
	return nil
}

// layer is one source of values; later ones win.
type layer struct {
	label string
	tree  *yaml.Node
}

// decode applies the layers and returns which fields they gave, with lines.
func (s *Spec) decode(layers []layer) (given map[string]int, errs []error) {
	given = map[string]int{}
	for _, l := range layers {
		if l.tree == nil {
			continue
		}
		d := decoder{label: l.label, given: given}
		d.mapping("", l.tree, reflect.ValueOf(s).Elem())
		errs = append(errs, d.errs...)
	}
	return given, errs
}

// check validates and puts lines before what it finds.
func (s *Spec) check(given map[string]int) []error {
	errs := s.problems()
	for i, err := range errs {
		var f *FieldError
		if errors.As(err, &f) && given[f.Field] > 0 {
			errs[i] = fmt.Errorf("line %d: %w", given[f.Field], err)
		}
	}
	return errs
}

// assignment turns "a.b.c=value" into the tree that a job file with this one line would give.
func assignment(text string) (*yaml.Node, error) {
	path, value, ok := strings.Cut(text, "=")
	if !ok || path == "" {
		return nil, fmt.Errorf("set %q: want field=value, as in what.seed=7", clip(text))
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	for _, key := range slices.Backward(strings.Split(path, ".")) {
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, n}}
	}
	return n, nil
}

// presetOf finds the preset before anything is decoded, because everything is decoded on top of it.
func presetOf(layers []layer) string {
	preset := DefaultPreset
	for _, l := range layers {
		n := l.tree
		for _, key := range []string{"what", "model", "preset"} {
			n = child(n, key)
		}
		if n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
			preset = n.Value
		}
	}
	return preset
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// resolve makes a relative path one below dir; URLs and nothing stay as they are.
func resolve(dir, place string) string {
	if place == "" || strings.Contains(place, "://") || filepath.IsAbs(place) {
		return place
	}
	return filepath.Join(dir, place)
}
