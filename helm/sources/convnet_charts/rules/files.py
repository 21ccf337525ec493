"""The rule files of the chart, and the same files filled in for one release: what the chart's template does, for a laptop and for tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from convnet_charts.promql import KAFKA, NAMESPACE, RELEASE, RUNBOOKS
from convnet_charts.rules import kafka, kubernetes, quality, recording, service, slo
from convnet_charts.rules.model import Alert, rule_file
from convnet_charts.rules.tuning import Tuning

FOLDER = "helm/convnet-kafka/rules"
# What `convnet-kafka up --monitoring` labels its series with (services/convnet_kafka/local/monitoring.py).
LOCAL = MappingProxyType({NAMESPACE: "local", RELEASE: "convnet", KAFKA: "convnet", RUNBOOKS: "docs/runbooks"})

_MAKERS: Mapping[str, Callable[[Tuning], str]] = MappingProxyType(
    {
        "recording.yaml": lambda tuning: rule_file(recording.recordings(tuning)),
        "slo.yaml": lambda tuning: rule_file(*slo.groups(tuning)),
        "alerts.yaml": lambda tuning: rule_file(*service.alerts(tuning), quality.alerts(tuning)),
        "kafka.yaml": lambda tuning: rule_file(kafka.alerts(tuning)),
        "kubernetes.yaml": lambda tuning: rule_file(kubernetes.alerts(tuning)),
    }
)


def _runbooks() -> str:
    """The list of all alerts, each with its page."""
    lines = ["# Alerts, and what to do", "", "Made by `make generate` from helm/sources/convnet_charts/rules.", ""]
    tuning = Tuning()
    every = (*slo.groups(tuning), *service.alerts(tuning), quality.alerts(tuning), kafka.alerts(tuning), kubernetes.alerts(tuning))
    for severity, meaning in (("page", "somebody must look now"), ("ticket", "somebody must look within days")):
        found = {
            rule.name: rule.description for group in every for rule in group.rules if isinstance(rule, Alert) and rule.severity == severity
        }
        lines += [f"## {severity}: {meaning}", "", "| alert | what it means |", "|---|---|"]
        lines += [f"| [{name}]({name}.md) | {description} |" for name, description in sorted(found.items())] + [""]
    return "\n".join(lines)


# Path below the repository's root -> what makes its text.
FILES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {f"{FOLDER}/{name}": partial(maker, Tuning()) for name, maker in _MAKERS.items()} | {"docs/runbooks/README.md": _runbooks}
)


def filled_in(text: str, values: Mapping[str, str] = LOCAL) -> str:
    """A rule file or dashboard with the placeholders replaced."""
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def write_rules(folder: Path, tuning: Tuning | None = None, values: Mapping[str, str] = LOCAL) -> list[Path]:
    """Write all rule files into a folder, filled in; returns their paths.

    Args:
        folder: made when missing.
        tuning: other numbers than production's.
        values: what the placeholders stand for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, maker in _MAKERS.items():
        path = folder / name
        path.write_text(filled_in(maker(tuning or Tuning()), values), encoding="utf-8")
        written.append(path)
    return written


def main() -> int:
    """Write the rules into the folder that is named, for a Prometheus on this machine."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.stderr.write("say where to: make rules RULES=FOLDER\n")
        return 2
    for each in write_rules(Path(sys.argv[1])):
        sys.stdout.write(f"written: {each}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
