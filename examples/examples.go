// Package examples holds the shipped jobs and data set, for ringleader demo and ringleader reproduce: the binary needs no files beside it.
package examples

import (
	"embed"
	"io/fs"
)

// Retail is retail.yaml.
//
//go:embed retail.yaml
var Retail []byte

// CompleteJourney is the shipped data set: see data/complete-journey/README.md for its source and licence.
//
//go:embed data/complete-journey/*.parquet
var CompleteJourney embed.FS

//go:embed *.yaml
var jobs embed.FS

// jobOf is the job file of each data set, by the name that its import gives it.
var jobOf = map[string]string{
	"complete-journey": "retail.yaml", "kuairand-pure": "kuairand.yaml", "movietweetings": "movietweetings.yaml", "online-retail": "online-retail.yaml",
}

// Job is the job file that belongs to a data set, by the data set's name.
func Job(dataSet string) (name string, text []byte, ok bool) {
	name, ok = jobOf[dataSet]
	if !ok {
		return "", nil, false
	}
	text, err := fs.ReadFile(jobs, name)
	return name, text, err == nil
}
