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
		g.evaluated(r.step, "skipped: the one before it is still running", nil)
		return nil
	}
	st, err := r.snapshot()
	if err != nil {
		return err
	}
	g.saver.background(func(ctx context.Context) {
		defer g.evaluating.Store(false)
		switch e, err := g.agent.cfg.Evaluate(ctx, r.what, r.data, st.Params); {
		case ctx.Err() != nil:
		case err != nil:
			g.evaluated(st.Step, "failed: "+err.Error(), nil)
		default:
			g.evaluated(st.Step, e.Text, &e.Score)
		}
	})
	return nil
}

func (g *generation) evaluated(step ringleader.Step, text string, score *float64) {
	g.agent.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Evaluated{Evaluated: &rpcpb.Evaluated{
		JobId: g.assign.JobId, Generation: g.assign.Generation, Step: int64(step), Text: text, Score: score}}})
}
