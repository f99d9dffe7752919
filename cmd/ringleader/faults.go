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
	kind   string // kill, pause, join, ...
	on     string // worker, workers, leader, coordinators, store, checkpoint, s3
	worker int    // start index; joiners count on
	step   ringleader.Step
	length time.Duration // of what does not last
}

// What faults strike.
const (
	onWorker     = "worker"
	onWorkers    = "workers" // all of them
	onLeader     = "leader"
	onAll        = "coordinators"
	onStore      = "store"      // as all workers see it
	onCheckpoint = "checkpoint" // the newest
	onServer     = "s3"         // the server that has the store; only where the run has one of its own
)

// faultForm is a fault that there is.
type faultForm struct {
	kind, on string
	lasts    bool
	does     string
}

var faultTable = []faultForm{
	{"kill", onWorker, false, "SIGKILL"},
	{"kill", onLeader, false, "SIGKILL"},
	{"restart", onWorker, false, "SIGKILL, and a new process under the same name"},
	{"restart", onWorkers, false, "of all workers at once: the state is lost"},
	{"restart", onLeader, false, "SIGKILL, and a new process on the same log"},
	{"restart", onAll, false, "one after the other, while training goes on"},
	{"lose", onLeader, false, "SIGKILL, its disk is lost, and an empty one becomes a new member"},
	{"skew", onLeader, true, "its clock is ahead by so much, and stays so"},
	{"pause", onWorker, true, "SIGSTOP, then SIGCONT"},
	{"pause", onLeader, true, "SIGSTOP, then SIGCONT"},
	{"join", onWorker, false, "one more worker"},
	{"drain", onWorker, false, "it is told to leave"},
	{"cut", onWorker, true, "off the network"},
	{"cut", onLeader, true, "off the network"},
	{"part", onLeader, true, "off the network of the other coordinators, though not of its clients"},
	{"slow", onWorker, true, "everything that it sends comes later"},
	{"lossy", onWorker, true, "some of what it sends is lost, and has to be sent again"},
	{"garble", onWorker, false, "a bit of what it sends is flipped"},
	{"flip", onWorker, false, "a bit of its state in memory is flipped"},
	{"flip-sum", onWorker, false, "a bit of the summed gradients that it applies is flipped"},
	{"fail", onStore, true, "every operation fails"},
	{"hang", onStore, true, "no operation ends"},
	{"flip", onCheckpoint, false, "a bit of a file of the newest one is flipped"},
	{"tear", onCheckpoint, false, "a file of the newest one loses its end"},
}

// serverTable are the faults of an S3 server of the run's own.
var serverTable = []faultForm{
	{"refuse", onServer, true, "it answers 503 and 500"},
	{"hang", onServer, true, "it answers nothing; what was asked of it is done later"},
	{"slow", onServer, true, "it answers later"},
	{"kill", onServer, true, "SIGKILL, and a new process on the same data after that time"},
	{"cut-upload", onServer, false, "the connection ends in the middle of the next upload"},
	{"cut-download", onServer, false, "the connection ends in the middle of the next download"},
	{"flip-upload", onServer, false, "a bit of the next upload is flipped on its way"},
	{"flip-download", onServer, false, "a bit of the next download is flipped on its way"},
	{"lose-answer", onServer, false, "the next upload is stored, and its answer lost"},
}

func (f faultForm) String() string {
	s := f.kind + ":" + f.on
	if f.on == onWorker && f.kind != "join" {
		s += ":I"
	}
	if s += "@STEP"; f.lasts {
		s += ":DURATION"
	}
	return s
}

// faultForms lists them.
func faultForms() string {
	var all []string
	for _, f := range faultTable {
		all = append(all, f.String())
	}
	return strings.Join(all, ", ")
}

// faultHelp says what faults do, a line each.
func faultHelp(table []faultForm) string {
	var b strings.Builder
	for _, f := range table {
		fmt.Fprintf(&b, "  %-33s %s\n", f, f.does)
	}
	return b.String()
}

// troubling tells whether the fault is one that its victim has to bring about itself.
func (f fault) troubling() bool {
	switch f.kind {
	case "cut", "part", "slow", "lossy", "garble", "flip-sum", "skew":
		return true
	case "flip":
		return f.on == onWorker
	}
	return f.on == onStore
}

// draw is a number that says where it strikes: which bit, for instance.
func (f fault) draw() uint64 { return uint64(f.step) * 0x9E3779B97F4A7C15 }

// parseFault reads a fault spec.
func parseFault(spec string) (fault, error) {
	bad := func(why string) (fault, error) {
		return fault{}, fmt.Errorf("--fault %q: %s; allowed: %s", spec, why, faultForms())
	}
	what, when, ok := strings.Cut(spec, "@")
	if !ok {
		return bad("no @STEP")
	}
	f := fault{spec: spec}
	at, length, lasts := strings.Cut(when, ":")
	step, err := strconv.ParseInt(at, 10, 64)
	if err != nil || step < 1 {
		return bad("STEP must be a number of at least 1")
	}
	f.step = ringleader.Step(step)
	f.kind, f.on, _ = strings.Cut(what, ":")
	on, index, indexed := strings.Cut(f.on, ":")
	f.on = on
	forms := slices.Concat(faultTable, serverTable)
	i := slices.IndexFunc(forms, func(form faultForm) bool { return form.kind == f.kind && form.on == f.on })
	if i < 0 || indexed != (f.on == onWorker && f.kind != "join") {
		return bad("unknown fault")
	}
	if indexed {
		if f.worker, err = strconv.Atoi(index); err != nil || f.worker < 0 {
			return bad("I must be a worker's start index, from 0")
		}
	}
	if lasts != forms[i].lasts {
		return bad("a DURATION belongs to what does not last, and only there")
	}
	if lasts {
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
		case f.on == onWorker && f.worker >= started:
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
	// Missed is why it did not strike; only where that is no error.
	Missed string `json:"missed,omitempty"`
}
