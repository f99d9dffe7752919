package allreduce_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// stages records what a pipeline calls, and fails at one of the calls.
type stages struct {
	mu    sync.Mutex
	calls []string
	fails string
}

var errStage = errors.New("stage failed")

func (s *stages) stage(name string) func(b int) error {
	return func(b int) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		call := fmt.Sprint(name, b)
		s.calls = append(s.calls, call)
		if call == s.fails {
			return errStage
		}
		return nil
	}
}

func (s *stages) pipeline(buckets, ahead int) *allreduce.Pipeline {
	return &allreduce.Pipeline{Buckets: buckets, Ahead: ahead, Before: s.stage("before"), Sum: s.stage("sum"), After: s.stage("after")}
}

// at is where a call is in the record, or -1.
func (s *stages) at(name string, b int) int { return slices.Index(s.calls, fmt.Sprint(name, b)) }

func TestPipelineOrder(t *testing.T) {
	for _, c := range []struct{ buckets, ahead int }{{0, 1}, {1, 1}, {1, 3}, {7, 1}, {7, 2}, {7, 3}, {3, 8}} {
		var s stages
		if err := s.pipeline(c.buckets, c.ahead).Run(); err != nil {
			t.Fatal(err)
		}
		if want := 3 * c.buckets; len(s.calls) != want {
			t.Fatalf("%+v: %d calls, want %d: %v", c, len(s.calls), want, s.calls)
		}
		for b := range c.buckets {
			before, sum, after := s.at("before", b), s.at("sum", b), s.at("after", b)
			if before < 0 || sum < before || after < sum {
				t.Errorf("%+v: bucket %d out of order: %v", c, b, s.calls)
			}
			if b > 0 && (before < s.at("before", b-1) || sum < s.at("sum", b-1) || after < s.at("after", b-1)) {
				t.Errorf("%+v: bucket %d before bucket %d: %v", c, b, b-1, s.calls)
			}
			if b >= c.ahead && before < s.at("after", b-c.ahead) {
				t.Errorf("%+v: bucket %d takes the room of bucket %d, which is in use: %v", c, b, b-c.ahead, s.calls)
			}
		}
	}
}

// TestPipelineOverlaps: a sum waits for what can only happen beside it.
func TestPipelineOverlaps(t *testing.T) {
	const buckets = 5
	ready, finished := make(chan int, buckets), make(chan int, buckets)
	p := allreduce.Pipeline{
		Buckets: buckets,
		Ahead:   3,
		Before:  func(b int) error { ready <- b; return nil },
		Sum: func(b int) error {
			if b == 0 {
				<-ready
			}
			if b+1 < buckets && <-ready != b+1 {
				return fmt.Errorf("sum %d: what was made ready is not the next bucket", b)
			}
			if b > 0 && <-finished != b-1 {
				return fmt.Errorf("sum %d: what was finished is not the bucket before", b)
			}
			return nil
		},
		After: func(b int) error { finished <- b; return nil },
	}
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
}

func TestPipelineFails(t *testing.T) {
	for _, fails := range []string{"before0", "before3", "sum0", "sum3", "after0", "after6"} {
		s := stages{fails: fails}
		if err := s.pipeline(7, 2).Run(); !errors.Is(err, errStage) {
			t.Errorf("%s failed: %v, want %v", fails, err, errStage)
		}
		// Only what may be under way already follows, and never the same bucket.
		bucket := int(fails[len(fails)-1] - '0')
		next := map[string]string{"before": "sum", "sum": "after"}[fails[:len(fails)-1]]
		if next != "" && s.at(next, bucket) >= 0 {
			t.Errorf("%s failed, and %s%d followed: %v", fails, next, bucket, s.calls)
		}
		if late := bucket + 3; s.at("before", late) >= 0 {
			t.Errorf("%s failed, and before%d followed: %v", fails, late, s.calls)
		}
	}
}

func TestPipelineStagesMayBeMissing(t *testing.T) {
	var s stages
	p := allreduce.Pipeline{Buckets: 2, Ahead: 1, Sum: s.stage("sum")}
	if err := p.Run(); err != nil || !slices.Equal(s.calls, []string{"sum0", "sum1"}) {
		t.Fatalf("%v: %v", s.calls, err)
	}
}
