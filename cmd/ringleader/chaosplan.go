package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader"
)

// The jobs of chaos: short, of small steps, with checkpoints often enough that some are damaged and some are needed.
const (
	chaosSteps        = 60
	chaosEvery        = 6
	chaosRound        = 5 // faults that strike one cluster
	chaosCoordinators = 3
	chaosMost         = 4 // workers alive at a time
)

// chaosPlan is the fate of one cluster.
type chaosPlan struct {
	Workers int      `json:"workers"`
	S3      bool     `json:"s3"` // its checkpoints are there, and not in a directory
	Faults  []string `json:"faults"`
}

// flags are the faults as ringleader local takes them.
func (p chaosPlan) flags() string {
	var b strings.Builder
	for _, f := range p.Faults {
		b.WriteString(" --fault " + f)
	}
	return b.String()
}

// planChaos is the fate of a round's cluster: a function of its arguments alone, so that a seed finds it again.
func planChaos(seed uint64, round, faults int, s3 bool) chaosPlan {
	p := planner{Rand: rand.New(rand.NewPCG(seed, uint64(round)))}
	p.plan.S3 = s3
	p.plan.Workers = 2 + p.IntN(2)
	for i := range p.plan.Workers {
		p.alive = append(p.alive, i)
	}
	p.started = p.plan.Workers
	for i, step := range p.steps(faults) {
		p.last = i == faults-1
		p.plan.Faults = append(p.plan.Faults, p.fault(step))
	}
	return p.plan
}

type planner struct {
	*rand.Rand
	plan    chaosPlan
	alive   []int // start indices
	started int
	damaged bool            // the newest checkpoint
	waits   bool            // a fault strikes the next download
	last    bool            // no fault follows
	summed  ringleader.Step // at which a sum was flipped; 0: at none
}

// steps draws different ones, in order. The first two and the last few are left alone: there must be something to lose, and time to recover.
func (p *planner) steps(n int) []ringleader.Step {
	var steps []ringleader.Step
	for _, s := range p.Perm(chaosSteps - 8)[:n] {
		steps = append(steps, ringleader.Step(s+3))
	}
	slices.Sort(steps)
	return steps
}

// fault draws one that can strike, given what is alive.
func (p *planner) fault(step ringleader.Step) string {
	if p.waits || p.damaged && p.IntN(2) == 0 { // now the checkpoint is wanted
		p.damaged, p.waits = false, false
		return fmt.Sprintf("restart:workers@%d", step)
	}
	if p.plan.S3 && p.IntN(2) == 0 {
		return p.serverFault(step)
	}
	for {
		f := faultTable[p.IntN(len(faultTable))]
		switch {
		case f.kind == "kill" && f.on == onLeader: // two in one cluster would leave it without a majority: it is restarted instead
			continue
		case f.on == onWorker && f.kind != "join" && p.summed > 0 && step == p.summed+1: // the one with the wrong state could be the only one that is left
			continue
		case (f.kind == "kill" || f.kind == "drain") && len(p.alive) < 2, f.kind == "join" && len(p.alive) >= chaosMost:
			continue
		}
		if p.damaged = p.damaged || f.on == onCheckpoint; f.kind == "flip-sum" {
			p.summed = step
		}
		s := f.kind + ":" + f.on
		switch {
		case f.kind == "join":
			p.alive, p.started = append(p.alive, p.started), p.started+1
		case f.on == onWorker:
			i := p.IntN(len(p.alive))
			s += fmt.Sprintf(":%d", p.alive[i])
			if f.kind == "kill" || f.kind == "drain" {
				p.alive = slices.Delete(p.alive, i, i+1)
			}
		}
		s += fmt.Sprintf("@%d", step)
		switch {
		case f.kind == "skew":
			s += fmt.Sprintf(":%dm", 1+p.IntN(300))
		case f.lasts:
			s += fmt.Sprintf(":%dms", 100*(2+p.IntN(19))) // below and above the deadline for hangs
		}
		return s
	}
}

// serverFault draws one of the S3 server.
func (p *planner) serverFault(step ringleader.Step) string {
	for {
		f := serverTable[p.IntN(len(serverTable))]
		if p.waits = f.kind == "cut-download" || f.kind == "flip-download"; p.waits && p.last {
			continue // nobody would read a checkpoint any more
		}
		s := fmt.Sprintf("%s:%s@%d", f.kind, f.on, step)
		if f.lasts {
			s += fmt.Sprintf(":%dms", 100*(2+p.IntN(29))) // below and above the deadline for stores
		}
		return s
	}
}
