"""A foreign client's day: topics, idempotent and transactional producers, groups, offsets by time."""

import json
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

# What every client says: where the broker is, and what it asks of who connects.
common = {"bootstrap.servers": sys.argv[1], **json.loads(sys.argv[2])}

admin = AdminClient(common)
for future in admin.create_topics([NewTopic("py", 3, 1), NewTopic("tx", 1, 1)]).values():
    future.result(30)
print("created")

errors = []
producer = Producer({**common, "enable.idempotence": True, "compression.type": "zstd"})
for n in range(1000):
    producer.produce("py", key=str(n), value=f"v{n}", timestamp=1_000_000 + n, on_delivery=lambda e, m: e and errors.append(e))
    producer.poll(0)
assert producer.flush(30) == 0 and not errors, errors
print("idempotent", 1000)

transactional = Producer({**common, "transactional.id": "t1"})
transactional.init_transactions(30)
for end in ("commit", "abort"):
    transactional.begin_transaction()
    for n in range(10):
        transactional.produce("tx", value=f"{end} {n}")
    transactional.flush(30)
    getattr(transactional, f"{end}_transaction")(30)


def consume(topic, group, count=None):
    consumer = Consumer({
        **common, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "isolation.level": "read_committed", "enable.partition.eof": True,
    })
    consumer.subscribe([topic])
    values, ended = [], set()
    while len(ended) < len(admin.list_topics(topic, 30).topics[topic].partitions):
        message = consumer.poll(30)
        assert message is not None, "nothing came"
        if message.error():
            ended.add(message.partition())
        else:
            values.append(message.value().decode())
    if values:
        consumer.commit(asynchronous=False)
    offsets = sum(p.offset for p in consumer.committed(consumer.assignment(), 30) if p.offset > 0)
    consumer.close()
    return values, offsets


values, _ = consume("tx", "g-tx")
print("committed", sum(v.startswith("commit") for v in values), "aborted", sum(v.startswith("abort") for v in values))

values, offsets = consume("py", "g-py")
assert len(set(values)) == 1000, len(set(values))
again, _ = consume("py", "g-py")
assert again == [], again[:3]
print("group", len(values), "offsets", "ok" if offsets == 1000 else offsets)

consumer = Consumer({**common, "group.id": "g-time"})
found = consumer.offsets_for_times([TopicPartition("py", p, 1_000_500) for p in range(3)], 30)
before = sum(p.offset for p in found)
assert before == 500, found
consumer.close()
print("times ok")
