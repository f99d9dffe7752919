#include "textflag.h"

// Sums of blocks of 64 bytes, with what every amd64 has. Memory is the limit, not the width of the registers.
#define ADD_BLOCKS(ADD) \
	MOVQ dst+0(FP), DI;     \
	MOVQ src+8(FP), SI;     \
	MOVQ blocks+16(FP), CX; \
	TESTQ CX, CX;           \
	JZ   done;              \
loop:                       \
	MOVOU (DI), X0;         \
	MOVOU 16(DI), X1;       \
	MOVOU 32(DI), X2;       \
	MOVOU 48(DI), X3;       \
	MOVOU (SI), X4;         \
	MOVOU 16(SI), X5;       \
	MOVOU 32(SI), X6;       \
	MOVOU 48(SI), X7;       \
	ADD  X4, X0;            \
	ADD  X5, X1;            \
	ADD  X6, X2;            \
	ADD  X7, X3;            \
	MOVOU X0, (DI);         \
	MOVOU X1, 16(DI);       \
	MOVOU X2, 32(DI);       \
	MOVOU X3, 48(DI);       \
	ADDQ $64, DI;           \
	ADDQ $64, SI;           \
	DECQ CX;                \
	JNZ  loop;              \
done:                       \
	RET

// func addBlocksFloat32(dst, src unsafe.Pointer, blocks int)
TEXT ·addBlocksFloat32(SB), NOSPLIT, $0-24
	ADD_BLOCKS(ADDPS)

// func addBlocksInt64(dst, src unsafe.Pointer, blocks int)
TEXT ·addBlocksInt64(SB), NOSPLIT, $0-24
	ADD_BLOCKS(PADDQ)

// func addBlocksInt32(dst, src unsafe.Pointer, blocks int)
TEXT ·addBlocksInt32(SB), NOSPLIT, $0-24
	ADD_BLOCKS(PADDL)

// func addBlocksInt16(dst, src unsafe.Pointer, blocks int)
TEXT ·addBlocksInt16(SB), NOSPLIT, $0-24
	ADD_BLOCKS(PADDW)
