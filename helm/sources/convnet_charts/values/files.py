"""Which files the values make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from convnet_charts.values.base import Values
from convnet_charts.values.chart import ConvnetKafka
from convnet_charts.values.document import table, values_text
from convnet_charts.values.kafkacluster import KafkaCluster
from convnet_charts.values.schema import schema_text

_CHARTS: Mapping[str, type[Values]] = MappingProxyType({"convnet-kafka": ConvnetKafka, "kafka": KafkaCluster})


def _readme(chart: str, root: type[Values]) -> str:
    return (Path(__file__).parent / f"{chart}.md").read_text("utf-8").replace("@@values@@", table(root))


def _files(chart: str, root: type[Values]) -> dict[str, Callable[[], str]]:
    return {
        f"helm/{chart}/values.yaml": lambda: values_text(root),
        f"helm/{chart}/values.schema.json": lambda: schema_text(root),
        f"helm/{chart}/README.md": lambda: _readme(chart, root),
    }


FILES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {path: make for chart, root in _CHARTS.items() for path, make in _files(chart, root).items()}
)
