package model

import (
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	tableRow = regexp.MustCompile(`(?m)^\| (.+) \|(.*)\| ([0-9,]+) \|$`)
	product  = regexp.MustCompile(`([0-9A-Z)])([A-Z(])`)
)

// sizesInTable are those that the table's formulas are about.
var sizesInTable = map[string]int{"L": 6, "H": 768, "M": 256, "D": 256, "V": 256, "A": 5, "S": 4}

// calculate is the value of a formula in which what stands side by side is multiplied.
func calculate(t *testing.T, formula string) int {
	t.Helper()
	for product.MatchString(formula) {
		formula = product.ReplaceAllString(formula, "$1*$2")
	}
	for name, value := range sizesInTable {
		formula = strings.ReplaceAll(formula, name, strconv.Itoa(value))
	}
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, formula)
	if err != nil {
		t.Fatalf("%s: %v", formula, err)
	}
	n, ok := constant.Int64Val(v.Value)
	if !ok {
		t.Fatalf("%s is %v", formula, v.Value)
	}
	return int(n)
}

// The table of parameters in docs/model.md is what the model has, row by row, and so is each of its formulas.
func TestParameterTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "model.md"))
	if err != nil {
		t.Fatal(err)
	}
	w, meta := preset(t, "pinnerformer"), tinyMeta()
	if w.Model.Layers != sizesInTable["L"] || w.Model.Width != sizesInTable["H"] || w.Model.Window != sizesInTable["M"] || w.Model.Dim != sizesInTable["D"] {
		t.Fatalf("the preset is %+v, the table's %v", w.Model, sizesInTable)
	}
	meta.Items, meta.VectorDim = 8192, sizesInTable["V"]
	meta.Types, meta.Positive, meta.Surfaces = strings.Split("abcde", ""), make([]bool, 5), strings.Split("wxyz", "")
	m, err := New(w, meta)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]int{"total": m.Size()}
	for _, g := range m.Groups() {
		if strings.HasPrefix(g.Name, "block ") {
			have["all blocks"] += g.Parameters
			continue
		}
		have[g.Name] = g.Parameters
	}
	for _, x := range m.Tensors() {
		if rest, ok := strings.CutPrefix(x.Name, "blocks.0."); ok {
			part, _, _ := strings.Cut(rest, ".")
			have["each block: "+map[string]string{"norm1": "norms", "norm2": "norms", "attention": "attention", "ffn": "FFN"}[part]] += x.Len()
		}
	}
	_, section, _ := strings.Cut(string(text), "### How many parameters")
	section, _, _ = strings.Cut(section, "## 3.")
	for _, row := range tableRow.FindAllStringSubmatch(section, -1) {
		name, formula, count := row[1], strings.TrimSpace(row[2]), strings.ReplaceAll(row[3], ",", "")
		if want, ok := have[name]; !ok || fmt.Sprint(want) != count {
			t.Errorf("%s: the table says %s, the model has %d", name, row[3], want)
		}
		if formula != "" && fmt.Sprint(calculate(t, formula)) != count {
			t.Errorf("%s: %s is %d, the table says %s", name, formula, calculate(t, formula), row[3])
		}
		delete(have, name)
	}
	if len(have) > 0 {
		t.Errorf("not in the table: %v", have)
	}
}

// Groups have every tensor once, in order.
func TestGroups(t *testing.T) {
	m, err := New(tinyWhat(), tinyMeta())
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	seen := map[string]bool{}
	var names []string
	for _, g := range m.Groups() {
		sum := 0
		for _, x := range g.Tensors {
			if x.Offset != at {
				t.Errorf("%s at %d, want %d", x.Name, x.Offset, at)
			}
			at += x.Len()
			sum += x.Len()
		}
		if sum != g.Parameters || seen[g.Name] {
			t.Errorf("group %s: %d parameters, want %d; seen before: %v", g.Name, g.Parameters, sum, seen[g.Name])
		}
		seen[g.Name] = true
		names = append(names, g.Name)
	}
	if at != m.Size() {
		t.Errorf("groups end at %d of %d", at, m.Size())
	}
	if got, want := strings.Join(names, ", "), "action types, surfaces, phases, input map, positions, block 0, block 1, user tower, item tower, temperature"; got != want {
		t.Errorf("groups %s, want %s", got, want)
	}
}
