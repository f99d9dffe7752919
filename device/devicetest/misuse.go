package devicetest

import (
	"errors"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// parts are well-formed arguments, of which a misuse spoils one.
type parts struct {
	l             device.Lane
	m, other, odd device.Mat // 4x6, 4x6, 4x5
	w             device.Mat // 6x6
	v4, v6, v5    device.F32
	qkv           device.Mat // 4x18
	index         device.I32 // 2
	times         device.I64 // 2
	periods       device.F64 // 2
	lanes         device.Mat // 4x5
	seg, short    device.Segments
	fixed         device.I64 // 6
	words         device.I16 // 6
	words32       device.I32 // 6
	exponents     device.I8  // 1
	out           device.F64
	mask          device.U32
	sums          device.U64 // 2
}

func (e *env) parts() *parts {
	m := func(rows, cols int) device.Mat { return e.mat(e.normal(rows, cols), 0) }
	return &parts{
		l: e.lane, m: m(4, 6), other: m(4, 6), odd: m(4, 5), w: m(6, 6), v4: buf(e, e.floats(4, 1)), v6: buf(e, e.floats(6, 1)), v5: buf(e, e.floats(5, 1)),
		qkv: m(4, 18), index: buf(e, []int32{0, 1, 2, 3}), times: buf(e, make([]int64, 4)), periods: buf(e, []float64{1, 2}),
		lanes: m(4, 5), seg: e.segments(1, 3), short: e.segments(3), fixed: buf(e, make([]int64, 6)),
		words: buf(e, make([]int16, 6)), words32: buf(e, make([]int32, 6)), exponents: buf(e, make([]int8, 1)), out: buf(e, make([]float64, 2)), mask: buf(e, make([]uint32, 2)), sums: buf(e, make([]uint64, 2)),
	}
}

func (p *parts) allAction() *device.AllAction {
	return &device.AllAction{
		Users: p.m, Items: p.w, Pool: 5, PoolBias: p.v5, Mask: p.mask, Seg: p.seg, Lo: []int32{0, 0, 1, 1}, Hi: []int32{1, 2, 3, 4},
		Weight: p.v4, Positive: p.index, PosBias: p.v4, InvTau: 1,
	}
}

func (p *parts) norm(gamma, mean device.F32) device.Norm {
	return device.Norm{Y: p.m, Gamma: gamma, Beta: p.v6, Mean: mean, RStd: p.v4}
}

// spoil runs the loss with one thing wrong.
func (p *parts) spoil(change func(a *device.AllAction)) {
	a := p.allAction()
	change(a)
	p.l.DenseAllAction(p.out, p.other, device.Mat{Data: p.w.Data, Rows: 6, Cols: 6, Stride: 6}, a)
}

var misuses = map[string]func(p *parts){
	"Upload to nowhere":         func(p *parts) { p.l.Copy(0, p.m.Data.Addr, 8) },
	"Copy of less than nothing": func(p *parts) { p.l.Copy(p.m.Data.Addr, p.other.Data.Addr, -1) },
	"Zero nowhere":              func(p *parts) { p.l.Zero(0, 8) },
	"SetPrecision":              func(p *parts) { p.l.SetPrecision(7) },
	"MatMul inner size":         func(p *parts) { p.l.MatMul(p.m, 1, p.odd, false, p.w, false, 0) },
	"MatMul result size":        func(p *parts) { p.l.MatMul(p.odd, 1, p.m, false, p.w, false, 0) },
	"MatMul zero operand":       func(p *parts) { p.l.MatMul(p.m, 1, device.Mat{}, false, p.w, false, 0) },
	"MatMul stride":             func(p *parts) { m := p.m; m.Stride = 5; p.l.MatMul(p.other, 1, m, false, p.w, false, 0) },
	"MatMul small buffer":       func(p *parts) { m := p.m; m.Data.N--; p.l.MatMul(p.other, 1, m, false, p.w, false, 0) },
	"MatMul negative":           func(p *parts) { m := p.m; m.Rows = -4; p.l.MatMul(m, 1, m, false, p.w, false, 0) },
	"MatMul huge":               func(p *parts) { m := p.m; m.Rows = 1 << 61; p.l.MatMul(m, 1, m, false, p.w, false, 0) },
	"Linear bias":               func(p *parts) { p.l.Linear(p.m, p.other, p.w, p.v4) },
	"Linear weight":             func(p *parts) { p.l.Linear(p.m, p.other, p.odd, device.F32{}) },
	"LinearBackward dw":         func(p *parts) { p.l.LinearBackward(p.m, p.odd, p.v6, p.other, p.m, p.w, device.Mat{}) },
	"LinearBackward dbias":      func(p *parts) { p.l.LinearBackward(device.Mat{}, p.w, p.v5, p.other, p.m, p.w, device.Mat{}) },
	"Add":                       func(p *parts) { p.l.Add(p.m, p.other, p.odd) },
	"LinearBackward slope":      func(p *parts) { p.l.LinearBackward(p.m, p.w, p.v6, p.other, p.m, p.w, p.odd) },
	"LinearGELU bias":           func(p *parts) { p.l.LinearGELU(p.m, device.Mat{}, p.other, p.w, p.v5, device.Dropping{}) },
	"LinearGELU slope":          func(p *parts) { p.l.LinearGELU(p.m, p.odd, p.other, p.w, p.v6, device.Dropping{}) },
	"LinearGELU rate":           func(p *parts) { p.l.LinearGELU(p.m, device.Mat{}, p.other, p.w, p.v6, device.Dropping{Rate: 1}) },
	"LinearAdd residual":        func(p *parts) { p.l.LinearAdd(p.m, p.odd, p.other, p.w, p.v6, device.Dropping{}, device.Norm{}) },
	"LinearAdd rate": func(p *parts) {
		p.l.LinearAdd(p.m, p.other, p.other, p.w, p.v6, device.Dropping{Rate: -1}, device.Norm{})
	},
	"LinearAdd norm":              func(p *parts) { p.l.LinearAdd(p.m, p.other, p.other, p.w, p.v6, device.Dropping{}, p.norm(p.v6, p.v5)) },
	"LayerNorm gamma":             func(p *parts) { p.l.LayerNorm(p.other, p.norm(p.v5, p.v4)) },
	"LayerNorm mean":              func(p *parts) { p.l.LayerNorm(p.other, p.norm(p.v6, p.v5)) },
	"LayerNormBackward":           func(p *parts) { p.l.LayerNormBackward(p.m, p.v6, p.v5, p.other, p.m, p.v6, p.v4, p.v4) },
	"L2Norm":                      func(p *parts) { p.l.L2Norm(p.m, device.F32{}, p.other) },
	"L2NormBackward":              func(p *parts) { p.l.L2NormBackward(p.odd, p.other, p.m, p.v4) },
	"Dropout rate 1":              func(p *parts) { p.l.Dropout(p.m, p.other, device.Dropping{Rate: 1}) },
	"Dropout rate below 0":        func(p *parts) { p.l.Dropout(p.m, p.other, device.Dropping{Rate: -0.1}) },
	"Dropout shape":               func(p *parts) { p.l.Dropout(p.m, p.odd, device.Dropping{Rate: 0.1}) },
	"Gather columns":              func(p *parts) { p.l.Gather(p.m, p.odd, p.index) },
	"Gather index count":          func(p *parts) { p.l.Gather(p.m, p.other, p.index.Slice(0, 3)) },
	"GatherAdd zero source":       func(p *parts) { p.l.GatherAdd(p.m, device.Mat{Rows: 4, Cols: 6, Stride: 6}, p.index) },
	"ScatterAdd columns":          func(p *parts) { p.l.ScatterAdd(p.m, p.odd, p.index) },
	"EncodeTime lanes":            func(p *parts) { p.l.EncodeTime(p.m, p.times, p.periods, p.v4, 1) },
	"EncodeTime phases":           func(p *parts) { p.l.EncodeTime(p.lanes, p.times, p.periods, p.v5, 1) },
	"EncodeTimeBackward":          func(p *parts) { p.l.EncodeTimeBackward(p.v5, p.lanes, p.times, p.periods, p.v4) },
	"Attention heads":             func(p *parts) { p.l.Attention(p.m, p.qkv, p.v4, p.seg, 4) },
	"Attention no heads":          func(p *parts) { p.l.Attention(p.m, p.qkv, p.v4, p.seg, 0) },
	"Attention qkv":               func(p *parts) { p.l.Attention(p.m, p.m, p.v4, p.seg, 1) },
	"Attention lse":               func(p *parts) { p.l.Attention(p.m, p.qkv, p.v4, p.seg, 2) },
	"Attention segments":          func(p *parts) { p.l.Attention(p.m, p.qkv, p.v4, p.short, 1) },
	"Attention falling segments":  func(p *parts) { s := p.seg; s.Host = []int32{0, 5, 4}; p.l.Attention(p.m, p.qkv, p.v4, s, 1) },
	"AttentionBackward":           func(p *parts) { p.l.AttentionBackward(p.m, p.m, p.other, p.qkv, p.v4, p.seg, 1) },
	"DenseAllAction nil":          func(p *parts) { p.l.DenseAllAction(p.out, p.m, p.w, nil) },
	"DenseAllAction out":          func(p *parts) { p.l.DenseAllAction(p.out.Slice(0, 1), p.other, p.w, p.allAction()) },
	"DenseAllAction no pool":      func(p *parts) { p.spoil(func(a *device.AllAction) { a.Pool, a.PoolBias = 0, device.F32{} }) },
	"DenseAllAction large pool":   func(p *parts) { p.spoil(func(a *device.AllAction) { a.Pool = 7 }) },
	"DenseAllAction mask":         func(p *parts) { p.spoil(func(a *device.AllAction) { a.Mask = a.Mask.Slice(0, 1) }) },
	"DenseAllAction weight":       func(p *parts) { p.spoil(func(a *device.AllAction) { a.Weight = p.v5 }) },
	"DenseAllAction band beyond":  func(p *parts) { p.spoil(func(a *device.AllAction) { a.Hi = []int32{1, 2, 3, 5} }) },
	"DenseAllAction band below":   func(p *parts) { p.spoil(func(a *device.AllAction) { a.Lo = []int32{-1, 0, 1, 1} }) },
	"DenseAllAction falling band": func(p *parts) { p.spoil(func(a *device.AllAction) { a.Hi = []int32{1, 4, 3, 4} }) },
	"DenseAllAction reversed band": func(p *parts) {
		p.spoil(func(a *device.AllAction) { a.Lo = []int32{0, 3, 3, 4}; a.Hi = []int32{1, 2, 3, 4} })
	},
	"DenseAllAction bands missing": func(p *parts) { p.spoil(func(a *device.AllAction) { a.Lo = a.Lo[:3] }) },
	"DenseAllAction positive bias": func(p *parts) { p.spoil(func(a *device.AllAction) { a.PosBias = p.v5 }) },
	"ToFixed":                      func(p *parts) { p.l.ToFixed(p.fixed, p.v5, 1, p.fixed) },
	"ToFixed bad":                  func(p *parts) { p.l.ToFixed(p.fixed, p.v6, 1, device.I64{}) },
	"FromFixed":                    func(p *parts) { p.l.FromFixed(p.v5, p.fixed, 1) },
	"RaiseExponents":               func(p *parts) { p.l.RaiseExponents(p.exponents.Slice(0, 0), p.v6) },
	"ToBlocks16 acc":               func(p *parts) { p.l.ToBlocks16(p.words, p.v5, p.exponents, 9, p.fixed) },
	"ToBlocks16 exponents":         func(p *parts) { p.l.ToBlocks16(p.words, p.v6, p.exponents.Slice(0, 0), 9, p.fixed) },
	"ToBlocks16 fraction":          func(p *parts) { p.l.ToBlocks16(p.words, p.v6, p.exponents, 16, p.fixed) },
	"ToBlocks16 bad":               func(p *parts) { p.l.ToBlocks16(p.words, p.v6, p.exponents, 9, device.I64{}) },
	"ToBlocks32 fraction":          func(p *parts) { p.l.ToBlocks32(p.words32, p.v6, p.exponents, -1, p.fixed) },
	"FromBlocks16 acc":             func(p *parts) { p.l.FromBlocks16(p.v5, p.words, p.exponents, 9, 1) },
	"FromBlocks32 acc":             func(p *parts) { p.l.FromBlocks32(p.v5, p.words32, p.exponents, 9, 1) },
	"SquaredNorm":                  func(p *parts) { p.l.SquaredNorm(device.F32{N: 3}) },
	"AdamW":                        func(p *parts) { p.l.AdamW(p.v4, p.v4, p.v5, p.v4, device.AdamW{}, device.Hashes{Sums: p.sums}) },
	"AdamW sums": func(p *parts) {
		p.l.AdamW(p.v4, p.v4, p.v4, p.v4, device.AdamW{}, device.Hashes{Sums: p.sums.Slice(0, 1)})
	},
	"Hash": func(p *parts) { p.l.Hash(device.F32{N: 3}, 0) },
}

// misuse: whatever shapes can tell is an error of the lane, and nothing is written.
func misuse(t *testing.T, open func(t testing.TB) device.Device) {
	d := openDevice(t, open)
	for name, run := range misuses {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, d, place{})
			p := e.parts()
			if err := e.lane.Sync(); err != nil {
				t.Fatal(err)
			}
			before := p.snapshot(e)
			run(p)
			err := e.lane.Sync()
			if err == nil {
				t.Fatal("it is no error")
			}
			// The lane is done for: later operators do nothing, and the first error stays.
			p.l.Add(p.m, p.m, p.m)
			p.l.Hash(device.F32{N: 1}, 0)
			if again := e.lane.Sync(); again == nil || again.Error() != err.Error() {
				t.Errorf("the error became %v, it was %v", again, err)
			}
			e.lane = openLane(t, d)
			same(e, "memory", p.snapshot(e), before)
		})
	}
}

// snapshot is all memory that a misuse could write to.
func (p *parts) snapshot(e *env) []float32 {
	var all []float32
	for _, b := range []device.F32{p.m.Data, p.other.Data, p.odd.Data, p.w.Data, p.v4, p.v5, p.v6, p.qkv.Data, p.lanes.Data} {
		all = append(all, read(e, b)...)
	}
	return all
}

// memory: what Malloc promises.
func memory(t *testing.T, open func(t testing.TB) device.Device) {
	d := openDevice(t, open)
	e := newEnv(t, d, place{})
	for _, n := range []int{0, 1, 63, 4096, 1 << 17} {
		for range 2 { // the second time, memory may be what the first freed
			b, err := device.Alloc[uint32](d, n)
			if err != nil || b.Addr == 0 || b.Addr%64 != 0 {
				t.Fatalf("allocate %d words: address %x, error %v: want a multiple of 64", n, b.Addr, err)
			}
			same(e, "fresh memory", read(e, b), make([]uint32, n))
			dirt := make([]uint32, n)
			for i := range dirt {
				dirt[i] = guard
			}
			device.Upload(e.lane, b, dirt)
			same(e, "uploaded memory", read(e, b), dirt)
			d.Free(b.Addr)
		}
	}
	d.Free(0)
	if addr, err := d.Malloc(-1); err == nil {
		t.Errorf("allocating -1 bytes gives %x", addr)
	}
	var full *device.OutOfMemory
	if addr, err := d.Malloc(1 << 60); !errors.As(err, &full) || full.Device != d.Name() || full.Asked != 1<<60 || full.Free < 0 || full.Free >= 1<<60 {
		t.Errorf("allocating 2^60 bytes gives %x, error %v: want that so much was asked, and what was free", addr, err)
	}
}

// hosted checks a device whose memory the host sees; others have nothing to show.
func hosted(t *testing.T, open func(t testing.TB) device.Device) {
	d := openDevice(t, open)
	e := newEnv(t, d, place{})
	const n, lo, hi = 3 << 20, 1000, 2 << 20 // also copies that a device may share among threads
	all, err := device.Alloc[int32](d, n)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free(all.Addr)
	part := all.Slice(lo, hi)
	view := device.View(d, part)
	if view == nil {
		t.Skip("the host does not see this device's memory")
	}
	if len(view) != part.N {
		t.Fatalf("a view of %d elements has %d", part.N, len(view))
	}
	wrote := make([]int32, part.N)
	for i := range wrote {
		wrote[i] = e.rng.Int32()
	}
	device.Upload(e.lane, part, wrote)
	if err := e.lane.Sync(); err != nil {
		t.Fatal(err)
	}
	same(e, "the view of what was uploaded", view, wrote)
	for i := range view {
		view[i]++
		wrote[i]++
	}
	device.Upload(e.lane, part, view)
	device.Download(e.lane, view, part)
	same(e, "what was written through the view", read(e, part), wrote)
	same(e, "what is before the view", read(e, all.Slice(0, lo)), make([]int32, lo))
	if device.View(d, all.Slice(lo, lo)) != nil {
		t.Error("there is a view of nothing")
	}
}
