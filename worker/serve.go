package worker

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// copyChunk is the payload of one frame, in words. Few frames have little latency, and a chunk should stay in a core's cache from one pass to the next.
const copyChunk = 1 << 17

// stateServer hands the state that this worker holds to joiners.
type stateServer struct {
	rpcpb.UnimplementedPeerServiceServer
	agent *agent
}

// FetchState sends words of the state over a link.
func (s *stateServer) FetchState(stream grpc.BidiStreamingServer[rpcpb.FetchStateRequest, rpcpb.FetchStateResponse]) error {
	return s.agent.links.Answer(stream, func(ctx context.Context, l allreduce.Link) error {
		req, tag, err := receiveRequest(ctx, l)
		if err == nil {
			err = s.send(ctx, l, req, tag)
		}
		if err != nil { // nobody is to blame: the caller's generation is over, or this worker's has not begun
			err = &allreduce.Fault{How: fmt.Sprintf("worker %s, job %s", s.agent.cfg.ID, req.GetJobId()), Err: err}
		}
		return err
	})
}

func receiveRequest(ctx context.Context, l allreduce.Link) (*rpcpb.FetchStateRequest, allreduce.Tag, error) {
	f, err := l.Recv(ctx)
	if err != nil {
		return nil, allreduce.Tag{}, err
	}
	req, err := openMessage(f, f.Tag, &rpcpb.FetchStateRequest{})
	if err == nil && (f.Tag.Job != jobTag(req.JobId) || int64(f.Tag.Step) != req.Step) {
		err = fmt.Errorf("frame of %s asks for the state of job %s at step %d", f.Tag, req.JobId, req.Step)
	}
	return req, f.Tag, err
}

// send answers in frames that have the request's tag and are counted from 1 on. Another step than the one asked for is refused, also in the middle.
func (s *stateServer) send(ctx context.Context, l allreduce.Link, req *rpcpb.FetchStateRequest, tag allreduce.Tag) error {
	r := s.agent.held(req.JobId)
	if r == nil {
		return fmt.Errorf("no state is held")
	}
	if n := uint64(r.words()); req.First >= n || req.Count > n-req.First {
		return fmt.Errorf("words %d to %d of a state that has %d", req.First, req.First+req.Count, n)
	}
	step := ringleader.Step(req.Step)
	header, err := r.stand(step)
	if err != nil {
		return err
	}
	tag.Chunk++
	if err := sendMessage(ctx, l, tag, &rpcpb.FetchStateResponse{Header: header}); err != nil {
		return err
	}
	buf := make([]float32, min(copyChunk, req.Count))
	for at, end := req.First, req.First+req.Count; at < end; at += copyChunk {
		part := buf[:min(copyChunk, end-at)]
		if err := r.read(step, int(at), part); err != nil {
			return err
		}
		tag.Chunk++
		if err := sendFrame(ctx, l, tag, bytesOf(part)); err != nil {
			return err
		}
	}
	return nil
}

func sendFrame(ctx context.Context, l allreduce.Link, tag allreduce.Tag, payload []byte) error {
	return l.Send(ctx, &allreduce.Frame{Tag: tag, Payload: allreduce.Payload{payload}})
}

func sendMessage(ctx context.Context, l allreduce.Link, tag allreduce.Tag, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return sendFrame(ctx, l, tag, data)
}

// openMessage is the message that a frame carries.
func openMessage[M proto.Message](f *allreduce.Frame, due allreduce.Tag, into M) (M, error) {
	if err := f.Check(due, f.Payload.Len()); err != nil {
		return into, err
	}
	var data []byte
	for _, piece := range f.Payload {
		data = append(data, piece...)
	}
	return into, proto.Unmarshal(data, into)
}
