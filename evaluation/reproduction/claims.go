package reproduction

import (
	"cmp"
	"math"
	"slices"
)

// published makes a claim of every pair of arms whose published recalls differ, and of every pair whose published coverages are more than 10 %
// apart, the largest difference first.
func published(arms []Arm) []Claim {
	claims := pairs(arms, false, func(v *Value) float64 { return v.Recall }, func(a, b float64) bool { return a > b })
	return append(claims, pairs(arms, true, func(v *Value) float64 { return v.Coverage }, func(a, b float64) bool { return b > 0 && a > 1.1*b })...)
}

func pairs(arms []Arm, coverage bool, of func(*Value) float64, apart func(a, b float64) bool) []Claim {
	var claims []Claim
	for _, a := range arms {
		for _, b := range arms {
			if a.Paper == nil || b.Paper == nil || !apart(of(a.Paper), of(b.Paper)) {
				continue
			}
			c := more(a.Name, b.Name)
			c.Paper, c.Coverage = math.Round((of(a.Paper)-of(b.Paper))*1e5)/1e5, coverage
			claims = append(claims, c)
		}
	}
	slices.SortStableFunc(claims, func(a, b Claim) int { return cmp.Compare(b.Paper, a.Paper) })
	return claims
}

// more is the claim that one arm is better than another.
func more(a, b string) Claim {
	return Claim{Text: a + " > " + b, More: []string{a}, Less: []string{b}}
}

// ours is more as a question that the paper does not ask.
func ours(a, b string) Claim {
	c := more(a, b)
	c.Ours = true
	return c
}
