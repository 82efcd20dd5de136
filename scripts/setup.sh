#!/usr/bin/env bash
# Installs what is missing on a bare Debian 12 or Ubuntu: `setup.sh build` for building, `setup.sh test` for the tests too.
# Quiet and quick when everything is there; asks nothing.
set -euo pipefail
what="${1:-build}"
toolchain="$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$(dirname "$0")/../rust-toolchain.toml")"
export PATH="$HOME/.cargo/bin:$PATH"

fail() { echo "setup: $*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else command -v sudo >/dev/null || fail "needs root or sudo to install packages"; sudo "$@"; fi; }

packages=()
need() { command -v "$1" >/dev/null 2>&1 || packages+=("$2"); }
need c++ build-essential
need make build-essential
need curl curl
need pkg-config pkg-config
ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 || packages+=(clang libclang-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
if [ "$what" = test ]; then
    need kcat kcat
    need python3 python3
    need psql postgresql-client
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || packages+=(postgresql)
    need javac openjdk-17-jdk-headless
    need mvn maven
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || packages+=(python3-venv)
fi
if [ "${#packages[@]}" -gt 0 ]; then
    echo "setup: installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -qq || fail "apt-get update failed; is there a network?"
    # A package's own cluster is not wanted: the tests start their own PostgreSQL.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null ||
        fail "could not install ${packages[*]}"
fi

if ! command -v rustup >/dev/null 2>&1 && ! { command -v cargo >/dev/null && cargo --version | grep -q " $toolchain"; }; then
    echo "setup: installing rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --quiet --profile minimal --default-toolchain none ||
        fail "could not install rustup; install Rust $toolchain by hand"
fi
if command -v rustup >/dev/null 2>&1; then
    rustup toolchain list 2>/dev/null | grep -q "^$toolchain" ||
        rustup toolchain install "$toolchain" --profile minimal --component clippy,rustfmt
    rustup target list --toolchain "$toolchain" --installed | grep -qx wasm32-unknown-unknown ||
        rustup target add --toolchain "$toolchain" wasm32-unknown-unknown
fi

if [ "$what" = test ]; then
    venv="$HOME/.cache/thalweg/venv"
    if ! "$venv/bin/python3" -c 'import confluent_kafka' >/dev/null 2>&1; then
        echo "setup: installing the Python Kafka client for the tests"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet 'confluent-kafka>=2.6' || fail "could not install confluent-kafka"
    fi
    jars="$HOME/.cache/thalweg/java"
    if ! ls "$jars"/kafka-clients-4.3.0.jar >/dev/null 2>&1; then
        echo "setup: fetching the Java Kafka client for the tests"
        mvn -q -B -f "$(dirname "$0")/../tests/operator/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars" ||
            fail "could not fetch kafka-clients"
    fi
fi
