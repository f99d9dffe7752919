package progress

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	gap       = "  "
	barLength = 20
)

// field is a part of the line. Where the line is too narrow, the field of the lowest worth goes first.
type field struct {
	text  string
	worth int
}

// Line renders a state in at most width columns, or in full, without a bar, if width is 0. An eta of 0 is unknown.
func Line(s State, eta time.Duration, width int) string {
	fields := describe(s, eta)
	if width > 0 {
		if b := bar(s); b != "" {
			fields = slices.Insert(fields, 1, field{b, 0})
		}
		for length(fields) > width && len(fields) > 1 {
			fields = dropLeast(fields)
		}
	}
	return cut(join(fields), width)
}

func describe(s State, eta time.Duration) []field {
	fields := []field{{steps(s), 9}}
	add := func(worth int, wanted bool, format string, args ...any) {
		if wanted {
			fields = append(fields, field{fmt.Sprintf(format, args...), worth})
		}
	}
	moving := s.Waiting == ""
	add(8, s.Loss != 0 && !math.IsNaN(s.Loss), "loss %.4f", s.Loss)
	add(4, moving && s.UsersPerSecond > 0, "%s users/s", rate(s.UsersPerSecond))
	add(1, moving && s.TokensPerSecond > 0, "%s tokens/s", rate(s.TokensPerSecond))
	add(6, s.Workers > 0, "%s", plural(s.Workers, "worker"))
	add(2, s.Generation > 0, "generation %d", s.Generation)
	add(3, s.Checkpoint > 0, "checkpoint %d", s.Checkpoint)
	add(7, moving && eta > 0, "ETA %s", Duration(eta))
	add(7, !moving, "%s", printable(s.Waiting))
	return fields
}

func steps(s State) string {
	unit := cmp.Or(s.Unit, "step")
	if s.Steps <= 0 {
		return fmt.Sprintf("%s %d", unit, s.Step)
	}
	// Rounded down: 100 % is for the last step alone.
	return fmt.Sprintf("%s %d/%d %3d%%", unit, s.Step, s.Steps, percent(s))
}

func percent(s State) int {
	if s.Step >= s.Steps {
		return 100
	}
	return int(max(0, math.Floor(100*float64(s.Step)/float64(s.Steps))))
}

func bar(s State) string {
	if s.Steps <= 0 {
		return ""
	}
	full := percent(s) * barLength / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barLength-full) + "]"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func join(fields []field) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = f.text
	}
	return strings.Join(texts, gap)
}

func length(fields []field) int { return utf8.RuneCountInString(join(fields)) }

func dropLeast(fields []field) []field {
	least := 0
	for i, f := range fields {
		if f.worth < fields[least].worth {
			least = i
		}
	}
	return slices.Delete(fields, least, least+1)
}

func cut(s string, width int) string {
	if width <= 0 || utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width])
}

// rate writes a positive number with three significant digits: 8.25, 950, 12.5k, 1.25M.
func rate(x float64) string {
	for _, unit := range []string{"", "k", "M", "G"} {
		switch {
		case x < 9.995:
			return fmt.Sprintf("%.2f%s", x, unit)
		case x < 99.95:
			return fmt.Sprintf("%.1f%s", x, unit)
		case x < 999.5:
			return fmt.Sprintf("%.0f%s", x, unit)
		}
		x /= 1000
	}
	return fmt.Sprintf("%.0fT", x)
}

// Duration writes how long something takes as people say it: 45s, 3m12s, 2h05m, 3d04h.
func Duration(d time.Duration) string {
	s := int64(math.Ceil(d.Seconds()))
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", max(s, 0))
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
}
