package job_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

func TestTemplateParses(t *testing.T) {
	s := parse(t, string(job.Template()))
	want := parse(t, minimal, "what.steps=300", "what.seed=1", "what.data=data/retail", "how.store=checkpoints/retail", "name=retail")
	if s != want {
		t.Errorf("the template says more than its defaults:\n got  %+v\nwant %+v", s, want)
	}
}

// A commented-out field shows its default: switching all of them on changes nothing but the epochs, the features and the instruction set,
// which are shown as examples.
func TestTemplateShowsDefaults(t *testing.T) {
	text := regexp.MustCompile(`(?m)^( *)# ( *[a-z_0-9]+:( |$))`).ReplaceAllString(string(job.Template()), "$1$2")
	for _, example := range []string{"epochs: 3", "data_digest: ...", "isa: avx2", "relative_time: true"} {
		if strings.Count(text, example) != 1 {
			t.Fatalf("no %q in\n%s", example, text)
		}
	}
	text = strings.NewReplacer("epochs: 3", "epochs: 0", "data_digest: ...", `data_digest: ""`, "isa: avx2", `isa: ""`, "relative_time: true", "relative_time: false", "    every: 100               # steps between", "    every: 0                 # steps between").Replace(text)
	got, want := parse(t, text), parse(t, string(job.Template()))
	if got != want {
		t.Errorf("got  %+v\nwant %+v\n%s", got, want, text)
	}
	if n := strings.Count(text, "#   "); n > 2 {
		t.Logf("left as comments:\n%s", text)
	}
	for _, key := range []string{"beta2:", "holder:", "item_hidden:", "logq:", "mixed:"} {
		if !regexp.MustCompile(`(?m)^ +` + key).MatchString(text) {
			t.Errorf("%s is still a comment", key)
		}
	}
}
