"""Every alert is made to fire by doing the thing, is seen in Prometheus, and is over after it was mended. Hours are minutes here.

What only a cluster's exporters know is measured here in their place: the disk by the broker's own data, replicas and restarts by the
processes that really run.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, ResourceType

from convnet.digits import DigitsFolders
from convnet.registry import Registry
from convnet_charts.rules.tuning import Tuning
from monitoring.rule_cases import CASES
from support.certificates import Authority
from support.deadly_backend import EXIT, picture
from support.exposition import Exposition
from support.http import tar
from support.second_broker import SecondBroker
from support.topics import admin
from support.waiting import until
from support.watched_stack import Pod, WatchedStack, same_versions

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

# What is broken keeps the machine busy: a second for an answer would be too short.
ALERTS_SCRAPE_S = 2.0
# An hour is a minute; and thresholds that a laptop reaches in seconds.
MINUTES = Tuning(
    scale=60,
    shortest_window_s=5 * ALERTS_SCRAPE_S,
    fast_still_s=4,
    bulk_still_s=4,
    bulk_drain_s=3,
    oldest_s=8,
    silent_s=5,
    unseen_s=5,
    key_expiry_s=40,
    certificate_expiry_s=200 * 86_400,
    disk_full_s=60,
    compared_images=5,
    drift_images=50,
)
# A week is a minute, for what compares with the week before.
WEEKS = Tuning(scale=10_080, shortest_window_s=5 * ALERTS_SCRAPE_S)
OTHER_SCALE = {"ConvnetNoTraffic"}
QUOTA = 64 * 1024 * 1024
BULK, FAST = "convnet.images", "convnet.images.fast"


class Watcher:
    """Looks every half second at what fires, and remembers all that ever did."""

    def __init__(self, stack: WatchedStack) -> None:
        self._stack = stack
        self.now: set[str] = set()
        self.ever: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.5):
            minutes, weeks = (each.firing() for each in self._stack.prometheuses)
            self.now = (minutes - OTHER_SCALE) | (weeks & OTHER_SCALE)
            self.ever |= self.now

    def fires(self, *names: str, timeout_s: float = 120) -> None:
        """Wait until all of these fire, or have fired."""
        until(lambda: set(names) <= self.ever, timeout_s, f"{', '.join(names)} firing (so far: {sorted(self.ever)})")

    def clear(self, *names: str, timeout_s: float = 180) -> None:
        """Wait until none of these fires."""
        until(lambda: not set(names) & self.now, timeout_s, f"the end of {', '.join(names)}")


class Arena:
    """What the test does things with."""

    def __init__(self, stack: WatchedStack, registry: Registry, breakable: Path, digits: DigitsFolders) -> None:
        self.stack, self.registry, self.breakable = stack, registry, breakable
        self.files = sorted(digits.test.rglob("*.png"))
        self._numbers = itertools.count()

    def pictures(self, count: int, only: str | None = None) -> dict[str, bytes]:
        """Pictures under names of their own, of one class or all."""
        files = [path for path in self.files if only is None or path.parent.name == only]
        return {f"{next(self._numbers)}.png": files[index % len(files)].read_bytes() for index in range(count)}

    def upload(self, pictures: dict[str, bytes]) -> int:
        """Send them in a job of their own; the answer's status."""
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.stack.servers[0]}/v1/jobs", method="POST"), timeout=20) as answer:
                job = json.load(answer)["job"]
            call = urllib.request.Request(
                f"{self.stack.servers[0]}/v1/jobs/{job}/images", tar(pictures), {"Content-Type": "application/x-tar"}
            )
            with urllib.request.urlopen(call, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def classify(self, timeout: str = "0") -> int:
        """One picture on the fast lane."""
        (content,) = self.pictures(1).values()
        call = urllib.request.Request(f"{self.stack.servers[0]}/v1/classify?timeout={timeout}", content, {"Content-Type": "image/png"})
        try:
            with urllib.request.urlopen(call, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def drained(self) -> None:
        """Wait until nothing waits."""
        until(lambda: self.stack.prometheus.value("sum(convnet:backlog_images:max)") == 0, 120, "an empty backlog")

    def mark(self, name: str, content: str = "") -> Path:
        """A file that breaks or slows the model."""
        path = self.breakable / name
        path.write_text(content)
        return path

    def topic_setting(self, topic: str, name: str, value: str | None) -> None:
        """Change a topic's setting; None takes it back."""
        kind = AlterConfigOpType.SET if value is not None else AlterConfigOpType.DELETE
        entry = ConfigEntry(name, value or "", source=ConfigSource.DYNAMIC_TOPIC_CONFIG, incremental_operation=kind)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        client = admin(self.stack.stack.bootstrap_servers)
        client.incremental_alter_configs([resource])[resource].result(20)


@contextmanager
def going_on(do: Callable[[], object], pause_s: float) -> Iterator[None]:
    """Does something again and again meanwhile."""
    end = threading.Event()

    def repeat() -> None:
        while not end.wait(pause_s):
            do()

    thread = threading.Thread(target=repeat, name="going-on", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(90)


@contextmanager
def kept_up(pods: Sequence[Pod]) -> Iterator[None]:
    """Starts pods again that die, as a cluster does."""
    with going_on(lambda: [pod.start() for pod in pods if not pod.lives], 0.2):
        yield


def as_a_cluster(stack: Callable[[], WatchedStack | None], data: Path, quota: list[int]) -> Callable[[], str]:
    """What kube-state-metrics and the kubelet would say of the processes and of the broker's disk, whose size is `quota`."""

    def text() -> str:
        used = sum(file.stat().st_size for file in data.rglob("*.log") if file.exists())
        volume = '{namespace="local",persistentvolumeclaim="data-0-convnet-broker-0"}'
        running = stack()
        pods = running.classifiers if running is not None else []
        deployment = '{namespace="local",deployment="convnet-classifier"}'
        restarts = "".join(
            f'kube_pod_container_status_restarts_total{{namespace="local",pod="convnet-{pod.name}-0",container="classifier"}} '
            f"{max(pod.starts - 1, 0)}\n"
            for pod in pods
        )
        return (
            f"kubelet_volume_stats_capacity_bytes{volume} {quota[0]}\n"
            f"kubelet_volume_stats_available_bytes{volume} {quota[0] - used}\n"
            f"kube_deployment_spec_replicas{deployment} 2\n"
            f"kube_deployment_status_replicas_available{deployment} {sum(pod.lives for pod in pods)}\n"
            f"{restarts}"
        )

    return text


def test_every_alert_fires_when_the_thing_is_done_and_is_over_when_it_is_mended(
    digits: DigitsFolders, digits_models: Path, tmp_path: Path
) -> None:
    registry = same_versions(digits_models, tmp_path / "models", 2)
    breakable = tmp_path / "breakable"
    breakable.mkdir()
    quota = [100 * QUOTA]
    found: list[WatchedStack] = []
    environment = {
        "CONVNET_CLASSIFIER_BACKEND": "support.breakable_backend:load",
        "BREAKABLE": str(breakable),
        "CONVNET_SERVER_DELIVERY_TIMEOUT_S": "4",
        "CONVNET_SERVER_BACKLOG_LOOK_S": "0.5",
        "CONVNET_SERVER_BULK_DRAIN_LIMIT_S": "0",
        "CONVNET_CLASSIFIER_DEAD_LETTERS_SHARE": "0",
    }
    cluster = as_a_cluster(lambda: found[0] if found else None, tmp_path / "data" / "broker", quota)
    with (
        Exposition(cluster) as exporters,
        WatchedStack(tmp_path, registry.folder, [MINUTES, WEEKS], environment, [exporters.address], scrape_s=ALERTS_SCRAPE_S) as stack,
        Watcher(stack) as watcher,
    ):
        found.append(stack)
        arena = Arena(stack, registry, breakable, digits)
        with going_on(lambda: (arena.upload(arena.pictures(20)), arena.classify("5")), 1.0):
            traffic_since = time.monotonic()
            expiring(arena, watcher, tmp_path)
            records(arena, watcher)
            model(arena, watcher)
            trial(arena, watcher, digits_models)
            drift(arena, watcher)
            disk(arena, watcher, quota)
            until(lambda: time.monotonic() - traffic_since > 80, 90, "a week of traffic")
        silence(arena, watcher)
        waiting(arena, watcher)
        slow(arena, watcher)
        dying(arena, watcher)
        brokers(arena, watcher, tmp_path)
        kafka_away(arena, watcher)
        assert watcher.ever == set(CASES), f"never fired: {set(CASES) - watcher.ever}"
        # The longest windows that look back at what was bad are six minutes of this test.
        with going_on(lambda: (arena.upload(arena.pictures(20)), arena.classify("5")), 1.0):
            until(lambda: not watcher.now - OTHER_SCALE, 700, "the end of every alert")


def expiring(arena: Arena, watcher: Watcher, folder: Path) -> None:
    """A key and a certificate that end soon, known to one server."""
    keys = folder / "keys.json"
    ends = datetime.now(UTC) + timedelta(seconds=45)
    keys.write_text(json.dumps({"version": 1, "keys": [{"name": "soon", "secrets": [{"sha256": "0" * 64, "expires": ends.isoformat()}]}]}))
    server = arena.stack.pods["server-2"]
    server.end(signal.SIGKILL)
    watcher.fires("ConvnetTargetDown")
    authority = Authority(folder / "authority")
    soon, late = (authority.sign(name, "127.0.0.1", days)[0] for name, days in (("soon", 100), ("late", 1000)))
    server.environment |= {"CONVNET_SERVER_KEYS_FILE": str(keys), "KAFKA_SSL_CA_LOCATION": str(soon)}
    server.start()
    watcher.fires("ConvnetKeyExpires", "ConvnetCertificateExpires")
    watcher.clear("ConvnetTargetDown", "ConvnetKeyExpires")
    server.end()
    server.environment["KAFKA_SSL_CA_LOCATION"] = str(late)
    server.start()
    watcher.clear("ConvnetCertificateExpires")


def records(arena: Arena, watcher: Watcher) -> None:
    """Pictures that are none, more of them than may be kept, records of somebody else's, and results that Kafka does not take."""
    broken = {f"broken-{number}.png": os.urandom(2000) for number in range(300)}
    arena.upload(broken)
    # More than the 64 MiB that are kept whatever the share.
    large = b"\x89PNG\r\n\x1a\n" + os.urandom(9_000_000)
    for number in range(9):
        arena.upload({f"large-{number}.png": large + bytes([number])})
    producer = Producer({"bootstrap.servers": arena.stack.stack.bootstrap_servers})
    producer.produce(BULK, b"not ours")
    assert producer.flush(20) == 0
    watcher.fires("ConvnetDeadLettersRise", "ConvnetDeadLettersFull", "ConvnetForeignRecords")
    arena.topic_setting("convnet.labels", "max.message.bytes", "100")
    try:
        watcher.fires("ConvnetResultsRefused")
    finally:
        arena.topic_setting("convnet.labels", "max.message.bytes", None)
    watcher.clear("ConvnetDeadLettersRise", "ConvnetDeadLettersFull", "ConvnetForeignRecords", "ConvnetResultsRefused")


def model(arena: Arena, watcher: Watcher) -> None:
    """A version whose file is damaged, and a model that fails on its own images."""
    file = arena.registry.folder / "2" / arena.registry.card(2).served
    sound = file.read_bytes()
    file.write_bytes(b"damaged")
    arena.registry.set_alias("stable", 2)
    watcher.fires("ConvnetModelNotLoaded")
    file.write_bytes(sound)
    arena.registry.set_alias("stable", 1)
    watcher.clear("ConvnetModelNotLoaded")
    flag = arena.mark("broken-1")
    watcher.fires("ConvnetModelBroken")
    flag.unlink()
    watcher.clear("ConvnetModelBroken", "ConvnetModelNotLoaded")


def trial(arena: Arena, watcher: Watcher, source: Path) -> None:
    """A canary that says something else, and one that fails."""
    original = Registry(source)
    card = original.card(original.resolve("stable") or 0)
    classes = (*card.classes[1:], card.classes[0])
    version = arena.registry.add(
        lambda number, checksums: card.model_copy(update={"version": number, "checksums": dict(checksums), "classes": classes}),
        {card.served: original.artefact(card.version, card.served)},
    )
    number = getattr(version, "version", version)
    arena.registry.set_alias("canary", number, canary_percent=100)
    with going_on(lambda: arena.upload(arena.pictures(100)), 0.5):
        watcher.fires("ConvnetCanaryDisagrees")
        flag = arena.mark(f"failing-{number}")
        watcher.fires("ConvnetCanaryFails")
    arena.registry.set_alias("canary", None)
    flag.unlink()
    watcher.clear("ConvnetCanaryDisagrees", "ConvnetCanaryFails")


def drift(arena: Arena, watcher: Watcher) -> None:
    """Pictures of one class alone."""
    with going_on(lambda: arena.upload(arena.pictures(200, only=arena.files[0].parent.name)), 0.5):
        watcher.fires("ConvnetClassMixDrifts", timeout_s=200)
    with going_on(lambda: arena.upload(arena.pictures(300)), 0.5):
        watcher.clear("ConvnetClassMixDrifts", timeout_s=200)


def disk(arena: Arena, watcher: Watcher, quota: list[int]) -> None:
    """Kafka's data outgrows its disk; then the disk is enlarged."""
    quota[0] = QUOTA
    large = b"\x89PNG\r\n\x1a\n" + os.urandom(4_000_000)
    numbers = itertools.count()
    with going_on(lambda: arena.upload({f"{time.time()}.png": large + str(next(numbers)).encode()}), 0.5):
        watcher.fires("ConvnetKafkaDiskFills")
    quota[0] = 1000 * QUOTA
    # What is foretold looks back six minutes here, and sees the disk become larger.
    watcher.clear("ConvnetKafkaDiskFills", timeout_s=60)


def silence(arena: Arena, watcher: Watcher) -> None:
    """Nobody sends any more."""
    watcher.fires("ConvnetNoTraffic", timeout_s=30)


def waiting(arena: Arena, watcher: Watcher) -> None:
    """No classifier, until images wait for long; some expire; then classifiers come back, late for the others."""
    for pod in arena.stack.classifiers:
        pod.end()
    assert arena.upload(arena.pictures(500)) == 202
    for _ in range(20):
        arena.classify()
    watcher.fires("ConvnetNoConsumer", "ConvnetBacklogOld", "ConvnetReplicasMissing")
    # As retention does it: images are gone before anybody read them. -1 is a partition's end.
    client = admin(arena.stack.stack.bootstrap_servers)
    partitions = client.list_topics(BULK, timeout=20).topics[BULK].partitions
    for future in client.delete_records([TopicPartition(BULK, partition, -1) for partition in partitions]).values():
        future.result(20)
    watcher.fires("ConvnetImagesExpired")
    with going_on(lambda: [arena.classify() for _ in range(3)], 0.3):
        for pod in arena.stack.classifiers:
            pod.start()
        watcher.fires("ConvnetLatencyBudgetBurns")
    arena.drained()
    watcher.clear("ConvnetNoConsumer", "ConvnetBacklogOld", "ConvnetReplicasMissing", "ConvnetImagesExpired")


def slow(arena: Arena, watcher: Watcher) -> None:
    """Predictions take long, and more images come than are done."""
    flag = arena.mark("slow", "0.5")
    try:
        with going_on(lambda: arena.upload(arena.pictures(400)), 0.5):
            watcher.fires("ConvnetBacklogWontDrain", timeout_s=200)
    finally:
        flag.unlink()
    arena.drained()
    watcher.clear("ConvnetBacklogWontDrain")


def dying(arena: Arena, watcher: Watcher) -> None:
    """A picture ends every classifier that looks at it, until it is set aside; and another, until four restarts are seen."""
    with kept_up(arena.stack.classifiers):
        for number in range(2):
            arena.upload({f"{number}-{time.time()}.png": picture(EXIT), **arena.pictures(50)})
        watcher.fires("ConvnetClassifiersDie", "ConvnetImagesQuarantined", timeout_s=200)
        for _ in range(5):
            arena.stack.classifiers[0].end(signal.SIGKILL)
            until(lambda: arena.stack.classifiers[0].lives, 20, "its next life")
        watcher.fires("ConvnetPodRestarts")
        arena.drained()
    watcher.clear("ConvnetClassifiersDie", "ConvnetImagesQuarantined", "ConvnetPodRestarts")


def brokers(arena: Arena, watcher: Watcher, folder: Path) -> None:
    """A second broker holds copies, one of them the only one, and is killed."""
    with SecondBroker(arena.stack.stack.broker, folder / "second") as second:
        second.create_topics()
        second.kill()
        watcher.fires("ConvnetKafkaUnderReplicated", "ConvnetKafkaOfflinePartitions")
        second.start()
        watcher.clear("ConvnetKafkaUnderReplicated", "ConvnetKafkaOfflinePartitions")
        second.delete_topics()


def kafka_away(arena: Arena, watcher: Watcher) -> None:
    """The broker is held still while uploads go on."""
    pid = arena.stack.stack.broker.pid
    assert pid is not None
    with going_on(lambda: arena.upload(arena.pictures(20)), 0.2):
        until(lambda: arena.upload(arena.pictures(20)) == 202, 60, "an upload that is taken")
        os.kill(pid, signal.SIGSTOP)
        try:
            watcher.fires(
                "ConvnetKafkaBrokerDown",
                "ConvnetKafkaSilent",
                "ConvnetBacklogUnseen",
                "ConvnetUploadsUnknown",
                "ConvnetAvailabilityBudgetBurns",
            )
        finally:
            os.kill(pid, signal.SIGCONT)
    watcher.clear("ConvnetKafkaBrokerDown", "ConvnetKafkaSilent", "ConvnetBacklogUnseen")
