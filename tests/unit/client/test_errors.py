"""Errors of the server, and no server at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convnet_kafka.client import (
    Client,
    ClientOptions,
    JobUnknown,
    NotAllowed,
    NotAuthenticated,
    RateLimited,
    ServerAway,
)
from convnet_kafka.client.errors import JobCancelled, JobExpired, Refused, Unavailable, error_of
from convnet_kafka.errors import ServerError
from support.classifying import outcomes
from support.fake_server import FakeServer, problem

Pictures = Callable[..., Path]


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (401, "unauthenticated", NotAuthenticated),
        (403, "not-allowed", NotAllowed),
        (404, "job-unknown", JobUnknown),
        (404, "not-found", Refused),
        (404, None, Refused),
        (409, "job-cancelled", JobCancelled),
        (410, "job-expired", JobExpired),
        (410, "job-of-another-cluster", JobExpired),
        (415, "unsupported", Refused),
        (429, "too-many-uploads", RateLimited),
        (503, "kafka-unavailable", Unavailable),
    ],
)
def test_errors_are_told_apart_by_what_the_caller_can_do(status: int, slug: str | None, kind: type[ServerError]) -> None:
    assert type(error_of("no", status, slug, 7.0)) is kind


@pytest.mark.parametrize(("status", "kind"), [(401, NotAuthenticated), (403, NotAllowed)])
async def test_a_server_that_wants_a_key_is_not_asked_again(
    server: FakeServer, quick: ClientOptions, pictures: Pictures, slept: list[float], status: int, kind: type[ServerError]
) -> None:
    server.opening.append(problem(status, "unauthenticated", "a key is needed"))
    with pytest.raises(kind, match="a key is needed"):
        await outcomes(server, quick, pictures(1))
    assert slept == []


async def test_a_server_that_is_not_there_is_told_as_such(server: FakeServer, quick: ClientOptions) -> None:
    server.stop()
    async with Client(server.url, quick) as client:
        for call in (client.status("x"), client.cancel("x"), client.close("x", 1)):
            with pytest.raises(ServerAway, match="cannot be reached"):
                await call
