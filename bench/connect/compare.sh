#!/bin/bash
# compare.sh [PROGRAM] [SCALE] [TRANSACTIONS] [PROBES]: change capture by this program beside Debezium in Kafka Connect.
#
# Both capture the same tables of one PostgreSQL in one run, in turns, each into a log that is a fresh server of PROGRAM:
#   thalweg   the connector in the server's own process: CPU and memory are those of log and connector together
#   Debezium  Kafka Connect 4.3 (standalone) with Debezium 3.6, a JVM of its own: CPU and memory of the JVM; the log's CPU apart
# A turn: pgbench's tables at SCALE are read (the snapshot), TRANSACTIONS of pgbench (four changes each) are streamed at full speed,
# and then PROBES rows are inserted, 20 a second, beside pgbench at 50 transactions a second: from the row's own clock to the reader
# of the topic. CPU is user and system time of /proc/PID/stat.
#
# Run it as root with PostgreSQL 15 (Debian's package), Java 17, and the jars of `make test-oracle` (JARS=folder says where).
set -euo pipefail
BIN=$(realpath "${1:-target/release/thalweg}"); SCALE=${2:-10}; TRANSACTIONS=${3:-50000}; PROBES=${4:-600}
JARS=${JARS:-$HOME/.cache/thalweg/connect}; HEAP=${HEAP:-1g}
B=/usr/lib/postgresql/15/bin; PORT=$((20000 + RANDOM % 10000)); TICKS=$(getconf CLK_TCK)
W=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-compare.XXXX"); chmod 755 "$W"
STARTED=()
finish() {
  for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
  if [ -n "${KEEP:-}" ]; then echo "kept: $W" >&2; else rm -rf "$W"; fi
}
trap finish EXIT

install -d -o postgres "$W/pg"
su postgres -c "$B/initdb -U postgres -A trust --no-sync -E UTF8 --locale=C -D $W/pg/data" >/dev/null
install -o postgres /dev/null "$W/pg/log"
setpriv --reuid postgres --regid postgres --clear-groups "$B/postgres" -D "$W/pg/data" -k "$W/pg" -c port=$PORT -c listen_addresses=127.0.0.1 \
  -c wal_level=logical -c fsync=off -c max_wal_size=4GB >"$W/pg/log" 2>&1 &
STARTED+=($!)
export PGHOST=127.0.0.1 PGPORT=$PORT PGUSER=postgres PGDATABASE=postgres
sql() { "$B/psql" -qAtc "$1"; }
until sql 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done

now() { date +%s.%N; }
since() { echo "$(now) - $1" | bc; }
cpu() { awk -v t="$TICKS" '{ sub(/.*\) /, ""); print ($12 + $13) / t }' "/proc/$1/stat"; }
memory() { awk '/VmHWM/ { h = $2 } /RssAnon/ { a = $2 } END { printf "%d, %d", h / 1024, a / 1024 }' "/proc/$1/status"; }
diff_of() { echo "scale=2; ($2 - $1) / 1" | bc | sed 's/^\./0./'; }
per() { python3 -c "print(f'{$1 / $2 * $3:.2f}')"; }

log_server() {
  rm -f "$W/ready"
  "$BIN" server --data "$W/data-$1" --ready-file "$W/ready" --set kafka.listen=127.0.0.1:0 --set connect.listen=127.0.0.1:0 \
    --set http.listen=127.0.0.1:0 >"$W/log-$1.out" 2>&1 &
  LOG=$!; STARTED+=("$LOG")
  until [ -s "$W/ready" ]; do kill -0 $LOG; sleep 0.1; done
  ready() { python3 -c "import json; print(json.load(open('$W/ready'))['$1'])"; }
  KAFKA=$(ready kafka); REST=$(ready connect)
}

kafka_connect() {
  local port=$((30000 + RANDOM % 10000))
  cat >"$W/worker.properties" <<P
bootstrap.servers=$KAFKA
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename=$W/offsets
listeners=http://127.0.0.1:$port
plugin.discovery=service_load
P
  java -Xmx"$HEAP" -cp "$JARS/*" org.apache.kafka.connect.cli.ConnectStandalone "$W/worker.properties" >"$W/connect.out" 2>&1 &
  CAPTURE=$!; STARTED+=("$CAPTURE"); REST=127.0.0.1:$port
  until curl -sf "http://$REST/connectors" >/dev/null; do kill -0 $CAPTURE; sleep 0.5; done
}

create() {
  local json=org.apache.kafka.connect.json.JsonConverter
  curl -sS -f -X POST -H 'content-type: application/json' "http://$REST/connectors" -o /dev/null -d @- <<J
{"name": "c", "config": {"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "plugin.name": "pgoutput",
 "database.hostname": "127.0.0.1", "database.port": "$PORT", "database.user": "postgres", "database.password": "none", "database.dbname": "postgres",
 "topic.prefix": "p", "slot.name": "$1", "publication.name": "$1", "publication.autocreate.mode": "filtered",
 "table.include.list": "public.pgbench_.*,public.probe", "topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1",
 "key.converter": "$json", "key.converter.schemas.enable": "false", "value.converter": "$json", "value.converter.schemas.enable": "false"}}
J
}

# until_probe ID: that row, and with it everything before it, is in the topic.
until_probe() {
  until "$BIN" consume p.public.probe -b "$KAFKA" --exit 2>/dev/null | grep -q "\"after\":{\"id\":$1,"; do sleep 0.3; done
}

# lag: for each of the probes from 1000 on, ms from its row's clock to here, where its record is read.
lag() {
  rm -f "$W/seen"; mkfifo "$W/seen"
  "$BIN" consume p.public.probe -b "$KAFKA" --from latest >"$W/seen" &
  READER=$!
  python3 -c '
import json, sys, time
seen, wanted = [], int(sys.argv[1])
for line in sys.stdin:
    now, row = time.time(), json.loads(line)["after"]
    if row["id"] < 1000:
        print("begun", file=sys.stderr, flush=True)
        continue
    seen.append((now - row["at"] / 1e6) * 1e3)
    if len(seen) == wanted:
        break
seen.sort()
at = lambda part: seen[min(len(seen) - 1, int(len(seen) * part))]
print(f"{at(0.5):.0f} | {at(0.99):.0f}")' "$PROBES" <"$W/seen" >"$W/lag" 2>"$W/begun" &
  LAG=$!
  local id=2
  until [ -s "$W/begun" ]; do probe $id; id=$((id + 1)); sleep 0.5; done
}

probe() { sql "SET TIME ZONE UTC; INSERT INTO probe (id) VALUES ($1)"; }

turn() {
  local side=$1 start before after log_before changes rows=$((SCALE * 100011))
  "$B/pgbench" -q -i -s "$SCALE" >/dev/null 2>&1
  sql 'DROP TABLE IF EXISTS probe; CREATE TABLE probe (id int PRIMARY KEY, at timestamp NOT NULL DEFAULT clock_timestamp())' 2>/dev/null
  probe 0; sql CHECKPOINT
  log_server "$side"
  if [ "$side" = Debezium ]; then kafka_connect; else CAPTURE=$LOG; fi
  before=$(cpu $CAPTURE); log_before=$(cpu $LOG); start=$(now)
  create "$(echo "$side" | tr '[:upper:]' '[:lower:]')"
  until [ "$(sql 'SELECT count(*) FROM pg_replication_slots WHERE active')" = 1 ]; do sleep 0.2; done
  until_probe 0
  local snapshot_s snapshot_cpu; snapshot_s=$(since "$start"); snapshot_cpu=$(diff_of "$before" "$(cpu $CAPTURE)")

  before=$(cpu $CAPTURE); log_before=$(cpu $LOG); start=$(now)
  "$B/pgbench" -n -c 4 -t $((TRANSACTIONS / 4)) --random-seed=7 >/dev/null 2>&1
  probe 1
  until_probe 1
  local stream_s stream_cpu log_cpu; stream_s=$(since "$start")
  stream_cpu=$(diff_of "$before" "$(cpu $CAPTURE)"); log_cpu=$(diff_of "$log_before" "$(cpu $LOG)"); changes=$((TRANSACTIONS * 4))

  "$B/pgbench" -n -c 2 -R 50 -T $((PROBES / 20 + 20)) >/dev/null 2>&1 & local load=$!
  lag
  { echo 'SET TIME ZONE UTC;'; for id in $(seq 1000 $((999 + PROBES))); do echo "INSERT INTO probe (id) VALUES ($id); SELECT pg_sleep(0.05);"; done; } \
    | "$B/psql" -qAt >/dev/null
  wait $LAG; kill $READER 2>/dev/null || true; wait $READER 2>/dev/null || true
  kill $load 2>/dev/null || true; wait $load 2>/dev/null || true

  echo "| $side | $(per "$rows" "$snapshot_s" 1) | $(per "$snapshot_cpu" "$rows" 1000000) | $(per "$changes" "$stream_s" 1) | $(per "$stream_cpu" "$changes" 1000000) | \
$( [ $CAPTURE = $LOG ] && echo "in it" || per "$log_cpu" "$changes" 1000000) | $(memory $CAPTURE) | $(cat "$W/lag") |"
  [ $CAPTURE = $LOG ] || { kill $CAPTURE; wait $CAPTURE 2>/dev/null || true; }
  kill $LOG; wait $LOG 2>/dev/null || true
  sql "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots" >/dev/null
  sql "DO \$\$ DECLARE p name; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP EXECUTE format('DROP PUBLICATION %I', p); END LOOP; END \$\$"
}

echo "$(date +%F), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(nproc) cores, Linux $(uname -r), $(java -version 2>&1 | head -1), heap $HEAP, scale $SCALE, $TRANSACTIONS transactions, $PROBES probes"
echo "| side | snapshot rows/s | CPU s/million rows | changes/s | CPU s/million changes | log's CPU s/million | VmHWM, RssAnon MiB | commit → visible p50 ms | p99 ms |"
echo "|---|---|---|---|---|---|---|---|---|"
for side in ${SIDES:-thalweg Debezium}; do turn "$side"; done
