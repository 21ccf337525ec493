"""What must go wrong for each alert: each trouble does the thing when it is entered, and mends it when it is left.

In `MINUTES` an hour is a minute, and a laptop reaches the thresholds in seconds; in `WEEKS` a week is one, for what is compared with the
week before.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from confluent_kafka import Producer, TopicPartition

from convnet_charts.rules.tuning import Tuning
from convnet_kafka import apikeys
from convnet_kafka.apikeys import Key, KeyFile, Secret
from support.arena import LOOK_S, Arena, going_on, kept_up
from support.certificates import Authority
from support.deadly_backend import EXIT, picture
from support.second_broker import SecondBroker
from support.topics import admin
from support.waiting import until
from support.watched_stack import Pod

# What is broken keeps the machine busy: a second for an answer would be too short.
SCRAPE_S = 2.0
MIB = 1024 * 1024
BULK, LABELS = "convnet.images", "convnet.labels"

MINUTES = Tuning(
    scale=60,
    shortest_window_s=5 * SCRAPE_S,
    fast_still_s=4,
    bulk_still_s=4,
    bulk_drain_s=3,
    oldest_s=8,
    silent_s=5,
    unseen_s=5,
    key_expiry_s=30,
    disk_full_s=60,
    compared_images=5,
    drift_images=50,
)
WEEKS = Tuning(scale=10_080, shortest_window_s=5 * SCRAPE_S)
# Looked at in weeks; all others in minutes.
BY_WEEKS = frozenset({"ConvnetNoTraffic"})

Happening = Callable[[Arena], AbstractContextManager[None]]


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong.

    Attributes:
        alerts: that it makes fire; those on an error budget with the window of the fastest burn.
        happens: it is there while entered.
        traffic: a little comes in meanwhile, and until the alerts are over.
        within_s: how long until all fire.
    """

    alerts: tuple[str, ...]
    happens: Happening
    traffic: bool
    within_s: float


TROUBLES: dict[str, Trouble] = {}


def makes_fire(*alerts: str, traffic: bool = False, within_s: float = 120) -> Callable[[Callable[[Arena], Iterator[None]]], Happening]:
    """Notes a trouble under its function's name."""

    def noted(do: Callable[[Arena], Iterator[None]]) -> Happening:
        happens = contextmanager(do)
        TROUBLES[do.__name__] = Trouble(alerts, happens, traffic, within_s)
        return happens

    return noted


@makes_fire("ConvnetTargetDown")
def a_server_is_killed(arena: Arena) -> Iterator[None]:
    arena.other_server.end(signal.SIGKILL)
    yield
    arena.other_server.start()


@makes_fire("ConvnetKeyExpires")
def a_key_ends(arena: Arena) -> Iterator[None]:
    """In a minute, of whose last half somebody is told; it ends by itself."""
    file, server = arena.folder / "keys.json", arena.other_server
    server.end()
    now = apikeys.now()
    key = Key(secrets=(Secret(sha256=apikeys.digest("soon")),), created=now, expires=now + timedelta(minutes=1))
    apikeys.write(file, KeyFile(keys={"soon": key}))
    server.environment["CONVNET_SERVER_KEYS_FILE"] = str(file)
    server.start()
    yield


@makes_fire("ConvnetCertificateExpires")
def a_certificate_ends(arena: Arena) -> Iterator[None]:
    """The authority's, in ten days; then it is replaced."""
    old, new = Authority(arena.folder / "old", days=10), Authority(arena.folder / "new", days=1000)
    trusting(arena.other_server, old)
    yield
    trusting(arena.other_server, new)


def trusting(server: Pod, authority: Authority) -> None:
    """Start a server anew with this authority for the brokers."""
    server.end()
    server.environment["KAFKA_SSL_CA_LOCATION"] = str(authority.certificate)
    server.start()


@makes_fire("ConvnetDeadLettersRise", "ConvnetDeadLettersFull", traffic=True)
def pictures_are_none(arena: Arena) -> Iterator[None]:
    # More than the 64 MiB that each of the two classifiers keeps whatever its share.
    for _ in range(16):
        assert arena.upload(arena.broken(1, 9_000_000)) == 202
    with going_on(lambda: arena.upload(arena.broken(50)), 0.5):
        yield


@makes_fire("ConvnetForeignRecords")
def somebody_else_writes_to_our_topic(arena: Arena) -> Iterator[None]:
    producer = Producer({"bootstrap.servers": arena.bootstrap_servers})
    producer.produce(BULK, b"not ours")
    assert producer.flush(20) == 0
    yield


@makes_fire("ConvnetResultsRefused", traffic=True)
def the_labels_topic_takes_no_results(arena: Arena) -> Iterator[None]:
    before = arena.set_topic(LABELS, "max.message.bytes", "100")
    try:
        yield
    finally:
        arena.set_topic(LABELS, "max.message.bytes", before)


@makes_fire("ConvnetModelNotLoaded")
def a_version_is_damaged(arena: Arena) -> Iterator[None]:
    file = arena.registry.folder / "2" / arena.registry.card(2).served
    sound = file.read_bytes()
    file.write_bytes(b"damaged")
    arena.registry.set_alias("stable", 2)
    yield
    arena.registry.set_alias("stable", 1)
    file.write_bytes(sound)


@makes_fire("ConvnetModelBroken", traffic=True)
def the_model_fails_on_its_own_images(arena: Arena) -> Iterator[None]:
    with arena.marked("broken-1"):
        yield


@makes_fire("ConvnetCanaryDisagrees")
def a_canary_says_something_else(arena: Arena) -> Iterator[None]:
    """The same network, whose classes have other names."""
    card = arena.source.card(arena.source.resolve("stable") or 0)
    classes = (*card.classes[1:], card.classes[0])
    canary = arena.registry.add(
        lambda version, checksums: card.model_copy(update={"version": version, "checksums": dict(checksums), "classes": classes}),
        {card.served: arena.source.artefact(card.version, card.served)},
    )
    arena.registry.set_alias("canary", canary.version, canary_percent=100)
    with going_on(lambda: arena.upload(arena.pictures(100)), 0.5):
        yield
    arena.registry.set_alias("canary", None)


@makes_fire("ConvnetCanaryFails")
def a_canary_fails(arena: Arena) -> Iterator[None]:
    arena.registry.set_alias("canary", 2, canary_percent=100)
    with arena.marked("failing-2"), going_on(lambda: arena.upload(arena.pictures(100)), 0.5):
        yield
        arena.registry.set_alias("canary", None)


@makes_fire("ConvnetClassMixDrifts", traffic=True, within_s=200)
def pictures_of_one_class_come(arena: Arena) -> Iterator[None]:
    only = arena.files[0].parent.name
    with going_on(lambda: arena.upload(arena.pictures(200, only)), 0.5):
        yield


@makes_fire("ConvnetKafkaDiskFills")
def kafkas_disk_fills(arena: Arena) -> Iterator[None]:
    """It has 256 MiB left, and what comes is as large; then it is enlarged."""
    arena.cluster.capacity = arena.cluster.used() + 256 * MIB
    with going_on(lambda: arena.upload(arena.broken(1, 4_000_000)), 0.5):
        yield
    arena.cluster.capacity = 100 * 1024 * MIB


@makes_fire("ConvnetNoTraffic", within_s=30)
def nobody_sends_any_more(arena: Arena) -> Iterator[None]:
    """After a week that had traffic."""
    with arena.traffic():
        a_week_ago = 'sum(rate(convnet_server_images_total{outcome="accepted"}[10s] offset 60s))'
        until(lambda: arena.weeks.value(a_week_ago) > 0, 100, "a week of traffic", LOOK_S)
    yield
    arena.upload(arena.pictures(20))


@makes_fire("ConvnetNoConsumer", "ConvnetBacklogOld", "ConvnetReplicasMissing")
def no_classifier_is_there(arena: Arena) -> Iterator[None]:
    arena.end_classifiers()
    assert arena.upload(arena.pictures(500)) == 202
    for _ in range(20):
        assert arena.classify("0") == 202
    yield
    arena.start_classifiers()
    arena.drained()


@makes_fire("ConvnetImagesExpired")
def images_expire(arena: Arena) -> Iterator[None]:
    """As retention does it: they are gone before anybody has read them."""
    arena.end_classifiers()
    assert arena.upload(arena.pictures(500)) == 202
    client = admin(arena.bootstrap_servers)
    partitions = client.list_topics(BULK, timeout=20).topics[BULK].partitions
    # -1 is a partition's end.
    for future in client.delete_records([TopicPartition(BULK, partition, -1) for partition in partitions]).values():
        future.result(20)
    yield
    arena.start_classifiers()
    arena.drained()


@makes_fire("ConvnetLatencyBudgetBurns 1h", traffic=True)
def answers_take_long(arena: Arena) -> Iterator[None]:
    """Longer than the second that the fast lane promises."""
    with arena.marked("slow", "1.5"), going_on(lambda: arena.classify("0"), 0.3):
        yield
    arena.drained()


@makes_fire("ConvnetBacklogWontDrain", within_s=200)
def predictions_are_slow(arena: Arena) -> Iterator[None]:
    with arena.marked("slow", "0.5"), going_on(lambda: arena.upload(arena.pictures(300)), 0.5):
        yield
    arena.drained()


@makes_fire("ConvnetClassifiersDie", "ConvnetImagesQuarantined", within_s=200)
def a_picture_ends_classifiers(arena: Arena) -> Iterator[None]:
    """Whoever looks at it, until it is set aside."""
    with kept_up(arena.stack.classifiers):
        assert arena.upload({"deadly.png": picture(EXIT), **arena.pictures(50)}) == 202
        yield
        arena.drained()


@makes_fire("ConvnetPodRestarts")
def a_classifier_restarts_again_and_again(arena: Arena) -> Iterator[None]:
    victim = arena.stack.classifiers[0]
    with kept_up(arena.stack.classifiers):
        for _ in range(5):
            before = victim.starts
            victim.end(signal.SIGKILL)
            until(lambda before=before: victim.starts > before, 20, "its next life")
        yield


@makes_fire("ConvnetKafkaUnderReplicated", "ConvnetKafkaOfflinePartitions")
def a_broker_is_killed(arena: Arena) -> Iterator[None]:
    """One of two: it held a copy of one topic, and another topic alone."""
    with SecondBroker(arena.stack.stack.broker, arena.folder / "second") as second:
        second.create_topics()
        second.kill()
        yield
        second.start()
        for metric in ("kafka_server_replicamanager_underreplicatedpartitions", "kafka_controller_kafkacontroller_offlinepartitionscount"):
            until(lambda metric=metric: arena.prometheus.value(f"sum({metric})") == 0, 60, f"no more {metric}", LOOK_S)
        second.delete_topics()


@makes_fire(
    "ConvnetKafkaBrokerDown",
    "ConvnetKafkaSilent",
    "ConvnetBacklogUnseen",
    "ConvnetUploadsUnknown",
    "ConvnetAvailabilityBudgetBurns 1h",
)
def kafka_does_not_answer(arena: Arena) -> Iterator[None]:
    """Its process is held still while a job goes on sending."""
    pid = arena.stack.stack.broker.pid
    assert pid is not None
    job = arena.open_job()
    with going_on(lambda: arena.upload(arena.pictures(20), job), 0.2):
        until(lambda: arena.upload(arena.pictures(20), job) == 202, 60, "an upload that is taken", LOOK_S)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: arena.upload(arena.pictures(20), job) == 202, 60, "an upload that is taken again", LOOK_S)
    arena.drained()
