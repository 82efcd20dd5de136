#!/usr/bin/env python3
"""Nexmark's queries by Thalweg and by Apache Flink: the same bytes in, topics out, exactly-once, state in RocksDB.

    bench/nexmark/compare.py --thalweg FILE --flink JARS [--bids N] [--only q0,q5] [--core N]

    thalweg server (log, views) ── topics bid, auction, person ──▶ a view          CPU of the server, the log in it
                                                               ──▶ Flink ──▶ topic   CPU of Flink's process alone

Each query of queries.sql is asked of both in turn. Flink runs each twice in one JVM and the second time counts, so that
neither its start nor its compiler does. Both have the same one core. Numbers of rows of both answers are compared.
Everything ends by itself; the server, its folder and Flink's go in the end.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

HERE = pathlib.Path(__file__).resolve().parent
# Of 50 events one is a person and three are auctions.
COLUMNS = {
    "bid": "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING",
    "auction": "id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, expires TIMESTAMP(3), seller BIGINT, category BIGINT",
    "person": "id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING",
}
OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.util", "java.lang", "java.time", "java.net", "java.nio")
]
QUERY_WAIT_S = 1800


def queries(only):
    text = (HERE / "queries.sql").read_text()
    found = re.findall(r"^-- (q\d+): (.*)\n((?:(?!^--).*\n)+)", text, re.M)
    return [(name, sink, query.strip().rstrip(";")) for name, sink, query in found if not only or name in only]


class Thalweg:
    """A server on a folder of its own."""

    def __init__(self, program, folder, core):
        ready = folder / "ready"
        settings = ["kafka.listen", "http.listen", "connect.listen"]
        command = ["taskset", "-c", core, program, "server", "--data", folder / "data", "--ready-file", ready]
        for setting in settings:
            command += ["--set", f"{setting}=127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not ready.exists() or not ready.read_text().endswith("\n"):
            if self.process.poll() is not None:
                sys.exit(f"{program} ended with {self.process.returncode}")
            time.sleep(0.01)
        addresses = json.loads(ready.read_text())
        self.kafka = addresses["kafka"]
        self.program, self.http = program, f"http://{addresses['http']}"

    def sql(self, text):
        command = [self.program, "sql", "--server", self.http, "-o", "json", "-c", text]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            raise RuntimeError(answer.stderr)
        return [json.loads(line) for line in answer.stdout.splitlines()]

    def topic(self, name):
        """A topic that keeps records with event times of long ago, as Flink's sinks write them."""
        command = [self.program, "topic", "create", name, "-b", self.kafka, "--partitions", "1", "--config", "retention.ms=-1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def ours(server, name, query):
    server.forget_peak()
    cpu, started = server.cpu(), time.monotonic()
    server.sql(f"SET create.wait = '{QUERY_WAIT_S}s'; CREATE MATERIALIZED VIEW {name} AS {query}")
    cost = {"cpu": server.cpu() - cpu, "wall": time.monotonic() - started, "resident_mib": server.peak_mib()}
    cost["rows"] = server.sql(f"SET read_your_writes = on; SELECT count(*) AS n FROM {name}")[-1]["n"]
    server.sql(f"DROP MATERIALIZED VIEW {name}")
    return cost


def flink(server, jars, folder, core, name, sink, query):
    changes = "PRIMARY KEY" in sink
    connection = f"'properties.bootstrap.servers' = '{server.kafka}'"
    statements = [
        "SET 'execution.target' = 'local'",
        "SET 'parallelism.default' = '1'",
        "SET 'state.backend.type' = 'rocksdb'",
        "SET 'table.exec.sink.upsert-materialize' = 'NONE'",
        "SET 'taskmanager.memory.managed.size' = '512m'",
        "SET 'execution.checkpointing.interval' = '1s'",
        f"SET 'execution.checkpointing.dir' = 'file://{folder}/checkpoints'",
    ]
    for table, columns in COLUMNS.items():
        statements.append(
            f"CREATE TABLE {table} ({columns}, date_time TIMESTAMP(3), extra STRING, "
            "WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND) WITH ('connector' = 'kafka', "
            f"'topic' = '{table}', {connection}, 'scan.startup.mode' = 'earliest-offset', "
            "'scan.bounded.mode' = 'latest-offset', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')"
        )
    for turn in ("warm", "counted"):
        topic = f"flink_{name}_{turn}"
        server.topic(topic)
        form = (
            "'connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json'"
            if changes
            else "'connector' = 'kafka', 'format' = 'json'"
        )
        statements.append(
            f"CREATE TABLE {topic} ({sink}) WITH ({form}, 'topic' = '{topic}', {connection}, "
            f"'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{topic}', "
            "'properties.transaction.timeout.ms' = '600000')"
        )
        statements.append(f"INSERT INTO {topic} {query}")
    text = folder / f"{name}.sql"
    text.write_text(";\n".join(statements) + ";\n")
    java = ["taskset", "-c", core, "java", "-Xmx2g", *OPENS, "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]
    command = [*java, "-cp", f"{folder}/classes:{jars}/*", "Flink", text]
    run = subprocess.run(command, capture_output=True, text=True, timeout=2 * QUERY_WAIT_S)
    if run.returncode != 0:
        raise RuntimeError(run.stderr[-2000:])
    cost = json.loads(run.stdout.splitlines()[-1])
    cost["rows"] = rows(server, f"flink_{name}_counted", changes)
    return cost


def rows(server, topic, changes):
    """How many rows the topic has; of rows that change the last of each key."""
    settings = {"group.id": "compare", "isolation.level": "read_committed", "enable.partition.eof": True}
    consumer = Consumer({"bootstrap.servers": server.kafka, **settings})
    partitions = consumer.list_topics(topic).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    count, last, ended = 0, {}, 0
    while ended < len(partitions):
        message = consumer.poll(10)
        if message is None:
            raise RuntimeError(f"nothing came of {topic} for 10 s")
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise RuntimeError(message.error())
            ended += 1
        else:
            count += 1
            last[message.key()] = message.value()
    consumer.close()
    return sum(value is not None for value in last.values()) if changes else count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thalweg", required=True, help="the program, of a release build")
    parser.add_argument("--flink", required=True, help="the folder with Flink's jars")
    parser.add_argument("--bids", type=int, default=1_000_000)
    parser.add_argument("--core", default="0", help="the core that both have; this script and what else runs belongs on others")
    parser.add_argument("--only", type=lambda text: text.split(","), help="for example q0,q5")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="thalweg-nexmark-"))
    server = None
    try:
        compiler = ["javac", "-d", folder / "classes", "-cp", f"{arguments.flink}/*", HERE / "Flink.java"]
        subprocess.run(compiler, check=True)
        server = Thalweg(arguments.thalweg, folder, arguments.core)
        compare(server, arguments, folder)
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder)


def compare(server, arguments, folder):
    sizes = {"bid": arguments.bids, "auction": arguments.bids * 3 // 46, "person": arguments.bids // 46}
    for table, size in sizes.items():
        server.sql(f"CREATE SOURCE {table} WITH (connector = 'nexmark', type = '{table}', seed = 1, rate = max, rows = {size})")
        while (there := server.sql(f"SELECT count(*) AS n FROM {table}")[-1]["n"]) < size:
            print(f"making events: {there} of {size} of {table}", file=sys.stderr)
            time.sleep(1)
    print("| query | events | Thalweg CPU s | Flink CPU s | ratio | thousand events / CPU s | Flink | MiB | Flink | rows |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    ratios, failed = [], []
    for name, sink, query in queries(arguments.only):
        read = set(re.findall(r"\b(?:FROM|JOIN|TABLE) (bid|auction|person)\b", query))
        events = sum(sizes[table] for table in read)
        try:
            own = ours(server, name, query)
            peer = flink(server, arguments.flink, folder, arguments.core, name, sink, query)
        except RuntimeError as error:
            failed.append(name)
            print(f"{name} failed: {error}", file=sys.stderr)
            continue
        ratio = peer["cpu"] / own["cpu"]
        ratios.append(ratio)
        same = own["rows"] if own["rows"] == peer["rows"] else f"{own['rows']}, Flink {peer['rows']}"
        print(
            f"| {name} | {events} | {own['cpu']:.2f} | {peer['cpu']:.2f} | {ratio:.1f} | {events / own['cpu'] / 1e3:.0f} "
            f"| {events / peer['cpu'] / 1e3:.0f} | {own['resident_mib']:.0f} | {peer['resident_mib']} | {same} |",
            flush=True,
        )
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"\ngeometric mean of the ratios: {mean:.1f}; the least: {min(ratios):.1f}")


main()
