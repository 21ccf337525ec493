"""What a page of metrics says, and what happened between two pages of one replica. Parses only the lines that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Values by name and labels.

    Attributes:
        values: name -> labels -> value.
    """

    values: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    @classmethod
    def parse(cls, page: bytes, names: Iterable[str]) -> Samples:
        """Read a page.

        Args:
            page: Prometheus' text format.
            names: what the wanted lines begin with. The rest of a page is most of it, and parsing costs some 10 us a line.

        Raises:
            ValueError: it is no such page.
        """
        wanted = tuple(name.encode() for name in names)
        text = b"\n".join(line for line in page.splitlines() if line.startswith(wanted)) + b"\n"
        found: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text.decode("utf-8", "replace")):
            for sample in family.samples:
                found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return cls(found)

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels; 0 when there is none."""
        return sum(value for _, value in self._matching(name, labels))

    def highest(self, name: str, **labels: str) -> float | None:
        """The largest of them, None when there is none."""
        return max((value for _, value in self._matching(name, labels)), default=None)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Sums by the value of a label."""
        found: dict[str, float] = {}
        for series, value in self._matching(name, labels):
            key = dict(series).get(label, "")
            found[key] = found.get(key, 0.0) + value
        return found

    def since(self, before: Samples) -> Samples:
        """What counters have gained; one that is smaller than before began anew with its process."""
        gained: dict[str, dict[Labels, float]] = {}
        for name, series in self.values.items():
            old = before.values.get(name, {})
            gained[name] = {
                labels: value - old.get(labels, 0.0) if value >= old.get(labels, 0.0) else value for labels, value in series.items()
            }
        return Samples(gained)

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterator[tuple[Labels, float]]:
        wanted = labels.items()
        return ((series, value) for series, value in self.values.get(name, {}).items() if wanted <= series)


def added(all_samples: Iterable[Samples]) -> Samples:
    """The sums of several replicas' counters."""
    found: dict[str, dict[Labels, float]] = {}
    for samples in all_samples:
        for name, series in samples.values.items():
            sums = found.setdefault(name, {})
            for labels, value in series.items():
                sums[labels] = sums.get(labels, 0.0) + value
    return Samples(found)


def quantile(gained: Samples, name: str, part: float, **labels: str) -> float | None:
    """A quantile of a classic histogram, as PromQL's histogram_quantile has it: linear within a bucket. None when nothing happened.

    Args:
        gained: what happened, from `since`.
        name: of the histogram, without `_bucket`.
        part: 0 to 1.
        labels: only series with these.
    """
    buckets = sorted((float(le), count) for le, count in gained.by(f"{name}_bucket", "le", **labels).items() if le)
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = part * buckets[-1][1]
    low, below = 0.0, 0.0
    for le, count in buckets:
        if count >= rank:
            if le == float("inf"):
                return low
            return le if count == below else low + (le - low) * (rank - below) / (count - below)
        low, below = le, count
    return low


def mean(gained: Samples, name: str, **labels: str) -> float | None:
    """The mean of a histogram's or summary's observations; None when there was none."""
    count = gained.total(f"{name}_count", **labels)
    return gained.total(f"{name}_sum", **labels) / count if count else None
