#!/usr/bin/env bash
# Tries scripts/setup.sh for real on fresh machines: try-fresh.sh [--demo [--test]] [VARIANT…]. By hand, as root, on Debian with
# debootstrap; it takes minutes and a few GB under $TMPDIR. CI does not run it: tests/operator/setup.rs has the quick part.
#
# A machine is a bare Debian 12 in a folder, entered by chroot, with a clean clone of what is committed. VARIANTs:
#   nothing    as debootstrap leaves it; gets what the tests need
#   llvm       LLVM and libclang-cpp are there, libclang is not
#   headers    a compiler and libclang are there, the C headers that libclang reads are not
#   old-rust   Debian's Rust is on PATH
# Each must be told what it lacks by `setup.sh check`, and lack nothing after `setup.sh`. --demo runs `make demo`
# in the first, --test then `make lint test` too; both tell what they took.
#
# Mirrors, proxies, certificates and the settings of cargo, pip and Maven are those of this machine. Where sh.rustup.rs
# cannot be reached, this machine's rustup stands in for the downloaded one, and that is said.
set -euo pipefail

demo=
if [ "${1:-}" = --demo ]; then demo=demo; shift; fi
if [ -n "$demo" ] && [ "${1:-}" = --test ]; then demo="demo lint+test"; shift; fi
variants=("$@")
[ "$#" -gt 0 ] || variants=(nothing llvm headers old-rust)

say() { echo "try-fresh: $*"; }
fail() { echo "try-fresh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "chroot and debootstrap need root"
command -v debootstrap >/dev/null || fail "needs debootstrap: apt-get install debootstrap"

repository="$(cd "$(dirname "$0")/.." && pwd)"
suite=bookworm
work="$(mktemp -d "${TMPDIR:-/tmp}/thalweg-fresh.XXXXXX")"

leave() {
    local mounted
    while IFS= read -r mounted; do umount "$mounted"; done < <(awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/mounts)
    rm -rf --one-file-system "$work"
}
trap leave EXIT

# Debian's own sources on this machine, as lines `URI SUITE`, from both notations of apt.
apt_sources() {
    sed -n 's/#.*//; s/^ *deb  *\(\[[^]]*\]  *\)\{0,1\}\([^ ]*\)  *\([^ ]*\) .*/\2 \3/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true
    local file
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        { cat "$file"; echo; } | awk '/^URIs:/ { uri = $2 } /^Suites:/ { for (i = 2; i <= NF; i++) suites[i] = $i; n = NF }
            /^$/ { for (i = 2; i <= n; i++) print uri, suites[i]; n = 0 }'
    done
}

make_base() {
    local mirror
    mirror="$(apt_sources | awk -v suite="$suite" '$2 == suite && $1 ~ /\/debian\/?$/ { print $1; exit }')"
    [ -n "$mirror" ] || fail "no source of Debian $suite in /etc/apt"
    say "making a bare Debian ($suite)"
    debootstrap --variant=minbase "$suite" "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
    apt_sources | awk -v suite="$suite" 'index($2, suite) == 1 && $1 ~ /\/debian(-security)?\/?$/ { print "deb", $1, $2, "main" }' \
        >"$work/base/etc/apt/sources.list"
    apt-config dump | grep -i '^Acquire::.*proxy' >"$work/base/etc/apt/apt.conf.d/99proxy" || true
    cp -L /etc/resolv.conf /etc/hosts "$work/base/etc/"
    # Own certificates are picked up when the package ca-certificates is installed.
    [ ! -d /usr/local/share/ca-certificates ] || cp -r /usr/local/share/ca-certificates "$work/base/usr/local/share/"
    local file
    for file in "$HOME"/.cargo/config "$HOME"/.cargo/config.toml "$HOME"/.config/pip/pip.conf "$HOME"/.pip/pip.conf "$HOME"/.m2/settings.xml; do
        [ ! -f "$file" ] || install -D "$file" "$work/base/root${file#"$HOME"}"
    done
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$work/base/etc/"
    git clone -q "$repository" "$work/base/thalweg"
    # RocksDB is built by cargo and the compiler, long and well tried elsewhere; only the demo needs it here.
    if [ -z "$demo" ] && [ -e "$work/base/thalweg/scripts/rocksdb.sh" ]; then chmod -x "$work/base/thalweg/scripts/rocksdb.sh"; fi
}

# What of this machine's environment leads to its mirrors.
passed_environment() {
    env | grep -iE '^([a-z_]*_proxy|CARGO_(HTTP|NET|REGISTRIES|SOURCE)_[A-Z_]*|PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)|RUSTUP_(DIST_SERVER|UPDATE_ROOT)|SSL_CERT_(FILE|DIR)|CURL_CA_BUNDLE|MAVEN_OPTS)=' || true
}

# Runs a command on the machine in that folder.
on() {
    local machine="$1" passed=()
    shift
    mapfile -t passed < <(passed_environment)
    chroot "$machine" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "${passed[@]}" ${stand_in:+THALWEG_RUSTUP_INIT=/opt/rustup-init} sh -c 'cd /thalweg && "$@"' sh "$@"
}

make_machine() {
    local machine="$work/$1"
    cp -a "$work/base" "$machine"
    mount -t proc proc "$machine/proc"
    mount --bind /dev "$machine/dev"
    if [ -n "$stand_in" ]; then install -D "$stand_in" "$machine/opt/rustup-init"; fi
    local packages=()
    case "$1" in
    nothing) ;;
    llvm) packages=(llvm libclang-cpp14) ;;
    headers) packages=(build-essential libclang1-14) ;;
    old-rust) packages=(rustc cargo) ;;
    *) fail "there is no variant $1" ;;
    esac
    [ "${#packages[@]}" = 0 ] || on "$machine" sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${packages[*]}" \
        >"$work/packages.log" 2>&1 || { tail -n 5 "$work/packages.log" >&2; fail "could not prepare variant $1"; }
}

# Expressions that `setup.sh check` must print on that machine.
expected() {
    case "$1" in
    nothing) printf '%s\n' 'cxx compiler: c[+][+] is not installed' 'libclang: bindgen finds no libclang.so ' 'make: make is not' \
        'certificates: no certificates' 'rust: cargo is not installed' 'kcat: kcat is not' 'postgres: no folder' 'python: python3 is not' 'java: java is not' ;;
    llvm) printf '%s\n' 'libclang: bindgen finds no libclang.so [(]libclang-cpp is another library' 'rust: cargo is not installed' ;;
    headers) printf '%s\n' "libclang: bindgen takes /usr/lib/.*, which does not work: .*'std[a-z]+.h' file not found" ;;
    old-rust) printf '%s\n' 'rust: /usr/bin/(cargo|rustc) is 1[.]6[0-9].*, and .* is needed' 'make: make is not' ;;
    esac
}

try() {
    local variant="$1" what="build" machine="$work/$1" told line started goals
    [ "$variant" != nothing ] || what="test"
    say "--- $variant: preparing"
    make_machine "$variant"
    started="$(date +%s%N)"
    ! told="$(on "$machine" scripts/setup.sh check "$what" 2>&1)" || fail "$variant: check found nothing missing"
    say "$variant: told this in $((($(date +%s%N) - started) / 1000000)) ms:"
    echo "$told"
    while IFS= read -r line; do
        grep -qE "$line" <<<"$told" || fail "$variant: it was not told '$line'"
    done < <(expected "$variant")
    say "$variant: setup.sh $what"
    on "$machine" scripts/setup.sh "$what" || fail "$variant: setup.sh $what failed"
    on "$machine" scripts/setup.sh check "$what" || fail "$variant: something is missing after setup.sh $what"
    started="$(date +%s%N)"
    on "$machine" scripts/setup.sh check "$what"
    say "$variant: nothing is missing now (a look takes $((($(date +%s%N) - started) / 1000000)) ms)"
    if [ -n "$demo" ]; then
        for goals in $demo; do
            on "$machine" bash -c 'TIMEFORMAT="try-fresh: make $* took %U + %S CPU seconds in %R s"; time make "$@"' bash ${goals/+/ } ||
                fail "$variant: make $goals failed"
        done
        demo=
    fi
    leave_machine "$machine"
}

leave_machine() {
    umount "$1/dev" "$1/proc"
    rm -rf --one-file-system "$1"
}

stand_in=
if ! curl -sSf -m 20 -o /dev/null https://sh.rustup.rs 2>/dev/null; then
    stand_in="$(readlink -f "$(command -v rustup)")" || fail "sh.rustup.rs cannot be reached and there is no rustup here to stand in"
    say "sh.rustup.rs cannot be reached: the rustup of this machine stands in for the download, which is NOT tried"
fi
make_base
for variant in "${variants[@]}"; do try "$variant"; done
say "passed: ${variants[*]}"
