# Every command of the project. `make demo` and `make test` need nothing but Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/bash
unexport PYTHONDONTWRITEBYTECODE # or each of some thousand processes of the tests compiles all that it imports anew
export PYTHON ?= python3
BIN := .venv/bin
TEST ?= tests
JOBS ?= 4

.PHONY: help demo test test-frameworks bench peers check format protos protos-check docs lock kafka tools fuzz wheel image clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: .venv/.runtime ## Run the whole main job on this machine, in half a minute once installed (DATA=path: on your own data)
	@$(BIN)/nearline demo $(if $(DATA),--data $(DATA)) $(if $(BUS),--bus $(BUS)) $(if $(STORE),--store $(STORE))

test: .venv/.dev .venv-triton/.done ## Run all tests, on real Kafka and Redis (TEST=path: some of them)
	@.ci/system-packages
	@NEARLINE_TEST_TRITON_PYTHON=.venv-triton/bin/python $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(TEST)

test-frameworks: .venv-frameworks/.done ## Test publishing from Keras, TensorFlow and PyTorch, in an environment of 7 GB
	@for framework in keras torch; do .venv-frameworks/bin/python -m pytest tests/frameworks/test_$$framework.py || exit 1; done

check: .venv/.dev protos-check ## Lint, type-check, and compare generated code and documents with their sources
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

format: .venv/.dev ## Format the code
	$(BIN)/ruff check --fix-only --select I001
	$(BIN)/ruff format

protos: .venv-protos/.done ## Generate the code under protos/ anew
	.ci/protos

protos-check: .venv-protos/.done
	.ci/protos-check

docs: .venv/.dev ## Generate docs/settings.md, cli.md and lifecycle.md anew
	$(BIN)/python -m docs.generate

lock: .venv/.dev ## Write the lock files under requirements/ anew
	PATH="$$PWD/$(BIN):$$PATH" .ci/lock

bench: .venv/.dev ## Run the benchmarks, and print a table of their targets (TARGET=P8: one of them; OUT=file: as JSON)
	@.ci/system-packages
	@$(BIN)/python -m benchmarks.summary $(TARGET) $(if $(OUT),--out $(OUT))

peers: .venv/.dev ## Measure nearline beside other model servers, and write the README's table and chart (ONLY=ray: one, written nowhere)
	@.ci/system-packages
	@$(BIN)/python -m benchmarks.peers $(if $(ONLY),--only $(ONLY))

kafka: .venv/.dev ## Run a Kafka broker for yourself, until Ctrl-C (PORT=9092)
	@.ci/system-packages
	@$(BIN)/python -m tests.servers.kafka $(if $(PORT),--port $(PORT))

tools: ## Build the conformance tools that tests of the transport use (needs Go)
	cd .ci/tools && GOBIN="$(CURDIR)/.tools/bin" go install tool

fuzz: .venv-fuzz/.done ## Send the transport's HTTP/2 whatever a fuzzer thinks of (SECONDS=60); it remembers in .fuzz/
	@RUST_BACKTRACE=0 .venv-fuzz/bin/python -m tests.fuzz $(or $(SECONDS),60) .fuzz

wheel: .venv/.dev ## Build dist/nearline-*.whl
	$(BIN)/python -m hatchling build -t wheel

image: ## Build the container image
	docker build -t nearline .

clean: ## Remove everything that was generated and is not committed
	rm -rf .venv .venv-triton .venv-protos .venv-fuzz .venv-frameworks .kafka dist build .*_cache .hypothesis .tools .fuzz .peers
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.runtime: requirements/runtime.txt pyproject.toml
	@.ci/venv .venv requirements/runtime.txt project
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml
	@.ci/venv .venv requirements/dev.txt project
	@touch $@

.venv-triton/.done: requirements/triton.txt
	@.ci/venv .venv-triton requirements/triton.txt
	@touch $@

.venv-protos/.done: requirements/protoc.txt
	@.ci/venv .venv-protos requirements/protoc.txt
	@touch $@

.venv-fuzz/.done: requirements/fuzz.txt
	@.ci/venv .venv-fuzz requirements/fuzz.txt
	@touch $@

.venv-frameworks/.done: requirements/frameworks.txt
	@.ci/venv .venv-frameworks requirements/frameworks.txt project
	@touch $@
