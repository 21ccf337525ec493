"""Memory while many images pass: bounded and flat in every process, whatever the number of images."""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.client import Client
from convnet_kafka.local.stack import Stack

IMAGES = 100_000
MOST_MIB = {"server": 200, "classifier": 300}
# Between 30 % and 100 % of the images. What a server keeps of a job grows by some 190 bytes an image (server/seen.py): 13 MB of 70,000.
MOST_GROWTH_MIB = 30


def memory_mib(stack: Stack) -> dict[str, float]:
    """Resident memory of every process but Kafka, children included."""
    found = {}
    for name, pid in stack.processes.items():
        if name != "broker":
            for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
                found[f"{name}/{process.pid}"] = process.memory_info().rss / 2**20
    return found


def many_pictures(folder: Path, digits: DigitsFolders) -> None:
    """100,000 hard links, each a name of its own."""
    originals = sorted(digits.test.rglob("*.png"))
    for number in range(IMAGES):
        file = folder / f"{number // 1000:03d}" / f"{number:06d}.png"
        file.parent.mkdir(exist_ok=True)
        os.link(originals[number % len(originals)], file)


@pytest.mark.timeout(400)
async def test_memory_is_bounded_and_flat_while_100000_images_pass(stack: Stack, digits: DigitsFolders, tmp_path: Path) -> None:
    await asyncio.to_thread(many_pictures, tmp_path, digits)
    samples: list[dict[str, float]] = []
    labelled = 0
    async with Client(stack.server_url) as client:
        async for labels in client.classify([tmp_path]).batches():
            labelled += sum(label.error is None for label in labels)
            if labelled >= (len(samples) + 1) * IMAGES // 10:
                samples.append(memory_mib(stack))
    assert labelled == IMAGES
    print("\n".join(f"{name}: {[round(sample[name]) for sample in samples]} MiB" for name in samples[-1]))
    for name, last in samples[-1].items():
        limit = next(most for kind, most in MOST_MIB.items() if name.startswith(kind))
        assert max(sample[name] for sample in samples) < limit, name
        assert last - samples[2][name] < MOST_GROWTH_MIB, name


async def test_a_tar_of_any_size_is_never_whole_in_memory(stack: Stack) -> None:
    members, size = 512, 2**20

    async def archive() -> AsyncIterator[bytes]:
        for number in range(members):
            member = tarfile.TarInfo(f"{number}.bin")
            member.size = size
            yield member.tobuf() + b"no picture" + bytes(size - 10)
            samples.append(memory_mib(stack))
        yield bytes(2 * tarfile.BLOCKSIZE)

    samples = [memory_mib(stack)]
    async with aiohttp.ClientSession(stack.server_url, headers={"Content-Type": "application/x-tar"}) as session:
        async with session.post("/v1/jobs") as opened:
            job = (await opened.json())["job"]
        async with session.post(f"/v1/jobs/{job}/images", data=archive()) as answer:
            counts = await answer.json()
    assert (counts["accepted"], counts["refused"], counts["unknown"]) == (0, members, 0)
    for name in samples[0]:
        assert max(sample[name] for sample in samples) - samples[0][name] < 64, name
