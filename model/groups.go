package model

import "strings"

// Group is a part of the network, as people count its parameters.
type Group struct {
	Name       string // action types, surfaces, phases, input map, positions, block 0, block 1, ..., user tower, item tower, temperature
	Tensors    []Tensor
	Parameters int
}

// Groups lists the parameters by part, in canonical order. Every tensor is in one group.
func (m *Model) Groups() []Group {
	var list []Group
	for _, t := range m.Tensors() {
		name := groupOf(t.Name)
		if n := len(list); n == 0 || list[n-1].Name != name {
			list = append(list, Group{Name: name})
		}
		g := &list[len(list)-1]
		g.Tensors, g.Parameters = append(g.Tensors, t), g.Parameters+t.Len()
	}
	return list
}

// groupOf tells the part by the first words of a tensor's name.
func groupOf(tensor string) string {
	word, rest, _ := strings.Cut(tensor, ".")
	switch word {
	case "embeddings":
		if strings.HasPrefix(rest, "action.") {
			return "action types"
		}
		return "surfaces"
	case "encodings":
		return "phases"
	case "input":
		return "input map"
	case "position":
		return "positions"
	case "blocks":
		i, _, _ := strings.Cut(rest, ".")
		return "block " + i
	case "norm", "output":
		return "user tower"
	case "items":
		return "item tower"
	case "log_temperature":
		return "temperature"
	}
	return tensor
}
