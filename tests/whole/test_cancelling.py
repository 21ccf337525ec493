"""A job that is cancelled while its images are being sent and classified: it ends, and every accepted image has its one result."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.client import Client, Label
from convnet_kafka.local.stack import Stack


def endless(digits: Path) -> Iterator[tuple[str, bytes]]:
    """Real digits again and again, each under a name of its own."""
    contents = [file.read_bytes() for file in sorted(digits.rglob("*.png"))]
    for number in itertools.count():
        yield f"{number:07d}.png", contents[number % len(contents)]


@pytest.mark.parametrize("by_whom", ["its own client", "another client"])
async def test_a_cancelled_job_ends_with_one_result_for_every_accepted_image(by_whom: str, stack: Stack, digits: DigitsFolders) -> None:
    seen: dict[str, Label] = {}
    async with Client(stack.server_url) as client, Client(stack.server_url) as other:
        classification = client.classify(endless(digits.test), timeout=180)
        async for label in classification:
            if not seen:
                assert classification.job is not None
                await (classification.cancel() if by_whom == "its own client" else other.cancel(classification.job))
            assert label.name not in seen
            seen[label.name] = label
        assert classification.job is not None
        status = await client.status(classification.job)
        results = [label async for label in client.labels(classification.job)]
    accepted = {name: label for name, label in seen.items() if label.image is not None}
    found = {label.name: label for label in results}
    assert len(found) == len(results)
    assert (status["state"], status["complete"]) == ("cancelled", True)
    assert len(accepted) <= status["total"] <= len(found)
    assert {name: found[name] for name in accepted} == accepted
    # A request that was refused because of the cancelling may have left images behind; they are cancelled too.
    for name in found.keys() - accepted.keys():
        assert (seen[name].error, found[name].error) == ("not-accepted", "cancelled")
    assert {label.error for label in accepted.values()} <= {None, "cancelled"}
