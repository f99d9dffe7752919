package worker

import (
	"errors"
	"fmt"

	"github.com/ringleader-dev/ringleader/device"
)

// What takes a device's memory, as whoever runs out of it can change it: the state and its sums, and what a lane needs for a shard.
const (
	stateSettings = "what.model.width, what.model.layers or what.model.item_hidden"
	shardSettings = "what.users_per_shard, what.model.window or what.negatives"
)

// short adds to an error what to lower, if it is one of too little memory. Each lane has its own part of either.
func short(err error, settings string) error {
	if errors.As(err, new(*device.OutOfMemory)) {
		return fmt.Errorf("%w; lower %s, or --lanes of the worker", err, settings)
	}
	return err
}

// alone makes it the job's own failure that this member has too little memory for it, if it is the only member: nobody is left who could go on.
func (g *generation) alone(err error) error {
	if g.size == 1 && errors.As(err, new(*device.OutOfMemory)) && !isJobError(err) {
		return &jobError{err}
	}
	return err
}
