"""`make faults`: images in, faults all along, and at the end books that must balance. Writes build/ledger.json.

Everything random comes from the seed: which faults, in which order, on whom, for how long. What the machine does with it is its own.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

import click
import orjson

from convnet.digits import write_digits
from convnet.progress import Silent
from convnet.registry import Registry
from convnet.run import train
from convnet.training import TrainingSettings
from storm.arena import Arena
from storm.books import Balance, balance
from storm.faults import KINDS
from storm.stream import IMAGES_A_JOB, Pictures, Told, stream

TOPIC = "convnet.labels"
# Long enough for a killed part to come back in between, mostly; faults also fall into the recovery from others.
PAUSE_S = (0.2, 4.0)


def order_of(seed: int, count: int) -> list[str]:
    """Which faults, in which order: every kind comes as often as any other."""
    random = Random(seed)
    kinds = [kind for _ in range(-(-count // len(KINDS))) for kind in random.sample(sorted(KINDS), len(KINDS))]
    return kinds[:count]


def inject(arena: Arena, seed: int, kinds: list[str], loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    """One fault after the other, then say that they are over."""
    random = Random(seed + 1)
    began = time.monotonic()
    try:
        for number, kind in enumerate(kinds, start=1):
            time.sleep(random.uniform(*PAUSE_S))
            what = KINDS[kind](arena, random)
            click.echo(f"{time.monotonic() - began:7.1f} s  fault {number} of {len(kinds)}: {kind} ({what})")
    finally:
        loop.call_soon_threadsafe(done.set)


async def storm(arena: Arena, seed: int, images: int, kinds: list[str]) -> list[Told]:
    """Images and faults at the same time."""
    done = asyncio.Event()
    thread = threading.Thread(target=inject, args=(arena, seed, kinds, asyncio.get_running_loop(), done), name="faults")
    thread.start()
    jobs = -(-images // (IMAGES_A_JOB - 1))
    expected_s = len(kinds) * (sum(PAUSE_S) / 2 + 2)
    try:
        return await stream(arena.stack.server_url, arena.pictures, jobs, max(0.5, expected_s / jobs), done)
    finally:
        await asyncio.to_thread(thread.join)


def prepare(folder: Path) -> tuple[Path, Pictures]:
    """Models and pictures."""
    digits = write_digits(folder / "digits")
    registry = Registry(folder / "models")
    for seed in (1, 2):
        train(digits.train, registry, TrainingSettings(32, 32, 1, epochs=2, seed=seed), Silent())
    return registry.folder, Pictures(folder / "pictures", sorted(digits.test.rglob("*.png")))


def tell(found: Balance, faults: Counter[str]) -> None:
    """The end, in words."""
    click.echo(f"{sum(faults.values())} faults: " + ", ".join(f"{count} x {kind}" for kind, count in sorted(faults.items())))
    click.echo(f"{found.accepted:,} accepted = {found.labelled:,} labelled + {found.failed:,} failed; {found.redelivered:,} redelivered")
    for name in ("missing", "conflicting", "unconfirmed", "duplicates", "survivors", "innocents"):
        entries = getattr(found, name)
        click.echo(f"{name}: {len(entries)}")
        for entry in entries[:10]:
            click.echo(f"  {entry}")


@click.command(help=__doc__)
@click.option("--images", default=100_000, show_default=True, help="Images at least.")
@click.option("--faults", default=100, show_default=True, help="Faults to inject.")
@click.option("--seed", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/ledger.json"), show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep logs and data in this folder.")
def main(*, images: int, faults: int, seed: int, out: Path, keep: Path | None) -> None:
    """See the module."""
    began = time.monotonic()
    kinds = order_of(seed, faults)
    with tempfile.TemporaryDirectory(prefix="convnet-storm-") as temporary:
        folder = keep or Path(temporary)
        models, pictures = prepare(folder)
        with Arena(folder / "arena", models, pictures) as arena:
            told = asyncio.run(storm(arena, seed, images, kinds))
            arena.stack.wait_ready()
            found = balance(arena.stack.server_url, arena.stack.bootstrap_servers, TOPIC, told)
    seconds = round(time.monotonic() - began, 1)
    figures = {
        "seed": seed,
        "accepted": found.accepted,
        "labelled": found.labelled,
        "failed": found.failed,
        "missing": len(found.missing),
        "conflicting": len(found.conflicting),
        "unconfirmed": len(found.unconfirmed),
        "duplicates_seen_by_readers": len(found.duplicates),
        "poison_survived": len(found.survivors),
        "innocents": found.innocents,
        "redelivered": found.redelivered,
        "faults": Counter(kinds),
        "seconds": seconds,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
    tell(found, Counter(kinds))
    click.echo(f"{seconds:.0f} s; written to {out}")
    if not found.even or found.accepted < images:
        sys.exit(1)


if __name__ == "__main__":
    main()
