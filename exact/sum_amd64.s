#include "textflag.h"

// Sums of blocks of 64 bytes, with what every amd64 has.

// func sumBlocksInt16(lanes *[4]int32, data unsafe.Pointer, blocks int)
// Pairs of words are added in 32 bits by a multiplication with ones.
TEXT ·sumBlocksInt16(SB), NOSPLIT, $0-24
	MOVQ lanes+0(FP), DI
	MOVQ data+8(FP), SI
	MOVQ blocks+16(FP), CX
	PCMPEQW X7, X7
	PSRLW $15, X7 // ones
	PXOR X6, X6
	PXOR X5, X5
	TESTQ CX, CX
	JZ   done

loop:
	MOVOU (SI), X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X3
	PMADDWL X7, X0
	PMADDWL X7, X1
	PMADDWL X7, X2
	PMADDWL X7, X3
	PADDL X0, X6
	PADDL X1, X5
	PADDL X2, X6
	PADDL X3, X5
	ADDQ $64, SI
	DECQ CX
	JNZ  loop

done:
	PADDL X5, X6
	MOVOU X6, (DI)
	RET

// func sumBlocksInt32(lanes *[2]uint64, data unsafe.Pointer, blocks int)
TEXT ·sumBlocksInt32(SB), NOSPLIT, $0-24
	MOVQ lanes+0(FP), DI
	MOVQ data+8(FP), SI
	MOVQ blocks+16(FP), CX
	PCMPEQL X8, X8
	MOVOU X8, X9
	PSLLL $31, X8 // the highest bit of each word
	PSRLQ $32, X9 // the lower word of two
	PXOR X6, X6
	PXOR X7, X7
	TESTQ CX, CX
	JZ   done

loop:
	MOVOU (SI), X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X3
	PXOR X8, X0
	PXOR X8, X1
	PXOR X8, X2
	PXOR X8, X3
	MOVOU X0, X4
	PAND X9, X4
	PADDQ X4, X6
	PSRLQ $32, X0
	PADDQ X0, X7
	MOVOU X1, X4
	PAND X9, X4
	PADDQ X4, X6
	PSRLQ $32, X1
	PADDQ X1, X7
	MOVOU X2, X4
	PAND X9, X4
	PADDQ X4, X6
	PSRLQ $32, X2
	PADDQ X2, X7
	MOVOU X3, X4
	PAND X9, X4
	PADDQ X4, X6
	PSRLQ $32, X3
	PADDQ X3, X7
	ADDQ $64, SI
	DECQ CX
	JNZ  loop

done:
	PADDQ X7, X6
	MOVOU X6, (DI)
	RET
