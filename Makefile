# Everything goes through here; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

export CARGO_TARGET_DIR ?= $(HOME)/.cache/thalweg/target
# RocksDB is built once for the machine (scripts/rocksdb.sh); elsewhere than on Linux the crate builds its own.
ifeq ($(shell uname -s),Linux)
export ROCKSDB_LIB_DIR ?= $(HOME)/.cache/thalweg/rocksdb
export ROCKSDB_STATIC ?= 1
endif
export THALWEG_UDF_TARGET ?= $(HOME)/.cache/thalweg/udf
# The toolchain that rust-toolchain.toml names, whatever other Rust, default or override the machine has.
CARGO_HOME_FOLDER := $(or $(CARGO_HOME),$(HOME)/.cargo)
export PATH := $(CARGO_HOME_FOLDER)/bin:$(PATH)
export RUSTUP_TOOLCHAIN := $(shell sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
# The Python of the tests' virtual environment (scripts/setup.sh makes it).
export THALWEG_TEST_PYTHON ?= $(HOME)/.cache/thalweg/venv/bin/python3

WASM := $(THALWEG_UDF_TARGET)/wasm32-unknown-unknown/release
THALWEG := $(CARGO_TARGET_DIR)/debug/thalweg
# Shows that a long command still runs when there is no terminal to show cargo's progress bar.
BEAT := $(CURDIR)/scripts/heartbeat.sh
BUILD_WASM := cd udf-examples && CARGO_TARGET_DIR=$(THALWEG_UDF_TARGET) $(BEAT) "building the example functions" \
	cargo build --release --target wasm32-unknown-unknown

# The jars of Apache Kafka's broker and of Apache Flink, for comparisons with them.
KAFKA_JARS := $(HOME)/.cache/thalweg/kafka
FLINK_JARS := $(HOME)/.cache/thalweg/flink
# Kafka Connect with Debezium, which `make test-oracle` fetches too.
CONNECT_JARS := $(HOME)/.cache/thalweg/connect

.PHONY: demo test test-oracle differential soak-log hostile soak-cdc soak-nexmark release bench bench-nexmark lint fix wasm setup setup-test env lines help

demo: ## Build, run the whole job on a month of real flights, print answers
	@echo "step 1 of 3: checking this machine, and installing what it lacks"
	@scripts/setup.sh build
	@if [ -x $(THALWEG) ]; then echo "step 2 of 3: building what has changed"; else \
		echo "step 2 of 3: building, about 20 minutes on 2 cores the first time; stopped, it goes on where it was (built crates are kept in $(CARGO_TARGET_DIR))"; fi
	@$(BEAT) building cargo build --bin thalweg
	@$(BUILD_WASM)
	@echo "step 3 of 3: running the demo"
	@$(THALWEG) demo --wasm-dir $(WASM)
	@echo "The program is $(THALWEG). What was built and fetched, and how to remove it:"
	@echo "  rm -rf $(strip $(HOME)/.cache/thalweg $(filter-out $(HOME)/.cache/thalweg/%,$(CARGO_TARGET_DIR) $(THALWEG_UDF_TARGET)))"
	@echo "  rm -rf $(CARGO_HOME_FOLDER)/registry                sources of crates; other Rust projects share them"
	@echo "  rustup toolchain uninstall $(RUSTUP_TOOLCHAIN)        if no other project uses it (rustup is in $(CARGO_HOME_FOLDER)/bin)"

test: setup-test wasm ## Everything a change must pass
	cd udf-examples && CARGO_TARGET_DIR=$(THALWEG_UDF_TARGET) $(BEAT) "testing the example functions" cargo test --workspace
	$(BEAT) "building the tests" cargo test --workspace --no-run
	cargo test --workspace

test-oracle: setup-test $(KAFKA_JARS) $(CONNECT_JARS) ## The answers of log and Connect against those of Apache Kafka and Debezium, which are fetched and started; keeps what they answer now
	$(BEAT) "building the tests" cargo test -p thalweg -p log-broker --test broker --no-run
	THALWEG_ORACLE_JARS=$(KAFKA_JARS) cargo test -p thalweg -p log-broker --test broker -- oracle --nocapture
	$(BEAT) "building the tests" cargo test -p thalweg --test main --no-run
	THALWEG_DEBEZIUM_JARS=$(CONNECT_JARS) cargo test -p thalweg --test main -- data_team::oracle --nocapture

differential: setup ## Views against the batch answer, by chance: SEEDS=n tries so many queries, SEED=n one and tells of it
	$(BEAT) building cargo test -p thalweg -p sql --lib --no-run
	cargo test -p thalweg -p sql --lib -- differential --nocapture

soak-log: setup-test ## The log under kill -9, power cuts, and a network that holds, cuts and tears frames: KILLS=n, CUTS=n, FAULTS=n of each kind, THALWEG_TEST_SEED=n the same again
	$(BEAT) "building the tests" cargo test -p thalweg -p log-broker --test broker --no-run
	THALWEG_LOG_KILLS=$(or $(KILLS),100) THALWEG_LOG_CUTS=$(or $(CUTS),20) THALWEG_LOG_FAULTS=$(or $(FAULTS),50) \
		cargo test -p thalweg -p log-broker --test broker -- fire:: --nocapture

hostile: setup-test ## A thousand hostile connections to the log: its memory, and whether honest clients are answered
	$(BEAT) "building the tests" cargo test -p thalweg -p log-broker --test broker --no-run
	THALWEG_HOSTILE=1000 cargo test -p thalweg -p log-broker --test broker -- fire::hostile --nocapture

soak-cdc: setup-test ## Captured tables against their copies under faults by chance: FAULTS=n so many, THALWEG_TEST_SEED=n the same again
	$(BEAT) "building the tests" cargo test -p thalweg --test main --no-run
	THALWEG_CDC_FAULTS=$(or $(FAULTS),200) cargo test -p thalweg --test main -- data_team::capture --nocapture

soak-nexmark: setup-test ## Nexmark's queries under kill -9 at random points: KILLS=n of them, THALWEG_TEST_SEED=n the same again
	$(BEAT) "building the tests" cargo test -p thalweg --test main --no-run
	THALWEG_TEST_KILLS=$(or $(KILLS),10) cargo test -p thalweg --test main -- nexmark --nocapture

release: setup wasm ## The optimised binary
	$(BEAT) building cargo build --release --bin thalweg
	@echo "$(CARGO_TARGET_DIR)/release/thalweg"

bench: setup-test wasm $(KAFKA_JARS) ## Benchmarks against real peers (bench/README.md)
	$(BEAT) building cargo build --release --workspace --bins
	$(CARGO_TARGET_DIR)/release/bench all --kafka $(KAFKA_JARS)

bench-nexmark: setup-test $(FLINK_JARS) ## Nexmark's queries beside Apache Flink, which is fetched and started: BIDS=n so many, ONLY=q0,q5 these
	$(BEAT) building cargo build --release --bin thalweg
	$(THALWEG_TEST_PYTHON) bench/nexmark/compare.py --thalweg $(CARGO_TARGET_DIR)/release/thalweg --flink $(FLINK_JARS) \
		$(if $(BIDS),--bids $(BIDS)) $(if $(ONLY),--only $(ONLY))

# A folder is there whole or not at all.
$(KAFKA_JARS): POM := log/broker/tests/oracle/pom.xml
$(FLINK_JARS): POM := bench/nexmark/pom.xml
$(CONNECT_JARS): POM := tests/data_team/oracle/pom.xml
$(KAFKA_JARS) $(FLINK_JARS) $(CONNECT_JARS):
	@rm -rf $@.new; echo "fetching $(notdir $@) into $@"
	@mvn -q -B -f $(POM) dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@.new && mv $@.new $@

lint: setup ## Formatting and clippy; writes nothing
	cargo fmt --all --check
	$(BEAT) checking cargo clippy --workspace --all-targets -- -D warnings

fix: setup ## Format and apply what clippy can
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

wasm: setup ## Build the example functions and transforms
	$(BUILD_WASM)

setup: ## Install what building needs and is missing
	@scripts/setup.sh build

setup-test: ## Install what the tests need and is missing
	@scripts/setup.sh test

env: ## What cargo by hand needs to share the Makefile's builds: eval "$$(make -s env)"
	@printf 'export %s\n' $(foreach name,CARGO_TARGET_DIR ROCKSDB_LIB_DIR ROCKSDB_STATIC THALWEG_UDF_TARGET THALWEG_TEST_PYTHON,$(if $($(name)),$(name)=$($(name))))

lines: ## File lengths, longest first
	@git ls-files '*.rs' | xargs wc -l | sort -rn | head -30

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'
