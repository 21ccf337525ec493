"""API keys and both signing keys are changed while a stream runs: nobody is turned away who had a right to come in."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

import pytest

from convnet_kafka.apikeys import Key, KeyFile, new_secret
from support.camera import Camera, status_of
from support.release import Release
from support.ways_in import gateway

pytestmark = pytest.mark.long
Pictures = list[tuple[str, bytes]]
Figures = dict[str, Any]

# The kubelet brings a changed Secret into pods about once a minute.
MOUNTED_S = 180.0


def keys_of(release: Release) -> KeyFile:
    """The keys file, as servers have it."""
    data = release.namespace.get("secret", f"{release.name}-api-keys")["data"]
    return KeyFile.model_validate_json(base64.b64decode(data["keys.json"]))


def put(release: Release, secret: str, **content: bytes) -> None:
    """Change keys of a Secret."""
    data = {name.replace("_", "."): base64.b64encode(value).decode() for name, value in content.items()}
    release.namespace.kubectl("patch", "secret", f"{release.name}-{secret}", "--patch", json.dumps({"data": data}))


def put_keys(release: Release, keys: dict[str, Key]) -> None:
    """Change the keys file."""
    put(release, "api-keys", keys_json=KeyFile(keys=keys).model_dump_json(exclude_none=True).encode())


def test_keys_are_changed_without_downtime(release: Release, pictures: Pictures, figures: Figures) -> None:
    way = gateway()
    release.upgrade(way.values)
    release.scale("server", 2)
    url, old = way.address(release), release.api_key()
    before = keys_of(release)
    first = before.keys["first"]
    text, added = new_secret()
    with Camera(url, old, pictures, pace=150, least=3000) as camera:
        release.namespace.until(lambda: camera.labelled(300), 60, "the first labels")
        # The new text beside the old one, as `keys rotate` writes it.
        put_keys(release, {"first": first.model_copy(update={"secrets": (added, first.secrets[0])})})
        # Several looks, because any of the servers may answer.
        accepted = lambda: all(status_of(f"{url}/v1/models", text) == 200 for _ in range(8))  # noqa: E731 - a condition with a name
        release.namespace.until(accepted, MOUNTED_S, "all servers taking the new key")

        # A second signing key: accepted by all, then signing, while the stream's job is of the first one.
        put(release, "job-signing", next=secrets.token_bytes(48))
        release.upgrade({"server": {"jobSigning": {"keys": ["job-signing", "next"]}}})
        release.upgrade({"server": {"jobSigning": {"keys": ["next", "job-signing"]}}})
        seen = len(camera.books.told)
        release.namespace.until(lambda: camera.labelled(seen + 300), 60, "labels after both changes")
    camera.books.balance()
    figures["keys changed under a stream: longest time without a label, seconds"] = round(camera.books.longest_gap_s, 1)
    job = camera.books.job
    release.namespace.until(lambda: status_of(f"{url}/v1/jobs/{job}", text) == 200, 60, "the job being known to the new key")

    # The old ones are left out, under a stream of the new ones.
    with Camera(url, text, pictures, pace=150, least=1000) as later:
        release.namespace.until(lambda: later.labelled(300), 60, "labels of the new keys")
        put_keys(release, {"first": first.model_copy(update={"secrets": (added,)})})
        release.namespace.kubectl("patch", "secret", f"{release.name}-api-keys", "--patch", json.dumps({"stringData": {"api-key": text}}))
        refused = lambda: all(status_of(f"{url}/v1/models", old) == 401 for _ in range(8))  # noqa: E731 - a condition with a name
        release.namespace.until(refused, MOUNTED_S, "all servers refusing the old key")
        release.upgrade({"server": {"jobSigning": {"keys": ["next"]}}})
    later.books.balance()
    # What the old ones opened is closed, what the new ones opened is not. A server that ends may still answer for some seconds.
    release.namespace.until(lambda: status_of(f"{url}/v1/jobs/{job}", text) == 404, 60, "the old key's job being unknown")
    release.namespace.until(lambda: status_of(f"{url}/v1/jobs/{later.books.job}", text) == 200, 60, "the new key's job being known")
    figures["old keys left out under a stream: longest time without a label, seconds"] = round(later.books.longest_gap_s, 1)

    release.scale("server", 1)
    release.upgrade(way.closed())
