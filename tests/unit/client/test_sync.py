"""The client without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convnet_kafka.client import (
    ClientOptions,
    JobUnknown,
    Progress,
    SourceError,
    SyncClient,
    classify,
)
from support.classifying import PNG
from support.fake_server import FakeServer

Pictures = Callable[..., Path]


def test_every_call_without_an_event_loop(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    told: list[Progress] = []
    folder = pictures(10)
    (folder / "bad.png").write_bytes(b"\x89PNG")
    with SyncClient(server.url, quick) as client:
        classification = client.classify(folder, on_progress=told.append)
        assert len(list(classification)) == 11
        job = classification.job
        assert job is not None
        assert (classification.progress().labelled, told[-1].labelled) == (10, 10)
        assert client.status(job)["complete"]
        assert len([label for labels in client.results(job) for label in labels]) == 11
        assert [label.name for label in client.labels(job, failed=True)] == ["bad.png"]
        assert [label.label for label in client.classify_now(("1.png", PNG))] == ["seven"]
        client.close(job, 12)
        assert server.jobs[job].closes == [11, 12]
        assert client.cancel(job)["state"] == "cancelled"
        running = client.classify(folder, timeout=60)
        next(iter(running))
        running.cancel()
        running.close()
        with pytest.raises(JobUnknown):
            client.status("forged")
    with pytest.raises(RuntimeError, match="outside of its `with`"):
        client.status(job)


def test_without_an_event_loop(server: FakeServer, quick: ClientOptions, pictures: Pictures, tmp_path: Path) -> None:
    assert len(list(classify([pictures(300)], server.url, quick))) == 300
    with pytest.raises(SourceError, match="nowhere"):
        next(classify([tmp_path / "nowhere"], server.url, quick))


def test_without_an_event_loop_leaving_early_closes_the_job(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.label = lambda name: name == "0000.png"
    for _ in classify([pictures(300)], server.url, quick):
        break
    assert server.job.closes[-1] == len(server.job.images) > 0
