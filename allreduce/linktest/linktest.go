// Package linktest is the conformance suite of allreduce.Link.
package linktest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
)

// Run tests the links that newPair makes: the two ends of one link, alike in both directions. What newPair needs beside them it cleans up with t.
// Leaks of goroutines are for the caller's TestMain to find (goleak).
func Run(t *testing.T, newPair func(t *testing.T) (a, b allreduce.Link)) {
	tests := []struct {
		name string
		test func(t *testing.T, a, b allreduce.Link)
	}{
		{"Order", testOrder},
		{"Bounded", testBounded},
		{"Room", testRoom},
		{"ContextEndsRecv", testContextEndsRecv},
		{"PlannedCloseDelivers", testPlannedCloseDelivers},
		{"PlannedCloseEndsSend", testPlannedCloseEndsSend},
		{"FaultTravels", testFaultTravels},
		{"FaultTravelsPastFrames", testFaultTravelsPastFrames},
		{"ErrorBlamesNobody", testErrorBlamesNobody},
		{"CloseTwice", testCloseTwice},
		{"Beats", testBeats},
		{"BeatsPassFrames", testBeatsPassFrames},
		{"Concurrent", testConcurrent},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			for _, swap := range []bool{false, true} {
				a, b := newPair(t)
				if swap {
					a, b = b, a
				}
				c.test(t, a, b)
				// Whatever the test left open; what it closed stays closed.
				_, _ = a.Close(errors.New("test is over")), b.Close(errors.New("test is over"))
			}
		})
	}
}

func frame(i int, payload []byte) *allreduce.Frame {
	return &allreduce.Frame{
		Tag:     allreduce.Tag{Job: 1 << 63, Generation: 7, Step: ringleader.Step(i), Bucket: uint32(i), Hop: uint32(2 * i), Chunk: uint32(3 * i)},
		Payload: allreduce.Payload{payload[:len(payload)/3], payload[len(payload)/3:]},
	}
}

// content is the payload of frame i: empty, tiny, unaligned and as large as there are.
func content(i int) []byte {
	size := []int{0, 1, 8, 4093, 70_000}[i%5]
	if i == 17 {
		size = allreduce.MaxPayload
	}
	return bytes.Repeat([]byte{byte(i), byte(i >> 8), 3}, size/3+1)[:size]
}

func sendAll(ctx context.Context, l allreduce.Link, n int) error {
	var payload []byte
	for i := range n {
		payload = append(payload[:0], content(i)...)
		if err := l.Send(ctx, frame(i, payload)); err != nil {
			return err
		}
		clear(payload) // Send has given it back
	}
	return nil
}

func recvAll(t *testing.T, l allreduce.Link, n int) {
	t.Helper()
	for i := range n {
		f, err := l.Recv(t.Context())
		if err != nil {
			t.Errorf("receive frame %d: %v", i, err)
			return
		}
		want := frame(i, content(i))
		if err := f.Check(want.Tag, want.Payload.Len()); err != nil || !bytes.Equal(bytes.Join(f.Payload, nil), content(i)) {
			t.Errorf("frame %d: got %v, %d bytes; want %v, %d bytes (or contents differ): %v", i, f.Tag, f.Payload.Len(), want.Tag, want.Payload.Len(), err)
			return
		}
	}
}

func testOrder(t *testing.T, a, b allreduce.Link) {
	const n = 100
	var wg sync.WaitGroup
	for _, l := range []allreduce.Link{a, b} {
		wg.Go(func() {
			if err := sendAll(t.Context(), l, n); err != nil {
				t.Errorf("send: %v", err)
			}
		})
		wg.Go(func() { recvAll(t, l, n) })
	}
	wg.Wait()
}

// fill sends until the link takes no more.
func fill(t *testing.T, l allreduce.Link) (sent int) {
	t.Helper()
	payload := make([]byte, 64<<10)
	// A slow machine only ends this early, which still passes: the deadline is not an expectation.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	const most = 4096
	for i := range most {
		if err := l.Send(ctx, frame(i, payload)); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("send into a full link: %v, want the context's error", err)
			}
			return i
		}
	}
	t.Fatalf("link took %d frames that nobody received: want bounded memory", most)
	return 0
}

func testBounded(t *testing.T, a, b allreduce.Link) {
	n := fill(t, a)
	for i := range n {
		f, err := b.Recv(t.Context())
		if err != nil {
			t.Fatalf("receive: %v", err)
		}
		if f.Tag != frame(i, nil).Tag {
			t.Fatalf("frame %d: got %v", i, f.Tag)
		}
	}
	// The context ended the call and not the link.
	if err := a.Send(t.Context(), frame(n, nil)); err != nil {
		t.Fatalf("send after there is room again: %v", err)
	}
	if f, err := b.Recv(t.Context()); err != nil || f.Tag != frame(n, nil).Tag {
		t.Fatalf("receive after a send was given up: %v, %v", f, err)
	}
}

// testRoom: where there is room, Send does not wait, and there is some again when frames have been received.
func testRoom(t *testing.T, a, b allreduce.Link) {
	for range 3 {
		n := 0
		for ; a.Room(); n++ {
			if n == 4096 {
				t.Fatalf("link has room for more than %d frames that nobody received", n)
			}
			if err := a.Send(t.Context(), frame(n, nil)); err != nil {
				t.Fatalf("send: %v", err)
			}
		}
		sent := make(chan error, 1)
		go func() { sent <- a.Send(t.Context(), frame(n, nil)) }() // waits for room, which comes with what is received
		for i := range n + 1 {
			if f, err := b.Recv(t.Context()); err != nil || f.Tag != frame(i, nil).Tag {
				t.Fatalf("receive frame %d: %v, %v", i, f, err)
			}
		}
		if err := <-sent; err != nil {
			t.Fatalf("send when there is room again: %v", err)
		}
	}
}

func testContextEndsRecv(t *testing.T, a, _ allreduce.Link) {
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() {
		_, err := a.Recv(ctx)
		got <- err
	}()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("receive with a cancelled context: %v", err)
	}
	if err := a.Err(); err != nil {
		t.Errorf("link ended with the context of a call: %v", err)
	}
}

func testPlannedCloseDelivers(t *testing.T, a, b allreduce.Link) {
	const n = 3
	if err := sendAll(t.Context(), a, n); err != nil {
		t.Fatalf("send: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Close(nil) }()
	<-b.Done()
	recvAll(t, b, n)
	if _, err := b.Recv(t.Context()); !errors.Is(err, allreduce.ErrPlanned) {
		t.Errorf("receive after a planned end: %v, want ErrPlanned", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("planned close: %v", err)
	}
	if !errors.Is(a.Err(), allreduce.ErrPlanned) || !errors.Is(b.Err(), allreduce.ErrPlanned) {
		t.Errorf("ends after a planned close: %v, %v", a.Err(), b.Err())
	}
}

func testPlannedCloseEndsSend(t *testing.T, a, b allreduce.Link) {
	fill(t, a)
	got := make(chan error, 1)
	go func() {
		for { // a link that was not filled in time takes some more
			if err := a.Send(t.Context(), frame(0, nil)); err != nil {
				got <- err
				return
			}
		}
	}()
	if err := b.Close(allreduce.ErrPlanned); err != nil {
		t.Errorf("planned close by the receiver: %v", err)
	}
	if err := <-got; !errors.Is(err, allreduce.ErrPlanned) {
		t.Errorf("send to a peer that has left: %v, want ErrPlanned", err)
	}
}

func testFaultTravels(t *testing.T, a, b allreduce.Link) {
	got := make(chan error, 1)
	go func() {
		_, err := b.Recv(t.Context())
		got <- err
	}()
	cause := &allreduce.Fault{Culprit: 3, HasCulprit: true, How: "was seen to fail", Err: errors.New("reason")}
	if err := a.Close(cause); err != nil {
		t.Errorf("close: %v", err)
	}
	check := func(err error) {
		t.Helper()
		var f *allreduce.Fault
		if !errors.As(err, &f) || !f.HasCulprit || f.Culprit != 3 || !strings.Contains(f.Error(), "was seen to fail: reason") {
			t.Errorf("after the peer closed with %v: %v", cause, err)
		}
	}
	check(<-got)
	<-b.Done()
	check(b.Err())
	check(b.Send(t.Context(), frame(0, nil)))
	<-a.Done()
	check(a.Err())
	if _, err := a.Recv(t.Context()); err == nil {
		t.Errorf("receive on a closed link succeeded")
	}
}

// A receiver that is busy elsewhere learns of a fault although there are frames that it has not received.
func testFaultTravelsPastFrames(t *testing.T, a, b allreduce.Link) {
	fill(t, a)
	if err := a.Close(&allreduce.Fault{Culprit: 1, HasCulprit: true, How: "gone"}); err != nil {
		t.Errorf("close: %v", err)
	}
	<-b.Done()
	var f *allreduce.Fault
	if !errors.As(b.Err(), &f) || f.Culprit != 1 {
		t.Errorf("end of the link: %v", b.Err())
	}
}

func testErrorBlamesNobody(t *testing.T, a, b allreduce.Link) {
	if err := a.Close(errors.New("no disk")); err != nil {
		t.Errorf("close: %v", err)
	}
	_, err := b.Recv(t.Context())
	var f *allreduce.Fault
	if !errors.As(err, &f) || f.HasCulprit || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("after the peer closed with a plain error: %v", err)
	}
}

func testCloseTwice(t *testing.T, a, b allreduce.Link) {
	first := errors.New("first")
	var wg sync.WaitGroup
	if err := a.Close(first); err != nil {
		t.Errorf("close: %v", err)
	}
	for range 3 {
		wg.Go(func() {
			if err := a.Close(nil); err != nil {
				t.Errorf("close again: %v", err)
			}
		})
	}
	wg.Wait()
	if !errors.Is(a.Err(), first) {
		t.Errorf("error after two closes: %v, want the first", a.Err())
	}
	<-b.Done()
}

func testBeats(t *testing.T, a, b allreduce.Link) {
	if got := b.Beat(); got != 0 {
		t.Fatalf("beat before the first: %d", got)
	}
	for beat := uint64(1); beat < 4; beat++ {
		awaitBeat(t, a, b, beat, a, b)
	}
}

// Beats arrive although the frames' room is used up.
func testBeatsPassFrames(t *testing.T, a, b allreduce.Link) {
	fill(t, a)
	awaitBeat(t, a, b, 9, b, a)
}

// awaitBeat sends a beat from a to b, and frames from one end to the other meanwhile, which may be faster. The deadline only ends a test that fails.
func awaitBeat(t *testing.T, a, b allreduce.Link, beat uint64, from, to allreduce.Link) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		a.SendBeat(beat)
		if err := from.Send(t.Context(), frame(0, nil)); err != nil {
			t.Fatalf("send: %v", err)
		}
		if _, err := to.Recv(t.Context()); err != nil {
			t.Fatalf("receive: %v", err)
		}
		if b.Beat() == beat {
			return
		}
	}
	t.Fatalf("beat %d has not arrived, the newest is %d", beat, b.Beat())
}

// testConcurrent uses everything at once, for the race detector, and closes from both sides in the middle.
func testConcurrent(t *testing.T, a, b allreduce.Link) {
	var wg sync.WaitGroup
	halfway := make(chan struct{})
	for _, l := range []allreduce.Link{a, b} {
		wg.Go(func() {
			for i := 0; l.Send(t.Context(), frame(i, content(i))) == nil; i++ {
				l.SendBeat(uint64(i))
			}
		})
		wg.Go(func() {
			for i := 0; ; i++ {
				if _, err := l.Recv(t.Context()); err != nil {
					return
				}
				if l.Beat() > uint64(i)+allreduce.MaxPayload {
					t.Errorf("beat %d was never sent", l.Beat())
				}
				if i == 50 && l == a {
					close(halfway)
				}
			}
		})
	}
	<-halfway
	for _, l := range []allreduce.Link{a, b} {
		wg.Go(func() {
			if err := l.Close(errors.New("enough")); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wg.Wait()
}
