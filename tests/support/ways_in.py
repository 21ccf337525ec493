"""The ways into a cluster from outside: through the Gateway API, and through an Ingress.

What the cluster has is asked of it. Where it does not say where it answers, CONVNET_CLUSTER_ADDRESS does (`http://192.0.2.1`);
CONVNET_CLUSTER_INGRESS_NAMESPACE is where its controller runs, if not where the Gateway is.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from support.camera import status_of
from support.kubernetes import Namespace, Object, has_kind
from support.release import Release
from support.tools import missing

GATEWAY, INGRESS = "gateway", "ingress"


def lacking(what: str) -> None:
    """Skip the test by the name of what the cluster lacks; fail in CI, whose cluster has everything."""
    missing(f"this cluster has no {what}")


@dataclass(frozen=True, slots=True)
class Way:
    """One way in.

    Attributes:
        name: `gateway` or `ingress`.
        values: values of the chart that open it.
        gateway: the Gateway, where it is one.
    """

    name: str
    values: dict[str, Any]
    gateway: Object | None = None

    def closed(self) -> dict[str, Any]:
        """Values that close it again."""
        return {self.name: {"enabled": False}}

    def address(self, release: Release) -> str:
        """Where it answers, once it does."""
        url = os.environ.get("CONVNET_CLUSTER_ADDRESS") or f"http://{self._host(release)}"
        # /healthz is not public; a call without a key says that a server of ours answered.
        release.namespace.until(lambda: status_of(f"{url}/v1/models") == 401, 60, f"an answer of our servers at {url}")
        return url

    def _host(self, release: Release) -> str:
        if self.gateway is not None:
            addresses = self.gateway.get("status", {}).get("addresses", [])
        else:
            ingress = release.namespace.get("ingress", f"{release.name}-server")
            addresses = [{"value": each.get("ip") or each.get("hostname")} for each in ingress["status"]["loadBalancer"].get("ingress", [])]
        if not addresses:
            lacking(f"address for its {self.name}: set CONVNET_CLUSTER_ADDRESS")
        return str(addresses[0]["value"])


def gateway() -> Way:
    """The way in through the cluster's first Gateway."""
    found: list[Object] = []
    if has_kind("httproutes.gateway.networking.k8s.io"):
        found = json.loads(Namespace("default").kubectl("get", "gateways", "--all-namespaces", "--output", "json"))["items"]
    if not found:
        lacking("Gateway")
    meta = found[0]["metadata"]
    route = {"enabled": True, "parentRefs": [{"name": meta["name"], "namespace": meta["namespace"]}]}
    return Way(GATEWAY, {GATEWAY: route, **_let_in(meta["namespace"])}, found[0])


def ingress() -> Way:
    """The way in through the cluster's default IngressClass."""
    classes = Namespace("default").all("ingressclasses")
    if not classes:
        lacking("IngressClass")
    controller = "traefik" if "traefik" in classes[0]["spec"]["controller"] else "other"
    return Way(INGRESS, {INGRESS: {"enabled": True, "controller": controller}, **_let_in("kube-system")})


def _let_in(namespace: str) -> dict[str, Any]:
    name = os.environ.get("CONVNET_CLUSTER_INGRESS_NAMESPACE", namespace)
    return {"networkPolicy": {"ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]}}
