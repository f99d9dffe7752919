// The part of cuBLASLt's binary interface that this package calls, in words of ours: versions 12 and 13 agree on it, and header_check.cpp compares it with
// NVIDIA's header. Statuses are 0 for success. Handles, descriptors, layouts and preferences are pointers to what the library owns.
//
// Matrices of the library are column-major: element (row, col) is at[col*ld + row].
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { LT_SUCCESS = 0, LT_INVALID_VALUE = 7, LT_EXECUTION_FAILED = 13, LT_NOT_SUPPORTED = 15 };                           // cublasStatus_t
enum { LT_R_32F = 0, LT_R_16BF = 14 };                                                                                     // cudaDataType
enum { LT_COMPUTE_32F = 68, LT_COMPUTE_32F_PEDANTIC = 69 };                                                                // cublasComputeType_t
enum { LT_OP_N = 0, LT_OP_T = 1 };                                                                                         // cublasOperation_t
enum { LT_DESC_TRANSA = 3, LT_DESC_TRANSB = 4 };                                                                           // of a descriptor, int32_t each
enum { LT_PREF_MAX_WORKSPACE = 1 };                                                                                        // of preferences: bytes, uint64_t
enum { LT_PREF_REDUCTION_SCHEMES = 3, LT_PREF_ALIGNMENT_A = 5, LT_PREF_ALIGNMENT_B, LT_PREF_ALIGNMENT_C, LT_PREF_ALIGNMENT_D }; // uint32_t each
enum { LT_REDUCTION_COMPUTE_TYPE = 2 };                                                                                    // cublasLtReductionScheme_t

// cublasLtMatmulAlgo_t: a value, which may be copied and kept.
struct lt_algorithm {
  uint64_t data[8];
};

// cublasLtMatmulHeuristicResult_t
struct lt_choice {
  struct lt_algorithm algorithm;
  size_t workspace; // bytes
  int status;       // of this choice
  float waves;
  int reserved[4];
};

// The calls, by the names that they have in the library after cublasLt.
struct lt_calls {
  size_t (*GetVersion)(void); // 10000*major + 100*minor + patch
  const char *(*GetStatusName)(int status);
  int (*Create)(void **handle);
  int (*Destroy)(void *handle);
  int (*MatmulDescCreate)(void **desc, int compute, int scale);
  int (*MatmulDescDestroy)(void *desc);
  int (*MatmulDescSetAttribute)(void *desc, int attribute, const void *value, size_t bytes);
  int (*MatrixLayoutCreate)(void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
  int (*MatrixLayoutDestroy)(void *layout);
  int (*MatmulPreferenceCreate)(void **preference);
  int (*MatmulPreferenceDestroy)(void *preference);
  int (*MatmulPreferenceSetAttribute)(void *preference, int attribute, const void *value, size_t bytes);
  int (*MatmulAlgoGetHeuristic)(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference, int wanted, struct lt_choice *choices, int *found);
  // d = alpha*op(a)*op(b) + beta*c on a stream, of the scalars' host addresses; d may be c.
  int (*Matmul)(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout, const void *beta, const void *c,
      void *c_layout, void *d, void *d_layout, const struct lt_algorithm *algorithm, void *workspace, size_t workspace_bytes, void *stream);
};

// LT_EACH_CALL calls X with the name of every call.
#define LT_EACH_CALL(X)                                                                                                                    \
  X(GetVersion) X(GetStatusName) X(Create) X(Destroy) X(MatmulDescCreate) X(MatmulDescDestroy) X(MatmulDescSetAttribute) X(MatrixLayoutCreate) \
  X(MatrixLayoutDestroy) X(MatmulPreferenceCreate) X(MatmulPreferenceDestroy) X(MatmulPreferenceSetAttribute) X(MatmulAlgoGetHeuristic) X(Matmul)
