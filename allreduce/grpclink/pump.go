package grpclink

import (
	"errors"
	"fmt"

	"github.com/ringleader-dev/ringleader/allreduce"
)

var errCredit = errors.New("peer does not keep to its credit")

// readAll receives until the stream ends, which it does soon after the link has.
func (l *link) readAll() {
	defer close(l.read)
	for {
		m := message{frame: l.spareFrame()}
		if err := l.stream.RecvMsg(&m); err != nil {
			l.end(fmt.Errorf("receive from peer: %w", err), false)
			return
		}
		if m.kind == kindEnd {
			l.end(allreduce.UnmarshalCause(m.cause), false)
			return
		}
		if !l.take(&m) {
			l.end(errCredit, false)
			return
		}
	}
}

// take reports whether there was room for the message.
func (l *link) take(m *message) bool {
	switch m.kind {
	case kindFrame:
		select {
		case l.inbox <- m.frame:
		default:
			return false
		}
	case kindCredit:
		for range m.value {
			select {
			case l.credit <- struct{}{}:
			default:
				return false
			}
		}
		l.giveBack(m)
	case kindBeat:
		l.beatIn.Store(m.value)
		l.giveBack(m)
	case kindRouse:
		select {
		case l.roused <- struct{}{}:
		default:
		}
		l.giveBack(m)
	}
	return true
}

func (l *link) spareFrame() *received {
	select {
	case f := <-l.spare:
		return f
	default:
		return new(received)
	}
}

// giveBack keeps the frame that the message did not need.
func (l *link) giveBack(m *message) {
	select {
	case l.spare <- m.frame:
	default:
	}
}

// write is the only sender of the stream.
func (l *link) write(m *message) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.stream.SendMsg(m)
}

// writeAll sends frames, beats and credit, and at last the end.
func (l *link) writeAll() {
	defer close(l.written)
	var beat uint64
	for {
		var err error
		select {
		case <-l.wake:
			err = l.writeSignals(&beat)
		case m := <-l.outbox:
			err = l.write(m)
		case <-l.done:
			l.writeEnd()
			return
		}
		if err != nil {
			// Why, the reader is told.
			return
		}
	}
}

// writeSignals sends what has gathered since the last time.
func (l *link) writeSignals(sent *uint64) error {
	if n := l.owed.Swap(0); n > 0 {
		if err := l.write(valueMessage(kindCredit, n, nil)); err != nil {
			return err
		}
	}
	if beat := l.beatOut.Load(); beat != *sent {
		*sent = beat
		return l.write(valueMessage(kindBeat, beat, nil))
	}
	return nil
}

// writeEnd tells the peer if it was this side that ended the link; after a planned end everything that was sent goes first.
func (l *link) writeEnd() {
	l.mu.Lock()
	err, mine := l.err, l.mine
	l.mu.Unlock()
	if !mine {
		return
	}
	for errors.Is(err, allreduce.ErrPlanned) && len(l.outbox) > 0 {
		if l.write(<-l.outbox) != nil {
			return
		}
	}
	// A stream that fails now has ended for the peer too.
	_ = l.write(valueMessage(kindEnd, 0, allreduce.MarshalCause(err)))
}
