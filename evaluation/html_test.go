package evaluation

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func pageOf(t *testing.T, r *Report) string {
	t.Helper()
	var b, again bytes.Buffer
	check(t, r.HTML(&b))
	check(t, r.HTML(&again))
	if !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("the same report gives two pages")
	}
	return b.String()
}

// drawing is what of an SVG is looked at.
type drawing struct {
	Width float64
	Bars  []struct {
		Title string   `xml:"title"`
		Text  []string `xml:"text"`
		Rect  struct {
			Class string  `xml:"class,attr"`
			X     float64 `xml:"x,attr"`
			Y     float64 `xml:"y,attr"`
			Width float64 `xml:"width,attr"`
		} `xml:"rect"`
		Path struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	} `xml:"g"`
	ViewBox string `xml:"viewBox,attr"`
}

var svg = regexp.MustCompile(`(?s)<svg .*?</svg>`)

func drawings(t *testing.T, page string) []drawing {
	t.Helper()
	var all []drawing
	for _, text := range svg.FindAllString(page, -1) {
		var d drawing
		check(t, xml.Unmarshal([]byte(text), &d))
		box := strings.Fields(d.ViewBox)
		var err error
		d.Width, err = strconv.ParseFloat(box[2], 64)
		check(t, err)
		all = append(all, d)
	}
	return all
}

// Bars and whiskers of a drawing are as long as the figures say, in one scale.
func TestPlots(t *testing.T) {
	r := sample()
	all := drawings(t, pageOf(t, r))
	if len(all) != 4 {
		t.Fatalf("%d drawings", len(all))
	}
	own, popular, daily, realtime := r.Baselines["own_repeats"], r.Baselines["popular"], r.Staleness[Daily], r.Staleness[Realtime]
	for i, want := range []struct {
		names   []string
		recalls []Recall
	}{
		{[]string{"model", "popular", "own_repeats", "another"}, []Recall{r.Recall, popular.Recall, own.Recall, {}}},
		{[]string{"model", "popular", "own_repeats", "another"}, []Recall{r.NewOnly.Recall, {}, {}, {}}},
		{[]string{"once", "daily", "realtime"}, []Recall{r.Recall, daily.Recall, realtime.Recall}},
		{[]string{"once", "daily", "realtime"}, []Recall{r.NewOnly.Recall, daily.NewOnly, realtime.NewOnly}},
	} {
		d := all[i]
		if len(d.Bars) != len(want.names) {
			t.Fatalf("drawing %d: %d bars", i, len(d.Bars))
		}
		scale := d.Bars[0].Rect.Width / want.recalls[0].RecallAt10
		for j, b := range d.Bars {
			recall := want.recalls[j]
			if b.Text[0] != want.names[j] || b.Text[1] != digits(recall.RecallAt10) || !strings.HasPrefix(b.Title, want.names[j]+": ") {
				t.Errorf("drawing %d, bar %d: %q, %q; want %s with %g", i, j, b.Text, b.Title, want.names[j], recall.RecallAt10)
			}
			if math.Abs(b.Rect.Width-scale*recall.RecallAt10) > .3 {
				t.Errorf("drawing %d, %s: length %g, want %g", i, b.Text[0], b.Rect.Width, scale*recall.RecallAt10)
			}
			if (b.Rect.Class == "model") != (b.Text[0] == "model" || i >= 2) || j > 0 && b.Rect.Y <= d.Bars[j-1].Rect.Y {
				t.Errorf("drawing %d, bar %d: %+v", i, j, b)
			}
			lo, hi := ends(t, b.Path.D)
			if math.Abs(lo-b.Rect.X-scale*recall.Interval[0]) > .5 || math.Abs(hi-b.Rect.X-scale*recall.Interval[1]) > .5 || hi > d.Width-50 {
				t.Errorf("drawing %d, %s: whiskers from %g to %g of %g, want %v", i, b.Text[0], lo, hi, d.Width, recall.Interval)
			}
		}
	}
}

var whisker = regexp.MustCompile(`^M([0-9.]+) .*M([0-9.]+) [^M]*$`)

func ends(t *testing.T, path string) (lo, hi float64) {
	t.Helper()
	m := whisker.FindStringSubmatch(path)
	if m == nil {
		t.Fatalf("path %q", path)
	}
	lo, err := strconv.ParseFloat(m[1], 64)
	check(t, err)
	hi, err = strconv.ParseFloat(m[2], 64)
	check(t, err)
	return lo, hi
}

func TestPageNeedsNothingElse(t *testing.T) {
	r := sample()
	r.Data = `<script>alert("x")</script>`
	page := pageOf(t, r)
	for _, no := range []string{"<script", "src=", "href=", "url(", "@import", "//", "ZgotmplZ", "NaN", "%!"} {
		if strings.Contains(page, no) {
			t.Errorf("the page has %s", no)
		}
	}
	for _, want := range []string{
		"&lt;script&gt;", "40 users that never trained, 90 targets in the 14 days after 2017-11-15T00:00:00Z, 1000 items", "prefers-color-scheme: dark",
		"<td>0.3750</td><td>0.0625</td>", "<td>&#43;0.1100 to &#43;0.1900</td><td>ahead</td>", "<td>-0.0800 to -0.0200</td><td>behind</td>", "<td>-0.0100 to &#43;0.0300</td><td>unclear</td>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
}

// A page is well formed: every element that is opened is closed, in order.
func TestPageIsWellFormed(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(pageOf(t, sample()), "<!DOCTYPE html>")))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPageOfTheModelAlone(t *testing.T) {
	r := sample()
	r.Baselines, r.Staleness = nil, nil
	page := pageOf(t, r)
	if n := len(drawings(t, page)); n != 2 || strings.Contains(page, "baselines</h2>") || strings.Contains(page, "How old") {
		t.Errorf("%d drawings in\n%s", n, page)
	}
	r.Figures, r.NewOnly = Figures{}, NewFigures{} // nothing was found
	for _, d := range drawings(t, pageOf(t, r)) {
		if d.Bars[0].Rect.Width != 0 {
			t.Errorf("%+v", d)
		}
	}
	if err := r.HTML(broken{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
}

func TestTickStep(t *testing.T) {
	for _, c := range []struct {
		most, step float64
		decimals   int
	}{
		{1, .5, 1}, {.8, .2, 1}, {.4, .1, 1}, {.41, .2, 1}, {.0257, .01, 2}, {.0754, .02, 2}, {.1615, .05, 2}, {.004, .001, 3}, {40, 10, 0}, {41, 20, 0},
	} {
		if step, decimals := tickStep(c.most); math.Abs(step-c.step) > 1e-12 || decimals != c.decimals {
			t.Errorf("%g: %g with %d decimals, want %g with %d", c.most, step, decimals, c.step, c.decimals)
		}
	}
}
