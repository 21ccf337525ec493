"""`helm uninstall` takes what it may and leaves what holds data; a new release of the same name goes on with that."""

from __future__ import annotations

import re
from typing import Any

from support.camera import Camera, read_again
from support.forwarding import forwarded
from support.kubernetes import Namespace
from support.release import Release

Pictures = list[tuple[str, bytes]]

# Every namespace has these by itself, or they go a little later by themselves.
_NOT_OURS = re.compile(r"(configmap/kube-root-ca\.crt|serviceaccount/default|event.*|endpoints.*|endpointslice.*|pod.*metrics.*)$")


def left_behind(namespace: Namespace) -> set[str]:
    """Everything in a namespace that somebody made, as `kind/name`."""
    kinds = namespace.kubectl("api-resources", "--verbs=list", "--namespaced", "--output", "name").split()
    wanted = ",".join(kind for kind in kinds if not kind.startswith(("events", "endpoint", "pods.metrics", "leases")))
    printed = namespace.kubectl("get", wanted, "--output", "name", "--ignore-not-found", timeout_s=120)
    names = {re.sub(r"^([a-z]+)[^/]*/", r"\1/", line) for line in printed.split()}
    return {name for name in names if not _NOT_OURS.match(name)}


def test_what_stays_is_what_notes_say_and_a_new_release_goes_on_with_it(namespace: Namespace, images: str, pictures: Pictures) -> None:
    release = Release("again", namespace, images)
    release.install()
    notes, key = release.notes(), release.api_key()
    with forwarded(release) as url, Camera(url, key, pictures, pace=100, least=100) as camera:
        pass
    camera.books.balance()
    told: dict[str, Any] = {label.image: (label.label, label.error) for label in camera.books.told.values()}
    versions = {label.model for label in camera.books.told.values()}

    release.uninstall()
    namespace.until(lambda: not namespace.all("pods"), 120, "the end of all pods")
    assert left_behind(namespace) == {
        "secret/again-api-keys",
        "secret/again-job-signing",
        "persistentvolumeclaim/again-models",
        "persistentvolumeclaim/data-again-kafka-0",
    }
    for name in left_behind(namespace):
        assert name.split("/")[1] in notes, f"NOTES do not say that {name} stays"

    # No trainer: the model can only be the old one.
    release.values = {"trainer": {"enabled": False}}
    release.install()
    assert release.api_key() == key
    with forwarded(release) as url:
        assert read_again(url, key, camera.books.job) == (told, [])
        with Camera(url, key, pictures, pace=100, least=20) as later:
            pass
    later.books.balance()
    assert {label.model for label in later.books.told.values()} == versions
