"""`convnet-kafka trace`: follow one image through Kafka, or sum up a job."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click
import orjson
from rich.console import Console

from convnet_kafka.cli import lookout
from convnet_kafka.diagnosis.trace.follow import follow_image, follow_job
from convnet_kafka.diagnosis.trace.found import ImageFound, JobFound, JobPlace
from convnet_kafka.diagnosis.trace.search import SKEW_MS, Search
from convnet_kafka.diagnosis.trace.show import quantile, show_image, show_job
from convnet_kafka.errors import SettingsError
from convnet_kafka.messages import now_ms
from convnet_kafka.server.jobs import unverified

_UNKNOWN = 1
_HEX_DIGITS = 32
_HOUR_MS = 3_600_000


@click.command(name="trace")
@click.argument("job")
@click.argument("image", required=False)
@lookout.kafka_options
@click.option(
    "--since",
    "since_h",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0.01, 24 * 365),
    metavar="HOURS",
    help="How far back to look for a job that is given by its 32 hex digits: only the whole id says when it was opened.",
)
@click.option("--timeout", default=60.0, show_default=True, type=click.FloatRange(1, 3600), metavar="SECONDS", help="For all reading.")
@click.option("--json", "as_json", is_flag=True, help="One object with all that was found.")
def command(job: str, image: str | None, since_h: float, timeout: float, *, as_json: bool, **options: Any) -> None:
    """Follow IMAGE of JOB: when it was accepted, where it lay, which classifier and model answered, when and what, and what came again.

    JOB is a job's id, or the 32 hex digits that logs and headers show. IMAGE is a name, an image's id, or its first letters (6 or more).
    Without IMAGE all results of the job are added up. Reads Kafka itself, and needs no server; whoever may do that sees every job.
    Exit code 1: nothing was found.
    """
    kafka, _ = lookout.kafka_settings(**options)
    search = Search(kafka, timeout)
    place = job_place(job, since_h)
    if image is None:
        summed = follow_job(search, place)
        _print_json(_job_fields(summed)) if as_json else show_job(summed, Console(highlight=False))
        found = bool(summed.results or summed.total or summed.letters)
    else:
        followed = follow_image(search, place, image)
        _print_json(_image_fields(followed)) if as_json else show_image(followed, Console(highlight=False))
        found = followed.state != "unknown"
    if not found:
        sys.exit(_UNKNOWN)


def job_place(text: str, since_h: float) -> JobPlace:
    """Where to look for a job.

    Raises:
        SettingsError: that is no job id.
    """
    if len(text) == _HEX_DIGITS and all(digit in "0123456789abcdef" for digit in text):
        return JobPlace(text, None, None, {}, now_ms() - int(since_h * _HOUR_MS))
    job = unverified(text)
    if job is None:
        raise SettingsError(f"{text[:80]!r} is no job id: give the id that the server gave, or its 32 hex digits")
    return JobPlace(job.id, job.tenant, job.opened_at_ms, {job.partition: job.offset}, job.opened_at_ms - SKEW_MS)


def _print_json(fields: dict[str, Any]) -> None:
    click.echo(orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))


def _job_fields(found: JobFound) -> dict[str, Any]:
    fields = asdict(found)
    waits = sorted(fields.pop("waits_ms"))
    # `asdict` makes a counter of pairs of a counter.
    counts = {name: dict(getattr(found, name)) for name in ("failed", "models", "replicas", "letters")}
    return fields | counts | {"wait_ms": {name: quantile(waits, part) for name, part in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}}


def _image_fields(found: ImageFound) -> dict[str, Any]:
    return {"state": found.state} | asdict(found)
