"""A Kubernetes cluster as tests use it: through kubectl alone, so that any cluster of KUBECONFIG will do.

Owns no objects: what a test makes lies in a namespace of its own (`tests/cluster/conftest.py`), which goes with it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from support.tools import required
from support.waiting import until

Object = dict[str, Any]

HOW_KUBECTL = "https://kubernetes.io/docs/tasks/tools"
# kubectl itself takes a tenth of a second; longer steps are given their own time.
CALL_S = 60.0
# Between two looks at the cluster.
LOOK_S = 0.5
# What a namespace that admits only pods without rights says (Pod Security Standard).
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


class CommandFailed(AssertionError):
    """A command that had to work did not."""


def run(*command: str, stdin: str | None = None, timeout_s: float = CALL_S, check: bool = True) -> str:
    """What a command prints.

    Raises:
        CommandFailed: it ended with another code than 0; with its words.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout if check else done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace.

    Attributes:
        name: its name.
    """

    name: str

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = CALL_S, check: bool = True) -> str:
        """What kubectl prints, in this namespace."""
        program = str(required("kubectl", HOW_KUBECTL))
        return run(program, "--namespace", self.name, *arguments, stdin=stdin, timeout_s=timeout_s, check=check)

    def apply(self, *objects: Object) -> None:
        """Make objects, or change them to be like these."""
        # On the server: the client would write all of it into an annotation, which holds 256 KiB.
        self.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "--filename",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}),
        )

    def offer(self, objects: Sequence[Object]) -> subprocess.CompletedProcess[str]:
        """What the API server says of objects, without making them: admission is real, and strict about keys that it does not know."""
        program = str(required("kubectl", HOW_KUBECTL))
        command = [program, "--namespace", self.name, "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-"]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=2 * CALL_S, check=False)

    def get(self, kind: str, name: str) -> Object:
        """One object."""
        found: Object = json.loads(self.kubectl("get", kind, name, "--output", "json"))
        return found

    def all(self, kind: str, selector: Mapping[str, str] | None = None) -> list[Object]:
        """Objects of a kind with these labels."""
        labels = ["--selector", ",".join(f"{key}={value}" for key, value in selector.items())] if selector else []
        found: list[Object] = json.loads(self.kubectl("get", kind, *labels, "--output", "json"))["items"]
        return found

    def ready(self, selector: Mapping[str, str]) -> list[str]:
        """Names of the pods that are ready, and not on their way out."""
        return [each["metadata"]["name"] for each in self.all("pods", selector) if is_ready(each)]

    def restarts(self) -> dict[str, int]:
        """How often the containers of each pod were started anew, for the pods where that is not 0."""
        counted = {
            each["metadata"]["name"]: sum(status["restartCount"] for status in each["status"].get("containerStatuses", []))
            for each in self.all("pods")
        }
        return {name: count for name, count in counted.items() if count}

    def execute(self, pod: str, *command: str, timeout_s: float = CALL_S, check: bool = True) -> str:
        """What a command prints in a running pod."""
        return self.kubectl("exec", pod, "--", *command, timeout_s=timeout_s, check=check)

    def rolled_out(self, *names: str, timeout_s: float = 240.0) -> None:
        """Wait until all pods of these are of the newest kind, and ready."""
        for name in names:
            self.kubectl("rollout", "status", name, f"--timeout={timeout_s:.0f}s", timeout_s=timeout_s + 10)

    def events(self) -> str:
        """What happened here, the latest last: for the messages of tests that failed."""
        return self.kubectl("get", "events", "--sort-by", ".lastTimestamp", check=False)[-6000:]

    def state(self) -> str:
        """Pods, and why those that are not ready are not: for the messages of tests that failed."""
        return self.kubectl("get", "pods", "--output", "wide", check=False) + self.events()

    def until(self, condition: Callable[[], object], timeout_s: float, what: str) -> float:
        """Seconds until a condition held; with pods and events where it did not in time."""
        begun = time.monotonic()
        try:
            until(condition, timeout_s, what, LOOK_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.state()}") from None
        return time.monotonic() - begun


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and not on its way out."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def has_kind(name: str) -> bool:
    """Whether the cluster knows a kind, by the name of its CustomResourceDefinition."""
    program = str(required("kubectl", HOW_KUBECTL))
    return bool(run(program, "get", "crd", name, "--ignore-not-found", "--output", "name").strip())


def pod(name: str, image: str, arguments: Sequence[str], *, labels: Mapping[str, str] | None = None, **more: Any) -> Object:
    """A pod without rights, as the `restricted` standard wants it.

    Args:
        name: of the pod.
        image: of its only container.
        arguments: the whole command.
        labels: of the pod.
        more: `claims` (mount path -> claim, or claim with ":ro"), `env`, `requests`.
    """
    claims: Mapping[str, str] = more.pop("claims", {})
    env: Mapping[str, str] = more.pop("env", {})
    requests: Mapping[str, str] = more.pop("requests", {"cpu": "10m", "memory": "64Mi"})
    assert not more, f"unknown: {sorted(more)}"
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}]
    for number, (path, claim) in enumerate(claims.items()):
        read_only = claim.endswith(":ro")
        mounts.append({"name": f"claim-{number}", "mountPath": path})
        source = {"claimName": claim.removesuffix(":ro"), "readOnly": read_only}
        volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": source})
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(arguments),
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": {"requests": dict(requests)},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }
    identity = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": identity,
            "containers": [container],
            "volumes": volumes,
        },
    }


def finished(namespace: Namespace, task: Object, timeout_s: float = 180.0) -> str:
    """Run a pod to its end, and say what it printed; fails when it does."""
    name = task["metadata"]["name"]
    namespace.kubectl("delete", "pod", name, "--ignore-not-found", "--wait=true")
    namespace.apply(task)

    def phase() -> str:
        return str(namespace.get("pod", name)["status"].get("phase"))

    namespace.until(lambda: phase() in {"Succeeded", "Failed"}, timeout_s, f"the end of pod {name}")
    printed, ended = namespace.kubectl("logs", name, check=False), phase()
    if ended != "Succeeded":
        raise CommandFailed(f"pod {name} failed:\n{printed[-4000:]}")
    namespace.kubectl("delete", "pod", name, "--wait=false")
    return printed
