package allreduce

import "context"

// outgoing is what a member sends in a round, chunk by chunk: a segment of its own, then what it has received.
type outgoing struct {
	g *Group
	r *round
	// The checksum of every chunk received, which may be sent on. There is room for all, so that receiving never waits for sending.
	ready chan uint32
	more  chan struct{} // there is something for sendAll to do

	sending    chan struct{} // whoever has put something into it sends; a channel, for fake time stands still while somebody waits for a mutex
	hop, chunk int           // due next
	frame      Frame
}

func newOutgoing(g *Group, r *round) *outgoing {
	received := 0
	for hop := range r.hops {
		received += r.chunks(g.segment(hop + 1))
	}
	return &outgoing{
		g: g, r: r,
		ready:   make(chan uint32, received),
		more:    make(chan struct{}, 1),
		sending: make(chan struct{}, 1),
		frame:   Frame{Tag: r.tag, Payload: make(Payload, 1)},
	}
}

// sendAll sends what waits for room. It returns when everything has been sent, or false when the group has ended.
func (o *outgoing) sendAll(ctx context.Context) bool {
	for {
		all, ok := o.send(ctx)
		if all || !ok {
			return ok
		}
		select {
		case <-o.more:
		case <-o.g.done:
			return false
		}
	}
}

// pass sends on a chunk that has been received, given the checksum of what has become of it, unless that would mean to wait.
func (o *outgoing) pass(ctx context.Context, sum uint32) {
	o.ready <- sum
	if all, _ := o.trySend(ctx); all || len(o.ready) > 0 {
		select {
		case o.more <- struct{}{}:
		default:
		}
	}
}

// trySend sends unless somebody else does.
func (o *outgoing) trySend(ctx context.Context) (all, ok bool) {
	select {
	case o.sending <- struct{}{}:
		defer func() { <-o.sending }()
		return o.sendDue(ctx, false)
	default:
		return false, true
	}
}

func (o *outgoing) send(ctx context.Context) (all, ok bool) {
	o.sending <- struct{}{}
	defer func() { <-o.sending }()
	return o.sendDue(ctx, true)
}

// sendDue sends what may be sent; all is true when that was the last. If it must not wait, it stops where there is no room.
func (o *outgoing) sendDue(ctx context.Context, wait bool) (all, ok bool) {
	g := o.g
	for ; o.hop < o.r.hops; o.hop, o.chunk = o.hop+1, 0 {
		segment := g.segment(o.hop)
		for ; o.chunk < o.r.chunks(segment); o.chunk++ {
			if !wait && !g.next.link.Room() {
				return false, true
			}
			if o.hop > 0 {
				select {
				case o.frame.sum = <-o.ready:
					o.frame.summed = true
				default:
					return false, true
				}
			}
			o.frame.Payload[0] = o.r.out(segment, o.chunk)
			o.frame.Tag.Hop, o.frame.Tag.Chunk = uint32(o.hop), uint32(o.chunk)
			if err := g.next.send(ctx, &o.frame); err != nil {
				g.failed(ctx, g.next, err)
				return false, false
			}
			g.cfg.Beat.Add(1)
		}
	}
	return true, true
}
