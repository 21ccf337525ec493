"""Room for images that have come in part: bounded, given back, and nobody waits for somebody who waits."""

from __future__ import annotations

import asyncio
import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from convnet_kafka.server.assembly import Assembly, Held


@pytest.fixture
def room() -> Assembly:
    registry = CollectorRegistry()
    return Assembly(1000, Gauge("held", "Held.", registry=registry), Counter("waits", "Waits.", registry=registry), pass_s=7.0)


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nobody_waits_while_there_is_room_and_all_is_given_back(room: Assembly) -> None:
    with Held(room) as one, Held(room) as other:
        one.image(400)
        other.image(300)
        other.decoder(200)
        await one.room()
        assert room.used == 900
        other.image(0)
        assert room.used == 600
    assert room.used == 0
    assert room._gauge._value.get() == 0
    assert room._waits._value.get() == 0


async def test_when_all_hold_a_part_one_after_the_other_goes_on(room: Assembly) -> None:
    ended: list[int] = []
    most = 0

    async def body(number: int) -> None:
        nonlocal most
        with Held(room) as held:
            for size in range(100, 1001, 100):  # an image of 1000 bytes, in pieces
                await held.room()
                held.image(size)
                most = max(most, room.used)
                await asyncio.sleep(0)
            held.image(0)
            ended.append(number)

    async with asyncio.timeout(10):
        await asyncio.gather(*(body(number) for number in range(20)))
    assert sorted(ended) == list(range(20))
    # The room, one image, and what each was allowed to take in at the moment when the last bytes of room went.
    assert most <= 1000 + 1000 + 20 * 100
    assert room.used == 0


async def test_who_has_the_pass_has_a_time_for_it_and_gives_it_on(room: Assembly) -> None:
    with Held(room) as first, Held(room) as second:
        first.image(600)
        second.image(600)
        await first.room()
        assert first.has_room
        assert 0 < first.pass_until - asyncio.get_running_loop().time() <= 7.0
        waiting = asyncio.create_task(second.room())
        await turns()
        assert not waiting.done()
        first.image(900)
        assert first.has_room
        first.image(0)
        await turns()
        assert waiting.done(), "there is room again"
        assert first.pass_until == math.inf
        first.image(600)
        await second.room()
        assert second.has_room
        assert not first.has_room


async def test_who_goes_away_while_waiting_or_with_the_pass_holds_up_nobody(room: Assembly) -> None:
    with Held(room) as holder:
        holder.image(1000)
        with Held(room) as passed:
            await passed.room()
            gone = asyncio.create_task(Held(room).room())
            stays = Held(room)
            waiting = asyncio.create_task(stays.room())
            await turns()
            gone.cancel()
            await turns()
        await turns()
        assert waiting.done()
        assert stays.has_room
