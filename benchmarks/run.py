"""Measures the whole path against the in-process limit, side by side in one run: `make bench`.

The limit is a process per core that decodes and predicts images in memory; the path is HTTP, Kafka and classifiers until the client has
read the last label. Both use the same model and images, in interleaved rounds, in batches that suit each. Ratios are what counts: rates
depend on the machine and on its neighbours. Writes build/bench.json and prints a table. Pictures are 28x28 PNG for the original network,
or with --photos 640x427 JPEG for EfficientNet-Lite0 at 224x224; float32 answers, or with --int8 what the training's gate let pass.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from convnet_kafka.local.stack import Stack, StackOptions
from convnet_kafka.settings import ClassifierSettings
from echo import warm_up as warm_up_broker
from figures import percentiles, save, spread
from processes import MICRO, compiling_seconds, cpu_by_process, kind, peak_mib
from workers import LIMIT_BATCH, Measured, Worker, prepare_client, prepare_limit
from workload import DIGITS, PHOTOS

# Rounds of both before those that count: pools fill.
WARM_UP_ROUNDS = 1
# Before them the path alone, until in one of them no more than a tenth of the broker's CPU is its JVM's compiler's: some ten thousand other
# requests, which it has served by then, do not run through all that these do. Brokers live for months.
SETTLED = 0.1
MOST_SETTLING_ROUNDS = 12
# The ratio that the whole path is to reach.
BAR = {DIGITS.name: 0.60, PHOTOS.name: 0.85}


@dataclass
class Rounds:
    """What the rounds measured.

    Attributes:
        limit: images/s of the in-process limit, one figure a round.
        path: images/s of the whole path.
        cpu_us: CPU microseconds an image, by process (classifiers and servers summed).
        limit_cpu_us: the same for the limit.
        compiling_us: of the broker's, what its compiler took; empty where the system does not tell.
    """

    limit: list[float] = field(default_factory=list)
    path: list[float] = field(default_factory=list)
    cpu_us: dict[str, list[float]] = field(default_factory=dict)
    limit_cpu_us: list[float] = field(default_factory=list)
    compiling_us: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settling:
    """How the broker's JVM came to rest before anything was measured.

    Attributes:
        rounds: of the path alone, that it took or that were allowed.
        compiling_share: of the broker's CPU in the last of them its compiler's; None where the system does not tell.
    """

    rounds: int
    compiling_share: float | None

    @property
    def settled(self) -> bool:
        """Whether that was no more than `SETTLED`."""
        return self.compiling_share is not None and self.compiling_share <= SETTLED


def settle(client: Worker, stack: Stack, folder: Path, images: int, console: Console) -> Settling:
    """Run the path until compiling is no more than `SETTLED` of what the broker spends, or `MOST_SETTLING_ROUNDS` are over.

    Raises:
        click.ClickException: an image has no label.
    """
    broker = {"broker": stack.processes["broker"]}
    settling = Settling(0, None)
    while settling.rounds < MOST_SETTLING_ROUNDS and not settling.settled:
        spent, compiling = cpu_by_process(broker)["broker"], compiling_seconds(broker["broker"])
        client.begin("bulk", folder, "")
        check_labels(client.result(), images)
        compiled = compiling_seconds(broker["broker"])
        share = None
        if compiled is not None and compiling is not None:
            share = (compiled - compiling) / (cpu_by_process(broker)["broker"] - spent)
            console.print(f"settling: {share:.0%} of the broker's CPU was its compiler's")
        settling = Settling(settling.rounds + 1, share)
    if not settling.settled:
        last = "an unknown part" if settling.compiling_share is None else f"{settling.compiling_share:.0%}"
        console.print(
            f"NOT SETTLED: after {settling.rounds} rounds {last} of the broker's CPU was its compiler's, {SETTLED:.0%} at most is wanted: "
            "what the broker costs may be stated too high"
        )
    return settling


def check_labels(answer: Measured, images: int) -> None:
    """Raise click.ClickException unless a round of the path has given each image its label."""
    labelled, failed = answer.detail
    if (labelled, failed) != (images, 0):
        raise click.ClickException(f"{labelled} labels and {failed} failures for {images} images")


def measure_round(rounds: Rounds, limits: list[Worker], client: Worker, stack: Stack, folder: Path, images: int) -> None:
    """One round of each."""
    for worker in limits:
        worker.begin()
    answers = [worker.result() for worker in limits]
    rounds.limit.append(images / max(answer.seconds for answer in answers))
    rounds.limit_cpu_us.append(sum(answer.cpu_s for answer in answers) / images * MICRO)

    before, compiling = cpu_by_process(stack.processes), compiling_seconds(stack.processes["broker"])
    client.begin("bulk", folder, "")
    answer = client.result()
    after, compiled = cpu_by_process(stack.processes), compiling_seconds(stack.processes["broker"])
    check_labels(answer, images)
    rounds.path.append(images / answer.seconds)
    spent = {name: after[name] - before[name] for name in after} | {"client": answer.cpu_s}
    for name, seconds in spent.items():
        rounds.cpu_us.setdefault(name, []).append(seconds / images * MICRO)
    if compiled is not None and compiling is not None:
        rounds.compiling_us.append((compiled - compiling) / images * MICRO)


def report(rounds: Rounds, settling: Settling, single: list[float], peaks: dict[str, float], options: dict[str, Any]) -> dict[str, Any]:
    """The figures as they are written to bench.json."""
    ratios = [path / limit for path, limit in zip(rounds.path, rounds.limit, strict=True)]
    total = [sum(values) for values in zip(*rounds.cpu_us.values(), strict=True)]
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "options": options,
        "settling": asdict(settling) | {"settled": settling.settled},
        "limit_images_per_s": spread(rounds.limit),
        "end_to_end_images_per_s": spread(rounds.path),
        "end_to_end_ratio": statistics.median(ratios),
        "end_to_end_ratio_rounds": ratios,
        "cpu_us_per_image": {name: spread(values) for name, values in rounds.cpu_us.items()},
        "cpu_us_per_image_total": spread(total),
        "limit_cpu_us_per_image": spread(rounds.limit_cpu_us),
        "broker_compiling_us_per_image": spread(rounds.compiling_us) if rounds.compiling_us else None,
        # What the ratio would be if CPU were all that counts: holds on a busy machine too, where the rates say little.
        "cpu_ratio": statistics.median(limit / path for limit, path in zip(rounds.limit_cpu_us, total, strict=True)),
        "classify_ms": percentiles(single),
        "peak_memory_mib": peaks,
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """The same as a table."""

    def row(values: dict[str, float], digits: int = 0) -> list[str]:
        return [f"{values[name]:,.{digits}f}" for name in ("median", "min", "max")]

    rates = Table("", "median", "min", "max", title="Images a second", title_justify="left")
    rates.add_row("in-process limit", *row(figures["limit_images_per_s"]))
    rates.add_row("HTTP, Kafka, labels read", *row(figures["end_to_end_images_per_s"]))
    ratios = figures["end_to_end_ratio_rounds"]
    rates.add_row("ratio", f"{figures['end_to_end_ratio']:.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}")
    rates.add_row("ratio to reach", f"{figures['options']['bar']:.2f}", "", "")
    console.print(rates)
    costs = Table("", "median", "min", "max", "peak MiB", title="CPU microseconds an image", title_justify="left")
    costs.add_row("in-process limit", *row(figures["limit_cpu_us_per_image"], 1), "")
    for name, values in figures["cpu_us_per_image"].items():
        costs.add_row(name, *row(values, 1), f"{figures['peak_memory_mib'][name]:,.0f}")
        if name == "broker" and (compiling := figures["broker_compiling_us_per_image"]):
            costs.add_row("  of which its compiler", *row(compiling, 1), "")
    costs.add_row("whole path", *row(figures["cpu_us_per_image_total"], 1), "")
    costs.add_row("limit / whole path", f"{figures['cpu_ratio']:.2f}", "", "", "")
    console.print(costs)
    single = figures["classify_ms"]
    console.print(f"classify, one image in flight: p50 {single['p50']:.1f} ms, p99 {single['p99']:.1f} ms ({single['calls']} calls)")


@click.command(help=__doc__)
@click.option("--photos", is_flag=True, help="640x427 JPEG photos for EfficientNet-Lite0 at 224x224.")
@click.option("--int8", is_flag=True, help="Serve the int8 artefact, if its accuracy was good enough.")
@click.option("--images", type=int, help=f"Images a round: {DIGITS.images:,}, of photos {PHOTOS.images:,}.")
@click.option("--rounds", "count", default=7, show_default=True, help="Rounds of each, interleaved.")
@click.option("--classifiers", default=2, show_default=True, help="Classifiers in the path.")
@click.option("--server-processes", default=1, show_default=True, help="Server processes in the path.")
@click.option("--warm-up", default=WARM_UP_ROUNDS, show_default=True, help="Rounds before those that count.")
@click.option("--single", type=int, help=f"Calls of classify with one image in flight: {DIGITS.single}, of photos {PHOTOS.single}.")
@click.option("--out", type=click.Path(path_type=Path), help="Figures as JSON; by default build/bench[-photos][-int8].json.")
def main(
    *,
    photos: bool,
    int8: bool,
    images: int | None,
    count: int,
    classifiers: int,
    server_processes: int,
    warm_up: int,
    single: int | None,
    out: Path | None,
) -> None:
    """See the module."""
    workload, artefact = PHOTOS if photos else DIGITS, "int8" if int8 else "float32"
    images, single = images or workload.images, workload.single if single is None else single
    out = out or Path("build") / f"bench{'-photos' if photos else ''}{'-int8' if int8 else ''}.json"
    console = Console()
    rounds = Rounds()
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="convnet-bench-")))
        console.print(
            f"{images:,} {workload.what}, {artefact}, and a stack of 1 broker, {server_processes} server, {classifiers} classifiers"
        )
        files = workload.write(root / "pictures", images)
        workload.train(root / "models", files, artefact)
        stack = cleanup.enter_context(
            Stack(StackOptions(models=root / "models", data=root / "data", classifiers=classifiers, server_processes=server_processes))
        )
        cores = os.cpu_count() or 1
        limits = [cleanup.enter_context(Worker(prepare_limit, root / "models", files[core::cores])) for core in range(cores)]
        client = cleanup.enter_context(Worker(prepare_client, stack.server_url))
        warm_up_broker(stack.bootstrap_servers, files[0].read_bytes()[:1000])
        settling = settle(client, stack, root / "pictures", images, console)
        for number in range(warm_up + count):
            if number == warm_up:
                rounds = Rounds()
            measure_round(rounds, limits, client, stack, root / "pictures", images)
            what = "warm-up" if number < warm_up else f"round {number - warm_up + 1} of {count}"
            console.print(f"{what}: limit {rounds.limit[-1]:,.0f}/s, path {rounds.path[-1]:,.0f}/s")
        client.begin("single", files[:single], workload.content_type)
        latencies: list[float] = client.result().detail
        peaks: dict[str, float] = {"client": peak_mib(client.pid)}
        for name, pid in stack.processes.items():
            peaks[kind(name)] = max(peaks.get(kind(name), 0.0), peak_mib(pid))
        options = {
            "images": images,
            "rounds": count,
            "classifiers": classifiers,
            "server_processes": server_processes,
            "max_batch": ClassifierSettings().max_batch,
            "limit_batch": LIMIT_BATCH,
            "pictures": workload.what,
            "artefact": artefact,
            "mean_bytes": round(statistics.mean(file.stat().st_size for file in files)),
            "bar": BAR[workload.name],
        }
        figures = report(rounds, settling, latencies, peaks, options)
    save(out, figures)
    show(figures, console)
    console.print(f"written to {out}")


if __name__ == "__main__":
    main()
