package devicetest

// wide is x in float64.
func wide(x []float32) []float64 {
	w := make([]float64, len(x))
	for i, v := range x {
		w[i] = float64(v)
	}
	return w
}

func dot(a, b []float64) float64 {
	var s float64
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func plus(a, b []float64) []float64 {
	s := make([]float64, len(a))
	for i := range a {
		s[i] = a[i] + b[i]
	}
	return s
}

// slope is the derivative of f with respect to *x, by central differences.
func slope(f func() float64, x *float64) float64 {
	const h = 1e-5
	at := *x
	*x = at + h
	up := f()
	*x = at - h
	down := f()
	*x = at
	return (up - down) / (2 * h)
}

// gradient is the derivative of f with respect to each of x, which f reads.
func gradient(f func() float64, x []float64) []float64 {
	g := make([]float64, len(x))
	for i := range x {
		g[i] = slope(f, &x[i])
	}
	return g
}

// sample picks elements of a gradient that is too large to differentiate whole.
type sample []int

func (e *env) sample(n, of int) sample {
	s := make(sample, n)
	for i := range s {
		s[i] = e.rng.IntN(of)
	}
	return s
}

func (s sample) of(x []float32) []float32 {
	y := make([]float32, len(s))
	for i, at := range s {
		y[i] = x[at]
	}
	return y
}

func (s sample) gradient(f func() float64, x []float64) []float64 {
	g := make([]float64, len(s))
	for i, at := range s {
		g[i] = slope(f, &x[at])
	}
	return g
}
