"""Which files the values make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from convnet_charts.values.chart import ConvnetKafka
from convnet_charts.values.document import table, values_text
from convnet_charts.values.schema import schema_text

_CHART = "helm/convnet-kafka"


def _readme() -> str:
    return (Path(__file__).parent / "convnet-kafka.md").read_text("utf-8").replace("@@values@@", table(ConvnetKafka))


FILES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        f"{_CHART}/values.yaml": lambda: values_text(ConvnetKafka),
        f"{_CHART}/values.schema.json": lambda: schema_text(ConvnetKafka),
        f"{_CHART}/README.md": _readme,
    }
)
