"""Job ids: who has one gets in, nobody else does."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.messages import Lane, now_ms
from convnet_kafka.server.jobs import JobExpired, JobOfAnotherCluster, JobSigner, JobUnknown, random_part

KEY, OLD_KEY = b"k" * 32, b"o" * 32
TOPIC = bytes(range(16))
HOUR_MS = 3_600_000


def signer(*keys: bytes, topic: bytes = TOPIC, life_ms: int = HOUR_MS) -> JobSigner:
    return JobSigner(keys or (KEY,), lambda: topic, life_ms)


def test_a_token_gives_back_the_job() -> None:
    job = signer().open("tenant-ü", 5, 123456789012)
    assert signer().parse(signer().token(job), "tenant-ü") == job


def test_a_token_says_the_lane_and_a_bulk_one_is_as_it_always_was() -> None:
    fast = signer().open("default", 5, 7, Lane.FAST)
    assert signer().parse(signer().token(fast), "default").lane is Lane.FAST
    bulk = signer().open("default", 5, 7)
    assert signer().parse(signer().token(bulk), "default").lane is Lane.BULK
    assert base64.urlsafe_b64decode(signer().token(bulk) + "==")[0] == 1
    assert random_part(signer().token(fast)) == fast.id


def test_every_flipped_bit_is_unknown() -> None:
    token = signer().token(signer().open("default", 0, 0))
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for index in range(len(raw)):
        forged = bytearray(raw)
        forged[index] ^= 1
        with pytest.raises(JobUnknown):
            signer().parse(base64.urlsafe_b64encode(forged).rstrip(b"=").decode(), "default")


@pytest.mark.parametrize("token", ["", "x", "A" * 120, "ü", "a b", "%00", "=" * 8, "-" * 5000])
def test_rubbish_is_unknown(token: str) -> None:
    with pytest.raises(JobUnknown):
        signer().parse(token, "default")


def test_another_tenants_job_is_unknown() -> None:
    with pytest.raises(JobUnknown):
        signer().parse(signer().token(signer().open("a", 0, 0)), "b")


def test_keys_rotate_without_losing_jobs() -> None:
    token = signer(OLD_KEY).token(signer(OLD_KEY).open("default", 0, 0))
    assert signer(KEY, OLD_KEY).parse(token, "default").tenant == "default"
    with pytest.raises(JobUnknown):
        signer(KEY).parse(token, "default")


def test_an_old_job_has_expired() -> None:
    job = replace(signer().open("default", 0, 0), opened_at_ms=now_ms() - HOUR_MS - 1)
    with pytest.raises(JobExpired):
        signer().parse(signer().token(job), "default")


def test_a_job_from_the_future_is_unknown() -> None:
    job = replace(signer().open("default", 0, 0), opened_at_ms=now_ms() + HOUR_MS)
    with pytest.raises(JobUnknown):
        signer().parse(signer().token(job), "default")


def test_a_job_of_another_topic_is_told_so() -> None:
    token = signer().token(signer().open("default", 0, 0))
    with pytest.raises(JobOfAnotherCluster):
        signer(topic=b"x" * 16).parse(token, "default")


def test_without_kafka_no_job_is_opened_or_judged() -> None:
    token = signer().token(signer().open("default", 0, 0))
    with pytest.raises(KafkaUnavailable):
        signer(topic=b"").open("default", 0, 0)
    with pytest.raises(KafkaUnavailable):
        signer(topic=b"").parse(token, "default")


def test_short_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        JobSigner([b"short"], lambda: TOPIC, HOUR_MS)
