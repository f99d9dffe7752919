package progress

import (
	"math"
	"testing"
	"time"
	"unicode/utf8"
)

var full = State{
	Step: 1240, Steps: 5000, Loss: 6.12345, UsersPerSecond: 1253, TokensPerSecond: 85_040,
	Generation: 3, Workers: 4, Checkpoint: 1000,
}

func TestLine(t *testing.T) {
	waiting := full
	waiting.Waiting = "waiting: 3 of min 4 workers\x07"
	for _, c := range []struct {
		name  string
		state State
		eta   time.Duration
		width int
		want  string
	}{
		{"nothing known", State{}, 0, 80, "step 0"},
		{"no loss yet", State{Step: 1, Loss: math.NaN()}, 0, 0, "step 1"},
		{"all, unbounded", full, 192 * time.Second, 0,
			"step 1240/5000  24%  loss 6.1235  1.25k users/s  85.0k tokens/s  4 workers  generation 3  checkpoint 1000  ETA 3m12s"},
		{"all, wide", full, 192 * time.Second, 200,
			"step 1240/5000  24%  [####----------------]  loss 6.1235  1.25k users/s  85.0k tokens/s  4 workers  generation 3  checkpoint 1000  ETA 3m12s"},
		{"80 columns", full, 192 * time.Second, 79,
			"step 1240/5000  24%  loss 6.1235  1.25k users/s  4 workers  ETA 3m12s"},
		{"40 columns", full, 192 * time.Second, 40, "step 1240/5000  24%  loss 6.1235"},
		{"narrower than anything", full, 192 * time.Second, 4, "step"},
		{"waiting has no speed", waiting, time.Hour, 0,
			"step 1240/5000  24%  loss 6.1235  4 workers  generation 3  checkpoint 1000  waiting: 3 of min 4 workers"},
		{"one worker", State{Workers: 1}, 0, 0, "step 0  1 worker"},
		{"not steps", State{Step: 12, Steps: 48, Unit: "users", UsersPerSecond: 9}, 4 * time.Second, 0, "users 12/48  25%  9.00 users/s  ETA 4s"},
		{"almost done is not done", State{Step: 4999, Steps: 5000}, 0, 0, "step 4999/5000  99%"},
		{"done", State{Step: 5000, Steps: 5000}, 0, 60, "step 5000/5000 100%  [####################]"},
	} {
		if got := Line(c.state, c.eta, c.width); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestLineFitsEveryWidth(t *testing.T) {
	for width := 1; width < 160; width++ {
		if n := utf8.RuneCountInString(Line(full, time.Minute, width)); n > width {
			t.Errorf("width %d: %d columns", width, n)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                             "0s",
		time.Millisecond:              "1s",
		59 * time.Second:              "59s",
		60 * time.Second:              "1m00s",
		192 * time.Second:             "3m12s",
		2*time.Hour + 5*time.Minute:   "2h05m",
		76*time.Hour + 59*time.Minute: "3d04h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for x, want := range map[float64]string{
		0.5: "0.50", 8.25: "8.25", 9.999: "10.0", 950: "950", 999.9: "1.00k", 12_500: "12.5k", 1_250_000: "1.25M", 2e15: "2000T",
	} {
		if got := rate(x); got != want {
			t.Errorf("rate(%v) = %q, want %q", x, got, want)
		}
	}
}
