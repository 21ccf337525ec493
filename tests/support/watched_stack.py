"""The whole on this machine under a real Prometheus: Kafka, two servers, two classifiers, our rules with time running faster.

Servers and classifiers are processes that a test may stop, kill and start again under the same name, as pods are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from convnet.registry import Registry
from convnet_charts.rules.files import write_rules
from convnet_charts.rules.tuning import Tuning
from convnet_kafka.local.monitoring import Target, write_scrape_files
from convnet_kafka.local.process import free_ports, spawn_bound
from convnet_kafka.local.stack import Stack, StackOptions
from support.prometheus import Prometheus
from support.waiting import until, until_ready

SCRAPE_S = 1.0
TESTS = Path(__file__).parents[1]
# Clients' statistics come every 15 s otherwise, and a test would wait for them.
_ENVIRONMENT = {"KAFKA_CLIENT_OPTIONS": '{"statistics.interval.ms": 1000}'}


def same_versions(source: Path, folder: Path, count: int) -> Registry:
    """A registry with versions 1 to `count` of the source's stable model, alike in all but their number; 1 is stable."""
    original = Registry(source)
    card = original.card(original.resolve("stable") or 0)
    artefacts = {card.served: original.artefact(card.version, card.served)}
    made = Registry(folder)
    for _ in range(count):
        made.add(lambda version, checksums: card.model_copy(update={"version": version, "checksums": dict(checksums)}), artefacts)
    made.set_alias("stable", 1)
    return made


@dataclass
class Pod:
    """A server or classifier of the test's own.

    Attributes:
        name: on its series.
        component: `server` or `classifier`.
        port: it keeps over restarts.
        environment: beside ours; may be changed before a start.
        log: what all its lives said.
        starts: how often it was started.
    """

    name: str
    component: str
    port: int
    environment: dict[str, str]
    log: Path
    starts: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it; does nothing when it lives."""
        if self.lives:
            return
        with self.log.open("ab") as output:
            self.process = spawn_bound(
                [sys.executable, "-m", "convnet_kafka", self.component],
                death_signal=signal.SIGKILL,
                output=output,
                env={**os.environ, **self.environment},
            )
        self.starts += 1

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait for that."""
        process = self.process  # somebody else may start it again meanwhile
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(40)
        finally:
            process.kill()
            process.wait()


class WatchedStack:
    """Running and scraped every second while entered.

    Args:
        folder: for everything.
        models: the registry.
        tunings: one Prometheus for each, with rules of its own; the first is `prometheus`.
        environment: of servers and classifiers, beside what a test needs.
        exporters: addresses of further targets, whose labels stay as they are.
        broker_jvm_flags: further flags for Kafka's JVM.
        scrape_s: seconds between scrapes, which is also how long a target may take to answer.
    """

    def __init__(
        self,
        folder: Path,
        models: Path,
        tunings: Sequence[Tuning],
        environment: Mapping[str, str] | None = None,
        exporters: Sequence[str] = (),
        broker_jvm_flags: Sequence[str] = (),
        scrape_s: float = SCRAPE_S,
    ) -> None:
        self._folder = folder
        self._models = models
        self._tunings = tunings
        self._exporters = list(exporters)
        self._scrape_s = scrape_s
        self._environment = _ENVIRONMENT | dict(environment or {})
        self.stack = Stack(
            StackOptions(
                models=models,
                data=folder / "data",
                classifiers=0,
                environment=self._environment,
                broker_jvm_flags=broker_jvm_flags,
                monitoring=True,
            )
        )
        self.prometheuses: list[Prometheus] = []
        self.pods: dict[str, Pod] = {}
        self._entered = ExitStack()

    @property
    def prometheus(self) -> Prometheus:
        """The first."""
        return self.prometheuses[0]

    @property
    def servers(self) -> list[str]:
        """Addresses of the two."""
        return [self.stack.server_url, self.pods["server-2"].url]

    @property
    def classifiers(self) -> list[Pod]:
        """The two."""
        return [pod for pod in self.pods.values() if pod.component == "classifier"]

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            entered.enter_context(self.stack)
            for name in ("server-2", "classifier-1", "classifier-2"):
                pod = self._pod(name)
                self.pods[name] = pod
                entered.callback(pod.end)
                pod.start()
            own = [Target(pod.name, pod.component, pod.url.removeprefix("http://")) for pod in self.pods.values()]
            targets = [*self.stack.targets(), *own]
            for number, tuning in enumerate(self._tunings):
                self.prometheuses.append(entered.enter_context(self._watching(self._folder / f"prometheus-{number}", targets, tuning)))
            for pod in self.pods.values():
                until_ready(pod.url)
            for each in self.prometheuses:
                until(lambda each=each: each.targets_up() == len(targets) + len(self._exporters), 60, "every target is read")
            self._entered = entered.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._entered.close()

    def _pod(self, name: str) -> Pod:
        (port,) = free_ports(1)
        component = name.partition("-")[0]
        environment = self._environment | {
            "KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "CONVNET_SERVER_PORT": str(port),
            "CONVNET_SERVER_SIGNING_KEY_FILES": str(self.stack.options.data / "signing-key"),
            "CONVNET_SERVER_SHUTDOWN_DELAY_S": "0",
            "CONVNET_CLASSIFIER_MODELS": str(self._models),
            "CONVNET_CLASSIFIER_HOST": "127.0.0.1",
            "CONVNET_CLASSIFIER_PORT": str(port),
            # Backends of tests are found there.
            "PYTHONPATH": str(TESTS),
        }
        return Pod(name, component, port, environment, self._folder / f"{name}.log")

    def _watching(self, folder: Path, targets: Sequence[Target], tuning: Tuning) -> Prometheus:
        config = write_scrape_files(folder, targets)
        write_rules(folder / "rules", tuning)
        exporters = ", ".join(f'"{address}"' for address in self._exporters)
        config.write_text(
            f"global: {{scrape_interval: {self._scrape_s:g}s, evaluation_interval: {self._scrape_s:g}s}}\n"
            'rule_files: ["rules/*.yaml"]\n'
            "scrape_configs:\n"
            '  - {job_name: convnet-kafka, file_sd_configs: [{files: ["targets.json"]}]}\n'
            f"  - {{job_name: exporters, honor_labels: true, static_configs: [{{targets: [{exporters}]}}]}}\n"
        )
        return Prometheus(config)
