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

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// runOutcome is what a run left: the digest of its state, and the hash of each file of its tensors.
type runOutcome struct {
	digest string
	files  map[string]string
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
	out := &runOutcome{digest: m.State.String(), files: map[string]string{}}
	for _, f := range m.Files {
		if filepath.Ext(f.Name) == ".safetensors" {
			out.files[f.Name] = f.SHA256
		}
	}
	return out, auditRun(ctx, dir, "", io.Discard, io.Discard)
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
	return wrong
}

// holding is what this process has in hand.
type holding struct {
	files      []string
	goroutines int
}

// holdsNow looks at this process: at files, for sockets and pipes have no names to tell them apart by.
func holdsNow() (holding, error) {
	h := holding{goroutines: runtime.NumGoroutine()}
	links, err := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && filepath.IsAbs(to) { // the one that read the directory is gone by now
			h.files = append(h.files, to)
		}
	}
	return h, err
}

// leaks tells what a run left behind: scratch files, processes, ports, open files and goroutines of this process.
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
	var now holding
	err := waitFor(ctx, stopLimit, "the goroutines of the run have ended", func(context.Context) (_ bool, err error) {
		now, err = holdsNow()
		return now.goroutines <= before.goroutines, err
	})
	if err != nil {
		left = append(left, fmt.Sprintf("%d goroutines, %d before: %v", now.goroutines, before.goroutines, err))
	}
	for _, f := range now.files {
		if !slices.Contains(before.files, f) {
			left = append(left, "still open: "+f)
		}
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
