// Package serving makes what a recommender serves from a trained model: for now the embeddings of users and items, as files.
//
// # Layout
//
//	embeddings.json                        the current generation's manifest, once more: where a reader begins
//	as-of-<time>-<digest>/                 a generation: all that was known up to a time, seen by one model
//	    users-part-00000.parquet, ...      user, as_of_ms, input_hash, vector; ascending by user
//	    users-part-00000.parquet.sha256    as sha256sum writes and checks it
//	    users.safetensors                  tensor "vectors", users x dim, F16: the parts' rows, in their order
//	    items.parquet                      item, vector; in the order of the data set's catalogue
//	    items.safetensors                  tensor "vectors", items x dim, F16
//	    embeddings.json                    Manifest, written last
//
// Vectors have unit length and are stored in half precision, rounded to nearest; in Parquet as lists of FLOAT16. A user's vector is the model's embedding at the
// newest action up to the generation's as-of time, and as_of_ms is the time of that action. Users without one by then have no row. input_hash is the xxhash64
// of all that the model reads of the user: content vectors of the items, times, types, surfaces and durations of the actions in the window.
//
// # Generations
//
// A generation appears whole: its manifest is written when all else is there, and embeddings.json is replaced after that. Whatever ends a run before, readers
// keep the old one. embeddings.json never goes back to an earlier as-of time of the same model: a generation of the past is stored beside it, for readers
// who must not see the future (AsOf). Nothing is deleted; a directory that embeddings.json does not name may be.
//
// # Incremental runs
//
// A run takes from an earlier generation every vector whose input_hash did not change: for a daily run, all but those of the users with a new action. Each user is
// computed alone, so that a vector depends on model and input only. Together: an earlier generation, the number of threads and interruptions change how long a run
// takes, and no byte of the files that its manifest lists.
//
// Vectors of different models are not comparable, so a place keeps one model: a run with another state, numerics class, dimension or vocabulary is
// refused, unless Options.Full asks for everything anew, and the place is the other model's from then on.
package serving

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// PartUsers is how many users of the data set one file holds, unless told otherwise. At 256 dimensions it has 16 MiB.
const PartUsers = 1 << 15

// Options of a run.
type Options struct {
	Data   *dataset.Dataset
	Job    job.What             // the model's sizes
	Params []checkpoints.Tensor // of the state, in the model's order
	State  ringleader.Digest
	Step   ringleader.Step
	Device device.Device

	Out     checkpoints.Store
	From    checkpoints.Store // where earlier generations are; nil means Out
	Full    bool              // compute every vector, whatever is there
	AsOfMS  int64             // unix milliseconds; actions up to then, included, are known
	Scratch string            // directory for temporary files

	Threads   int // 0 means as many as the device has lanes
	PartUsers int // 0 means PartUsers; another value makes other files

	Program  string            // version, for the manifest
	Now      func() time.Time  // for the manifest
	Progress func(p Progress)  // called after every user, by one goroutine at a time; may be nil
	Note     func(text string) // what the user should know; may be nil
}

// Progress is how far a run is, in users.
type Progress struct{ Done, Found, Total int } // Found as in Report, of those that are done

// Report is what a run did.
type Report struct {
	Manifest
	Current bool `json:"current"` // embeddings.json names this generation now
	Found   int  `json:"found"`   // users whose files an earlier run of the same generation had finished
	Kept    int  `json:"kept"`    // users whose vector came from an earlier generation
	Made    int  `json:"made"`    // users whose vector was computed
}

// Run makes a generation. Trouble with the stores is their error; what contradicts an earlier generation is ErrOther.
func Run(ctx context.Context, o Options) (*Report, error) {
	r, err := run(ctx, &o)
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	return r, nil
}

func run(ctx context.Context, o *Options) (*Report, error) {
	x, err := newExport(o)
	if err != nil {
		return nil, err
	}
	previous, err := x.previous(ctx)
	if err != nil {
		return nil, err
	}
	done, err := x.done(ctx)
	if err != nil {
		return nil, err
	}
	if done == nil {
		if done, err = x.make(ctx, previous); err != nil {
			return nil, err
		}
	}
	x.report.Manifest = *done
	if x.report.Current, err = x.publish(ctx, done); err != nil {
		return nil, err
	}
	return &x.report, nil
}

// export is one run.
type export struct {
	*Options
	model  *model.Model
	meta   dataset.Meta
	id     Identity
	users  int      // with an action by then
	inputs []uint64 // hash of each item's content vector
	report Report
}

func newExport(o *Options) (*export, error) {
	if o.PartUsers == 0 {
		o.PartUsers = PartUsers
	}
	if o.Threads == 0 {
		o.Threads = min(o.Device.Lanes(), runtime.GOMAXPROCS(0))
	}
	if o.From == nil {
		o.From = o.Out
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.PartUsers < 1 || o.Threads < 1 {
		return nil, fmt.Errorf("%d users a part, %d threads: want at least 1 of each", o.PartUsers, o.Threads)
	}
	x := &export{Options: o, meta: o.Data.Meta()}
	var err error
	if x.model, err = model.New(o.Job, x.meta); err != nil {
		return nil, err
	}
	for u := range x.meta.Users {
		if o.Data.User(u).TimeMS[0] <= o.AsOfMS {
			x.users++
		}
	}
	if x.users == 0 {
		return nil, fmt.Errorf("as of %s: no user has an action by then; want a time from %s on", timeText(o.AsOfMS), timeText(x.meta.FirstMS))
	}
	x.id = Identity{
		State: o.State.String(), Job: o.Job.Digest().String(), Step: o.Step, Data: x.meta.Digest, Numerics: o.Device.Class(),
		AsOfMS: o.AsOfMS, Dim: x.model.Dim(), PartUsers: o.PartUsers, Actions: x.meta.Types, Surfaces: x.meta.Surfaces,
	}
	x.inputs = itemHashes(o.Data.Vectors())
	return x, nil
}

func timeText(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// make writes a generation but for embeddings.json at the root.
func (x *export) make(ctx context.Context, previous *previous) (_ *Manifest, err error) {
	e, err := x.model.NewEmbedder(x.Device, x.Params, x.Data.Vectors())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	users, err := x.makeUsers(ctx, e, previous)
	if err != nil {
		return nil, err
	}
	items, err := x.makeItems(ctx, e)
	if err != nil {
		return nil, err
	}
	m := &Manifest{
		Identity: x.id, Generation: x.id.Generation(), Users: x.users, Items: x.meta.Items, Files: append(users, items...),
		Volatile: Volatile{Time: x.Now().UTC(), Program: x.Program, Previous: previous.name(), Found: x.report.Found, Kept: x.report.Kept, Made: x.report.Made},
	}
	return x.seal(ctx, m)
}
