"""What is generated is what the sources say now: whoever edits by hand, or forgets `make generate`, hears of it."""

from __future__ import annotations

from convnet_charts.generate import FILES, different


def test_generated_files_are_those_that_would_be_written_now() -> None:
    assert FILES
    assert different() == [], "run `make generate`"
