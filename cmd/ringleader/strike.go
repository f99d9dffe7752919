package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
)

// errNothing: a fault found nothing to strike.
var errNothing = errors.New("nothing to strike")

// strikeAll delivers the faults that are due at a step and lets the workers go on. They may be of an earlier step: one that a generation
// ended with is not completed by the next. A join is delivered when the gang knows of it: until then the rest waits.
func (r *localRun) strikeAll(ctx context.Context, step ringleader.Step) error {
	r.holding = step
	for r.joining == nil && len(r.pending) > 0 && r.pending[0].step <= step {
		s := &strike{fault: r.pending[0], report: &faultReport{Fault: r.pending[0].spec}}
		r.pending, r.due = r.pending[1:], append(r.due, s.step)
		err := r.strike(ctx, s)
		if errors.Is(err, errNothing) && r.lenient {
			s.report.Missed = err.Error()
		} else if err != nil {
			return fmt.Errorf("--fault %q had no effect: %w", s.spec, err)
		} else {
			r.struck = append(r.struck, s)
		}
		r.show.Note("fault " + s.spec + map[bool]string{true: ": missed: " + s.report.Missed}[s.report.Missed != ""])
		r.report.Faults = append(r.report.Faults, s.report)
	}
	if r.joining != nil {
		return nil
	}
	clear(r.atHold)
	for _, w := range r.cluster.workers {
		for _, step := range r.due {
			w.say(fmt.Sprintf("go %d", step))
		}
	}
	r.due = nil
	return nil
}

// joined goes on after a join.
func (r *localRun) joined(ctx context.Context) error {
	r.joining, r.patience = nil, nil
	return r.strikeAll(ctx, r.holding)
}

// strike delivers one fault.
func (r *localRun) strike(ctx context.Context, s *strike) (err error) {
	switch s.on {
	case onWorkers:
		return r.restartAll(s)
	case onAll:
		s.at = time.Now()
		r.rolling = append(r.rolling, slices.Clone(r.cluster.addresses)...)
		return r.roll(ctx)
	case onStore:
		s.at = time.Now()
		for _, w := range r.cluster.workers {
			w.say(map[string]string{"fail": orderStoreFail, "hang": orderStoreHang}[s.kind] + " " + s.length.String())
		}
		return nil
	case onCheckpoint:
		s.at = time.Now()
		return r.damage(s.fault)
	}
	if s.kind == "join" {
		s.joiner, err = r.cluster.startWorker(r.plan.spec, r.holds()...)
		r.joining = s
		return err
	}
	victim, err := r.victim(ctx, s.fault)
	if err != nil {
		return err
	}
	if !victim.alive() || victim.lost {
		return fmt.Errorf("%s is not running: %w", victim.name, errNothing)
	}
	s.at = time.Now()
	if s.kind == "lose" {
		return r.lose(ctx, victim)
	}
	return r.hit(victim, s)
}

// hit does to a process what the fault says.
func (r *localRun) hit(victim *child, s *strike) error {
	switch s.kind {
	case "pause":
		// It wakes up on its own, whatever this goroutine is busy with then.
		time.AfterFunc(s.length, func() { _ = victim.signal(syscall.SIGCONT) })
		return victim.signal(syscall.SIGSTOP)
	case "drain":
		victim.lost = true
		victim.say("stop")
		return nil
	case "cut", "slow", "lossy", "skew":
		victim.say(s.kind + " " + s.length.String())
		return nil
	case "garble":
		victim.say(orderGarble)
		return nil
	case "flip", "flip-sum":
		if at, waits := r.atHold[victim]; !waits || at.Size < 2 {
			return fmt.Errorf("%s is not one of several members: nobody could notice: %w", victim.name, errNothing)
		}
		victim.say(s.kind + " " + strconv.FormatUint(uint64(s.step)*0x9E3779B97F4A7C15, 10))
		return nil
	}
	if err := victim.kill(); err != nil || s.kind == "kill" {
		return err
	}
	return r.replace(victim)
}

// kill ends a process as a fault does, and waits for its end.
func (ch *child) kill() error {
	ch.lost = true
	if err := ch.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-ch.done
	return nil
}

// replace starts a process in the place of one that has ended, as a supervisor would.
func (r *localRun) replace(old *child) (err error) {
	if i := slices.Index(r.cluster.coordinators, old); i >= 0 {
		r.cluster.coordinators[i], err = r.cluster.startCoordinator(i)
		return err
	}
	delete(r.atHold, old)
	i := slices.Index(r.cluster.workers, old)
	r.cluster.workers[i], err = r.cluster.startWorkerAt(i, r.plan.spec, r.holds()...)
	return err
}

// restartAll kills all workers that there are, and starts them again.
func (r *localRun) restartAll(s *strike) error {
	s.at = time.Now()
	var killed []*child
	for _, w := range r.cluster.workers {
		if w.alive() && !w.lost {
			if err := w.kill(); err != nil {
				return err
			}
			killed = append(killed, w)
		}
	}
	for _, w := range killed {
		if err := r.replace(w); err != nil {
			return err
		}
	}
	return nil
}

// damage spoils a file of the newest checkpoint in the run's store.
func (r *localRun) damage(f fault) error {
	path, err := localPath(r.plan.spec.How.Store)
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(path, "step-*", checkpoints.ManifestName))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no checkpoint yet: %w", errNothing)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(slices.Max(found)), "*.safetensors"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s has no files (%w): %w", filepath.Dir(slices.Max(found)), err, errNothing)
	}
	file, err := os.OpenFile(files[int(f.step)%len(files)], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	at := size / 2
	if f.kind == "tear" {
		return file.Truncate(at)
	}
	b := []byte{0}
	if _, err := file.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = file.WriteAt(b, at)
	return err
}
