"""Values about what surrounds the parts: network policies, monitoring and tracing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from convnet_charts.values.base import KubernetesObjects, Values, Words


def _namespace(name: str) -> list[dict[str, Any]]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]


class NetworkPolicy(Values):
    """Who may talk to whom: nobody, but what is needed. Lists below are peers as NetworkPolicy has them (`from`, `to`)."""

    enabled: bool = True
    """Make policies. A cluster whose network does not enforce them takes no notice."""
    ingress_from: KubernetesObjects = Field(default_factory=list)
    """Who may call the servers beside the release's own client: your ingress controller or gateway, other namespaces."""
    metrics_from: KubernetesObjects = Field(default_factory=lambda: _namespace("monitoring"))
    """Who may scrape metrics."""
    keda_from: KubernetesObjects = Field(default_factory=lambda: _namespace("keda"))
    """Where KEDA runs; it asks the trial broker what waits."""
    kafka_from: KubernetesObjects = Field(default_factory=list)
    """Who may use the trial broker beside this release: another release with topics of its own on it, for example."""
    kafka_to: KubernetesObjects = Field(default_factory=list)
    """Where `kafka.bootstrapServers` are; empty: anywhere, on their ports."""
    dns_to: KubernetesObjects = Field(
        default_factory=lambda: [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ]
    )
    """Who answers names, on port 53. With NodeLocal DNSCache add `{ipBlock: {cidr: 169.254.20.10/32}}`."""
    archive_to: KubernetesObjects = Field(default_factory=list)
    """Where `trainer.data.archive.url` leads; empty: anywhere, on its port."""
    collector_to: KubernetesObjects = Field(default_factory=list)
    """Where `tracing.endpoint` leads; empty: anywhere, on its port."""
    extra_egress: KubernetesObjects = Field(default_factory=list)
    """Further egress rules of servers and classifiers, as NetworkPolicy has them."""


class PodMonitor(Values):
    """How the Prometheus operator finds the pods."""

    enabled: bool = False
    """Make PodMonitors."""
    labels: Words = Field(default_factory=dict)
    """Labels that your Prometheus selects, for example `{release: kube-prometheus-stack}`."""
    interval: str = "30s"
    """Time between scrapes."""


class PrometheusRule(Values):
    """Alerts and recording rules."""

    enabled: bool = False
    """Make a PrometheusRule of each file in rules/."""
    kubernetes: bool = True
    """Those too that need the kubelet's metrics and kube-state-metrics."""
    labels: Words = Field(default_factory=dict)
    """Labels that your Prometheus selects."""


class Dashboards(Values):
    """Grafana's dashboards."""

    enabled: bool = False
    """Make a ConfigMap of each file in dashboards/, which Grafana's sidecar loads."""
    labels: Words = Field(default_factory=lambda: {"grafana_dashboard": "1"})
    """Labels that the sidecar looks for."""
    annotations: Words = Field(default_factory=dict)
    """For example the folder: `{grafana_folder: convnet-kafka}`."""
    namespace: str = ""
    """Where the sidecar looks; empty: the release's namespace."""


class Tracing(Values):
    """Traces of single images by OpenTelemetry (docs/tracing.md)."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://[^/ ]+(/.*)?)?$")] = ""
    """Address of a collector that takes OTLP over HTTP: `http://collector.observability.svc:4318`. Empty: no traces."""
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Part of the calls that are traced, where the caller does not say."""
    images: Annotated[int, Field(ge=1)] = 16
    """Images of one traced upload that are traced one by one; after them one more each time their number doubles."""
    public_endpoint: bool | None = None
    """Callers are strangers, who may not have all of theirs recorded. Empty: so with an Ingress, an HTTPRoute or a public Service."""


class Monitoring(Values):
    """What Prometheus and Grafana get."""

    pod_monitor: PodMonitor = Field(default_factory=PodMonitor)
    """Scraping."""
    prometheus_rule: PrometheusRule = Field(default_factory=PrometheusRule)
    """Alerts."""
    dashboards: Dashboards = Field(default_factory=Dashboards)
    """Pictures."""
    runbooks: Annotated[str, Field(pattern=r"^\S*[^\s/]$")] = "docs/runbooks"
    """Where alerts and dashboards link to: the address of a copy of docs/runbooks that your people can read, without the last slash."""
