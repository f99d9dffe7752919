package standin

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"gonum.org/v1/gonum/mat"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// randomSparse has a spectrum that falls, as those of real matrices do.
func randomSparse(r *rand.Rand, rows, cols, perRow int) *sparse {
	m := newSparse(cols)
	for range rows {
		at := r.Perm(cols)[:r.IntN(perRow+1)]
		slices.Sort(at)
		for _, c := range at {
			m.column, m.value = append(m.column, int32(c)), append(m.value, float32(r.Float64()/float64(1+c)))
		}
		m.end()
	}
	return m
}

func toDense(s *sparse) *mat.Dense {
	out := mat.NewDense(s.rows(), s.cols, nil)
	for i := range s.rows() {
		for k := s.offset[i]; k < s.offset[i+1]; k++ {
			out.Set(i, int(s.column[k]), float64(s.value[k]))
		}
	}
	return out
}

func TestSparseProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		m := randomSparse(r, 1+r.IntN(200), 1+r.IntN(40), 0)
		m = randomSparse(r, m.rows(), m.cols, m.cols)
		d := projection(m.cols, 3)
		got := m.times(d)
		var want mat.Dense
		want.Mul(toDense(m), mat.NewDense(d.rows, d.cols, d.data))
		for i := range got.rows {
			for c := range got.cols {
				if math.Abs(got.row(i)[c]-want.At(i, c)) > 1e-12 {
					t.Fatalf("product at %d, %d: %g, want %g", i, c, got.row(i)[c], want.At(i, c))
				}
			}
		}
		if !mat.Equal(toDense(m.transpose()), toDense(m).T()) {
			t.Fatal("the transpose differs")
		}
	}
}

// The product with its own transpose is what does not depend on signs, and on the choice among equal singular values.
func outer(d *dense) *mat.Dense {
	var out mat.Dense
	m := mat.NewDense(d.rows, d.cols, d.data)
	out.Mul(m, m.T())
	return &out
}

func TestTruncatedSVDAgainstFullOne(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const k = 5
	m := randomSparse(r, 120, 60, 30)
	got, err := truncatedSVD(t.Context(), m, k, func(s float64) float64 { return s })
	if err != nil {
		t.Fatal(err)
	}
	var svd mat.SVD
	if !svd.Factorize(toDense(m), mat.SVDThin) {
		t.Fatal("no reference")
	}
	var u mat.Dense
	svd.UTo(&u)
	want := newDense(120, k)
	for i := range 120 {
		for c := range k {
			want.row(i)[c] = u.At(i, c) * svd.Values(nil)[c]
		}
	}
	var difference mat.Dense
	difference.Sub(outer(got), outer(want))
	if e := mat.Norm(&difference, 2) / mat.Norm(outer(want), 2); e > 1e-3 {
		t.Errorf("U S^2 U' differs by %g of its norm", e)
	}
}

func TestTruncatedSVDOfDegenerateMatrices(t *testing.T) {
	one := newSparse(4) // rank 1, and fewer rows and columns than directions
	for i := range 3 {
		for c := range 4 {
			one.column, one.value = append(one.column, int32(c)), append(one.value, float32((i+1)*(c+1)))
		}
		one.end()
	}
	got, err := truncatedSVD(t.Context(), one, coocDim, func(s float64) float64 { return s })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		row := got.row(i)
		if want := float64(i+1) * math.Sqrt(30); math.Abs(math.Abs(row[0])-want) > 1e-6 {
			t.Errorf("row %d: %g, want %g", i, row[0], want)
		}
		for c, x := range row[1:] {
			if math.Abs(x) > 1e-5 || math.IsNaN(x) {
				t.Errorf("row %d, column %d of a matrix of rank 1: %g", i, c+1, x)
			}
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := truncatedSVD(ended, one, coocDim, math.Sqrt); err == nil {
		t.Error("goes on after its context's end")
	}
}

func TestOrthonormaliseNearlyParallelColumns(t *testing.T) {
	d := newDense(50, 4)
	key := counter.Key(1, counter.Sketch)
	for i := range 50 {
		x, y, z := counter.Unit(key, uint64(3*i)), counter.Unit(key, uint64(3*i+1)), counter.Unit(key, uint64(3*i+2))
		copy(d.row(i), []float64{x, x + 1e-5*y, z, 0})
	}
	d.orthonormalise()
	g := d.gram()
	for a := range 4 {
		for b := range 4 {
			want := 0.0
			if a == b && a != 3 { // a column of zeros stays one
				want = 1
			}
			if math.Abs(g.row(a)[b]-want) > 1e-10 {
				t.Errorf("product of columns %d and %d: %g, want %g", a, b, g.row(a)[b], want)
			}
		}
	}
}

func TestTFIDF(t *testing.T) {
	m := tfidf([]string{"Red wine, red", "wine RED wine", "beer", "", "beer mat"})
	// In two texts or more: red, wine, "red wine" (first text: "red wine", "wine red"; second: "wine red", "red wine"), "wine red", beer.
	if m.cols != 5 || m.rows() != 5 {
		t.Fatalf("%d x %d, want 5 x 5", m.rows(), m.cols)
	}
	entry := func(i, k int) float64 { return float64(m.value[m.offset[i]+k]) }
	two := 1 + math.Ln2 // 1 + log tf
	norm := math.Sqrt(two*two + 3)
	if math.Abs(entry(0, 0)-two/norm) > 1e-6 || math.Abs(entry(0, 1)-1/norm) > 1e-6 { // all have the same idf
		t.Errorf("first text: %v", m.value[:m.offset[1]])
	}
	if m.offset[3] != m.offset[4] || entry(2, 0) != 1 || entry(4, 0) != 1 {
		t.Errorf("beer, nothing, beer mat: %v", m.value[m.offset[2]:])
	}
}

func meta(holdout float64) *dataset.Meta {
	return &dataset.Meta{CutMS: 100 * day, Holdout: holdout, Positive: []bool{true, false}}
}

func sequence(id string, atDay int64, items ...int32) dataset.Sequence {
	s := dataset.Sequence{ID: id, Item: items}
	for range items {
		s.TimeMS, s.Action = append(s.TimeMS, atDay*day), append(s.Action, 0)
	}
	return s
}

func TestPPMIAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	const items = 15
	h := NewHistory(items, meta(0))
	seen := map[string][]int32{}
	for u := range 40 {
		id := fmt.Sprint("u", u)
		mine := []int32{}
		for range 2 + r.IntN(6) {
			mine = append(mine, int32(math.Sqrt(float64(r.IntN(items*items)))))
		}
		h.Add(sequence(id, 50, mine...))
		slices.Sort(mine)
		seen[id] = slices.Compact(mine)
	}
	c := [items][items]float64{}
	for _, mine := range seen {
		for _, i := range mine {
			for _, j := range mine {
				if i != j {
					c[i][j] += 1 / float64(len(mine))
				}
			}
		}
	}
	var total, smooth [items]float64
	sum := 0.0
	for i := range items {
		for j := range items {
			total[i] += c[i][j]
		}
		smooth[i] = math.Pow(total[i], .75)
		sum += smooth[i]
	}
	got := toDense(h.ppmi())
	positive := 0
	for i := range items {
		for j := range items {
			want := 0.0
			if c[i][j] > 0 {
				want = max(0, math.Log(c[i][j]/(total[i]*smooth[j]/sum)))
			}
			if math.Abs(got.At(i, j)-want) > 1e-5 {
				t.Errorf("%d, %d: %g, want %g", i, j, got.At(i, j), want)
			}
			if want > 0 {
				positive++
			}
		}
	}
	if positive < 20 {
		t.Errorf("only %d entries are positive", positive)
	}
}

func TestHeaviest(t *testing.T) {
	row := func(weights ...float64) (out []entry) {
		for c, w := range weights {
			out = append(out, entry{column: int32(c), weight: w})
		}
		return out
	}
	for _, c := range []struct {
		weights []float64
		n       int
		want    []int32
	}{
		{[]float64{1, 5, 3}, 3, []int32{0, 1, 2}}, {[]float64{1, 5, 3}, 2, []int32{1, 2}}, {[]float64{2, 2, 5, 2}, 2, []int32{0, 2}}, {[]float64{2, 2, 2}, 1, []int32{0}},
	} {
		var got []int32
		for _, e := range heaviest(row(c.weights...), c.n) {
			got = append(got, e.column)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v, %d: columns %v, want %v", c.weights, c.n, got, c.want)
		}
	}
}

func TestNothingFromHeldOutUsersAfterTheCutOrNotPositive(t *testing.T) {
	held, training := "", ""
	for u := 0; held == "" || training == ""; u++ {
		if id := fmt.Sprint("u", u); dataset.HeldoutID(id, .5) {
			held = id
		} else {
			training = id
		}
	}
	h := NewHistory(4, meta(.5))
	h.Add(sequence(held, 50, 0, 1))
	h.Add(sequence(training, 101, 0, 1))
	not := sequence(training, 50, 0, 1)
	not.Action = []int32{1, 1}
	h.Add(not)
	if len(h.users) != 0 || !reflect.DeepEqual(h.degree[0], make([]float64, 4)) {
		t.Errorf("users %v, degrees %v: want none", h.users, h.degree)
	}
	h.Add(sequence(training, 100, 2, 3, 2))
	h.Add(sequence(training, 80, 3))
	h.Add(sequence(training, 10, 3))
	if want := [3][]float64{{0, 0, 2, 3}, {0, 0, 2, 2}, {0, 0, 2, 1}}; !reflect.DeepEqual(h.degree, want) || len(h.users) != 1 {
		t.Errorf("degrees %v, want %v; %d users", h.degree, want, len(h.users))
	}
}

func TestSampleOfUsersDoesNotDependOnTheirOrder(t *testing.T) {
	users := make([]user, 4000)
	for u := range users {
		users[u] = user{counter.At(1, uint64(u)), make([]int32, 1000)} // 4e9 pairs
	}
	run := func(order []int32) []uint64 {
		h := NewHistory(1, meta(0))
		for _, u := range order {
			h.keep(users[u])
		}
		if h.pairs > maxPairs || len(h.users) < 100 {
			t.Errorf("%d pairs of %d users", h.pairs, len(h.users))
		}
		var out []uint64
		for _, u := range h.users {
			out = append(out, u.hash)
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(run(counter.Perm(1, 4000)), run(counter.Perm(2, 4000))) {
		t.Error("another order keeps other users")
	}
}

// tastes is a history in which items of a kind, i mod 3, are seen together and have a word in common.
func tastes(text bool) *History {
	r := rand.New(rand.NewPCG(4, 4))
	h := NewHistory(60, meta(0))
	for i := range 60 {
		s := ""
		if text {
			s = fmt.Sprintf("kind%d thing%d", i%3, i%20)
		}
		h.Text = append(h.Text, s)
	}
	for u := range 150 {
		var items []int32
		for range 12 {
			items = append(items, int32(3*r.IntN(20)+u%3))
		}
		h.Add(sequence(fmt.Sprint("u", u), int64(r.IntN(100)), items...))
	}
	return h
}

func TestVectorsPutLikeWithLike(t *testing.T) {
	for text, want := range map[bool]string{true: "stand-in: text+cooccurrence+degree", false: "stand-in: cooccurrence+degree"} {
		v, origin, err := tastes(text).Vectors(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if origin != want || v.Rows != 60 || len(v.Data) != 60*v.Cols {
			t.Errorf("%s, %d x %d", origin, v.Rows, v.Cols)
		}
		parts := v.Cols - 3
		var same, other, n float64
		for i := range 60 {
			norm := 0.0
			for _, x := range v.Row(i)[:parts] {
				norm += float64(x) * float64(x)
			}
			if math.Abs(norm-1) > 1e-5 {
				t.Errorf("item %d: squared length %g, want 1", i, norm)
			}
			for j := range 60 {
				dot := 0.0
				for c := range parts {
					dot += float64(v.Row(i)[c]) * float64(v.Row(j)[c])
				}
				if i != j && i%3 == j%3 {
					same += dot / 19
				} else if i != j {
					other += dot / 40
				}
			}
			n++
		}
		if same/n < other/n+.3 {
			t.Errorf("text %t: mean cosine within a kind %.2f, across %.2f", text, same/n, other/n)
		}
	}
}

func TestVectorsDoNotDependOnThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var all [2]dataset.Vectors
	for k, threads := range []int{1, 4} {
		runtime.GOMAXPROCS(threads)
		var err error
		if all[k], _, err = tastes(true).Vectors(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(all[0], all[1]) {
		t.Error("1 and 4 threads differ")
	}
}

func TestVectorsOfAlmostNothing(t *testing.T) {
	h := NewHistory(2, meta(0))
	h.Text = []string{"", ""}
	h.Add(sequence("u", 5, 0))
	v, origin, err := h.Vectors(t.Context())
	if err != nil || origin != "stand-in: degree" || v.Cols != 3 || v.Row(0)[0] != 1 || v.Row(1)[0] != -1 {
		t.Errorf("%s, %v, %v", origin, v, err)
	}
	if _, _, err := NewHistory(2, meta(0)).Vectors(t.Context()); err == nil {
		t.Error("no texts: no error")
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
