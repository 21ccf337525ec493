"""The keys file: what is in it, how it is changed, and how a server follows it, as Kubernetes changes a mounted Secret too."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from convnet_kafka import apikeys
from convnet_kafka.apikeys import Key, KeyFile, KeyState, Permission, Rates, Secret
from convnet_kafka.errors import SettingsError
from convnet_kafka.server import keyring
from convnet_kafka.server.keyring import Keyring
from support.waiting import until_async


def key(secret: Secret, **more: object) -> Key:
    return Key.model_validate({"secrets": [secret], "created": apikeys.now(), **more})


def test_a_key_is_160_random_bits_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    made = [apikeys.new_secret() for _ in range(100)]
    assert len({text for text, _ in made}) == 100
    assert all(apikeys.is_key(text) for text, _ in made)
    text, secret = made[0]
    assert len(text.removeprefix("ck_")) * 5 == 160
    apikeys.write(tmp_path / "keys.json", KeyFile(keys={"one": key(secret)}))
    assert text not in (tmp_path / "keys.json").read_text()
    assert secret.sha256 == apikeys.digest(text)


def test_a_file_is_read_as_it_was_written_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    path.chmod(0o644)
    keys = KeyFile(
        keys={
            "cam-7": key(
                apikeys.new_secret()[1],
                tenant="acme",
                allow=[Permission.UPLOAD],
                rates=Rates(images_per_s=0.5, burst_s=2),
                expires=apikeys.now() + timedelta(days=1),
            )
        }
    )
    apikeys.write(path, keys)
    assert apikeys.read(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["keys.json"]
    assert json.loads(path.read_text())["version"] == 1


def test_states_follow_the_clock() -> None:
    moment = apikeys.now()
    secret = apikeys.new_secret()[1]
    assert key(secret).state(moment) is KeyState.ACTIVE
    ending = key(secret, expires=moment + timedelta(seconds=1))
    assert ending.state(moment) is KeyState.ACTIVE
    assert ending.state(moment + timedelta(seconds=1)) is KeyState.EXPIRED
    assert key(secret, revoked=moment).state(moment) is KeyState.REVOKED


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the whole"),
        (b"ck_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "the whole"),
        (b'{"version": 2, "keys": {}}', "version"),
        (b'{"version": 1, "keys": {"a": {"secrets": [], "created": "2026-01-01T00:00:00Z"}}}', "keys.a.secrets"),
        (b'{"version": 1, "keys": {"a": {"secrets": [{"sha256": "ck_secret"}], "created": "2026-01-01T00:00:00Z"}}}', "sha256"),
        (b'{"version": 1, "keys": {"no name": {"created": "2026-01-01T00:00:00Z"}}}', "keys"),
        (b'{"version": 1, "keys": {"a": {"created": "2026-01-01T00:00:00Z", "imagesps": 1}}}', "keys.a.imagesps"),
    ],
)
def test_a_broken_file_is_explained_without_showing_it(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        apikeys.read(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "ck_" not in str(caught.value)


def test_two_names_for_one_text_are_refused() -> None:
    one = key(apikeys.new_secret()[1])
    with pytest.raises(SettingsError, match="'a' and 'b' have the same text"):
        apikeys.checked(KeyFile, {"keys": {"a": one, "b": one}})


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    apikeys.write(path, KeyFile())

    def add(number: int) -> None:
        with apikeys.locked(path):
            keys = apikeys.read(path)
            apikeys.write(path, KeyFile(keys={**keys.keys, f"key-{number}": key(apikeys.new_secret()[1])}))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(apikeys.read(path).keys) == 8


@asynccontextmanager
async def following(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(keyring, "POLL_S", 0.01)
    task = asyncio.create_task(ring.keep_reading())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_changed_file_is_read_again_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json"
    (first, one), (second, two) = apikeys.new_secret(), apikeys.new_secret()
    apikeys.write(path, KeyFile(keys={"one": key(one)}))
    ring = Keyring(path)
    ring.load()
    assert ring.find(first) is not None
    assert ring.find(second) is None
    complaints: list[str] = []
    monkeypatch.setattr(keyring.logger, "error", lambda event, **more: complaints.append(event))
    async with following(ring, monkeypatch):
        apikeys.write(path, KeyFile(keys={"one": key(one), "two": key(two)}))
        await until_async(lambda: ring.find(second), what="the new key is known")
        path.write_text("{ half of a fi")
        await until_async(lambda: complaints, what="it complains")
        path.unlink()
        await until_async(lambda: len(complaints) == 2, what="it complains of the other trouble")
        assert ring.find(first) is not None
        assert ring.find(second) is not None
        apikeys.write(path, KeyFile(keys={"two": key(two)}))
        await until_async(lambda: ring.find(first) is None, what="the key that was taken out is nobody's")
        assert ring.find(second) is not None
    assert len(complaints) == 2


async def test_a_mounted_secret_is_followed_when_its_folder_is_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kubelet does it: keys.json -> ..data/keys.json, ..data -> ..2026_1, and `..data` is renamed over."""
    (first, one), (second, two) = apikeys.new_secret(), apikeys.new_secret()

    def publish(folder: str, keys: KeyFile) -> None:
        (tmp_path / folder).mkdir()
        apikeys.write(tmp_path / folder / "keys.json", keys)
        # All Secrets of one second have the same times.
        os.utime(tmp_path / folder / "keys.json", (1, 1))
        (tmp_path / "..data_tmp").symlink_to(folder)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    publish("..2026_1", KeyFile(keys={"one": key(one)}))
    (tmp_path / "keys.json").symlink_to("..data/keys.json")
    ring = Keyring(tmp_path / "keys.json")
    ring.load()
    async with following(ring, monkeypatch):
        publish("..2026_2", KeyFile(keys={"two": key(two)}))
        await until_async(lambda: ring.find(second), what="the new key is known")
        assert ring.find(first) is None


async def test_content_that_changes_behind_the_same_stat_is_noticed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    text, secret = apikeys.new_secret()
    apikeys.write(path, KeyFile(keys={"one": key(secret)}))
    ring = Keyring(path)
    ring.load()
    monkeypatch.setattr(keyring, "READ_S", 0.05)
    async with following(ring, monkeypatch):
        before = path.stat()
        changed = path.read_bytes().replace(secret.sha256.encode(), b"0" * 64)
        with path.open("r+b") as file:
            file.write(changed)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        await until_async(lambda: ring.find(text) is None, what="the change is noticed")


@pytest.mark.parametrize(("content", "said"), [(None, "keys add NAME"), ('{"version": 1}', "holds no key"), ("[]", "not a keys file")])
def test_a_server_does_not_start_without_good_keys(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    with pytest.raises(SettingsError, match=said):
        Keyring(tmp_path / "keys.json").load()


def test_the_old_text_of_a_rotated_key_ends_at_its_time(tmp_path: Path) -> None:
    (new, newer), (old, older), (gone, oldest) = apikeys.new_secret(), apikeys.new_secret(), apikeys.new_secret()
    keep, over = apikeys.now() + timedelta(hours=1), apikeys.now() - timedelta(seconds=1)
    apikeys.write(
        tmp_path / "keys.json",
        KeyFile(
            keys={
                "a": Key(secrets=(newer, Secret(sha256=older.sha256, expires=keep)), created=apikeys.now()),
                "b": Key(secrets=(apikeys.new_secret()[1], Secret(sha256=oldest.sha256, expires=over)), created=apikeys.now()),
            }
        ),
    )
    ring = Keyring(tmp_path / "keys.json")
    ring.load()
    found = [ring.find(text) for text in (new, old)]
    assert [name for name, _ in filter(None, found)] == ["a", "a"]
    assert ring.find(gone) is None
    assert ring.find("ck_\udcff") is None
