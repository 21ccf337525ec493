"""Versions appear whole or not at all, damage is named, and aliases change while others read."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from convnet import files
from convnet.errors import RegistryError
from convnet.model_card import ModelCard
from convnet.registry import FLOAT32, KERAS, Aliases, Registry

MakeCard = Callable[..., ModelCard]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def add(registry: Registry, make_card: MakeCard, content: bytes = b"weights") -> ModelCard:
    return registry.add(
        lambda version, checksums: make_card(version=version, checksums=dict(checksums)), {KERAS: content, FLOAT32: content * 2}
    )


def test_a_missing_folder_is_an_empty_registry(registry: Registry) -> None:
    assert registry.versions() == ()
    assert registry.aliases() == Aliases()
    assert registry.resolve("stable") is None
    assert registry.resolve("canary") is None
    assert not registry.folder.exists()


def test_versions_count_up_and_read_back(registry: Registry, make_card: MakeCard) -> None:
    first, second = add(registry, make_card, b"one"), add(registry, make_card, b"two")
    assert registry.versions() == (1, 2) == (first.version, second.version)
    assert registry.card(2) == second
    assert registry.artefact(2, FLOAT32) == b"twotwo"
    assert registry.resolve("2") == registry.resolve(2) == 2


def test_only_whole_versions_are_visible(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card)
    (registry.folder / ".new-0123").mkdir()
    (registry.folder / "notes").mkdir()
    (registry.folder / "007").mkdir()
    assert registry.versions() == (1,)


def test_a_failed_write_leaves_nothing(registry: Registry) -> None:
    def fail(version: int, checksums: object) -> ModelCard:
        raise KeyError("card")

    with pytest.raises(KeyError):
        registry.add(fail, {KERAS: b"x"})
    assert list(registry.folder.iterdir()) == []


def test_two_writers_never_take_the_same_number(registry: Registry, make_card: MakeCard) -> None:
    cards: list[ModelCard] = []
    writers = [threading.Thread(target=lambda: cards.extend(add(registry, make_card) for _ in range(10))) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(card.version for card in cards) == list(range(1, 41)) == list(registry.versions())
    assert all(registry.card(version).version == version for version in registry.versions())


def test_aliases_are_set_and_cleared(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card)
    add(registry, make_card)
    registry.set_alias("stable", 1)
    registry.set_alias("canary", 2, canary_percent=10)
    assert json.loads((registry.folder / "aliases.json").read_text()) == {
        "stable": 1,
        "canary": 2,
        "canary_percent": 10,
        "shadow": None,
        "previous": [],
    }
    assert (registry.resolve("stable"), registry.resolve("canary")) == (1, 2)
    registry.set_alias("canary", None)
    assert registry.aliases() == Aliases(stable=1)


def test_an_alias_to_a_version_that_is_not_there_is_refused(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card)
    with pytest.raises(RegistryError, match=r"version 9 .* holds versions 1"):
        registry.set_alias("stable", 9)
    assert registry.resolve("stable") is None


def test_an_unknown_alias_names_what_there_is(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no model is called 'latest'; say stable, canary, shadow or a version: no version"):
        registry.resolve("latest")


def test_a_stable_version_whose_folder_went_away(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card)
    registry.set_alias("stable", 1)
    (registry.folder / "1").rename(registry.folder / "lost")
    with pytest.raises(RegistryError, match="restore its folder or set the alias"):
        registry.resolve("stable")


def test_a_damaged_artefact_is_named_with_both_checksums(registry: Registry, make_card: MakeCard) -> None:
    card = add(registry, make_card)
    path = registry.folder / "1" / FLOAT32
    path.write_bytes(b"weightsweightz")
    with pytest.raises(RegistryError, match=rf"{path} is damaged: its SHA-256 is .*{card.checksums[FLOAT32]}"):
        registry.artefact(1, FLOAT32)


@pytest.mark.parametrize("content", ["", "{", '{"version": 1}', "[]", "\0\0\0"])
def test_a_damaged_card_is_named(registry: Registry, make_card: MakeCard, content: str) -> None:
    add(registry, make_card)
    (registry.folder / "1" / "model.json").write_text(content)
    with pytest.raises(RegistryError, match=r"model\.json is damaged"):
        registry.card(1)


@pytest.mark.parametrize("content", ["", "{", '{"stable": "two"}', "[]"])
def test_damaged_aliases_are_named(registry: Registry, make_card: MakeCard, content: str) -> None:
    add(registry, make_card)
    (registry.folder / "aliases.json").write_text(content)
    with pytest.raises(RegistryError, match=r"aliases\.json is not what this program writes"):
        registry.aliases()


def test_a_missing_artefact_is_named(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card)
    (registry.folder / "1" / KERAS).unlink()
    with pytest.raises(RegistryError, match=r"model\.keras is missing"):
        registry.artefact(1, KERAS)
    with pytest.raises(RegistryError, match=r"has no int8\.tflite"):
        registry.artefact(1, "int8.tflite")


def test_cards_of_later_releases_can_be_read(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card)
    path = registry.folder / "1" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_later": [1, 2]}))
    assert registry.card(1).classes == ("cat", "dog")


def test_a_reader_never_sees_half_a_version_or_half_the_aliases(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card, b"v1")
    registry.set_alias("stable", 1)
    stop = threading.Event()
    seen: set[int] = set()
    broken: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                version = registry.resolve("stable")
                assert version is not None
                assert registry.artefact(version, KERAS) == f"v{version}".encode() * (1 if version == 1 else 50_000)
                seen.add(version)
            except Exception as error:  # noqa: BLE001 - whatever a reader sees is the finding
                broken.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(2, 30):
        add(registry, make_card, f"v{version}".encode() * 50_000)
        registry.set_alias("stable", version)
    stop.set()
    reader.join()
    assert broken == []
    assert len(seen) > 1


def test_an_alias_lock_held_by_another_ends_in_a_clear_error(
    registry: Registry, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convnet.registry._ALIASES_LOCK_TIMEOUT_S", 0.02)
    add(registry, make_card)
    with files.locked(registry.folder / ".aliases.lock", timeout_s=0) as held:
        assert held
        with pytest.raises(RegistryError, match="another process holds the aliases"):
            registry.set_alias("stable", 1)
    registry.set_alias("stable", 1)


def test_what_killed_writers_left_is_removed_after_a_day(registry: Registry, make_card: MakeCard) -> None:
    add(registry, make_card)
    for name, age in (("old", 90_000.0), ("young", 0.0)):
        left = registry.folder / f".new-{name}"
        left.mkdir()
        status = left.stat()
        os.utime(left, (status.st_atime - age, status.st_mtime - age))
    add(registry, make_card)
    assert sorted(path.name for path in registry.folder.glob(".new-*")) == [".new-young"]
