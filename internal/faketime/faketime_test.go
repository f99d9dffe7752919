package faketime

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTimersAtOnce ends the test binary with a fault within a second, under the race detector, where bubbles have two processors.
func TestTimersAtOnce(t *testing.T) {
	Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 3000 {
					<-time.After(0)
				}
			})
		}
		wg.Wait()
	})
}
