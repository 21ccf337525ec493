"""Versions are promoted, tried, rolled back, deleted and verified while others read, and never behind a training's back or wait."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from convnet import files
from convnet.errors import ClassesDiffer, RegistryError
from convnet.model_card import ModelCard
from convnet.registry import FLOAT32, KERAS, Registry
from convnet.versions import end_canary, end_shadow, promote, rollback, start_canary, start_shadow, verify
from convnet_kafka.cli.models import command

MakeCard = Callable[..., ModelCard]


@pytest.fixture
def registry(tmp_path: Path, make_card: MakeCard) -> Registry:
    """Versions 1 to 4; 4 has other classes. Nothing is stable."""
    made = Registry(tmp_path / "models")
    for version in range(1, 5):
        add(made, make_card, classes=("cat", "dog") if version < 4 else ("cat", "fox"))
    return made


def add(registry: Registry, make_card: MakeCard, **fields: object) -> ModelCard:
    return registry.add(
        lambda version, checksums: make_card(version=version, checksums=dict(checksums), **fields), {KERAS: b"keras", FLOAT32: b"lite"}
    )


def run(registry: Registry, *arguments: object) -> str:
    done = CliRunner().invoke(command, [*map(str, arguments), "--models", str(registry.folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_promote_and_roll_back_step_by_step(registry: Registry) -> None:
    for version in (1, 2, 3):
        promote(registry, version)
    assert registry.aliases().previous == (1, 2)
    assert rollback(registry).stable == 2
    assert rollback(registry).stable == 1
    with pytest.raises(RegistryError, match=r"no earlier stable version is left .*models promote VERSION"):
        rollback(registry)
    assert registry.resolve("stable") == 1


def test_promoting_the_stable_version_again_changes_nothing(registry: Registry) -> None:
    promote(registry, 1)
    promote(registry, 2)
    assert promote(registry, 2) == registry.aliases()
    assert registry.aliases().previous == (1,)


def test_other_classes_are_refused_with_both_lists_and_the_way_out(registry: Registry) -> None:
    promote(registry, 1)
    for change in (lambda: promote(registry, 4), lambda: start_canary(registry, 4, 10)):
        with pytest.raises(ClassesDiffer, match=r"classes of version 4 are cat, fox; .*version 1\) knows cat, dog.*--new-classes"):
            change()
    assert promote(registry, 4, new_classes=True).stable == 4


def test_unknown_and_damaged_versions_are_not_promoted(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"version 9 .* holds versions 1, 2, 3, 4"):
        promote(registry, 9)
    (registry.folder / "2" / FLOAT32).write_bytes(b"lime")
    with pytest.raises(RegistryError, match="is damaged"):
        promote(registry, 2)
    assert registry.resolve("stable") is None


def test_a_rollback_passes_over_what_is_damaged_or_gone(registry: Registry) -> None:
    for version in (1, 2, 3):
        promote(registry, version)
    (registry.folder / "2" / KERAS).unlink()
    assert rollback(registry).stable == 1


def test_a_canary_starts_and_ends_and_ends_when_promoted(registry: Registry) -> None:
    promote(registry, 1)
    assert start_canary(registry, 2, 25).canary_percent == 25
    assert end_canary(registry).canary is None
    start_canary(registry, 2, 25)
    assert promote(registry, 2).model_dump() == {"stable": 2, "canary": None, "canary_percent": 0, "shadow": None, "previous": (1,)}
    with pytest.raises(RegistryError, match="version 2 is stable already"):
        start_canary(registry, 2, 5)


def test_stable_and_canary_are_not_deleted_and_numbers_never_come_again(registry: Registry, make_card: MakeCard) -> None:
    promote(registry, 1)
    start_canary(registry, 2, 10)
    for version, alias in ((1, "stable"), (2, "canary")):
        with pytest.raises(RegistryError, match=f"version {version} is {alias}; "):
            registry.remove(version)
    registry.remove(4)
    assert registry.versions() == (1, 2, 3)
    with pytest.raises(RegistryError, match=r"version 4 .* is not in"):
        registry.remove(4)
    assert add(registry, make_card).version == 5


def test_a_deleted_version_cannot_be_rolled_back_to(registry: Registry) -> None:
    for version in (1, 2, 3):
        promote(registry, version)
    registry.remove(2)
    assert registry.aliases().previous == (1,)


def test_verify_names_what_is_damaged(registry: Registry) -> None:
    assert verify(registry, 1).faults == ()
    (registry.folder / "1" / KERAS).write_bytes(b"x")
    (registry.folder / "1" / FLOAT32).unlink()
    assert [fault.split(" is ")[1].split(":")[0].split(";")[0] for fault in verify(registry, 1).faults] == ["damaged", "missing"]


def test_a_rollback_does_not_wait_for_a_training(registry: Registry) -> None:
    promote(registry, 1)
    promote(registry, 2)
    with files.locked(registry.folder / ".trainer.lock", timeout_s=0) as held:
        assert held
        started = time.monotonic()
        assert rollback(registry).stable == 1
    assert time.monotonic() - started < 1


def test_200_loads_of_stable_never_fail_or_mix_while_versions_are_promoted_and_deleted(registry: Registry, make_card: MakeCard) -> None:
    stop = threading.Event()
    wrong: list[object] = []
    seen: set[int] = set()

    def content(version: int) -> dict[str, bytes]:
        return {KERAS: b"k%d" % version * 20_000, FLOAT32: b"l%d" % version * 20_000}

    def add_next() -> int:
        version = max(registry.versions()) + 1
        return registry.add(lambda number, sums: make_card(version=number, checksums=dict(sums)), content(version)).version

    def change() -> None:
        before = promote(registry, add_next(), new_classes=True).stable
        ready.set()
        while not stop.is_set():
            now = promote(registry, add_next()).stable
            assert before is not None
            registry.remove(before)
            before = now

    def load(version: int) -> tuple[int, bytes, bytes]:
        return registry.card(version).version, registry.artefact(version, KERAS), registry.artefact(version, FLOAT32)

    ready = threading.Event()
    writer = threading.Thread(target=change)
    writer.start()
    assert ready.wait(10)
    try:
        loads, deadline = 0, time.monotonic() + 60
        while loads < 200 or len(seen) < 6:
            assert time.monotonic() < deadline
            loads += 1
            loaded = registry.newest_load("stable", load)
            assert loaded is not None
            version, keras, lite = loaded
            seen.add(version)
            if {KERAS: keras, FLOAT32: lite} != content(version):
                wrong.append(version)
    finally:
        stop.set()
        writer.join()
    assert wrong == []


def test_what_is_damaged_and_still_stable_is_an_error(registry: Registry) -> None:
    promote(registry, 1)
    (registry.folder / "1" / KERAS).unlink()
    with pytest.raises(RegistryError, match="missing"):
        registry.newest_load("stable", lambda version: registry.artefact(version, KERAS))
    assert registry.newest_load("canary", lambda version: version) is None


def test_promotions_by_several_processes_lose_none(registry: Registry) -> None:
    script = (
        "import sys; from convnet.registry import Registry; from convnet.versions import promote\n"
        "for number in range(20): promote(Registry(sys.argv[1]), 1 + (number + int(sys.argv[2])) % 3)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(registry.folder), str(number)]) for number in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    aliases = registry.aliases()
    assert sorted([aliases.stable or 0, *aliases.previous]) == [1, 2, 3]


def test_the_commands(registry: Registry) -> None:
    assert run(registry, "promote", 1) == "version 1 is stable\n"
    assert run(registry, "promote", 2) == "version 2 is stable; version 1 was\n"
    assert run(registry, "canary", 3, "--percent", 20) == "version 3 classifies 20 % of the images\n"
    listed = json.loads(run(registry, "list", "--json"))
    assert [row["aliases"] for row in listed["versions"]] == [[], ["stable"], ["canary 20 %"], []]
    assert "canary 20 %" in run(registry, "list")
    assert "classes: cat, dog" in run(registry, "show", "canary")
    assert json.loads(run(registry, "show", "--json"))["version"] == 2
    run(registry, "canary", "off")
    assert run(registry, "rollback") == "version 1 is stable again; version 2 was\n"
    assert run(registry, "delete", 3, 4) == "version 3 is deleted\nversion 4 is deleted\n"
    assert run(registry, "verify").count("every checksum is right") == 2


def test_verify_ends_with_4_when_a_file_is_damaged(registry: Registry) -> None:
    (registry.folder / "3" / FLOAT32).write_bytes(b"x")
    done = CliRunner().invoke(command, ["verify", "--models", str(registry.folder)])
    assert done.exit_code == 4
    assert "version 3: " in done.stdout


def test_an_empty_folder_says_how_to_get_a_version(tmp_path: Path) -> None:
    assert "convnet-kafka train" in run(Registry(tmp_path), "list")
    with pytest.raises(RegistryError, match="no stable version in"):
        run(Registry(tmp_path), "show")


def test_a_shadow_is_another_version_with_the_same_classes_until_it_ends_or_is_stable(registry: Registry) -> None:
    promote(registry, 1)
    assert run(registry, "shadow", 2) == "version 2 predicts beside the stable version; its answers are compared and not used\n"
    assert registry.resolve("shadow") == 2
    assert registry.aliases().stable == 1
    assert "2  shadow" in run(registry, "list")
    with pytest.raises(RegistryError, match=r"version 2 is shadow; end it"):
        registry.remove(2)
    with pytest.raises(RegistryError, match="version 1 is stable already"):
        start_shadow(registry, 1)
    with pytest.raises(ClassesDiffer):
        start_shadow(registry, 4)
    assert promote(registry, 2).shadow is None
    start_shadow(registry, 1)
    assert rollback(registry).shadow is None
    start_shadow(registry, 3)
    assert end_shadow(registry).shadow is None
    start_shadow(registry, 3)
    run(registry, "shadow", "--off")
    assert registry.resolve("shadow") is None
