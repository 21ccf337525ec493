"""What came of a job, for people: counts per class, failures by name, and the outcomes themselves for an output file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from convnet_kafka.client.label import Label, printable

# A few pictures are shown one by one.
_FEW = 20
_FAILURES_SHOWN = 20


class Report:
    """All outcomes, each image once with its highest revision. Some 0.4 KB an image."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str | None], Label] = {}

    def add(self, labels: Iterable[Label]) -> None:
        """Take outcomes in, in any order."""
        rows = self._rows
        for label in labels:
            key = (label.name, label.image)
            known = rows.get(key)
            if known is None or known.revision <= label.revision:
                rows[key] = label
            if label.image is not None:
                # It was given up and came through after all.
                rows.pop((label.name, None), None)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[Label]:
        """All outcomes by name."""
        return sorted(self._rows.values(), key=lambda label: (label.name, label.image or ""))

    @property
    def failed(self) -> int:
        """Images without a label."""
        return sum(label.error is not None for label in self._rows.values())

    def show(self, console: Console) -> None:
        """Print the labels (when there are few), the table, and the first failures."""
        labelled = [label for label in self._rows.values() if label.error is None]
        if labelled and len(labelled) <= _FEW:
            console.print(_one_by_one(labelled))
        elif labelled:
            console.print(_by_class(labelled))
        failures = [label for label in self.rows() if label.error is not None]
        if not failures:
            return
        console.print(f"{len(failures):,} without a label:")
        for label in failures[:_FAILURES_SHOWN]:
            console.print(f"  {_plain(label.name)}: {label.error}: {_plain(label.detail or 'no further reason given')}", soft_wrap=True)
        if len(failures) > _FAILURES_SHOWN:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in Counter(label.error for label in failures).most_common())
            console.print(f"  ... and {len(failures) - _FAILURES_SHOWN:,} more (in all: {reasons})")


def _one_by_one(labels: list[Label]) -> Table:
    table = Table("image", "label", box=None, pad_edge=False)
    table.add_column("confidence", justify="right")
    for label in sorted(labels):
        table.add_row(_plain(label.name), _plain(label.label or ""), f"{label.confidence or 0:.1%}")
    return table


def _by_class(labels: list[Label]) -> Table:
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for label in labels:
        name = label.label or ""
        counts[name] += 1
        sums[name] += label.confidence or 0.0  # type: ignore[assignment]  # a Counter adds floats as well
    table = Table("label", box=None, pad_edge=False)
    table.add_column("images", justify="right")
    table.add_column("mean confidence", justify="right")
    for name in sorted(counts):
        table.add_row(_plain(name), f"{counts[name]:,}", f"{sums[name] / counts[name]:.1%}")
    return table


def _plain(text: str) -> str:
    """Any text for a terminal: neither markup nor control characters."""
    return escape(printable(text))
