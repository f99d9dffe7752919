//go:build ignore

// abi.h against NVIDIA's header: it compiles if they agree. scripts/cublaslt.sh compiles it, and ../emulation/build.sh if the toolkit has the header.
#include <cublasLt.h>
#include <type_traits>

#include "abi.h"

#define SAME(ours, theirs) static_assert(static_cast<long long>(ours) == static_cast<long long>(theirs), #ours " is not " #theirs)
SAME(LT_SUCCESS, CUBLAS_STATUS_SUCCESS);
SAME(LT_INVALID_VALUE, CUBLAS_STATUS_INVALID_VALUE);
SAME(LT_EXECUTION_FAILED, CUBLAS_STATUS_EXECUTION_FAILED);
SAME(LT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED);
SAME(LT_R_32F, CUDA_R_32F);
SAME(LT_R_16BF, CUDA_R_16BF);
SAME(LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(LT_COMPUTE_32F_PEDANTIC, CUBLAS_COMPUTE_32F_PEDANTIC);
SAME(LT_OP_N, CUBLAS_OP_N);
SAME(LT_OP_T, CUBLAS_OP_T);
SAME(LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(LT_DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(LT_PREF_MAX_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(LT_PREF_REDUCTION_SCHEMES, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(LT_PREF_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(LT_PREF_ALIGNMENT_B, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(LT_PREF_ALIGNMENT_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(LT_PREF_ALIGNMENT_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(LT_REDUCTION_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);

SAME(sizeof(lt_algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(alignof(lt_algorithm), alignof(cublasLtMatmulAlgo_t));
SAME(sizeof(lt_choice), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(lt_choice, algorithm), offsetof(cublasLtMatmulHeuristicResult_t, algo));
SAME(offsetof(lt_choice, workspace), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(lt_choice, status), offsetof(cublasLtMatmulHeuristicResult_t, state));
SAME(offsetof(lt_choice, waves), offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));

// Alike are types that are passed in the same registers: pointers, and numbers of one size and kind.
template <class A, class B>
constexpr bool alike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> && std::is_floating_point_v<A> == std::is_floating_point_v<B>;
template <class Ours, class Theirs> constexpr bool callable_alike = false;
template <class R, class... A, class S, class... B> constexpr bool callable_alike<R (*)(A...), S (*)(B...)> = [] {
  if constexpr (sizeof...(A) == sizeof...(B)) return alike<R, S> && (alike<A, B> && ...);
  else return false;
}();
#define CALL(name) static_assert(callable_alike<decltype(lt_calls::name), decltype(&cublasLt##name)>, #name " is called otherwise");
LT_EACH_CALL(CALL)
