"""How much more work more replicas do, and how fast it moves when they come and go: `python benchmarks/scaling.py`, as root on Linux.

EfficientNet-Lite0 at 224x224 on JPEG photos of 640x427. Each replica has a quarter of a core (a cgroup's quota, from its readiness on: a
container that may start faster than it works), so that four fit on one core and the broker has the other. One, then four, then one again
and so on work off one backlog that is in Kafka before the first begins; labels are counted by the time at which Kafka stored them. Then
one replica is added, one is stopped (SIGTERM) and one is killed; when the others have its partitions stands in their logs. Writes
build/scaling.json; ends with 1 when a bar is missed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from rich.console import Console

from convnet_kafka.local.stack import Stack, StackOptions
from convnet_kafka.messages import checked_headers, required_header
from convnet_kafka.replies import labels_in
from figures import Bar, circumstances, judge, save
from lag import Lag
from processes import cpu_by_process
from quota import Quota
from replicas import Replica
from waits import DEADLINE_S, wait
from workload import PHOTOS

CORES = 0.25
MANY = 4
PARTITIONS = 12
# A window begins when everybody has been at work for so long.
SETTLE_S = 3.0
UPLOAD_DEADLINE_S = 1200.0
# A photo takes more CPU than this, so what is sent by it lasts until the end.
LEAST_PHOTO_S = 0.005
ASSIGNED, REVOKED, LOST = "partitions assigned", "partitions revoked", "partitions lost; what was in flight is repeated by others"


@dataclass
class Fleet:
    """Replicas under their quotas.

    Attributes:
        stack: whose Kafka they use.
        models: their models.
        folder: for their logs.
        cleanup: ends what is left.
    """

    stack: Stack
    models: Path
    folder: Path
    cleanup: ExitStack
    replicas: list[Replica] = field(default_factory=list)
    _number: int = 0

    def add(self) -> Replica:
        """One more, at work when this returns."""
        self._number += 1
        quota = self.cleanup.enter_context(Quota(f"convnet-scaling-{self._number}", CORES))
        replica = Replica.start(self.stack, self.models, self.folder / f"replica-{self._number}.log")
        self.cleanup.callback(replica.end)
        self.replicas.append(replica)
        replica.wait_ready()
        quota.add(replica.process.pid)
        return replica

    def cpu_s(self) -> float:
        """CPU seconds of all so far."""
        return sum(cpu_by_process({"classifier": replica.process.pid})["classifier"] for replica in self.replicas)

    def remove(self, number: signal.Signals) -> float:
        """End the first one; when its partitions have other owners, says after how many seconds that was."""
        replica = self.replicas.pop(0)
        owned = len(holdings(replica))
        before = {id(other): len(other.events(ASSIGNED)) for other in self.replicas}
        at = time.time()
        replica.process.send_signal(number)
        wait(lambda: sum(len(holdings(other)) for other in self.replicas) == PARTITIONS, f"new owners of {owned} partitions")
        taken = [
            datetime.fromisoformat(said["timestamp"]).timestamp()
            for other in self.replicas
            for said in other.events(ASSIGNED)[before[id(other)] :]
            if said["lane"] == "bulk"
        ]
        replica.process.wait(DEADLINE_S)
        if not taken:
            raise click.ClickException(f"a replica that held {owned} partitions ended, and nobody was given any")
        return max(taken) - at


def holdings(replica: Replica) -> set[int]:
    """The bulk lane's partitions that it has now, as its log tells."""
    held: set[int] = set()
    for said in replica.events(ASSIGNED, REVOKED, LOST):
        if said["lane"] != "bulk":
            continue
        if said["event"] == ASSIGNED:
            held = set(said["partitions"])
        else:
            held -= set(said["partitions"])
    return held


@dataclass(frozen=True, slots=True, order=True)
class Stored:
    """A record of the labels topic: when Kafka stored it (Unix time), how many labels it holds, and the process that made them."""

    at: float
    labels: int
    pid: int


def stored_labels(bootstrap_servers: str) -> list[Stored]:
    """All records that there are now, in the order of time. More may come meanwhile, so nobody waits for an end."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "scaling"})
    found: list[Stored] = []
    try:
        partitions = consumer.list_topics("convnet.labels", timeout=30).topics["convnet.labels"].partitions
        ends = {number: consumer.get_watermark_offsets(TopicPartition("convnet.labels", number), timeout=30) for number in partitions}
        left = {number for number, (low, high) in ends.items() if high > low}
        consumer.assign([TopicPartition("convnet.labels", number, OFFSET_BEGINNING) for number in left])
        while left:
            for message in consumer.consume(1000, 1.0):
                if message.error() is not None:
                    continue  # told once more with what comes
                if labels := len(labels_in(message.headers(), message.value())):
                    pid = required_header(checked_headers(message.headers()), "by").partition("/")[0].rpartition("-")[2]
                    found.append(Stored(message.timestamp()[1] / 1000, labels, int(pid)))
                if (message.offset() or 0) + 1 >= ends[message.partition() or 0][1]:
                    left.discard(message.partition() or 0)
    finally:
        consumer.close()
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Window:
    """A time of undisturbed work: its beginning and end (Unix time), and the cores that all replicas used together."""

    began: float
    ended: float
    cores: float

    @classmethod
    def of(cls, fleet: Fleet, seconds: float) -> Window:
        """After a while, in which everybody has come to work."""
        time.sleep(SETTLE_S)
        before, began = fleet.cpu_s(), time.time()
        time.sleep(seconds)
        ended = time.time()
        return cls(began, ended, (fleet.cpu_s() - before) / (ended - began))

    def rate(self, records: list[Stored]) -> float:
        """Labels a second in it."""
        return sum(record.labels for record in records if self.began <= record.at < self.ended) / (self.ended - self.began)


def pictures(folder: Path, files: list[Path], count: int) -> Path:
    """So many photos under names of their own."""
    folder.mkdir()
    for number in range(count):
        os.link(files[number % len(files)], folder / f"{number:06d}.jpg")
    return folder


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True, help="Windows with one replica, and as many with four.")
@click.option("--seconds", default=20.0, show_default=True, help="Length of a window.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/scaling.json"), show_default=True)
def main(*, rounds: int, seconds: float, out: Path) -> None:
    """See the module."""
    console = Console()
    with ExitStack() as cleanup:
        root = Path(tempfile.mkdtemp(prefix="convnet-scaling-"))
        cleanup.callback(shutil.rmtree, root, ignore_errors=True)
        files = PHOTOS.write(root / "photos", 100)
        PHOTOS.train(root / "models", files, "float32")
        environment = {"CONVNET_TOPICS_IMAGES_PARTITIONS": str(PARTITIONS)}
        stack = cleanup.enter_context(Stack(StackOptions(root / "models", root / "data", classifiers=0, environment=environment)))
        # Each window with what comes before it, and a minute of all four for what comes at the end.
        count = round((rounds * (seconds + 15) * (1 + MANY) + 60 * MANY) * CORES / LEAST_PHOTO_S)
        client = send(cleanup, stack, pictures(root / "backlog", files, count))
        with Lag(stack.bootstrap_servers) as lag:
            lag.wait_for(count, UPLOAD_DEADLINE_S, lambda: client.poll() is None)
        console.print(f"{count:,} photos are in Kafka")
        fleet = Fleet(stack, root / "models", root, cleanup.enter_context(ExitStack()))
        figures = measure(fleet, rounds, seconds)
    bars = [
        Bar(f"{MANY} replicas, times one", figures["four_times_one"], 3.7, at_least=True),
        Bar("seconds from an added one's start to its first label", figures["added_s"], 3.0),
        Bar("seconds until a stopped one's partitions are others'", figures["stopped_s"], 3.0),
        Bar("seconds until a killed one's partitions are others'", figures["killed_s"], 15.0),
    ]
    save(out, figures, bars)
    console.print(f"photos a second: one replica {figures['one']}, {MANY} replicas {figures['many']}")
    console.print(f"cores used: one replica {figures['cores_of_one']}, {MANY} replicas {figures['cores_of_many']}")
    console.print(f"longest time without a label, one replica or more at work: {figures['longest_gap_s']:.2f} s")
    judge(bars, out, console)


def send(cleanup: ExitStack, stack: Stack, folder: Path) -> subprocess.Popen[bytes]:
    """A client that sends a folder and reads its labels, until it is ended."""
    command = [sys.executable, "-m", "convnet_kafka", "classify", str(folder), "--server", stack.server_url, "--quiet"]
    client = subprocess.Popen([*command, "--output", f"{folder}.ndjson"])
    cleanup.callback(client.wait)
    cleanup.callback(client.terminate)
    return client


def measure(fleet: Fleet, rounds: int, seconds: float) -> dict[str, Any]:
    """All figures."""
    one: list[Window] = []
    many: list[Window] = []
    fleet.add()
    began = time.time()
    for _ in range(rounds):
        one.append(Window.of(fleet, seconds))
        while len(fleet.replicas) < MANY:
            fleet.add()
        many.append(Window.of(fleet, seconds))
        while len(fleet.replicas) > 1:
            fleet.remove(signal.SIGTERM)
    fleet.add()
    added = fleet.add()
    time.sleep(SETTLE_S)
    stopped_s = fleet.remove(signal.SIGTERM)
    time.sleep(SETTLE_S)
    killed_s = fleet.remove(signal.SIGKILL)
    time.sleep(SETTLE_S)
    ended = time.time()
    records = stored_labels(fleet.stack.bootstrap_servers)
    if records[-1].at < ended - 1:
        raise click.ClickException("the backlog ended too early: no figure holds")
    times = [record.at for record in records if began + SETTLE_S <= record.at <= ended]
    first_label = min(record.at for record in records if record.pid == added.process.pid)
    rates = [[round(window.rate(records), 1) for window in windows] for windows in (one, many)]
    return circumstances() | {
        "one": rates[0],
        "many": rates[1],
        "cores_of_one": [round(window.cores, 2) for window in one],
        "cores_of_many": [round(window.cores, 2) for window in many],
        "four_times_one": statistics.median(rates[1]) / statistics.median(rates[0]),
        "added_s": first_label - added.started_at,
        "stopped_s": stopped_s,
        "killed_s": killed_s,
        "longest_gap_s": max(after - before for before, after in itertools.pairwise(times)),
    }


if __name__ == "__main__":
    main()
