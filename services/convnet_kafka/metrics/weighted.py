"""A histogram over images: takes a value with the number of images that share it, or many values at once, for the cost of one.

The client library's own histogram takes one value at a time, some 1 us each: as much as the rest of an image's bookkeeping. For services of
one process: it does not share its numbers with others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Distribution:
    """The values of one set of labels. Written by one thread; another may read.

    Args:
        bounds: upper bounds, ascending; an infinite one is added.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Take in a value that so many images have."""
        self.counts[bisect_left(self._bounds, value)] += count
        self.total += value * count

    def observe_all(self, values: Iterable[float]) -> None:
        """Take in the values of several images."""
        bounds, counts, total = self._bounds, self.counts, 0.0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self.total += total


class WeightedHistogram(Collector):
    """A histogram with labels, as Prometheus knows it.

    Args:
        name: as it is exposed.
        text: its help.
        label_names: in the order in which `labels` takes their values.
        bounds: upper bounds, ascending.
    """

    def __init__(self, name: str, text: str, label_names: Sequence[str], bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._label_names = label_names
        self._bounds = tuple(bounds)
        self._shown = [*map(floatToGoString, self._bounds), "+Inf"]
        self._series: dict[tuple[str, ...], Distribution] = {}

    def labels(self, *values: str) -> Distribution:
        """The distribution of these labels; the same one each time."""
        if len(values) != len(self._label_names):
            raise ValueError(f"{self._name} has the labels {', '.join(self._label_names)}")
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = Distribution(self._bounds)
        return found

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """What it is, without its numbers."""
        return [HistogramMetricFamily(self._name, self._text, labels=self._label_names)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """All of it."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._label_names)
        for values, series in list(self._series.items()):
            buckets = list(zip(self._shown, accumulate(series.counts), strict=True))
            family.add_metric(values, buckets, series.total)
        return [family]
