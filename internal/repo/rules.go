package repo

// Rule is one rule of the house.
type Rule struct {
	Name  string
	Why   string
	Check func(*Tree) []string // what breaks it, each beginning with the place; nil if nothing does
}

// Rules are all of them.
func Rules() []Rule {
	return []Rule{
		{"levels", "arrows point down only: what is below can be understood, tested and replaced without what is above", levels},
		{"reach", "the control plane runs without a device, and a worker without Raft", reach},
		{"homes", "a third-party module is used in one place, where it can be replaced", homes},
		{"cgo", "only device backends are written in C", cgo},
		{"pure", "replicas must compute the same: no clock, no randomness, no input or output, no goroutines", pure},
		{"names", "a package is named after what it holds", names},
		{"init", "what a program contains is chosen in cmd, not by importing", inits},
		{"environment", "only the command line reads the environment; everything below is told", environment},
		{"sleep", "tests wait for events, or for fake time to pass", sleeps},
		{"fake time", "the race detector fails now and then in bubbles with more than one processor", fakeTime},
		{"goleak", "a package that starts goroutines proves that they end", leaks},
		{"comments", "every package says what it is for", comments},
		{"size", "a file that does not fit in a head is two files", sizes},
		{"generated", "generated code says so, and nothing else does", headers},
		{"texts", "the project speaks of itself, not of where or how it was made", texts},
		{"references", "a document that is mentioned is there", references},
	}
}
