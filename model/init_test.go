package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/job"
)

func initial(t *testing.T, w job.What, meta dataset.Meta) (*Model, []float32) {
	t.Helper()
	m, err := New(w, meta)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]float32, m.Size())
	if err := m.Init(p); err != nil {
		t.Fatal(err)
	}
	return m, p
}

func tensor(t *testing.T, m *Model, p []float32, name string) []float32 {
	t.Helper()
	for _, x := range m.Tensors() {
		if x.Name == name {
			return p[x.Offset : x.Offset+x.Len()]
		}
	}
	t.Fatalf("no tensor %s", name)
	return nil
}

// The start is a function of the seed, the tensor and the element.
func TestInitIsReproducible(t *testing.T) {
	w := tinyWhat()
	m, p := initial(t, w, tinyMeta())
	_, again := initial(t, w, tinyMeta())
	mustEqual(t, "second start", again, p)
	// These bits are part of every job's result: they must be the same on every machine and in every version.
	if got, want := exact.HashFloats(p, 0), uint64(0x4c00e7621016b21f); got != want {
		t.Errorf("hash of the parameters %#x, want %#x", got, want)
	}

	w.Seed++
	_, other := initial(t, w, tinyMeta())
	if slices.Equal(other, p) {
		t.Error("another seed gives the same parameters")
	}
	w.Seed--
	w.Model.Drop.Action = true
	less, q := initial(t, w, tinyMeta())
	const name = "blocks.1.attention.qkv.weight"
	mustEqual(t, name+" without the feature action", tensor(t, less, q, name), tensor(t, m, p, name))
}

func TestInitDistribution(t *testing.T) {
	w := tinyWhat()
	w.Model.Width, w.Model.FFN, w.Model.Dim = 64, 256, 32
	m, p := initial(t, w, tinyMeta())
	for _, x := range m.Tensors() {
		part := p[x.Offset : x.Offset+x.Len()]
		want := .02
		switch {
		case strings.HasSuffix(x.Name, "attention.output.weight"), strings.HasSuffix(x.Name, "ffn.down.weight"):
			want = .01 // .02/sqrt(2*2)
		case strings.Contains(x.Name, "norm") && strings.HasSuffix(x.Name, "weight"):
			mustEqual(t, x.Name, part, slices.Repeat([]float32{1}, x.Len()))
			continue
		case x.Name == "log_temperature":
			if math.Abs(float64(part[0])-math.Log(.2)) > 1e-7 {
				t.Errorf("log_temperature %v, want log .2", part[0])
			}
			continue
		case strings.HasSuffix(x.Name, "bias"), strings.HasSuffix(x.Name, "phase"):
			mustEqual(t, x.Name, part, make([]float32, x.Len()))
			continue
		}
		var mean, variance float64
		n := float64(x.Len())
		for _, v := range part {
			mean += float64(v) / n
			variance += float64(v) * float64(v) / n
		}
		// Five standard errors.
		if math.Abs(mean) > 5*want/math.Sqrt(n) || math.Abs(math.Sqrt(variance)/want-1) > 5/math.Sqrt(2*n) {
			t.Errorf("%s: mean %v, deviation %v of %v elements; want 0 and %v", x.Name, mean, math.Sqrt(variance), n, want)
		}
	}
}

func identityWhat() (job.What, dataset.Meta) {
	w, meta := tinyWhat(), tinyMeta()
	w.Model.Width, w.Model.Dim, w.Model.Heads, w.Model.FFN, w.Model.ItemHidden, w.Model.Window = 32, 32, 4, 128, 64, 24
	w.Model.Init = initIdentity
	meta.VectorDim, meta.Items = 24, 200
	return w, meta
}

// At the identity start items pass their tower unchanged, and a user scores them as the mean of the history does, whatever the
// other features say.
func TestIdentityStart(t *testing.T) {
	w, meta := identityWhat()
	m, params := initial(t, w, meta)
	s := &setup{m: m, params: params, vectors: topical(random(2), meta.Items, meta.VectorDim)}
	s.open(t)
	d, v := s.m.Dim(), meta.VectorDim
	items := make([]float32, meta.Items*d)
	if err := s.run.Items(s.upload(t, "params", s.params), items); err != nil {
		t.Fatal(err)
	}
	for i := range meta.Items {
		if c := cosine(items[i*d:i*d+v], s.vectors[i*v:(i+1)*v]); c < .99 {
			t.Fatalf("item %d: cosine %v of embedding and vector", i, c)
		}
	}
	b := randomBatch(random(3), s.m, 24, 16, 10, 6, 20)
	for u := range b.User {
		for i := b.Offset[u]; i < b.Offset[u+1]; i++ {
			b.Item[i] = b.Item[i]/topics*topics + int32(u)%topics // a user stays with one topic
		}
	}
	users := s.users(t, b)
	for u := range b.User {
		mean := make([]float32, v)
		n := float32(b.Offset[u+1] - b.Offset[u])
		for _, item := range b.Item[b.Offset[u]:b.Offset[u+1]] {
			for k := range mean {
				mean[k] += s.vectors[int(item)*v+k] / n
			}
		}
		var got, want []float32
		for i := range meta.Items {
			got = append(got, float32(cosine(users[u*d:(u+1)*d], items[i*d:(i+1)*d])))
			want = append(want, float32(cosine(mean, s.vectors[i*v:(i+1)*v])))
		}
		if c := cosine(got, want); c < .97 {
			t.Errorf("user %d: the scores of the catalogue and its likeness to the mean of the history have cosine %.3f", u, c)
		}
	}
}

// topics are groups of items with like vectors: item i is of topic i%topics.
const topics = 5

func topical(rng *rand.Rand, rows, cols int) []float32 {
	centre, x := unitRows(rng, topics, cols), unitRows(rng, rows, cols)
	for i := range x {
		x[i] += centre[i/cols%topics*cols+i%cols]
	}
	for r := range rows {
		normalise(x[r*cols : (r+1)*cols])
	}
	return x
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

func TestIEEE(t *testing.T) {
	rng := random(1)
	for range 20000 {
		x := math.Exp(40 * (rng.Float64() - .5))
		near(t, "log", x, logIEEE(x), math.Log(x), 4e-16*max(1, math.Abs(math.Log(x))))
		y := 60 * (rng.Float64() - .5)
		near(t, "exp", y, expIEEE(y), math.Exp(y), 4e-15*math.Exp(y))
		u := rng.Float64()
		near(t, "cos", u, cosTurn(u), math.Cos(2*math.Pi*u), 2e-15)
	}
	for _, c := range []struct{ got, want float64 }{
		{logIEEE(1), 0}, {expIEEE(0), 1}, {cosTurn(0), 1}, {cosTurn(.25), 0}, {cosTurn(.5), -1}, {cosTurn(1), 1},
		{expIEEE(-1e9), 0}, {expIEEE(1e9), math.Inf(1)}, {logIEEE(0x1p-53), -53 * math.Ln2},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	if !math.IsNaN(expIEEE(math.NaN())) {
		t.Error("exp of NaN is a number")
	}
}

func near(t *testing.T, name string, x, got, want, limit float64) {
	t.Helper()
	if math.Abs(got-want) > limit {
		t.Fatalf("%s(%v) = %v, want %v", name, x, got, want)
	}
}
