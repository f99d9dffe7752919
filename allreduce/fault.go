package allreduce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/ringleader-dev/ringleader"
)

// ErrPlanned is the cause of an end that everybody agreed on: nobody is to blame.
var ErrPlanned = errors.New("left as planned")

// Fault is why a group ended.
type Fault struct {
	Culprit    ringleader.Rank // who is to blame, if HasCulprit
	HasCulprit bool
	Hung       bool // the culprit showed no sign of life, although nothing broke: its connections may still be open
	// Doubted are members whose state is not what the others', or most others', is. They must not hand it on, whether they noticed or were told.
	Doubted []ringleader.Rank
	How     string // how it was noticed: "beat stood still for 2s"
	Err     error  // what it was noticed by; may be nil
}

// Error names the culprit, how it was noticed, and the error.
func (f *Fault) Error() string {
	if f.HasCulprit {
		return fmt.Sprintf("rank %d: %s", f.Culprit, f.text())
	}
	return f.text()
}

// Unwrap is Err.
func (f *Fault) Unwrap() error { return f.Err }

func (f *Fault) text() string {
	if f.Err == nil {
		return f.How
	}
	return f.How + ": " + f.Err.Error()
}

// faultOf is err as a fault; an error that is none blames nobody.
func faultOf(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return &Fault{How: "group was closed", Err: err}
}

// Kinds of an encoded cause.
const (
	causePlanned = iota
	causeNobody
	causeCulprit
	causeHung    // a culprit that showed no sign of life
	causeDoubted // a culprit, and a byte that counts the ranks of members in doubt, which follow
)

// Bounds of what a peer is told.
const (
	maxCause   = 1 << 10 // text
	maxDoubted = 255
)

// MarshalCause encodes what a link's Close tells the peer, in at most about 1 KiB: the original culprit travels on, so that a
// member that ends because of a fault elsewhere is not blamed for it.
func MarshalCause(cause error) []byte {
	if cause == nil || errors.Is(cause, ErrPlanned) {
		return []byte{causePlanned}
	}
	f := faultOf(cause)
	b := []byte{causeNobody}
	doubted := f.Doubted[:min(len(f.Doubted), maxDoubted)]
	switch {
	case f.HasCulprit && len(doubted) > 0:
		b[0] = causeDoubted
	case f.HasCulprit && f.Hung:
		b[0] = causeHung
	case f.HasCulprit:
		b[0] = causeCulprit
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Culprit))
	if b[0] == causeDoubted {
		b = append(b, byte(len(doubted)))
		for _, r := range doubted {
			b = binary.LittleEndian.AppendUint32(b, uint32(r))
		}
	}
	text := f.text()
	return append(b, text[:min(len(text), maxCause)]...)
}

// UnmarshalCause is what the peer makes of it: ErrPlanned, or a *Fault.
func UnmarshalCause(b []byte) error {
	switch {
	case len(b) == 1 && b[0] == causePlanned:
		return ErrPlanned
	case len(b) >= 5 && b[0] >= causeNobody && b[0] <= causeDoubted:
		f := &Fault{Culprit: ringleader.Rank(binary.LittleEndian.Uint32(b[1:])), HasCulprit: b[0] != causeNobody, Hung: b[0] == causeHung}
		if text, ok := f.takeDoubted(b[0], b[5:]); ok && len(text) <= maxCause {
			f.How = strings.ToValidUTF8(string(text), "?")
			return f
		}
	}
	return &Fault{How: fmt.Sprintf("peer closed the link with a cause that cannot be read (%d bytes)", len(b))}
}

// takeDoubted reads the ranks that precede the text of a cause, if its kind has any.
func (f *Fault) takeDoubted(kind byte, b []byte) (text []byte, ok bool) {
	if kind != causeDoubted {
		return b, true
	}
	if len(b) < 1 || len(b) < 1+4*int(b[0]) {
		return nil, false
	}
	n := int(b[0])
	for i := range n {
		f.Doubted = append(f.Doubted, ringleader.Rank(binary.LittleEndian.Uint32(b[1+4*i:])))
	}
	return b[1+4*n:], true
}
