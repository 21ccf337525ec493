"""Pages of metrics become figures: sums, what was gained although a process began anew, and quantiles as Prometheus has them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from convnet_kafka.diagnosis.top.samples import Samples, added, mean, quantile

PAGE = b"""# HELP a_total x
# TYPE a_total counter
a_total{lane="bulk",result="labelled"} 5.0
a_total{lane="fast",result="labelled"} 2.0
a_total{lane="bulk",result="und\\"ecodable"} 1.0
other_total 7.0
b 1e3
"""


def test_series_are_summed_by_labels() -> None:
    samples = Samples.parse(PAGE, ["a_", "b"])
    assert samples.total("a_total") == 8
    assert samples.total("a_total", lane="bulk") == 6
    assert samples.by("a_total", "result", lane="bulk") == {"labelled": 5, 'und"ecodable': 1}
    assert samples.highest("a_total", lane="fast") == 2
    assert samples.highest("a_total", lane="none") is None
    assert samples.total("b") == 1000
    assert samples.total("other_total") == 0
    with pytest.raises(ValueError, match="could not convert"):
        Samples.parse(b"a_total{ nonsense\n", ["a_"])


def test_a_counter_that_began_anew_has_gained_what_it_says_now() -> None:
    before, after = (Samples.parse(f'a_total{{x="1"}} {one}\na_total{{x="2"}} {two}\n'.encode(), ["a"]) for one, two in ((100, 5), (3, 9)))
    gained = after.since(before)
    assert gained.by("a_total", "x") == {"1": 3, "2": 4}
    assert added([gained, gained]).total("a_total") == 14


def test_quantiles_are_linear_within_their_bucket() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("wait_seconds", "x", ["lane"], buckets=(0.1, 1, 10), registry=registry)
    Counter("a", "x", registry=registry).inc()
    empty = Samples.parse(generate_latest(registry), ["wait_"])
    assert quantile(empty, "wait_seconds", 0.5) is None
    assert mean(empty, "wait_seconds") is None
    for _ in range(10):
        seconds.labels("bulk").observe(0.05)
        seconds.labels("bulk").observe(5)
    seconds.labels("fast").observe(100)
    gained = Samples.parse(generate_latest(registry), ["wait_"]).since(empty)
    assert quantile(gained, "wait_seconds", 0.25, lane="bulk") == pytest.approx(0.05)
    assert quantile(gained, "wait_seconds", 0.75, lane="bulk") == pytest.approx(5.5)
    assert quantile(gained, "wait_seconds", 0.5, lane="fast") == 10  # past the last bound nobody knows
    assert mean(gained, "wait_seconds", lane="bulk") == pytest.approx(2.525)
