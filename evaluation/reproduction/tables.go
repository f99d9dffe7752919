package reproduction

import (
	"fmt"

	"github.com/ringleader-dev/ringleader/job"
)

// Published values are those of PinnerFormer (arXiv 2205.04507), tables 2, 3, 4 and 6, and the two ends of its capacity table, as public reading notes
// quote them.

func set(field string, value any) string { return fmt.Sprintf("what.%s=%v", field, value) }

// objective are the assignments that choose one, whatever the base job has.
func objective(base *job.What, name, newestWeight string) []string {
	s := []string{set("loss.objective", name), set("loss.newest_weight", newestWeight)}
	if base.Loss.Weights != "seed" {
		s = append(s, set("loss.weights", "seed")) // what all objectives have
	}
	if base.Loss.Positions != 0 {
		s = append(s, set("loss.positions", positions(base, name)))
	}
	return s
}

// positions are those of dense_all_action, which no other objective has.
func positions(base *job.What, objective string) int {
	if objective == "dense_all_action" {
		return base.Loss.Positions
	}
	return 0
}

// Arms that more than one table has.
func sasrec(base *job.What) []string { return objective(base, "sasrec", "equal") }

func dense(base *job.What) []string { return objective(base, "dense_all_action", "one") }

func exact(base *job.What, newestWeight string) []string {
	return objective(base, "dense_all_action_exact", newestWeight)
}

func objectives(base *job.What, _ Columns) Table {
	k := base.Loss.HorizonDays
	return Table{
		Title: "Training objectives (table 3)",
		Note: fmt.Sprintf("The horizon K is the base job's, %g days, where the paper has 28, and \"half\" is %g, where it has 14. sasrec is the strengthened form, whose "+
			"newest position weighs as much as all others together. The last two arms are this project's: the loss over all positives of all positions, as it is, "+
			"and with that weight of the newest position.", k, k/2),
		Arms: []Arm{
			{Name: "next", Set: objective(base, "next", "one"), Paper: &Value{.186, .050}},
			{Name: "sasrec", Set: sasrec(base), Paper: &Value{.198, .048}},
			{Name: "all_action", Set: objective(base, "all_action", "one"), Paper: &Value{.224, .028}},
			{Name: "dense_half", Set: append(dense(base), set("loss.horizon_days", k/2)), Paper: &Value{.223, .043}},
			{Name: "dense", Set: dense(base), Paper: &Value{.229, .042}},
			{Name: "exact", Set: exact(base, "one")},
			{Name: "exact_equal", Set: exact(base, "equal")},
		},
		Claims: []Claim{
			ours("exact", "dense"), ours("exact_equal", "dense"), ours("exact_equal", "exact"), ours("exact", "all_action"), ours("exact_equal", "all_action"), ours("exact_equal", "sasrec"),
		},
	}
}

func negatives(base *job.What, _ Columns) Table {
	n := base.Negatives.InBatch + base.Negatives.Random
	arm := func(name string, inBatch, random int, logq string, paper *Value) Arm {
		return Arm{Name: name, Paper: paper, Set: []string{set("negatives.in_batch", inBatch), set("negatives.random", random), set("loss.logq", logq)}}
	}
	half := n / 2
	return Table{
		Title: "Negatives (table 4)",
		Note: fmt.Sprintf("Every arm has %d negatives a shard, the mixed ones half of each kind; the objective is the base job's, %s. With random negatives alone the correction "+
			"is a constant and does nothing, there as here. \"corrected\" (Khrylchenko et al. 2025) leaves the positive uncorrected.", n, base.Loss.Objective),
		Arms: []Arm{
			arm("random_off", 0, n, "off", &Value{.136, .002}),
			arm("in_batch_off", n, 0, "off", &Value{.071, .163}),
			arm("mixed_off", n-half, half, "off", &Value{.138, .083}),
			arm("random_on", 0, n, "on", &Value{.139, .001}),
			arm("in_batch_on", n, 0, "on", &Value{.167, .119}),
			arm("mixed_on", n-half, half, "on", &Value{.229, .042}),
			arm("mixed_corrected", n-half, half, "corrected", nil),
		},
		Claims: []Claim{ours("mixed_corrected", "mixed_on")},
	}
}

func features(base *job.What, has Columns) Table {
	t := Table{
		Title: "Leaving out one feature (table 6)",
		Note: "without_timestamp leaves out all three encodings of time. The objective is the base job's. The item's vector is left out of the input only: the item tower " +
			"has nothing else.",
	}
	drop := func(name string, paper Value, fields ...string) {
		a := Arm{Name: "without_" + name, Paper: &paper}
		for _, f := range fields {
			a.Set = append(a.Set, set("model.drop_features."+f, true))
		}
		t.Arms = append(t.Arms, a)
	}
	lacks := func(name string) {
		t.Skipped = append(t.Skipped, Skip{"without_" + name, "the data set has no " + name})
	}
	t.Arms = append(t.Arms, Arm{Name: "all_features", Paper: &Value{Recall: .229}})
	drop("item", Value{.142, .0005}, "item")
	if base.Model.Init == "identity" {
		// Training cannot start as the identity on what is not there.
		t.Arms[1].Set = append(t.Arms[1].Set, set("model.init", "normal"))
		t.Arms = append(t.Arms, Arm{Name: "all_features_normal", Set: []string{set("model.init", "normal")}})
		t.Claims = append(t.Claims, ours("all_features_normal", "without_item"))
		t.Note += " The base job starts as the identity on the item's vector; without that vector it has to start at random, and all_features_normal is what to compare it with."
	}
	drop("timestamp", Value{Recall: .210}, "absolute_time", "relative_time", "gap_time")
	if has.Surface {
		drop("surface", Value{Recall: .224}, "surface")
	} else {
		lacks("surface")
	}
	drop("action", Value{Recall: .226}, "action")
	if has.Duration {
		drop("duration", Value{Recall: .226}, "duration")
	} else {
		lacks("duration")
	}
	drop("position", Value{Recall: .228}, "position")
	return t
}

func staleness(base *job.What, _ Columns) Table {
	t := Table{
		Title: "How often users are embedded (table 2)",
		Note: "The same checkpoints as in the table of objectives, embedded at the cut (once), at every midnight after it (daily; the paper's pipeline adds about a day), or after " +
			"every action (realtime). Coverage is that at the cut.",
	}
	add := func(name string, set []string, once, daily, realtime float64) {
		of := func(s string, v float64) Arm {
			a := Arm{Name: name + "_" + s, Set: set}
			if s != "once" {
				a.Staleness = s
			}
			if v > 0 {
				a.Paper = &Value{Recall: v}
			}
			return a
		}
		t.Arms = append(t.Arms, of("once", once), of("daily", daily), of("realtime", realtime))
	}
	add("sasrec", sasrec(base), .198, .216, .251)
	add("dense", dense(base), .229, .243, .264)
	add("exact_equal", exact(base, "equal"), 0, 0, 0)
	drop := func(text, fresh, stale, better string, paper float64) Claim {
		return Claim{Text: text, Paper: paper, Ours: paper == 0,
			More: []string{"sasrec_" + fresh, better + "_" + stale}, Less: []string{"sasrec_" + stale, better + "_" + fresh}}
	}
	t.Claims = []Claim{
		drop("sasrec loses more than dense from realtime to once", "realtime", "once", "dense", .018),
		drop("sasrec loses more than dense from realtime to daily", "realtime", "daily", "dense", .014),
		drop("sasrec loses more than exact_equal from realtime to once", "realtime", "once", "exact_equal", 0),
		ours("exact_equal_realtime", "exact_equal_once"), ours("exact_equal_once", "sasrec_once"), ours("exact_equal_realtime", "sasrec_realtime"),
	}
	return t
}

func capacity(base *job.What, _ Columns) Table {
	m := &base.Model
	wide := 3 * m.Width / 2 / m.Heads * m.Heads
	narrow := max(1, m.Layers/2)
	t := Table{
		Title: "Capacity and window (capacity table, figure 4)",
		Note: fmt.Sprintf("The paper gives .2189 for 2 layers of 256 and .2293 for 6 of 768, rising all the way, and a gain with every doubling of the window. The base is %d layers of %d and a window of %d; "+
			"the wide arm has embeddings of %d too. Steps are equal, costs are not.", m.Layers, m.Width, m.Window, wide),
		Arms: []Arm{{Name: "base"}},
	}
	add := func(name string, better bool, set ...string) {
		t.Arms = append(t.Arms, Arm{Name: name, Set: set})
		if better {
			t.Claims = append(t.Claims, more(name, "base"))
		} else {
			t.Claims = append(t.Claims, more("base", name))
		}
	}
	if narrow < m.Layers {
		add(fmt.Sprintf("layers_%d", narrow), false, set("model.layers", narrow))
	}
	add(fmt.Sprintf("layers_%d", 2*m.Layers), true, set("model.layers", 2*m.Layers))
	add(fmt.Sprintf("width_%d", wide), true, set("model.width", wide), set("model.dim", wide))
	if m.Window >= 4 {
		add(fmt.Sprintf("window_%d", m.Window/2), false, set("model.window", m.Window/2))
		add(fmt.Sprintf("window_%d", m.Window/4), false, set("model.window", m.Window/4))
	}
	return t
}
