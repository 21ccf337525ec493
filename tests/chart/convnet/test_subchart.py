"""The chart as a part of another: its own names, its own values, and the other's `global`."""

from __future__ import annotations

import shutil

import pytest
import yaml

from support.charts import Chart, conforming
from support.convnet_chart import CHART, EVERYTHING, TRIAL, Values, container, env, over


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """A chart that has ours twice, once under another name."""
    folder = tmp_path_factory.mktemp("parent") / "vision"
    for name in ("convnet-kafka", "second"):
        shutil.copytree(CHART.folder, folder / "charts" / name)
    card = yaml.safe_load((CHART.folder / "Chart.yaml").read_text("utf-8"))
    (folder / "charts" / "second" / "Chart.yaml").write_text(yaml.safe_dump(card | {"name": "second"}))
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "vision", "version": "1.0.0"}))
    return Chart(str(folder))


@pytest.mark.parametrize("values", [TRIAL, EVERYTHING])
def test_its_objects_are_named_for_both_and_nothing_is_said_that_was_empty(parent: Chart, values: Values) -> None:
    rendered = parent.render({"convnet-kafka": values, "second": TRIAL, "global": {"imageRegistry": "registry.example.org"}})
    assert {each["metadata"]["name"] for each in rendered.objects if not each["metadata"]["name"].startswith("convnet-")} == set()
    assert len(rendered.names()) == len(rendered.objects)
    for name in ("convnet-convnet-kafka", "convnet-second"):
        classifier = rendered.one("Deployment", f"{name}-classifier")
        assert "replicas" not in classifier["spec"]
        assert env(container(classifier))["KAFKA_TOPIC_PREFIX"] == name
        assert not [each for each in env(container(classifier)) if each.startswith("CONVNET_CLASSIFIER_MAX")]
    conforming(rendered.text)


def test_its_values_are_checked_there_too(parent: Chart) -> None:
    assert "replica" in parent.refusal({"convnet-kafka": over(TRIAL, server={"replica": 2}), "second": TRIAL})
