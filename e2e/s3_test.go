package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints/s3/miniotest"
)

// bucket starts an S3 server with an empty bucket, and tells the processes that the test starts how to use it.
func bucket(t *testing.T) *miniotest.Server {
	t.Helper()
	server := miniotest.Start(t, os.Getenv(miniotest.Variable))
	server.MakeBucket("bucket")
	for _, setting := range server.Environment() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	return server
}

// impatient makes a run notice sooner that the server is away.
const impatient = "--set=how.deadlines.store=1s"

// TestS3AwayUntilTheEnd: the server dies in the middle of a run and comes back when the last step is done. Training goes on without it, and
// the result is as if nothing had happened; another cluster resumes from the bucket.
func TestS3AwayUntilTheEnd(t *testing.T) {
	server := bucket(t)
	job := jobFile(t, 200)
	run := startLocal(t, job, "--workers", "2", "--set", "how.store=s3://bucket/run", impatient, "--json", "-")
	run.next("checkpoint at step ", " committed: ")
	server.Kill()
	run.next("checkpoint at step ", " skipped: worker worker-", "store s3://bucket/run: ", "store unavailable")
	run.next("final checkpoint at step 200", "tries again", "store unavailable")
	server.Start()
	run.next("checkpoint at step 200 committed")
	if code := run.end(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var r report
	if err := json.Unmarshal(run.stdout.Bytes(), &r); err != nil {
		t.Fatalf("report: %v\n%s", err, run.stdout.Bytes())
	}
	if len(r.Generations) != 1 || r.Steps != 200 || !strings.HasPrefix(r.Checkpoint, "s3://bucket/run/step-00000200-") {
		t.Errorf("report %+v: want one generation and 200 steps, stored in s3://bucket/run", r)
	}
	output(t, "checkpoint", "verify", "s3://bucket/run")
	output(t, "data", "audit", "s3://bucket/run")

	_, want := local(t, job, "--workers", "2")
	if r.StateDigest != want.StateDigest {
		t.Errorf("state digest %s with a store in S3, %s with one in a directory", r.StateDigest, want.StateDigest)
	}
	first := oldest(t, "s3://bucket/run")
	_, resumed := local(t, job, "--workers", "3", "--resume", first, "--set", "how.store=s3://bucket/run")
	if resumed.StateDigest != want.StateDigest || resumed.Generations[0].FirstStep == 0 {
		t.Errorf("resumed from %s on 3 workers at step %d: state digest %s, want %s", first, resumed.Generations[0].FirstStep, resumed.StateDigest, want.StateDigest)
	}
	output(t, "checkpoint", "verify", "s3://bucket/run")
}

// oldest is the oldest checkpoint of a run.
func oldest(t *testing.T, url string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(output(t, "checkpoint", "list", url)), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	return url + "/" + fields[len(fields)-1]
}

// TestS3AwayForAWhile: when the server is back, so are the checkpoints.
func TestS3AwayForAWhile(t *testing.T) {
	server := bucket(t)
	run := startLocal(t, jobFile(t, 100_000), "--workers", "2", "--set", "how.store=s3://bucket/run", impatient)
	run.next("checkpoint at step ", " committed: ")
	server.Kill()
	failed := stepOf(t, run.next("checkpoint at step ", " skipped: worker worker-", "store unavailable"))
	server.Start()
	if back := stepOf(t, run.next("checkpoint at step ", " committed: ")); back <= failed {
		t.Errorf("the checkpoint at step %d is committed after the one at step %d was skipped", back, failed)
	}
	run.interrupt()
	output(t, "checkpoint", "verify", "s3://bucket/run")
}

// stepOf is the step that a line about a checkpoint names.
func stepOf(t *testing.T, line string) (step int) {
	t.Helper()
	if _, err := fmt.Sscanf(line, "checkpoint at step %d ", &step); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return step
}

// TestS3AwayForGood: the run goes on trying to store its final checkpoint until somebody ends it.
func TestS3AwayForGood(t *testing.T) {
	server := bucket(t)
	run := startLocal(t, jobFile(t, 60), "--workers", "2", "--set", "how.store=s3://bucket/run", impatient)
	run.next("checkpoint at step ", " committed: ")
	server.Kill()
	run.next("the last step is done; storing the final checkpoint")
	run.next("final checkpoint at step 60", "tries again", "store unavailable")
	run.interrupt()
	if _, _, err := try(t, "checkpoint", "verify", "s3://bucket/run"); exitCode(err) != 4 {
		t.Errorf("checkpoint verify without the server: %v, want exit code 4", err)
	}
	server.Start()
	output(t, "checkpoint", "verify", "s3://bucket/run")
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// TestS3Data: a data set that is imported into a bucket is the same as one in a directory, and so is what is trained on it.
func TestS3Data(t *testing.T) {
	bucket(t)
	log := eventLog(t)
	dir := filepath.Join(t.TempDir(), "data")
	for _, out := range []string{dir, "s3://bucket/data"} {
		output(t, "data", "import", log, "--out", out, "--name", "events", "--user", "who", "--item", "what", "--time", "at", "--action", "how", "--positive", "buy", "--holdout", "0.2")
		output(t, "data", "check", out)
	}
	if _, stderr, err := try(t, "data", "import", log, "--out", "s3://bucket/data", "--user", "who", "--item", "what", "--time", "at"); exitCode(err) != 3 || !strings.Contains(stderr, "allowed: an empty prefix") {
		t.Errorf("import over a data set: %v, %s", err, stderr)
	}
	var digests []string
	for _, data := range []string{dir, "s3://bucket/data"} {
		job := filepath.Join(t.TempDir(), "job.yaml")
		text := fmt.Sprintf("what: {data: %q, seed: 5, shards: 4, users_per_shard: 2, steps: 20, model: {preset: tiny, init: normal}}\n", data)
		if err := os.WriteFile(job, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		store := data + "-run"
		_, r := local(t, job, "--workers", "2", "--set", "how.store="+store)
		digests = append(digests, r.StateDigest)
		output(t, "data", "audit", store)
	}
	if digests[0] != digests[1] {
		t.Errorf("state digests %q: want the same from a directory and from S3", digests)
	}
}

// TestS3Embed: embeddings in a bucket are those in a directory, also when a later day is added to them.
func TestS3Embed(t *testing.T) {
	bucket(t)
	run, _ := local(t, jobFile(t, 5), "--workers", "2")
	data := dataOf(t, run)
	dir := filepath.Join(t.TempDir(), "vectors")
	for _, day := range []string{"cut", "end"} {
		var reports []embedReport
		for _, out := range []string{dir, "s3://bucket/vectors"} {
			reports = append(reports, embed(t, "--checkpoint", run, "--data", data, "--out", out, "--as-of", day, "--part-users", "50"))
		}
		if len(reports[0].Files) != 5+3 || !reflect.DeepEqual(reports[0], reports[1]) {
			t.Errorf("in a directory %+v\nin S3 %+v", reports[0], reports[1])
		}
	}
}

// eventLog writes what 40 users did with 101 items.
func eventLog(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("who,what,how,at\n")
	for i := range 1200 {
		fmt.Fprintf(&b, "u%d,i%d,%s,%d\n", i*7%40, i*13%101, []string{"view", "buy"}[i%3/2], 1_700_000_000+i*3600)
	}
	path := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestS3Refused: what cannot work is told in one line, before anything is started.
func TestS3Refused(t *testing.T) {
	bucket(t)
	job := jobFile(t, 10)
	for _, c := range []struct {
		name, variable, value, store string
		code                         int
		want                         []string
	}{
		{"wrong secret", "AWS_SECRET_ACCESS_KEY", "another", "s3://bucket/run", 3, []string{"how.store s3://bucket/run", "access denied"}},
		{"unknown key", "AWS_ACCESS_KEY_ID", "nobody", "s3://bucket/run", 3, []string{"how.store s3://bucket/run", "access denied"}},
		{"no bucket", "", "", "s3://nowhere/run", 3, []string{"how.store s3://nowhere/run", "bucket does not exist"}},
		{"nobody there", "AWS_ENDPOINT_URL", "http://" + closedPort(t), "s3://bucket/run", 4, []string{"how.store s3://bucket/run", "store unavailable", "connection refused"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv(c.variable, c.value)
			}
			dir := filepath.Join(t.TempDir(), "run")
			_, stderr, err := try(t, "local", "--job", job, "--dir", dir, "--workers", "2", "--set", "how.store="+c.store)
			if exitCode(err) != c.code || strings.Count(stderr, "\n") != 1 || !containsAll(stderr, c.want) {
				t.Errorf("%v: %q; want exit code %d and one line with %q", err, stderr, c.code, c.want)
			}
			if strings.Contains(stderr, miniotest.SecretKey) || c.value != "" && c.variable == "AWS_SECRET_ACCESS_KEY" && strings.Contains(stderr, c.value) {
				t.Errorf("the secret key is told: %q", stderr)
			}
			if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
				t.Errorf("a refused run left %v behind: the next one would not get the directory", left)
			}
		})
	}
}

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
