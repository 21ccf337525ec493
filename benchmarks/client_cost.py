"""What an image costs the client, part by part, on one core: `python benchmarks/client_cost.py`. No server and no network."""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import orjson

from convnet_kafka.client.label import Label
from convnet_kafka.client.outcomes import Outcomes
from convnet_kafka.client.packing import pack
from convnet_kafka.client.report import Report
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.tarstream import member
from pictures import write_pictures

_REQUEST_IMAGES, _REQUEST_BYTES = 4096, 32_000_000
# Lines of the labels stream that come with one read.
_CHUNK = 256


def cost(what: str, images: int, work: Callable[[], object]) -> None:
    """Print the least of five runs: CPU microseconds an image, of all threads."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    click.echo(f"{what:<48} {best / images * 1e6:6.2f} us")


@click.command(help=__doc__)
@click.option("--images", default=30_000, show_default=True, help="Small pictures.")
def main(images: int) -> None:
    """See the module."""
    content = bytes(400)
    names = [f"{number // 1000:04d}/{number:07d}.png" for number in range(images)]
    lines = [
        orjson.dumps(
            {"cursor": str(number), "image": f"{number:032x}", "name": name, "revision": 0, "label": "7", "confidence": 0.98, "model": 3}
            | {"lane": "bulk", "submitted_at_ms": 1_700_000_000_000, "labelled_at_ms": 1_700_000_000_000}
        )
        for number, name in enumerate(names)
    ]
    labels = [Label.parse(orjson.loads(line)) for line in lines]

    def headers_of_tarfile() -> None:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.tobuf(tarfile.USTAR_FORMAT)

    def keep_books() -> None:
        books = Outcomes()
        books.sent(names)
        books.accepted_by_server(names)
        for start in range(0, images, _CHUNK):
            books.record(labels[start : start + _CHUNK])

    with tempfile.TemporaryDirectory(prefix="convnet-client-") as folder:
        write_pictures(Path(folder), images)

        def walk() -> None:
            sources = Sources([folder])
            while sources.take(64):
                pass

        def walk_read_and_pack() -> None:
            sources = Sources([folder])
            while pack(sources, _REQUEST_IMAGES, _REQUEST_BYTES).batch.names:
                pass

        def take_from_a_generator() -> None:
            sources = Sources((name, content) for name in names)
            while sources.take(64):
                pass

        cost("walk the folder", images, walk)
        cost("take (name, bytes) from a generator instead", images, take_from_a_generator)
        cost("walk, read each file, make tar members", images, walk_read_and_pack)
    cost("  of which tar members", images, lambda: [member(name, content) for name in names])
    cost("  (headers by the standard library's tarfile)", images, headers_of_tarfile)
    cost("read a line of the labels stream", images, lambda: [Label.parse(orjson.loads(line)) for line in lines])
    cost("keep the books", images, keep_books)
    cost("take into the report", images, lambda: Report().add(labels))


if __name__ == "__main__":
    main()
