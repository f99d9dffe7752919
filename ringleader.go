package ringleader

import "fmt"

// JobID names one training run. It is chosen by the coordinator and never reused.
type JobID string

// WorkerID names one worker for as long as its directory lives; a restarted worker keeps it.
type WorkerID string

// Generation numbers the memberships of a job's gang from 1. A generation never changes; whatever
// happens to the gang makes the next one.
type Generation uint64

// Rank is a worker's place in the ring of one generation, 0 <= Rank < size.
type Rank int

// Step counts completed optimizer updates: a state at step 0 has seen no data.
type Step int64

// Shard is a fixed part of a job's users, the unit of leasing, computing and summing.
type Shard int

// Digest is the digest of a state, or of a job's "what": 64 bits, shown as 16 hex digits.
type Digest uint64

// String returns the 16 lower-case hex digits that every report and file name uses.
func (d Digest) String() string { return fmt.Sprintf("%016x", uint64(d)) }

// ParseDigest is the inverse of Digest.String.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 16 {
		return 0, fmt.Errorf("digest %q: want 16 hex digits", s)
	}
	if _, err := fmt.Sscanf(s, "%016x", (*uint64)(&d)); err != nil {
		return 0, fmt.Errorf("digest %q: want 16 hex digits", s)
	}
	return d, nil
}
