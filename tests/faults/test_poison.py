"""Images that end or hang their process, with real processes and real deaths: set aside after two deaths alone, all others labelled."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.stack import Stack, StackOptions
from convnet_kafka.messages import FailureCode
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support import deadly_backend
from support.running_classifier import PlainClient, RunningClassifier
from support.topics import admin, kafka_settings
from support.waiting import until

BACKEND = {
    "CONVNET_CLASSIFIER_BACKEND": "support.deadly_backend:load",
    "PYTHONPATH": str(Path(deadly_backend.__file__).parents[1]),
}
# A static member of the classic protocol that comes back is given its partitions at once: waiting for the end of a dead one's session
# is no part of these tests. (KIP-848 refuses a static member while the one before has not left.)
STATIC = {"KAFKA_GROUP_PROTOCOL": "classic", "KAFKA_CLIENT_OPTIONS": '{"group.instance.id": "one"}'}
# Sessions of three seconds, for the same reason.
SHORT_SESSIONS = {
    "group.min.session.timeout.ms": "3000",
    "group.consumer.min.session.timeout.ms": "3000",
    "group.consumer.session.timeout.ms": "3000",
}


@pytest.fixture(scope="module")
def pictures(digits: DigitsFolders) -> list[bytes]:
    return [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]


def release(broker: LocalBroker, partitions: int) -> str:
    """A release whose topics are there."""
    settings = kafka_settings(broker.bootstrap_servers)
    specs = Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=partitions, labels_partitions=2))
    create_missing(admin(broker.bootstrap_servers), specs)
    return settings.topic_prefix


@pytest.fixture
def client(broker: LocalBroker) -> Iterator[Callable[[str], PlainClient]]:
    made: list[PlainClient] = []

    def make(prefix: str) -> PlainClient:
        made.append(PlainClient(broker.bootstrap_servers, prefix))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_crashing_image_is_set_aside_and_everything_else_is_labelled(
    broker: LocalBroker, client: Callable[[str], PlainClient], pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    prefix = release(broker, 1)
    sender = client(prefix)
    for number in range(60):
        sender.submit(f"{number}.png", pictures[number])
        if number == 30:
            crash = sender.submit("crash.png", deadly_backend.picture(deadly_backend.CRASH))
    sender.flush()
    deaths = 0
    while True:
        with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / f"log-{deaths}", **BACKEND, **STATIC) as running:

            def ended(running: RunningClassifier = running) -> bool:
                sender.read()
                return running.process.poll() is not None or len(sender.records) == 61

            until(ended, 60, "its death or the end of the work")
            if running.process.poll() is None:
                assert running.terminate() == 0
                break
            assert running.process.returncode == -signal.SIGSEGV
        deaths += 1
    assert deaths == 3  # once in a batch, twice alone
    errors = {name: label.error for name, label in sender.labels.items() if label.error is not None}
    assert errors == {"crash.png": FailureCode.QUARANTINED}
    (letter,) = sender.dead_letters(1)
    assert letter.key() == crash.encode()
    assert letter.value() == deadly_backend.picture(deadly_backend.CRASH)


def test_a_hanging_native_call_is_noticed_from_outside(
    broker: LocalBroker, client: Callable[[str], PlainClient], digits_models: Path, tmp_path: Path
) -> None:
    prefix = release(broker, 1)
    sender = client(prefix)
    sender.submit("hang.png", deadly_backend.picture(deadly_backend.HANG))
    sender.flush()
    stuck = {"CONVNET_CLASSIFIER_STUCK_AFTER_S": "1"}
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "log", **BACKEND, **stuck) as running:
        until(lambda: running.get("/healthz")[0] == 503, 60, "a 503")
        assert "has not gone round" in running.get("/healthz")[1]["reasons"][0]


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_two_replicas_survive_images_that_crash_exit_and_hang(
    make_broker: Callable[..., LocalBroker], pictures: list[bytes], digits_models: Path, tmp_path: Path, protocol: str
) -> None:
    broker = make_broker(overrides=SHORT_SESSIONS)
    broker.start()
    prefix = release(broker, 4)
    options = StackOptions(
        models=digits_models,
        data=tmp_path / "data",
        classifiers=2,
        bootstrap_servers=broker.bootstrap_servers,
        environment={
            **BACKEND,
            "KAFKA_TOPIC_PREFIX": prefix,
            "KAFKA_GROUP_PROTOCOL": protocol,
            "KAFKA_CLIENT_OPTIONS": '{"session.timeout.ms": 3000}' if protocol == "classic" else "{}",
            "CONVNET_CLASSIFIER_STUCK_AFTER_S": "3",
        },
    )
    sender = PlainClient(broker.bootstrap_servers, prefix)
    poison = {"crash.png": deadly_backend.CRASH, "exit.png": deadly_backend.EXIT, "hang.png": deadly_backend.HANG}
    count = 6000
    with Stack(options):
        for number in range(count):
            sender.submit(f"{number}.png", pictures[number % len(pictures)], "images.fast" if number % 50 == 0 else "images")
            if number in {1000, 3000, 5000}:
                name = list(poison)[number // 2000]
                sender.submit(name, deadly_backend.picture(poison[name]))
        sender.flush()
        sender.wait_for(count + len(poison), 600)
    errors = {name: label.error for name, label in sender.labels.items() if label.error is not None}
    print(f"{protocol}: {count} innocents, set aside: {sorted(errors)}")
    assert errors == dict.fromkeys(poison, FailureCode.QUARANTINED)
    assert set(sender.records) == set(sender.names)
    assert {(dict(letter.headers() or [])["name"] or b"").decode() for letter in sender.dead_letters(len(poison))} == set(poison)
    sender.close()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_of_healthy_classifiers_at_random_moments_set_no_innocent_aside(
    broker: LocalBroker,
    client: Callable[[str], PlainClient],
    pictures: list[bytes],
    digits_models: Path,
    tmp_path: Path,
    seed: int,
) -> None:
    """Lives of slow classifiers, with an image in hand at all times: most end within what is noted, many while an image is alone."""
    prefix = release(broker, 1)
    sender = client(prefix)
    count = 1500
    for number in range(count):
        sender.submit(f"{number}.png", pictures[number % len(pictures)])
    sender.flush()
    moments = random.Random(seed)
    slow = {**STATIC, **BACKEND, "SLOW_BATCH_S": "0.05"}
    pause = threading.Event()
    kills = 0
    while kills < 25:
        with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / f"log-{kills}", **slow) as running:
            until(lambda running=running: "partitions assigned" in running.log.read_text(), 60, "its partitions")
            pause.wait(moments.choice([moments.uniform(0.0, 0.1), moments.uniform(0.0, 1.0), moments.uniform(4.5, 5.5)]))
            os.kill(running.process.pid, signal.SIGKILL)
        kills += 1
    with ExitStack() as last:
        last.enter_context(RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "last", **STATIC))
        sender.wait_for(count, 200)
    alone = sum("handled one by one" in (tmp_path / f"log-{number}").read_text() for number in range(kills))
    errors = {name: label.error for name, label in sender.labels.items() if label.error is not None}
    print(f"seed {seed}: {kills} kills, {alone} lives began with images to handle alone, set aside: {sorted(errors)}")
    assert errors == {}
    assert set(sender.records) == set(sender.names)
