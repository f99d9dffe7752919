package worker

import (
	"math"
	"testing"

	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/model"
)

var threeTensors = []model.Tensor{{Name: "a", Shape: []int{2}}, {Name: "b", Shape: []int{2, 2}, Offset: 2}, {Name: "c", Shape: []int{1}, Offset: 6}}

func TestFirstBad(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		grad      []float32
		nan, over int
	}{
		{[]float32{1, -1, 9, -9, 0, 0, 3}, -1, -1},
		{[]float32{1, -1, 9, -9, 0, nan, nan}, 1, -1},
		{[]float32{1, -1, 9, -9, 0, 0, 10}, -1, 2},
		{[]float32{1, inf, -10, 0, 0, 0, nan}, 2, 0},
		{[]float32{nan, inf, nan, inf, nan, inf, nan}, 0, 0},
	} {
		if nan, over := firstBad(threeTensors, c.grad, func(int) float32 { return 10 }); nan != c.nan || over != c.over {
			t.Errorf("%v: NaN in tensor %d, out of range in %d; want %d, %d", c.grad, nan, over, c.nan, c.over)
		}
	}
}

func TestBadStep(t *testing.T) {
	for want, bad := range map[string][]exact.Bad{
		"NaN in the gradient of shard 3, first in tensor b":                                     {{Shard: 3, Tensor: 1}},
		"NaN in the loss of shard 0":                                                            {{Shard: 0, Loss: true, Tensor: -1}},
		"NaN in the loss and the gradient of shard 0, first in tensor a (and in 2 more shards)": {{Shard: 0, Loss: true, Tensor: 0}, {Shard: 4, Tensor: 2}, {Shard: 5, Tensor: 2}},
		"NaN in the gradient of shard 3, first in tensor 7 of 3":                                {{Shard: 3, Tensor: 7}},
	} {
		if got := badStep("NaN", bad, threeTensors); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
