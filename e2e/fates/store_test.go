package fates

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
)

// TestEveryStoreOperation makes every operation on the store fail in turn, in every way, while a job trains: the job trains on and succeeds with
// the same bits, what is in the log loads, and a checkpoint that is missing was reported.
func TestEveryStoreOperation(t *testing.T) {
	want := reference(t)
	for name, fault := range map[string]mem.Fault{
		"fails":               {Err: checkpoints.ErrUnavailable},
		"fails after working": {Err: checkpoints.ErrUnavailable, Late: true},
		"hangs":               {Hang: true},
		"lies":                {Lie: true},
	} {
		t.Run(name, func(t *testing.T) {
			finished := false
			for n := 1; !finished; n++ {
				if testing.Short() && n%7 != 0 && n > 1 {
					continue
				}
				inCluster(t, func(c *cluster) { finished = c.oneFault(n, fault, want) })
				if t.Failed() {
					t.Fatalf("operation %d", n)
				}
			}
		})
	}
}

// oneFault runs the tests' job with a fault at the n-th operation on the store, and tells whether there was no such operation any more.
func (c *cluster) oneFault(n int, fault mem.Fault, want string) (over bool) {
	var hit mem.Op
	c.store.Inject(func(op mem.Op) mem.Fault {
		if op.N != n {
			return mem.Fault{}
		}
		hit = op
		return fault
	})
	c.worker("w0")
	c.worker("w1")
	j, have := c.succeed(c.submit(2, "how.checkpoint.every=2", "how.checkpoint.keep=2", "how.deadlines.store=1s"))
	for _, w := range c.workers {
		w.stop()
	}
	c.running.Wait() // also for what is still being deleted
	over = c.store.Ops() < n
	c.store.Inject(nil)
	if have != want {
		c.Errorf("%+v: state digest %s, want %s", hit, have, want)
	}
	if g := len(j.Generations); g != 1 {
		c.Errorf("%+v: %d generations: trouble with the store stopped training; history:\n%s", hit, g, history(j))
	}
	for _, cp := range j.Checkpoints {
		if problems := checkpoints.Verify(c.Context(), c.store, cp.Directory); len(problems) > 0 {
			c.Errorf("%+v: the checkpoint at step %d is committed: %v", hit, cp.Step, problems)
		}
	}
	for step := int64(2); step <= steps; step += 2 {
		text := history(j)
		if !strings.Contains(text, fmt.Sprintf("checkpoint at step %d committed", step)) && !strings.Contains(text, fmt.Sprintf("checkpoint at step %d skipped", step)) {
			c.Errorf("%+v: the checkpoint at step %d is neither committed nor reported; history:\n%s", hit, step, text)
		}
	}
	return over
}

// TestDeadWorkersParts: what a worker left behind that died while it wrote a checkpoint goes when it is old; what is whole stays.
func TestDeadWorkersParts(t *testing.T) {
	inCluster(t, func(c *cluster) {
		const dead = "step-00000003-00112233"
		c.store.Set(dead+"/model-00001-of-00001.safetensors", []byte("half of"))
		c.store.Set("step-00000900-00112233/index.json", []byte("of a step that nobody has come to"))
		c.store.Age(2 * checkpoints.StaleAfter)
		c.store.Set("step-00000002-44556677/index.json", []byte("just written"))
		c.worker("w0")
		c.succeed(c.submit(1))
		c.workers[0].stop()
		c.running.Wait()
		found, err := checkpoints.List(c.Context(), c.store, "")
		if err != nil {
			c.Fatal(err)
		}
		there := map[ringleader.Step]bool{}
		for _, f := range found {
			there[f.Step] = true
		}
		if there[3] || !there[900] || !there[10] || !there[2] {
			c.Errorf("left are %+v; want the parts at step 3 gone, those at 2 and 900 still there", found)
		}
	})
}

// TestStoreThatLies: a store that damages all that is put into it for a while. Nothing of that is committed, and what was committed before stays.
func TestStoreThatLies(t *testing.T) {
	inCluster(t, func(c *cluster) {
		w0 := c.worker("w0", 5, 9)
		j := c.submit(1, "how.checkpoint.keep=1")
		c.at(5, w0)
		c.says(j, "checkpoint at step 4 committed")
		c.store.Inject(func(op mem.Op) mem.Fault { return mem.Fault{Lie: op.Kind == "put"} })
		c.goOn(5, w0)
		c.at(9, w0)
		c.says(j, "checkpoint at step 8 skipped: worker w0")
		found, err := checkpoints.List(c.Context(), c.store, "")
		if err != nil {
			c.Fatal(err)
		}
		newest, skipped, err := checkpoints.Newest(c.Context(), c.store, "")
		if err != nil || newest.Step != 4 {
			c.Errorf("newest good checkpoint %+v of %+v, %v, %v; want the one at step 4", newest, found, skipped, err)
		}
		c.store.Inject(nil)
		c.goOn(9, w0)
		c.succeed(j)
		<-time.After(time.Second)
	})
}
