"""Every client's options come from one place, and what an operator adds reaches each kind of client that has a use for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from convnet_kafka.kafka.connection import Options, admin_options, group_options, producer_options, reader_options
from convnet_kafka.kafka.table import TableFollower
from convnet_kafka.settings import KafkaSettings
from support.waiting import until

SERVICES = Path(__file__).parents[2] / "services" / "convnet_kafka"
# Nobody listens there: clients are made, and asked nothing.
NOWHERE = "127.0.0.1:1"
# The local broker's own readiness probe speaks to a broker that has no settings of ours yet.
NOT_OURS = {"local/brokerprobe.py"}

OAUTH = {"sasl.oauthbearer.config": "principal=tester", "enable.sasl.oauthbearer.unsecure.jwt": True}

BUILDERS: dict[str, Callable[[KafkaSettings], Options]] = {
    "admin": lambda settings: admin_options(settings, "test"),
    "producer": lambda settings: producer_options(
        settings, "test", linger_ms=0, share=0.1, max_record_bytes=100_000, delivery_timeout_s=15
    ),
    "reader": lambda settings: reader_options(settings, "test", share=0.1, max_record_bytes=100_000),
    "member": lambda settings: group_options(settings, "test", group="g", share=0.1, max_record_bytes=100_000),
}
MAKERS = {"admin": AdminClient, "producer": Producer, "reader": Consumer, "member": Consumer}


def settings(protocol: str = "consumer", **client_options: str | int | bool) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=NOWHERE, group_protocol=protocol, client_options=client_options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", BUILDERS)
def test_what_an_operator_adds_wins_in_every_kind_of_client(kind: str) -> None:
    options = BUILDERS[kind](settings(**{"socket.timeout.ms": 7000, "reconnect.backoff.max.ms": 1234}))
    assert options["socket.timeout.ms"] == 7000
    assert options["reconnect.backoff.max.ms"] == 1234


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_kind_of_client_can_be_made_with_a_token_instead_of_a_password(kind: str) -> None:
    with_token = KafkaSettings(
        bootstrap_servers=NOWHERE, security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", client_options=dict(OAUTH)
    )
    options = BUILDERS[kind](with_token)
    assert options["sasl.oauthbearer.config"] == "principal=tester"
    MAKERS[kind](options)


def test_only_members_of_a_group_get_what_only_they_have_a_use_for() -> None:
    short = settings("classic", **{"max.poll.interval.ms": 6000, "session.timeout.ms": 6000, "group.instance.id": "one"})
    assert {BUILDERS["member"](short)[name] for name in ("max.poll.interval.ms", "session.timeout.ms")} == {6000}
    for kind in ("admin", "producer", "reader"):
        options = BUILDERS[kind](short)
        assert not options.keys() & {"max.poll.interval.ms", "session.timeout.ms", "group.instance.id"}
        MAKERS[kind](options)


def test_a_follower_of_a_table_lives_with_a_short_poll_interval_and_tells_of_options_that_are_refused() -> None:
    # Less than librdkafka's own session of 45 s, which no reader needs and which it would refuse to start with.
    options = BUILDERS["reader"](settings("classic", **{"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}))
    with closing(TableFollower(options, "t", lambda _: None)) as follower:
        follower.start()
        until(lambda: "cannot be read" in str(follower.problem), what="a try to reach Kafka")
        assert "max.poll.interval" not in str(follower.problem)
    with closing(TableFollower(options | {"max.poll.interval.ms": 6000}, "t", lambda _: None)) as refused:
        refused.start()
        until(lambda: "max.poll.interval.ms" in str(refused.problem), what="librdkafka's word on the option")


def test_no_client_is_made_from_anything_else() -> None:
    """A client with addresses of its own would know nothing of passwords, tokens and certificates."""
    files = {path.relative_to(SERVICES).as_posix(): path.read_text() for path in SERVICES.rglob("*.py")}
    assert {name for name, text in files.items() if '"bootstrap.servers"' in text} == {"kafka/connection.py"} | NOT_OURS
