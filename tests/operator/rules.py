"""Lets anna read orders and keep things of her own, with confluent-kafka's admin client."""

import json
import sys

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

admin = AdminClient({"bootstrap.servers": sys.argv[1], **json.loads(sys.argv[2])})
rules = [
    AclBinding(ResourceType.TOPIC, name, pattern, "User:anna", "*", operation, AclPermissionType.ALLOW)
    for name, pattern, operation in [
        ("orders", ResourcePatternType.LITERAL, AclOperation.READ),
        ("mine", ResourcePatternType.PREFIXED, AclOperation.CREATE),
        ("mine", ResourcePatternType.PREFIXED, AclOperation.READ),
    ]
]
for future in admin.create_acls(rules).values():
    future.result(30)
print("rules", len(rules))
