#!/usr/bin/env bash
# What many views cost that have nothing to do: disk, memory, processor, and how long a start takes.
# usage: bench/idle-views.sh [VIEWS] [PROGRAM]     (1000, target/release/thalweg)
set -euo pipefail

views=${1:-1000}
program=${2:-target/release/thalweg}
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT

now_ms() { date +%s%3N; }

start() {
    rm -f "$folder/ready"
    local from; from=$(now_ms)
    "$program" server --data "$folder/data" --ready-file "$folder/ready" \
        --set kafka.listen=127.0.0.1:0 --set connect.listen=127.0.0.1:0 --set http.listen=127.0.0.1:0 \
        2>"$folder/log" &
    pid=$!
    until [ -s "$folder/ready" ]; do
        kill -0 "$pid" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
        sleep 0.01
    done
    http=$(sed -E 's/.*"http": ?"([^"]+)".*/\1/' "$folder/ready")
    echo $(($(now_ms) - from)) >"$folder/took"
}

sql() {
    curl -sS --fail-with-body -o "$folder/answer" "http://$http/v1/query" \
        -H 'Content-Type: application/json' -d "{\"sql\": \"$1\"}" || { cat "$folder/answer" >&2; exit 1; }
}

ticks() { sed -E 's/.*\) //' "/proc/$pid/stat" | awk '{print $12 + $13}'; }
kib() { awk -v key="$1:" '$1 == key {print $2}' "/proc/$pid/status"; }
mib() { du -sk "$1" | awk '{printf "%.0f", $1 / 1024}'; }

start
empty_kib=$(kib RssAnon)
sql "CREATE TABLE t (k TEXT PRIMARY KEY, v BIGINT) WITH (topic = 't'); INSERT INTO t VALUES ('a', 1)"
from=$(now_ms)
batch=
for number in $(seq 1 "$views"); do
    batch+="CREATE MATERIALIZED VIEW v$number WITH (wait = off) AS SELECT k, count(*) AS n FROM t GROUP BY k;"
    if [ $((number % 25)) -eq 0 ] || [ "$number" -eq "$views" ]; then
        sql "$batch"
        batch=
    fi
done
sql "SET read_your_writes = on; SELECT * FROM v$views"
made_ms=$(($(now_ms) - from))

sleep 5
before=$(ticks)
sleep 10
idle_percent=$(awk -v ticks=$(($(ticks) - before)) 'BEGIN {printf "%.1f", ticks / 10}')
anon_kib=$(kib RssAnon)
threads=$(kib Threads)
files=$(ls "/proc/$pid/fd" | wc -l)
from=$(now_ms)
kill -TERM "$pid"
wait "$pid" || true
stop_ms=$(($(now_ms) - from))
state_mib=$(mib "$folder/data/streams")
log_mib=$(mib "$folder/data/log")

start
ready_ms=$(cat "$folder/took")
from=$(now_ms)
sql "SET read_your_writes = on; SELECT * FROM v$views"
answer_ms=$(($(now_ms) - from))

cat <<TABLE
| $views idle views | |
|---|---|
| made in | $made_ms ms |
| memory (RssAnon) | $((anon_kib / 1024)) MiB, $((empty_kib / 1024)) MiB without views |
| state on disk | $state_mib MiB |
| log on disk | $log_mib MiB |
| processor while idle | $idle_percent % of a core |
| threads, open files | $threads, $files |
| stop | $stop_ms ms |
| start until it serves | $ready_ms ms |
| the last view's first answer then | $answer_ms ms |
TABLE
