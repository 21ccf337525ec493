"""Everything on this machine: a Kafka, a server and classifiers as supervised children, up when entered and gone when left.

    with Stack(StackOptions(models=Path("models"), data=Path("data"), classifiers=2)) as stack:
        print(stack.server_url, stack.processes)

Owns its children, a thread that starts them again when they die, and one that kills those that hang. Records and the signing key stay in
the data folder.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from convnet_kafka.errors import ConvnetKafkaError, LocalStackError
from convnet_kafka.local import children, stackfile
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.brokermetrics import REPORTER_JARS, reporter_settings
from convnet_kafka.local.childlogs import ChildLogs
from convnet_kafka.local.children import Child
from convnet_kafka.local.liveness import Liveness
from convnet_kafka.local.monitoring import Target, write_scrape_files
from convnet_kafka.local.process import HOST, free_ports, port_is_free
from convnet_kafka.local.signingkey import ensure_signing_key
from convnet_kafka.local.stackfile import StackNote
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, ServerSettings, load

BROKER = "broker"
SERVER = "server"
# A start takes some 5 s on two idle cores.
READY_DEADLINE_S = 90.0
# Beyond the children's own budgets, for their interpreters to end.
_END_SLACK_S = 5.0
_LOOK_S = 0.1
# A child that dies so often before it was ready once will not get ready.
_MOST_DEATHS_AT_START = 3
_PROBE_S = 2.0
_HTTP_OK = 200


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to run.

    Attributes:
        models: folder of the model registry; may be empty, then classifiers wait for a model.
        data: folder for Kafka's records, the signing key, and the logs when nothing is shown.
        classifiers: how many, 0 or more.
        server_processes: processes of the server that share its port.
        port: the server's port on 127.0.0.1; None takes a free one.
        broker_port: Kafka's port; None takes a free one.
        bootstrap_servers: a Kafka that is there already; None runs one.
        console: where children's logs go, line by line; None writes files into `data/logs`.
        restart: start children again that die, and kill those that hang.
        environment: added to the children's.
        broker_jvm_flags: further flags for Kafka's JVM.
        monitoring: give Kafka's metrics too, and write files for a Prometheus into `data/prometheus`.
    """

    models: Path
    data: Path
    classifiers: int = 2
    server_processes: int = 1
    port: int | None = None
    broker_port: int | None = None
    bootstrap_servers: str | None = None
    console: Console | None = None
    restart: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    broker_jvm_flags: Sequence[str] = ()
    monitoring: bool = False


class Stack:
    """The running stack. Its methods may be called from any thread; it is entered and left by one.

    Args:
        options: what to run.
    """

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.logs = ChildLogs(options.console, options.data / "logs")
        self.server_url = ""
        self.scrape_config: Path | None = None
        self._broker: LocalBroker | None = None
        self._broker_metrics: int | None = None
        self._children: list[Child] = []
        self._liveness = Liveness(self._children, self.logs)
        self._leaving = threading.Event()
        self._looking = threading.Thread(target=self._look_after_all, name="stack", daemon=True)
        # Guards the children's processes between the thread above and callers.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def broker(self) -> LocalBroker:
        """Our Kafka.

        Raises:
            LocalStackError: the stack uses one that was there already.
        """
        if self._broker is None:
            raise LocalStackError(f"the stack runs no Kafka of its own: it uses {self.options.bootstrap_servers}")
        return self._broker

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address."""
        return self.options.bootstrap_servers or self.broker.bootstrap_servers

    @property
    def processes(self) -> dict[str, int]:
        """Name -> process id of what runs now: `broker`, `server`, `classifier-1` and so on."""
        pid = self._broker.pid if self._broker is not None else None
        found = {} if pid is None else {BROKER: pid}
        with self._lock:
            return found | {child.name: child.process.pid for child in self._children if child.process is not None and child.is_running}

    @property
    def urls(self) -> dict[str, str]:
        """Name -> address of the probes and metrics of each server and classifier."""
        return {child.name: child.health_url for child in self._children}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one process, as an operator or the system would; returns its id. What dies is started again.

        Raises:
            LocalStackError: no such process runs.
        """
        pid = self.processes.get(name)
        if pid is None:
            raise LocalStackError(f"no {name!r} runs; there are {', '.join(self.processes) or 'no processes'}")
        os.kill(pid, number)
        return pid

    def wait_ready(self, deadline_s: float = READY_DEADLINE_S) -> None:
        """Return when the server is ready, and the classifiers too if there is a model for them.

        Raises:
            LocalStackError: one of them is not within the deadline, or cannot start; with what it said last.
        """
        deadline = time.monotonic() + deadline_s
        path = "/readyz" if self.has_model() else "/healthz"
        for child in self._children:
            while not _answers(child.health_url + ("/readyz" if child.name == SERVER else path)):
                if child.deaths >= _MOST_DEATHS_AT_START or (child.deaths and not self.options.restart):
                    raise LocalStackError(f"{child.name} cannot start; it said last:\n  {self.logs.tail(child.name)}")
                if time.monotonic() > deadline:
                    raise LocalStackError(
                        f"{child.name} is not ready after {deadline_s:.0f} s; it said last:\n  {self.logs.tail(child.name)}"
                    )
                time.sleep(_LOOK_S / 2)

    def has_model(self) -> bool:
        """Whether there is a model that classifiers can serve."""
        from convnet.errors import ConvnetError  # noqa: PLC0415 - the broker alone needs no model
        from convnet.registry import Registry  # noqa: PLC0415

        try:
            return Registry(self.options.models).aliases().stable is not None
        except ConvnetError:
            return False

    def targets(self) -> Iterator[Target]:
        """What gives metrics: every child, and Kafka where `monitoring` was asked for."""
        for child in self._children:
            yield Target(child.name, child.arguments[0], child.health_url.removeprefix("http://"))
        if self._broker_metrics is not None:
            yield Target(BROKER, "kafka", f"{HOST}:{self._broker_metrics}")

    def stop(self) -> None:
        """End all: classifiers and server, then Kafka. Returns when none is left; interrupted, it kills what is."""
        self._leaving.set()
        stackfile.take_away(self.options.data)
        self._liveness.stop()
        if self._looking.is_alive():
            self._looking.join()
        budget_s = self._budget_s()
        try:
            children.end(self._children, budget_s, lambda child: self.logs.note(child.name, "is killed: it did not end in time"))
        finally:
            if self._broker is not None:
                try:
                    self._broker.stop()
                except BaseException:
                    self._broker.kill()
                    raise

    def _start(self) -> None:
        options = self.options
        if options.port is not None and not port_is_free(options.port):
            raise LocalStackError(
                f"port {options.port} on {HOST} is in use by another program: stop it, or choose another port with --port; "
                "`convnet-kafka down` ends another stack of yours"
            )
        key = ensure_signing_key(options.data / "signing-key")
        if options.bootstrap_servers is None:
            self._broker = self._own_broker()
            self._broker.start()
        ports = free_ports(1 + options.classifiers)
        port = options.port or ports.pop()
        self.server_url = f"http://{HOST}:{port}"
        common = {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers, "PYTHONUNBUFFERED": "1", **options.environment}
        self._children.append(Child(SERVER, ["server"], common | self._server_environment(port, key), self.server_url))
        for number, own in enumerate(ports[: options.classifiers], start=1):
            environment = common | {
                "CONVNET_CLASSIFIER_MODELS": str(options.models.absolute()),
                "CONVNET_CLASSIFIER_HOST": HOST,
                "CONVNET_CLASSIFIER_PORT": str(own),
            }
            self._children.append(Child(f"classifier-{number}", ["classifier"], environment, f"http://{HOST}:{own}"))
        if options.monitoring:
            self.scrape_config = write_scrape_files(options.data / "prometheus", self.targets())
        for child in self._children:
            child.start(self.logs)
        self._looking.start()
        if options.restart:
            self._liveness.start()
        stackfile.write(options.data, self._note(key))
        self.wait_ready()

    def _note(self, key: Path) -> StackNote:
        prefix = self.options.environment.get("KAFKA_TOPIC_PREFIX") or load(KafkaSettings).topic_prefix
        endpoints = {child.name: child.health_url for child in self._children}
        return StackNote(os.getpid(), self.bootstrap_servers, prefix, endpoints, str(self.options.models.absolute()), str(key.absolute()))

    def _own_broker(self) -> LocalBroker:
        options, overrides = self.options, {}
        if options.monitoring:
            (self._broker_metrics,) = free_ports(1)
            overrides = reporter_settings(self._broker_metrics)
        return LocalBroker(
            options.data / "broker",
            options.broker_port,
            jvm_flags=options.broker_jvm_flags,
            overrides=overrides,
            extra_jars=REPORTER_JARS if options.monitoring else (),
        )

    def _server_environment(self, port: int, key: Path) -> dict[str, str]:
        return {
            "CONVNET_SERVER_HOST": HOST,
            "CONVNET_SERVER_PORT": str(port),
            "CONVNET_SERVER_PROCESSES": str(self.options.server_processes),
            "CONVNET_SERVER_SIGNING_KEY_FILES": str(key.absolute()),
            # Nobody balances load here, so nobody has to notice that this server goes.
            "CONVNET_SERVER_SHUTDOWN_DELAY_S": "0",
            "CONVNET_TOPICS_CREATE": "true",
        } | dict(self.options.environment)

    def _budget_s(self) -> float:
        server, classifier = load(ServerSettings), load(ClassifierSettings)
        return max(server.shutdown_timeout_s, classifier.drain_timeout_s) + _END_SLACK_S

    def _look_after_all(self) -> None:
        while not self._leaving.wait(_LOOK_S):
            if self._broker is not None and self.options.restart and not self._broker.is_running:
                self._restart_broker(self._broker)
            with self._lock:
                for child in self._children:
                    child.look_after(self.logs, restart=self.options.restart)

    def _restart_broker(self, broker: LocalBroker) -> None:
        self.logs.note(BROKER, "ended by itself; it is started again on its data")
        try:
            broker.start()
        except ConvnetKafkaError as error:
            # Tried again with the next look; the pause is the start's own.
            self.logs.note(BROKER, f"could not be started: {error}")
            self._leaving.wait(1.0)
        else:
            self.logs.note(BROKER, f"is ready again at {broker.bootstrap_servers}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_S) as answer:  # noqa: S310 - an http address of our own
            return bool(answer.status == _HTTP_OK)
    except (urllib.error.URLError, OSError, ValueError):
        return False
