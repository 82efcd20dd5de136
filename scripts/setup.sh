#!/usr/bin/env bash
# Finds what this machine lacks, installs it, and looks again: `setup.sh build` for building, `setup.sh test` for the
# tests too. `setup.sh check build|test` only looks, lists and fails if something is missing. Quiet when all is there.
#
# A requirement is a function check_NAME. It tries the thing itself (loads the library, links a program, starts the
# server's tool) and, when that fails, prints why in one line. packages_of names the Debian packages that mend it, and
# install_NAME, if there is one, does what no package does. Everything is checked again after an installation, so what
# is still wrong is told here and not by a compiler twenty minutes later.
#
# THALWEG_RUSTUP_INIT  a rustup-init to run in place of the one from sh.rustup.rs (a machine without that way out)
# THALWEG_SETUP_ROOT   a folder that stands for / where libraries and servers are looked for (the tests of this script)
set -euo pipefail

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

only_check=
if [ "${1:-}" = check ]; then only_check=yes; shift; fi
what="${1:-build}"
case "$what" in build | test) ;; *) fail "usage: setup.sh [check] build|test" ;; esac
[ -n "${HOME:-}" ] || fail "HOME is not set; the toolchain and the caches go there"

here="$(cd "$(dirname "$0")" && pwd)"
repository="$(dirname "$here")"
toolchain="$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$repository/rust-toolchain.toml")"
cache="$HOME/.cache/thalweg"
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
rustup_home="${RUSTUP_HOME:-$HOME/.rustup}"
target="${CARGO_TARGET_DIR:-$cache/target}"
venv="$cache/venv"
jars="$cache/java"
pom="$repository/tests/operator/java/pom.xml"
log="$cache/setup.log"
root="${THALWEG_SETUP_ROOT:-}"
read -ra cc <<<"${CC:-cc}"
read -ra cxx <<<"${CXX:-c++}"

# The same Rust as in the Makefile: rustup's before any other, and a check downloads nothing.
export PATH="$cargo_home/bin:$PATH"
export RUSTUP_TOOLCHAIN="$toolchain" RUSTUP_AUTO_INSTALL=0

requirements=(disk c_compiler cxx_compiler archiver make pkg_config certificates curl libclang rust)
[ "$what" = build ] || requirements+=(kcat tmux postgres python python_client java maven jars)

packages_of() {
    case "$1" in
    c_compiler | cxx_compiler | archiver | make) echo build-essential ;;
    pkg_config) echo pkg-config ;;
    certificates) echo ca-certificates ;;
    curl) echo curl ;;
    libclang) echo libclang-dev ;;
    kcat) echo kcat ;;
    tmux) echo tmux ;;
    postgres) echo postgresql ;;
    python) echo python3 python3-venv ;;
    java) echo default-jdk-headless ;;
    maven) echo maven ;;
    esac
}

has() { command -v "$1" >/dev/null 2>&1; }
# The first line that says something of what a command printed.
gist() { grep -v '^[[:space:]]*$' <<<"$1" | head -n 1; }
# Tries a command of that name; tells when it is not there or does not start.
starts() {
    has "$1" || { echo "$1 is not installed"; return 1; }
    local output
    output="$("$@" 2>&1 </dev/null)" || { echo "$(command -v "$1") does not start: $(gist "$output")"; return 1; }
}

# --- disk ---

# Free megabytes and mount point of where a folder is or will be.
free_at() {
    local folder="$1"
    until [ -e "$folder" ]; do folder="$(dirname "$folder")"; done
    df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1024), $6 }'
}

check_disk() {
    local free mount megabytes folder short=
    local -A available=() needed=() parts=()
    while read -r megabytes folder; do
        read -r free mount < <(free_at "$folder")
        available[$mount]="$free"
        needed[$mount]=$((${needed[$mount]:-0} + megabytes))
        parts[$mount]+="${parts[$mount]:+, }$megabytes MB in $folder"
    done < <(disk_needs)
    for mount in "${!needed[@]}"; do
        [ "${available[$mount]}" -ge "${needed[$mount]}" ] ||
            short+="${short:+; }$mount has ${available[$mount]} MB free and ${needed[$mount]} MB are needed (${parts[$mount]})"
    done
    [ -z "$short" ] || { echo "$short; CARGO_TARGET_DIR moves the build, CARGO_HOME and RUSTUP_HOME the toolchain"; return 1; }
}

# Megabytes that are still to be written, and where.
disk_needs() {
    local built=0 free
    read -r free _ < <(free_at "$target")
    # Measuring what is built takes a while, and matters only when space is short.
    [ "$free" -ge 10000 ] || [ ! -d "$target" ] || built="$(du -sm "$target" | cut -f 1)"
    echo "$((built < 5500 ? 6000 - built : 500)) $target"
    [ -d "$cargo_home/registry/src" ] || echo "1000 $cargo_home"
    compgen -G "$rustup_home/toolchains/$toolchain*" >/dev/null || echo "1000 $rustup_home"
    has "${cxx[0]}" || echo "1000 $root/usr"
    [ "$what" = build ] || has mvn || echo "800 $root/usr"
}

# --- what compiles and links ---

# Compiles and links a program from standard input: compile PROGRAM LANGUAGE COMPILER… leaves it in $scratch.
compile() {
    local program="$scratch/$1" language="$2" output
    shift 2
    has "$1" || { echo "$1 is not installed"; return 1; }
    output="$("$@" -x "$language" - -o "$program" -ldl 2>&1)" ||
        { echo "$(command -v "$1") does not build a program: $(grep -m 1 -i error <<<"$output" || gist "$output")"; return 1; }
}

check_c_compiler() { compile c-program c "${cc[@]}" <<<'int main(void) { return 0; }'; }

check_cxx_compiler() {
    compile cxx-program c++ "${cxx[@]}" -std=c++20 <<'CXX' || return 1
#include <string>
int main(int count, char **) { return std::to_string(count).size() == 1 ? 0 : 1; }
CXX
    "$scratch/cxx-program" || { echo "a program of $(command -v "${cxx[0]}") does not run; is the C++ library complete?"; return 1; }
}

check_archiver() { starts "${AR:-ar}" --version; }
check_make() { starts make --version; }
check_pkg_config() { starts "${PKG_CONFIG:-pkg-config}" --version; }

check_certificates() {
    local bundle
    for bundle in "${SSL_CERT_FILE:-}" "$root"/etc/ssl/certs/ca-certificates.crt "$root"/etc/pki/tls/certs/ca-bundle.crt "$root"/etc/ssl/cert.pem; do
        [ ! -s "$bundle" ] || return 0
    done
    echo "no certificates in /etc/ssl/certs: nothing can be downloaded over HTTPS"
    return 1
}

# For building it only fetches rustup.
check_curl() { if [ "$what" = test ] || ! has rustup; then starts curl --version; fi; }

# --- libclang, as bindgen finds and uses it ---

# The files that bindgen takes for libclang, in its order of folders.
libclang_files() {
    local file folder folders=() prefix
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        if [ -f "$LIBCLANG_PATH" ]; then folders=("$LIBCLANG_PATH"); else folders=("$LIBCLANG_PATH"/libclang*.so*); fi
    else
        prefix="$("${LLVM_CONFIG_PATH:-llvm-config}" --prefix 2>/dev/null | head -n 1)" || prefix=
        [ -z "$prefix" ] || folders+=("$prefix"/{bin,lib,lib64}/libclang*.so*)
        while IFS= read -r -d : folder; do
            [ -z "$folder" ] || folders+=("$folder"/libclang*.so*)
        done <<<"${LD_LIBRARY_PATH:-}:${LIBRARY_PATH:-}:"
        folders+=("$root"/usr/local/llvm*/lib*/libclang*.so* "$root"/usr/local/lib*/{*/*/,*/,}libclang*.so*
            "$root"/usr/lib*/{*/*/,*/,}libclang*.so*)
    fi
    for file in "${folders[@]}"; do
        case "${file##*/}" in
        *-cpp.*) ;;
        libclang.so | libclang.so.* | libclang-*.so | libclang-*.so.*) [ ! -e "$file" ] || echo "$file" ;;
        esac
    done
}

# Those of them that are libraries of 64 bits, newest version first: bindgen takes the first.
libclang_candidates() {
    local file version
    libclang_files | while IFS= read -r file; do
        [ "$(od -An -tx1 -N5 "$file" 2>/dev/null)" = " 7f 45 4c 46 02" ] || continue
        version="$(sed -E 's/^libclang(\.so\.|-)?//; s/\.?so.*//' <<<"${file##*/}")"
        echo "${version:-0} $file"
    done | sort -s -r -V -k 1,1 | cut -d ' ' -f 2-
}

# Include folders of the clang that bindgen asks for them, as arguments; nothing without a clang.
clang_includes() {
    local clang="${CLANG_PATH:-}"
    [ -n "$clang" ] || clang="$("${LLVM_CONFIG_PATH:-llvm-config}" --bindir 2>/dev/null)/clang" || true
    [ -x "$clang" ] || clang="$(command -v clang)" || return 0
    "$clang" -E -x c - -v </dev/null 2>&1 | sed -n '/^#include <...>/,/^End of search/s/^ \(\/.*\)/-isystem\n\1/p'
}

check_libclang() {
    local candidates=() includes=() first problem other
    mapfile -t candidates < <(libclang_candidates)
    if [ "${#candidates[@]}" = 0 ]; then
        problem="bindgen finds no libclang.so"
        [ -z "${LIBCLANG_PATH:-}" ] || problem+=" in LIBCLANG_PATH=$LIBCLANG_PATH"
        other="$(libclang_files | head -n 1)"
        if [ -n "$other" ]; then problem+=" for this machine ($other is none)"
        elif compgen -G "$root/usr/lib/llvm-*/lib/libclang-cpp.so*" >/dev/null; then problem+=" (libclang-cpp is another library)"; fi
        echo "$problem"
        return 1
    fi
    # Without a C compiler it cannot be tried yet; everything is checked again once there is one.
    libclang_probe || return 0
    mapfile -t includes < <(clang_includes)
    first="${candidates[0]}"
    problem="$(parses "$first" "${includes[@]}")" && return 0
    problem="bindgen takes $first, which does not work: $(gist "$problem")"
    for other in "${candidates[@]:1}"; do
        [ "$(readlink -f "$other")" != "$(readlink -f "$first")" ] || continue
        parses "$other" "${includes[@]}" >/dev/null || continue
        problem+="; LIBCLANG_PATH=$other would"
        break
    done
    echo "$problem"
    return 1
}

# Lets that library parse the compiler's own headers, which come in a package of their own.
parses() {
    local library="$1"
    shift
    printf '#include <stdarg.h>\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n' >"$scratch/headers.h"
    "$scratch/libclang-probe" "$library" "$scratch/headers.h" "$@" 2>&1 | sed 's|^.*/headers\.h:[0-9:]* ||'
}

libclang_probe() {
    compile libclang-probe c "${cc[@]}" >/dev/null <<'C'
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words) {
    void *library = dlopen(words[1], RTLD_LAZY);
    if (!library) return puts(dlerror()), 1;
    void *(*index)(int, int) = (void *(*)(int, int))dlsym(library, "clang_createIndex");
    void *(*parse)(void *, const char *, char **, int, void *, unsigned, unsigned) =
        (void *(*)(void *, const char *, char **, int, void *, unsigned, unsigned))dlsym(library, "clang_parseTranslationUnit");
    unsigned (*complaints)(void *) = (unsigned (*)(void *))dlsym(library, "clang_getNumDiagnostics");
    if (!index || !parse || !complaints) return puts("it has not the functions of libclang"), 1;
    void *unit = parse(index(0, 1), words[2], words + 3, count - 3, NULL, 0, 0);
    return !unit || complaints(unit);
}
C
}

# --- Rust ---

rustup_has_toolchain() { rustup toolchain list 2>/dev/null | grep -q "^${toolchain//./\\.}\(-\| \|$\)"; }

check_rust() {
    local tool version libraries
    if has rustup && ! rustup_has_toolchain; then echo "rustup has no toolchain $toolchain"; return 1; fi
    for tool in cargo rustc; do
        starts "$tool" --version || return 1
        version="$("$tool" --version 2>/dev/null)"
        case "$version" in
        "$tool $toolchain" | "$tool $toolchain "*) ;;
        *) echo "$(command -v "$tool") is ${version#"$tool "}, and $toolchain is needed"; return 1 ;;
        esac
    done
    for tool in fmt clippy; do
        cargo "$tool" --version >/dev/null 2>&1 || { echo "Rust $toolchain has no working cargo $tool"; return 1; }
    done
    for tool in "" wasm32-unknown-unknown; do
        libraries="$(rustc --print target-libdir ${tool:+--target "$tool"} 2>/dev/null)" || libraries=
        { compgen -G "$libraries/libstd-*.rlib" && compgen -G "$libraries/libcore-*.rlib"; } >/dev/null ||
            { echo "Rust $toolchain has no standard library for ${tool:-this machine}"; return 1; }
    done
}

install_rust() {
    local foreign components=(clippy rustfmt) wasm=wasm32-unknown-unknown
    if ! has rustup; then
        foreign="$(command -v cargo)" &&
            say "$foreign is not what this builds with; rustup brings Rust $toolchain, and $foreign stays as it is"
        say "installing rustup in $cargo_home (no shell's PATH is changed)"
        rustup_init -y --quiet --no-modify-path --profile minimal --default-toolchain none >>"$log" 2>&1 ||
            { tail -n 5 "$log" >&2; fail "rustup could not be installed; install it, or Rust $toolchain with clippy, rustfmt and $wasm, by hand"; }
        hash -r
    elif printf '1.23\n%s\n' "$(rustup --version 2>/dev/null | cut -d ' ' -f 2)" | sort -C -V; then :; else
        say "rustup is older than 1.23, updating it"
        rustup self update || true
    fi
    if rustup_has_toolchain; then
        say "adding to Rust $toolchain: ${components[*]} $wasm"
        rustup component add --toolchain "$toolchain" "${components[@]}" || true
        rustup target add --toolchain "$toolchain" "$wasm" || true
    else
        install_toolchain
    fi
    if rust_works_behind_rustup && ! check_rust >/dev/null; then rustup_first; fi
    check_rust >/dev/null || rust_works_behind_rustup || {
        say "Rust $toolchain is half installed, installing it anew"
        rustup toolchain uninstall "$toolchain" || true
        install_toolchain
    }
}

install_toolchain() {
    say "installing Rust $toolchain"
    rustup toolchain install "$toolchain" --no-self-update --profile minimal --component clippy --component rustfmt --target wasm32-unknown-unknown ||
        fail "rustup could not install Rust $toolchain (above is why)"
}

rustup_init() {
    export RUSTUP_INIT_SKIP_PATH_CHECK=yes
    if [ -n "${THALWEG_RUSTUP_INIT:-}" ]; then
        "$THALWEG_RUSTUP_INIT" "$@"
    else
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- "$@"
    fi
}

# Whether the right Rust is there, whatever stands before it on PATH.
rust_works_behind_rustup() { rustup run "$toolchain" cargo clippy --version >/dev/null 2>&1 && rustup run "$toolchain" cargo fmt --version >/dev/null 2>&1; }

# rustup from a package has its cargo in /usr/bin, where another may stand before it: in $cargo_home/bin nothing does.
rustup_first() {
    local tool
    mkdir -p "$cargo_home/bin"
    for tool in cargo cargo-clippy cargo-fmt clippy-driver rustc rustdoc rustfmt; do
        ln -sf "$(command -v rustup)" "$cargo_home/bin/$tool"
    done
    hash -r
}

# --- what only the tests need ---

check_kcat() { starts kcat -V; }

# The shell is tested in a terminal, and a terminal speaks UTF-8 only where the locale does: C.UTF-8 is everywhere.
check_tmux() { LC_ALL=C.UTF-8 starts tmux -V; }

check_postgres() {
    local folder version
    while IFS= read -r folder; do
        if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then break; fi
    done < <(compgen -G "$root/usr/lib/postgresql/*/bin" | sort -r -V)
    [ -n "${folder:-}" ] || { echo "no folder /usr/lib/postgresql/*/bin has both initdb and postgres"; return 1; }
    starts "$folder/initdb" --version && starts "$folder/postgres" --version || return 1
    version="${folder%/bin}"
    [ "$(cut -d . -f 1 <<<"${version##*/}")" -ge 13 ] || { echo "PostgreSQL ${version##*/} is too old: 13 or later is needed"; return 1; }
    [ "$(id -u)" != 0 ] || grep -q '^postgres:' "$root/etc/passwd" ||
        { echo "no user postgres, and PostgreSQL does not run as root"; return 1; }
}

# A Python that can make the virtual environment; none is needed once that is there.
check_python() {
    ! check_python_client >/dev/null || return 0
    starts python3 --version || return 1
    local output
    { output="$(python3 -m venv "$scratch/venv" 2>&1)" && [ -x "$scratch/venv/bin/pip" ]; } ||
        { echo "$(command -v python3) cannot make a virtual environment: $(gist "$output")"; return 1; }
}

check_python_client() {
    [ -d "$venv" ] || { echo "the Python Kafka client is not in $venv yet"; return 1; }
    "$venv/bin/python3" -c 'import confluent_kafka' >/dev/null 2>&1 || { echo "$venv is broken or half made"; return 1; }
}

install_python_client() {
    say "installing the Python Kafka client for the tests in $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'confluent-kafka>=2.6' || fail "pip could not install confluent-kafka (above is why)"
}

# The Java test is run from its source, which takes the compiler.
check_java() {
    local output version
    has java || { echo "java is not installed"; return 1; }
    output="$(java --describe-module jdk.compiler 2>&1)" ||
        { echo "$(command -v java) is no JDK of Java 11 or later: $(gist "$output")"; return 1; }
    version="$(sed -n '1s/^jdk.compiler@\([0-9]*\).*/\1/p' <<<"$output")"
    [ "${version:-0}" -ge 11 ] || { echo "$(command -v java) is Java ${version:-8 or older}: 11 or later is needed"; return 1; }
}

check_maven() { ! check_jars >/dev/null || return 0; starts mvn --version; }

check_jars() {
    local wanted jar
    for wanted in "kafka-clients-$(version_of kafka-clients)" "slf4j-nop-$(version_of slf4j-nop)" 'lz4-java-*' 'slf4j-api-*' 'snappy-java-*' 'zstd-jni-*'; do
        compgen -G "$jars/$wanted.jar" >/dev/null || { echo "the Java Kafka client is not in $jars yet ($wanted.jar)"; return 1; }
    done
    # An archive ends with its index; half of one does not.
    for jar in "$jars"/*.jar; do
        [ "$(tail -c 22 "$jar" | od -An -tx1 -N4)" = " 50 4b 05 06" ] || { echo "$jar is damaged or half downloaded"; return 1; }
    done
}

version_of() { sed -n "/<artifactId>$1</,/<version>/s/.*<version>\(.*\)<.*/\1/p" "$pom"; }

# Into a folder beside, then into place: what stands in $jars is whole.
install_jars() {
    say "fetching the Java Kafka client for the tests into $jars"
    rm -rf "$jars.new"
    mvn -q -B -Dstyle.color=never -f "$pom" dependency:copy-dependencies -DoutputDirectory="$jars.new" || fail "mvn could not fetch kafka-clients (above is why)"
    rm -rf "$jars"
    mv "$jars.new" "$jars"
}

# --- looking, installing, looking again ---

missing=()
# Runs all checks at once; `missing` is then what failed, the reasons lie in $scratch.
look() {
    local name
    for name in "${requirements[@]}"; do
        { "check_$name" >"$scratch/$name.why" 2>&1 && rm "$scratch/$name.why"; } &
    done
    wait
    missing=()
    for name in "${requirements[@]}"; do
        [ ! -e "$scratch/$name.why" ] || missing+=("$name")
    done
}

tell_missing() {
    local name packages
    for name in "${missing[@]}"; do
        packages="$(packages_of "$name")"
        echo "  ${name//_/ }: $(gist "$(cat "$scratch/$name.why")")${packages:+ [package ${packages// / and }]}" >&2
    done
}

is_missing() { [[ " ${missing[*]} " == *" $1 "* ]]; }

install_packages() {
    local packages command asking=(sudo -n)
    mapfile -t packages < <(for name in "${missing[@]}"; do packages_of "$name"; done | tr ' ' '\n' | sort -u)
    [ "${#packages[@]}" -gt 0 ] || return 0
    has apt-get || fail "there is no apt-get here; install with this system's own tool what Debian calls: ${packages[*]}"
    command="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
    if [ "$(id -u)" = 0 ]; then
        asking=()
    else
        has sudo || fail "packages can be installed only by root, and there is no sudo here. Run as root: $command"
        [ ! -t 0 ] || asking=(sudo)
        "${asking[@]}" true || fail "packages can be installed only by root, and sudo refuses. Run as root: $command"
    fi
    say "installing ${packages[*]} (a minute or a few; log in $log)"
    # A cluster of the package's own is not wanted: the tests start their own PostgreSQL.
    if [[ " ${packages[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        "${asking[@]}" mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" | "${asking[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    # Lists first: a bare machine has none. One source of many that fails is no reason to stop.
    local apt=("${asking[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update >>"$log" 2>&1 || say "apt-get update failed, trying all the same"
    # shellcheck disable=SC2016 # $0 and $@ are the inner shell's
    "$here/heartbeat.sh" "installing packages" bash -c '"$@" >>"$0" 2>&1' "$log" "${apt[@]}" install -y --no-install-recommends "${packages[@]}" ||
        { grep '^E:' "$log" >&2 || tail -n 5 "$log" >&2; fail "apt-get could not install ${packages[*]} (above is why)"; }
}

install_missing() {
    local name
    : >"$log"
    install_packages
    for name in rust python_client jars; do
        if is_missing "$name"; then "install_$name"; fi
    done
}

if ! { mkdir -p "$cache" && scratch="$(mktemp -d "$cache/setup.XXXXXX")"; } 2>/dev/null; then
    check_disk >&2 || true
    fail "cannot write to $cache; is HOME=$HOME a folder of yours, and is there space?"
fi
trap 'rm -rf "$scratch"' EXIT

look
if [ -n "$only_check" ]; then
    [ "${#missing[@]}" -gt 0 ] || exit 0
    say "missing for $what on this machine:"
    tell_missing
    exit 1
fi
# The second round is for what could not be tried in the first.
for _ in 1 2; do
    [ "${#missing[@]}" -gt 0 ] || break
    say "missing for $what on this machine:"
    tell_missing
    ! is_missing disk || fail "free some space first; nothing was installed"
    install_missing
    look
done
if [ "${#missing[@]}" -gt 0 ]; then
    say "still missing for $what, after installing what could be:"
    tell_missing
    exit 1
fi
if [ -x "$here/rocksdb.sh" ]; then "$here/heartbeat.sh" "building RocksDB" "$here/rocksdb.sh"; fi
