# Touchstone's entry points. `make` alone lists them.
#
# Every cargo call is `--locked`, and one runs at a time: two of them would
# only wait for each other's lock on the target folder.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

# rustup's own folder, for a shell that has not read its env file yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# A snapshot that differs is an error, and never becomes the new one by itself.
export INSTA_UPDATE := no

BIN := $(or $(CARGO_TARGET_DIR),target)/debug
stage = @printf '\n==> %s\n' '$(1)'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: deps deps-demo deps-encrypted
deps: ## install what `make test` needs (checks the tools first; does nothing when they are there)
	@deploy/build/deps.sh test

deps-demo: ## install what `make demo` needs
	@deploy/build/deps.sh demo

deps-encrypted: ## the same, with the container tools
	@deploy/build/deps.sh encrypted

.PHONY: build
build: ## build every program, unoptimised
	$(call stage,build)
	cargo build --locked --workspace --bins

.PHONY: demo demo-encrypted demo-kubernetes demo-stop
demo: deps-demo build ## run the demo on simulated hosts (SWAP=1: boots exchanged, must fail; KEEP=1: leave it running)
	$(call stage,demo)
	$(strip $(BIN)/tpm-sim demo $(demo_options))

demo-encrypted: deps-encrypted build ## go on with encrypted images, run by podman (root; SWAP=1 and KEEP=1 as above)
	$(call stage,demo with encrypted images)
	$(strip $(BIN)/tpm-sim demo --encrypted $(demo_options))

demo-kubernetes: deps-demo build ## six nodes of a cluster, and which pods land on them (KUBEBUILDER_ASSETS: a real one; SWAP=1 and KEEP=1 as above)
	$(call stage,demo of a cluster)
	$(strip $(BIN)/tpm-sim demo --kubernetes $(demo_options))

demo_options = $(if $(filter 1,$(SWAP)),--swap) $(if $(filter 1,$(KEEP)),--keep)

demo-stop: ## stop a demo that KEEP=1 left running
	$(BIN)/tpm-sim demo-stop

.PHONY: test run-tests
test: deps lint build run-tests deny ## everything that must pass before a change goes in
	$(call stage,all stages passed)

# The tests start the programs that `build` made, so it comes first.
run-tests: build
	$(call stage,tests)
	@if command -v cargo-nextest >/dev/null; then \
	    cargo nextest run --locked --workspace; \
	    cargo test --locked --workspace --doc; \
	else \
	    cargo test --locked --workspace; \
	fi

.PHONY: fmt lint fmt-check clippy deny doc
fmt: ## format the code
	cargo fmt --all

lint: fmt-check clippy ## check the format and the lints, warnings being errors

fmt-check:
	$(call stage,format)
	cargo fmt --all --check

clippy:
	$(call stage,lints)
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny: ## check licences and banned crates (skipped without cargo-deny)
	$(call stage,licences and banned crates)
	@if command -v cargo-deny >/dev/null; then \
	    cargo deny --locked check licenses bans; \
	else \
	    echo 'SKIPPED: cargo-deny is not installed; next: cargo install --locked cargo-deny'; \
	fi

doc: ## build the API documentation, warnings being errors
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --locked --workspace

# None is part of `make test`: all want a machine that does nothing else.
.PHONY: fuzz bench load
fuzz: ## fuzz every parser (RUNS=10000000 and SECONDS=600 of CPU for each; TARGET=name for one; SANITIZER=address)
	@deploy/build/fuzz.sh $(or $(RUNS),10000000) $(or $(SECONDS),600) $(TARGET)

bench: ## measure verification against its targets, into target/bench.json
	$(call stage,benchmarks)
	cargo bench --locked -p touchstone-evidence --bench ceilings
	cargo run --quiet --locked -p touchstone-evidence --example bench_json -- $(or $(CARGO_TARGET_DIR),target)

load: ## measure the attestor under load against its targets, into target/load.json (ONLY=steady, first, admissions, releases, memory, restart)
	$(call stage,load)
	@deploy/build/load.sh $(ONLY)

.PHONY: bare
bare: ## prove `make demo` and `make test` on a bare Debian 12 (root; BARE='…' runs something else)
	@deploy/build/bare.sh

.PHONY: clean
clean: ## delete build output
	cargo clean
