"""Rules as data, and the text of a rule file. Knows the format of Prometheus' rule files, and no metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import yaml

from convnet_charts.promql import NAMESPACE, RELEASE, RUNBOOKS

# Somebody must look now; somebody must look within days.
Severity = Literal["page", "ticket"]
_LINE_LENGTH = 140


@dataclass(frozen=True, slots=True)
class Recording:
    """A query whose result is kept as a series.

    Attributes:
        record: its name, `level:what:how`.
        expr: PromQL.
    """

    record: str
    expr: str

    def entry(self) -> dict[str, object]:
        """As it stands in a rule file."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that somebody is told of.

    Attributes:
        name: in CamelCase; docs/runbooks has a page of this name.
        expr: PromQL; each series of its result is an alert.
        wait: how long it must hold, as Prometheus writes durations; empty fires at once.
        severity: how soon somebody must look.
        summary: one line with the facts; may use Prometheus' templates.
        description: what it means for those who use the service, and the first thing to look at.
        labels: added to the alert's.
    """

    name: str
    expr: str
    wait: str
    severity: Severity
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def entry(self) -> dict[str, object]:
        """As it stands in a rule file."""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": self.wait} if self.wait else {}),
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other.

    Attributes:
        name: what they are about; the release's name is put before it, which keeps it apart from another's.
        rules: in order; a rule may read what one before it recorded.
        interval: between evaluations; empty takes Prometheus' own.
    """

    name: str
    rules: tuple[Recording | Alert, ...]
    interval: str = ""

    def entry(self) -> dict[str, object]:
        """As it stands in a rule file."""
        return {
            "name": f"convnet-{NAMESPACE}-{RELEASE}-{self.name}",
            **({"interval": self.interval} if self.interval else {}),
            "rules": [rule.entry() for rule in self.rules],
        }


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block, which people can read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def rule_file(*groups: Group) -> str:
    """The text of a rule file."""
    entries = {"groups": [group.entry() for group in groups]}
    text = yaml.dump(entries, Dumper=_Dumper, sort_keys=False, width=_LINE_LENGTH, allow_unicode=True)
    return f"# Made by `make generate` from helm/sources/convnet_charts/rules; the chart fills in __what stands so__.\n{text}"
