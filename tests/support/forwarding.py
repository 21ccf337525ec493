"""A way to a release's servers that every cluster has: `kubectl port-forward`, to one pod, for as long as it is wanted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from convnet_kafka.local.process import free_ports
from support.camera import status_of
from support.kubernetes import HOW_KUBECTL
from support.release import Release
from support.tools import required


@contextmanager
def forwarded(release: Release, component: str = "server", port: int = 8080) -> Iterator[str]:
    """The URL of one ready pod of a part."""
    (local,) = free_ports(1)
    name = release.pods(component)[0]
    command = [
        str(required("kubectl", HOW_KUBECTL)),
        "--namespace",
        release.namespace.name,
        "port-forward",
        f"pod/{name}",
        f"{local}:{port}",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{local}"
            release.namespace.until(lambda: status_of(f"{url}/healthz") == 200, 30, f"the way to pod {name}")
            yield url
        finally:
            process.terminate()
