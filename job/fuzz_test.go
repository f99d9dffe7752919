package job_test

import (
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

// Whatever the file says, Parse ends with an error or with a job that travels unchanged.
func FuzzParse(f *testing.F) {
	f.Add(minimal, "what.seed=7")
	f.Add(string(job.Template()), "what.model.preset=tiny")
	f.Add("what: {model: {width: 9223372036854775807}}", "how.deadlines.hang=1h")
	f.Add("a: &a [*a]\n<<: *a", "..=")
	f.Add("? {x: y}\n: z", "what=")
	f.Add("!!binary aGk=: x", "name=\xff")
	f.Add("--- # nothing", "name=\u2028")
	f.Fuzz(func(t *testing.T, doc, set string) {
		s, err := job.Parse([]byte(doc), "/jobs", set)
		if err != nil {
			if s != (job.Spec{}) {
				t.Fatalf("an error and a job: %v, %+v", err, s)
			}
			return
		}
		text, err := job.Canonical(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := job.FromCanonical(text)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if back != s || back.What.Digest() != s.What.Digest() {
			t.Fatalf("got %+v\nwant %+v", back, s)
		}
	})
}
