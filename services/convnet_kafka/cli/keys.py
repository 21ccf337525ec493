"""`convnet-kafka keys`: make, list, rotate and revoke API keys in the file that servers read.

A key's text is printed once, alone on stdout, so that a script can take it; everything else goes to stderr.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from convnet_kafka import apikeys
from convnet_kafka.apikeys import Key, KeyFile, KeyState, Permission, Rates, Secret
from convnet_kafka.errors import SettingsError

_TITLES = ("NAME", "STATE", "TENANT", "ALLOW", "IMAGES/S", "FAST/S", "REQUESTS/S", "CREATED", "EXPIRES")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,6})([mhdw])")

_file_option = click.option(
    "--file",
    "path",
    envvar="CONVNET_SERVER_KEYS_FILE",
    default=Path("keys.json"),
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The keys file; also CONVNET_SERVER_KEYS_FILE.",
)


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """A time: a span from now, or a date and time of the calendar, UTC unless it says otherwise."""
    if value is None:
        return None
    if span := _SPAN.fullmatch(value):
        return apikeys.now() + timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a span like 90d, 12h or 30m nor a time like 2030-01-31T12:00+01:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@click.group()
def command() -> None:
    """Make, list, rotate and revoke the API keys of a server.

    A running server reads its file again within seconds. The file holds no key, only what recognises one.
    """


@command.command()
@click.argument("name")
@_file_option
@click.option("--tenant", default=apikeys.DEFAULT_TENANT, show_default=True, help="Whose jobs the key opens and sees.")
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice([permission.value for permission in Permission]),
    help="What it may do; give it more than once, leave it out for everything.",
)
@click.option("--rate", type=float, metavar="IMAGES/S", help="Images a second, in each server process; no limit when left out.")
@click.option("--request-rate", type=float, metavar="REQUESTS/S", help="Requests a second, in each server process.")
@click.option("--fast-rate", type=float, metavar="IMAGES/S", help="Images a second on the fast lane; 0 keeps the key off it.")
@click.option("--burst", type=float, metavar="SECONDS", help="Seconds of each rate that may be saved up.  [default: 10]")
@click.option("--expires", callback=_moment, metavar="TIME", help="When it ends by itself: 90d, 12h, or 2030-01-31.")
def add(
    name: str,
    path: Path,
    tenant: str,
    allow: tuple[str, ...],
    rate: float | None,
    request_rate: float | None,
    fast_rate: float | None,
    burst: float | None,
    expires: datetime | None,
) -> None:
    """Make a key called NAME and print it. It is shown this once."""
    apikeys.check_name(name)
    if expires is not None and expires <= apikeys.now():
        raise SettingsError(f"--expires {expires:%Y-%m-%dT%H:%M%z} is over already")
    rates = {"images_per_s": rate, "requests_per_s": request_rate, "fast_images_per_s": fast_rate, "burst_s": burst}
    text, secret = apikeys.new_secret()
    with apikeys.locked(path):
        keys = apikeys.read(path) if path.exists() else KeyFile()
        if name in keys.keys:
            raise SettingsError(f"{path} has a key {name!r} already: choose another name, or give that one a new text with `keys rotate`")
        key = {
            "secrets": [secret],
            "tenant": tenant,
            "allow": allow or tuple(Permission),
            "rates": apikeys.checked(Rates, {field: value for field, value in rates.items() if value is not None}),
            "created": apikeys.now(),
            "expires": expires,
        }
        apikeys.write(path, apikeys.checked(KeyFile, {"keys": {**keys.keys, name: apikeys.checked(Key, key)}}))
    _hand_over(name, text, path)


@command.command()
@click.argument("name")
@_file_option
@click.option("--keep", callback=_moment, metavar="TIME", help="Accept the old text as well until then: 24h, or a time.")
def rotate(name: str, path: Path, keep: datetime | None) -> None:
    """Give the key NAME a new text and print it; everything else stays."""
    text, secret = apikeys.new_secret()
    with apikeys.locked(path):
        keys = apikeys.read(path)
        key = _named(keys, name, path)
        if key.state(apikeys.now()) is not KeyState.ACTIVE:
            raise SettingsError(f"key {name!r} is {key.state(apikeys.now())}: make another one with `keys add`")
        old = [] if keep is None else [Secret(sha256=key.secrets[0].sha256, expires=keep)]
        _replace(path, keys, name, key.model_copy(update={"secrets": (secret, *old)}))
    _hand_over(name, text, path)


@command.command()
@click.argument("name")
@_file_option
def revoke(name: str, path: Path) -> None:
    """End the key NAME. It stays in the list, so that its name still explains old logs."""
    with apikeys.locked(path):
        keys = apikeys.read(path)
        key = _named(keys, name, path)
        if key.revoked is None:
            _replace(path, keys, name, key.model_copy(update={"revoked": apikeys.now()}))
    click.echo(f"key {name!r} is revoked; servers that read {path} refuse it within seconds", err=True)


@command.command(name="list")
@_file_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_keys(path: Path, as_json: bool) -> None:
    """Show all keys: names and what they may, never the keys themselves."""
    keys = apikeys.read(path).keys
    rows = {name: _shown(key) for name, key in sorted(keys.items())}
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [_TITLES, *(_line(name, row) for name, row in rows.items())]
    widths = [max(len(line[column]) for line in table) for column in range(len(_TITLES))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _line(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    rates = row["rates"]
    limits = [_number(rates[field]) for field in ("images_per_s", "fast_images_per_s", "requests_per_s")]
    return name, row["state"], row["tenant"], ",".join(row["allow"]), *limits, row["created"][:10], (row["expires"] or "never")[:16]


def _shown(key: Key) -> dict[str, Any]:
    """A key without its digests."""
    shown = key.model_dump(mode="json", exclude={"secrets"})
    old = [secret.expires.isoformat() for secret in key.secrets if secret.expires is not None]
    return shown | {"state": str(key.state(apikeys.now())), "old_text_until": old[0] if old else None}


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _named(keys: KeyFile, name: str, path: Path) -> Key:
    if name not in keys.keys:
        raise SettingsError(f"{path} has no key {name!r}; it has {', '.join(sorted(keys.keys)) or 'none'}")
    return keys.keys[name]


def _replace(path: Path, keys: KeyFile, name: str, key: Key) -> None:
    apikeys.write(path, KeyFile(keys={**keys.keys, name: key}))


def _hand_over(name: str, text: str, path: Path) -> None:
    click.echo(f"key {name!r} is in {path}. This is its text; it is shown this once:", err=True)
    click.echo(text)
