package coordinator

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader/coordinator/schedule"
	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// deliver tells every attached worker what it should know and has not been told on its stream. It looks at the applied state
// alone, so that nothing leaves before it is committed, and that a new leader or a new stream needs no special care.
func (l *leadership) deliver() {
	v := l.c.fsm.View()
	for _, j := range v.Jobs {
		if state.Live(j) {
			l.deliverGang(j)
		}
	}
	for id, s := range l.sessions {
		l.deliverPrepare(s, v)
		w := l.workers[id]
		job := w.Holding.Job
		if job == "" {
			continue
		}
		switch j := v.Job(job); {
		case j == nil || !state.Live(j):
			s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Release{Release: &rpcpb.Release{JobId: job}}})
			w.Holding, w.Prepared = schedule.Holding{}, ""
			l.workers[id] = w
		case w.Holding.Generation < state.Current(j).Number && !w.Holding.Left:
			// It trains in a gang that has been replaced (a part that was cut off): it should stop, and then may join.
			s.change(changeKey{job, w.Holding.Generation, rpcpb.ChangeAction_CHANGE_ACTION_CANCEL})
		}
	}
}

// deliverPrepare has an idle worker get ready for a job, and give up one that is over.
func (l *leadership) deliverPrepare(s *session, v state.View) {
	w := l.workers[s.id]
	if j := v.Job(w.Prepared); w.Prepared != "" && (j == nil || !state.Live(j)) && w.Holding.Job != w.Prepared {
		s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Release{Release: &rpcpb.Release{JobId: w.Prepared}}})
		w.Prepared = ""
		l.workers[s.id] = w
	}
	id := l.prepares[s.id]
	j := v.Job(id)
	if j == nil || !state.Live(j) || s.prepare == id {
		return
	}
	s.prepare = id
	s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Prepare{Prepare: &rpcpb.Prepare{JobId: id, Spec: j.Spec}}})
}

func (l *leadership) deliverGang(j *logpb.Job) {
	g := state.Current(j)
	for rank, m := range g.Members {
		s, w := l.sessions[m.WorkerId], l.workers[m.WorkerId]
		if s == nil || w.Incarnation != m.Incarnation {
			continue
		}
		if w.Holding.Job != j.Id || w.Holding.Generation < g.Number {
			s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Assign{Assign: l.assignment(j, g)}})
			w.Holding, w.Prepared = schedule.Holding{Job: j.Id, Generation: g.Number, Step: -1}, j.Id
			l.workers[m.WorkerId] = w
		}
		if ask, ok := l.asks[j.Id]; ok && ask.Generation == g.Number && !w.Holding.Left {
			s.change(changeKey{j.Id, g.Number, changeAction(ask.Action)})
		}
		if rank == 0 {
			l.deliverManifest(s, j, g)
		}
	}
}

// change asks once per stream.
func (s *session) change(k changeKey) {
	if s.asked != k {
		s.asked = k
		s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Change{Change: &rpcpb.Change{JobId: k.job, Generation: k.generation, Action: k.action}}})
	}
}

func changeAction(a schedule.Action) rpcpb.ChangeAction {
	switch a {
	case schedule.Pause:
		return rpcpb.ChangeAction_CHANGE_ACTION_PAUSE
	case schedule.Cancel:
		return rpcpb.ChangeAction_CHANGE_ACTION_CANCEL
	}
	return rpcpb.ChangeAction_CHANGE_ACTION_REGROUP
}

func (l *leadership) assignment(j *logpb.Job, g *logpb.Generation) *rpcpb.Assign {
	a := &rpcpb.Assign{Term: l.term, Index: g.Index, JobId: j.Id, Generation: g.Number, Spec: j.Spec, ResumeStep: g.ResumeStep, Holders: g.Holders, ResumeUrl: g.ResumeUrl}
	for _, m := range g.Members {
		a.Members = append(a.Members, &rpcpb.Member{WorkerId: m.WorkerId, Address: m.Address, Shards: m.Shards})
	}
	return a
}

// deliverManifest lets rank 0 write the manifest of the newest checkpoint whose parts are all in the store.
func (l *leadership) deliverManifest(s *session, j *logpb.Job, g *logpb.Generation) {
	step, files := l.gathering[j.Id].complete(g)
	key := stepKey{j.Id, g.Number, step}
	if step < 0 || s.manifest == key {
		return
	}
	s.manifest = key
	slices.SortFunc(files, func(a, b *rpcpb.FileInfo) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Sha256, b.Sha256))
	})
	files = slices.CompactFunc(files, func(a, b *rpcpb.FileInfo) bool { return a.Name == b.Name && a.Sha256 == b.Sha256 })
	s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_WriteManifest{WriteManifest: &rpcpb.WriteManifest{JobId: j.Id, Generation: g.Number, Step: step, Files: files}}})
}
