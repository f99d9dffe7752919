package main

import (
	"testing"
	"time"
)

func TestParseFault(t *testing.T) {
	good := map[string]fault{
		"kill:worker:1@40":     {kind: "kill", on: onWorker, worker: 1, step: 40},
		"kill:leader@60":       {kind: "kill", on: onLeader, step: 60},
		"pause:worker:0@50:3s": {kind: "pause", on: onWorker, step: 50, length: 3 * time.Second},
		"join:worker@70":       {kind: "join", on: onWorker, step: 70},
		"drain:worker:2@9":     {kind: "drain", on: onWorker, worker: 2, step: 9},
		"cut:leader@8:1s":      {kind: "cut", on: onLeader, step: 8, length: time.Second},
		"hang:store@9:2s":      {kind: "hang", on: onStore, step: 9, length: 2 * time.Second},
		"flip:checkpoint@3":    {kind: "flip", on: onCheckpoint, step: 3},
		"restart:workers@3":    {kind: "restart", on: onWorkers, step: 3},
		"lose:leader@4":        {kind: "lose", on: onLeader, step: 4},
		"flip-sum:worker:1@4":  {kind: "flip-sum", on: onWorker, worker: 1, step: 4},
		"part:leader@8:1s":     {kind: "part", on: onLeader, step: 8, length: time.Second},
		"kill:s3@9:2s":         {kind: "kill", on: onServer, step: 9, length: 2 * time.Second},
		"flip-download:s3@9":   {kind: "flip-download", on: onServer, step: 9},
	}
	for spec, want := range good {
		want.spec = spec
		if got, err := parseFault(spec); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{"", "kill", "kill:worker@4", "kill:worker:x@4", "kill:worker:-1@4", "kill:worker:1@0", "kill:worker:1@4:3s",
		"pause:worker:0@5", "pause:worker:0@5:-1s", "join:worker:1@3", "join:leader@3", "fail:store@3", "fail:store:1@3:1s", "drain:leader@3", "restart:workers:1@4", "burn:worker:1@3", "kill:s3@3", "flip-upload:s3@3:1s", "refuse:worker:1@3:1s"} {
		if f, err := parseFault(spec); err == nil {
			t.Errorf("%q: accepted as %+v", spec, f)
		}
	}
}

func TestCheckFaults(t *testing.T) {
	faults, err := parseFaults([]string{"kill:worker:3@50", "join:worker@40"})
	if err != nil {
		t.Fatal(err)
	}
	if err := checkFaults(faults, 3, 60); err != nil {
		t.Errorf("a joiner may be killed: %v", err)
	}
	if err := checkFaults(faults, 2, 60); err == nil {
		t.Error("worker 3 of 2 and a joiner: accepted")
	}
	if err := checkFaults(faults, 3, 45); err == nil {
		t.Error("step 50 of 45: accepted")
	}
}
