package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
	"github.com/ringleader-dev/ringleader/worker"
)

// event is a line that a supervised child writes on its standard output.
type event struct {
	Event      string                `json:"event"` // attached, asked, assigned, joined, left, step; or the order of a trouble that was obeyed
	Generation ringleader.Generation `json:"generation"`
	Rank       ringleader.Rank       `json:"rank"`
	Size       int                   `json:"size"`
	Step       ringleader.Step       `json:"step"`
	Loss       float64               `json:"loss"`
	Users      int64                 `json:"users"`
	Tokens     int64                 `json:"tokens"`
	Seconds    float64               `json:"seconds"`
	Widened    bool                  `json:"widened,omitempty"`
}

// supervised ties a child process to the ringleader that started it: the child ends when its standard input does, so that nothing is
// left behind however the parent ended. A worker also says on standard output what it completed, and waits at the steps in --hold for
// a line "go STEP".
type supervised struct {
	ctx  context.Context
	stop context.CancelFunc
	out  io.Writer
	mu   sync.Mutex
	held map[ringleader.Step]chan struct{}

	troubles *troubles // nil: orders to make some are not obeyed
}

// newSupervised begins to listen. The process waits at the steps in hold.
func newSupervised(ctx context.Context, in io.Reader, out io.Writer, hold []int64, t *troubles) *supervised {
	s := &supervised{out: out, held: map[ringleader.Step]chan struct{}{}, troubles: t}
	s.ctx, s.stop = context.WithCancel(ctx)
	for _, n := range hold { // before the parent can say "go"
		s.held[ringleader.Step(n)] = make(chan struct{})
	}
	go s.listen(in)
	return s
}

// listen follows the parent's orders. It ends the process when the parent is gone without having said "stop": whatever the
// process was waiting for, nobody is left to see it.
func (s *supervised) listen(in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		word, arg, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "stop":
			s.stop()
		case "go":
			if step, err := strconv.ParseInt(arg, 10, 64); err == nil {
				s.release(ringleader.Step(step))
			}
		default:
			if s.troubles != nil {
				s.troubles.obey(word, arg)
				s.say(event{Event: word}) // it is so from now on
			}
		}
	}
	if s.ctx.Err() == nil {
		os.Exit(exitInterrupted)
	}
}

func (s *supervised) release(step ringleader.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.held[step]; c != nil {
		close(c)
		delete(s.held, step)
	}
}

func (s *supervised) gate(step ringleader.Step) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[step]
}

func (s *supervised) say(e event) {
	line, err := json.Marshal(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		_, err = s.out.Write(append(line, '\n'))
	}
	if err != nil {
		s.stop() // nobody listens any more
	}
}

// Attached implements worker.Observer.
func (s *supervised) Attached() { s.say(event{Event: "attached"}) }

// Asked implements worker.Observer.
func (s *supervised) Asked(rpcpb.ChangeAction) { s.say(event{Event: "asked"}) }

// Assigned implements worker.Observer.
func (s *supervised) Assigned(m worker.Membership) { s.tell("assigned", m) }

// Left implements worker.Observer.
func (s *supervised) Left(m worker.Membership) { s.tell("left", m) }

// Joined implements worker.Observer.
func (s *supervised) Joined(m worker.Membership) { s.tell("joined", m) }

func (s *supervised) tell(what string, m worker.Membership) {
	s.say(event{Event: what, Generation: m.Generation, Rank: m.Rank, Size: m.Size, Step: m.Step})
}

// Completed implements worker.Observer.
func (s *supervised) Completed(ctx context.Context, r worker.StepReport) {
	gate := s.gate(r.Step)
	s.say(event{Event: "step", Generation: r.Generation, Rank: r.Rank, Size: r.Size, Step: r.Step,
		Loss: r.Loss, Users: r.Users, Tokens: r.Tokens, Seconds: r.Seconds, Widened: r.Widened})
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
	if s.troubles != nil && s.troubles.memory != nil {
		s.troubles.memory.betweenSteps()
	}
}
