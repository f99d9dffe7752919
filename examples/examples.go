// Package examples holds the shipped job and data set, for ringleader demo: the binary needs no files beside it.
package examples

import "embed"

// Retail is retail.yaml.
//
//go:embed retail.yaml
var Retail []byte

// CompleteJourney is the shipped data set: see data/complete-journey/README.md for its source and licence.
//
//go:embed data/complete-journey/*.parquet
var CompleteJourney embed.FS
