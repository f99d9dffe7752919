// Package e2e runs whole clusters as users have them: the real binary, real processes, real Raft, real gRPC, SIGKILL.
package e2e
