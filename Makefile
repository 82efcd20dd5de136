# Everything goes through here; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

export CARGO_TARGET_DIR ?= $(HOME)/.cache/thalweg/target
export THALWEG_UDF_TARGET ?= $(HOME)/.cache/thalweg/udf
export PATH := $(HOME)/.cargo/bin:$(PATH)
# The Python of the tests' virtual environment (scripts/setup.sh makes it).
export THALWEG_TEST_PYTHON ?= $(HOME)/.cache/thalweg/venv/bin/python3

WASM := $(THALWEG_UDF_TARGET)/wasm32-unknown-unknown/release

.PHONY: demo test release bench lint fix wasm setup setup-test lines help

demo: setup wasm ## Build, run the whole job on a month of real flights, print answers
	cargo build --quiet --bin thalweg || cargo build --bin thalweg
	$(CARGO_TARGET_DIR)/debug/thalweg demo --wasm-dir $(WASM)

test: setup-test wasm ## Everything a change must pass
	cd udf-examples && CARGO_TARGET_DIR=$(THALWEG_UDF_TARGET) cargo test --quiet --workspace
	cargo test --workspace

release: setup wasm ## The optimised binary
	cargo build --release --bin thalweg
	@echo "$(CARGO_TARGET_DIR)/release/thalweg"

bench: setup-test wasm ## Benchmarks against real peers (bench/README.md)
	cargo build --release --workspace --bins
	$(CARGO_TARGET_DIR)/release/bench all

lint: setup ## Formatting and clippy; writes nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

fix: ## Format and apply what clippy can
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

wasm: setup ## Build the example functions and transforms
	cd udf-examples && CARGO_TARGET_DIR=$(THALWEG_UDF_TARGET) cargo build --quiet --release --target wasm32-unknown-unknown

setup: ## Install what building needs and is missing
	@scripts/setup.sh build

setup-test: ## Install what the tests need and is missing
	@scripts/setup.sh test

lines: ## File lengths, longest first
	@git ls-files '*.rs' | xargs wc -l | sort -rn | head -30

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'
