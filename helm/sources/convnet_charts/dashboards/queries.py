"""The PromQL of panels: whose series a dashboard shows, and the few shapes that most queries have."""

from __future__ import annotations

from dataclasses import dataclass

from convnet_charts.promql import Scope

# What the variables at the top of a dashboard select. `$pod` narrows what is said of single processes.
RELEASE = Scope('namespace=~"$namespace", release=~"$release"')
PODS = Scope('namespace=~"$namespace", release=~"$release", pod=~"$pod"')
BROKERS = Scope('namespace=~"$namespace", release=~"$kafka", component="kafka"')
IN_NAMESPACE = Scope('namespace=~"$namespace"')

INTERVAL = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Query:
    """One line, or several, of a panel.

    Attributes:
        expr: PromQL.
        legend: name of each line, with labels in double braces.
    """

    expr: str
    legend: str


def rate(metric: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> str:
    """What a counter rises by in a second, summed by labels."""
    return f"sum{_by(labels)} (rate({scope(metric, **matchers)}[{INTERVAL}]))"


def rise(metric: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> str:
    """How often something happened within each step, summed by labels."""
    return f"sum{_by(labels)} (increase({scope(metric, **matchers)}[{INTERVAL}]))"


def total(metric: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> str:
    """A gauge, summed by labels."""
    return f"sum{_by(labels)} ({scope(metric, **matchers)})"


def largest(metric: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> str:
    """The largest of a gauge, by labels: for what several processes say of the same thing."""
    return f"max{_by(labels)} ({scope(metric, **matchers)})"


def largest_rate(metric: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> str:
    """The largest of what counters rise by in a second, by labels."""
    return f"max{_by(labels)} (rate({scope(metric, **matchers)}[{INTERVAL}]))"


def quantile(share: float, histogram: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> str:
    """A quantile of a histogram."""
    buckets = rate(f"{histogram}_bucket", "le", *labels, scope=scope, **matchers)
    return f"histogram_quantile({share}, {buckets})"


def mean(histogram: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> str:
    """The mean of what a histogram observed."""
    return f"{rate(f'{histogram}_sum', *labels, scope=scope, **matchers)} / {rate(f'{histogram}_count', *labels, scope=scope, **matchers)}"


def quantiles(histogram: str, *labels: str, scope: Scope = RELEASE, **matchers: str) -> tuple[Query, Query]:
    """The median and the 99th percentile, by labels."""
    names = " ".join(f"{{{{{label}}}}}" for label in labels)
    return (
        Query(quantile(0.5, histogram, *labels, scope=scope, **matchers), f"{names} p50".strip()),
        Query(quantile(0.99, histogram, *labels, scope=scope, **matchers), f"{names} p99".strip()),
    )


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
