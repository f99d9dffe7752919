package main

import (
	"encoding/json"
	"time"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// jobJSON is a job as scripts read it: job list --json prints a list of them, job show --json one with its spec and history.
type jobJSON struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	State       string           `json:"state"` // queued, running, paused, finishing, succeeded, failed, cancelled
	Reason      string           `json:"reason"`
	JobDigest   string           `json:"job_digest"`
	Step        int64            `json:"step"`
	Steps       int64            `json:"steps"` // 0: only the data tells, the job counts epochs
	Submitted   time.Time        `json:"submitted"`
	Ended       time.Time        `json:"ended,omitzero"`
	Progress    *progressJSON    `json:"progress,omitempty"` // of the newest generation, once it has made a step
	Generations []generationJSON `json:"generations"`        // the newest alone in a list
	Checkpoints []checkpointJSON `json:"checkpoints"`        // the newest alone in a list
	Events      []eventJSON      `json:"events,omitempty"`
	Spec        json.RawMessage  `json:"spec,omitempty"` // as job.json beside its checkpoints
}

type progressJSON struct {
	Generation   uint64    `json:"generation"`
	Loss         float64   `json:"loss"`
	Users        uint64    `json:"users"` // trained since the job began
	Tokens       uint64    `json:"tokens"`
	UsersPerS    float64   `json:"users_per_s,omitempty"` // moving averages of the leader, who hears of every step
	TokensPerS   float64   `json:"tokens_per_s,omitempty"`
	StepSeconds  float64   `json:"step_s,omitempty"`
	ShardSeconds []float64 `json:"shard_s,omitempty"` // by rank
}

type generationJSON struct {
	Number    uint64    `json:"number"`
	Members   []string  `json:"members"` // by rank
	FirstStep int64     `json:"first_step"`
	Reason    string    `json:"reason"`
	Created   time.Time `json:"created"`
}

type checkpointJSON struct {
	Step        int64    `json:"step"`
	StateDigest string   `json:"state_digest"`
	Directory   string   `json:"directory"` // below the spec's how.store
	Generation  uint64   `json:"generation"`
	Final       bool     `json:"final"`
	Score       *float64 `json:"score,omitempty"` // Recall@10 of the evaluation at its step
}

type eventJSON struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

func jobAsJSON(j *rpcpb.JobInfo) jobJSON {
	o := jobJSON{ID: j.Id, Name: j.Name, State: stateName(j.State), Reason: j.Reason, JobDigest: j.JobDigest, Step: stepReached(j), Steps: j.Steps,
		Submitted: milliTime(j.SubmittedMs), Generations: []generationJSON{}, Checkpoints: []checkpointJSON{}, Spec: j.Spec}
	if j.EndedMs != 0 {
		o.Ended = milliTime(j.EndedMs)
	}
	if p := j.Progress; p != nil {
		o.Progress = &progressJSON{Generation: p.Generation, Loss: p.Loss, Users: p.Users, Tokens: p.Tokens, UsersPerS: p.UsersPerS, TokensPerS: p.TokensPerS,
			StepSeconds: p.StepSeconds, ShardSeconds: p.ShardSeconds}
	}
	for _, g := range j.Generations {
		o.Generations = append(o.Generations, generationJSON{Number: g.Number, Members: g.Members, FirstStep: g.FirstStep, Reason: g.Reason, Created: milliTime(g.CreatedMs)})
	}
	for _, c := range j.Checkpoints {
		o.Checkpoints = append(o.Checkpoints, checkpointJSON{Step: c.Step, StateDigest: c.StateDigest, Directory: c.Directory, Generation: c.Generation, Final: c.Final, Score: c.Score})
	}
	for _, e := range j.Events {
		o.Events = append(o.Events, eventJSON{milliTime(e.TimeMs), e.Text})
	}
	return o
}

func milliTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// workerJSON is a line of worker list --json.
type workerJSON struct {
	ID            string `json:"id"`
	State         string `json:"state"` // idle, training, draining, away
	JobID         string `json:"job_id"`
	Host          string `json:"host"`
	Address       string `json:"address"`
	Device        string `json:"device"`
	NumericsClass string `json:"numerics_class"`
}

func workersAsJSON(workers []*rpcpb.WorkerInfo) []workerJSON {
	list := []workerJSON{}
	for _, w := range workers {
		list = append(list, workerJSON{w.Id, workerState(w), w.JobId, w.Host, w.Address, w.Device, w.NumericsClass})
	}
	return list
}
