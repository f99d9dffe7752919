// Package dataset reads user sequences: the folder layout that an import (dataset/importer) or a user's own pipeline writes, and
// from it the packed batches that a shard contributes to a step.
//
// # Layout
//
//	dataset.json                 Meta
//	sequences/part-*.parquet     one row per user, ordered by user id: user, and lists item, time_ms, action, surface, duration
//	items.parquet                row i = item i: id, text, interest
//	item_vectors.safetensors     tensor "vectors", items x dimension, float32 or float16
//
// Everything that the cut and the hold-out decide (which users train, what the future is) is a function of the data set and
// stored with it; a job cannot move it.
package dataset

import (
	"context"
	"io"

	"github.com/ringleader-dev/ringleader"
)

// Source is where a data set's files are read from; every checkpoints.Store is one.
type Source interface {
	URL() string
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// Meta is dataset.json.
type Meta struct {
	Version   int      `json:"version"` // 1
	Name      string   `json:"name"`
	Digest    string   `json:"digest"` // content digest: see ComputeDigest
	Users     int      `json:"users"`
	Items     int      `json:"items"`
	Actions   int64    `json:"actions"`
	FirstMS   int64    `json:"first_ms"` // time range, unix milliseconds
	LastMS    int64    `json:"last_ms"`
	CutMS     int64    `json:"cut_ms"`    // training sees nothing later; evaluation targets are later
	EvalDays  float64  `json:"eval_days"` // length of the evaluation window after the cut
	Holdout   float64  `json:"holdout"`   // fraction of users that never train
	Types     []string `json:"actions_vocabulary"`
	Positive  []bool   `json:"positive"`            // by action type
	Surfaces  []string `json:"surfaces_vocabulary"` // empty: no surface column
	Durations bool     `json:"durations"`           // false: no duration column
	VectorDim int      `json:"vector_dim"`
	Vectors   string   `json:"vectors"` // "stand-in: text+cooccurrence+degree" or where the user's own came from
	Files     []File   `json:"files"`
	Source    []string `json:"source"` // what was imported, base names
}

// File is one file of the data set.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Sequence is one user's actions in order of (time, all other columns). The slices alias mapped memory: read only.
type Sequence struct {
	ID       string
	Item     []int32
	TimeMS   []int64
	Action   []int32
	Surface  []int32   // nil without a surface column
	Duration []float32 // seconds; nil without a duration column
}

// Batch is what one shard contributes to one step: the windows of its users, packed without padding. Buffers are reused
// from call to call.
type Batch struct {
	Step  ringleader.Step // the update that this batch is for: 0 is the first
	Shard ringleader.Shard

	User   []int32 // S, indices of users
	Offset []int32 // S+1: tokens of user s are Offset[s] .. Offset[s+1]-1
	// Tokens, oldest first within a user:
	Item     []int32
	TimeMS   []int64
	Action   []int32
	Surface  []int32   // nil without a surface column
	Duration []float32 // nil without a duration column

	// Positives that a token's horizon may reach: those with time in (first token, last token + horizon], never past the cut, by time.
	PosOffset []int32 // S+1
	PosItem   []int32
	PosTimeMS []int64
	// All of a user's training positives, distinct, ascending: the user-level mask.
	OwnOffset []int32 // S+1
	OwnItem   []int32

	Negative []int32 // the pool's draws: in-batch first, then uniform; duplicates kept; empty without users

	turns []turn // of the users
}
