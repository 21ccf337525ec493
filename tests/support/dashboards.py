"""The chart's dashboards as Grafana would run them: panels with their queries, the variables replaced."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convnet_charts.rules.files import filled_in

FOLDER = Path(__file__).parents[2] / "helm" / "convnet-kafka" / "dashboards"
# What only a cluster's own exporters give: kube-state-metrics, and the kubelet's volumes and containers.
_KUBERNETES = re.compile(r"\b(kube|container|kubelet)_\w+")


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        board: the dashboard's file name without its ending.
        title: of the panel.
        raw: as it stands in the JSON.
        queries: (PromQL, legend), the variables still in it.
    """

    board: str
    title: str
    raw: dict[str, Any]
    queries: list[tuple[str, str]]

    @property
    def needs_kubernetes(self) -> bool:
        """Whether it reads what only a cluster's exporters give."""
        return any(_KUBERNETES.search(expr) for expr, _ in self.queries)


def boards() -> dict[str, dict[str, Any]]:
    """File name without its ending -> content, the placeholders filled in as for a laptop."""
    return {path.stem: json.loads(filled_in(path.read_text())) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: str, content: dict[str, Any]) -> list[Panel]:
    """Panels of one dashboard, rows left out."""
    return [
        Panel(board, panel["title"], panel, [(target["expr"], target["legendFormat"]) for target in panel["targets"]])
        for panel in content["panels"]
        if panel["type"] != "row"
    ]


def ready(expr: str, *, interval: str, namespace: str = "local", release: str = "convnet", kafka: str = "convnet") -> str:
    """A query with the variables replaced, all pods chosen.

    Args:
        expr: PromQL with Grafana's variables.
        interval: what `$__rate_interval` is.
        namespace: chosen.
        release: chosen.
        kafka: the chosen Kafka cluster.
    """
    values = {
        "$__rate_interval": interval,
        "$namespace": namespace,
        "$release": release,
        "$kafka": kafka,
        "$pod": ".*",
    }
    for variable, value in values.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr, expr
    return expr
