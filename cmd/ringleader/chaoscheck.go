package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
)

// runOutcome is what a run left: the digest of its state, the hash of each file of its tensors, and the loss of each step that it told of.
type runOutcome struct {
	digest string
	files  map[string]string
	losses map[ringleader.Step]float64
}

// inspectRun reads every byte of a run's final checkpoint and the ledger of its users.
func inspectRun(ctx context.Context, dir string, report *localReport) (*runOutcome, error) {
	store, name, err := openRun(ctx, report.Checkpoint)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	for _, problem := range checkpoints.Verify(ctx, store, name) {
		return nil, fmt.Errorf("final checkpoint: %w", problem)
	}
	m, _, err := checkpoints.ReadManifest(ctx, store, name)
	if err != nil {
		return nil, err
	}
	if err := verifyRun(ctx, store, report.damaged); err != nil {
		return nil, err
	}
	losses, err := lossesOf(dir, m.Step)
	if err != nil {
		return nil, err
	}
	out := &runOutcome{digest: m.State.String(), files: map[string]string{}, losses: map[ringleader.Step]float64{}}
	for _, l := range losses {
		out.losses[l.Step] = l.Loss
	}
	for _, f := range m.Files {
		if filepath.Ext(f.Name) == ".safetensors" {
			out.files[f.Name] = f.SHA256
		}
	}
	where, _ := splitLast(report.Checkpoint)
	return out, auditRun(ctx, where, "", io.Discard, io.Discard)
}

// compare tells what is not as in the undisturbed run.
func (c *chaos) compare(ctx context.Context, dir string, report *localReport) (wrong []string) {
	got, err := inspectRun(ctx, dir, report)
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	switch {
	case got == nil:
	case got.digest != c.want.digest:
		wrong = append(wrong, fmt.Sprintf("state digest %s, undisturbed %s", got.digest, c.want.digest))
	case !maps.Equal(got.files, c.want.files):
		wrong = append(wrong, fmt.Sprintf("files %v, undisturbed %v", got.files, c.want.files))
	}
	if got == nil {
		return wrong
	}
	// A member that is killed takes what it would have told of its step with it; most steps are told of.
	if len(got.losses) < len(c.want.losses)/2 {
		wrong = append(wrong, fmt.Sprintf("only %d of %d losses", len(got.losses), len(c.want.losses)))
	}
	for _, step := range slices.Sorted(maps.Keys(got.losses)) {
		if is, want := got.losses[step], c.want.losses[step]; is != want {
			return append(wrong, fmt.Sprintf("step %d: loss %v, undisturbed %v", step, is, want))
		}
	}
	return wrong
}

// holding is what this process has in hand: open files by name, sockets, pipes and the like by kind, and goroutines.
type holding map[string]int

const goroutines = "goroutine"

// holdsNow looks at this process.
func holdsNow() (holding, error) {
	h := holding{goroutines: runtime.NumGoroutine()}
	links, err := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil { // the one that read the directory is gone by now
			if !filepath.IsAbs(to) {
				to, _, _ = strings.Cut(to, ":") // socket:[1234]
			}
			h[to]++
		}
	}
	return h, err
}

// beyond is what there is more of than before.
func (h holding) beyond(before holding) (more []string) {
	for _, what := range slices.Sorted(maps.Keys(h)) {
		if n := h[what] - before[what]; n > 0 {
			more = append(more, fmt.Sprintf("%d more: %s", n, what))
		}
	}
	return more
}

// leaks tells what a run left behind: scratch files, processes, ports, descriptors and goroutines of this process.
func leaks(ctx context.Context, dir string, ports []string, before holding) (left []string) {
	if _, err := os.Stat(filepath.Join(dir, "cluster")); err == nil {
		left = append(left, "scratch files are left behind")
	}
	for _, p := range processesOf(dir) {
		left = append(left, "a process is left behind: "+p)
	}
	for _, address := range ports {
		l, err := net.Listen("tcp", address)
		if err != nil {
			left = append(left, "a port is still taken: "+err.Error())
			continue
		}
		_ = l.Close()
	}
	var more []string
	err := waitFor(ctx, stopLimit, "nothing of the run is held", func(context.Context) (bool, error) {
		now, err := holdsNow()
		more = now.beyond(before)
		return len(more) == 0, err
	})
	if err != nil {
		left = append(append(left, more...), err.Error())
	}
	return left
}

// processesOf are the command lines of all other processes that name a directory.
func processesOf(dir string) (found []string) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return []string{err.Error()}
	}
	self := fmt.Sprintf("/proc/%d/cmdline", os.Getpid())
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err == nil && path != self && bytes.Contains(line, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}
