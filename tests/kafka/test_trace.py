"""`trace` on a real Kafka: one image's way, from accepted to answered, and a job's sums."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result

from convnet_kafka.cli.trace import command, job_place
from convnet_kafka.control import CancelledJob, ControlKind, control_headers
from convnet_kafka.diagnosis.trace.follow import follow_job
from convnet_kafka.diagnosis.trace.search import Search
from convnet_kafka.errors import SettingsError
from convnet_kafka.kafka.topics import topic_id
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import FailureCode, now_ms
from convnet_kafka.replies import close_headers, close_value, made_by
from convnet_kafka.server.jobs import Job, JobSigner
from support.kafka_release import KafkaRelease

BY = made_by("pod-7", 17, 32)


@pytest.fixture
def release(broker: LocalBroker) -> KafkaRelease:
    return KafkaRelease(broker).create()


def traced(release: KafkaRelease, *arguments: str, job: str | None = None) -> Result:
    where = ["--bootstrap-servers", release.servers, "--topic-prefix", release.settings.topic_prefix]
    return CliRunner().invoke(command, [job or release.job, *arguments, *where], catch_exceptions=False, env={"COLUMNS": "300"})


def described(release: KafkaRelease, *arguments: str, job: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(traced(release, *arguments, "--json", job=job).stdout)
    return found


def signed(release: KafkaRelease) -> str:
    """The job's id as a server gives it."""
    opened_at_ms = now_ms() - 1000
    job = Job(release.job, "default", opened_at_ms, 0, 0, topic_id(release.admin, release.name("labels")))
    return JobSigner([b"k" * 40], lambda: b"", 3_600_000).token(job)


def test_a_labelled_image_is_followed_by_its_name_its_id_and_the_begin_of_that(release: KafkaRelease) -> None:
    job = signed(release)
    release.send("a.png", partition=0)
    image = release.send("b.png", partition=1)
    release.answer("a.png", "b.png", by=BY)
    release.answer("b.png", by=made_by("pod-8", 3, 1))  # what a killed classifier's heir does
    for wanted in ("b.png", image, image[:8]):
        found = described(release, wanted, job=job)
        assert (found["state"], found["image"], found["name"]) == ("labelled", image, "b.png")
        assert [(each["topic"], each["partition"], each["offset"]) for each in found["records"]] == [(release.name("images"), 1, 0)]
        assert [(each["offset"], each["by"]["replica"], each["by"]["batch"]) for each in found["results"]] == [
            (0, "pod-7", 17),
            (1, "pod-8", 3),
        ]
    text = traced(release, "b.png", job=job).stdout
    assert "state labelled  cat, 98%" in text
    assert f"in {release.name('images')}[1] at 0  5 bytes, image/png" in text
    assert f"cat, 98%, model 7, batch 17 of 32 images in pod-7  in {release.name('labels')}[0] at 0, bulk lane" in text
    assert "again: cat, 98%; the first counts, model 7, batch 3 of 1 images in pod-8" in text


def test_an_image_that_waits_says_how_many_are_before_it(release: KafkaRelease) -> None:
    for name in ("a.png", "b.png", "c.png"):
        release.send(name)
    release.commit(1)
    found = described(release, "c.png")
    assert (found["state"], found["waiting"], found["results"]) == ("waiting", 1, [])
    assert "state waiting  1 images are before it; nobody holds its partition" in traced(release, "c.png").stdout
    assert described(release, "a.png")["state"] == "passed"


def test_an_image_that_failed_and_was_sent_again_shows_both(release: KafkaRelease) -> None:
    release.send("a.png")
    release.answer("a.png", error=FailureCode.MODEL_ERROR, by=BY)
    release.dead_letter("a.png", FailureCode.MODEL_ERROR)
    release.send("a.png", partition=1, revision=b"1")
    release.answer("a.png", revision=1, model=8)
    found = described(release, "a.png")
    assert found["state"] == "labelled"
    assert [(each["partition"], each["revision"]) for each in found["records"]] == [(0, 0), (1, 1)]
    assert [(each["result"]["revision"], each["result"]["error"], each["result"]["model"]) for each in found["results"]] == [
        (0, "model-error", 7),
        (1, None, 8),
    ]
    text = traced(release, "a.png").stdout
    assert "failed: model-error, model 7" in text
    assert f"dead letter 0/0  model-error, 2 tries: why  lay in {release.name('images')}[0] at 0" in text
    assert re.search(r"cat, 98%, model 8, revision 1", text)


def test_an_image_that_nobody_sent_is_unknown(release: KafkaRelease) -> None:
    release.send("a.png")
    ended = traced(release, "b.png")
    assert ended.exit_code == 1
    assert "state unknown  no such image was found" in ended.stdout
    with pytest.raises(SettingsError, match="is no job id"):
        traced(release, job="nonsense")


def test_a_job_is_summed_up(release: KafkaRelease) -> None:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        release.send(name)
    release.answer("a.png", "b.png", by=BY)
    release.answer("b.png", by=made_by("pod-8", 1, 1))
    release.answer("c.png", error=FailureCode.UNDECODABLE, by=BY)
    release.dead_letter("c.png", FailureCode.UNDECODABLE)
    for total in (3, 4):
        release.put("labels", close_value(total), close_headers(job=release.job, tenant="default"))
    cancelled = CancelledJob(release.job, now_ms() + 60_000)
    release.put("control", cancelled.to_json(), control_headers(ControlKind.CANCELLED), key=cancelled.key.encode())
    for job in (release.job, signed(release)):
        found = described(release, job=job)
        assert (found["results"], found["labelled"], found["failed"], found["repeated"]) == (3, 2, {"undecodable": 1}, 1)
        assert (found["total"], found["models"], found["replicas"]) == (4, {"7": 3}, {"pod-7": 3})
        assert (found["letters"], found["cancelled"], found["unread"]) == ({"undecodable": 1}, True, 0)
        assert found["wait_ms"] == {"p50": 20, "p95": 20, "max": 20}
    text = traced(release).stdout
    assert "3: 2 labelled, 1 undecodable" in text
    assert "1 have no result yet" in text
    assert "pod-7: 3" in text


def test_what_time_was_too_short_for_is_said(release: KafkaRelease) -> None:
    release.answer("a.png")
    found = follow_job(Search(release.settings, 0.0), job_place(release.job, 1.0))
    assert found.results == 0
    assert found.unread == 1
