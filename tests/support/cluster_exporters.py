"""What a cluster's own exporters say of one release: the real kube-state-metrics, run by the test, and the kubelets of all nodes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from convnet_kafka.local.process import free_ports
from support.ending import end
from support.kubernetes import Namespace
from support.tools import required
from support.waiting import until

HOW = "https://github.com/kubernetes/kube-state-metrics, or `go build k8s.io/kube-state-metrics/v2` in a module that requires it"
_TIMEOUT_S = 20.0
_KUBELET = ("metrics", "metrics/cadvisor")


class ClusterExporters:
    """Answers for one namespace while entered.

    Args:
        namespace: where the release lies.
        log: what kube-state-metrics says.
    """

    def __init__(self, namespace: Namespace, log: Path) -> None:
        self._namespace = namespace
        self._log = log
        self._port, self._telemetry = free_ports(2)
        self._nodes: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = required("kube-state-metrics", HOW)
        self._nodes = [node["metadata"]["name"] for node in self._namespace.all("nodes")]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--kubeconfig={os.environ['KUBECONFIG']}",
                    f"--namespaces={self._namespace.name}",
                    "--resources=deployments,pods",
                    "--host=127.0.0.1",
                    f"--port={self._port}",
                    "--telemetry-host=127.0.0.1",
                    f"--telemetry-port={self._telemetry}",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(lambda: "kube_deployment_spec_replicas{" in self._objects(), 60, f"kube-state-metrics answers; its log is {self._log}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        end(self._process)

    def text(self) -> str:
        """As it is scraped: types, and the series of this namespace. Series of a node's or a pod's sums are among them."""
        told = [self._objects(), *(self._kubelet(node, path) for node in self._nodes for path in _KUBELET)]
        mine = f'namespace="{self._namespace.name}"'
        wanted = re.compile(r"^(# TYPE )?(kube_deployment|kube_pod_container|container_|kubelet_volume_stats)")
        kept = [line for line in "\n".join(told).splitlines() if wanted.match(line) and (line.startswith("#") or mine in line)]
        # The kubelet's own page and cAdvisor's name the same types.
        return "".join(f"{line}\n" for line in dict.fromkeys(kept))

    def volumes(self) -> set[str]:
        """Claims whose use a kubelet tells."""
        mine = rf'namespace="{self._namespace.name}",persistentvolumeclaim="([^"]+)"'
        told = "\n".join(self._kubelet(node, "metrics") for node in self._nodes)
        return set(re.findall(rf"kubelet_volume_stats_available_bytes\{{{mine}", told))

    def _objects(self) -> str:
        assert self._process is not None
        assert self._process.poll() is None, f"kube-state-metrics ended: {self._log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=_TIMEOUT_S) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def _kubelet(self, node: str, path: str) -> str:
        return self._namespace.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/{path}")


def as_recorded(text: str, namespace: str, names: set[str]) -> str:
    """The part of an exposition that a query may read, as a file for tests without a cluster: in the namespace `local`, times left out."""
    lines = []
    for line in text.splitlines():
        if re.split(r"[ {]", line.removeprefix("# TYPE "), maxsplit=1)[0] not in names:
            continue
        series, _, values = line.rpartition("}")
        labels = series.replace(json.dumps(namespace), json.dumps("local"))
        lines.append(f"{line}\n" if line.startswith("#") else f"{labels}}} {values.split()[0]}\n")
    return "".join(lines)
