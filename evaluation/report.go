package evaluation

import "time"

// Recall is how much of their targets users find among the 10 best.
type Recall struct {
	RecallAt10 float64    `json:"recall_at_10"`
	Interval   [2]float64 `json:"interval"`  // 95 %, bootstrap over users
	Users      int        `json:"users"`     // that have targets
	Positives  int        `json:"positives"` // their targets
}

// Figures are what one ranking reaches on one set of targets.
type Figures struct {
	Recall
	Coverage float64  `json:"coverage"` // P90 coverage@10, fraction of the catalogue
	Entropy  *float64 `json:"entropy_at_50,omitempty"`
}

// NewFigures are those of the ranking without the user's history, which the literature measures by hits and gain.
type NewFigures struct {
	Figures
	HitRateAt10 float64 `json:"hit_rate_at_10"` // fraction of the users that find any of their targets among the 10 best
	NDCGAt10    float64 `json:"ndcg_at_10"`     // of distinct targets, divided by what the best ranking reaches
}

// Result are the figures for all targets, and for those that are new to the user.
type Result struct {
	Figures
	NewOnly NewFigures `json:"new_only"`
	// ModelMinus is, for a baseline beside a model, how far the model is ahead of it.
	ModelMinus *Lead `json:"model_minus,omitempty"`
}

// Difference is one Recall@10 minus another on the same users. Its interval comes from differences within users, so that it says more than the two
// recalls' own: users who are easy for one are easy for the other.
type Difference struct {
	RecallAt10 float64    `json:"recall_at_10"`
	Interval   [2]float64 `json:"interval"`
}

// Clear tells whether all of the interval is on one side of 0.
func (d Difference) Clear() bool { return d.Interval[0] > 0 || d.Interval[1] < 0 }

// Lead is a difference on all targets and on new ones.
type Lead struct {
	Difference
	NewOnly Difference `json:"new_only"`
}

// StaleResult is the model's recall if its users are embedded again and again.
type StaleResult struct {
	Recall
	NewOnly   Recall `json:"new_only"`
	MinusOnce Lead   `json:"minus_once"` // how much that is ahead of embedding once, at the cut
}

// UserRecalls are the users' recalls, in the order of the data set: on all targets, and of those who have any, on new ones. Who has one depends on the
// data set and MinHistory alone, so that the recalls of two models can be compared user by user.
type UserRecalls struct {
	All []float64 `json:"all"`
	New []float64 `json:"new_only"`
}

// Report is an evaluation: the model's result and the baselines'.
type Report struct {
	Protocol   string  `json:"protocol"`
	Data       string  `json:"data"`
	DataDigest string  `json:"data_digest"`
	Job        string  `json:"job_digest"`
	Cut        string  `json:"cut"`
	EvalDays   float64 `json:"eval_days"`
	MinHistory int     `json:"min_history"`
	Items      int     `json:"items"`
	Result
	Notes     []string                  `json:"notes,omitempty"` // features that are off because the data set has no column for them
	Baselines map[string]Result         `json:"baselines,omitempty"`
	Staleness map[Staleness]StaleResult `json:"staleness,omitempty"` // Daily, Realtime; Once is the report's own result
	PerUser   map[Staleness]UserRecalls `json:"per_user,omitempty"`  // if Options.PerUser asks for it, Once included

	Losses []StepLoss `json:"-"` // as in the options: only the page shows them
}

const protocol = "Users that never trained, embedded at the cut. Recall@10: how much of what they did in the window after it is among the 10 best of the whole " +
	"catalogue, averaged over users, ties by expected rank; 95 % intervals by bootstrap over users. " +
	"\"new only\" leaves out all that the user had before. Where people come back to the same things, own repeats is the strongest baseline on all targets, " +
	"and \"new only\" is the fair question. " +
	"HR@10 is the fraction of users that find any new target among the 10 best, NDCG@10 the discounted gain of all of them. " +
	"A difference counts if its interval, from the same resamples of users, leaves out 0."

func newReport(o *Options) *Report {
	m := o.Data.Meta()
	return &Report{
		Protocol: protocol, Data: m.Name, DataDigest: m.Digest, Job: o.Job.Digest().String(),
		Cut: time.UnixMilli(m.CutMS).UTC().Format(time.RFC3339), EvalDays: m.EvalDays, MinHistory: o.MinHistory, Items: m.Items, Losses: o.Losses,
	}
}
