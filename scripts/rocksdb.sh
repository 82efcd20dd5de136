#!/usr/bin/env bash
# Builds librocksdb.a once for this machine, from the sources of the librocksdb-sys crate that Cargo.lock names,
# and puts it where ROCKSDB_LIB_DIR says (the Makefile's default: ~/.cache/thalweg/rocksdb).
#
# Why not the crate's own build: it compiles 343 files, and each reads the same 50,000 lines of headers again,
# which is three quarters of the time. Here a few files of one folder make one translation unit. The sources, the
# defines and the ABI are the crate's; -O2 serves debug and release alike, and `cargo clean` does not lose it.
# Without ROCKSDB_LIB_DIR plain `cargo build` still builds RocksDB in the crate's way.
set -euo pipefail
cd "$(dirname "$0")/.."

out="${ROCKSDB_LIB_DIR:-$HOME/.cache/thalweg/rocksdb}"
[ "$(uname -s)" = Linux ] || exit 0
locked() { awk -v name="\"$1\"" '$1 == "name" && $3 == name { getline; gsub(/"/, "", $3); print $3; exit }' Cargo.lock; }
crates=(librocksdb-sys zstd-sys lz4-sys)
# A file of one folder beside at most 39 others of it; small folders of one kind together.
unit_files_max=40
flags=(-O2 -std=c++20 -fPIC -ffunction-sections -fdata-sections -w -include cstdint
    -DNDEBUG=1 -DLZ4=1 -DZSTD=1 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION
    -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
    -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT)

stamp="$(for crate in "${crates[@]}"; do echo "$crate $(locked "$crate")"; done; echo "${flags[*]} $unit_files_max")"
if [ -f "$out/librocksdb.a" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

echo "RocksDB: fetching the sources of crates, where they are not here yet"
cargo fetch --locked
folder() {
    local found
    found="$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -type d -name "$1-$(locked "$1")" -print -quit)"
    [ -n "$found" ] || { echo "rocksdb: the sources of $1 $(locked "$1") are not in cargo's registry folder; is CARGO_HOME set differently for cargo?" >&2; exit 1; }
    echo "$found"
}
source="$(folder librocksdb-sys)"
zstd="$(folder zstd-sys)/zstd/lib"
lz4="$(folder lz4-sys)/liblz4/lib"

mkdir -p "$out"
work="$(mktemp -d "$out/build.XXXXXX")"
trap 'rm -rf "$work"' EXIT
cd "$source"
# build_version.cc is the crate's own, beside build.rs.
grep -v '^util/build_version.cc$' rocksdb_lib_sources.txt | awk -v work="$work" -v most="$unit_files_max" '
    NF {
        folder = $0; sub("/[^/]*$", "", folder); split(folder, part, "/")
        unit = part[1]
        if (folder ~ /^(db\/db_impl|db\/compaction|table\/block_based)$/) unit = folder
        else if (part[1] == "db" && folder != "db") unit = "db/blob"
        gsub("/", "_", unit)
        print "#include \"" $0 "\"" > (work "/" unit "." int(files[unit] / most) ".cc")
        files[unit] += 1
    }'
cp build_version.cc "$work/version.0.cc"

units=("$work"/*.cc)
echo "RocksDB: compiling ${#units[@]} parts (once for this machine)"
compile() {
    ${CXX:-c++} "${@:3}" -c -o "${2%.cc}.o" "$2" || { echo "rocksdb: $(basename "$2") does not compile" >&2; exit 255; }
    done="$(find "$1" -name '*.o' | wc -l)"
    echo "RocksDB: part $done of $(find "$1" -name '*.cc' | wc -l)"
}
export -f compile
printf '%s\0' "${units[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c 'compile "$@"' _ "$work" {} "${flags[@]}" \
    -Irocksdb/include -Irocksdb -I. -I"$zstd" -I"$lz4"
rm -f "$work/librocksdb.a"
ar crs "$work/librocksdb.a" "$work"/*.o
mv "$work/librocksdb.a" "$out/librocksdb.a"
printf '%s' "$stamp" >"$out/stamp"
