"""Alerts on what only Kubernetes knows: disks (kubelet), replicas and restarts (kube-state-metrics). A file apart, for clusters without."""

from __future__ import annotations

from convnet_charts.promql import KAFKA, RELEASE, WITHIN_NAMESPACE
from convnet_charts.rules.model import Alert, Group
from convnet_charts.rules.tuning import Tuning, number


def alerts(tuning: Tuning) -> Group:
    """The group of alerts on disks, replicas and restarts."""
    # Strimzi: data-0-<cluster>-<pool>-<n>; the charts' own broker: data-<release>-kafka-0.
    claims = f"data-(.+-)?{KAFKA}-.+"
    available = WITHIN_NAMESPACE("kubelet_volume_stats_available_bytes", persistentvolumeclaim__re=claims)
    capacity = WITHIN_NAMESPACE("kubelet_volume_stats_capacity_bytes", persistentvolumeclaim__re=claims)
    wanted = WITHIN_NAMESPACE("kube_deployment_spec_replicas", deployment__re=f"{RELEASE}-(server|classifier)")
    there = WITHIN_NAMESPACE("kube_deployment_status_replicas_available", deployment__re=f"{RELEASE}-(server|classifier)")
    restarts = WITHIN_NAMESPACE("kube_pod_container_status_restarts_total", pod__re=f"{RELEASE}-(server|classifier)-.+")
    return Group(
        "kubernetes",
        (
            Alert(
                "ConvnetKafkaDiskFills",
                f"predict_linear({available}[{tuning.window(tuning.disk_history)}], {number(tuning.disk_full_s)}) < 0"
                f" or {available} / {capacity} < {number(tuning.disk_free_ratio)}",
                tuning.wait("15m"),
                "page",
                "The disk {{ $labels.persistentvolumeclaim }} of Kafka is almost full, or will be within hours",
                "A broker whose disk is full stops, and with it uploads. Images are deleted by time alone, so it does not mend itself.",
            ),
            Alert(
                "ConvnetReplicasMissing",
                f"{wanted} - on (namespace, deployment) {there} > 0",
                tuning.wait("15m"),
                "ticket",
                "{{ $value }} replicas of {{ $labels.deployment }} are not available",
                "Pods cannot be scheduled, do not start or do not get ready. Those that are there carry the load.",
            ),
            Alert(
                "ConvnetPodRestarts",
                f"increase({restarts}[{tuning.window('30m')}]) > 3",
                "",
                "ticket",
                "{{ $labels.pod }} was restarted {{ $value | humanize }} times in half an hour",
                "It ends again and again: of its memory limit, its settings, or what it is fed.",
            ),
        ),
    )
