"""Releases on a real Kafka, each broken in one way, and the line that the doctor has for it; and one that is well."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from convnet_kafka.control import AliasesRecord, ControlKind, control_headers
from convnet_kafka.deadletters import dead_letter_headers
from convnet_kafka.diagnosis.doctor.findings import Status
from convnet_kafka.diagnosis.endpoints import Endpoint
from convnet_kafka.kafka.topics import topic_id
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports
from convnet_kafka.messages import FailureCode, now_ms
from convnet_kafka.server.jobs import JobSigner
from convnet_kafka.settings import ServerSettings, TopicSettings
from support.examining import examined, failures, lines, place, warnings
from support.kafka_release import KafkaRelease
from support.topics import delete_before

KEY = b"k" * 40


@pytest.fixture
def release(broker: LocalBroker) -> KafkaRelease:
    return KafkaRelease(broker)


def test_topics_that_are_missing(release: KafkaRelease) -> None:
    said = failures(release.place, "topics")
    assert f"topic {release.name('images')} does not exist: create it with 2 partitions" in said
    assert "'convnet-kafka topics create' makes it" in said
    assert f"topic {release.name('labels')} does not exist" in failures(release.place, "job")


def test_topics_with_settings_that_lose_images(release: KafkaRelease) -> None:
    release.create(images={"retention.ms": "1000"}, dlq={"max.message.bytes": "5000"})
    release.topics = TopicSettings(images_partitions=4, labels_partitions=2)
    found = examined(release.place, "topics")
    assert f"topic {release.name('images')} has retention.ms=1000, must be 604800000" in lines(found, Status.FAIL)
    assert f"topic {release.name('images.dlq')} has max.message.bytes=5000" in lines(found, Status.FAIL)
    assert "has 2 partitions, 4 are set -> 'convnet-kafka topics grow' gives it more" in lines(found, Status.WARN)


def test_images_that_nobody_works_on(release: KafkaRelease) -> None:
    release.create()
    release.put("images", b"x", release.image_headers())
    found = examined(release.place, "groups", "backlog")
    said = lines(found, Status.WARN)
    assert f"the group {release.settings.topic_prefix}.classifiers.bulk has no member: no classifier runs" in said
    assert re.search(r"1 images wait in the bulk lane, the oldest for \d+ s, and none was done while we looked", said)
    assert "nothing waits in the fast lane" in lines(found, Status.PASS)


def test_images_that_expired_before_anybody_read_them(release: KafkaRelease) -> None:
    release.create()
    for _ in range(3):
        release.put("images", b"x", release.image_headers())
    release.commit(1)
    delete_before(release.servers, release.name("images"), 3)
    said = failures(release.place, "backlog")
    assert "2 images of the bulk lane expired before they were classified (partitions 0): accepted, and lost" in said


def test_images_that_have_waited_for_much_of_their_time(release: KafkaRelease) -> None:
    release.create()
    release.topics = TopicSettings(images_partitions=2, labels_partitions=2, images_retention_hours=0.5 / 3600)
    release.put("images", b"x", release.image_headers())
    said = failures(release.place, "backlog")
    assert "1 images wait in the bulk lane, the oldest for" in said
    assert "start classifiers now" in said


def test_images_of_a_newer_version_and_of_somebody_else(release: KafkaRelease) -> None:
    release.create()
    release.put("images", b"x", release.image_headers(wire=b"2"))
    release.put("images", b"x", [("content-type", b"image/png")], partition=1)
    found = examined(release.place, "wire")
    assert "1 of the newest images cannot be read by this version" in lines(found, Status.FAIL)
    assert "wire version 2, this software reads up to 1" in lines(found, Status.FAIL)
    assert "1 of the newest images get no label" in lines(found, Status.WARN)


def test_clocks_that_differ(release: KafkaRelease) -> None:
    release.create()
    now = now_ms()
    for _ in range(3):
        release.label(now - 600_000, now - 300_000)
    assert "the classifiers' clocks and the brokers' differ by 300." in failures(release.place, "clocks")
    for _ in range(40):
        release.label(now + 5000, now)
    found = examined(release.place, "clocks")
    assert "the servers' clocks and the classifiers' differ by 5.0 s (an image was labelled before it was accepted)" in lines(
        found, Status.WARN
    )
    assert "the classifiers' clocks and the brokers' agree" in lines(found, Status.PASS)


def test_jobs_of_a_topic_that_is_gone_of_other_keys_and_of_long_ago(release: KafkaRelease, tmp_path: Path) -> None:
    release.create()
    path = tmp_path / "key"
    path.write_bytes(KEY)
    here = topic_id(release.admin, release.name("labels"))

    def said(key: bytes = KEY, topic: bytes = here, **changed: int) -> tuple[str, str]:
        signer = JobSigner([key], lambda: topic, 3_600_000)
        where = release.place
        where.server = ServerSettings(signing_key_files=[path])
        where.job = signer.token(replace(signer.open("default", 1, 7), **changed))
        found = examined(where, "job")
        return lines(found, Status.FAIL), lines(found, Status.PASS)

    assert "was made anew, or this is another Kafka" in said(topic=bytes(16))[0]
    assert "was not signed with the keys of this server: it answers 404" in said(key=b"o" * 40)[0]
    assert "was opened 100 hours ago: its life is over" in said(opened_at_ms=now_ms() - 100 * 3_600_000)[0]
    assert "of tenant default, in partition 1 from offset 7" in said()[1]


def test_models_that_nobody_has_told_of_and_dead_letters(release: KafkaRelease) -> None:
    release.create()
    assert "no classifier has told yet which model is stable" in warnings(release.place, "control")
    record = AliasesRecord(stable=3)
    release.put("control", record.to_json(), control_headers(ControlKind.ALIASES), key=b"aliases")
    for reason in (FailureCode.UNDECODABLE, FailureCode.QUARANTINED):
        headers = dead_letter_headers(
            release.image_headers(), reason=reason, detail="", attempts=1, topic="t", partition=0, offset=0, model=None
        )
        release.put("images.dlq", b"x", headers)
    found = examined(release.place, "control", "dead-letters")
    assert "servers know of model versions none; stable is 3" in lines(found, Status.PASS)
    assert "2 dead letters in the last day: 1 undecodable, 1 quarantined" in lines(found, Status.WARN)


def test_replicas_that_are_away_and_a_release_that_is_well(release: KafkaRelease) -> None:
    release.create()
    where = release.place
    where.endpoints = [Endpoint("http://127.0.0.1:1", "classifier-1")]
    found = examined(where)
    assert "classifier-1 does not answer: Connection refused" in lines(found, Status.FAIL)
    assert {finding.check for finding in found if finding.status is Status.FAIL} == {"replicas"}
    assert {finding.check for finding in found if finding.status is Status.WARN} == {"groups", "control"}


@pytest.fixture
def hard_broker(make_broker: Callable[..., LocalBroker]) -> tuple[LocalBroker, dict[str, int]]:
    """A broker of somebody else: Kafka's own times of groups, short memory of positions, a listener that wants a password, and one that
    sends clients to an address where nobody is."""
    port, sasl, astray, controller, nobody = free_ports(5)
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    broker = make_broker(
        port=port,
        overrides={
            "listeners": f"BROKER://127.0.0.1:{port},SASL://127.0.0.1:{sasl},ASTRAY://127.0.0.1:{astray},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"BROKER://127.0.0.1:{port},SASL://127.0.0.1:{sasl},ASTRAY://127.0.0.1:{nobody}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,SASL:SASL_PLAINTEXT,ASTRAY:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": f'{plain} user_alice="correct horse";',
            "group.consumer.session.timeout.ms": "45000",
            "offsets.retention.minutes": "60",
            "offset.metadata.max.bytes": "50",
            "group.coordinator.rebalance.protocols": "classic",
            "auto.create.topics.enable": "true",
        },
    )
    broker.start()
    return broker, {"sasl": sasl, "astray": astray}


def test_a_broker_that_is_not_set_as_ours(hard_broker: tuple[LocalBroker, dict[str, int]]) -> None:
    broker, ports = hard_broker
    found = examined(place(broker.bootstrap_servers), "brokers")
    wrong, warned = lines(found, Status.FAIL), lines(found, Status.WARN)
    assert "offsets.retention.minutes is 60" in wrong
    assert "offset.metadata.max.bytes is 50: an image that ends its classifier is never found" in wrong
    assert "KAFKA_GROUP_PROTOCOL is consumer, and the brokers do not speak it" in wrong
    assert "group.consumer.session.timeout.ms=45000: the images of a killed classifier wait for that long" in warned
    assert "auto.create.topics.enable is true" in warned

    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "alice"}
    refused = failures(place(f"127.0.0.1:{ports['sasl']}", kafka=login | {"sasl_password": "wrong"}), "kafka")
    assert "Kafka does not let us in as alice (SASL_PLAINTEXT, PLAIN)" in refused
    assert "check KAFKA_SASL_USERNAME" in refused
    assert "wrong" not in refused.replace("was wrong", "")
    assert failures(place(f"127.0.0.1:{ports['sasl']}", kafka=login | {"sasl_password": "correct horse"}), "kafka") == ""
    unasked = failures(place(f"127.0.0.1:{ports['sasl']}", patience_s=1.0), "kafka")
    assert "a listener that wants a password or TLS says nothing to others" in unasked

    astray = failures(place(f"127.0.0.1:{ports['astray']}"), "kafka")
    assert "and that cannot be reached from here: Connection refused -> mend advertised.listeners" in astray
