package checkpoints_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// mix is SplitMix64's finaliser in unbounded integers: nothing in common with the code under test.
func mix(x *big.Int) *big.Int {
	word := new(big.Int).Lsh(big.NewInt(1), 64)
	step := func(shift uint, factor uint64) {
		x = new(big.Int).Xor(x, new(big.Int).Rsh(x, shift))
		x.Mul(x, new(big.Int).SetUint64(factor)).Mod(x, word)
	}
	x = new(big.Int).Mod(x, word)
	step(30, 0xBF58476D1CE4E5B9)
	step(27, 0x94D049BB133111EB)
	return x.Xor(x, new(big.Int).Rsh(x, 31))
}

// referenceDigest follows the words of the documentation.
func referenceDigest(st *checkpoints.State) uint64 {
	var words []uint32
	for _, tensors := range [][]checkpoints.Tensor{st.Params, st.Moment1, st.Moment2} {
		for _, x := range tensors {
			for _, v := range x.Data {
				words = append(words, math.Float32bits(v))
			}
		}
	}
	for _, e := range st.Exponents {
		words = append(words, uint32(int32(e)))
	}
	s := st.Scalars
	for _, v := range []uint64{math.Float64bits(s.Beta1Power), math.Float64bits(s.Beta2Power), s.Ledger, s.Users, s.Tokens} {
		words = append(words, uint32(v), uint32(v>>32))
	}
	golden := new(big.Int).SetUint64(0x9E3779B97F4A7C15)
	word := new(big.Int).Lsh(big.NewInt(1), 64)
	sum := new(big.Int)
	half := new(big.Int).Lsh(big.NewInt(1), 32)
	for i, w := range words {
		place := new(big.Int).Mul(big.NewInt(int64(i+1)), golden)
		high, low := new(big.Int).DivMod(place.Mod(place, word), half, new(big.Int))
		factor, mask := new(big.Int).DivMod(high.Mul(high, low), half, new(big.Int))
		factor.SetBit(factor, 0, 1)
		sum.Add(sum, factor.Mul(factor, mask.Xor(mask, big.NewInt(int64(w)))))
	}
	h := mix(sum.Add(sum, golden))
	for _, v := range []uint64{uint64(st.Step), uint64(st.Job)} {
		x := new(big.Int).Add(new(big.Int).SetUint64(v), golden)
		h = mix(x.Mod(x, word).Xor(x, h))
	}
	return h.Uint64()
}

func TestDigest(t *testing.T) {
	if st := tiny(7); uint64(st.Digest()) != referenceDigest(st) {
		t.Errorf("digest without exponents %s, reference %x", st.Digest(), referenceDigest(st))
	}
	st := narrow(7)
	want := referenceDigest(st)
	if have := uint64(st.Digest()); have != want {
		t.Fatalf("digest %x, reference %x", have, want)
	}
	differs := func(what string, change func(*checkpoints.State)) {
		t.Helper()
		other := narrow(7)
		change(other)
		if uint64(other.Digest()) == want {
			t.Errorf("%s does not change the digest", what)
		}
	}
	for i, p := range st.Params {
		for j := range p.Data {
			differs("a parameter", func(s *checkpoints.State) {
				s.Params[i].Data[j] = math.Float32frombits(math.Float32bits(p.Data[j]) ^ 1)
			})
			differs("m", func(s *checkpoints.State) { s.Moment1[i].Data[j] += 1 })
			differs("v", func(s *checkpoints.State) { s.Moment2[i].Data[j] += 1 })
		}
	}
	differs("exchange", func(s *checkpoints.State) { d := s.Params[0].Data; d[0], d[1] = d[1], d[0] })
	differs("m for v", func(s *checkpoints.State) { s.Moment1, s.Moment2 = s.Moment2, s.Moment1 })
	differs("an exponent", func(s *checkpoints.State) { s.Exponents[0]++ })
	differs("exponents", func(s *checkpoints.State) { s.Exponents = nil })
	differs("beta1", func(s *checkpoints.State) { s.Scalars.Beta1Power *= 0.9 })
	differs("beta2", func(s *checkpoints.State) { s.Scalars.Beta2Power *= 0.9 })
	differs("ledger", func(s *checkpoints.State) { s.Scalars.Ledger++ })
	differs("users", func(s *checkpoints.State) { s.Scalars.Users++ })
	differs("tokens", func(s *checkpoints.State) { s.Scalars.Tokens ^= 1 << 32 })
	differs("step", func(s *checkpoints.State) { s.Step++ })
	differs("job", func(s *checkpoints.State) { s.Job++ })
}

func TestMatch(t *testing.T) {
	if err := tiny(1).Match(tiny(2).Params); err != nil {
		t.Errorf("the same model does not match: %v", err)
	}
	for want, change := range map[string]func([]checkpoints.Tensor) []checkpoints.Tensor{
		`parameter 1: "bias" [5], the model has "bias" [4]`:    func(p []checkpoints.Tensor) []checkpoints.Tensor { p[1].Shape = []int{4}; return p },
		`parameter 0: "embed.weight" [3 2], the model has "e"`: func(p []checkpoints.Tensor) []checkpoints.Tensor { p[0].Name = "e"; return p },
		`parameter 2: "temperature" [], the model has none`:    func(p []checkpoints.Tensor) []checkpoints.Tensor { return p[:2] },
		`parameter 3: missing, the model has "x" [1]`: func(p []checkpoints.Tensor) []checkpoints.Tensor {
			return append(p, checkpoints.Tensor{Name: "x", Shape: []int{1}})
		},
	} {
		err := tiny(1).Match(change(tiny(1).Params))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to say %s", err, want)
		}
	}
	st := tiny(1)
	st.Moment2[2].Shape = []int{1}
	if err := st.Match(tiny(1).Params); err == nil || !strings.Contains(err.Error(), `second moment 2: "temperature" [1]`) {
		t.Errorf("error %v, want the second moment's tensor", err)
	}
}

func TestCheck(t *testing.T) {
	if err := tiny(0).Check(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*checkpoints.State){
		"negative":      func(s *checkpoints.State) { s.Step = -1 },
		"first moment":  func(s *checkpoints.State) { s.Moment1 = s.Moment1[:1] },
		"second moment": func(s *checkpoints.State) { s.Moment2[0].Name = "x" },
		"taken": func(s *checkpoints.State) {
			s.Params[1].Name, s.Moment1[1].Name, s.Moment2[1].Name = s.Params[0].Name, s.Params[0].Name, s.Params[0].Name
			s.Params[1].Shape = s.Params[0].Shape
			s.Moment1[1].Shape = s.Params[0].Shape
			s.Moment2[1].Shape = s.Params[0].Shape
		},
		"2 exponents, want 1":          func(s *checkpoints.State) { s.Exponents = []int8{1, 2} },
		"exponent 0 is 97, want -96..": func(s *checkpoints.State) { s.Exponents = []int8{97} },
		"elements":                     func(s *checkpoints.State) { s.Moment2[1].Data = s.Moment2[1].Data[1:] },
	} {
		st := tiny(0)
		change(st)
		if err := st.Check(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want it to say %q", err, what)
		}
		if _, err := checkpoints.Plan(st, spec, 0); err == nil {
			t.Errorf("%s: a plan was made", what)
		}
	}
}
