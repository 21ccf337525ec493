"""docs/metrics.md: what stands in metrics.md here, and the catalogue of metrics in services/convnet_kafka/metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from prometheus_client import CollectorRegistry

from convnet_kafka.metrics import ClassifierMetrics, ServerMetrics
from convnet_kafka.metrics.catalogue import Metric

_HEAD = Path(__file__).with_name("metrics.md")
_SECTIONS = (
    ("Server", "convnet_server_"),
    ("Classifier", "convnet_classifier_"),
    ("Kafka clients, in servers and classifiers", "convnet_kafka_client_"),
    ("Processes, all of them", ""),
)


def page() -> str:
    """The page."""
    metrics = {
        metric.name: metric
        for catalogue in (ServerMetrics(CollectorRegistry()).catalogue, ClassifierMetrics(CollectorRegistry()).catalogue)
        for metric in catalogue.metrics
    }
    parts = [_HEAD.read_text("utf-8")]
    for title, prefix in _SECTIONS:
        chosen = [name for name in metrics if name.startswith(prefix)]
        parts += [f"## {title}\n", *_table(metrics.pop(name) for name in chosen), ""]
    return "\n".join(parts)


def _table(metrics: Iterable[Metric]) -> list[str]:
    rows = ["| metric | labels | what it means | what to do |", "|---|---|---|---|"]
    for metric in metrics:
        kind = f"{metric.kind}, {metric.unit}" + (", *rare*" if metric.rare else "")
        bounds = f" Bounds: {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
        labels = "<br>".join(
            f"`{name}`: {values if isinstance(values, str) else ', '.join(values)}" for name, values in metric.labels.items()
        )
        rows.append(f"| `{metric.name}`<br>{kind} | {labels} | {_cell(metric.means + bounds)} | {_cell(metric.todo)} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


FILES: Mapping[str, Callable[[], str]] = MappingProxyType({"docs/metrics.md": page})
