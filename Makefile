# Everything a developer does goes through here; .ci/run is `make test test-s3 test-cuda chaos chaos-planted lint`. `make help` lists the targets.

# The bits of a result must not depend on the machine that compiled the program: one instruction set for all amd64.
export GOAMD64 := v1
export CGO_ENABLED := 1
# VCS stamping fails in checkouts owned by somebody else; the version is passed to the linker instead.
export GOFLAGS := -buildvcs=false

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CACHE   := $(CURDIR)/.cache
TOOLS   := $(CACHE)/tools
BIN     := bin/ringleader

# Where the source is Go of this module: not in the caches, not in modules of their own.
GOFILES = $(shell git ls-files --cached --others --exclude-standard '*.go')

.PHONY: build
build: deps ## compile bin/ringleader (the default target)
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/ringleader

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: deps
deps: ## install what the compiler needs and is missing (oneDNN, the C++ runtime)
	@scripts/deps.sh

.PHONY: demo
demo: build ## train a small job on this machine, kill workers on the way, compare the bits
	$(BIN) demo

# FAULTS and SEED say how many and which.
FAULTS ?= 20
SEED   ?= 1

.PHONY: chaos
chaos: build ## torment clusters of real processes with random faults, half of them with S3 if make test-s3 has made a server, compare the bits (FAULTS=20 SEED=1)
	RINGLEADER_MINIO=$${RINGLEADER_MINIO:-$$(scripts/minio.sh --cached)} $(BIN) chaos --faults $(FAULTS) --seed $(SEED)

# A worker that does not compare states, and flips of bits in memory: the harness must say that the bits differ.
PLANTED := $(CACHE)/chaos-planted
.PHONY: chaos-planted
chaos-planted: deps ## show that chaos finds a bug that was planted: this target fails if it does not
	go build -tags unfenced -o $(CACHE)/ringleader-unfenced ./cmd/ringleader
	rm -rf $(PLANTED)
	! $(CACHE)/ringleader-unfenced chaos --faults 10 --seed 39 --store directory --dir $(PLANTED) --json $(PLANTED).json
	grep -E 'two states at step|state digest .* undisturbed' $(PLANTED).json

# Everything runs under the race detector: linking DuckDB with it costs a second more than without, and one mode
# means that the dependencies are compiled once.
.PHONY: test
test: deps ## run all tests under the race detector
	@[ -n "$$RINGLEADER_PYTHON" ] || echo "RINGLEADER_PYTHON is not set: tests that open files with Python are skipped (see CONTRIBUTING.md)"
	go test -race -timeout 10m ./...

.PHONY: test-fast
test-fast: deps ## run all tests without the race detector
	go test -timeout 10m ./...

.PHONY: test-s3
test-s3: deps ## run the S3 tests against a real MinIO server (compiled on first use: some minutes)
	RINGLEADER_MINIO=$$(scripts/minio.sh) && export RINGLEADER_MINIO && \
		go test -race -count=1 ./checkpoints/s3/... && go test -race -count=1 -run S3 ./e2e

# Options of the driver, such as BENCH="--data FOLDER --rounds 5".
BENCH ?=
.PHONY: bench-allreduce
bench-allreduce: build ## compare sums over processes with Gloo's on this machine, and write them into docs/benchmarks.md; a quarter of an hour
	python=$$(scripts/python-venv.sh scripts/bench/requirements.txt) && $$python scripts/bench/allreduce.py --ringleader $(BIN) $(BENCH)

.PHONY: bench-recovery
bench-recovery: build ## time what faults cost a job, beside torchft, and write it into docs/benchmarks.md; ten minutes
	python=$$(scripts/python-venv.sh scripts/bench/requirements.txt) && $$python scripts/bench/recovery.py --ringleader $(BIN) $(BENCH)

.PHONY: bench
bench: build ## compare training steps with PyTorch's on this machine, and write docs/benchmarks.md; an hour, and some GB the first time
	python=$$(scripts/python-venv.sh scripts/bench/requirements.txt) && $$python scripts/bench/run.py --ringleader $(BIN) $(BENCH)

# The program for GPUs: nvcc and headers come from the cache, and what it links against is a driver without code, so that it builds where there
# is none. It runs where there is a driver.
CUDA      := $(CACHE)/cuda-build
cuda-env   = CGO_CFLAGS="-I$(CURDIR)/device/cuda/include -I$(1)/include" CGO_LDFLAGS="-L$(CUDA)/stub"

.PHONY: cuda
cuda: deps ## compile the CUDA kernels and bin/ringleader-cuda; no GPU, driver or toolkit is needed
	toolkit=$$(scripts/cuda-toolkit.sh) && scripts/cuda-kernels.sh $$toolkit && scripts/cuda-stub.sh $$toolkit $(CUDA)/stub && \
		$(call cuda-env,$$toolkit) go build -tags cuda -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ringleader-cuda ./cmd/ringleader

# Without DuckDB and oneDNN, so that it runs on any Linux with a driver.
.PHONY: gpu-check
gpu-check: build ## write bin/gpu-check.tar.gz: what checks a machine with a GPU and measures it beside PyTorch, without Go (docs/cuda.md)
	toolkit=$$(scripts/cuda-toolkit.sh) && scripts/cuda-kernels.sh $$toolkit && scripts/cuda-stub.sh $$toolkit $(CUDA)/stub && export $(call cuda-env,$$toolkit) && \
		go build -tags cuda,lean -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(CUDA)/gpu-check/ringleader ./cmd/ringleader && \
		go test -c -tags cuda,lean -trimpath -ldflags '-s -w' -o $(CUDA)/gpu-check/conformance ./device/cuda && \
		scripts/gpu-archive.sh $(BIN) $(CUDA)/gpu-check bin/gpu-check.tar.gz

# Compiled as the program is, so that packages need not be compiled twice; and always run: what go test knows of does not tell when kernels change.
test-cuda = go test -tags cuda -trimpath -count=1 -timeout 10m

.PHONY: test-cuda
test-cuda: cuda gpu-check ## run the tests of the CUDA backend on the emulated device (device/cuda/emulation), up to whole jobs with bin/ringleader-cuda, and gpu-check
	toolkit=$$(scripts/cuda-toolkit.sh) && device/cuda/emulation/build.sh $$toolkit $(CUDA)/emulation && \
		export $(call cuda-env,$$toolkit) LD_LIBRARY_PATH=$(CUDA)/emulation \
			RINGLEADER_PLANTED=$(CUDA)/emulation/libplanted.so RINGLEADER_CUDA=$(CURDIR)/bin/ringleader-cuda && \
		$(test-cuda) ./device/cuda/... && $(test-cuda) -run Golden ./model && $(test-cuda) -run CUDA ./e2e
	go test -tags lean -timeout 10m ./device/cpu ./dataset/importer
	scripts/gpu-check-try.sh bin/gpu-check.tar.gz $(CUDA)/emulation

.PHONY: lint
lint: deps tools ## check format, go vet, staticcheck, protocol rules, and that generated code is current
	TOOLS=$(TOOLS) scripts/lint.sh

.PHONY: test-cublaslt
test-cublaslt: deps ## compare the calls of cuBLASLt with its headers and libraries, versions 12 and 13; no GPU is needed; 1 GB to fetch, once
	toolkit=$$(scripts/cuda-toolkit.sh) && libraries=$$(scripts/cublaslt.sh $$toolkit) && for library in $$libraries; do \
		LD_LIBRARY_PATH=$$library go test -tags cuda -count=1 -v ./device/cuda/blaslt || exit 1; done

.PHONY: tools
tools: $(TOOLS)/.stamp ## build the development tools (buf, staticcheck, the generators); some minutes the first time

.PHONY: generate
generate: tools ## write the generated code anew (proto/)
	PATH="$(TOOLS):$$PATH" buf generate

.PHONY: format
format: ## format the Go source
	gofmt -l -w $(GOFILES)

.PHONY: clean
clean: ## remove what was built; the caches (.cache, Go's own) stay
	rm -rf bin demo-run

.PHONY: distclean
distclean: clean ## also remove .cache: tools, MinIO, the Python environment
	rm -rf .cache

# The tools are compiled from tools/go.mod, a module of its own, so that what they need never reaches the program.
$(TOOLS)/.stamp: tools/go.mod tools/go.sum
	@echo "building the tools of tools/go.mod"
	mkdir -p $(TOOLS)
	go build -modfile=tools/go.mod -o $(TOOLS)/ \
		github.com/bufbuild/buf/cmd/buf \
		google.golang.org/grpc/cmd/protoc-gen-go-grpc \
		google.golang.org/protobuf/cmd/protoc-gen-go \
		honnef.co/go/tools/cmd/staticcheck
	touch $@
