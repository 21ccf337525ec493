"""The rights that helm/convnet-kafka gives its Kafka users: the whole path needs them, every one, and nothing else."""

from __future__ import annotations

import re
import subprocess
import uuid

import pytest
import requests
from confluent_kafka import KafkaException

from support.acl_parts import (
    BAD,
    WORKS,
    Scene,
    classifier,
    classifier_works,
    keda_works,
    make_topics,
    server_works,
    submit_bad_pictures,
    tools_work,
)
from support.charts import ROOT, Chart
from support.guarded_broker import Right, rights_of
from support.running_classifier import PlainClient

# What stands for the release's prefix until a test takes one of its own.
RENDERED_PREFIX = "prefix-of-a-test"
VALUES = {
    "kafka": {"strimzi": {"cluster": "kafka"}},
    "topics": {"prefix": RENDERED_PREFIX},
    "classifier": {"autoscaling": {"mode": "keda", "minReplicas": 0}},
}


def chart_rights(part: str, prefix: str = RENDERED_PREFIX) -> list[Right]:
    """What the chart allows a part, on topics and groups of another prefix."""
    user = Chart("convnet-kafka").render(VALUES).one("KafkaUser", f"convnet-{part}")
    return [Right(right.resource, right.name.replace(RENDERED_PREFIX, prefix), right.prefix, right.operation) for right in rights_of(user)]


def a_prefix() -> str:
    return f"acl-{uuid.uuid4().hex[:6]}"


@pytest.mark.timeout(300)
def test_the_charts_rights_are_enough_for_the_whole_path(scene: Scene) -> None:
    """Server, classifier, an operator's commands and KEDA, each as its own user over TLS: the broker refuses nobody anything."""
    prefix = a_prefix()
    users = {part: f"{prefix}-{part}" for part in WORKS}
    for part, user in users.items():
        scene.kafka.add_user(user, chart_rights(part, prefix))
    classifier_works(scene, users["classifier"], prefix)
    with classifier(scene, prefix, scene.kafka.environment(users["classifier"])):
        server_works(scene, users["server"], prefix)
    keda_works(scene, users["keda"], prefix)
    tools_work(scene, users["tools"], prefix)
    assert {user: scene.kafka.denied(user) for user in users.values()} == {user: set() for user in users.values()}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", WORKS)
def test_each_right_is_needed(scene: Scene, part: str) -> None:
    """Without one of them something fails, because the broker refuses what it was for."""
    rights = chart_rights(part)
    assert len(rights) == len(set(rights)) > 2
    failed = {str(right): what_fails_without(scene, part, number) for number, right in enumerate(rights)}
    print(*(f"{part} without {right}: {why}" for right, why in failed.items()), sep="\n")
    assert [right for right, why in failed.items() if not why] == [], "not needed"


def what_fails_without(scene: Scene, part: str, number: int) -> str:
    """What does not work without one right, or nothing."""
    prefix = a_prefix()
    user = f"{prefix}-{part}"
    rights = chart_rights(part, prefix)
    scene.kafka.add_user(user, [right for other, right in enumerate(rights) if other != number])
    make_topics(scene.kafka, prefix)
    if part == "tools":
        _set_bad_pictures_aside(scene, prefix)
    failure = ""
    try:
        if part == "server":
            with classifier(scene, prefix, {}):
                server_works(scene, user, prefix)
        else:
            WORKS[part](scene, user, prefix)
    except (AssertionError, KafkaException, requests.RequestException, subprocess.SubprocessError) as error:
        failure = " ".join(repr(error).split())
    refused = scene.kafka.denied(user)
    # A topic that may not be seen is not refused: it is left out of what there is.
    assert bool(failure) == bool(refused or rights[number].name in failure), f"{part} without {rights[number]}: {failure!r}, {refused}"
    return f"{failure[:150]} [{', '.join(sorted(refused))}]" if failure else ""


def _set_bad_pictures_aside(scene: Scene, prefix: str) -> None:
    plain = PlainClient(scene.kafka.inner, prefix)
    with classifier(scene, prefix, {}) as running:
        running.wait_ready()
        submit_bad_pictures(plain)
        plain.wait_for(len(BAD))
    plain.close()


def test_the_documents_table_is_what_the_chart_gives() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    said: dict[str, set[str]] = {}
    for part, topics, groups, cluster in re.findall(r"^\| (\w+) \| (`.*?) \| (`.*?) \| (\w*) ?\|$", text, re.MULTILINE):
        said[part] = {f"{operation} cluster kafka-cluster" for operation in cluster.split()}
        for resource, cell in (("topic", topics), ("group", groups)):
            for names, operations in re.findall(r"((?:`[^`]+`(?:, )?)+): ([\w, ]+)", cell):
                said[part] |= {
                    f"{each} {resource} {RENDERED_PREFIX}.{name}"
                    for name in re.findall("`([^`]+)`", names)
                    for each in operations.split(", ")
                }
    assert said == {part: {str(right) for right in chart_rights(part)} for part in WORKS}
