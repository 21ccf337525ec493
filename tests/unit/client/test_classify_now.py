"""A few images now: on the fast lane, in the order given, and what becomes of those that are late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convnet_kafka.client import (
    Client,
    ClientOptions,
    SourceError,
)
from convnet_kafka.errors import SettingsError
from support.classifying import PNG
from support.fake_server import FakeServer
from support.misbehaviour import Fast

Pictures = Callable[..., Path]


async def test_a_few_images_now_in_the_order_given(server: FakeServer, quick: ClientOptions) -> None:
    given = [("b.png", PNG + b"b"), ("notes.txt", b"hello"), ("bad.png", PNG + b"x"), ("a.png", PNG + b"a")]
    async with Client(server.url, quick) as client:
        labels = await client.classify_now(given)
    assert [(label.name, label.label, label.error) for label in labels] == [
        ("b.png", "seven", None),
        ("notes.txt", None, "unsupported"),
        ("bad.png", None, "undecodable"),
        ("a.png", "seven", None),
    ]


async def test_what_is_not_labelled_now_is_read_from_its_job(server: FakeServer, quick: ClientOptions) -> None:
    server.fast.append(Fast(missing=lambda name: name == "2.png"))
    async with Client(server.url, quick) as client:
        labels = await client.classify_now([(f"{number}.png", PNG + str(number).encode()) for number in range(4)])
    assert [label.label for label in labels] == ["seven"] * 4
    assert server.requests["stream"] == 1


async def test_what_never_comes_is_told_at_the_deadline_with_its_job(server: FakeServer, quick: ClientOptions) -> None:
    server.fast.append(Fast(missing=lambda name: True))
    server.label = lambda name: False
    async with Client(server.url, quick) as client:
        (label,) = await client.classify_now(("1.png", PNG), timeout=0.5)
    assert label.error == "missing"
    assert "job-1" in (label.detail or "")


async def test_now_is_tried_again_while_the_server_is_busy_and_for_what_it_does_not_know(server: FakeServer, quick: ClientOptions) -> None:
    server.fast.extend([Fast(status=503), Fast(status=429), Fast(unknown=lambda name: name == "2.png")])
    async with Client(server.url, quick) as client:
        labels = await client.classify_now([(f"{number}.png", PNG + str(number).encode()) for number in range(4)])
    assert [label.label for label in labels] == ["seven"] * 4
    assert (server.members["1.png"], server.members["2.png"]) == (1, 2)


async def test_now_is_for_a_hundred_images_at_most(server: FakeServer, quick: ClientOptions, pictures: Pictures, tmp_path: Path) -> None:
    async with Client(server.url, quick) as client:
        assert len(await client.classify_now(pictures(100))) == 100
        with pytest.raises(SettingsError, match="takes 100 images"):
            await client.classify_now(pictures(101))
        with pytest.raises(SourceError, match="nowhere"):
            await client.classify_now(tmp_path / "nowhere")
    assert server.requests["classify"] == 1
