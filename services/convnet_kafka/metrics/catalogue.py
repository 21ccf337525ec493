"""Makes every metric, and remembers what was said of it: its type, unit, labels, what it means and what to do about it.

The one way to a metric, so that what is exposed and what `docs/metrics.md` says cannot differ. Where all values of a metric's labels are
known its series exist from the start, at 0: a series that begins with its first event hides that event from `increase()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from convnet_kafka.metrics.weighted import WeightedHistogram

# Of each label either all values that it can have, or in words what it holds.
Labels = dict[str, Sequence[str] | str]
# How the values of several processes behind one port become one; the client library's names.
Across = Literal["livesum", "livemax", "livemin", "livemostrecent"]
Kind = Literal["counter", "gauge", "histogram"]
_Instrument = TypeVar("_Instrument", Counter, Gauge, Histogram, WeightedHistogram)


@dataclass(frozen=True, slots=True)
class Metric:
    """What is known of one metric.

    Attributes:
        name: as it is exposed.
        kind: counter, gauge or histogram.
        unit: what its value counts: seconds, bytes, images, ...
        means: what it says, a sentence.
        todo: what to do about it; empty when there is nothing to do about this one alone.
        labels: name to values, or to words where values are open.
        buckets: upper bounds of a histogram.
        rare: moves only when something goes wrong.
    """

    name: str
    kind: Kind
    unit: str
    means: str
    todo: str
    labels: Labels
    buckets: tuple[float, ...] = ()
    rare: bool = False


class Catalogue:
    """The metrics of one process.

    Args:
        registry: where they are registered.

    Attributes:
        metrics: what was made, in order.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.metrics: list[Metric] = []

    def counter(
        self, name: str, means: str, *, unit: str = "events", todo: str = "", labels: Labels | None = None, rare: bool = False
    ) -> Counter:
        """A number that only grows; its name ends in `_total`."""
        metric = self.describe(Metric(name, "counter", unit, means, todo, labels or {}, rare=rare))
        return _with_series(Counter(name, _help(metric), list(metric.labels), registry=self.registry), metric)

    def gauge(
        self, name: str, means: str, *, unit: str, across: Across, todo: str = "", labels: Labels | None = None, rare: bool = False
    ) -> Gauge:
        """A number that goes up and down.

        Args:
            name: as it is exposed.
            means: as in `Metric`.
            unit: as in `Metric`.
            across: what several processes of one server show together.
            todo: as in `Metric`.
            labels: as in `Metric`.
            rare: as in `Metric`.
        """
        metric = self.describe(Metric(name, "gauge", unit, means, todo, labels or {}, rare=rare))
        gauge = Gauge(name, _help(metric), list(metric.labels), registry=self.registry, multiprocess_mode=across)
        return _with_series(gauge, metric)

    def histogram(
        self, name: str, means: str, *, buckets: Sequence[float], unit: str = "seconds", todo: str = "", labels: Labels | None = None
    ) -> Histogram:
        """A distribution of what is seen once for each request, batch or look."""
        metric = self.describe(Metric(name, "histogram", unit, means, todo, labels or {}, tuple(buckets)))
        histogram = Histogram(name, _help(metric), list(metric.labels), registry=self.registry, buckets=metric.buckets)
        return _with_series(histogram, metric)

    def weighted(
        self, name: str, means: str, *, buckets: Sequence[float], unit: str = "seconds", todo: str = "", labels: Labels
    ) -> WeightedHistogram:
        """A distribution over images, which come many at a time. For a service of one process."""
        metric = self.describe(Metric(name, "histogram", unit, means, todo, labels, tuple(buckets)))
        histogram = WeightedHistogram(name, _help(metric), tuple(metric.labels), metric.buckets)
        self.registry.register(histogram)
        return _with_series(histogram, metric)

    def describe(self, metric: Metric) -> Metric:
        """Remember a metric that is made elsewhere."""
        self.metrics.append(metric)
        return metric


def _help(metric: Metric) -> str:
    return f"{metric.means} {metric.todo}".strip()


def _with_series(instrument: _Instrument, metric: Metric) -> _Instrument:
    values = [held for held in metric.labels.values() if not isinstance(held, str)]
    if metric.labels and len(values) == len(metric.labels):
        for combination in product(*values):
            instrument.labels(*combination)
    return instrument
