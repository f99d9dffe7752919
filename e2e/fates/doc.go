// Package fates has tests of what can happen to the workers of a job: a coordinator and workers in one process, on fake time and a network in
// memory, with devices and stores that fail when they are told to. Raft, gRPC and gradients are real.
package fates
