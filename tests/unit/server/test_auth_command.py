"""`convnet-kafka keys` as an operator types it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from convnet_kafka import apikeys
from convnet_kafka.apikeys import KeyState, Permission
from convnet_kafka.cli.keys import command
from convnet_kafka.errors import SettingsError
from convnet_kafka.server.keyring import Keyring

Run = Callable[..., click.testing.Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def keys(path: Path) -> Run:
    def run(name: str, *arguments: str) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(command, [name, *arguments, "--file", str(path)])
        if isinstance(result.exception, SettingsError):
            raise result.exception
        return result

    return run


def found(path: Path, text: str) -> str | None:
    ring = Keyring(path)
    ring.load()
    hit = ring.find(text)
    return hit[0] if hit is not None else None


def test_an_added_key_is_printed_alone_on_stdout_and_is_known(keys: Run, path: Path) -> None:
    result = keys("add", "cam-7", "--tenant", "acme", "--allow", "upload", "--allow", "read", "--rate", "1000", "--expires", "90d")
    text = result.stdout.strip()
    assert apikeys.is_key(text)
    assert "shown this once" in result.stderr
    assert found(path, text) == "cam-7"
    key = apikeys.read(path).keys["cam-7"]
    assert (key.tenant, key.allow, key.rates.images_per_s) == ("acme", {Permission.UPLOAD, Permission.READ}, 1000)
    assert key.expires is not None
    assert (key.expires - key.created).days == 90
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_options_a_key_may_everything_for_the_default_tenant(keys: Run, path: Path) -> None:
    keys("add", "all")
    key = apikeys.read(path).keys["all"]
    assert (key.tenant, key.allow, key.expires) == ("default", frozenset(Permission), None)
    assert key.rates.images_per_s is None


def test_a_rotated_key_keeps_its_rights_and_for_a_while_its_old_text(keys: Run, path: Path) -> None:
    old = keys("add", "a", "--tenant", "acme").stdout.strip()
    new = keys("rotate", "a", "--keep", "24h").stdout.strip()
    assert {found(path, old), found(path, new)} == {"a"}
    assert apikeys.read(path).keys["a"].tenant == "acme"
    newest = keys("rotate", "a").stdout.strip()
    assert [found(path, text) for text in (old, new, newest)] == [None, None, "a"]


def test_a_revoked_key_stays_in_the_list(keys: Run, path: Path) -> None:
    keys("add", "a")
    keys("add", "b")
    keys("revoke", "a")
    states = {name: key.state(apikeys.now()) for name, key in apikeys.read(path).keys.items()}
    assert states == {"a": KeyState.REVOKED, "b": KeyState.ACTIVE}
    listed = keys("list").stdout
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["a", "revoked"], ["b", "active"]]
    with pytest.raises(SettingsError, match="is revoked"):
        keys("rotate", "a")


def test_lists_show_no_digest(keys: Run, path: Path) -> None:
    text = keys("add", "a", "--fast-rate", "0").stdout.strip()
    for shown in (keys("list").stdout, keys("list", "--json").stdout):
        assert text not in shown
        assert apikeys.digest(text) not in shown
    assert json.loads(keys("list", "--json").stdout)["a"]["rates"]["fast_images_per_s"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "a"], "has a key 'a' already"),
        (["add", "no name"], "cannot be called 'no name'"),
        (["add", "b", "--tenant", "ä"], "tenant"),
        (["add", "b", "--rate", "-1"], "images_per_s"),
        (["add", "b", "--burst", "0"], "burst_s"),
        (["add", "b", "--expires", "2020-01-01"], "over already"),
        (["rotate", "b"], "has no key 'b'; it has a"),
        (["revoke", "b"], "has no key 'b'; it has a"),
    ],
)
def test_mistakes_are_explained_and_change_nothing(keys: Run, path: Path, arguments: list[str], said: str) -> None:
    keys("add", "a")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=said):
        keys(*arguments)
    assert path.read_bytes() == before


def test_a_time_that_is_none_is_named(keys: Run) -> None:
    result = keys("add", "a", "--expires", "tomorrow")
    assert result.exit_code == 2
    assert "90d, 12h" in result.stderr


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"keys\.json"):
        apikeys.write(tmp_path / "file" / "keys.json", apikeys.KeyFile())
