"""What only a cluster's exporters know, measured of the processes and the disk of a stack on this machine, under the cluster's names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from support.watched_stack import Pod

_DEPLOYMENT = '{namespace="local",deployment="convnet-classifier"}'
_VOLUME = '{namespace="local",persistentvolumeclaim="data-0-convnet-broker-0"}'


class MeasuredCluster:
    """Says what kube-state-metrics would of classifiers, and the kubelet of the broker's disk.

    Args:
        data: the broker's folder.

    Attributes:
        classifiers: those there are; nothing is said of them while there are none.
        capacity: bytes that the broker's disk is to have; nothing is said of it while 0.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self.classifiers: Sequence[Pod] = ()
        self.capacity = 0

    def used(self) -> int:
        """Bytes of Kafka's log segments."""
        total = 0
        for segment in self._data.rglob("*.log"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                total += segment.stat().st_size
        return total

    def text(self) -> str:
        """As it is scraped."""
        lines = []
        if self.capacity:
            lines.append(f"kubelet_volume_stats_capacity_bytes{_VOLUME} {self.capacity}")
            lines.append(f"kubelet_volume_stats_available_bytes{_VOLUME} {self.capacity - self.used()}")
        if self.classifiers:
            lines.append(f"kube_deployment_spec_replicas{_DEPLOYMENT} {len(self.classifiers)}")
            lines.append(f"kube_deployment_status_replicas_available{_DEPLOYMENT} {sum(pod.lives for pod in self.classifiers)}")
        for pod in self.classifiers:
            labels = f'{{namespace="local",pod="convnet-{pod.name}-0",container="classifier"}}'
            lines.append(f"kube_pod_container_status_restarts_total{labels} {max(pod.starts - 1, 0)}")
        return "".join(f"{line}\n" for line in lines)
