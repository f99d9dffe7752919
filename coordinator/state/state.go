// Package state is the replicated state of a cluster: jobs, workers, generations and checkpoint commits, as a pure
// function of the log. Nothing here reads a clock, draws a number, does input or output, or depends on the order of a
// map: replicas that applied the same entries are equal, byte for byte (Hash).
//
// State is used by one goroutine at a time. The View that it gives out never changes and may be shared.
package state

import (
	"errors"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// Why a command is refused. A refused command has changed nothing, on every replica alike.
var (
	ErrInvalid  = errors.New("invalid")             // it contradicts itself or the state
	ErrNotFound = errors.New("not found")           // no such job or worker
	ErrExists   = errors.New("exists already")      // the key or id is taken by something else
	ErrState    = errors.New("not possible now")    // the job is in a state that does not allow it
	ErrStale    = errors.New("of an older gang")    // it comes from a generation that has been replaced
	ErrConflict = errors.New("states differ")       // two digests for one step: the promise is broken
	ErrFull     = errors.New("the cluster is full") // a bound on what is kept
)

// Bounds on what is kept. They are part of what Apply computes: changing one needs a new kind of command.
const (
	MaxLiveJobs    = 10_000 // not ended
	MaxEndedJobs   = 1_000  // the oldest are forgotten, their keys with them
	MaxWorkers     = 10_000
	MaxEvents      = 1_000 // per job
	MaxGenerations = 100   // per job, newest
	MaxCheckpoints = 1_000 // per job, newest
	MaxScores      = 64    // per job, of steps without a checkpoint
	MaxDisputes    = 64    // per job, newest
	MaxSpec        = 256 << 10
	maxText        = 1_000
)

// State is the replicated state.
type State struct{ view View }

// New is the empty state, before the first entry.
func New() *State { return &State{} }

// View is the state after one entry. It and everything in it is read-only.
type View struct {
	Index   uint64          // of the last applied entry
	Jobs    []*logpb.Job    // in order of submission
	Workers []*logpb.Worker // in order of id
}

// View returns the present state. Later commands do not change it.
func (s *State) View() View { return s.view }

// Job finds a job, or returns nil.
func (v View) Job(id string) *logpb.Job {
	if i := v.jobAt(id); i >= 0 {
		return v.Jobs[i]
	}
	return nil
}

// JobByKey finds the job that was submitted under a key, or returns nil. The empty key finds none.
func (v View) JobByKey(key string) *logpb.Job {
	if key == "" {
		return nil
	}
	for _, j := range v.Jobs {
		if j.Key == key {
			return j
		}
	}
	return nil
}

// Worker finds a worker, or returns nil.
func (v View) Worker(id string) *logpb.Worker {
	if i, ok := v.workerAt(id); ok {
		return v.Workers[i]
	}
	return nil
}

// GangOf is the job that is live with the worker in its current generation, or nil.
func (v View) GangOf(worker string) *logpb.Job {
	for _, j := range v.Jobs {
		if Live(j) && RankIn(Current(j), worker) >= 0 {
			return j
		}
	}
	return nil
}

func (v View) jobAt(id string) int {
	return slices.IndexFunc(v.Jobs, func(j *logpb.Job) bool { return j.Id == id })
}

func (v View) workerAt(id string) (int, bool) {
	return slices.BinarySearchFunc(v.Workers, id, func(w *logpb.Worker, id string) int { return strings.Compare(w.Id, id) })
}

// Live reports whether the job has a gang: it is running or finishing.
func Live(j *logpb.Job) bool {
	return j.State == logpb.JobState_JOB_STATE_RUNNING || j.State == logpb.JobState_JOB_STATE_FINISHING
}

// Ended reports whether nothing more will happen to the job.
func Ended(j *logpb.Job) bool {
	switch j.State {
	case logpb.JobState_JOB_STATE_SUCCEEDED, logpb.JobState_JOB_STATE_FAILED, logpb.JobState_JOB_STATE_CANCELLED:
		return true
	}
	return false
}

// Current is the job's newest generation, or nil.
func Current(j *logpb.Job) *logpb.Generation {
	if n := len(j.Generations); n > 0 {
		return j.Generations[n-1]
	}
	return nil
}

// RankIn is the worker's rank in the generation, or -1.
func RankIn(g *logpb.Generation, worker string) int {
	return slices.IndexFunc(g.GetMembers(), func(m *logpb.Member) bool { return m.WorkerId == worker })
}

// NewestCheckpoint is the newest one that is not known to be bad, or nil.
func NewestCheckpoint(j *logpb.Job) *logpb.Checkpoint {
	for _, c := range slices.Backward(j.Checkpoints) {
		if c.Refused == "" {
			return c
		}
	}
	return nil
}

// CheckpointURL is where a committed checkpoint of the job is.
func CheckpointURL(j *logpb.Job, c *logpb.Checkpoint) string {
	return strings.TrimRight(j.GetDemand().GetStore(), "/") + "/" + c.Directory
}

// LastStep is the step at which the job ends, or 0 if only the workers know (a job of epochs).
func LastStep(d *logpb.Demand) int64 {
	if d.StopAt > 0 && (d.Steps == 0 || d.StopAt < d.Steps) {
		return d.StopAt
	}
	return d.Steps
}

// Fits tells whether a job wants a worker's device. One that allows several numerics classes takes any: a device's kind is a part of its class.
func Fits(d *logpb.Demand, w *logpb.Worker) bool { return d.Mixed || DeviceKind(w.Device) == d.Device }

// DeviceKind is the kind of a device: "cuda" of "cuda:0".
func DeviceKind(device string) string {
	kind, _, _ := strings.Cut(device, ":")
	return kind
}

// StateName is the lower-case name of a job's state, as people read it.
func StateName(s logpb.JobState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "JOB_STATE_"))
}
