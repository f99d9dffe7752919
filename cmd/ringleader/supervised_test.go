package main

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/worker"
)

// TestSupervised: a worker says what it completed, waits at the steps that it was told to hold at, once, and stops when told.
func TestSupervised(t *testing.T) {
	orders, tell := io.Pipe()
	said, out := io.Pipe()
	s := newSupervised(t.Context(), orders, out, []int64{2, 3}, nil)
	lines := bufio.NewScanner(said)
	next := func() (e event) {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("it says nothing more")
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	completed := make(chan int64)
	go func() {
		defer close(completed)
		for _, step := range []int64{1, 2, 2, 3} {
			s.Completed(t.Context(), worker.StepReport{Step: ringleader.Step(step), Loss: .5, Users: 4})
			completed <- step
		}
	}()
	if e := next(); e.Event != "step" || e.Step != 1 || e.Loss != .5 || e.Users != 4 {
		t.Errorf("said %+v", e)
	}
	<-completed
	if e := next(); e.Step != 2 {
		t.Errorf("said %+v", e)
	}
	select {
	case step := <-completed:
		t.Errorf("step %d went on although it is held", step)
	default:
	}
	order := func(line string) {
		t.Helper()
		if _, err := io.WriteString(tell, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	order("go 2")
	<-completed
	if e := next(); e.Step != 2 { // redone after a fault: it is not held again
		t.Errorf("said %+v", e)
	}
	<-completed
	if e := next(); e.Step != 3 {
		t.Errorf("said %+v", e)
	}
	order("stop")
	<-completed // held no longer
	<-s.ctx.Done()
	if err := tell.Close(); err != nil {
		t.Error(err)
	}
}
