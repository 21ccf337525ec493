"""What Prometheus and Grafana get: the right pods, labels that dashboards count on, and files that arrive whole."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from support.charts import Chart, conforming
from support.convnet_chart import CHART, STRIMZI, TRIAL, container, over

MONITORED = over(TRIAL, monitoring={"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}})
RULES = """
groups:
  - name: example
    rules:
      - alert: ConvnetExample
        expr: sum(rate(x_total{namespace="__namespace__",release="__release__",kafka="__kafka__"}[5m])) > 0
        annotations:
          summary: 'pod {{ $labels.pod }} has {{ printf "%.0f" $value }}'
"""
DASHBOARD = {"uid": "convnet-example", "title": "{{ not for Helm }}", "panels": [{"legendFormat": "{{pod}}"}]}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """The chart with files of ours in place of those that come along."""
    folder = tmp_path_factory.mktemp("chart") / "convnet-kafka"
    shutil.copytree(CHART.folder, folder)
    for name in ("rules", "dashboards"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    for name in ("alerts", "kubernetes"):
        (folder / "rules" / f"{name}.yaml").write_text(RULES)
    (folder / "dashboards" / "example.json").write_text(json.dumps(DASHBOARD))
    return Chart(str(folder))


def test_every_part_that_has_metrics_is_scraped_on_its_own_port() -> None:
    rendered = CHART.render(over(MONITORED, monitoring__podMonitor={"enabled": True, "labels": {"release": "prom"}, "interval": "7s"}))
    monitors = rendered.all("PodMonitor")
    assert {each["metadata"]["name"] for each in monitors} == {"convnet-server", "convnet-classifier"}
    for monitor in monitors:
        assert monitor["metadata"]["labels"]["release"] == "prom"
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        ports = container(rendered.one("Deployment", monitor["metadata"]["name"]))["ports"]
        assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == (ports[0]["name"], "/metrics", "7s")
        # What dashboards and alerts select by; namespace and pod the operator adds itself.
        assert {each["targetLabel"] for each in endpoint["relabelings"]} == {"release", "component"}


def test_rules_are_about_this_release_and_keep_what_prometheus_fills_in(chart: Chart) -> None:
    rendered = chart.render(over(MONITORED, monitoring__prometheusRule={"enabled": True, "labels": {"team": "vision"}}))
    assert {each["metadata"]["name"] for each in rendered.all("PrometheusRule")} == {"convnet-alerts", "convnet-kubernetes"}
    rule = rendered.one("PrometheusRule", "convnet-alerts")
    assert rule["metadata"]["labels"]["team"] == "vision"
    wanted = yaml.safe_load(RULES.replace("__namespace__", "vision").replace("__release__", "convnet").replace("__kafka__", "convnet"))
    assert rule["spec"] == wanted
    conforming(rendered.text)


def test_rules_about_kafka_are_about_the_cluster_that_is_used(chart: Chart) -> None:
    rendered = chart.render(over(STRIMZI, monitoring__prometheusRule={"enabled": True}))
    assert 'kafka="main"' in rendered.one("PrometheusRule", "convnet-alerts")["spec"]["groups"][0]["rules"][0]["expr"]


def test_rules_that_need_more_than_prometheus_can_be_left_out(chart: Chart) -> None:
    rendered = chart.render(over(MONITORED, monitoring__prometheusRule={"enabled": True, "kubernetes": False}))
    assert {each["metadata"]["name"] for each in rendered.all("PrometheusRule")} == {"convnet-alerts"}


def test_dashboards_arrive_whole_where_grafana_looks(chart: Chart) -> None:
    dashboards = {"enabled": True, "labels": {"found": "yes"}, "annotations": {"folder": "a"}, "namespace": "grafana"}
    found = chart.render(over(MONITORED, monitoring__dashboards=dashboards)).one("ConfigMap", "convnet-example")
    assert json.loads(found["data"]["example.json"]) == DASHBOARD
    assert found["metadata"]["namespace"] == "grafana"
    assert found["metadata"]["labels"]["found"] == "yes"
    assert found["metadata"]["annotations"] == {"folder": "a"}


def test_the_files_that_come_along_are_all_there() -> None:
    rendered = CHART.render(MONITORED)
    files = {
        f"{kind}/{path.stem}" for kind, folder in (("ConfigMap", "dashboards"), ("PrometheusRule", "rules")) for path in _files(folder)
    }
    made = {f"{each['kind']}/{each['metadata']['name'].removeprefix('convnet-')}" for each in rendered.all("PrometheusRule")}
    made |= {f"ConfigMap/{Path(next(iter(each['data']))).stem}" for each in rendered.all("ConfigMap", component="monitoring")}
    assert made == files


def _files(folder: str) -> list[Path]:
    return sorted(path for path in (CHART.folder / folder).glob("*") if path.is_file())


def test_nothing_is_monitored_unless_you_say_so() -> None:
    assert not {"PodMonitor", "PrometheusRule"} & CHART.render(TRIAL).kinds()
    assert CHART.render(TRIAL).all("ConfigMap", component="monitoring") == []


def test_what_rules_and_dashboards_leave_open_is_filled_in() -> None:
    rendered = CHART.render(over(MONITORED, monitoring__runbooks="https://runbooks.example/convnet"))
    text = json.dumps([*rendered.all("PrometheusRule"), *rendered.all("ConfigMap")])
    assert "https://runbooks.example/convnet/ConvnetNoConsumer.md" in text
    assert re.findall("__(?:namespace|release|kafka|runbooks)__", text) == []
