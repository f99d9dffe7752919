// Package importer makes a data set out of logs: CSV, JSON lines or Parquet, in any order and larger than memory, through an embedded
// DuckDB. It is the only package that links it; in a lean build (tag lean), which is without, Import says so.
//
// An import is deterministic: the same sources and options give the same bytes and so the same digest, whatever the number of threads
// and the order of the rows.
package importer

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options of an import. Where a column is asked for, any DuckDB expression over the source's columns will do:
//
//	Action: "CASE WHEN quantity < 0 THEN 'cancel' ELSE 'purchase' END"
type Options struct {
	Sources []string // files or patterns: .csv .tsv .txt .dat .json .jsonl .ndjson (each also .gz or .zst) .parquet .pq; the union of their rows
	CSV     string   // further arguments of DuckDB's read_csv, for sources and items: "delim='::', header=false"
	Out     string   // folder that is created; it must not exist or be empty
	Name    string   // of the data set; empty: Out's last part

	User     string // who; read as text
	Time     string // when: a timestamp, a date, or a number of s, ms, us or ns since 1970
	Item     string // what; read as text
	Action   string // what was done; empty: one type, "action"
	Duration string // seconds, not negative; nulls are 0; empty: no such column
	Surface  string // where; nulls are "(none)"; empty: no such column
	Where    string // condition for rows to be taken
	// SQL replaces the six columns and Where: a query over the views src1, src2, … (one for each of Sources, in order) that yields columns
	// user, time, item, and if wanted action, duration, surface.
	SQL string

	Positive []string // action types that are training targets; may be empty if there is one type only

	Items    string   // file with a row for each item; empty: the sources, where the commonest text of an item is taken
	ItemID   string   // its column with the item; empty: the same as Item
	ItemText []string // its columns of text, joined by spaces; empty: items have no text
	Interest string   // its column with the item's interest or category

	// Vectors is a file with the user's own item vectors, of any of the kinds above: a column "id" or "item" (or ItemID) and a column "vector" or "embedding"
	// that is a list of numbers. Every item of the catalogue needs one. Empty: a stand-in is computed.
	Vectors string

	Cut          string  // time that ends training: 2006-01-02, 2006-01-02 15:04:05 (UTC), RFC 3339 or unix seconds; empty: EvalDays before the last action
	EvalDays     float64 // length of the evaluation window after the cut; 0: 14
	Holdout      float64 // fraction of users that never train
	MinItemUsers int     // an item of the catalogue needs a positive of at least so many users up to the cut; 0: 1
	AllowFuture  bool    // accept times later than Now
	Now          time.Time

	TempDir string // for what does not fit into memory; empty: beside Out
	Memory  string // limit of DuckDB's memory: "4GB"; empty: 80 % of the machine's
	Threads int    // of DuckDB; 0: one for each core

	Log func(line string) // what was found, dropped and assumed; nil: nobody wants to know
}

// withDefaults fills in what is empty and checks what needs no source.
func (o Options) withDefaults() (Options, error) {
	if rest, ok := strings.CutPrefix(o.Out, "file://"); ok {
		o.Out = rest
	}
	switch {
	case len(o.Sources) == 0:
		return o, errors.New("sources: want at least one file")
	case o.Out == "":
		return o, errors.New("out: want a folder")
	case strings.Contains(o.Out, "://"):
		return o, fmt.Errorf("out %q: an import writes to a folder of this machine; import there and upload it", o.Out)
	case o.SQL != "" && (o.User+o.Time+o.Item+o.Action+o.Duration+o.Surface+o.Where != ""):
		return o, errors.New("sql: its query names the columns: want no user, time, item, action, duration, surface or where beside it")
	case !(o.Holdout >= 0 && o.Holdout < 1):
		return o, fmt.Errorf("holdout %g: want at least 0, below 1", o.Holdout)
	case !(o.EvalDays >= 0 && o.EvalDays <= 3660):
		return o, fmt.Errorf("eval_days %g: want 0 (for 14) to 3660", o.EvalDays)
	case o.MinItemUsers < 0:
		return o, fmt.Errorf("min_item_users %d: want at least 0", o.MinItemUsers)
	case o.Items == "" && o.SQL != "" && len(o.ItemText) > 0 && len(o.Sources) > 1:
		return o, errors.New("item_text: with sql and several sources say which file has it: want items")
	}
	o.User, o.Time, o.Item = orDefault(o.User, "user"), orDefault(o.Time, "time"), orDefault(o.Item, "item")
	o.ItemID = orDefault(o.ItemID, o.Item)
	o.Name = orDefault(o.Name, filepath.Base(o.Out))
	if o.EvalDays == 0 {
		o.EvalDays = 14
	}
	o.MinItemUsers = max(o.MinItemUsers, 1)
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (o *Options) logf(format string, args ...any) { o.Log(fmt.Sprintf(format, args...)) }

// ParseTime reads a time of the command line, to unix milliseconds.
func ParseTime(text string) (int64, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixMilli(), nil
		}
	}
	if s, err := strconv.ParseInt(text, 10, 64); err == nil && s > -1e11 && s < 1e11 {
		return s * 1000, nil
	}
	return 0, fmt.Errorf("%q: want a date (2006-01-02), a time in UTC (2006-01-02 15:04:05), RFC 3339 or unix seconds", text)
}
