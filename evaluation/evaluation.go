// Package evaluation asks how well a model foresees what users do next, and what simple baselines would have reached.
//
// # Protocol
//
// Users that never trained and have at least MinHistory actions up to the data set's cut are embedded at the cut. Their targets are the
// positives in the evaluation window after it; a user without any is not evaluated. Recall@10 is the mean over users of the mean over a user's
// targets of the probability that the target is among the 10 best of the whole catalogue. A target is compared with the catalogue, not with
// the other targets; repeated actions on one item are as many targets. Ties count by expected rank: with g items strictly better and e other items
// equal, the probability is (10-g)/(e+1), within 0 and 1. (Counting only strictly better items would flatter whoever
// scores most items equal.)
//
// Everything is said twice: for all targets, and for new ones only, where every item of the user's history leaves the targets and the ranking. Where people
// buy the same things again, their own history is the strongest baseline on all targets, and new ones are the fair question to a model without item
// identities.
//
// P90 coverage is the smallest fraction of the catalogue that makes up 90 % of all users' 10 best; interest entropy is the entropy (natural
// logarithm) of the interests of a user's 50 best, averaged over users. Both are taken over the population: evaluated users and
// training users, thinned evenly if there are many.
//
// # Hits and gain
//
// What the literature on time splits reports is computed on the ranking without the user's history. HR@10 is the fraction of users that find any of
// their new targets among the 10 best; NDCG@10 is the sum of 1/log2(1+place) over the targets found, divided by that of a ranking that begins
// with them. Repeated actions on one item are one target here. Both are expectations over all orders of equal items. Items without a single
// action before the cut stay in the ranking and among the targets, because a model of content can find them; where others drop them, figures tend to be
// higher.
//
// # Intervals
//
// Intervals are 95 % by bootstrap: 1000 resamples of the users, with replacement, from the 2.5th to the 97.5th percentile. The difference of two
// rankings is resampled as such, the same users for both: one may be clearly ahead although the two intervals overlap. An interval tells how
// far other users would give other figures. It does not tell what another seed of the training would.
//
// # Staleness
//
// A served embedding is as old as the pipeline that makes it. Once, Daily and Realtime score each target with the embedding that there would be when
// it comes up. All three ask for the same targets: new is what the user did not have up to the cut. The rankings differ from target to target, so
// that coverage and entropy are those at the cut only; the baselines stay at the cut too.
//
// The same inputs give the same report, byte for byte, on any number of threads.
package evaluation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
)

// Options of an evaluation.
type Options struct {
	Data   *dataset.Dataset
	Job    job.What             // the model's sizes
	Params []checkpoints.Tensor // of a state, in the model's order
	Device device.Device        // what computes the embeddings

	MinHistory int // fewest actions up to the cut; 0 means 5
	Threads    int // that rank; 0 means one for each CPU
	// SkipBaselines leaves them out: they are the same at every step of a job.
	SkipBaselines bool
	// Staleness asks for more than Once, which there always is.
	Staleness []Staleness
	// Losses are those of the training, in the order of steps, if they are known. The page shows them.
	Losses []StepLoss
	// CoverageUsers bounds the users whose 10 best coverage and entropy are taken over; those that are evaluated are always among them. 0 means 4096.
	CoverageUsers int
	// PerUser reports each user's recall too, for each staleness.
	PerUser bool
}

const (
	recallAt        = 10
	entropyAt       = 50
	mostPopulation  = 4096
	defaultHistory  = 5
	resamples       = 1000
	intervalPercent = 95
)

// Run evaluates a model and, on the same users, the baselines.
func Run(ctx context.Context, o Options) (*Report, error) {
	r, err := run(ctx, &o)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	return r, nil
}

func run(ctx context.Context, o *Options) (_ *Report, err error) {
	p, err := prepare(o)
	if err != nil {
		return nil, err
	}
	e, err := openEmbedder(o, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	v, err := e.atCut(ctx, p)
	if err != nil {
		return nil, err
	}
	model, err := evaluate(ctx, p, v, o.Threads)
	if err != nil {
		return nil, err
	}
	r := newReport(o)
	r.Notes = e.notes
	r.Result = p.result(model)
	if !o.SkipBaselines {
		if r.Baselines, err = baselines(ctx, o, p, model); err != nil {
			return nil, err
		}
	}
	rankings, err := stales(ctx, o, p, e)
	if err != nil {
		return nil, err
	}
	r.Staleness = staleness(rankings, model)
	if o.PerUser {
		rankings[Once] = model
		r.PerUser = perUser(rankings)
	}
	return r, nil
}

// Baselines evaluates only the baselines; of the options it reads Data, MinHistory and Threads.
func Baselines(ctx context.Context, o Options) (map[string]Result, error) {
	p, err := prepare(&o)
	if err != nil {
		return nil, fmt.Errorf("evaluate baselines: %w", err)
	}
	all, err := baselines(ctx, &o, p, nil)
	if err != nil {
		return nil, fmt.Errorf("evaluate baselines: %w", err)
	}
	return all, nil
}

func prepare(o *Options) (*population, error) {
	if o.Data == nil {
		return nil, errors.New("no data set")
	}
	if o.MinHistory < 0 || o.Threads < 0 || o.CoverageUsers < 0 {
		return nil, fmt.Errorf("min history %d, threads %d, coverage users %d: want none negative", o.MinHistory, o.Threads, o.CoverageUsers)
	}
	for _, s := range o.Staleness {
		if !slices.Contains(allStaleness, s) {
			return nil, unknownStaleness(string(s))
		}
	}
	if o.MinHistory == 0 {
		o.MinHistory = defaultHistory
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.CoverageUsers == 0 {
		o.CoverageUsers = mostPopulation
	}
	p := populate(o.Data, o.MinHistory)
	p.thin(o.CoverageUsers)
	if p.evaluated == 0 {
		m := o.Data.Meta()
		return nil, fmt.Errorf("data set %s has no user to evaluate: of %d users, hold-out %g, none that is held out has %d actions up to the cut and a positive in the %g days after it",
			m.Name, m.Users, m.Holdout, o.MinHistory, m.EvalDays)
	}
	return p, nil
}

// baselines evaluates them all, beside a model if there is one.
func baselines(ctx context.Context, o *Options, p *population, model *ranking) (map[string]Result, error) {
	all := map[string]Result{}
	for _, b := range newBaselines(o.Data, p) {
		r, err := evaluate(ctx, p, b.scorer, o.Threads)
		if err != nil {
			return nil, fmt.Errorf("baseline %s: %w", b.name, err)
		}
		result := p.result(r)
		if model != nil {
			lead := model.minus(r)
			result.ModelMinus = &lead
		}
		all[b.name] = result
	}
	return all, nil
}
