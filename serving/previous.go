package serving

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// previous walks through the users of an earlier generation in the order of their ids. A nil one has none.
type previous struct {
	*Manifest
	store checkpoints.Store
	note  func(string)
	next  int  // file
	part  part // the one at hand
	at    int  // row of it
}

// vector is that of a user, with the hash of what it was computed from.
type vector struct {
	input  uint64
	halves []uint16
}

// previous finds the generation that vectors may be taken from; nil if there is none. What is there must be of the same model, unless all is to be made anew.
func (x *export) previous(ctx context.Context) (*previous, error) {
	stores := []checkpoints.Store{x.Out}
	if x.From != x.Out {
		stores = append(stores, x.From)
	}
	there := true
	for _, store := range stores {
		current, err := ReadManifest(ctx, store, "")
		if there = err == nil; there {
			err = current.differs(&x.id)
		}
		ignored := errors.Is(err, ErrOther) || errors.Is(err, checkpoints.ErrCorrupt)
		switch {
		case err == nil || x.Full && ignored:
		case errors.Is(err, checkpoints.ErrNotExist) && store == x.Out:
		case ignored:
			return nil, fmt.Errorf("%s: %w; vectors of two models do not mix: only a full run goes on from there", store.URL(), err)
		default:
			return nil, fmt.Errorf("%s: %w", store.URL(), err)
		}
	}
	if x.Full || !there {
		return nil, nil
	}
	m, err := AsOf(ctx, x.From, x.AsOfMS)
	if damaged(err) {
		if errors.Is(err, checkpoints.ErrCorrupt) {
			x.Note(fmt.Sprintf("all vectors are computed: %v", err))
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &previous{Manifest: m, store: x.From, note: x.Note}, nil
}

func (v *previous) name() string {
	if v == nil {
		return ""
	}
	return v.Generation
}

// take gives the vectors of users with ids from first to last. Later calls ask for later ids.
func (v *previous) take(ctx context.Context, first, last string) (map[string]vector, error) {
	if v == nil {
		return nil, nil
	}
	rows := map[string]vector{}
	for {
		for ; v.at < len(v.part.ids); v.at++ {
			id := v.part.ids[v.at]
			if id > last {
				return rows, nil
			}
			if id >= first {
				rows[id] = vector{v.part.inputs[v.at], v.part.vector(v.at)}
			}
		}
		if more, err := v.advance(ctx); err != nil || !more {
			return rows, err
		}
	}
}

// advance goes to the next part. A damaged one costs time only: its users are computed anew.
func (v *previous) advance(ctx context.Context) (bool, error) {
	for v.next < len(v.Files) {
		f := v.Files[v.next]
		v.next++
		if !strings.HasPrefix(f.Name, usersPrefix) {
			continue
		}
		p, _, err := fetch(ctx, v.store, v.Generation+"/"+f.Name, f.SHA256, v.Dim)
		if err == nil {
			v.part, v.at = *p, 0
			return true, nil
		}
		if !damaged(err) {
			return false, err
		}
		v.note(fmt.Sprintf("users of a damaged part are computed: %v", err))
	}
	return false, nil
}
