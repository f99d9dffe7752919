package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
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
		return r.damage(ctx, s.fault)
	case onServer:
		return r.hitServer(s)
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
	case "part":
		r.part(victim, s.length)
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
		victim.say(s.kind + " " + strconv.FormatUint(s.draw(), 10))
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
func (r *localRun) damage(ctx context.Context, f fault) error {
	store, err := r.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	name, err := newestFile(ctx, store, f)
	if err != nil {
		return err
	}
	body, err := store.Open(ctx, name)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	if at := len(b) / 2; f.kind == "tear" {
		b = b[:at]
	} else {
		b[at] ^= 1
	}
	r.report.damaged[path.Dir(name)] = true
	return store.Put(ctx, name, bytes.NewReader(b), int64(len(b)), nil, false)
}

// newestFile is one of the files with tensors of the newest checkpoint.
func newestFile(ctx context.Context, store checkpoints.Store, f fault) (string, error) {
	found, err := checkpoints.List(ctx, store, "")
	if errors.Is(err, checkpoints.ErrUnavailable) {
		return "", fmt.Errorf("%w: %w", err, errNothing)
	} else if err != nil {
		return "", err
	}
	i := slices.IndexFunc(found, func(f checkpoints.Found) bool { return f.Committed })
	if i < 0 {
		return "", fmt.Errorf("no checkpoint yet: %w", errNothing)
	}
	objects, err := store.List(ctx, found[i].Dir+"/")
	if err != nil {
		return "", err
	}
	objects = slices.DeleteFunc(objects, func(o checkpoints.Info) bool { return path.Ext(o.Name) != ".safetensors" })
	if len(objects) == 0 {
		return "", fmt.Errorf("%s has no files: %w", found[i].Dir, errNothing)
	}
	return objects[int(f.step)%len(objects)].Name, nil
}
