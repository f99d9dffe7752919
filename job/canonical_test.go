package job_test

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

func TestCanonicalRoundTrip(t *testing.T) {
	s := parse(t, minimal, "what.seed=18446744073709551615", "what.optimizer.lr=0.1", "name=<é&>")
	text, err := job.Canonical(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := job.FromCanonical(text)
	if err != nil {
		t.Fatal(err)
	}
	if back != s {
		t.Errorf("got  %+v\nwant %+v", back, s)
	}
	again, err := job.Canonical(back)
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("second writing differs (%v):\n%s\n%s", err, again, text)
	}
	if !bytes.Contains(text, []byte(`"hang":"2s"`)) {
		t.Errorf("durations are not text: %s", text)
	}
}

func TestFromCanonicalRefuses(t *testing.T) {
	text, err := job.Canonical(parse(t, minimal))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]string{
		"unknown field": {`"seed":0`, `"seed":0,"later":1`},
		"invalid value": {`"shards":24`, `"shards":0`},
		"bad duration":  {`"2s"`, `"2"`},
		"bad type":      {`"shards":24`, `"shards":"24"`},
	} {
		broken := strings.Replace(string(text), c[0], c[1], 1)
		if broken == string(text) {
			t.Fatalf("%s: nothing replaced in %s", name, text)
		}
		if _, err := job.FromCanonical([]byte(broken)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, broken := range []string{"", "{", string(text) + "{}", string(text[:len(text)/2])} {
		if _, err := job.FromCanonical([]byte(broken)); err == nil {
			t.Errorf("accepted %q", broken)
		}
	}
}

// The digest is a promise to old checkpoints: a change of this number means that they belong to other jobs now.
func TestDigestIsPinned(t *testing.T) {
	if d := parse(t, minimal).What.Digest().String(); d != "a8cae755b65a5303" {
		t.Errorf("digest of the minimal job is %s", d)
	}
}

func TestDigestCoversEveryFieldOfWhatButThePlace(t *testing.T) {
	s := parse(t, minimal)
	base := s.What.Digest()
	seen := map[string]string{base.String(): "the job itself"}
	visit(reflect.ValueOf(&s.What).Elem(), "what", func(path string, v reflect.Value) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		change(v)
		d := s.What.Digest()
		v.Set(old)
		if path == "what.data" || path == "what.model.preset" {
			if d != base {
				t.Errorf("%s is part of the digest", path)
			}
		} else if other, ok := seen[d.String()]; ok {
			t.Errorf("changing %s gives the digest of %s", path, other)
		}
		if d != base {
			seen[d.String()] = path
		}
	})
	if len(seen) < 40 {
		t.Errorf("only %d fields were tried", len(seen))
	}
	if s.What.Digest() != base {
		t.Error("the digest does not repeat")
	}
}

// How the job came to its sizes does not matter.
func TestDigestIgnoresSpelling(t *testing.T) {
	a := parse(t, minimal, "what.model.preset=tiny")
	b := parse(t, "what: {steps: 1_0, data: s3://other/place, model: {layers: 1, width: 32, heads: 2, dim: 32, window: 16, action_dim: 8, surface_dim: 4, item_hidden: 128}, negatives: {in_batch: 32, random: 32}, optimizer: {lr: 2e-3, eps: 0.00000001}}\nhow: {store: t, workers: {max: 3}}")
	if a.What.Digest() != b.What.Digest() {
		t.Errorf("%s and %s:\n%+v\n%+v", a.What.Digest(), b.What.Digest(), a.What, b.What)
	}
	if c := parse(t, minimal, "what.optimizer.clip=-0"); c.What.Digest() != parse(t, minimal, "what.optimizer.clip=0").What.Digest() {
		t.Error("-0 and 0 give two digests")
	}
}

func TestDigestOfWhatCannotBeWritten(t *testing.T) {
	a, b := parse(t, minimal).What, parse(t, minimal).What
	a.Optimizer.LR, b.Optimizer.LR = math.NaN(), math.Inf(1)
	if a.Digest() == b.Digest() {
		t.Error("NaN and infinity give one digest")
	}
}

func visit(v reflect.Value, path string, do func(string, reflect.Value)) {
	for i := range v.NumField() {
		p := path + "." + v.Type().Field(i).Tag.Get("yaml")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			visit(f, p, do)
		} else {
			do(p, f)
		}
	}
}

func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + .25)
	default:
		v.SetInt(v.Int() + 1)
	}
}
