package worker

import (
	"context"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// evaluate scores the state beside training, on rank 0, when how.evaluate says so. One that falls due while another runs is skipped: it
// must never hold a step up.
func (g *generation) evaluate() error {
	r := g.replica
	every := ringleader.Step(g.spec.How.Evaluate.Every)
	if g.rank != 0 || g.agent.cfg.Evaluate == nil || every == 0 || r.step%every != 0 {
		return nil
	}
	if !g.evaluating.CompareAndSwap(false, true) {
		g.evaluated(r.step, "skipped: the one before it is still running")
		return nil
	}
	st, err := r.snapshot()
	if err != nil {
		return err
	}
	g.saver.background(func(ctx context.Context) {
		defer g.evaluating.Store(false)
		text, err := g.agent.cfg.Evaluate(ctx, r.what, r.data, st.Params)
		if err != nil {
			text = "failed: " + err.Error()
		}
		if ctx.Err() == nil {
			g.evaluated(st.Step, text)
		}
	})
	return nil
}

func (g *generation) evaluated(step ringleader.Step, text string) {
	g.agent.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Evaluated{Evaluated: &rpcpb.Evaluated{
		JobId: g.assign.JobId, Generation: g.assign.Generation, Step: int64(step), Text: text}}})
}
