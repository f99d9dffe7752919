// Package job is the job file: the two halves of a training run's description, their defaults, validation and digest.
//
// "What" fixes the bits of the result; its canonical hash is the job digest. "How" says where and with what
// resources, and may change at any time without changing a bit.
package job

import "time"

// Spec is a job file.
type Spec struct {
	Name string `yaml:"name" json:"name"` // shown to people; part of no digest
	What What   `yaml:"what" json:"what"`
	How  How    `yaml:"how" json:"how"`
}

// What fixes the bits of the result.
type What struct {
	Data       string `yaml:"data" json:"data"`               // URL of the data set; its place is not part of the digest
	DataDigest string `yaml:"data_digest" json:"data_digest"` // content digest of the data set, pinned when the job is submitted

	Seed          uint64 `yaml:"seed" json:"seed"`
	Shards        int    `yaml:"shards" json:"shards"`                   // fixed parts of the users
	UsersPerShard int    `yaml:"users_per_shard" json:"users_per_shard"` // users that a shard contributes to a step
	Steps         int64  `yaml:"steps" json:"steps"`                     // optimizer updates; or:
	Epochs        int64  `yaml:"epochs" json:"epochs"`                   // passes over the data

	Model     Model     `yaml:"model" json:"model"`
	Loss      Loss      `yaml:"loss" json:"loss"`
	Negatives Negatives `yaml:"negatives" json:"negatives"`
	Optimizer Optimizer `yaml:"optimizer" json:"optimizer"`

	Precision string `yaml:"precision" json:"precision"` // what matrix products read: float32, or bfloat16; sums, state and all else are float32
	Reduction string `yaml:"reduction" json:"reduction"` // exact64, exact32, exact16; or float32, bfloat16, which leave the promise
	Mixed     string `yaml:"mixed" json:"mixed"`         // refuse or allow workers of several numerics classes in one job
	ISA       string `yaml:"isa" json:"isa"`             // cap on the CPU instruction set: empty (best there is), avx2, avx512, avx512_bf16, amx
}

// Model are the sizes and switches of PinnerFormer. Sizes that are left out come from the preset.
type Model struct {
	Preset      string  `yaml:"preset" json:"preset"`               // tiny, small, pinnerformer, seed
	Layers      int     `yaml:"layers" json:"layers"`               // L
	Width       int     `yaml:"width" json:"width"`                 // H
	Heads       int     `yaml:"heads" json:"heads"`                 //
	FFN         int     `yaml:"ffn" json:"ffn"`                     // inner width of the feed-forward blocks and of the output MLP, 4H
	Dim         int     `yaml:"dim" json:"dim"`                     // D, of the embeddings
	Window      int     `yaml:"window" json:"window"`               // M, most recent actions
	ActionDim   int     `yaml:"action_dim" json:"action_dim"`       // d_a
	SurfaceDim  int     `yaml:"surface_dim" json:"surface_dim"`     // d_s
	ItemHidden  int     `yaml:"item_hidden" json:"item_hidden"`     // inner width of the item tower
	Dropout     float64 `yaml:"dropout" json:"dropout"`             // [0, 1)
	Temperature float64 `yaml:"temperature" json:"temperature"`     // initial tau, >= 0.01
	Init        string  `yaml:"init" json:"init"`                   // identity (towers start as the identity on the item vector) or normal
	Drop        Drop    `yaml:"drop_features" json:"drop_features"` // leave-one-out ablation
}

// Drop switches single features off (the paper's Table 6).
type Drop struct {
	Item     bool `yaml:"item" json:"item"`
	Action   bool `yaml:"action" json:"action"`
	Surface  bool `yaml:"surface" json:"surface"`
	Duration bool `yaml:"duration" json:"duration"`
	Absolute bool `yaml:"absolute_time" json:"absolute_time"`
	Relative bool `yaml:"relative_time" json:"relative_time"`
	Gap      bool `yaml:"gap_time" json:"gap_time"`
	Position bool `yaml:"position" json:"position"`
}

// Loss is the objective.
type Loss struct {
	Objective    string  `yaml:"objective" json:"objective"`                  // dense_all_action_exact, dense_all_action, all_action, sasrec, next
	Weights      string  `yaml:"weights" json:"weights"`                      // seed or pairs
	NewestWeight string  `yaml:"newest_weight" json:"newest_weight,omitzero"` // of a user's newest position: one, like every other; equal, as much as all others together
	Positions    int     `yaml:"positions" json:"positions,omitzero"`         // random ones of each user, of dense_all_action; 0 for the other objectives
	HorizonDays  float64 `yaml:"horizon_days" json:"horizon_days"`            // K
	LogQ         string  `yaml:"logq" json:"logq"`                            // on, off, corrected
}

// Negatives is the pool of negatives of a shard.
type Negatives struct {
	InBatch int `yaml:"in_batch" json:"in_batch"` // draws from the shard's own positives
	Random  int `yaml:"random" json:"random"`     // uniform draws from the catalogue
}

// Optimizer is the update.
type Optimizer struct {
	Name        string  `yaml:"name" json:"name"` // adamw, or adam: without weight decay
	LR          float64 `yaml:"lr" json:"lr"`
	Beta1       float64 `yaml:"beta1" json:"beta1"`
	Beta2       float64 `yaml:"beta2" json:"beta2"`
	Eps         float64 `yaml:"eps" json:"eps"`
	WeightDecay float64 `yaml:"weight_decay" json:"weight_decay"` // on matrices only
	Schedule    string  `yaml:"schedule" json:"schedule"`         // cosine or constant
	Warmup      float64 `yaml:"warmup" json:"warmup"`             // fraction of the steps
	Clip        float64 `yaml:"clip" json:"clip"`                 // global norm; 0 = none
}

// How says where and with what; no part of it changes a bit.
type How struct {
	Store      string     `yaml:"store" json:"store"` // where checkpoints are written; empty: the folder of a local run, a job that is submitted needs one
	Checkpoint Checkpoint `yaml:"checkpoint" json:"checkpoint"`
	Evaluate   Evaluate   `yaml:"evaluate" json:"evaluate"`
	Verify     Verify     `yaml:"verify" json:"verify,omitzero"`
	Workers    Workers    `yaml:"workers" json:"workers"`
	Device     string     `yaml:"device" json:"device"` // cpu or cuda; a job with what.mixed: allow takes workers with any device
	Priority   int        `yaml:"priority" json:"priority"`
	Deadlines  Deadlines  `yaml:"deadlines" json:"deadlines"`
	StopAt     int64      `yaml:"stop_at" json:"stop_at"` // end cleanly, with a checkpoint, after this step; 0 = run to the end
}

// Checkpoint is the cadence and retention of checkpoints.
type Checkpoint struct {
	Every     int64 `yaml:"every" json:"every"`                    // steps; 0 = only the final one
	Keep      int   `yaml:"keep" json:"keep"`                      // newest verified ones that are kept
	KeepEvery int64 `yaml:"keep_every" json:"keep_every,omitzero"` // those at multiples of so many steps are kept for good; 0 = none
	KeepBest  int   `yaml:"keep_best" json:"keep_best,omitzero"`   // so many with the best Recall@10 of how.evaluate are kept; 0 = none
}

// Evaluate is the cadence of evaluations during training.
type Evaluate struct {
	Every int64 `yaml:"every" json:"every"` // steps; 0 = never
}

// Verify is the cadence of steps in which every shard is computed by two workers.
type Verify struct {
	Every int64 `yaml:"every" json:"every"` // steps; 0 = never
}

// Workers bounds the gang.
type Workers struct {
	Min int `yaml:"min" json:"min"` // the job waits below this
	Max int `yaml:"max" json:"max"` // at most the number of shards
}

// Deadlines bound every wait.
type Deadlines struct {
	Hang     Duration `yaml:"hang" json:"hang"`         // a member whose beat stands still for this long is hung
	Store    Duration `yaml:"store" json:"store"`       // one attempt at a store operation
	Holder   Duration `yaml:"holder" json:"holder"`     // how long the holders of a state may be unreachable before it is given up
	Assemble Duration `yaml:"assemble" json:"assemble"` // how long a new generation may take to link up
}

// Duration is a time.Duration that is written as text, "2s".
type Duration time.Duration
