"""Metrics as a scraper sees them."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """What one process exposed at one moment.

    Attributes:
        families: by their exposed name, that of a counter with `_total`.
    """

    families: dict[str, Metric]

    @classmethod
    def of(cls, url: str) -> Scrape:
        """From a server's or a classifier's address."""
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return cls({_exposed(family): family for family in text_string_to_metric_families(text)})

    def value(self, sample: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        family = next((self.families[name] for name in (sample, sample.rpartition("_")[0]) if name in self.families), None)
        assert family is not None, f"{sample} is not exposed"
        return sum(found.value for found in family.samples if found.name == sample and labels.items() <= found.labels.items())

    def moved(self) -> set[str]:
        """Families of which something is not zero."""
        return {name for name, family in self.families.items() if any(sample.value for sample in family.samples)}


class Prometheus:
    """Scrapes one counter of several processes again and again, and knows their sum across restarts as Prometheus does.

    Args:
        urls: of the processes.
        sample: the counter.
        every_s: the interval.

    Attributes:
        most_in_an_interval: the largest growth of one process between two scrapes.
    """

    def __init__(self, urls: list[str], sample: str, every_s: float) -> None:
        self._urls = urls
        self._sample = sample
        self._every_s = every_s
        # By process, told apart by when it started.
        self._last: dict[tuple[str, float], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrape", daemon=True)
        self.most_in_an_interval = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> float:
        """Scrape once, and give the sum over all processes there ever were."""
        for url in self._urls:
            with suppress(OSError):  # it is being restarted
                scrape = Scrape.of(url)
                process = url, scrape.value("process_start_time_seconds")
                now, before = scrape.value(self._sample), self._last.get(process, 0.0)
                self._last[process] = now
                self.most_in_an_interval = max(self.most_in_an_interval, now - before)
        return sum(self._last.values())

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.look()


def total(urls: list[str], sample: str, **labels: str) -> float:
    """The sum over several processes."""
    return sum(Scrape.of(url).value(sample, **labels) for url in urls)


def growth(urls: list[str], sample: str, **labels: str) -> Callable[[], float]:
    """How much a sum over processes has grown since now."""
    before = total(urls, sample, **labels)
    return lambda: total(urls, sample, **labels) - before


def _exposed(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name
