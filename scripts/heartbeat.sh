#!/usr/bin/env bash
# Runs a command and says once a minute that it still runs, when no terminal shows it: heartbeat.sh LABEL COMMAND…
# Crates that cargo has finished since the start are counted. The exit code is the command's.
set -euo pipefail
label="$1"
shift
if [ -t 2 ]; then exec "$@"; fi

started="$(date +%s)"
seconds="${THALWEG_HEARTBEAT_SECONDS:-60}"
finished_crates() {
    find "${CARGO_TARGET_DIR:-}" "${THALWEG_UDF_TARGET:-}" -path '*/deps/*' -name '*.rmeta' -newermt "@$started" 2>/dev/null | wc -l
}
beat() {
    local crates nothing
    # Waits for what never comes rather than in a `sleep`, which would outlive this script.
    exec {nothing}<> <(:)
    while ! read -r -t "$seconds" -u "$nothing" && kill -0 "$$" 2>/dev/null; do
        crates="$(finished_crates || true)"
        if [ "$crates" = 0 ]; then crates=; else crates=", $crates crates"; fi
        echo "still $label: $((($(date +%s) - started) / 60)) min$crates" >&2
    done
}
beat </dev/null >/dev/null &
beating="$!"
trap 'kill "$beating" 2>/dev/null || true' EXIT
"$@"
