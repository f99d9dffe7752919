// Package progress shows on the command line how a job is doing: one status line that is drawn again in place on a
// terminal, and plain lines every few seconds into anything else.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/ringleader-dev/ringleader"
)

const (
	redrawEvery = 100 * time.Millisecond // on a terminal: faster cannot be read
	printEvery  = 5 * time.Second        // elsewhere: a log of a long job stays readable

	defaultWidth = 80 // of a terminal that does not tell
)

// State is what there is to tell about a job at one moment. Zero values are unknown and left out.
type State struct {
	Step, Steps     ringleader.Step // completed, and wanted in all
	Unit            string          // what they count; empty means "step"
	Loss            float64         // mean over the users of the newest step; NaN is unknown as well
	UsersPerSecond  float64
	TokensPerSecond float64
	Generation      ringleader.Generation
	Workers         int
	Checkpoint      ringleader.Step // of the newest durable checkpoint
	Waiting         string          // why no step is made: "waiting: 3 of min 4 workers"; shown in place of speed and ETA
}

// Display draws States. Its methods may be called from several goroutines. No method waits for anything but the writer.
type Display struct {
	now      func() time.Time
	width    func() int // columns, asked for each line, as windows are resized; 0 = do not draw in place
	terminal bool

	mu    sync.Mutex
	w     io.Writer
	err   error // first failure to write; nothing is written after it
	state State
	fresh bool // state is newer than what was last drawn
	drawn time.Time
	speed speed
	done  bool
}

// New returns a display on w. terminal says that w is one; its width is asked of w if w has a file descriptor, and
// 80 otherwise. now is the clock.
func New(w io.Writer, terminal bool, now func() time.Time) *Display {
	return &Display{w: w, terminal: terminal, now: now, width: func() int { return columns(w) }}
}

func columns(w io.Writer) int {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return defaultWidth
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 {
		return defaultWidth
	}
	return width
}

// Update replaces the state. It is shown now, or with a later call if the last one was shown only just before.
func (d *Display) Update(s State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return
	}
	now := d.now()
	d.state, d.fresh = s, true
	d.speed.add(now, s.Step)
	if every := d.interval(); d.drawn.IsZero() || now.Sub(d.drawn) >= every {
		d.draw(now)
	}
}

// Note prints text on lines of its own, above the status line of a terminal. It comes from other machines too, so
// control characters, which could take over a terminal, are left out.
func (d *Display) Note(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	inPlace := d.terminal && !d.done && !d.drawn.IsZero()
	if inPlace {
		d.write("\r\x1b[K")
	}
	for line := range strings.Lines(text) {
		d.write(printable(line) + "\n")
	}
	if inPlace {
		d.draw(d.now())
	}
}

// Done shows the last state, if it was not shown yet, and leaves the cursor on a new line. Later updates are ignored;
// notes are still printed. It returns the first error that writing met.
func (d *Display) Done() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return d.err
	}
	if d.fresh {
		d.draw(d.now())
	}
	if d.terminal && !d.drawn.IsZero() {
		d.write("\n")
	}
	d.done = true
	return d.err
}

func (d *Display) interval() time.Duration {
	if d.terminal {
		return redrawEvery
	}
	return printEvery
}

func (d *Display) draw(now time.Time) {
	d.drawn, d.fresh = now, false
	eta := d.speed.eta(d.state.Step, d.state.Steps)
	if !d.terminal {
		d.write(Line(d.state, eta, 0) + "\n")
		return
	}
	// One column stays free: a character in the last one makes some terminals scroll.
	d.write("\r" + Line(d.state, eta, max(d.width()-1, 1)) + "\x1b[K")
}

func (d *Display) write(s string) {
	if d.err != nil {
		return
	}
	if _, err := io.WriteString(d.w, s); err != nil {
		d.err = fmt.Errorf("write progress: %w", err)
	}
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
