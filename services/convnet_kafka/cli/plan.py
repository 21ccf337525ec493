"""`convnet-kafka plan`: how many replicas, partitions, disks and how much memory a wished rate of images takes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convnet_kafka.errors import SettingsError

if TYPE_CHECKING:
    from convnet_kafka.planning import Costs, Plan

_NETWORKS = ("original", "efficientnet-lite0")


class _Size(click.ParamType[tuple[int, int]]):
    """`640x427` as (640, 427)."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the two numbers."""
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= 16384 and 0 < int(height) <= 16384):
            self.fail(f"{value!r} is no size; write it as 640x427, at most 16384 each", param, ctx)
        return int(width), int(height)


@click.command(name="plan")
@click.option("--rate", type=float, help="Images a second, on average over days.")
@click.option("--peak", type=float, help="Images a second at the busiest; twice the average by default.")
@click.option("--image-bytes", type=int, help="Mean size of an encoded image; by default of the pictures that were measured.")
@click.option("--size", type=_Size(), help="Pixels of the pictures, as 640x427; by default of those that were measured.")
@click.option(
    "--latency",
    default=1.0,
    show_default=True,
    help="Seconds in which 99 of 100 single images on the fast lane have their label, at the peak.",
)
@click.option("--retention-hours", default=168.0, show_default=True, help="Hours that images are kept.")
@click.option("--job-life-hours", default=72.0, show_default=True, help="Hours that a job can be read.")
@click.option("--brokers", default=3, show_default=True, help="Brokers of Kafka.")
@click.option("--replication-factor", type=int, help="Copies of each partition; by default 3, or as many as there are brokers.")
@click.option("--utilisation", default=0.7, show_default=True, help="Share of a core that is planned with.")
@click.option("--dead-letters", default=0.01, show_default=True, help="Share of images that cannot be classified.")
@click.option(
    "--network", default="original", show_default=True, type=click.Choice(_NETWORKS), help="Whose built-in costs, without --measure."
)
@click.option("--measure", is_flag=True, help="Measure the stable model here first.")
@click.option(
    "--models", default=Path("models"), show_default=True, type=click.Path(path_type=Path), help="Whose stable model is measured."
)
@click.option("--pictures", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Pictures to measure with.")
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1, 600), help="How long to measure.")
@click.option("--costs", "costs_file", type=click.Path(path_type=Path), help="Costs that were measured before.")
@click.option("--save-costs", type=click.Path(path_type=Path), help="Keep the costs in this file.")
@click.option(
    "--helm-values",
    is_flag=False,
    flag_value="convnet-kafka",
    type=click.Choice(["convnet-kafka", "kafka"]),
    help="Print values for the chart helm/convnet-kafka, or with `kafka` for helm/kafka, as YAML, and nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON and nothing else.")
def command(
    rate: float | None,
    peak: float | None,
    image_bytes: int | None,
    size: tuple[int, int] | None,
    latency: float,
    retention_hours: float,
    job_life_hours: float,
    brokers: int,
    replication_factor: int | None,
    utilisation: float,
    dead_letters: float,
    network: str,
    measure: bool,
    models: Path,
    pictures: Path | None,
    seconds: float,
    costs_file: Path | None,
    save_costs: Path | None,
    helm_values: str | None,
    as_json: bool,
) -> None:
    """Say how many replicas, partitions and disks a wished rate of images takes, and why.

    With --measure and no --rate it says what an image costs here, and keeps it with --save-costs.
    """
    from convnet_kafka.planning import Wishes, plan  # noqa: PLC0415 - `--help` needs none of these

    if helm_values and as_json:
        raise SettingsError("--helm-values and --json: choose one")
    if measure and costs_file is not None:
        raise SettingsError("--measure and --costs: choose one")
    if pictures is not None and not measure:
        raise SettingsError("--pictures are for --measure: add it")
    if rate is None and (not measure or helm_values or as_json):
        raise SettingsError("say how many images a second: --rate 200")
    costs = _costs(network, models, pictures, size, seconds, costs_file, measure=measure)
    if save_costs is not None:
        from convnet_kafka.cli import plancosts  # noqa: PLC0415 - see above

        plancosts.write(save_costs, costs)
    if rate is None:
        _show_costs(costs)
        return
    wishes = Wishes(
        mean=rate,
        peak=2 * rate if peak is None else peak,
        image_bytes=costs.image_bytes if image_bytes is None else image_bytes,
        latency_s=latency,
        retention_h=retention_hours,
        job_life_h=job_life_hours,
        brokers=brokers,
        replication=min(3, brokers) if replication_factor is None else replication_factor,
        utilisation=utilisation,
        dead_share=dead_letters,
    )
    found = plan(wishes, costs)
    if helm_values:
        _show_values(found, helm_values)
    elif as_json:
        _show_json(found)
    else:
        _show(found)


def _costs(
    network: str,
    models: Path,
    pictures: Path | None,
    size: tuple[int, int] | None,
    seconds: float,
    costs_file: Path | None,
    *,
    measure: bool,
) -> Costs:
    from convnet_kafka.cli import plancosts  # noqa: PLC0415 - it imports numpy and Pillow

    if measure:
        costs = plancosts.measure(models, pictures, size, seconds)
    elif costs_file is not None:
        costs = plancosts.read(costs_file)
    else:
        costs = plancosts.built_in()[network]
    return costs if size is None else costs.at(size[0] * size[1])


def _show_costs(costs: Costs) -> None:
    click.echo(
        f"decode {costs.decode_us:,.1f}, predict {costs.predict_us:,.1f}, the rest {costs.overhead_us:,.1f}: "
        f"{costs.classifier_us:,.1f} us an image; predicted alone {costs.alone_us:,.1f} us; "
        f"{costs.image_bytes:,} bytes and {costs.pixels:,} pixels a picture; {costs.classifier_mib:,.0f} MiB a classifier"
    )
    click.echo(costs.source)


def _show(found: Plan) -> None:
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above

    wishes = found.wishes
    table = Table("", "", "why", title=f"{wishes.mean:,g} images/s, {wishes.peak:,g} at the peak", title_justify="left")
    table.columns[0].no_wrap = True
    for line in found.lines:
        table.add_row(line.what, line.value, line.why)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"Costs: {found.costs.source}", markup=False)


def _show_json(found: Plan) -> None:
    import orjson  # noqa: PLC0415 - see above

    from convnet_kafka.cli.planvalues import helm_values, kafka_values  # noqa: PLC0415 - see above

    values = {"helm_values": {"convnet-kafka": helm_values(found), "kafka": kafka_values(found)}}
    click.echo(orjson.dumps(asdict(found) | values, option=orjson.OPT_INDENT_2).decode())


def _show_values(found: Plan, chart: str) -> None:
    from convnet_kafka.cli.planvalues import as_yaml, helm_values, kafka_values  # noqa: PLC0415 - see above

    wishes = found.wishes
    click.echo(f"# {wishes.mean:g} images/s, {wishes.peak:g} at the peak, {wishes.image_bytes:,} bytes each, by convnet-kafka plan.")
    click.echo(f"# Costs: {found.costs.source}.")
    click.echo(as_yaml(kafka_values(found) if chart == "kafka" else helm_values(found)))
