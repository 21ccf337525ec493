"""What `convnet-kafka plan --helm-values` prints is what the charts take."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from convnet_kafka.cli.plan import command
from support import kafka_chart
from support.convnet_chart import CHART, STRIMZI

WISHES = {
    "little": ("--rate", "5"),
    "much": ("--rate", "2000", "--peak", "6000"),
    "photos on four brokers": ("--rate", "300", "--network", "efficientnet-lite0", "--brokers", "4"),
    "one broker": ("--rate", "20", "--brokers", "1", "--replication-factor", "1"),
}


def planned(chart: str, wishes: tuple[str, ...]) -> dict[str, Any]:
    done = CliRunner().invoke(command, [*wishes, "--helm-values", chart], catch_exceptions=False)
    values: dict[str, Any] = yaml.safe_load(done.stdout)
    return values


@pytest.mark.parametrize("wishes", WISHES.values(), ids=WISHES)
def test_the_kafka_chart_takes_its_values(wishes: tuple[str, ...]) -> None:
    values = planned("kafka", wishes)
    pool = kafka_chart.CHART.render(values).one("KafkaNodePool", "brokers")["spec"]
    assert pool["storage"]["volumes"][0]["size"] == values["brokers"]["storage"]["size"]
    # The heap leaves room for the page cache.
    assert int(pool["jvmOptions"]["-Xmx"].removesuffix("m")) < int(pool["resources"]["limits"]["memory"].removesuffix("Mi"))


@pytest.mark.parametrize("wishes", WISHES.values(), ids=WISHES)
def test_the_other_chart_takes_its_values(wishes: tuple[str, ...]) -> None:
    values = planned("convnet-kafka", wishes)
    rendered = CHART.render({**values, **STRIMZI})
    assert rendered.one("KafkaTopic", "convnet-images")["spec"]["partitions"] == values["topics"]["imagesPartitions"]
    assert rendered.one("Deployment", "convnet-classifier")["spec"].get("replicas") == values["classifier"].get("replicas")
