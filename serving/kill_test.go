package serving

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// childVariable makes TestMain's process the one that is killed: it names the directory of its data set and of its output.
const childVariable = "RINGLEADER_TEST_EMBED"

// TestChild is no test of its own: it embeds until it is told to wait for its end.
func TestChild(t *testing.T) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		t.Skip("started by TestKilled")
	}
	out, err := file.Open(filepath.Join(dir, "out"))
	check(t, err)
	o := untrained(t, open(t, filepath.Join(dir, "data")), out)
	o.AsOfMS += day
	o.Scratch = filepath.Join(dir, "scratch")
	o.Progress = func(p Progress) {
		if p.Done == 40 { // in the third part
			fmt.Println("at 40")
			if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
				panic(err)
			}
		}
	}
	_, err = Run(t.Context(), o)
	t.Errorf("lived until the end: %v", err)
}

// SIGKILL in the middle: readers go on with the old generation, the next run goes on with the finished parts, and the files are those of a run that lived.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	if _, err := synth.Write(filepath.Join(dir, "data"), synth.Options{Users: 60, Items: 40, Dim: 8, Actions: 12}); err != nil {
		t.Fatal(err)
	}
	check(t, os.Mkdir(filepath.Join(dir, "scratch"), 0o755))
	d := open(t, filepath.Join(dir, "data"))
	out, err := file.Open(filepath.Join(dir, "out"))
	check(t, err)
	o := untrained(t, d, out)
	old := mustRun(t, o)

	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), childVariable+"="+dir)
	child.Stderr = os.Stderr
	_, err = child.StdinPipe() // open until Wait
	check(t, err)
	stdout, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "at 40" {
	}
	if lines.Text() != "at 40" {
		t.Errorf("the child's last line is %q", lines.Text())
	}
	check(t, child.Process.Kill())
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child ended with %v", err)
	}

	if now := current(t, out); now.Generation != old.Generation {
		t.Fatalf("current is %s", now.Generation)
	}
	check(t, old.verify(t.Context(), out))
	if left, err := os.ReadDir(filepath.Join(dir, "scratch")); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch directory: %v, %v", left, err)
	}
	o.AsOfMS += day
	r := mustRun(t, o)
	if r.Found != 32 || r.Found+r.Kept+r.Made != r.Users || !r.Current {
		t.Errorf("%d users found, %d kept, %d made of %d; want 32 found", r.Found, r.Kept, r.Made, r.Users)
	}
	o.Out, err = file.Open(filepath.Join(dir, "undisturbed"))
	check(t, err)
	if want := mustRun(t, o); hashes(want) != hashes(r) {
		t.Errorf("files\n%s\nwant\n%s", hashes(r), hashes(want))
	}
}
