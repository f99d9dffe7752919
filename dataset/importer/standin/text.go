package standin

import (
	"math"
	"strings"
	"unicode"
)

// tfidf is a row for each text and a column for each word, and each two words in a row, that occur in at least two texts: (1 + log tf) * idf
// with idf = 1 + log((1+n)/(1+df)), rows at unit length.
func tfidf(texts []string) *sparse {
	column := map[string]int32{}
	counts := make([]map[int32]int, len(texts))
	order := make([][]int32, len(texts))
	var df []int
	for i, text := range texts {
		counts[i] = map[int32]int{}
		for _, gram := range grams(text) {
			c, ok := column[gram]
			if !ok {
				c = int32(len(df))
				column[gram] = c
				df = append(df, 0)
			}
			if counts[i][c] == 0 {
				df[c]++
				order[i] = append(order[i], c)
			}
			counts[i][c]++
		}
	}
	place := make([]int32, len(df))
	columns := 0
	for c, n := range df {
		place[c] = -1
		if n >= 2 {
			place[c] = int32(columns)
			columns++
		}
	}
	m := newSparse(columns)
	for i := range texts {
		start := len(m.value)
		var squares float64
		for _, c := range order[i] {
			if place[c] < 0 {
				continue
			}
			idf := 1 + math.Log(float64(1+len(texts))/float64(1+df[c]))
			x := (1 + math.Log(float64(counts[i][c]))) * idf
			squares += x * x
			m.column, m.value = append(m.column, place[c]), append(m.value, float32(x))
		}
		for k := start; k < len(m.value); k++ {
			m.value[k] = float32(float64(m.value[k]) / math.Sqrt(squares))
		}
		m.end()
	}
	return m
}

// grams are a text's words, in lower case, and its pairs of neighbours.
func grams(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' })
	out := words
	for i := 1; i < len(words); i++ {
		out = append(out, words[i-1]+" "+words[i])
	}
	return out
}
