package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// untrainedRun is a data set, and a store with a checkpoint of step 1 whose model is as it starts.
func untrainedRun(t *testing.T) (data, store string) {
	t.Helper()
	data, store = t.TempDir(), t.TempDir()
	if _, err := synth.Write(data, synth.Options{Users: 80, Items: 60, Dim: 8, Actions: 40, Holdout: .4}); err != nil {
		t.Fatal(err)
	}
	ds, closeData, err := openData(t.Context(), data)
	noError(t, err)
	meta := ds.Meta()
	noError(t, closeData())
	spec, err := job.Default("tiny")
	noError(t, err)
	spec.What.Data, spec.What.DataDigest, spec.What.Steps = data, meta.Digest, 10
	m, err := model.New(spec.What, meta)
	noError(t, err)
	params := make([]float32, m.Size())
	noError(t, m.Init(params))
	st := &checkpoints.State{Job: spec.What.Digest(), Step: 1}
	for _, p := range m.Tensors() {
		n := 1
		for _, s := range p.Shape {
			n *= s
		}
		tensor := func(data []float32) checkpoints.Tensor {
			return checkpoints.Tensor{Name: p.Name, Shape: p.Shape, Data: data}
		}
		st.Params = append(st.Params, tensor(params[p.Offset:p.Offset+n]))
		st.Moment1, st.Moment2 = append(st.Moment1, tensor(make([]float32, n))), append(st.Moment2, tensor(make([]float32, n)))
	}
	writeCheckpoint(t, store, st, spec)
	return data, store
}

func writeCheckpoint(t *testing.T, dir string, st *checkpoints.State, spec job.Spec) {
	t.Helper()
	store, err := openStore(t.Context(), dir)
	noError(t, err)
	defer store.Close()
	text, err := job.Canonical(spec)
	noError(t, err)
	parts, err := checkpoints.Plan(st, text, 0)
	noError(t, err)
	m := &checkpoints.Manifest{Job: st.Job, Step: st.Step, State: st.Digest()}
	m.Files, err = checkpoints.WriteParts(t.Context(), store, m.Dir(), parts)
	noError(t, err)
	_, err = checkpoints.WriteManifest(t.Context(), store, m.Dir(), m)
	noError(t, err)
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEvaluateCommand(t *testing.T) {
	data, store := untrainedRun(t)
	jsonFile, htmlFile := filepath.Join(t.TempDir(), "r.json"), filepath.Join(t.TempDir(), "r.html")
	root := newRoot()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs([]string{"evaluate", "--checkpoint", store, "--data", data, "--staleness", "once,daily,realtime", "--json", jsonFile, "--html", htmlFile})
	noError(t, root.ExecuteContext(t.Context()))

	text, err := os.ReadFile(jsonFile)
	noError(t, err)
	var report struct {
		Recall    *float64 `json:"recall_at_10"`
		Baselines map[string]struct {
			ModelMinus *struct{ Interval []float64 } `json:"model_minus"`
		}
		Staleness map[string]struct {
			Recall *float64 `json:"recall_at_10"`
		}
	}
	noError(t, json.Unmarshal(text, &report))
	if report.Recall == nil || report.Baselines["own_repeats"].ModelMinus == nil || len(report.Staleness) != 2 ||
		report.Staleness["daily"].Recall == nil || report.Staleness["realtime"].Recall == nil {
		t.Errorf("report %s", text)
	}
	page, err := os.ReadFile(htmlFile)
	noError(t, err)
	if strings.Count(string(page), "<svg ") != 4 || !strings.Contains(out.String(), "realtime") || errs.Len() > 0 {
		t.Errorf("page of %d bytes; printed %s%s", len(page), out.String(), errs.String())
	}
	if code := run([]string{"evaluate", "--checkpoint", store, "--data", data, "--json", filepath.Join(t.TempDir(), "r.json"), "--html", filepath.Join(data, "no", "r.html")}); code == 0 {
		t.Error("a page that cannot be written is no error")
	}
	if code := run([]string{"evaluate", "--checkpoint", store, "--data", data, "--staleness", "hourly"}); code != exitUsage {
		t.Errorf("unknown staleness: exit code %d", code)
	}
}
