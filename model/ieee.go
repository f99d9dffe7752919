package model

import (
	"math"

	"github.com/ringleader-dev/ringleader/internal/counter"
)

// The functions of this file use correctly rounded operations only, and convert every product so that none is fused into an addition.
// They give the same bits on every machine, which package math does not promise (its Exp uses a fused multiply-add where there is one): initial
// parameters, the temperature and the learning rate must be the same on all replicas.

const ln2Low = 1.90821492927058770002e-10 // of ln 2; the high part below has 21 trailing zero bits
const ln2High = 6.93147180369123816490e-01

// logIEEE is the natural logarithm of a positive, normal number, within 1e-15 relative.
func logIEEE(x float64) float64 {
	f, e := math.Frexp(x)
	if f < math.Sqrt2/2 {
		f, e = f*2, e-1
	}
	// log f = 2 atanh s = 2 (s + s^3/3 + s^5/5 + ...), |s| <= .172
	s := (f - 1) / (f + 1)
	z := float64(s * s)
	p := 0.0
	for k := 23; k >= 1; k -= 2 {
		p = float64(p*z) + 1/float64(k)
	}
	k := float64(e)
	return float64(k*ln2High) + (float64(2*float64(s*p)) + float64(k*ln2Low))
}

// expIEEE is e^x, within 1e-15 relative.
func expIEEE(x float64) float64 {
	if !(x > -700 && x < 700) {
		if x >= 700 {
			return math.Inf(1)
		}
		return x * 0 // 0, or NaN of NaN
	}
	k := math.RoundToEven(x / math.Ln2)
	r := (x - float64(k*ln2High)) - float64(k*ln2Low) // |r| <= .347
	p := 1.0
	for n := 16; n >= 1; n-- {
		p = float64(float64(p*r)/float64(n)) + 1
	}
	return math.Ldexp(p, int(k))
}

// cosTurn is the cosine of turns full circles, 0 <= turns <= 1, within 1e-15.
func cosTurn(turns float64) float64 {
	if turns > .5 {
		turns = 1 - turns
	}
	if turns > .25 {
		return -cosTurn(.5 - turns)
	}
	if turns > .125 {
		x := float64(2 * math.Pi * (.25 - turns))
		return float64(x * series(float64(x*x), 3))
	}
	x := float64(2 * math.Pi * turns)
	return series(float64(x*x), 2)
}

// series is 1 - z/(k(k-1)) + z^2/((k+2)(k+1)k(k-1)) - ...: cos x for k = 2, sin x / x for k = 3, with z = x^2 <= .62.
func series(z float64, k int) float64 {
	p := 1.0
	for n := k + 16; n >= k; n -= 2 {
		p = 1 - float64(float64(p*z)/float64(n*(n-1)))
	}
	return p
}

// normal is number i of the stream as a standard normal variable (Box-Muller).
func normal(key, i uint64) float64 {
	radius := math.Sqrt(-2 * logIEEE(1-counter.Unit(key, 2*i))) // the argument is in (0, 1]
	return float64(radius * cosTurn(counter.Unit(key, 2*i+1)))
}
