// Package schedule decides: who is in which gang, when a generation ends and what the next one is, and why. Plan is pure:
// time, the replicated state and what the leader knows besides come in, commands for the log, requests to gangs and reasons
// go out. What it decides counts only once the log has taken it; state.Apply checks it again.
package schedule

import (
	"fmt"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// Policy are the waits.
type Policy struct {
	// WorkerLease: a worker that was not heard for this long is gone; a new leader counts every registered worker as alive for
	// this long from its own start.
	WorkerLease time.Duration
	// ReportWait: after the first member has left a generation, the others have this long to say so too.
	ReportWait time.Duration
	// HolderTimeout: how long the holders of a state may be unreachable before it is given up, unless the job says otherwise.
	HolderTimeout time.Duration
	// GrowDelay: a running gang is interrupted for joiners that are ready, one of which has been there for this long, so that several come as one. A
	// worker that could not get ready tries again after ten times as long.
	GrowDelay time.Duration
	// ForgetWorker: a worker that nobody has heard of for this long is no longer listed.
	ForgetWorker time.Duration
}

// DefaultPolicy is what the product ships with.
func DefaultPolicy() Policy {
	return Policy{WorkerLease: 2 * time.Second, ReportWait: time.Second, HolderTimeout: 10 * time.Second, GrowDelay: 500 * time.Millisecond, ForgetWorker: 10 * time.Minute}
}

// Validate names the field, the value and what is allowed.
func (p Policy) Validate() error {
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"worker lease", p.WorkerLease}, {"report wait", p.ReportWait}, {"holder timeout", p.HolderTimeout}, {"grow delay", p.GrowDelay}, {"forget worker", p.ForgetWorker}} {
		if f.value <= 0 || f.value > 24*time.Hour {
			return fmt.Errorf("%s %v: want more than 0, at most 24h", f.name, f.value)
		}
	}
	return nil
}

// View is everything that a decision depends on, beside time and policy.
type View struct {
	State   state.View
	Since   time.Time                       // start of this leadership
	Workers map[string]Worker               // by id: those that have been attached to this leader
	Steps   map[string]Progress             // by job: the newest progress that this leader has heard of
	Benched map[string]map[string]time.Time // by job, then worker: until when it stays out (Bench.Until)
}

// Worker is what the leader knows of a worker beside its registration.
type Worker struct {
	Incarnation string
	Attached    bool
	AttachedAt  time.Time
	Heard       time.Time // last message
	DetachedAt  time.Time // if it is not attached
	Draining    bool      // it wants no new generation
	Holding     Holding
	Prepared    string    // the job that it is ready to train, if any
	Unready     string    // the job that it could not get ready for,
	UnreadyAt   time.Time // the last time
}

// Holding is the gang that a worker is in, as it says, and the state that it holds.
type Holding struct {
	Job        string // empty: none
	Generation uint64
	Step       int64 // completed steps of its state; -1: it has none
	Left       bool  // it has left the generation and waits for a newer one
	LeftAt     time.Time
	Planned    bool   // it left by plan, not because of a fault
	Culprit    string // whom it names
	How        string
	Hung       bool // the culprit's beat stood still
}

// Progress is how far a generation has come.
type Progress struct {
	Generation uint64
	Step       int64
}

// Action is what a gang is asked for.
type Action int

// The actions.
const (
	Regroup Action = iota + 1 // leave after the next step, a new generation follows
	Pause                     // checkpoint, then leave
	Cancel                    // leave
)

// String is the action as people read it.
func (a Action) String() string { return [...]string{"none", "regroup", "pause", "cancel"}[a] }

// Decision is what Plan wants.
type Decision struct {
	Commands []*logpb.Command  // for the log, in this order
	Asks     map[string]Ask    // by job: what its gang should be asked, once
	Notes    map[string]string // by job: why it is not getting on, for people
	Prepares map[string]string // by worker: the job that it should get ready for
	Blamed   map[string]string // by job with a new generation: the worker that the fault is laid on (Bench.Blame)
}

// Ask is a request to the current generation of a gang.
type Ask struct {
	Generation uint64
	Action     Action
	Why        string
}
