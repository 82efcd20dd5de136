"""Users and rules of access, made and obeyed: an administrator's hour with confluent-kafka's admin client."""

import json
import sys

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType,
    ResourceType, ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion,
)

common = {"bootstrap.servers": sys.argv[1], **json.loads(sys.argv[2])}
reader = {**common, "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "reader", "sasl.password": "reads"}

admin = AdminClient(common)
for future in admin.create_topics([NewTopic("orders-1", 1, 1)]).values():
    future.result(30)
password = UserScramCredentialUpsertion("reader", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192), b"reads")
for future in admin.alter_user_scram_credentials([password]).values():
    future.result(30)
known = admin.describe_user_scram_credentials(["reader"])["reader"].result(30)
print("user", known.user, [info.iterations for info in known.scram_credential_infos])


def rule(kind, name, pattern, operation):
    return AclBinding(kind, name, pattern, "User:reader", "*", operation, AclPermissionType.ALLOW)


rules = [
    rule(ResourceType.TOPIC, "orders-", ResourcePatternType.PREFIXED, AclOperation.READ),
    rule(ResourceType.GROUP, "readers", ResourcePatternType.LITERAL, AclOperation.READ),
]
for future in admin.create_acls(rules).values():
    future.result(30)
any_rule = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
print("rules", len(admin.describe_acls(any_rule).result(30)))

producer = Producer(common)
producer.produce("orders-1", value="one")
assert producer.flush(30) == 0
consumer = Consumer({**reader, "group.id": "readers", "auto.offset.reset": "earliest"})
consumer.subscribe(["orders-1"])
message = consumer.poll(30)
print("read", message.value().decode() if not message.error() else message.error())
consumer.close()

refused = []
other = Producer(reader)
other.produce("orders-1", value="two", on_delivery=lambda error, _: refused.append(error.name()))
other.flush(30)
print("write", refused[0])

for future in admin.delete_acls([any_rule]).values():
    print("removed", len(future.result(30)))
for future in admin.alter_user_scram_credentials([UserScramCredentialDeletion("reader", ScramMechanism.SCRAM_SHA_512)]).values():
    future.result(30)
try:
    AdminClient({**reader, "socket.timeout.ms": 5000}).list_topics(timeout=3)
    print("let in")
except KafkaException as error:
    print("gone", error.args[0].name())
