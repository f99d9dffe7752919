package progress

import (
	"math"
	"time"

	"github.com/ringleader-dev/ringleader"
)

const (
	speedPoints  = 32          // remembered; with their spacing, speed is that of the last half minute
	speedSpacing = time.Second // between points
)

// speed is the recent pace of a job, from the steps that were seen at up to speedPoints times.
type speed struct {
	points []point // in order of time; steps never fall
}

type point struct {
	at   time.Time
	step ringleader.Step
}

func (s *speed) add(now time.Time, step ringleader.Step) {
	n := len(s.points)
	if n > 0 && step < s.points[n-1].step {
		s.points, n = s.points[:0], 0 // went back to a checkpoint: what was before says nothing
	}
	if n >= 2 && s.points[n-1].at.Sub(s.points[n-2].at) < speedSpacing {
		s.points[n-1] = point{now, step} // the newest point moves until it is far enough from the one before
		return
	}
	if n == speedPoints {
		s.points = append(s.points[:0], s.points[1:]...)
	}
	s.points = append(s.points, point{now, step})
}

// eta is how long the steps that are left take at the recent pace; 0 if that cannot be said.
func (s *speed) eta(step, steps ringleader.Step) time.Duration {
	if len(s.points) < 2 || step >= steps {
		return 0
	}
	first, last := s.points[0], s.points[len(s.points)-1]
	done, took := float64(last.step-first.step), last.at.Sub(first.at)
	if done <= 0 || took <= 0 {
		return 0
	}
	left := float64(took) / done * float64(steps-step)
	if left > math.MaxInt64/2 {
		return 0
	}
	return time.Duration(left)
}
