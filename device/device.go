// Package device is the seam between models and hardware: buffers, and the operators that a user-sequence
// model needs, forward and backward. Package model is written once against it; device/cpu implements it and
// is the reference, device/cuda follows. device/devicetest is the conformance suite for all of them.
//
// # Contract
//
// A Device owns memory. A Lane runs operators one after another on that memory; a device computes as many
// shards at a time as it has lanes. A lane is used by one goroutine at a time. Operators return nothing: they may run
// asynchronously, and the first failure sticks to the lane and is returned by Sync, as is every misuse that can be told from shapes
// (a panic would take down a process that holds a state others may need).
//
// # Determinism
//
// Every operator's result is a function of its arguments alone: of bits, shapes and strides; never of the number of lanes or
// threads, of addresses or of time. There are no atomic float additions. Gradients of parameters are
// accumulated (+=), so that a shard's gradient starts from zeroed memory; gradients of activations are overwritten
// unless an operator says otherwise.
//
// Matrices are row-major. "T" below is tokens of a packed shard, "S" its segments (users).
package device

import (
	"sync/atomic"
	"unsafe"
)

// Number is what a buffer may hold.
type Number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint32 | uint64
}

// Buf is a run of n elements of device memory. The zero Buf is empty. Copying a Buf copies the reference.
type Buf[T Number] struct {
	Addr uintptr // device address of element 0, aligned to the element
	N    int     // elements
}

// Slice is elements lo..hi-1, sharing memory. It panics if they are not within b, as slicing does.
func (b Buf[T]) Slice(lo, hi int) Buf[T] {
	if lo < 0 || hi < lo || hi > b.N {
		panic("device: slice out of range")
	}
	var z T
	return Buf[T]{b.Addr + uintptr(lo)*unsafe.Sizeof(z), hi - lo}
}

// Bytes is the size in bytes.
func (b Buf[T]) Bytes() int { var z T; return b.N * int(unsafe.Sizeof(z)) }

// The buffers that operators take.
type (
	F32 = Buf[float32]
	F64 = Buf[float64]
	I8  = Buf[int8]
	I16 = Buf[int16]
	I32 = Buf[int32]
	I64 = Buf[int64]
	U32 = Buf[uint32]
	U64 = Buf[uint64]
)

// Mat is a row-major matrix view: element (r, c) is Data[r*Stride + c].
type Mat struct {
	Data               F32
	Rows, Cols, Stride int
}

// Matrix views a buffer of rows*cols elements as a dense matrix.
func Matrix(b F32, rows, cols int) Mat { return Mat{b.Slice(0, rows*cols), rows, cols, cols} }

// Columns is the view of columns lo..hi-1.
func (m Mat) Columns(lo, hi int) Mat {
	return Mat{m.Data.Slice(lo, m.Data.N), m.Rows, hi - lo, m.Stride}
}

// RowRange is the view of rows lo..hi-1.
func (m Mat) RowRange(lo, hi int) Mat {
	if lo == hi {
		return Mat{Cols: m.Cols, Stride: m.Stride}
	}
	return Mat{m.Data.Slice(lo*m.Stride, min(hi*m.Stride, m.Data.N)), hi - lo, m.Cols, m.Stride}
}

// IsZero reports whether m is the zero Mat, which operators read as "not wanted".
func (m Mat) IsZero() bool { return m.Data.Addr == 0 }

// Device owns the memory of one accelerator, or of the host.
type Device interface {
	// Name is what the command line calls it: "cpu", "cuda:0".
	Name() string
	// Class is the numerics class: everything beside the job that decides the bits of a gradient (build's architecture,
	// instruction set in use, library versions). Two devices of one class give the same bits.
	Class() string
	// Lanes is how many shards the device computes at a time.
	Lanes() int
	// NewLane opens a lane. beat, if not nil, is advanced by every operator: it proves progress to whoever waits.
	NewLane(beat *atomic.Uint64) (Lane, error)
	// Malloc returns zeroed memory, aligned to 64 bytes. If there is no room, the error is an *OutOfMemory.
	Malloc(bytes int) (uintptr, error)
	// Free releases what Malloc returned.
	Free(addr uintptr)
	// Close releases the device; all lanes must be closed before.
	Close() error
}

// Precision is what matrix products read: those of MatMul, of linear maps and their backward, of attention and of the loss.
type Precision int

// Products add up in float32 whatever they read, and all else is float32.
const (
	Float32  Precision = iota
	BFloat16           // operands are rounded to bfloat16, to nearest even, first
)

// Segments are the users of a packed shard: segment s is tokens Offsets[s] .. Offsets[s+1]-1, where Offsets has
// S+1 elements, on the host (for launch shapes) and on the device.
type Segments struct {
	Host []int32
	Dev  I32
}

// Count is the number of segments, S: none without offsets, too, which an empty shard may have.
func (s Segments) Count() int { return max(len(s.Host)-1, 0) }

// Lane runs operators in order. See the package comment for errors and accumulation.
type Lane interface {
	// Sync waits for everything issued and returns the first error since the lane was opened.
	Sync() error
	// Close releases the lane and its scratch memory.
	Close() error

	// SetPrecision chooses what the products of later operators read, at first Float32.
	SetPrecision(p Precision)

	// Upload copies host memory to the device; src may be reused at once. Download waits, then copies to the host.
	Upload(dst uintptr, src unsafe.Pointer, bytes int)
	Download(dst unsafe.Pointer, src uintptr, bytes int)
	Copy(dst, src uintptr, bytes int)
	Zero(dst uintptr, bytes int)

	Dense
	Sequence
	Loss
	Update
}

// Dense are the operators on plain matrices.
type Dense interface {
	// MatMul: dst = alpha*op(a)*op(b) + beta*dst, where op transposes if told to.
	MatMul(dst Mat, alpha float32, a Mat, transA bool, b Mat, transB bool, beta float32)
	// Linear: y[R,O] = x[R,I] * w[O,I]^T + bias[O]. An empty bias is none.
	Linear(y, x, w Mat, bias F32)
	// LinearGELU: with t = x*w^T + bias, y = drop(GELU(t)) and slope (not written if zero) the derivative of y by t, GELU(t) = t/2 * (1 + erf(t/sqrt 2)).
	LinearGELU(y, slope, x, w Mat, bias F32, drop Dropping)
	// LinearAdd: y = residual + drop(x*w^T + bias), and then LayerNorm(y, norm), unless norm is zero. y is none of the operands.
	LinearAdd(y, residual, x, w Mat, bias F32, drop Dropping, norm Norm)
	// LinearBackward: dx[R,I] = dy[R,O]*w (skipped if dx is zero), times slope[R,I] elementwise unless that is zero: the way back through what
	// gave x. dw[O,I] += dy^T*x, dbias[O] += column sums of dy (skipped if empty).
	LinearBackward(dx, dw Mat, dbias F32, dy, x, w, slope Mat)
	// Add: dst = a + b; dst may be a or b.
	Add(dst, a, b Mat)
	// LayerNorm normalises the rows of x.
	LayerNorm(x Mat, norm Norm)
	// LayerNormBackward: dx += gradient through the normalisation (x feeds a residual too), dgamma +=, dbeta +=.
	LayerNormBackward(dx Mat, dgamma, dbeta F32, dy, x Mat, gamma, mean, rstd F32)
	// L2Norm: y = x/norm, norm[r] = max(||x_r||, 1e-12). L2NormBackward: dx = (dy - <dy,y>y)/norm; dx may be dy.
	L2Norm(y Mat, norm F32, x Mat)
	L2NormBackward(dx, dy, y Mat, norm F32)
	// Dropout: y = drop(x); y may be x. It is its own backward.
	Dropout(y, x Mat, drop Dropping)
}

// Dropping is dropout: element i of a matrix (row-major, ignoring stride) is kept if number i of the stream Key (internal/counter.At) >> 40 is at
// least Rate*2^24, and then divided by 1-Rate; else it becomes 0. Rate is in [0, 1); 0 is none.
type Dropping struct {
	Key  uint64
	Rate float32
}

// Norm is a layer normalisation of R x C rows x: Y = (x-Mean)*RStd*Gamma + Beta, eps 1e-5 inside the root. Gamma and Beta have C elements; Mean and RStd receive R for the
// backward. The zero Norm is none.
type Norm struct {
	Y                       Mat
	Gamma, Beta, Mean, RStd F32
}

// Sequence are the operators on packed sequences.
type Sequence interface {
	// Gather: dst[i,:] = src[index[i],:].
	Gather(dst, src Mat, index I32)
	// GatherAdd: dst[i,:] += src[index[i],:].
	GatherAdd(dst, src Mat, index I32)
	// ScatterAdd is the backward of both: dst[index[i],:] += src[i,:], rows of equal index added in increasing i.
	ScatterAdd(dst, src Mat, index I32)
	// EncodeTime writes the 2P+1 lanes of docs/model.md section 1 for T times in milliseconds: for period p (seconds, float64) lanes
	// 2i = cos(2 pi t/p_i + phase[2i]), 2i+1 = sin(2 pi t/p_i + phase[2i+1]), and last logScale*log(1+t), t in seconds. The phase of t within p is reduced in
	// float64. phases has 2P elements, dst is T x (2P+1).
	EncodeTime(dst Mat, times I64, periods F64, phases F32, logScale float32)
	// EncodeTimeBackward: dphases += gradient.
	EncodeTimeBackward(dphases F32, dy Mat, times I64, periods F64, phases F32)
	// Attention is causal multi-head self-attention inside each segment. qkv is T x 3H (q, k, v side by side; head h is columns
	// h*d..h*d+d-1 of each, d = H/heads), out is T x H, scores are scaled by 1/sqrt(d). lse (T*heads) receives the
	// log-sum-exp of each row's scores for the backward.
	Attention(out, qkv Mat, lse F32, seg Segments, heads int)
	// AttentionBackward: dqkv is overwritten.
	AttentionBackward(dqkv, dout, out, qkv Mat, lse F32, seg Segments, heads int)
}

// AllAction describes one shard's dense all-action loss (docs/model.md section 3), in a general form that
// sampled objectives are cases of, too: token m of segment s has the positives Lo[m] <= j < Hi[m] of the list Positive, each with
// weight Weight[m]; all tokens of a segment share one masked pool.
type AllAction struct {
	Users    Mat      // T x D, unit rows u_m
	Items    Mat      // I x D, unit rows v_i; the first Pool of them are the pool of negatives
	Pool     int      // 1 <= Pool <= I
	PoolBias F32      // Pool elements: log multiplicity - log Q, added to every score of the pool
	Mask     U32      // S x ceil(Pool/32) words: bit n of row s set = pool item n is masked for segment s
	Seg      Segments // users
	Lo, Hi   []int32  // T each, on the host: band of token m, positions in Positive; empty (Lo == Hi) = no target. Non-decreasing within a segment.
	Weight   F32      // T: weight omega_m of each pair of token m
	Positive I32      // P: rows of Items, concatenated over segments in order of time
	PosBias  F32      // P: -log Q of each positive, or 0
	InvTau   float32  // beta = 1/temperature
}

// Loss is the loss.
type Loss interface {
	// DenseAllAction adds the weighted sum of pair losses, and the sum of -<u, dL/du> (which is dL/dlog tau, unclamped), to out[0] and out[1] in
	// float64, and writes dUsers (T x D, overwritten) and dItems (I x D, overwritten; skipped if zero: items that do not learn). Memory is
	// O(T + I), never T x I.
	// A segment whose whole pool is masked has the partition function of its positive alone: loss and gradient 0.
	DenseAllAction(out F64, dUsers, dItems Mat, a *AllAction)
}

// AdamW are the scalars of one update, computed on the host in float64 and rounded once.
type AdamW struct {
	LR, Beta1, Beta2, Eps, Decay float32
	// Correction1 and Correction2 are 1 - beta^t, from running products in the state.
	Correction1, Correction2 float32
	// Scale multiplies the gradient before anything else (clipping).
	Scale float32
}

// Hashes says where AdamW records what it writes: to Sums it adds, mod 2^64, the hashes (exact.WordHash) of all words of a state, while it has them. The words
// of p have the indices from First on, those of m and v follow them Size and 2*Size words later.
type Hashes struct {
	First, Size uint64
	Sums        U64 // 2: of p, of m and v
}

// Update are the operators between the last backward and the next step. They use correctly rounded IEEE operations
// only, in an order fixed here, so that all devices give the same bits for the same input (architecture: replicas of mixed gangs stay equal).
type Update interface {
	// ToFixed adds round-to-nearest-even(x * 2^exact.FractionBits) to acc, both N elements. bad[0] counts NaN, bad[1] values that are
	// of magnitude limit (exact.Limit) or more; those are not added. bad[2] is increased by the sum of what is, mod 2^64.
	ToFixed(acc I64, x F32, limit float32, bad I64)
	// FromFixed: x = float32(float64(acc) / 2^exact.FractionBits / divisor).
	FromFixed(x F32, acc I64, divisor float64)
	// RaiseExponents raises the exponents of x's blocks as exact.RaiseExponents does; one for each block of exact.BlockElements elements.
	RaiseExponents(exponents I8, x F32)
	// ToBlocks16 and ToBlocks32 are exact.ToBlocks: they add round-to-nearest-even(x * 2^(fraction-exponent)) to acc, both N elements. bad[0] counts
	// NaN, bad[1] values that would be 2^fraction or more in magnitude; those are not added. bad[2] is increased by the sum of what is; only its lower 32 bits
	// count. fraction is within 0..15 or 0..31 bits.
	ToBlocks16(acc I16, x F32, exponents I8, fraction int, bad I64)
	ToBlocks32(acc I32, x F32, exponents I8, fraction int, bad I64)
	// FromBlocks16 and FromBlocks32: x = float32(float64(acc) * (2^(exponent-fraction) / divisor)).
	FromBlocks16(x F32, acc I16, exponents I8, fraction int, divisor float64)
	FromBlocks32(x F32, acc I32, exponents I8, fraction int, divisor float64)
	// SquaredNorm returns the sum of squares (waits): blocks of 4,096; lane l of 256 adds squares (in float64) of elements l, l+256, ... of its
	// block; lanes, then blocks, are added pairwise in a fixed tree (exact.SquaredNorm is the definition).
	SquaredNorm(x F32) float64
	// AdamW updates p, m and v in place from g, all N elements:
	//   g = g*Scale; m = Beta1*m + (1-Beta1)*g; v = Beta2*v + (1-Beta2)*(g*g)
	//   p = p - LR*( (m/Correction1) / (sqrt(v/Correction2) + Eps) + Decay*p )
	// every operation rounded to float32, left to right, no fused multiply-add; 1-Beta is computed in float32. h.Sums are increased by the hashes of what is written.
	AdamW(p, m, v, g F32, a AdamW, h Hashes)
	// Hash is the sum mod 2^64 of exact.WordHash over the words of x, the first of which has index first (waits).
	Hash(x F32, first uint64) uint64
}

// Alloc is n zeroed elements of the device's memory.
func Alloc[T Number](d Device, n int) (Buf[T], error) {
	var z T
	addr, err := d.Malloc(n * int(unsafe.Sizeof(z)))
	return Buf[T]{addr, n}, err
}

// Upload copies src, of dst's length, to the device.
func Upload[T Number](l Lane, dst Buf[T], src []T) {
	if len(src) > 0 {
		l.Upload(dst.Slice(0, len(src)).Addr, unsafe.Pointer(&src[0]), dst.Slice(0, len(src)).Bytes())
	}
}

// Download waits for the lane and copies src to the host.
func Download[T Number](l Lane, dst []T, src Buf[T]) {
	if len(dst) > 0 {
		l.Download(unsafe.Pointer(&dst[0]), src.Addr, src.Slice(0, len(dst)).Bytes())
	}
}

// Zero clears b.
func Zero[T Number](l Lane, b Buf[T]) { l.Zero(b.Addr, b.Bytes()) }
