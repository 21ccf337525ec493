"""What pods may not do: write where they only read, talk to whom they need not, be reached by strangers, hold rights."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.kubernetes import CommandFailed, Namespace, finished, pod
from support.release import Release

PARTS = ["server", "classifier", "kafka"]

# Which of these addresses take a connection within two seconds.
_CONNECT = """
import json, socket, sys
def reached(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 2).close()
        return True
    except OSError:
        return False
print(json.dumps({address: reached(address) for address in sys.argv[1:]}))
"""


def connections(namespace: Namespace, image: str, labels: dict[str, str], *addresses: str) -> dict[str, bool]:
    """Which addresses a new pod with these labels reaches."""
    printed = finished(namespace, pod("caller", image, ["python", "-c", _CONNECT, *addresses], labels=labels))
    found: dict[str, bool] = json.loads(printed)
    return found


def addresses_of(release: Release) -> list[str]:
    """Of everything that listens in a release: Services, and pods whose port no Service leads to."""
    host = f"{release.namespace.name}.svc.cluster.local"
    (classifier,) = release.namespace.all("pods", release.labels("classifier"))
    return [f"{release.name}-server.{host}:80", f"{release.name}-kafka.{host}:9092", f"{classifier['status']['podIP']}:8081"]


def test_a_stranger_in_the_same_namespace_or_another_reaches_nothing(release: Release, namespace: Namespace) -> None:
    everything = addresses_of(release)
    for where in (release.namespace, namespace):
        assert connections(where, release.image("server"), {"app": "stranger"}, *everything) == dict.fromkeys(everything, False)


def test_the_releases_own_client_reaches_the_servers_and_nothing_else(release: Release) -> None:
    labels = {"app.kubernetes.io/name": "convnet-kafka", **release.labels("client")}
    server, kafka, classifier = addresses_of(release)
    found = connections(release.namespace, release.image("server"), labels, server, kafka, classifier)
    assert found == {server: True, kafka: False, classifier: False}


def test_classifiers_cannot_write_to_the_models(release: Release) -> None:
    (name,) = release.pods("classifier")
    with pytest.raises(CommandFailed, match="Read-only file system"):
        release.namespace.execute(name, "python", "-c", "open('/models/mine', 'w')")


@pytest.mark.parametrize("part", PARTS)
def test_a_pod_runs_as_nobody_special_on_a_root_that_it_cannot_write_to(release: Release, part: str) -> None:
    name = release.pods(part)[0]
    assert release.namespace.execute(name, "python", "-c", "import os; print(os.getuid(), os.getgid())").split() == ["10001", "10001"]
    look = "import pathlib; print([line.split()[1] for line in pathlib.Path('/proc/1/status').read_text().splitlines() if 'Cap' in line])"
    assert set(json.loads(release.namespace.execute(name, "python", "-c", look).replace("'", '"'))) == {"0" * 16}
    with pytest.raises(CommandFailed, match="Read-only file system"):
        release.namespace.execute(name, "python", "-c", "open('/opt/convnet-kafka/mine', 'w')")
    with pytest.raises(CommandFailed, match="No such file"):
        release.namespace.execute(name, "python", "-c", "open('/var/run/secrets/kubernetes.io/serviceaccount/token')")


def test_every_pod_of_ours_passes_the_restricted_standard(release: Release) -> None:
    """Pods that did not would not be there; warnings would be about what a later Kubernetes refuses."""
    meta: dict[str, Any] = json.loads(release.namespace.kubectl("get", "namespace", release.namespace.name, "--output", "json"))["metadata"]
    assert meta["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert "violat" not in release.namespace.events()
