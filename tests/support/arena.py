"""What tests of alerts do to a watched stack: send pictures good and bad, break the model, change topics, keep what dies alive."""

from __future__ import annotations

import itertools
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, ResourceType

from convnet.registry import Registry
from support.http import PNG, tar
from support.measured_cluster import MeasuredCluster
from support.prometheus import Prometheus
from support.topics import admin
from support.waiting import until
from support.watched_stack import Pod, WatchedStack

# A look at Prometheus that is repeated until something holds.
LOOK_S = 0.5


class Arena:
    """One stack, and what there is to do things with.

    Args:
        stack: runs, with a backend that files break (`support.breakable_backend`) and two Prometheus.
        cluster: measures it.
        registry: of its models.
        folder: for files; `breakable` in it is the backend's.
        files: pictures, in folders of their classes.
        source: a registry with another copy of the stable model.
    """

    def __init__(
        self, stack: WatchedStack, cluster: MeasuredCluster, registry: Registry, folder: Path, files: list[Path], source: Registry
    ) -> None:
        self.stack, self.cluster, self.registry, self.folder = stack, cluster, registry, folder
        self.files, self.source = files, source
        self._numbers = itertools.count()

    @property
    def prometheus(self) -> Prometheus:
        """An hour is a minute there."""
        return self.stack.prometheuses[0]

    @property
    def weeks(self) -> Prometheus:
        """A week is a minute there."""
        return self.stack.prometheuses[1]

    @property
    def other_server(self) -> Pod:
        """The server that gets no traffic."""
        return self.stack.pods["server-2"]

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address."""
        return self.stack.stack.bootstrap_servers

    def pictures(self, count: int, only: str | None = None) -> dict[str, bytes]:
        """Pictures under names of their own, of one class or all."""
        files = [path for path in self.files if only is None or path.parent.name == only]
        numbers = itertools.islice(self._numbers, count)
        return {f"{number}.png": files[number % len(files)].read_bytes() for number in numbers}

    def broken(self, count: int, size: int = 2000) -> dict[str, bytes]:
        """What begins like a picture, and is none."""
        numbers = itertools.islice(self._numbers, count)
        return {f"broken-{number}.png": PNG + os.urandom(size) for number in numbers}

    def open_job(self) -> str:
        """A new job, empty where none could be opened."""
        status, body = self._call("/v1/jobs", b"", "application/octet-stream")
        return str(json.loads(body)["job"]) if status == 201 else ""

    def upload(self, pictures: dict[str, bytes], job: str = "") -> int:
        """Send them, in a job of their own unless told; the answer's status, 0 where there was none."""
        job = job or self.open_job()
        return self._call(f"/v1/jobs/{job}/images", tar(pictures), "application/x-tar")[0] if job else 0

    def classify(self, timeout: str = "5") -> int:
        """One picture on the fast lane; the answer's status, 0 where there was none."""
        (content,) = self.pictures(1).values()
        return self._call(f"/v1/classify?timeout={timeout}", content, "image/png")[0]

    def traffic(self) -> AbstractContextManager[None]:
        """A little of both lanes while entered, as on a day when all is well."""
        return going_on(lambda: (self.upload(self.pictures(20)), self.classify()), 1.0)

    def end_classifiers(self) -> None:
        """As a deployment scaled to none."""
        for pod in self.stack.classifiers:
            pod.end()

    def start_classifiers(self) -> None:
        """As a deployment scaled up again."""
        for pod in self.stack.classifiers:
            pod.start()

    def drained(self) -> None:
        """Wait until nothing waits."""
        until(lambda: self.prometheus.value("sum(convnet:backlog_images:max)") == 0, 120, "an empty backlog", LOOK_S)

    @contextmanager
    def marked(self, name: str, content: str = "") -> Iterator[None]:
        """The model is broken or slow while entered, as `support.breakable_backend` reads the file of this name."""
        path = self.folder / "breakable" / name
        path.write_text(content)
        try:
            yield
        finally:
            path.unlink()

    def set_topic(self, topic: str, name: str, value: str) -> str:
        """Change a topic's setting; gives what it was."""
        client = admin(self.bootstrap_servers)
        resource = ConfigResource(ResourceType.TOPIC, topic)
        before = client.describe_configs([resource])[resource].result(20)[name].value
        entry = ConfigEntry(name, value, source=ConfigSource.DYNAMIC_TOPIC_CONFIG, incremental_operation=AlterConfigOpType.SET)
        changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        client.incremental_alter_configs([changed])[changed].result(20)
        return str(before)

    def _call(self, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        call = urllib.request.Request(f"{self.stack.servers[0]}{path}", body, {"Content-Type": content_type}, method="POST")
        try:
            with urllib.request.urlopen(call, timeout=60) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""


@contextmanager
def going_on(do: Callable[[], object], pause_s: float) -> Iterator[None]:
    """Does something again and again while entered; what it raises is raised at the end."""
    end = threading.Event()
    raised: list[Exception] = []

    def repeat() -> None:
        try:
            while not end.wait(pause_s):
                do()
        except Exception as error:  # noqa: BLE001 - told below, by the thread that is looked at
            raised.append(error)

    thread = threading.Thread(target=repeat, name="going-on", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(90)
    if raised:
        raise raised[0]


@contextmanager
def kept_up(pods: list[Pod]) -> Iterator[None]:
    """Starts pods again that die, as a cluster does."""
    with going_on(lambda: [pod.start() for pod in pods], 0.2):
        yield
