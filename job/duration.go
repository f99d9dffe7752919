package job

import (
	"fmt"
	"time"
)

// String is the text that job files use: "2s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as text, in JSON and in YAML.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: want a number and a unit, as in 500ms, 2s, 1m30s", clip(string(text)))
	}
	*d = Duration(v)
	return nil
}
