"""What the storm goes over: a broker behind a network that can be cut, servers, classifiers, and models on a small volume of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from convnet.registry import Registry
from convnet_kafka.local import children
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.childlogs import ChildLogs
from convnet_kafka.local.children import Child
from convnet_kafka.local.liveness import Liveness
from convnet_kafka.local.process import free_ports
from convnet_kafka.local.stack import Stack, StackOptions
from storm.network import HOST, Network
from storm.stream import Pictures
from support import deadly_backend

CLASSIFIERS = 3
SERVER_PROCESSES = 2
# Two models and their aliases take 2 MB; the rest of the volume is what a fault fills up.
VOLUME_MIB = 32
# For replicas that were added, to end in good order.
END_S = 30.0
# The real model, but some pictures end or hang its process: the poison among the faults.
ENVIRONMENT = {
    "CONVNET_CLASSIFIER_BACKEND": "support.deadly_backend:load",
    "PYTHONPATH": str(Path(deadly_backend.__file__).parents[1]),
    "CONVNET_CLASSIFIER_STUCK_AFTER_S": "20",
}


class Arena:
    """All of it, running while entered.

    Args:
        folder: for data, logs and the volume.
        models: a registry to copy, with at least two versions of the same classes.
        pictures: what is sent meanwhile.
    """

    def __init__(self, folder: Path, models: Path, pictures: Pictures) -> None:
        self._source = models
        self.pictures = pictures
        self._cleanup = ExitStack()
        self._extra: list[Child] = []
        self._logs = ChildLogs(None, folder / "extra")
        # Of the replicas added: whoever hangs is killed, as Kubernetes would.
        self._liveness = Liveness(self._extra, self._logs)
        self.volume = folder / "volume"
        self.broker_port, network_port = free_ports(2)
        self.network = Network(network_port, self.broker_port)
        self.broker = LocalBroker(
            folder / "broker", self.broker_port, overrides={"advertised.listeners": f"BROKER://{HOST}:{network_port}"}
        )
        self.stack = Stack(
            StackOptions(
                models=self.volume / "models",
                data=folder / "stack",
                classifiers=CLASSIFIERS,
                server_processes=SERVER_PROCESSES,
                bootstrap_servers=f"{HOST}:{network_port}",
                environment=ENVIRONMENT,
            )
        )
        # One thing at a time is done to the broker's process.
        self.broker_lock = threading.Lock()

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            cleanup.enter_context(_volume(self.volume))
            shutil.copytree(self._source, self.volume / "models")
            cleanup.enter_context(self.network)
            cleanup.enter_context(self.broker)
            cleanup.enter_context(self.stack)
            cleanup.callback(children.end, self._extra, END_S, lambda child: self._logs.note(child.name, "did not end in time"))
            self._liveness.start()
            cleanup.callback(self._liveness.stop)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cleanup.close()

    @property
    def registry(self) -> Registry:
        """The models that classifiers follow."""
        return Registry(self.volume / "models")

    def classifiers(self) -> list[int]:
        """Process ids of all classifiers that live."""
        own = [pid for name, pid in self.stack.processes.items() if name.startswith("classifier")]
        return own + [child.process.pid for child in self._extra if child.process is not None and child.is_running]

    def servers(self) -> list[int]:
        """Process ids of the server and of the processes that share its port."""
        pid = self.stack.processes.get("server")
        if pid is None:
            return []
        try:
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def add_classifier(self) -> str:
        """One replica more, until it dies or `remove_classifier`; returns its name."""
        (port,) = free_ports(1)
        environment = ENVIRONMENT | {
            "KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "CONVNET_CLASSIFIER_MODELS": str(self.volume / "models"),
            "CONVNET_CLASSIFIER_HOST": HOST,
            "CONVNET_CLASSIFIER_PORT": str(port),
        }
        child = Child(f"extra-{len(self._extra) + 1}", ["classifier"], environment, f"http://{HOST}:{port}")
        child.start(self._logs)
        self._extra.append(child)
        return child.name

    def remove_classifier(self) -> str | None:
        """End the oldest of them in good order; None when there is none."""
        for child in self._extra:
            if child.process is not None and child.is_running and child.watched:
                child.watched = False
                child.process.terminate()
                return child.name
        return None

    def kill_broker(self) -> None:
        """`kill -9`, and start it again on its data."""
        with self.broker_lock:
            if self.broker.pid is not None:
                os.kill(self.broker.pid, signal.SIGKILL)
            while self.broker.is_running:
                threading.Event().wait(0.01)
            self.broker.start()


@contextmanager
def _volume(folder: Path) -> Iterator[None]:
    """A file system of its own, which can be filled without harm to the machine; a plain folder for who may not mount one."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MIB}m", "storm", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
