package worker

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// copied is the state of an engine, as it travels.
func copied(t *testing.T, from *Engine) (*rpcpb.StateHeader, []byte) {
	t.Helper()
	header, err := from.stand(from.at())
	noError(t, err)
	words := make([]float32, from.words())
	for at := 0; at < len(words); at += 1000 {
		noError(t, from.read(from.at(), at, words[at:min(at+1000, len(words))]))
	}
	return header, bytesOf(words)
}

// TestCopy: a state that was placed in pieces, cut anywhere and in any order, is the state; one with a wrong bit is none.
func TestCopy(t *testing.T) {
	for _, reduction := range []string{"exact64", "exact32", "exact16"} {
		t.Run(reduction, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(4, 4))
			from := gangOf(t, rng, reduction, 1, 4096)
			train(t, from, 5)
			header, words := copied(t, from[0].Engine)
			to := madeEngine(t, reduction, 2, 4096, nil)
			cuts := []int{0, len(words)}
			for range 50 {
				cuts = append(cuts, rng.IntN(len(words)))
			}
			slices.Sort(cuts)
			place := func(words []byte) {
				for _, i := range rng.Perm(len(cuts) - 1) {
					to.place(cuts[i], words[cuts[i]:cuts[i+1]])
				}
			}

			wrong := slices.Clone(words)
			wrong[4*rng.IntN(len(wrong)/4)] ^= 1
			place(wrong)
			if err := to.adopt(header, 5); err == nil || to.at() != noState {
				t.Errorf("a state with a wrong bit is held at step %d, error %v", to.at(), err)
			}
			place(words)
			if err := to.adopt(header, 4); err == nil || to.at() != noState {
				t.Errorf("a state of another step is held at step %d, error %v", to.at(), err)
			}
			noError(t, to.adopt(header, 5))
			if got, want := to.Proof(), from[0].Proof(); got != want || to.at() != 5 || to.changed() {
				t.Errorf("state %s at step %d (changed: %v), copied from %s at step 5", got, to.at(), to.changed(), want)
			}
		})
	}
}
