package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

// What links of a benchmark run over.
const (
	pathAuto   = "auto"   // what workers choose
	pathMemory = "memory" // unix sockets, and memory that is shared
	pathUnix   = "unix"
	pathTCP    = "tcp"
)

func paths() []string { return []string{pathAuto, pathMemory, pathUnix, pathTCP} }

// memberPlan is what a member reads first, on its standard input; the addresses of all members come next.
type memberPlan struct {
	Rank, Size int
	MiB        []int
	Codecs     []string
	Path       string
	Rounds     int
	Token      string
}

// memberHello is what a member writes first, on its standard output: where it listens.
type memberHello struct{ Address string }

// memberRow is what it writes for each size and codec.
type memberRow struct {
	Path         string
	Seconds, CPU []float64 // by round
	Error        float64   // largest of an element
}

// ringMember is a member's process, as its parent sees it. It ends when its standard input does.
type ringMember struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	in    *json.Encoder
	out   *json.Decoder
}

// ring measures all sizes and codecs in a ring of n.
func (o *ringOptions) ring(ctx context.Context, n int) (rows []ringRow, err error) {
	var members []*ringMember
	defer func() {
		for _, m := range members {
			err = errors.Join(err, m.end())
		}
	}()
	token := rand.Text()
	addresses := make([]string, n)
	for rank := range n {
		m, err := startMember(ctx)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
		plan := memberPlan{Rank: rank, Size: n, MiB: o.mib, Codecs: o.codecs, Path: o.path, Rounds: o.rounds, Token: token}
		var hello memberHello
		if err := errors.Join(m.in.Encode(plan), m.out.Decode(&hello)); err != nil {
			return nil, fmt.Errorf("start member %d: %w", rank, err)
		}
		addresses[rank] = hello.Address
	}
	for rank, m := range members {
		if err := m.in.Encode(addresses); err != nil {
			return nil, fmt.Errorf("tell member %d: %w", rank, err)
		}
	}
	for _, mib := range o.mib {
		for _, codec := range o.codecs {
			row := ringRow{Workers: n, MiB: mib, Codec: codec, Rounds: o.rounds}
			if err := row.hear(members); err != nil {
				return nil, fmt.Errorf("%d MiB, %s: %w", mib, codec, err)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// hear adds up what the members say about a row.
func (r *ringRow) hear(members []*ringMember) error {
	wall, cpu := make([]float64, r.Rounds), make([]float64, r.Rounds)
	for rank, m := range members {
		var got memberRow
		if err := m.out.Decode(&got); err != nil {
			return fmt.Errorf("member %d: %w", rank, err)
		}
		if len(got.Seconds) != r.Rounds || len(got.CPU) != r.Rounds {
			return fmt.Errorf("member %d: %d rounds, want %d", rank, len(got.Seconds), r.Rounds)
		}
		for i := range wall {
			wall[i], cpu[i] = max(wall[i], got.Seconds[i]), cpu[i]+got.CPU[i]
		}
		r.Path, r.Error = got.Path, max(r.Error, got.Error)
	}
	r.Median, r.Min, r.Max = median(wall), slices.Min(wall), slices.Max(wall)
	r.CPU = median(cpu)
	r.PerCPU = 1e9 * r.CPU / float64(r.MiB<<18)
	return nil
}

// memberArgs are the arguments of a member's process.
var memberArgs = []string{"bench", "allreduce", "member"}

func startMember(ctx context.Context) (*ringMember, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &ringMember{cmd: exec.CommandContext(ctx, exe, memberArgs...)}
	m.cmd.Stderr = os.Stderr
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.in, m.out = json.NewEncoder(m.stdin), json.NewDecoder(stdout)
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start member: %w", err)
	}
	return m, nil
}

func (m *ringMember) end() error {
	// The process may have gone before; how it ended counts.
	_ = m.stdin.Close()
	if err := m.cmd.Wait(); err != nil {
		return fmt.Errorf("member: %w", err)
	}
	return nil
}
