package progress

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is moved by hand.
type clock struct{ t time.Time }

func newClock() *clock               { return &clock{time.Unix(1_700_000_000, 0)} }
func (c *clock) now() time.Time      { return c.t }
func (c *clock) add(d time.Duration) { c.t = c.t.Add(d) }

func TestPlainLinesEveryFewSeconds(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	d := New(&out, false, c.now)
	for step := range ringleader.Step(101) { // 10 s
		d.Update(State{Step: step, Steps: 100})
		c.add(100 * time.Millisecond)
	}
	if err := d.Done(); err != nil {
		t.Fatal(err)
	}
	want := "step 0/100   0%\nstep 50/100  50%  ETA 5s\nstep 100/100 100%\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

func TestTerminalDrawsInPlace(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	d := New(&out, true, c.now)
	d.Update(State{Step: 1})
	d.Update(State{Step: 2}) // too soon
	c.add(redrawEvery)
	d.Update(State{Step: 3})
	d.Note("worker w2 lost\n\x1b[2Jevil")
	d.Update(State{Step: 4}) // too soon, but the last
	if err := d.Done(); err != nil {
		t.Fatal(err)
	}
	d.Update(State{Step: 5})
	d.Note("after")
	want := "\rstep 1\x1b[K" + "\rstep 3\x1b[K" +
		"\r\x1b[Kworker w2 lost\n[2Jevil\n\rstep 3\x1b[K" +
		"\rstep 4\x1b[K\n" + "after\n"
	if out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}

func TestNothingShownLeavesNothing(t *testing.T) {
	var out bytes.Buffer
	d := New(&out, true, newClock().now)
	d.Note("hello")
	if err := d.Done(); err != nil {
		t.Fatal(err)
	}
	if out.String() != "hello\n" {
		t.Errorf("wrote %q, want only the note", out.String())
	}
}

func TestTerminalWidthIsKept(t *testing.T) {
	var out bytes.Buffer
	d := New(&out, true, newClock().now)
	d.width = func() int { return 12 }
	d.Update(State{Step: 123, Steps: 456, Loss: 1})
	if got := out.String(); got != "\rstep 123/45\x1b[K" {
		t.Errorf("wrote %q, want 11 columns", got)
	}
}

type brokenPipe struct{ calls int }

func (b *brokenPipe) Write([]byte) (int, error) { b.calls++; return 0, io.ErrClosedPipe }

func TestWriteErrorSticks(t *testing.T) {
	b := &brokenPipe{}
	d := New(b, false, newClock().now)
	d.Update(State{Step: 1})
	d.Note("x")
	if err := d.Done(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Done: %v, want the writer's error", err)
	}
	if b.calls != 1 {
		t.Errorf("%d writes, want none after the first failed", b.calls)
	}
}

func TestConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	c := newClock()
	d := New(&out, false, c.now)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for step := range ringleader.Step(50) {
				d.Update(State{Step: step})
				d.Note("note")
			}
		})
	}
	wg.Wait()
	if err := d.Done(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "note\n"); n != 400 {
		t.Errorf("%d notes, want 400", n)
	}
}

func TestSpeed(t *testing.T) {
	c := newClock()
	var s speed
	if eta := s.eta(0, 100); eta != 0 {
		t.Errorf("eta without points: %v, want unknown", eta)
	}
	// A slow start is forgotten: 60 s at 1 step/s, then 60 s at 10 steps/s.
	step := ringleader.Step(0)
	for range 60 {
		c.add(time.Second)
		step++
		s.add(c.now(), step)
	}
	for range 600 {
		c.add(100 * time.Millisecond)
		step++
		s.add(c.now(), step)
	}
	if eta := s.eta(step, step+100); eta < 9900*time.Millisecond || eta > 10100*time.Millisecond {
		t.Errorf("eta %v, want 10s", eta)
	}
	if len(s.points) > speedPoints {
		t.Errorf("%d points, want at most %d", len(s.points), speedPoints)
	}
	if eta := s.eta(step, step); eta != 0 {
		t.Errorf("eta at the end: %v, want unknown", eta)
	}
	s.add(c.now(), 5) // went back
	if eta := s.eta(5, 1000); eta != 0 {
		t.Errorf("eta after going back: %v, want unknown", eta)
	}
}
