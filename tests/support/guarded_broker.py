"""A Kafka as helm/kafka has Strimzi run it: clients log on over TLS with SCRAM-SHA-512, and may do what ACLs say and nothing else.

Owns the broker, its certificate, and the users that tests make. We ourselves come in by the broker's inner listener, whom no ACL binds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without `as`
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports

PASSWORD = "a password of no importance"
ANSWER_S = 20.0
# As few as Kafka allows: each connection of a test pays for them.
_ITERATIONS = 4096
_TYPES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
}
_DENIED = re.compile(r"Principal = User:(\S+) is Denied operation = (\w+) from host = \S+ on resource = (\w+:\w+:\S+) for request = (\w+)")


@dataclass(frozen=True, slots=True)
class Right:
    """One operation on one resource, or on all whose names begin so.

    Attributes:
        resource: `topic`, `group` or `cluster`.
        name: its name, or how it begins; `kafka-cluster` for the cluster.
        prefix: whether `name` is how it begins.
        operation: as Kafka names it, for example `DescribeConfigs`.
    """

    resource: str
    name: str
    prefix: bool
    operation: str

    def __str__(self) -> str:
        return f"{self.operation} {self.resource} {self.name}{'*' if self.prefix else ''}"


def rights_of(kafka_user: dict[str, Any]) -> list[Right]:
    """What a KafkaUser asks for, one operation at a time."""
    authorization = kafka_user["spec"]["authorization"]
    assert authorization["type"] == "simple"
    return [
        Right(resource["type"], resource.get("name", "kafka-cluster"), resource.get("patternType") == "prefix", operation)
        for rule in authorization["acls"]
        for resource in [rule["resource"]]
        for operation in rule["operations"]
    ]


class GuardedBroker:
    """A running broker with users.

    Args:
        make_broker: the fixture of that name.
        folder: for its certificate.
    """

    def __init__(self, make_broker: Callable[..., LocalBroker], folder: Path) -> None:
        authority = trustme.CA()
        self.authority = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.authority)
        keystore = folder / "broker.pem"
        _write_keystore(keystore, authority.issue_cert("127.0.0.1"))
        (port,) = free_ports(1)
        listener = "listener.name.clients"
        self.broker = make_broker(
            advertised=f"127.0.0.1:{port}",
            overrides={
                "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                f"{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
                f"{listener}.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
                f"{listener}.ssl.keystore.type": "PEM",
                f"{listener}.ssl.keystore.location": str(keystore),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                # Longer than `topics check` has nothing to say about: whoever may see the brokers' settings is told.
                "group.consumer.session.timeout.ms": "20000",
                # Who comes in by the inner listeners has no name.
                "super.users": "User:ANONYMOUS",
            },
        )
        self.broker.start()
        self.port = port
        self._admin = AdminClient({"bootstrap.servers": self.broker.bootstrap_servers})

    @property
    def inner(self) -> str:
        """Where no ACL holds."""
        return self.broker.bootstrap_servers

    def environment(self, user: str) -> dict[str, str]:
        """What a service needs to come in as a user, as a pod has it."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_LOCATION": str(self.authority),
        }

    def options(self, user: str) -> dict[str, Any]:
        """The same for a plain client."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self.port}",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(self.authority),
        }

    def add_user(self, user: str, rights: Iterable[Right]) -> None:
        """Make a user with exactly these rights."""
        credential = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS), PASSWORD.encode())
        self._admin.alter_user_scram_credentials([credential])[user].result(ANSWER_S)
        bindings = [
            AclBinding(
                _TYPES[right.resource],
                right.name,
                ResourcePatternType.PREFIXED if right.prefix else ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                AclOperation[_snake(right.operation)],
                AclPermissionType.ALLOW,
            )
            for right in rights
        ]
        for future in self._admin.create_acls(bindings).values() if bindings else ():
            future.result(ANSWER_S)

    def denied(self, user: str) -> set[str]:
        """What the broker refused this user, as its log tells: operation, resource and request."""
        return {f"{operation} {resource} ({request})" for name, operation, resource, request in self._denials() if name == user}

    def _denials(self) -> Iterator[tuple[str, str, str, str]]:
        yield from _DENIED.findall(self.broker.log_path.read_text(encoding="utf-8"))


def _snake(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).upper()


def _write_keystore(path: Path, certificate: trustme.LeafCert) -> None:
    """Kafka reads a private key as PKCS#8 alone."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
