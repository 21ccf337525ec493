"""`convnet-kafka models`: the versions in a models folder, which of them classify, and how one on trial does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from convnet.model_card import ModelCard
    from convnet.registry import Aliases, Registry

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(name="models")
def command() -> None:
    """List, show, promote, try, roll back, delete and verify model versions."""


def _models_option(function: Command) -> Command:
    return click.option(
        "--models", default=Path("models"), show_default=True, type=click.Path(path_type=Path), help="Where versions are kept."
    )(function)


def _json_option(function: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on stdout.")(function)


@command.command(name="list")
@_models_option
@_json_option
def list_command(models: Path, as_json: bool) -> None:
    """List every version, newest last, with its aliases and its accuracy on its own held-out pictures."""
    from convnet.errors import RegistryError  # noqa: PLC0415 - `--help` needs none of these
    from convnet.registry import Registry  # noqa: PLC0415

    registry = Registry(models)
    aliases = registry.aliases()
    rows: list[dict[str, Any]] = []
    for version in registry.versions():
        try:
            rows.append(_row(registry.card(version), aliases))
        except RegistryError as error:
            rows.append({"version": version, "aliases": _names(version, aliases), "fault": str(error)})
    if as_json:
        click.echo(json.dumps({"aliases": aliases.model_dump(), "versions": rows}, indent=2))
        return
    if not rows:
        click.echo(f"no version in {models} yet; run: convnet-kafka train FOLDER --models {models}")
    for row in rows:
        names = ", ".join(row["aliases"])
        if "fault" in row:
            click.echo(f"{row['version']:>4}  {names:<16}  {row['fault']}")
        else:
            accuracy = ", ".join(f"{name} {value:.2%}" for name, value in row["accuracy"].items())
            click.echo(
                f"{row['version']:>4}  {names:<16}  {row['created_at'][:16].replace('T', ' ')}  {row['network']}  {row['size']}  "
                f"{row['classes']} classes  {accuracy}"
            )
    for name in ("stable", "canary", "shadow"):
        missing = getattr(aliases, name)
        if missing is not None and missing not in {row["version"] for row in rows}:
            click.echo(f"{name} is version {missing}, which is not there", err=True)


@command.command(name="show")
@click.argument("version", default="stable")
@_models_option
@_json_option
def show_command(version: str, models: Path, as_json: bool) -> None:
    """Show what is known of VERSION (a number, stable, canary or shadow)."""
    registry, number = _resolved(models, version)
    card = registry.card(number)
    if as_json:
        click.echo(card.model_dump_json(indent=2))
        return
    names = _names(number, registry.aliases())
    click.echo(f"version {number}" + (f" ({', '.join(names)})" if names else "") + f" in {models}")
    for name, value in _row(card, registry.aliases()).items():
        if name not in {"version", "aliases", "accuracy", "classes"}:
            click.echo(f"  {name.replace('_', ' ')}: {value}")
    click.echo(f"  classes: {', '.join(card.classes)}")
    for artefact, checksum in card.checksums.items():
        measured, served = card.accuracy.get(artefact), ", serves" if artefact == card.served else ""
        click.echo(f"  {artefact}: " + (f"accuracy {measured:.2%}, " if measured is not None else "") + f"sha256 {checksum}" + served)
    for name, setting in card.settings.items():
        click.echo(f"  {name}: {setting}")
    if (registry.folder / str(number) / "report.html").exists():
        click.echo(f"  report: {registry.folder / str(number) / 'report.html'}")


@command.command(name="promote")
@click.argument("version")
@_models_option
@click.option("--new-classes", is_flag=True, help="Allow other classes than the stable version's.")
def promote_command(version: str, models: Path, new_classes: bool) -> None:
    """Make VERSION (a number, canary or shadow) stable; its files are verified first."""
    from convnet.versions import promote  # noqa: PLC0415 - see above

    registry, number = _resolved(models, version)
    before = registry.aliases().stable
    promote(registry, number, new_classes=new_classes)
    click.echo(f"version {number} is stable" + (f"; version {before} was" if before not in {None, number} else ""))


@command.command(name="canary")
@click.argument("version", required=False, metavar="VERSION|off")
@_models_option
@click.option("--percent", default=10, show_default=True, type=click.IntRange(0, 100), help="Share of images it classifies, by job.")
@click.option("--new-classes", is_flag=True, help="Allow other classes than the stable version's.")
@click.option("--status", is_flag=True, help="Compare the canary (or VERSION) with stable, from the newest labels in Kafka (KAFKA_...).")
@click.option("--recent", default=10_000, show_default=True, type=click.IntRange(min=1), help="With --status: results that are compared.")
@_json_option
def canary_command(version: str | None, models: Path, percent: int, new_classes: bool, status: bool, recent: int, as_json: bool) -> None:
    """Let VERSION classify a share of the images, or end that with `off`; with --status see how it does."""
    from convnet.registry import Registry  # noqa: PLC0415 - see above
    from convnet.versions import end_canary, start_canary  # noqa: PLC0415

    if status:
        _show_comparison(Registry(models), version, recent, as_json=as_json)
        return
    if version is None:
        raise click.UsageError("say which VERSION is to be the canary, or off, or --status")
    if version == "off":
        end_canary(Registry(models))
        click.echo("no canary; the stable version classifies everything")
        return
    registry, number = _resolved(models, version)
    start_canary(registry, number, percent, new_classes=new_classes)
    click.echo(f"version {number} classifies {percent} % of the images")


@command.command(name="shadow")
@click.argument("version", required=False)
@_models_option
@click.option("--off", is_flag=True, help="Compare no version any more.")
@click.option("--new-classes", is_flag=True, help="Allow other classes than the stable version's.")
def shadow_command(version: str | None, models: Path, off: bool, new_classes: bool) -> None:
    """Let VERSION predict all images beside the stable version, which alone answers.

    How often both agree is in the classifiers' metrics and logs. It costs each classifier about as much again as the stable version does.
    """
    from convnet.registry import Registry  # noqa: PLC0415 - see above
    from convnet.versions import end_shadow, start_shadow  # noqa: PLC0415

    if off == (version is not None):
        raise click.UsageError("say which VERSION is to be the shadow, or --off")
    if version is None:
        end_shadow(Registry(models))
        click.echo("no shadow; the stable version predicts alone")
        return
    registry, number = _resolved(models, version)
    start_shadow(registry, number, new_classes=new_classes)
    click.echo(f"version {number} predicts beside the stable version; its answers are compared and not used")


@command.command(name="rollback")
@_models_option
def rollback_command(models: Path) -> None:
    """Make the version stable that was stable before; given again, the one before that. Never waits for a training."""
    from convnet.registry import Registry  # noqa: PLC0415 - see above
    from convnet.versions import rollback  # noqa: PLC0415

    registry = Registry(models)
    before = registry.aliases().stable
    click.echo(f"version {rollback(registry).stable} is stable again; version {before} was")


@command.command(name="delete")
@click.argument("versions", nargs=-1, required=True, type=click.IntRange(min=1), metavar="VERSION...")
@_models_option
def delete_command(versions: tuple[int, ...], models: Path) -> None:
    """Delete versions. One that is stable, canary or shadow is refused; numbers are never given again."""
    from convnet.registry import Registry  # noqa: PLC0415 - see above

    for version in versions:
        Registry(models).remove(version)
        click.echo(f"version {version} is deleted")


@command.command(name="verify")
@click.argument("version", default="all")
@_models_option
def verify_command(version: str, models: Path) -> None:
    """Compare the files of VERSION (or of all) with their checksums. Exit code 4 when one is damaged."""
    from convnet.errors import RegistryError  # noqa: PLC0415 - see above
    from convnet.registry import Registry  # noqa: PLC0415
    from convnet.versions import verify  # noqa: PLC0415

    numbers = Registry(models).versions() if version == "all" else (_resolved(models, version)[1],)
    damaged = False
    for number in numbers:
        faults = verify(Registry(models), number).faults
        damaged = damaged or bool(faults)
        click.echo("\n".join(f"version {number}: {fault}" for fault in faults) or f"version {number}: every checksum is right")
    if damaged:
        sys.exit(RegistryError.exit_code)


def _show_comparison(registry: Registry, version: str | None, recent: int, *, as_json: bool) -> None:
    """Compare the stable version with another one."""
    from convnet.errors import RegistryError  # noqa: PLC0415 - see above
    from convnet_kafka.cli.comparison import compare, newest_labels, show  # noqa: PLC0415
    from convnet_kafka.kafka.connection import reader_options  # noqa: PLC0415
    from convnet_kafka.kafka.tail import newest_records  # noqa: PLC0415
    from convnet_kafka.settings import KafkaSettings, load  # noqa: PLC0415
    from convnet_kafka.topology import Topology  # noqa: PLC0415

    stable, trial = registry.resolve("stable"), registry.resolve(version or "canary")
    if stable is None or trial is None or stable == trial:
        raise RegistryError(
            f"nothing to compare in {registry.folder}: there is no canary beside the stable version; name one: "
            "convnet-kafka models canary VERSION --status"
        )
    kafka = load(KafkaSettings)
    options = reader_options(kafka, f"{kafka.topic_prefix}-canary-status", share=0.2, max_record_bytes=1024 * 1024)
    topic = Topology(kafka.topic_prefix).labels
    records = newest_labels(lambda most: newest_records(options, topic, most), recent)
    status = compare(records, stable, trial)
    if as_json:
        click.echo(json.dumps(status, indent=2))
    else:
        show(status)


def _resolved(models: Path, version: str) -> tuple[Registry, int]:
    from convnet.errors import RegistryError  # noqa: PLC0415 - see above
    from convnet.registry import Registry  # noqa: PLC0415

    registry = Registry(models)
    number = registry.resolve(version)
    if number is None:
        raise RegistryError(f"no {version} version in {models}; convnet-kafka models list shows what there is")
    return registry, number


def _names(version: int, aliases: Aliases) -> list[str]:
    canary = [f"canary {aliases.canary_percent} %"] if aliases.canary == version else []
    shadow = ["shadow"] if aliases.shadow == version else []
    return (["stable"] if aliases.stable == version else []) + canary + shadow


def _row(card: ModelCard, aliases: Aliases) -> dict[str, Any]:
    return {
        "version": card.version,
        "aliases": _names(card.version, aliases),
        "created_at": card.created_at.isoformat(timespec="seconds"),
        "network": card.network,
        "size": f"{card.height} x {card.width} x {card.channels}",
        "classes": len(card.classes),
        "accuracy": card.accuracy,
        "training_images": card.training_images,
        "validation_images": card.validation_images,
    }
