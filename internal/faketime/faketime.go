// Package faketime runs tests on fake time.
package faketime

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// oneProcessor is for the rest of the test binary's life: bubbles of parallel tests may overlap.
var oneProcessor = sync.OnceFunc(func() { runtime.GOMAXPROCS(1) })

// Test is synctest.Test on one processor.
//
// With more, programs under the race detector are killed now and then: a timer of a bubble runs on the goroutine that sets or looks at it when
// its time has come, and all timers of a bubble share one state of the race detector, which two threads then use at once
// (https://github.com/golang/go/issues/78156). The detector misses nothing by it: it judges by what happens before what, not by what runs at once.
func Test(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	oneProcessor()
	synctest.Test(t, f)
}
