"""`convnet-kafka data`: fetch class folders, look at them before training, and at the cache of decoded pictures."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convnet_kafka.cli.progress import shown_progress

if TYPE_CHECKING:
    from convnet.check import Check

_NAMED = 20
_BAR = 30


@click.group(name="data")
def command() -> None:
    """Fetch training data, look at it, and at the cache of decoded pictures."""


@command.command(name="check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a contact sheet, .png or .html.")
@click.option("--strict", is_flag=True, help="Remarks count as problems in the exit code.")
@click.option("--all", "name_all", is_flag=True, help=f"Name every file, not only {_NAMED} of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON and nothing else on stdout.")
def check_command(folder: Path, sheet: Path | None, strict: bool, name_all: bool, as_json: bool) -> None:
    """Read and decode every file of FOLDER, and say what is wrong or unusual.

    Problems are files that training would leave out, and pictures that stand in two classes or on two sides of the split. Remarks (tiny or
    odd pictures, duplicates, wrong extensions) harm no training. Exit code: 0 no problem, 1 problems, 3 the folder cannot be trained on.
    """
    from convnet.check import check  # noqa: PLC0415 - `--help` needs none of these
    from convnet.contact_sheet import write_sheet  # noqa: PLC0415

    with shown_progress() as progress:
        found = check(folder, progress)
    if sheet is not None:
        write_sheet(found, sheet)
    click.echo(json.dumps(_as_dict(found), indent=2) if as_json else _text(found, None if name_all else _NAMED))
    if found.cannot_train:
        sys.exit(3)
    if found.problems or (strict and (found.findings or found.imbalance)):
        sys.exit(1)


@command.command(name="fetch")
@click.argument("url")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--sha256", default="", metavar="DIGEST", help="Refuse another archive than the one with this digest.")
def fetch_command(url: str, folder: Path, sha256: str) -> None:
    """Fetch a tar or zip of class folders from URL and unpack it into FOLDER, which must be empty.

    A single folder at the archive's top is left out.
    """
    from convnet_kafka.cli.fetch import fetch  # noqa: PLC0415 - see above

    click.echo(f"unpacked {fetch(url, folder, sha256=sha256):,} files into {folder}")


@command.command(name="cache")
@click.option("--folder", type=click.Path(path_type=Path), envvar="CONVNET_CACHE_DIR", help="Another folder than this user's.")
@click.option("--clear", is_flag=True, help="Remove everything in it.")
def cache_command(folder: Path | None, clear: bool) -> None:
    """Say where decoded pictures are kept and how much there is; remove them with --clear."""
    from convnet.cache import Cache, default_folder  # noqa: PLC0415 - see above

    cache = Cache(folder or default_folder())
    used = cache.used_bytes()
    if clear:
        cache.clear()
        click.echo(f"removed {used / 1e6:.1f} MB from {cache.folder}")
    else:
        click.echo(f"{cache.folder} holds {used / 1e6:.1f} MB; it may be removed at any time")


def _text(check: Check, named: int | None) -> str:
    usable = sum(each.usable for each in check.classes)
    lines = [f"{check.folder}: {check.files} files, {usable} usable pictures, {len(check.classes)} classes", ""]
    lines += _class_lines(check)
    lines += ["", "formats: " + _most(check.formats), "pixels: " + _most(check.modes)]
    lines += ["sizes: " + _most(tuple((f"{width} x {height}", count) for (width, height), count in check.sizes))]
    for kind, group in groupby(check.findings, key=lambda finding: finding.kind):
        findings = list(group)
        lines += ["", f"{'problem' if kind.is_problem else 'remark'}: {kind} ({len(findings)})"]
        lines += [f"  {finding.name}: {finding.detail}" for finding in findings[:named]]
        if named is not None and len(findings) > named:
            lines.append(f"  and {len(findings) - named} more (--all names them)")
    if check.imbalance:
        lines += ["", f"remark: imbalance: {check.imbalance}"]
    return "\n".join([*lines, "", _verdict(check)])


def _verdict(check: Check) -> str:
    if check.cannot_train:
        return f"cannot be trained on: {check.cannot_train}"
    if check.problems:
        return f"{check.problems} problems; training would go on without the files it cannot read"
    return "no problem found" + (f", {len(check.findings)} remarks" if check.findings else "")


def _class_lines(check: Check) -> list[str]:
    most = max((each.usable for each in check.classes), default=0) or 1
    width = max(len(each.name) for each in check.classes)
    tested = any(each.test for each in check.classes)
    head = f"  {'class':<{width}}  training  held out" + ("      test" if tested else "") + "  unusable"
    return [head] + [
        f"  {each.name:<{width}}  {each.training:>8}  {each.held_out:>8}"
        + (f"  {each.test:>8}" if tested else "")
        + f"  {each.unusable:>8}  {'#' * round(_BAR * each.usable / most)}"
        for each in check.classes
    ]


def _most(counts: tuple[tuple[str, int], ...]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in counts[:5])
    return shown + (f" and {len(counts) - 5} others" if len(counts) > 5 else "") if counts else "none"


def _as_dict(check: Check) -> dict[str, object]:
    return {
        "folder": str(check.folder),
        "files": check.files,
        "classes": [
            {"name": each.name, "training": each.training, "held_out": each.held_out, "test": each.test, "unusable": each.unusable}
            for each in check.classes
        ],
        "formats": dict(check.formats),
        "modes": dict(check.modes),
        "sizes": {f"{width}x{height}": count for (width, height), count in check.sizes},
        "findings": [
            {"kind": finding.kind, "problem": finding.kind.is_problem, "name": finding.name, "detail": finding.detail}
            for finding in check.findings
        ],
        "imbalance": check.imbalance or None,
        "cannot_train": check.cannot_train or None,
        "problems": check.problems,
    }
