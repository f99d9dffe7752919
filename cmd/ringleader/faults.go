package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader"
)

// fault is one --fault of a local run: what happens to whom when a step is complete.
type fault struct {
	spec   string
	kind   string // kill, pause, join
	leader bool   // kill:leader
	worker int    // start index; joiners count on
	step   ringleader.Step
	length time.Duration // of a pause
}

const faultForms = "kill:worker:I@STEP, kill:leader@STEP, pause:worker:I@STEP:DURATION, join:worker@STEP"

// parseFault reads a fault spec.
func parseFault(spec string) (fault, error) {
	bad := func(why string) (fault, error) {
		return fault{}, fmt.Errorf("--fault %q: %s; allowed: %s", spec, why, faultForms)
	}
	what, when, ok := strings.Cut(spec, "@")
	if !ok {
		return bad("no @STEP")
	}
	f := fault{spec: spec}
	at, length, paused := strings.Cut(when, ":")
	step, err := strconv.ParseInt(at, 10, 64)
	if err != nil || step < 1 {
		return bad("STEP must be a number of at least 1")
	}
	f.step = ringleader.Step(step)
	parts := strings.Split(what, ":")
	f.kind = parts[0]
	switch {
	case what == "kill:leader":
		f.leader = true
	case what == "join:worker":
	case (f.kind == "kill" || f.kind == "pause") && len(parts) == 3 && parts[1] == "worker":
		if f.worker, err = strconv.Atoi(parts[2]); err != nil || f.worker < 0 {
			return bad("I must be a worker's start index, from 0")
		}
	default:
		return bad("unknown fault")
	}
	if paused != (f.kind == "pause") {
		return bad("a DURATION belongs to pause, and only there")
	}
	if paused {
		if f.length, err = time.ParseDuration(length); err != nil || f.length <= 0 {
			return bad("DURATION must be a time such as 3s")
		}
	}
	return f, nil
}

// parseFaults reads all specs, in order of steps.
func parseFaults(specs []string) ([]fault, error) {
	var faults []fault
	for _, s := range specs {
		f, err := parseFault(s)
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return int(a.step - b.step) })
	return faults, nil
}

// joins counts the workers that faults start.
func joins(faults []fault) int {
	n := 0
	for _, f := range faults {
		if f.kind == "join" {
			n++
		}
	}
	return n
}

// checkFaults refuses a fault that cannot have an effect: a worker that is never started, a step that is never reached.
func checkFaults(faults []fault, workers int, last ringleader.Step) error {
	started := workers
	for _, f := range faults {
		if f.step > last {
			return fmt.Errorf("--fault %q: the run ends at step %d", f.spec, last)
		}
		switch {
		case f.kind == "join" && f.step == last:
			return fmt.Errorf("--fault %q: the run ends at step %d, and no step follows that could include the worker", f.spec, last)
		case f.kind == "join":
			started++
		case !f.leader && f.worker >= started:
			return fmt.Errorf("--fault %q: workers 0..%d have been started by then", f.spec, started-1)
		}
	}
	return nil
}

// faultReport is what a fault cost.
type faultReport struct {
	Fault string `json:"fault"`
	// RecoverySeconds is from the signal to the next completed step (join: from attach to the first step that includes it; leader: the
	// longest step interval in the 5 s after); absent if no step followed.
	RecoverySeconds *float64 `json:"recovery_s,omitempty"`
}
