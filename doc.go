// Package ringleader trains user-sequence models on an elastic gang of workers, and promises that the
// bits of the result depend on the job, never on the cluster.
//
// This root package holds the nouns that every room of the house shares and imports nothing but the
// standard library. The rooms, from the bottom up (arrows point down only; internal/repo checks it):
//
//	level 0  job         the job file: what fixes the bits, how may change at any time
//	         exact       fixed point, step trailer, state digest: what makes sums and proofs exact
//	         proto       logpb (on disk for ever) and rpcpb (services)
//	level 1  device      buffers and operators: the seam between models and hardware
//	         allreduce   ring, group, link: the seam between members of a generation
//	         checkpoints store, manifest, save, load: a state made durable
//	         dataset     user sequences: schema, reader, shards, batches
//	         coordinator/state   the replicated state machine, pure
//	level 2  model       PinnerFormer and the exact dense all-action loss, written once against device
//	         device/cpu, allreduce/{memlink,grpclink}, checkpoints/{file,s3,mem},
//	         coordinator/{schedule,client}
//	level 3  worker      the loop of one worker
//	         coordinator Raft, leader loop, services
//	         evaluation  Recall@k and its baselines
//	         serving     what a recommender serves: embeddings of users and items
//	level 4  cmd/ringleader, e2e
package ringleader
