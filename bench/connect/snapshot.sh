#!/bin/bash
# snapshot.sh ROWS PROGRAM: a snapshot of a table of narrow rows, through postgres-cdc into a topic: memory of the program, and
# kill -9 in the middle. Run it as root with PostgreSQL 15 (Debian's package); it makes a database of its own.
set -u
ROWS=${1:-2000000}; BIN=${2:-target/release/thalweg}
W=$(mktemp -d /tmp/thalweg-snapshot.XXXX); chmod 777 $W; B=/usr/lib/postgresql/15/bin
PORT=$((20000 + RANDOM % 20000))
install -d -o postgres $W/pg
su postgres -c "$B/initdb -U postgres -A trust --no-sync -E UTF8 --locale=C -D $W/pg/data" >/dev/null
su postgres -c "$B/postgres -D $W/pg/data -c listen_addresses=127.0.0.1 -c fsync=off -c port=$PORT -k $W/pg -c wal_level=logical" >$W/pg.log 2>&1 &
PG=$!
until psql -h 127.0.0.1 -p $PORT -U postgres -c 'select 1' >/dev/null 2>&1; do sleep 0.2; done
psql -q -h 127.0.0.1 -p $PORT -U postgres -c "CREATE TABLE narrow (id bigint PRIMARY KEY, n int); INSERT INTO narrow SELECT i, i % 1000 FROM generate_series(1, $ROWS) i; ANALYZE"
start() {
  $BIN server --data $W/data --ready-file $W/ready --set kafka.listen=127.0.0.1:0 --set connect.listen=127.0.0.1:0 --set http.listen=127.0.0.1:0 >$W/out 2>$W/err &
  T=$!; until [ -s $W/ready ]; do sleep 0.1; done
  C=$(python3 -c "import json;print(json.load(open('$W/ready'))['connect'])"); H=$(python3 -c "import json;print(json.load(open('$W/ready'))['http'])")
}
mem() { grep -E "VmHWM|RssAnon" /proc/$T/status | tr "\n" " "; }
start; echo "idle: $(mem)"
J=org.apache.kafka.connect.json.JsonConverter
curl -sS -X POST -H 'content-type: application/json' http://$C/connectors -d "{\"name\":\"n\",\"config\":{\"connector.class\":\"postgres-cdc\",\"database.hostname\":\"127.0.0.1\",\"database.port\":\"$PORT\",\"database.user\":\"postgres\",\"database.dbname\":\"postgres\",\"topic.prefix\":\"p\",\"slot.name\":\"n\",\"table.include.list\":\"public.narrow\",\"publication.autocreate.mode\":\"filtered\",\"key.converter\":\"$J\",\"key.converter.schemas.enable\":\"false\",\"value.converter\":\"$J\",\"value.converter.schemas.enable\":\"false\"}}" >/dev/null
S=$(date +%s.%N); K=0
rows() { curl -sS "http://$C/connectors/n/status?expand=progress" | python3 -c "import json,sys;t=json.load(sys.stdin)['tasks'];p=t[0].get('progress',{}) if t else {};print(p.get('phase'),p.get('snapshot_rows',0),p.get('records',0))"; }
while :; do
  read phase n r < <(rows)
  if [ $K = 0 ] && [ "${n:-0}" -gt $((ROWS/2)) ] 2>/dev/null; then echo "killed behind $n rows after $(echo "$(date +%s.%N)-$S" | bc) s: $(mem)"; kill -9 $T; wait $T 2>/dev/null; rm -f $W/ready; start; K=1; continue; fi
  [ "$phase" = streaming ] && break
  sleep 1; L="$phase $n"
done
echo "second run: $L rows, then streaming; $(echo "$(date +%s.%N)-$S" | bc) s in all: $(mem)"
kill $T; wait $T 2>/dev/null; kill -INT $PG; wait $PG 2>/dev/null; rm -rf "$W"
