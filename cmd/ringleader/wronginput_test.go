package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// TestWrongInput: what is wrong is refused before anything is started, by field, value and what is allowed, with the exit code that tells whose
// mistake it is.
func TestWrongInput(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if _, err := synth.Write(data, synth.Options{Users: 40, Items: 30, Dim: 8, Seed: 3, Holdout: -1}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "job.yaml")
	text := "name: j\nwhat: {data: data, steps: 20, users_per_shard: 2, negatives: {in_batch: 20, random: 20}, model: {preset: tiny}}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(values string) []string {
		args := []string{"job", "validate", file}
		for _, v := range strings.Fields(values) {
			args = append(args, "--set", v)
		}
		return args
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{set(""), exitOK, ""},
		{set("what.loss.logq=maybe"), exitInput, `what.loss.logq is "maybe"; allowed: on, off, corrected`},
		{set("what.negatives.in_batch=0 what.negatives.random=0"), exitInput, "what.negatives has in_batch 0 and random 0; want at least one negative"},
		{set("what.negatives.random=31"), exitInput, "what.negatives.random 31: the data set has 30 items; want at most as many draws"},
		{set("what.negatives.in_batch=31"), exitInput, "what.negatives.in_batch 31: the data set has 30 items; want at most as many draws"},
		{set("what.users_per_shard=1"), exitInput, "what.negatives.in_batch is 20 with what.users_per_shard 1; want 0, or shards of at least 2 users"},
		{set("what.users_per_shard=1 what.negatives.in_batch=0"), exitOK, ""},
		{set("what.loss.horizon_days=900"), exitInput, "what.loss.horizon_days 900: the data set's actions up to the cut span"},
		{set("how.stop_at=21"), exitInput, "how.stop_at is 21; want at most what.steps, which is 20, or 0"},
		{set("how.stop_at=20"), exitOK, ""},
		{set("how.evaluate.every=5"), exitInput, "how.evaluate.every 5: the data set was imported with --holdout 0"},
		{set("what.model.width=4 what.model.dim=4"), exitInput, "what.model.width 4: want at least the data set's vector_dim 8"},
		{set("what.data=s3://"), exitInput, `what.data is "s3://", which names no bucket; want one as in s3://bucket/retail`},
		{set("how.store=file://host/x"), exitInput, "which names no folder of this machine"},
		{set("what.data=elsewhere"), exitInput, "elsewhere: no data set is there: dataset.json does not exist"},
		{[]string{"data", "describe", "elsewhere"}, exitInput, "elsewhere: no data set is there: dataset.json does not exist"},
		{[]string{"evaluate", "--checkpoint", dir, "--data", data, "--staleness", "once,weekly"}, exitUsage, `--staleness "weekly": want once, daily or realtime`},
		{[]string{"worker", "--dir", dir, "--token-file", token, "--coordinators", ""}, exitUsage, "--coordinators: no address is given, want HOST:PORT"},
		{[]string{"worker", "--dir", dir, "--token-file", token, "--coordinators", "here"}, exitUsage, `--coordinators: address "here": want HOST:PORT`},
		{[]string{"job", "list", "--token-file", token, "--coordinators", "here"}, exitUsage, `address "here": want HOST:PORT`},
		{[]string{"coordinator", "--data-dir", dir, "--token-file", token, "--join"}, exitUsage, "--join: --peers must name coordinators of the running cluster"},
		{[]string{"worker", "--dir", dir, "--token-file", filepath.Join(dir, "none")}, exitInput, "read token file"},
	} {
		root := newRoot()
		root.SetArgs(c.args)
		root.SetOut(io.Discard)
		err := root.ExecuteContext(t.Context())
		code := exitOK
		if err != nil {
			code = exitCode(t.Context(), err)
		}
		if code != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s:\n got  %d, %v\n want %d, %s", strings.Join(c.args, " "), code, err, c.code, c.want)
		}
	}
}
