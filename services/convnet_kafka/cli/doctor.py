"""`convnet-kafka doctor`: what usually is wrong, looked at from here, with what was found and what to do."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convnet_kafka import settings
from convnet_kafka.cli import lookout
from convnet_kafka.errors import SettingsError
from convnet_kafka.settings import ClassifierSettings, ServerSettings, TopicSettings

if TYPE_CHECKING:
    from convnet_kafka.diagnosis.doctor.findings import Finding
    from convnet_kafka.diagnosis.doctor.installation import Installation
    from convnet_kafka.local.stackfile import StackNote

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}
_FAILED = 1
_WIDEST = 140


@click.command(name="doctor")
@lookout.options
@click.option("--models", type=click.Path(path_type=Path), help="Folder of the model registry.  [CONVNET_CLASSIFIER_MODELS]")
@click.option("--job", help="Id of a job that does not work: is it ours, does it still live, is its topic the same?")
@click.option("--only", help="Only these checks, comma separated; --list names them.")
@click.option("--list", "list_them", is_flag=True, help="Name the checks and what each looks at, and end.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings as well.")
@click.option(
    "--patience", default=5.0, show_default=True, type=click.FloatRange(0.1, 60), metavar="SECONDS", help="To wait for one answer."
)
@click.option("--json", "as_json", is_flag=True, help="One object: the findings, and how many of each status.")
def command(**options: Any) -> None:
    """Look at what usually is wrong, and say what to do.

    Takes its settings from the environment as a server or classifier does, so in a pod it sees what the pod sees. On a machine where
    `convnet-kafka up` runs it looks at that. Changes nothing, and shows no secret.

    Exit code 0: nothing failed; 1: something did; 2: the settings cannot be read.
    """
    from convnet_kafka.diagnosis.doctor.checks import CHECKS, examine  # noqa: PLC0415 - `--help` stays quick

    if options["list_them"]:
        for check in CHECKS:
            click.echo(f"{check.name:<15} {check.says}")
        return
    names = {name.strip() for name in (options["only"] or "").split(",") if name.strip()}
    if unknown := names - {check.name for check in CHECKS}:
        raise SettingsError(f"there is no check {', '.join(sorted(unknown))}; 'convnet-kafka doctor --list' names those there are")
    findings = examine(installation(options), names)
    counts = _as_json(findings) if options["as_json"] else _show(findings)
    if counts["fail"] or (options["strict"] and counts["warn"]):
        sys.exit(_FAILED)


def installation(options: dict[str, Any]) -> Installation:
    """What is looked at: what was given, the environment, and a stack on this machine, in this order.

    Raises:
        SettingsError: settings cannot be read.
    """
    from convnet_kafka.diagnosis.doctor.installation import Installation  # noqa: PLC0415 - `--help` stays quick

    kafka, note = lookout.kafka_settings(options["data"], options["bootstrap_servers"], options["topic_prefix"])
    addresses = lookout.addresses(options["endpoints"], note)
    return Installation(
        kafka=kafka,
        topics=settings.load(TopicSettings),
        server=_server(note),
        classifier=_classifier(options["models"], note),
        environment=dict(os.environ),
        endpoints=addresses.resolve(),
        folder=Path(note.signing_key).parent if note is not None else None,
        job=options["job"],
        patience_s=options["patience"],
    )


def _server(note: StackNote | None) -> ServerSettings | None:
    """A server's settings where one is set up here: its job-signing keys tell."""
    if note is not None:
        return settings.load(ServerSettings, signing_key_files=[Path(note.signing_key)])
    return settings.load(ServerSettings) if any(name.startswith("CONVNET_SERVER_") for name in os.environ) else None


def _classifier(models: Path | None, note: StackNote | None) -> ClassifierSettings | None:
    models = models or (Path(note.models) if note is not None else None)
    if models is None and not any(name.startswith("CONVNET_CLASSIFIER_") for name in os.environ):
        return None
    return settings.load(ClassifierSettings, models=models)


def _as_json(findings: Iterable[Finding]) -> Counter[str]:
    found = list(findings)
    counts = Counter(finding.status.value for finding in found)
    click.echo(
        orjson.dumps(
            {"findings": [asdict(finding) for finding in found], "counts": {status: counts[status] for status in _STYLES}},
            option=orjson.OPT_INDENT_2,
        )
    )
    return counts


def _show(findings: Iterable[Finding]) -> Counter[str]:
    """A line as soon as it is found: a check may wait for something that does not answer."""
    console = Console(highlight=False, markup=False)
    console.width = min(console.width, _WIDEST) if console.is_terminal else 1000
    counts: Counter[str] = Counter()
    before = ""
    for finding in findings:
        counts[finding.status.value] += 1
        table = Table.grid(padding=(0, 1))
        table.add_column(width=4, no_wrap=True)
        table.add_column(width=14, no_wrap=True)
        table.add_column(overflow="fold")
        check = finding.check if finding.check != before else ""
        table.add_row(Text(finding.status.value, _STYLES[finding.status.value]), Text(check, "bold"), _plain(finding.found))
        console.print(table)
        if finding.do:
            console.print(Padding(Text(f"-> {_plain(finding.do)}", "cyan"), (0, 0, 0, 20)))
        before = finding.check
    console.print()
    console.print(Text(_summary(counts), "bold red" if counts["fail"] else "bold yellow" if counts["warn"] else "bold green"))
    return counts


def _summary(counts: Counter[str]) -> str:
    told = [f"{counts[status]} {word}" for status, word in (("fail", "failed"), ("warn", "warnings"), ("pass", "well")) if counts[status]]
    if counts["skip"]:
        told.append(f"{counts['skip']} not looked at")
    return ", ".join(told)


def _plain(text: str) -> str:
    """What others wrote may hold control characters, which a terminal obeys."""
    return "".join(character if character.isprintable() else "?" for character in text)
