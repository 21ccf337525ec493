"""Panels and alerts that read what only a cluster's exporters say, on a real kube-state-metrics, real kubelets and a real Prometheus.

What they said, as far as it is read, is written to build/kubernetes.prom: tests/monitoring/recorded/kubernetes.prom is such a file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from convnet_charts.rules.files import write_rules
from convnet_charts.rules.tuning import Tuning
from support.cluster_exporters import ClusterExporters, as_recorded
from support.dashboards import Panel, boards, panels, ready
from support.exposition import Exposition
from support.kubernetes import Namespace, pod
from support.prometheus import Prometheus
from support.release import Release
from support.tools import missing
from support.waiting import until

# It waits for minutes until exporters have looked, and wants a program that no package brings.
pytestmark = pytest.mark.long

RECORDED = Path(__file__).parents[2] / "build" / "kubernetes.prom"
# As Strimzi names the claim of a broker.
CLAIM = "data-0-convnet-broker-0"
SCRAPE_S = 5.0
# cAdvisor looks every 10 to 15 s, a kubelet at its volumes once a minute.
SEEN_S = 120.0
VOLUMES_S = 150.0
# A rate is taken over so much: some looks of cAdvisor.
INTERVAL = "45s"
PANELS = [panel for name, content in boards().items() for panel in panels(name, content) if panel.needs_kubernetes]


@dataclass
class Watched:
    """A release whose cluster is scraped.

    Attributes:
        namespace: of the release.
        exporters: of the cluster.
        prometheus: reads them, with the alerts on what they say.
        rules: these alerts' expressions.
        began: unix time of the first scrape.
    """

    namespace: Namespace
    exporters: ClusterExporters
    prometheus: Prometheus
    rules: list[str]
    began: float


@pytest.fixture(scope="module")
def watched(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder, namespace = tmp_path_factory.mktemp("exporters"), release.namespace
    with ClusterExporters(namespace, folder / "kube-state-metrics.log") as exporters, Exposition(exporters.text) as exposition:
        measured_volume(release, exporters)
        write_rules(folder / "rules", Tuning())
        config = folder / "prometheus.yaml"
        config.write_text(
            f"global: {{scrape_interval: {SCRAPE_S:g}s, scrape_timeout: {SCRAPE_S:g}s, evaluation_interval: {SCRAPE_S:g}s}}\n"
            'rule_files: ["rules/kubernetes.yaml"]\n'
            "scrape_configs:\n"
            f'  - {{job_name: cluster, honor_labels: true, static_configs: [{{targets: ["{exposition.address}"]}}]}}\n'
        )
        rules = [
            rule["expr"]
            for group in yaml.safe_load((folder / "rules" / "kubernetes.yaml").read_text())["groups"]
            for rule in group["rules"]
        ]
        with Prometheus(config) as prometheus:
            until(lambda: prometheus.targets_up() == 1, 60, "the cluster was scraped")
            began = time.time()
            parts = {name for component in ("server", "classifier") for name in release.pods(component)}
            until(lambda: parts <= busy(prometheus, namespace.name), SEEN_S, f"cAdvisor has looked at {parts} twice")
            yield Watched(namespace, exporters, prometheus, rules, began)


def busy(prometheus: Prometheus, namespace: str) -> set[str]:
    """Pods whose use of processors is known as a rate."""
    rate = f'sum by (pod) (rate(container_cpu_usage_seconds_total{{namespace="{namespace}"}}[{INTERVAL}]))'
    return {series.labels.get("pod", "") for series in prometheus.now(rate)}


def measured_volume(release: Release, exporters: ClusterExporters) -> None:
    """A claim that a kubelet measures, named as a broker's; kubelets do not measure directories of the node (hostPath)."""
    namespace = release.namespace
    if f"data-{release.name}-kafka-0" in exporters.volumes():
        return
    claimed = namespace.get("persistentvolumeclaim", f"data-{release.name}-kafka-0")
    source = namespace.get("persistentvolume", claimed["spec"]["volumeName"])["spec"]
    if "hostPath" not in source:
        missing("this cluster has no volumes whose use its kubelets tell")
    (node,) = [each["metadata"]["name"] for each in namespace.all("nodes")]
    # The same directory as a volume of the kind `local`, of which the kubelet tells what is free.
    volume = f"{namespace.name}-measured"
    size, modes = {"storage": "1Gi"}, ["ReadWriteOnce", "ReadOnlyMany"]
    where = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": size,
                "accessModes": modes,
                "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Delete",
                "local": {"path": source["hostPath"]["path"]},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [where]}]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM},
            "spec": {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": volume, "resources": {"requests": size}},
        },
        pod("measured", release.image("client"), ["sleep", "900"], claims={"/measured": f"{CLAIM}:ro"}),
    )
    namespace.until(lambda: CLAIM in exporters.volumes(), VOLUMES_S, f"the kubelet tells what is free of {CLAIM}")
    namespace.kubectl("delete", "persistentvolume", volume, "--wait=false")  # goes with its claim


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel.board}: {panel.title}")
def test_every_query_of_a_panel_that_reads_the_cluster_returns_data(watched: Watched, panel: Panel) -> None:
    namespace = watched.namespace.name
    for expr, legend in panel.queries:
        query = ready(expr, interval=INTERVAL, namespace=namespace)
        found = [series for series in watched.prometheus.over(query, watched.began, time.time(), SCRAPE_S) if series.points]
        assert found, query
        for name in set(legend.split("{{")[1:]):
            assert all(name.split("}}")[0] in series.labels for series in found), f"{legend} names no label of {query}"
        if "persistentvolumeclaim" not in legend:
            told = {label for series in found for label in series.labels.values()}
            assert any("-server" in label for label in told), query
            assert any("-classifier" in label for label in told), query


def test_what_pods_use_is_counted_once(watched: Watched) -> None:
    """cAdvisor tells the use of a pod as a whole beside that of its containers: whoever adds both up doubles it."""
    (memory,) = [panel for panel in PANELS if panel.title == "Memory of the limit"]
    query = ready(memory.queries[0][0], interval=INTERVAL, namespace=watched.namespace.name)
    for series in watched.prometheus.now(query):
        whole = watched.prometheus.value(
            f'container_memory_working_set_bytes{{namespace="{watched.namespace.name}",pod="{series.labels["pod"]}",container=""}}'
        )
        limit = watched.prometheus.value(
            f'kube_pod_container_resource_limits{{namespace="{watched.namespace.name}",pod="{series.labels["pod"]}",resource="memory"}}'
        )
        assert 0 < series.points[-1][1] * limit <= whole * 1.05


def test_alerts_read_what_is_there_and_are_silent(watched: Watched) -> None:
    rules = watched.prometheus.rules()
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    assert len(rules) == len(watched.rules)
    for name in names_in(watched.rules):
        assert watched.prometheus.value(f'count({name}{{namespace="{watched.namespace.name}"}})') > 0, name
    assert not watched.prometheus.firing() - {"ConvnetKafkaDiskFills"}, "the disk of a small machine may be full"


def test_what_was_said_is_written_down(watched: Watched) -> None:
    names = names_in(watched.rules) | names_in([expr for panel in PANELS for expr, _ in panel.queries])
    told = "".join(f"{line}\n" for line in watched.exporters.text().splitlines() if 'pod="measured"' not in line)
    text = as_recorded(told, watched.namespace.name, names)
    assert {re.split(r"[ {]", line, maxsplit=1)[0] for line in text.splitlines() if not line.startswith("#")} == names
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(text)


def names_in(queries: list[str]) -> set[str]:
    """Series of the cluster's exporters that queries read."""
    return {name for query in queries for name in re.findall(r"\b(?:kube|container|kubelet)_\w+", query)}
