"""Every alert is made to fire by doing the thing (troubles.py), is seen in a real Prometheus, and is over when it is mended.

An hour is a minute here. What only a cluster's exporters know is measured in their place: Kafka's disk by the broker's own data, replicas
and restarts by the processes that really run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet.registry import Registry
from monitoring.rule_cases import CASES
from monitoring.troubles import BY_WEEKS, MINUTES, SCRAPE_S, TROUBLES, WEEKS, Trouble
from support.alert_watch import AlertWatch, name_of
from support.arena import Arena
from support.exposition import Exposition
from support.measured_cluster import MeasuredCluster
from support.watched_stack import WatchedStack, same_versions

# What looks back an hour at a count that rose is over a minute after it.
OVER_S = 180
# The longest windows that look back at what was bad are six hours, and must have been bad for three.
ALL_OVER_S = 700


def test_there_is_a_trouble_for_each_alert() -> None:
    alerts = [alert.partition(" ")[0] for trouble in TROUBLES.values() for alert in trouble.alerts]
    assert sorted(alerts) == sorted(CASES)


@pytest.fixture(scope="module")
def arena(digits: DigitsFolders, digits_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "breakable").mkdir()
    registry = same_versions(digits_models, folder / "models", 2)
    cluster = MeasuredCluster(folder / "data" / "broker")
    environment = {
        "CONVNET_CLASSIFIER_BACKEND": "support.breakable_backend:load",
        "BREAKABLE": str(folder / "breakable"),
        "CONVNET_CLASSIFIER_DEAD_LETTERS_SHARE": "0",
        "CONVNET_SERVER_DELIVERY_TIMEOUT_S": "4",
        "CONVNET_SERVER_BACKLOG_LOOK_S": "0.5",
        # A backlog is to grow, not to be refused.
        "CONVNET_SERVER_BULK_DRAIN_LIMIT_S": "0",
    }
    with (
        Exposition(cluster.text) as exporters,
        WatchedStack(folder, registry.folder, [MINUTES, WEEKS], environment, [exporters.address], scrape_s=SCRAPE_S) as stack,
    ):
        cluster.classifiers = stack.classifiers
        yield Arena(stack, cluster, registry, folder, sorted(digits.test.rglob("*.png")), Registry(digits_models))


@pytest.fixture(scope="module")
def watch(arena: Arena) -> Iterator[AlertWatch]:
    def firing() -> set[str]:
        minutes, weeks = ({name_of(alert) for alert in each.alerts() if alert["state"] == "firing"} for each in arena.stack.prometheuses)
        return (minutes - BY_WEEKS) | (weeks & BY_WEEKS)

    with AlertWatch(firing) as watching:
        yield watching


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_an_alert_fires_by_its_trouble_and_is_over_when_that_is_mended(arena: Arena, watch: AlertWatch, trouble: Trouble) -> None:
    watch.begin(trouble.alerts, OVER_S)
    with arena.traffic() if trouble.traffic else nullcontext():
        began = time.monotonic()
        with trouble.happens(arena):
            fired = watch.fires(trouble.alerts, trouble.within_s)
        mended = time.monotonic()
        watch.over(trouble.alerts, OVER_S)
    after = ", ".join(f"{alert} fired after {at - began:.0f} s" for alert, at in fired.items())
    print(f"{after}; over {time.monotonic() - mended:.0f} s after it was mended")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_alert_is_left_in_the_end(arena: Arena, watch: AlertWatch) -> None:
    with arena.traffic():
        began = time.monotonic()
        watch.none(ALL_OVER_S)
    print(f"all over {time.monotonic() - began:.0f} s after the last trouble")
